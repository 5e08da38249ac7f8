//! Damaged bytes are an error, or an entry that can be written and read again.

use serde_json::{Map, Value, json};

use super::super::read;
use super::*;

#[test]
fn a_part_of_an_entry_is_refused() {
    for entry in [registration(), metadata(), cooldown(), removed()] {
        let plaintext = encode(&entry).unwrap();
        let bytes = plaintext.expose_secret();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(FormatError::NotJson), "of {end} bytes");
        }
        assert_eq!(decode(&[bytes, b"}"].concat()), Err(FormatError::NotJson));
    }
}

#[test]
fn a_changed_byte_is_noticed_or_harmless() {
    let mut refused = 0;
    for entry in [registration(), metadata(), cooldown(), removed()] {
        let mut bytes = encode(&entry).unwrap().expose_secret().to_vec();
        for at in 0..bytes.len() {
            let original = bytes[at];
            let flipped = (0..8).map(|bit| original ^ (1 << bit));
            for changed in flipped.chain(*b"\"\\{}[]:,0 \0\xff") {
                bytes[at] = changed;
                match decode(&bytes) {
                    Err(FormatError::TooLarge | FormatError::Inconsistent { .. }) => panic!("byte {at}: {changed}"),
                    Err(_) => refused += 1,
                    Ok(read) => {
                        assert_eq!(read::check(&read), Ok(()));
                        assert_eq!(decode(encode(&read).unwrap().expose_secret()), Ok(read));
                    }
                }
            }
            bytes[at] = original;
        }
    }
    assert!(refused > 10_000, "{refused}");
}

/// Each object within `value`, by its path.
fn objects(value: &Value, path: &str, found: &mut Vec<(String, Map<String, Value>)>) {
    if let Value::Object(members) = value {
        found.push((path.to_owned(), members.clone()));
        members.iter().for_each(|(name, member)| objects(member, &format!("{path}/{name}"), found));
    }
}

/// `value` with another value at `path`.
fn replaced(value: &Value, path: &str, by: Value) -> Vec<u8> {
    let mut value = value.clone();
    *value.pointer_mut(path).unwrap() = by;
    value.to_string().into_bytes()
}

#[test]
fn no_member_may_be_missing_unknown_doubled_or_of_another_type() {
    let layout = || Err(FormatError::Damaged { what: "layout" });
    for (entry, due) in [(registration(), 5), (metadata(), 4), (cooldown(), 4), (removed(), 1)] {
        let text = encoded(&entry);
        let whole: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        objects(&whole, "", &mut found);
        assert_eq!(found.len(), due);
        for (path, members) in found {
            let mut more = members.clone();
            more.insert("note".into(), Value::Null);
            assert_eq!(decode(&replaced(&whole, &path, more.into())), layout(), "{path}/note");
            for name in members.keys() {
                let mut fewer = members.clone();
                fewer.remove(name);
                let refused = decode(&replaced(&whole, &path, fewer.into()));
                assert!(matches!(refused, Err(FormatError::Damaged { .. })), "without {path}/{name}: {refused:?}");
                for other in [json!(true), json!({}), json!(-1), json!(0.5)] {
                    let refused = decode(&replaced(&whole, &format!("{path}/{name}"), other));
                    assert!(matches!(refused, Err(FormatError::Damaged { .. })), "at {path}/{name}: {refused:?}");
                }
            }
        }
        let doubled = text.replacen("\"revision\"", "\"revision\":3,\"revision\"", 1);
        assert_eq!(decode(doubled.as_bytes()), layout());
    }
    assert_eq!(decode(br#"{"format":1,"revision":1,"content":{"jwks":{"until_ms":5}}}"#), layout());
}

#[test]
fn a_wrong_member_is_named() {
    let long = "n".repeat(RegistrationName::MAX_BYTES + 1);
    let cases = [
        (registration(), "revision", json!(0)),
        (registration(), "content.registration.name", json!(long)),
        (registration(), "content.registration.origin", json!("found")),
        (registration(), "content.registration.client.secret", json!("hex:f")),
        (registration(), "content.registration.client.auth", json!("client_secret_jwt")),
        (registration(), "content.registration.application_type", json!("Native")),
        (registration(), "content.registration.management.token", json!("hex:f")),
        (registration(), "content.registration.metadata_digest", json!("ab")),
        (registration(), "content.registration.registered_by", json!("work")),
        (metadata(), "content.metadata.fetched", json!({"wall_ms": 1, "elapsed_ms": 1, "boot": "ab"})),
        (cooldown(), "content.cooldown.began", json!({"wall_ms": 1, "elapsed_ms": 1, "boot": "ab"})),
    ];
    for (entry, what, value) in cases {
        let whole: Value = serde_json::from_str(&encoded(&entry)).unwrap();
        let refused = decode(&replaced(&whole, &format!("/{}", what.replace('.', "/")), value.clone()));
        assert_eq!(refused, Err(FormatError::Damaged { what }), "{value}");
    }
}

#[test]
fn an_entry_that_could_not_be_read_again_is_not_written() {
    let entry = IssuerEntry { revision: Revision::default(), ..registration() };
    assert_eq!(encode(&entry).err(), Some(FormatError::Inconsistent { what: "revision" }));
}
