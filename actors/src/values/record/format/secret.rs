//! Secrets, digests and identifiers as JSON strings.

use std::borrow::Cow;
use std::fmt;

use base16ct::{HexDisplay, lower};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The prefix of a secret that is written in hexadecimal.
const IN_HEX: &str = "hex:";

/// A secret that is being written or read. It borrows from the record or from the bytes, and is never a copy.
///
/// A reader of JSON unescapes a string in its own scratch space, which is never wiped. So no secret is ever escaped. A
/// secret that would need an escape, such as a private key in JSON or PEM, is written in hexadecimal after `hex:`. So
/// is a secret that begins with `hex:` itself.
#[derive(Clone, Copy)]
pub(super) enum Secret<'a> {
    /// A secret to be written.
    Plain(&'a str),
    /// A secret as it was read.
    Stored(&'a str),
}

impl Secret<'_> {
    /// Passes the secret to `take`, which must not leave a copy behind. Returns `None` when it was not stored in the
    /// right form.
    pub(super) fn reveal<T>(self, take: impl FnOnce(&str) -> T) -> Option<T> {
        let stored = match self {
            Secret::Plain(secret) => return Some(take(secret)),
            Secret::Stored(stored) => stored,
        };
        let Some(digits) = stored.strip_prefix(IN_HEX) else { return Some(take(stored)) };
        let mut secret = Zeroizing::new(vec![0; digits.len() / 2]);
        lower::decode(digits, &mut secret).ok()?;
        std::str::from_utf8(&secret).ok().map(take)
    }
}

impl Serialize for Secret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Secret::Plain(secret) if secret.starts_with(IN_HEX) || secret.bytes().any(is_escaped) => {
                // The secret is formatted digit by digit into the output, so that no copy of it is made.
                serializer.collect_str(&format_args!("{IN_HEX}{:x}", HexDisplay(secret.as_bytes())))
            }
            Secret::Plain(text) | Secret::Stored(text) => serializer.serialize_str(text),
        }
    }
}

/// Whether a byte of a JSON string must be escaped (RFC 8259 section 7).
fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

impl<'de: 'a, 'a> Deserialize<'de> for Secret<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl<'de> Visitor<'de> for Borrowed {
            type Value = Secret<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string without escapes")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Secret::Stored(text))
            }

            // No writer of this format escapes a secret. The default implementation would quote the secret in its error.
            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::custom("an escaped secret"))
            }
        }

        deserializer.deserialize_str(Borrowed)
    }
}

/// A fixed number of bytes that are not secret, in hexadecimal. This includes 128-bit numbers, because most readers of
/// JSON lose precision above 53 bits.
pub(super) fn hex(bytes: &[u8]) -> Cow<'static, str> {
    lower::encode_string(bytes).into()
}

/// The bytes that [`hex`] encoded. Each value has one spelling, with all digits and in lower case.
pub(super) fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (lower::decode(digits, &mut bytes).ok()?.len() == N).then_some(bytes)
}
