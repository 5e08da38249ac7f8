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

/// Calls `take` for each member of the object at the start of `json`, in order, with its name and its value. Returns
/// whether the object is complete. Text after the object is not read.
pub(super) fn read_object(json: &str, take: impl FnMut(&str, Value<'_>)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    (&mut deserializer).deserialize_map(Object { take, end: json.as_bytes().as_ptr_range().end }).is_ok()
}

/// Calls `take` for each of the first `most` elements of the array at the start of `json`. Returns whether the array is
/// complete.
pub(super) fn read_array(json: &str, most: usize, take: impl FnMut(Value<'_>)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    (&mut deserializer).deserialize_seq(Array { most, take }).is_ok()
}

struct Object<T> {
    take: T,
    /// The end of the text.
    end: *const u8,
}

impl<'de, T: FnMut(&str, Value<'_>)> Visitor<'de> for Object<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key_seed(Text::default())? {
            let raw = map.next_value::<&'de RawValue>()?.get();
            // The last digits of a number may be missing if the text ends with it.
            let may_be_cut =
                raw.ends_with(|c: char| c.is_ascii_digit()) && raw.as_bytes().as_ptr_range().end == self.end;
            if let Some(value) = value(raw).filter(|_| !may_be_cut) {
                (self.take)(&name, value);
            }
        }
        Ok(())
    }
}

struct Array<T> {
    most: usize,
    take: T,
}

impl<'de, T: FnMut(Value<'_>)> Visitor<'de> for Array<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        for _ in 0..self.most {
            let Some(raw) = items.next_element::<&'de RawValue>()? else { return Ok(()) };
            if let Some(value) = value(raw.get()) {
                (self.take)(value);
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A string without its quotes, or any other value as raw text. Returns `None` for an invalid string (a lone
/// surrogate).
fn value(raw: &str) -> Option<Value<'_>> {
    if !raw.starts_with('"') {
        return Some(Value::Json(raw));
    }
    let Text(text) = serde_json::Deserializer::from_str(raw).deserialize_str(Text::default()).ok()?;
    Some(Value::Text(text))
}

/// A string, borrowed where it has no escapes.
#[derive(Default)]
struct Text<'de>(Cow<'de, str>);

impl<'de> DeserializeSeed<'de> for Text<'de> {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de> Visitor<'de> for Text<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Calls `take` with the string at the start of `json`. Returns whether there is one.
pub(super) fn read_text(json: &str, take: impl FnOnce(&str)) -> bool {
    let text = serde_json::Deserializer::from_str(json).deserialize_str(Text::default());
    text.map(|Text(text)| take(&text)).is_ok()
}
