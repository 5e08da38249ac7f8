//! Damaged bytes are an error, or a record that can be written and read again.

use serde_json::{Map, Value, json};

use super::super::read;
use super::*;

/// Checks that the result is an error, or a record that can be written and read again, and that neither shows a
/// secret. Returns whether it is an error.
fn assert_sane(bytes: &[u8]) -> bool {
    match decode(bytes) {
        Err(error) => {
            assert!(!matches!(error, FormatError::TooLarge | FormatError::Inconsistent { .. }), "{error}");
            true
        }
        Ok(record) => {
            assert_eq!(read::check(&record), Ok(()));
            let again = encode(&record).and_then(|bytes| decode(bytes.expose_secret()));
            assert!(again.is_ok_and(|again| again == record));
            false
        }
    }
}

#[test]
fn a_part_of_a_record_is_refused() -> Result<(), FormatError> {
    let plaintext = encode(&full())?;
    let bytes = plaintext.expose_secret();
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Err(FormatError::NotJson), "of {end} bytes");
    }
    assert_eq!(decode(&[bytes, b"}"].concat()), Err(FormatError::NotJson));
    Ok(())
}

#[test]
fn a_changed_byte_is_noticed_or_harmless() -> Result<(), FormatError> {
    let plaintext = encode(&full())?;
    let mut bytes = plaintext.expose_secret().to_vec();
    let mut refused = 0;
    for at in 0..bytes.len() {
        let original = bytes[at];
        let flipped = (0..8).map(|bit| original ^ (1 << bit));
        for changed in flipped.chain(*b"\"\\{}[]:,0 \0\xff") {
            bytes[at] = changed;
            refused += usize::from(assert_sane(&bytes));
        }
        bytes[at] = original;
    }
    assert!(refused > 10_000, "{refused}");
    Ok(())
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
    value.pointer_mut(path).into_iter().for_each(|place| *place = by.clone());
    value.to_string().into_bytes()
}

#[test]
fn no_member_may_be_missing_unknown_doubled_or_of_another_type() -> Result<(), Box<dyn std::error::Error>> {
    for text in [encoded(&full())?, include_str!("../../fixtures/format-2-grant.json").to_owned()] {
        let whole: Value = serde_json::from_str(&text)?;
        let mut found = Vec::new();
        objects(&whole, "", &mut found);
        assert!(found.len() > 9, "{}", found.len());
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
                    if other.is_boolean() && members[name].is_boolean() {
                        continue;
                    }
                    let refused = decode(&replaced(&whole, &format!("{path}/{name}"), other));
                    assert!(matches!(refused, Err(FormatError::Damaged { .. })), "at {path}/{name}: {refused:?}");
                }
            }
        }
        let doubled = text.replacen("\"epoch\"", "\"epoch\":3,\"epoch\"", 1);
        assert_eq!(decode(doubled.as_bytes()), layout());
    }
    Ok(())
}

fn layout() -> Result<Record, FormatError> {
    Err(FormatError::Damaged { what: "layout" })
}

#[test]
fn a_wrong_member_is_named() -> Result<(), Box<dyn std::error::Error>> {
    let whole: Value = serde_json::from_str(&encoded(&with_login(digest(0xd1), full()))?)?;
    let (short, upper, odd) = (json!("ab"), json!("AB".repeat(32)), json!("hex:f"));
    let zeros = json!("0".repeat(64));
    let dead: Vec<_> = (0..17).map(|byte| format!("{byte:02x}").repeat(32)).collect();
    let cases = [
        ("dead", json!([zeros, zeros])),
        ("dead", json!(dead)),
        ("dead", json!([upper])),
        ("logins", json!([zeros, zeros])),
        ("logins", json!((0..65).map(|byte| format!("{byte:02x}").repeat(32)).collect::<Vec<_>>())),
        ("logins", json!([upper])),
        ("content.grant.binding.client.secret", odd.clone()),
        ("content.grant.binding.client.auth", json!("client_secret_jwt")),
        ("content.grant.dpop_key", odd.clone()),
        ("content.grant.parked", json!("")),
        ("content.grant.renewal.source", json!("Refresh")),
        ("content.grant.renewal.source", json!("a".repeat(65))),
        ("content.grant.renewal.spending", json!("twice")),
        ("content.grant.renewal.provider", json!("")),
        ("content.grant.refresh.held.token", odd.clone()),
        ("content.grant.refresh.held.digest", short.clone()),
        ("content.grant.refresh.held.mark.flight", short.clone()),
        ("content.grant.refresh.held.mark.digest", upper),
        ("content.grant.refresh.held.mark.digest", zeros),
        ("content.grant.refresh.held.mark.presentations", json!(0)),
        ("content.grant.refresh.held.mark.number", json!(44)),
        ("content.grant.refresh.held.mark.state", json!("Open")),
        ("content.grant.access.token", odd),
        ("content.grant.access.kind", json!("mac")),
        ("content.grant.access.lifetime_ms", json!(0)),
        ("content.grant.access.number", json!(44)),
        ("content.grant.access.cause", json!("boredom")),
        ("content.grant.access.flight", short.clone()),
    ];
    for (what, value) in cases {
        let refused = decode(&replaced(&whole, &format!("/{}", what.replace('.', "/")), value.clone()));
        assert_eq!(refused, Err(FormatError::Damaged { what }), "{value}");
    }
    for what in ["refresh.held.since", "refresh.held.mark.first", "refresh.held.mark.latest", "access.anchored"] {
        let refused =
            decode(&replaced(&whole, &format!("/content/grant/{}/boot", what.replace('.', "/")), short.clone()));
        let Err(FormatError::Damaged { what: named }) = refused else { return Err(what.into()) };
        assert_eq!(named.strip_prefix("content.grant."), Some(what));
    }
    let ended: Value = serde_json::from_str(&encoded(&with(|grant| grant.refresh = Refresh::Ended(digest(1))))?)?;
    let what = "content.grant.refresh.ended";
    assert_eq!(decode(&replaced(&ended, "/content/grant/refresh/ended", short)), Err(FormatError::Damaged { what }));
    Ok(())
}

#[test]
fn a_record_that_could_not_be_read_again_is_not_written() {
    let contradictions = [
        ("content.grant.access.number", Record { number: 41, ..with(|grant| grant.refresh = Refresh::None) }),
        ("content.grant.refresh.held.mark.number", Record { number: 42, ..full() }),
        ("content.grant.refresh.held.mark.number", with_mark(|mark| mark.number = 44)),
        ("content.grant.refresh.held.mark.digest", with_mark(|mark| mark.digest = digest(1))),
        ("content.grant.refresh.held.mark.presentations", with_mark(|mark| mark.presentations = 0)),
    ];
    for (what, record) in contradictions {
        assert_eq!(encode(&record).err(), Some(FormatError::Inconsistent { what }));
    }
    assert!(encode(&Record { number: 43, ..full() }).is_ok());
}
