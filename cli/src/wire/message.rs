//! A message of the client, with the parts that decide how it is sent.

use bytes::Bytes;

use super::envelope::{MessageKind, MessageParts, text};

/// A message as it was read, with the parts that the wire needs.
#[derive(Clone, Debug)]
pub(crate) struct McpMessage {
    /// The whole message, unchanged.
    pub(crate) bytes: Bytes,
    pub(crate) kind: MessageKind,
    /// The identifier as JSON.
    pub(crate) id: Option<String>,
    /// The method. Empty for an answer.
    pub(crate) method: String,
    /// The parameter that `Mcp-Name` repeats, for methods that have one.
    pub(crate) name: Option<String>,
    /// The resource that the message names.
    pub(crate) uri: Option<String>,
    /// The identifier, as JSON, of the request that the message cancels.
    pub(crate) cancels: Option<String>,
    /// The revision that the message names, on the wire of 2026-07-28.
    pub(crate) revision: Option<String>,
}

impl McpMessage {
    /// Reads a message. `None` if it is not one JSON object.
    pub(crate) fn read(bytes: Bytes) -> Option<Self> {
        let envelope = MessageParts::read(&bytes)?;
        let (kind, method, params) = (envelope.kind(), envelope.method().into_owned(), envelope.params());
        let owned = |raw: Option<_>| raw.and_then(text).map(std::borrow::Cow::into_owned);
        let name = match &*method {
            "tools/call" | "prompts/get" => owned(params.name),
            "resources/read" => owned(params.uri),
            "tasks/get" | "tasks/update" | "tasks/cancel" => owned(params.task),
            _ => None,
        };
        let cancels = params.request_id.filter(|_| method == "notifications/cancelled");
        let (id, uri) = (envelope.id.map(|id| id.get().to_owned()), owned(params.uri));
        let cancels = cancels.map(|id| id.get().to_owned());
        let revision = params.revision().map(std::borrow::Cow::into_owned);
        Some(Self { id, kind, name, uri, cancels, revision, method, bytes })
    }

    /// The tool that the message calls.
    pub(crate) fn tool(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.method == "tools/call")
    }

    /// The name of the operation, under which futile refreshes are remembered (law 11).
    pub(crate) fn operation(&self) -> String {
        match (self.tool(), self.kind) {
            (Some(tool), _) => format!("tools/call {tool}"),
            (None, MessageKind::Response) => "responses".to_owned(),
            (None, _) => self.method.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_parts() {
        let bytes = r#"{"id":1.0,"method":"tools/call","params":{"name":"a b","uri":"u","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let message = McpMessage::read(Bytes::from_static(bytes.as_bytes())).unwrap();
        assert_eq!(
            (message.id.as_deref(), message.tool(), message.kind),
            (Some("1.0"), Some("a b"), MessageKind::Request)
        );
        assert_eq!((message.operation().as_str(), message.revision.as_deref()), ("tools/call a b", Some("2026-07-28")));
        assert_eq!(message.bytes, bytes);
        let cancel = br#"{"method":"notifications/cancelled","params":{"requestId":"x"}}"#;
        let cancel = McpMessage::read(Bytes::from_static(cancel)).unwrap();
        assert_eq!((cancel.cancels.as_deref(), cancel.kind), (Some("\"x\""), MessageKind::Notification));
        assert!(McpMessage::read(Bytes::from_static(b"[]")).is_none());
    }
}
