//! A JSON reader that yields one member at a time, so that the members before a truncation are still read.
//!
//! Values are kept as raw text and parsed one by one. A number out of range, or a lone surrogate, therefore spoils only
//! its own member. Nothing here recurses, because serde_json skips nested values with its own explicit stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A member's value.
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    /// JSON other than a string, as raw text.
    Json(&'a str),
}

/// Calls `take` for each wanted member of the object at the start of `json`, in order. `name` maps a member's name to
/// the caller's name for it, and unwanted members to `None`. Returns whether the object is complete. Text after the
/// object is not read.
pub(super) fn read_object<N>(json: &[u8], name: impl Fn(&str) -> Option<N>, take: impl FnMut(N, Value<'_>)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    (&mut deserializer).deserialize_map(Object { name, take }).is_ok()
}

/// The strings of an array, at most `most` of them; `None` for anything else.
pub(super) fn read_texts(json: &str, most: usize) -> Option<Vec<Cow<'_, str>>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    (&mut deserializer).deserialize_seq(Texts { most }).ok()
}

/// The value of the object's member `name`, as raw text.
pub(super) fn member<'a>(json: &'a [u8], name: &'static str) -> Option<&'a str> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    (&mut deserializer).deserialize_map(Member { name, found: &mut found }).ok()?;
    found
}

struct Object<F, T> {
    name: F,
    take: T,
}

impl<'de, N, F: Fn(&str) -> Option<N>, T: FnMut(N, Value<'_>)> Visitor<'de> for Object<F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(NameSeed(&self.name))? {
            let Some(name) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&'de RawValue>()?.get();
            if let Some(value) = value(raw) {
                (self.take)(name, value);
            }
        }
        Ok(())
    }
}

/// A string without its quotes, or any other value as raw text. Returns `None` for an invalid string (a lone
/// surrogate).
fn value(raw: &str) -> Option<Value<'_>> {
    if !raw.starts_with('"') {
        return Some(Value::Json(raw));
    }
    text(raw).map(Value::Text)
}

fn text(raw: &str) -> Option<Cow<'_, str>> {
    struct Text;

    impl<'de> Visitor<'de> for Text {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }

    serde_json::Deserializer::from_str(raw).deserialize_str(Text).ok()
}

struct NameSeed<'f, F>(&'f F);

impl<'de, N, F: Fn(&str) -> Option<N>> DeserializeSeed<'de> for NameSeed<'_, F> {
    type Value = Option<N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<N>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<N, F: Fn(&str) -> Option<N>> Visitor<'_> for NameSeed<'_, F> {
    type Value = Option<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<N>, E> {
        Ok((self.0)(name))
    }
}

struct Texts {
    most: usize,
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(raw) = items.next_element::<&'de RawValue>()? {
            if texts.len() < self.most {
                texts.extend(text(raw.get()));
            }
        }
        Ok(texts)
    }
}

struct Member<'de, 'f> {
    name: &'static str,
    found: &'f mut Option<&'de str>,
}

impl<'de> Visitor<'de> for Member<'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.name {
                *self.found = Some(map.next_value::<&'de RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
