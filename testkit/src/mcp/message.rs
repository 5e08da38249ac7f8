//! A request that was read completely.

use bytes::Bytes;
use http::request::Parts;
use serde::Deserialize;
use serde_json::Value;

/// The head and the message of a request at `/mcp`.
pub(super) struct Received {
    pub(super) head: Parts,
    /// `None` for any request but a POST with one JSON-RPC message.
    pub(super) message: Option<Message>,
    /// See [`McpCounts`](super::McpCounts).
    pub(super) operation: String,
}

/// A JSON-RPC message. A request has an identifier and a method, a notification only a method, an answer only an identifier.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) id: Option<Value>,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Value,
}

impl Received {
    pub(super) fn new(head: Parts, body: &Bytes) -> Self {
        let is_post = head.method == http::Method::POST;
        let message: Option<Message> = is_post.then(|| serde_json::from_slice(body).ok()).flatten();
        let operation = match &message {
            Some(Message { method: Some(method), .. }) => method.clone(),
            Some(_) => "response".to_owned(),
            None => head.method.to_string(),
        };
        Self { head, message, operation }
    }

    /// Whether it is one of this operation, which may be a tool or `*`.
    pub(super) fn is(&self, operation: &str) -> bool {
        operation == "*" || operation == self.operation || self.tool() == Some(operation)
    }

    /// The tool that it calls.
    pub(super) fn tool(&self) -> Option<&str> {
        let message = self.message.as_ref().filter(|_| self.operation == "tools/call")?;
        message.params["name"].as_str()
    }

    /// The parameters of the message.
    pub(super) fn params(&self) -> &Value {
        self.message.as_ref().map_or(&Value::Null, |message| &message.params)
    }

    /// A member of the message's metadata.
    pub(super) fn meta(&self, key: &str) -> &Value {
        &self.params()["_meta"][key]
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Whether the client accepts a media type.
    pub(super) fn accepts(&self, essence: &str) -> bool {
        let ranges = self.head.headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let names = ranges.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default());
        names.map(str::trim).any(|name| name.eq_ignore_ascii_case(essence) || name == "*/*")
    }
}
