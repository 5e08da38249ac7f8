//! A file for each kind of issuer's entry in each format that was released. Never edit one of these files. If a test here fails after
//! a change, the change needs a new format number.

use super::*;

const FORMAT_1_REGISTRATION: &[u8] = include_bytes!("../../../fixtures/entry-1-registration.json");
const FORMAT_1_METADATA: &[u8] = include_bytes!("../../../fixtures/entry-1-metadata.json");
const FORMAT_1_COOLDOWN: &[u8] = include_bytes!("../../../fixtures/entry-1-cooldown.json");
const FORMAT_1_REMOVED: &[u8] = include_bytes!("../../../fixtures/entry-1-removed.json");

#[test]
fn the_current_format_is_pinned_to_the_byte() {
    let pinned = [
        (registration(), FORMAT_1_REGISTRATION),
        (metadata(), FORMAT_1_METADATA),
        (cooldown(), FORMAT_1_COOLDOWN),
        (removed(), FORMAT_1_REMOVED),
    ];
    for (entry, fixture) in pinned {
        let text = fixture.strip_suffix(b"\n").unwrap_or(fixture);
        assert_eq!(encoded(&entry), String::from_utf8_lossy(text));
        assert_eq!(decode(fixture), Ok(entry));
    }
}

#[test]
fn a_newer_format_is_refused_whatever_its_members_are() {
    let newer = |found| Err(FormatError::Newer { found, known: CURRENT });
    assert_eq!(decode(br#"{"format":2}"#), newer(2));
    assert_eq!(decode(br#"{"content":[{"a":null}],"revision":"x","format":4294967295}"#), newer(u32::MAX));
    let format_1 = String::from_utf8_lossy(FORMAT_1_REGISTRATION);
    assert_eq!(decode(format_1.replace("\"format\":1", "\"format\":2").as_bytes()), newer(2));
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
fn records_and_entries_are_not_read_as_each_other() {
    let record = include_bytes!("../../../fixtures/format-3-tombstone.json");
    assert!(
        matches!(decode(record), Err(FormatError::Newer { found: 3, .. })),
        "records and entries have their own format numbers"
    );
    for fixture in [FORMAT_1_REGISTRATION, FORMAT_1_METADATA, FORMAT_1_COOLDOWN, FORMAT_1_REMOVED] {
        // No record was ever released in format 1.
        assert_eq!(super::super::super::decode(fixture), Err(FormatError::Damaged { what: "format" }));
    }
}

#[test]
fn more_than_the_largest_entry_is_neither_written_nor_read() {
    let sized = |length| with_metadata(|metadata| metadata.document = "d".repeat(length));
    let size_without_document = encode(&sized(0)).unwrap().expose_secret().len();
    let largest = sized(MAX_BYTES - size_without_document);
    let bytes = encode(&largest).unwrap();
    assert_eq!(bytes.expose_secret().len(), MAX_BYTES);
    assert_eq!(decode(bytes.expose_secret()), Ok(largest));
    assert_eq!(encode(&sized(MAX_BYTES - size_without_document + 1)).err(), Some(FormatError::TooLarge));
    assert_eq!(decode(&vec![b' '; MAX_BYTES + 1]), Err(FormatError::TooLarge));
    assert!(FormatError::TooLarge.to_string().contains("metadata"), "it names what may be too large");
}
