//! The parts of a JSON-RPC message that the commands read, borrowed from its bytes.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// The member of `_meta` that names the revision, in each message of the wire of 2026-07-28.
const REVISION: &str = "io.modelcontextprotocol/protocolVersion";

/// The kinds of messages (JSON-RPC 2.0 sections 4 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// A message with a method and an id.
    Request,
    /// A message with a method and without an id.
    Notification,
    /// A message without a method. It answers a request of the other side.
    Response,
}

/// The members of a message that are read. Unknown members stay in the bytes.
#[derive(Debug, Deserialize)]
pub(crate) struct MessageParts<'a> {
    /// The identifier, which may be `null`.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) error: Option<&'a RawValue>,
}

/// The parameters that have a meaning on the wire.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct MessageParams<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) uri: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "taskId", deserialize_with = "present")]
    pub(crate) task: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestId", deserialize_with = "present")]
    pub(crate) request_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) arguments: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta", deserialize_with = "present")]
    pub(crate) meta: Option<&'a RawValue>,
}

impl<'a> MessageParts<'a> {
    /// Reads a message. `None` unless the bytes are one JSON object, whose members above occur once.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        object(std::str::from_utf8(bytes).ok()?)
    }

    pub(crate) fn kind(&self) -> MessageKind {
        match (self.method, self.id) {
            (Some(_), Some(_)) => MessageKind::Request,
            (Some(_), None) => MessageKind::Notification,
            (None, _) => MessageKind::Response,
        }
    }

    /// The method. Empty if it is absent or no text.
    pub(crate) fn method(&self) -> Cow<'a, str> {
        self.method.and_then(text).unwrap_or_default()
    }

    /// The parameters, unparsed.
    pub(crate) fn raw_params(&self) -> Option<&'a RawValue> {
        self.params
    }

    /// The parameters. Empty if they are absent or no object.
    pub(crate) fn params(&self) -> MessageParams<'a> {
        self.params.and_then(|params| object(params.get())).unwrap_or_default()
    }

    /// The error, if it is one as JSON-RPC defines it, with a code.
    pub(crate) fn rpc_error(&self) -> Option<&'a RawValue> {
        #[derive(Deserialize)]
        struct Coded {
            code: f64,
        }
        self.error.filter(|error| object::<Coded>(error.get()).is_some_and(|error| error.code.is_finite()))
    }

    /// The code of its error.
    pub(crate) fn error_code(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Coded {
            code: i64,
        }
        Some(object::<Coded>(self.error?.get())?.code)
    }
}

impl<'a> MessageParams<'a> {
    /// The revision that the message names, on the wire of 2026-07-28.
    pub(crate) fn revision(&self) -> Option<Cow<'a, str>> {
        member(self.meta?, REVISION).and_then(text)
    }
}

/// The messages in these bytes, which are one message, or an array of them (a batch of revision 2025-03-26). `None` if they are
/// neither.
pub(crate) fn messages(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let text = std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t', '\r', '\n']);
    if !text.starts_with('[') {
        return MessageParts::read(text.as_bytes()).map(|_| vec![text.as_bytes()]);
    }
    let parts: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let parts: Vec<_> = parts.into_iter().map(|part| part.get().as_bytes()).collect();
    let is_batch = !parts.is_empty() && parts.iter().all(|part| MessageParts::read(part).is_some());
    is_batch.then_some(parts)
}

/// The message as a line. In JSON, line breaks occur only between tokens, where a blank means the same.
pub(crate) fn line(message: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(message.len() + 1);
    line.extend(message.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    line.push(b'\n');
    line
}

/// Whether two identifiers are the same. A server may write `1.0` as `1`, or a letter as an escape.
pub(crate) fn is_same_id(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (read(one), read(other)) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (Some(Value::String(one)), Some(Value::String(other))) => one == other,
        _ => false,
    }
}

/// A JSON-RPC error that answers the request with this identifier, which is JSON.
pub(crate) fn error(id: &str, code: i64, message: &str, data: Option<&Value>) -> Vec<u8> {
    let message = Value::from(message);
    let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    let error =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":{message}{data}}}}}");
    error.into_bytes()
}

/// A server's own error, as the answer to the request with this identifier.
pub(crate) fn error_of(id: &str, error: &RawValue) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{}}}", error.get()).into_bytes()
}

