//! The headers by which requests name their MCP session, on the wire of 2025.

use http::{HeaderMap, HeaderValue};

use super::envelope::{MessageParts, member, text};
use super::headers::{SESSION, VERSION};

/// The number of an MCP session. Each new one gets the next number.
pub(crate) type SessionNumber = u64;

/// The headers of an MCP session's requests.
#[derive(Clone, Default)]
pub(crate) struct SessionHeaders {
    pub(crate) number: SessionNumber,
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

impl SessionHeaders {
    /// The headers that an answer to `initialize` names.
    pub(crate) fn of(headers: &HeaderMap, result: &MessageParts<'_>) -> Self {
        let version = result.result.and_then(|result| member(result, "protocolVersion")).and_then(text);
        let version = version.and_then(|version| HeaderValue::from_str(&version).ok());
        let id = headers.get(SESSION).cloned().map(|mut id| {
            // The identifier gives access to the MCP session, like a token.
            id.set_sensitive(true);
            id
        });
        Self { number: 0, id, version }
    }

    /// The same headers, of the MCP session with this number.
    pub(crate) fn numbered(self, number: SessionNumber) -> Self {
        Self { number, ..self }
    }

    pub(crate) fn has_session(&self) -> bool {
        self.id.is_some()
    }

    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(id) = &self.id {
            headers.insert(SESSION, id.clone());
        }
        if let Some(version) = &self.version {
            headers.insert(VERSION, version.clone());
        }
    }
}

impl std::fmt::Debug for SessionHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionHeaders")
            .field("number", &self.number)
            .field("has_session", &self.has_session())
            .finish()
    }
}

/// Phrases in the texts of servers that answer 400 for an MCP session that they do not know.
const LOST: [&str; 9] = [
    "session id",
    "session-id",
    "sessionid",
    "no valid session",
    "invalid session",
    "unknown session",
    "session not found",
    "session expired",
    "session has expired",
];

/// Whether an answer to a request with an MCP session means that the server no longer knows the session.
///
/// The specification has 404 for this, which is also the status of an unknown method in 2026-07-28. Some servers answer 400
/// with a text that names the MCP session.
pub(crate) fn is_lost(status: u16, body: &[u8]) -> bool {
    match status {
        404 => MessageParts::read(body).and_then(|answer| answer.error_code()) != Some(-32601),
        400 => {
            let text = String::from_utf8_lossy(body.get(..4096).unwrap_or(body)).to_lowercase();
            LOST.iter().any(|words| text.contains(words))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_session_is_known_by_its_status_or_text() {
        assert!(is_lost(404, b"") && is_lost(404, br#"{"error":{"code":-32001,"message":"Session not found"}}"#));
        assert!(!is_lost(404, br#"{"id":1,"error":{"code":-32601,"message":"Method not found"}}"#));
        assert!(is_lost(400, br#"{"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#));
        assert!(!is_lost(400, b"the argument session is missing") && !is_lost(500, b"session not found"));
    }
}
