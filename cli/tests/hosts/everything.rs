//! Every kind of message of the reference server of the MCP project, and of a client that it makes use of.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::HostileAs;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::{INITIALIZED, ProxyClient, command, home, within};
use crate::gate::Gate;
use crate::ports::free_port;
use crate::rigs::Program;

/// Starts the server. `None` without Node.
async fn everything(port: u16) -> Option<Child> {
    let folder = Program::McpHosts.prepared()?;
    let mut server = Command::new("node");
    server.arg(folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")).arg("streamableHttp");
    server.env("PORT", port.to_string()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let line = within("the server", lines.next_line()).await.unwrap().unwrap();
    assert!(line.contains("listening"), "{line}");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(server)
}

/// A client that keeps the bytes of all its messages, and answers the server's requests.
struct Client {
    proxy: ProxyClient,
    sent: Vec<Vec<u8>>,
    got: Vec<Vec<u8>>,
    /// The methods of the server's requests and notifications.
    methods: BTreeSet<String>,
    last_id: u64,
}

impl Client {
    async fn send(&mut self, line: &str) {
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
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    async fn begin(&mut self, method: &str, params: Value) -> u64 {
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

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Reads until this progress of the request with this token.
    async fn progress(&mut self, token: &str, progress: u64) {
        loop {
            let params = &self.message().await["params"];
            if params["progressToken"] == token && params["progress"] == progress {
                return;
            }
        }
    }

    /// Reads until the server has sent all these methods.
    async fn until_all(&mut self, methods: &[&str]) {
        while !methods.iter().all(|method| self.methods.contains(*method)) {
            self.message().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_passes_byte_for_byte_both_ways() {
    let port = free_port();
    let Some(_server) = everything(port).await else { return };
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
    let opened = client
        .ask(
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
                "clientInfo": { "name": "test", "version": "1" } }),
        )
        .await;
    assert_eq!(opened["result"]["protocolVersion"], "2025-11-25");
    client.send(INITIALIZED).await;
    client.until_all(&["roots/list"]).await;

    let mut answers = Vec::new();
    for (method, params) in [
        ("ping", json!({})),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("logging/setLevel", json!({ "level": "debug" })),
        ("resources/read", json!({ "uri": "demo://resource/dynamic/text/1" })),
        ("resources/read", json!({ "uri": "demo://resource/dynamic/blob/2" })),
        ("resources/subscribe", json!({ "uri": "demo://resource/dynamic/text/1" })),
        ("prompts/get", json!({ "name": "simple-prompt" })),
        ("prompts/get", json!({ "name": "args-prompt", "arguments": { "city": "Z\u{fc}rich" } })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "completable-prompt" }, "argument": { "name": "department", "value": "E" } }),
        ),
        ("tasks/list", json!({})),
    ] {
        answers.push((method, client.ask(method, params).await));
    }
    for (tool, arguments) in [
        ("echo", json!({ "message": "\u{1f511} \\u0000 \"quoted\"" })),
        ("get-sum", json!({ "a": 1.5, "b": -2e3 })),
        ("get-annotated-message", json!({ "messageType": "error", "includeImage": true })),
        ("get-tiny-image", json!({})),
        ("get-structured-content", json!({ "location": "Chicago" })),
        ("get-resource-links", json!({ "count": 2 })),
        ("get-resource-reference", json!({ "resourceType": "Text", "resourceId": 1 })),
        ("get-roots-list", json!({})),
        ("trigger-sampling-request", json!({ "prompt": "p", "maxTokens": 10 })),
        ("trigger-elicitation-request", json!({})),
        ("toggle-simulated-logging", json!({})),
        ("toggle-subscriber-updates", json!({})),
    ] {
        let answer = client.call(tool, arguments).await;
        assert_ne!(answer["result"]["isError"], true, "{tool}: {answer}");
        answers.push((tool, answer));
    }
    let slow = json!({ "name": "trigger-long-running-operation", "arguments": { "duration": 0.1, "steps": 4 },
        "_meta": { "progressToken": "p" } });
    answers.push(("progress", client.ask("tools/call", slow.clone()).await));
    for (name, answer) in &answers {
        assert!(answer.get("result").is_some(), "{name}: {answer}");
    }
    let task = json!({ "name": "simulate-research-query", "arguments": { "topic": "t" }, "task": { "ttl": 60_000 } });
    let task = client.ask("tools/call", task).await["result"]["task"]["taskId"].clone();
    for method in ["tasks/get", "tasks/cancel"] {
        let answer = client.ask(method, json!({ "taskId": task })).await;
        assert_eq!(answer["result"]["taskId"], task, "{answer}");
    }
    // Errors of the protocol and of a tool, and an error that carries a page.
    assert_eq!(client.ask("no/such/method", json!({})).await["error"]["code"], -32601);
    assert_eq!(client.call("no-such-tool", json!({})).await["result"]["isError"], true);
    let page = json!({ "url": "https://example.com/x", "message": "m", "errorPath": true });
    assert_eq!(client.call("trigger-url-elicitation", page).await["error"]["code"], -32042);
    // A cancelled request has no answer. This server goes on with its progress.
    let mut slow = slow;
    slow["arguments"]["duration"] = 0.4.into();
    slow["_meta"]["progressToken"] = "q".into();
    let cancelled = client.begin("tools/call", slow).await;
    client.progress("q", 1).await;
    client
        .send(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{cancelled}}}}}"#
        ))
        .await;
    client.progress("q", 4).await;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    client.until_all(&["notifications/message", "notifications/resources/updated", "notifications/progress"]).await;
    client.call("toggle-simulated-logging", json!({})).await;
    client.call("toggle-subscriber-updates", json!({})).await;
    client.ask("resources/unsubscribe", json!({ "uri": "demo://resource/dynamic/text/1" })).await;
    client.ask("ping", json!({})).await;

    // The end waits for the answers that are on their way.
    let Client { proxy, sent, mut got, methods, .. } = client;
    let (rest, code, notes) = proxy.end_with_lines().await;
    assert_eq!(code, 0, "{notes}");
    got.extend(rest);
    let expected = [
        "elicitation/create",
        "notifications/message",
        "notifications/progress",
        "notifications/resources/updated",
        "roots/list",
        "sampling/createMessage",
    ];
    for method in expected {
        assert!(methods.contains(method), "{method} is missing in {methods:?}");
    }
    let passed = gate.passed();
    let posts: Vec<Vec<u8>> =
        passed.iter().filter(|exchange| exchange.method == "POST").map(|exchange| exchange.body.clone()).collect();
    same("to the server", sent, posts);
    same("to the client", got, passed.iter().flat_map(crate::gate::Exchange::messages).collect());
    let counts = authority.counts();
    assert!(counts.token_requests >= 1 && counts.replays == 0, "{counts:?}");
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
    assert!(one.len() > 30, "{way}");
}
