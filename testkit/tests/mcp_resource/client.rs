//! A client for the tests, over raw HTTP.

use reqwest::{Method, RequestBuilder, Response, redirect};
use serde_json::{Value, json};
use tokenkeeper_actors::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokenkeeper_testkit::mcp::{McpResource, McpSettings};

use crate::within::within;

/// A resource, its server, and a grant for it.
pub(crate) struct Rig {
    pub(crate) server: HostileAs,
    pub(crate) resource: McpResource,
    pub(crate) grant: Grant,
}

/// A client with a static token. It follows no redirects.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    uri: String,
    token: String,
    pub(crate) session: Option<String>,
    is_2026: bool,
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) data: String,
}

/// The events of an answer.
pub(crate) struct Events {
    answer: Response,
    read: String,
}

impl Rig {
    pub(crate) async fn start(change: impl FnOnce(&mut McpSettings)) -> Self {
        let server = HostileAs::start().await.unwrap();
        let resource = McpResource::start_with(server.verifier(), change).await.unwrap();
        let client = server.register(ClientAuth::None);
        let grant = server.grant_for(&client, &resource.uri(), "tools:read tools:call");
        Self { server, resource, grant }
    }

    /// A client of the wire of 2025 without a session.
    pub(crate) fn client(&self) -> Client {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        let token = self.grant.access_token.expose().to_owned();
        Client { http, uri: self.resource.uri(), token, session: None, is_2026: false }
    }

    /// A client of the wire of 2026.
    pub(crate) fn client_2026(&self) -> Client {
        Client { is_2026: true, ..self.client() }
    }

    /// A client of the wire of 2025 with a session.
    pub(crate) async fn connect(&self) -> Client {
        let mut client = self.client();
        let answer = client.send(&initialize("2025-11-25")).await;
        assert_eq!(answer.status(), 200);
        client.session = Some(header(&answer, "mcp-session-id"));
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(client.send(&initialized).await.status(), 202);
        client
    }
}

impl Client {
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method) -> RequestBuilder {
        let accepted = if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
        let mut request = self.http.request(method, &self.uri).bearer_auth(&self.token).header("accept", accepted);
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        request
    }

    pub(crate) fn post(&self, message: &Value) -> RequestBuilder {
        let mut request = self.request(Method::POST).header("content-type", "application/json");
        let mut message = message.clone();
        if self.is_2026 {
            message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            request = request
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", message["method"].as_str().unwrap_or_default());
            if let Some(name) = message["params"]["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        request.body(message.to_string())
    }

    pub(crate) async fn send(&self, message: &Value) -> Response {
        within("an answer", self.post(message).send()).await.unwrap()
    }

    /// The result of a call that is answered with JSON.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.send(&call(1, tool, arguments)).await;
        assert_eq!(answer.status(), 200);
        json_of(answer).await["result"].clone()
    }

    pub(crate) async fn open(&self, last_event_id: Option<&str>) -> Response {
        let mut request = self.request(Method::GET);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        within("a standing stream", request.send()).await.unwrap()
    }

    pub(crate) async fn delete(&self) -> Response {
        within("an answer", self.request(Method::DELETE).send()).await.unwrap()
    }
}

impl Events {
    pub(crate) fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-type"), "text/event-stream");
        Self { answer, read: String::new() }
    }

    /// The next event. `Ok(None)` at a proper end, and the remaining text where the connection broke.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let event = Event::read(event);
                self.read = rest.to_owned();
                return Ok(Some(event));
            }
            match within("an event", self.answer.chunk()).await {
                Ok(Some(chunk)) => self.read.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => return Ok(None),
                Err(_) => return Err(std::mem::take(&mut self.read)),
            }
        }
    }

    /// The message of the next event that has one.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let event = self.next().await.unwrap().unwrap();
            if !event.data.is_empty() {
                return serde_json::from_str(&event.data).unwrap();
            }
        }
    }
}

impl Event {
    fn read(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("retry", retry)) => event.retry = Some(retry.to_owned()),
                Some(("data", data)) => event.data = data.to_owned(),
                _ => {}
            }
        }
        event
    }
}

pub(crate) fn initialize(revision: &str) -> Value {
    let info = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": info });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

pub(crate) fn call(id: u64, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    answer.headers()[name].to_str().unwrap().to_owned()
}

pub(crate) async fn json_of(answer: Response) -> Value {
    serde_json::from_str(&within("a body", answer.text()).await.unwrap()).unwrap()
}

/// The text of a tool's result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}
