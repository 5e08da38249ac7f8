//! The counts of the resource, and its log of requests.

use std::collections::BTreeMap;

use http::{HeaderMap, header};

/// The counts since the start. All begin at 0 and only grow, except the gauges, which are named as such.
///
/// The *operation* of a request is its JSON-RPC method if it is a POST with one (`tools/call`), `response` for a POST with an
/// answer of the client, and the HTTP method otherwise (`GET`, `DELETE`, `POST`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpCounts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Requests at `/mcp` by HTTP method, counted when their head has arrived.
    pub requests: BTreeMap<String, u64>,
    /// Requests at `/mcp` by operation, counted when their body has arrived.
    pub operations: BTreeMap<String, u64>,
    /// Answers at `/mcp` by operation and status, counted when their head is ready.
    pub answers: BTreeMap<(String, u16), u64>,
    /// Calls that were executed, by tool, counted when the tool begins.
    pub executed: BTreeMap<String, u64>,
    /// Calls in execution. A gauge.
    pub running: u64,
    /// The maximum of `running` so far.
    pub most_running: u64,
    /// Calls that ended before their answer, because the client closed the connection or cancelled the request, or the
    /// resource forgot its sessions.
    pub aborted: u64,
    /// MCP sessions. A gauge.
    pub sessions: u64,
    /// MCP sessions that were opened.
    pub sessions_opened: u64,
    /// Open standing streams, by GET or by `subscriptions/listen`. A gauge.
    pub standing_streams: u64,
    /// Streams that were resumed with `Last-Event-ID`.
    pub resumed: u64,
    /// Requests at any other path, except those for metadata.
    pub elsewhere: u64,
}

impl McpCounts {
    /// Requests at `/mcp` with one HTTP method.
    pub fn requests(&self, method: &str) -> u64 {
        self.requests.get(method).copied().unwrap_or_default()
    }

    /// Requests of one operation.
    pub fn of(&self, operation: &str) -> u64 {
        self.operations.get(operation).copied().unwrap_or_default()
    }

    /// Answers with one status.
    pub fn status(&self, status: u16) -> u64 {
        self.answers.iter().filter(|((_, known), _)| *known == status).map(|(_, count)| count).sum()
    }

    /// Answers to one operation with one status.
    pub fn answered(&self, operation: &str, status: u16) -> u64 {
        self.answers.get(&(operation.to_owned(), status)).copied().unwrap_or_default()
    }

    /// Executed calls of one tool.
    pub fn executed(&self, tool: &str) -> u64 {
        self.executed.get(tool).copied().unwrap_or_default()
    }

    /// Executed calls of all tools.
    pub fn all_executed(&self) -> u64 {
        self.executed.values().sum()
    }
}

/// The head of a request that arrived. Its `Debug` shows neither tokens nor proofs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    headers: HeaderMap,
}

impl ReceivedRequest {
    pub(super) fn new(request: &http::request::Parts) -> Self {
        let mut headers = request.headers.clone();
        for (name, value) in &mut headers {
            // A session id is a secret as well, because it stands for its session.
            let secret = [header::AUTHORIZATION.as_str(), "dpop", "mcp-session-id", "cookie"].contains(&name.as_str());
            value.set_sensitive(secret);
        }
        Self { method: request.method.to_string(), path: request.uri.path().to_owned(), headers }
    }

    /// The first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(http::HeaderValue::as_bytes)
    }

    /// Whether it has a header with this name.
    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// Whether it has a token, a proof or a session id.
    pub fn has_secret(&self) -> bool {
        self.headers.values().any(http::HeaderValue::is_sensitive)
    }

    /// Whether any header contains this text.
    pub fn contains(&self, text: &str) -> bool {
        let contains = |value: &[u8]| value.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        self.headers.values().any(|value| contains(value.as_bytes()))
    }
}
