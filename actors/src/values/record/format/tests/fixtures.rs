//! What was ever written, kept as files: never edit one. A change that does not fit them is a new format.

use super::super::{CURRENT, FormatError, MAX_BYTES, decode, encode};
use super::*;

const ONE_HELD: &[u8] = include_bytes!("../../fixtures/format-1-held.json");
const ONE_ENDED: &[u8] = include_bytes!("../../fixtures/format-1-ended.json");
const ONE_TOMBSTONE: &[u8] = include_bytes!("../../fixtures/format-1-tombstone.json");
const TWO_GRANT: &[u8] = include_bytes!("../../fixtures/format-2-grant.json");
const TWO_TOMBSTONE: &[u8] = include_bytes!("../../fixtures/format-2-tombstone.json");

#[test]
fn the_current_format_is_pinned_to_the_byte() -> Result<(), FormatError> {
    for (record, fixture) in [(full(), TWO_GRANT), (tombstone(), TWO_TOMBSTONE)] {
        let text = fixture.strip_suffix(b"\n").unwrap_or(fixture);
        assert_eq!(encoded(&record)?, String::from_utf8_lossy(text));
        assert_same(&decode(fixture)?, &record);
    }
    Ok(())
}

#[test]
fn format_1_migrates() -> Result<(), FormatError> {
    let mut expected = with_mark(|mark| {
        mark.presentations = 1;
        mark.latest = mark.first;
    });
    expected.dead = DeadDigests::default();
    if let Content::Grant(grant) = &mut expected.content {
        grant.access.iter_mut().for_each(|access| access.flight = None);
        grant.signed_in = None;
    }
    assert_same(&decode(ONE_HELD)?, &expected);

    let mut expected = with(|grant| {
        grant.binding.client =
            Client { id: "client-1".into(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        grant.dpop_key = None;
        grant.refresh = Refresh::Ended(digest(0xd2));
        grant.access = None;
        grant.parked = None;
        grant.signed_in = None;
    });
    expected.dead = DeadDigests::from_iter([digest(0xd2)]);
    assert_same(&decode(ONE_ENDED)?, &expected);

    assert_same(&decode(ONE_TOMBSTONE)?, &Record { dead: DeadDigests::default(), ..tombstone() });
    Ok(())
}

#[test]
fn what_migrated_is_written_in_the_current_format() -> Result<(), FormatError> {
    for fixture in [ONE_HELD, ONE_ENDED, ONE_TOMBSTONE] {
        let migrated = decode(fixture)?;
        let text = encoded(&migrated)?;
        assert!(text.starts_with(&format!("{{\"format\":{CURRENT},")), "{text}");
        assert_same(&decode(text.as_bytes())?, &migrated);
    }
    Ok(())
}

#[test]
fn a_newer_format_is_refused_whatever_it_looks_like() {
    let newer = |found| Err(FormatError::Newer { found, known: CURRENT });
    assert_eq!(decode(br#"{"format":3}"#), newer(3));
    assert_eq!(decode(br#"{"record":[{"a":null}],"epoch":"x","format":4294967295}"#), newer(u32::MAX));
    let two = String::from_utf8_lossy(TWO_GRANT);
    assert_eq!(decode(two.replace("\"format\":2", "\"format\":3").as_bytes()), newer(3));
    let message = FormatError::Newer { found: 3, known: CURRENT }.to_string();
    assert!(message.contains("format 3") && message.contains("above 2") && message.contains("update"), "{message}");
}

#[test]
fn a_record_without_a_usable_format_is_damaged() {
    let damaged = Err(FormatError::Damaged { what: "format" });
    for text in [
        r#"{}"#,
        r#"{"epoch":1}"#,
        r#"{"format":0}"#,
        r#"{"format":-1}"#,
        r#"{"format":2.0}"#,
        r#"{"format":"2"}"#,
        r#"{"format":null}"#,
        r#"{"format":4294967296}"#,
        r#"{"format":2,"format":3}"#,
        r#""2""#,
        r#"2"#,
    ] {
        assert_eq!(decode(text.as_bytes()), damaged, "{text}");
    }
}

#[test]
fn one_format_is_not_read_as_another() {
    let layout = Err(FormatError::Damaged { what: "layout" });
    let (one, two) = (String::from_utf8_lossy(ONE_HELD), String::from_utf8_lossy(TWO_GRANT));
    assert_eq!(decode(one.replace("\"format\": 1", "\"format\": 2").as_bytes()), layout);
    assert_eq!(decode(two.replace("\"format\":2", "\"format\":1").as_bytes()), layout);
}

#[test]
fn size_is_bounded_both_ways() -> Result<(), FormatError> {
    let sized = |length| with(|grant| grant.subject = Some(Subject("s".repeat(length))));
    let rest = encode(&sized(0))?.expose_secret().len();
    let largest = sized(MAX_BYTES - rest);
    let bytes = encode(&largest)?;
    assert_eq!(bytes.expose_secret().len(), MAX_BYTES);
    assert_same(&decode(bytes.expose_secret())?, &largest);
    assert!(matches!(encode(&sized(MAX_BYTES - rest + 1)), Err(FormatError::TooLarge)));
    assert_eq!(decode(&vec![b' '; MAX_BYTES + 1]), Err(FormatError::TooLarge));
    assert_eq!(decode(&vec![b' '; MAX_BYTES]), Err(FormatError::NotJson));
    Ok(())
}