/// The text of a JSON string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// The member of a JSON object with this name.
pub(crate) fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    members(object)?.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// The members of a JSON object, in their order.
pub(crate) fn members(object: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct Members<'a>(Vec<(String, &'a RawValue)>);
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Members<'de>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(Members(members))
        }
    }
    impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<Members<'_>>(object.get()).ok().map(|members| members.0)
}

/// Reads an object. Arrays are refused first, because serde would also read the fields of a struct from an array.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let is_object = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
    is_object.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Reads a member that is present, even if it is `null`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_follows_from_the_members() {
        for (message, kind, method) in [
            (r#"{"id":1,"method":"a"}"#, MessageKind::Request, "a"),
            (r#"{"id":null,"method":"a\u002fb"}"#, MessageKind::Request, "a/b"),
            (r#" {"method":"n","params":null} "#, MessageKind::Notification, "n"),
            (r#"{"method":7}"#, MessageKind::Notification, ""),
            (r#"{"id":1.5,"result":{}}"#, MessageKind::Response, ""),
            (r"{}", MessageKind::Response, ""),
        ] {
            let envelope = MessageParts::read(message.as_bytes()).unwrap();
            assert_eq!((envelope.kind(), &*envelope.method()), (kind, method), "{message}");
        }
        for message in [&b"[]"[..], b"1", b"", b"{", b"{}{}", b"{\"id\":1,\"id\":2}", b"{\"a\":\"\xff\"}"] {
            assert!(MessageParts::read(message).is_none(), "{message:?}");
        }
    }

    #[test]
    fn the_revision_stands_in_the_meta_data() {
        let revision = |params: Value| {
            let message = json!({ "method": "m", "params": params }).to_string();
            MessageParts::read(message.as_bytes()).unwrap().params().revision().map(Cow::into_owned)
        };
        assert_eq!(revision(json!({ "_meta": { REVISION: "2026-07-28" } })).as_deref(), Some("2026-07-28"));
        for params in [json!(null), json!([1, 2]), json!({ "_meta": 1 }), json!({ "_meta": { REVISION: 1 } })] {
            assert_eq!(revision(params), None);
        }
    }

    #[test]
    fn a_batch_is_its_messages() {
        let parts = messages(b" [ {\"id\":1.0} ,{\"method\":\"a\"}]\n").unwrap();
        assert_eq!(parts, [&b"{\"id\":1.0}"[..], b"{\"method\":\"a\"}"]);
        assert_eq!(messages(b"\r\n{ }\t").unwrap(), [b"{ }"]);
        for bytes in [&b"[]"[..], b"[1]", b"[{}", b"x"] {
            assert_eq!(messages(bytes), None);
        }
    }

    #[test]
    fn identifiers_are_compared_by_their_meaning() {
        for (one, other) in [("1", "1"), ("1", "1.0"), (r#""a""#, r#""\u0061""#), ("null", "null")] {
            assert!(is_same_id(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1", r#""1""#), ("null", "0"), ("1", "x")] {
            assert!(!is_same_id(one, other), "{one} {other}");
        }
    }

    #[test]
    fn an_error_keeps_the_identifier_as_it_is() {
        let error = error("18446744073709551616", -1, "a \"b\"", Some(&json!({ "reason": "x" })));
        let text = String::from_utf8(error).unwrap();
        assert_eq!(
            text,
            r#"{"jsonrpc":"2.0","id":18446744073709551616,"error":{"code":-1,"message":"a \"b\"","data":{"reason":"x"}}}"#
        );
    }

    #[test]
    fn only_an_error_with_a_code_is_one() {
        let is_error = |message: &str| MessageParts::read(message.as_bytes()).unwrap().rpc_error().is_some();
        assert!(is_error(r#"{"error":{"code":-32000,"message":"m"}}"#));
        assert!(!is_error(r#"{"error":"rate limited"}"#) && !is_error(r#"{"error":{"message":"m"}}"#));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = messages(&bytes);
            let _ = MessageParts::read(&bytes);
        }

        #[test]
        fn a_line_means_the_same(text in "[ -~\\n]{0,20}", spread in any::<bool>()) {
            let message = json!({ "id": text, "method": "m" });
            let bytes = if spread { serde_json::to_vec_pretty(&message).unwrap() } else { message.to_string().into_bytes() };
            let line = line(&bytes);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), message);
        }
    }
}
