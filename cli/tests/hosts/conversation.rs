//! A client of the proxy that keeps the bytes of a conversation, and makes use of everything that a server may ask of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::HostileAs;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::client::{INITIALIZED, ProxyClient, command, home, within};
use crate::gate::{Exchange, Gate};

/// The first line that a server prints. The others are read and dropped, because a full pipe would stop the server.
pub(crate) async fn first_line(output: impl AsyncRead + Send + Unpin + 'static) -> String {
    let mut lines = BufReader::new(output).lines();
    let line = within("the server", lines.next_line()).await.unwrap().unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    line
}

/// A proxy before a gate with tokens of two seconds, and the server behind it.
pub(crate) struct Scene {
    authority: HostileAs,
    gate: Gate,
    _home: TempDir,
}

impl Scene {
    /// A scene before the server at this port, with a client that has opened its MCP session.
    pub(crate) async fn before(port: u16) -> (Self, Client) {
        let authority = HostileAs::start().await.unwrap();
        authority.rules(|rules| rules.access_lifetime = Duration::from_secs(2));
        let gate = Gate::before(port, authority.verifier()).await;
        let home = home();
        let grant = authority.grant_for(&authority.register(ClientAuth::None), &gate.url, "tools:read");
        crate::login::import(&home, &gate.url, &grant).await;
        let proxy = ProxyClient::of(command(&home, &["proxy", &gate.url]));
        let mut client = Client { proxy, sent: Vec::new(), got: Vec::new(), methods: BTreeSet::new(), last_id: 0 };
        let capabilities = json!({ "roots": { "listChanged": true }, "sampling": {}, "elicitation": { "form": {}, "url": {} },
            "tasks": { "requests": { "sampling": { "createMessage": {} }, "elicitation": { "create": {} } } } });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" } });
        let opened = client.ask("initialize", params).await;
        assert_eq!(opened["result"]["protocolVersion"], "2025-11-25");
        client.send(INITIALIZED).await;
        (Self { authority, gate, _home: home }, client)
    }

    /// Ends the conversation. Requires that the server has sent the methods, and that all messages have passed as they are.
    pub(crate) async fn end(self, client: Client, expected: &[&str]) {
        // The end waits for the answers that are on their way.
        let Client { proxy, sent, mut got, methods, .. } = client;
        let (rest, code, notes) = proxy.end_with_lines().await;
        assert_eq!(code, 0, "{notes}");
        got.extend(rest);
        for method in expected {
            assert!(methods.contains(*method), "{method} is missing in {methods:?}");
        }
        let passed = self.gate.passed();
        let posts = passed.iter().filter(|exchange| exchange.method == "POST").map(|exchange| exchange.body.clone());
        same("to the server", sent, posts.collect());
        same("to the client", got, passed.iter().flat_map(Exchange::messages).collect());
        let counts = self.authority.counts();
        assert!(counts.token_requests >= 1 && counts.replays == 0, "{counts:?}");
    }
}

/// A client that keeps the bytes of all its messages, and answers the server's requests.
pub(crate) struct Client {
    proxy: ProxyClient,
    sent: Vec<Vec<u8>>,
    got: Vec<Vec<u8>>,
    /// The methods of the server's requests and notifications.
    methods: BTreeSet<String>,
    last_id: u64,
}

impl Client {
    pub(crate) async fn send(&mut self, line: &str) {
        self.sent.push(line.as_bytes().to_vec());
        self.proxy.send(line).await;
    }

    /// Reads a message, and answers it if it is a request.
    async fn message(&mut self) -> Value {
        let line = self.proxy.line().await;
        self.got.push(line.as_bytes().to_vec());
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?} is no message"));
        if let Some(method) = message["method"].as_str() {
            self.methods.insert(method.to_owned());
            let result = match method {
                "roots/list" => json!({ "roots": [{ "uri": "file:///home/x", "name": "x" }] }),
                "sampling/createMessage" => json!({ "role": "assistant", "model": "m", "stopReason": "endTurn",
                    "content": { "type": "text", "text": "a text" } }),
                "elicitation/create" => json!({ "action": "accept", "content": { "name": "Zo\u{eb}", "check": true } }),
                _ => json!({}),
            };
            if let Some(id) = message.get("id") {
                // Not as a serializer writes it.
                self.send(&format!(r#"{{ "result": {result},  "id":{id} , "jsonrpc":"2.0" }}"#)).await;
            }
        }
        message
    }

    /// Sends a request in a form that no serializer writes, and returns its answer.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    pub(crate) async fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&format!("{{\"method\": \"{method}\" ,\t\"params\": {params}, \"id\":{id}, \"jsonrpc\" :\"2.0\"}}"))
            .await;
        id
    }

    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.message().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Reads until this progress of the request with this token.
    pub(crate) async fn progress(&mut self, token: &str, progress: u64) {
        loop {
            let params = &self.message().await["params"];
            if params["progressToken"] == token && params["progress"] == progress {
                return;
            }
        }
    }

    /// Reads until the server has sent all these methods.
    pub(crate) async fn until_all(&mut self, methods: &[&str]) {
        while !methods.iter().all(|method| self.methods.contains(*method)) {
            self.message().await;
        }
    }
}

/// Requires that both are the same messages. Messages of different streams have no order.
fn same(way: &str, mut one: Vec<Vec<u8>>, mut other: Vec<Vec<u8>>) {
    one.sort();
    other.sort();
    for (one, other) in one.iter().zip(&other) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(one), text(other), "{way}");
    }
    assert_eq!(one.len(), other.len(), "{way}");
    assert!(one.len() > 20, "{way}");
}
