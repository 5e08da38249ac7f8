//! The headers of messages on both wires.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::message::McpMessage;
use super::tools::KnownTools;

/// The identifier of a session, on the wire of 2025.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision, on both wires.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The event after which a stream is resumed, on the wire of 2025.
pub(crate) const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The marks around a value in base64.
const SENTINEL: (&str, &str) = ("=?base64?", "?=");

/// The headers of each POST.
pub(crate) fn of_post() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, JSON), (ACCEPT, BOTH)])
}

/// The headers of each GET.
pub(crate) fn of_get() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, EVENTS)])
}

/// Adds the headers that repeat parts of a message, on the wire of 2026-07-28 (Streamable HTTP, Request Metadata). `tools` has
/// the schemas of the tools.
pub(crate) fn add_metadata(headers: &mut HeaderMap, message: &McpMessage, revision: &str, tools: &KnownTools) {
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(&encoded(value)) {
            headers.insert(name, value);
        }
    };
    add(VERSION, revision);
    add(METHOD, &message.method);
    if let Some(name) = &message.name {
        add(NAME, name);
    }
    for (name, value) in tools.parameters(message) {
        add(name, &value);
    }
}

/// The value in a form that a header can have. A value that a header cannot have is written in base64, and so is one that looks
/// like an encoded value.
pub(crate) fn encoded(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let is_trimmed = value.trim_matches([' ', '\t']) == value;
    let looks_encoded = value.starts_with(SENTINEL.0) && value.ends_with(SENTINEL.1);
    if is_plain && is_trimmed && !looks_encoded {
        return value.to_owned();
    }
    format!("{}{}{}", SENTINEL.0, STANDARD.encode(value), SENTINEL.1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// The examples of the specification (Value Encoding).
    #[test]
    fn values_are_encoded_as_specified() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
            ("a b\tc", "a b\tc"),
        ] {
            assert_eq!(encoded(value), header);
        }
    }

    #[test]
    fn the_headers_repeat_the_message() {
        let read = |text: &'static str| McpMessage::read(Bytes::from_static(text.as_bytes())).unwrap();
        let headers = |text| {
            let mut headers = HeaderMap::new();
            add_metadata(&mut headers, &read(text), "2026-07-28", &KnownTools::default());
            let shown: Vec<_> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            shown
        };
        assert_eq!(
            headers(r#"{"id":1,"method":"resources/read","params":{"uri":"file:///\u00e9"}}"#),
            ["mcp-protocol-version: 2026-07-28", "mcp-method: resources/read", "mcp-name: =?base64?ZmlsZTovLy/DqQ==?="]
        );
        assert_eq!(headers(r#"{"method":"a"}"#), ["mcp-protocol-version: 2026-07-28", "mcp-method: a"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_value_stands_in_a_header_and_is_read_back(value in any::<String>()) {
            let header = encoded(&value);
            prop_assert!(HeaderValue::from_str(&header).is_ok());
            let inner = header.strip_prefix(SENTINEL.0).and_then(|header| header.strip_suffix(SENTINEL.1));
            let read = inner.map_or_else(|| header.clone(), |inner| String::from_utf8(STANDARD.decode(inner).unwrap()).unwrap());
            prop_assert_eq!(read, value);
        }
    }
}
