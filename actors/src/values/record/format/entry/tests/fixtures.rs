//! Every form that was ever written, kept as files. Never edit one. A change that does not fit them is a new format.

use super::*;

const ONE_REGISTRATION: &[u8] = include_bytes!("../../../fixtures/entry-1-registration.json");
const ONE_METADATA: &[u8] = include_bytes!("../../../fixtures/entry-1-metadata.json");
const ONE_COOLDOWN: &[u8] = include_bytes!("../../../fixtures/entry-1-cooldown.json");
const ONE_REMOVED: &[u8] = include_bytes!("../../../fixtures/entry-1-removed.json");

#[test]
fn the_current_format_is_pinned_to_the_byte() {
    let pinned = [
        (registration(), ONE_REGISTRATION),
        (metadata(), ONE_METADATA),
        (cooldown(), ONE_COOLDOWN),
        (removed(), ONE_REMOVED),
    ];
    for (entry, fixture) in pinned {
        let text = fixture.strip_suffix(b"\n").unwrap_or(fixture);
        assert_eq!(encoded(&entry), String::from_utf8_lossy(text));
        assert_eq!(decode(fixture), Ok(entry));
    }
}

#[test]
fn a_newer_format_is_refused_in_any_shape() {
    let newer = |found| Err(FormatError::Newer { found, known: CURRENT });
    assert_eq!(decode(br#"{"format":2}"#), newer(2));
    assert_eq!(decode(br#"{"content":[{"a":null}],"revision":"x","format":4294967295}"#), newer(u32::MAX));
    let one = String::from_utf8_lossy(ONE_REGISTRATION);
    assert_eq!(decode(one.replace("\"format\":1", "\"format\":2").as_bytes()), newer(2));
    let message = FormatError::Newer { found: 2, known: CURRENT }.to_string();
    assert!(message.contains("format 2") && message.contains("above 1") && message.contains("update"), "{message}");
}

#[test]
fn an_entry_without_a_usable_format_is_damaged() {
    let damaged = Err(FormatError::Damaged { what: "format" });
    for text in ["{}", r#"{"format":0}"#, r#"{"format":"1"}"#, r#"{"format":1,"format":2}"#, r#""1""#, "1"] {
        assert_eq!(decode(text.as_bytes()), damaged, "{text}");
    }
}

#[test]
fn a_record_is_no_entry_and_an_entry_no_record() {
    let record = include_bytes!("../../../fixtures/format-3-tombstone.json");
    assert!(matches!(decode(record), Err(FormatError::Newer { found: 3, .. })), "the numbers count apart");
    for fixture in [ONE_REGISTRATION, ONE_METADATA, ONE_COOLDOWN, ONE_REMOVED] {
        assert_eq!(super::super::super::decode(fixture), Err(FormatError::Damaged { what: "format" }));
    }
}

#[test]
fn size_is_bounded_both_ways() {
    let sized = |length| with_metadata(|metadata| metadata.document = "d".repeat(length));
    let rest = encode(&sized(0)).unwrap().expose_secret().len();
    let largest = sized(MAX_BYTES - rest);
    let bytes = encode(&largest).unwrap();
    assert_eq!(bytes.expose_secret().len(), MAX_BYTES);
    assert_eq!(decode(bytes.expose_secret()), Ok(largest));
    assert_eq!(encode(&sized(MAX_BYTES - rest + 1)).err(), Some(FormatError::TooLarge));
    assert_eq!(decode(&vec![b' '; MAX_BYTES + 1]), Err(FormatError::TooLarge));
    assert!(FormatError::TooLarge.to_string().contains("metadata"));
}
