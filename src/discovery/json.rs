//! A JSON object whose members are read one by one.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::error::DiscoveryError;

/// An object of a metadata document. Members that are not read are ignored (RFC 9728 section 3.2, RFC 8414 section 3.2).
///
/// A member that is repeated is unreadable, because parsers disagree about which of them counts (RFC 8259 section 4), and
/// another program may have checked the other one.
pub(super) struct Object(BTreeMap<String, Member>);

enum Member {
    Once(Value),
    Repeated,
}

impl Object {
    /// Reads `bytes` as an object. White space around it and a byte order mark before it are ignored.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, DiscoveryError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        serde_json::from_slice(bytes).map_err(|_| DiscoveryError::Unreadable { member: None })
    }

    fn get(&self, member: &'static str) -> Result<Option<&Value>, DiscoveryError> {
        match self.0.get(member) {
            Some(Member::Once(value)) => Ok(Some(value)),
            Some(Member::Repeated) => Err(DiscoveryError::Unreadable { member: Some(member) }),
            None => Ok(None),
        }
    }

    /// A string that must be there.
    pub(super) fn required_text(&self, member: &'static str) -> Result<&str, DiscoveryError> {
        let text = self.get(member)?.and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or(DiscoveryError::Unreadable { member: Some(member) })
    }

    /// A string that may be absent. Another type counts as absent.
    pub(super) fn text(&self, member: &'static str) -> Result<Option<&str>, DiscoveryError> {
        Ok(self.get(member)?.and_then(Value::as_str).filter(|text| !text.is_empty()))
    }

    /// A truth value, which is false if it is absent or of another type.
    pub(super) fn is_true(&self, member: &'static str) -> Result<bool, DiscoveryError> {
        Ok(self.get(member)?.and_then(Value::as_bool).unwrap_or(false))
    }

    /// At most `max_items` strings of an array, each of at most `max_bytes`. Longer strings and values of other types are
    /// left out. `None` if the member is absent or no array.
    pub(super) fn texts(
        &self,
        member: &'static str,
        max_items: usize,
        max_bytes: usize,
    ) -> Result<Option<Vec<String>>, DiscoveryError> {
        let Some(items) = self.get(member)?.and_then(Value::as_array) else { return Ok(None) };
        let texts = items.iter().filter_map(Value::as_str).filter(|text| (1..=max_bytes).contains(&text.len()));
        Ok(Some(texts.take(max_items).map(str::to_owned).collect()))
    }

    /// Whether the member is there, but neither an array nor `null`.
    pub(super) fn is_no_array(&self, member: &'static str) -> Result<bool, DiscoveryError> {
        Ok(self.get(member)?.is_some_and(|value| !value.is_array() && !value.is_null()))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    members.entry(name).and_modify(|member| *member = Member::Repeated).or_insert(Member::Once(value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
