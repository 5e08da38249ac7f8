//! Finds the tokens in the first part of a JSON object.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Whether `json` begins with an object, or the first part of one, in which `access_token` and `refresh_token` are
/// complete strings that are not blank. Their order does not matter. Text after them may be missing or damaged.
pub(super) fn holds_pair(json: &[u8]) -> bool {
    let mut seen = Seen::default();
    // Reading ends with an error at the place where the text breaks off. The members before that place have been visited.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(&mut seen);
    seen.access && seen.refresh
}

/// Whether each of the two tokens was seen.
#[derive(Default)]
struct Seen {
    access: bool,
    refresh: bool,
}

impl<'de> Visitor<'de> for &mut Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key()? {
            match name {
                Name::AccessToken => self.access |= is_token(map.next_value()?),
                Name::RefreshToken => self.refresh |= is_token(map.next_value()?),
                Name::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a member.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    AccessToken,
    RefreshToken,
    #[serde(other)]
    Other,
}

/// Whether a value is a string that is not blank.
fn is_token(value: &RawValue) -> bool {
    value.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = r#"{"token_type":"Bearer","access_token":"at","refresh_token":"r\"t","expires_in":3600.5}"#;

    #[test]
    fn a_pair_is_there_from_the_closing_quote_of_its_second_token() {
        let second = OBJECT.find(r#","expires_in"#).unwrap();
        for length in 0..=OBJECT.len() {
            assert_eq!(holds_pair(&OBJECT.as_bytes()[..length]), length >= second, "{}", &OBJECT[..length]);
        }
        assert!(holds_pair(br#"{"refresh_token":"rt","access_token":"at""#));
    }

    #[test]
    fn damage_after_the_pair_does_not_hide_it() {
        for tail in ["}", "", ",", ",\"x", ",\"x\":tru", ",\"x\":1e,", ",\"x\":\"\\", "]"] {
            let json = format!(r#"{{"access_token":"at","refresh_token":"rt"{tail}"#);
            assert!(holds_pair(json.as_bytes()), "{json}");
        }
        assert!(holds_pair(b"{\"name\":\"J\xfcrgen\",\"access_token\":\"at\",\"refresh_token\":\"rt\",\"x\":\"\xc3"));
    }

    #[test]
    fn half_a_pair_or_one_elsewhere_is_none() {
        for json in [
            "",
            "{",
            r#"["access_token","at","refresh_token","rt"]"#,
            r#""access_token":"at","refresh_token":"rt""#,
            "access_token=at&refresh_token=rt",
            r#"{"access_token":"at","refresh_token":"rt"#,
            r#"{"access_token":"at","refresh_token":"rt\""#,
            r#"{"access_token":"at","refresh_token":"""#,
            r#"{"access_token":"at","refresh_token":" ""#,
            r#"{"access_token":"at","refresh_token":null"#,
            r#"{"access_token":["at"],"refresh_token":"rt""#,
            r#"{"access_token":"at","expires_in":3600"#,
            r#"{"data":{"access_token":"at","refresh_token":"rt"}"#,
            r#"{"access_token":"at","old":{"refresh_token":"rt"}"#,
            r#"{"access_token":"at","x":tru,"refresh_token":"rt"}"#,
        ] {
            assert!(!holds_pair(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn neither_depth_nor_size_is_a_danger() {
        let deep = format!(r#"{{"x":{}"#, "[".repeat(500_000));
        assert!(!holds_pair(deep.as_bytes()));
        let large = format!(r#"{{"access_token":"{0}","refresh_token":"{0}","#, "t".repeat(500_000));
        assert!(holds_pair(large.as_bytes()));
    }
}
