//! A file for each form of record that was ever written. Never edit one of these files. A change that does not fit them
//! needs a new format number.

use super::super::{CURRENT, FormatError, MAX_BYTES, decode, encode};
use super::*;

const TWO_GRANT: &[u8] = include_bytes!("../../fixtures/format-2-grant.json");
const TWO_REPEATABLE: &[u8] = include_bytes!("../../fixtures/format-2-repeatable.json");
const TWO_TOMBSTONE: &[u8] = include_bytes!("../../fixtures/format-2-tombstone.json");
const THREE_GRANT: &[u8] = include_bytes!("../../fixtures/format-3-grant.json");
const THREE_TOMBSTONE: &[u8] = include_bytes!("../../fixtures/format-3-tombstone.json");
const FOUR_GRANT: &[u8] = include_bytes!("../../fixtures/format-4-grant.json");
const FOUR_TOMBSTONE: &[u8] = include_bytes!("../../fixtures/format-4-tombstone.json");
const FIVE_GRANT: &[u8] = include_bytes!("../../fixtures/format-5-grant.json");
const FIVE_TOMBSTONE: &[u8] = include_bytes!("../../fixtures/format-5-tombstone.json");
const FIVE_VACANT: &[u8] = include_bytes!("../../fixtures/format-5-vacant.json");

#[test]
fn the_current_format_is_pinned_to_the_byte() -> Result<(), FormatError> {
    for (record, fixture) in [(full(), FIVE_GRANT), (tombstone(), FIVE_TOMBSTONE), (vacant(), FIVE_VACANT)] {
        let text = fixture.strip_suffix(b"\n").unwrap_or(fixture);
        assert_eq!(encoded(&record)?, String::from_utf8_lossy(text));
        assert_same(&decode(fixture)?, &record);
    }
    Ok(())
}

/// `record` without a request to a person, because the formats before the fifth have none.
fn unprompted(record: Record) -> Record {
    Record { prompt: None, ..record }
}

/// `record`, whose oldest dead token is taken for the one that a login came with.
fn migrated(record: Record) -> Record {
    with_login(digest(0xd1), unprompted(record))
}

#[test]
fn format_4_migrates_with_everything_it_holds() -> Result<(), FormatError> {
    assert_same(&decode(FOUR_GRANT)?, &unprompted(full()));
    assert_same(&decode(FOUR_TOMBSTONE)?, &unprompted(tombstone()));
    let logins = with_logins(&String::from_utf8_lossy(FOUR_GRANT));
    assert_same(&decode(logins.as_bytes())?, &with_login(digest(0xd2), with_login(digest(0xe1), unprompted(full()))));
    Ok(())
}

#[test]
fn format_2_migrates_with_everything_it_holds() -> Result<(), FormatError> {
    assert_same(&decode(TWO_GRANT)?, &migrated(with(|grant| grant.renewal = RenewalPlan::default())));
    assert_same(&decode(TWO_TOMBSTONE)?, &migrated(tombstone()));
    Ok(())
}

#[test]
fn format_3_migrates_with_everything_it_holds() -> Result<(), FormatError> {
    assert_same(&decode(THREE_GRANT)?, &migrated(full()));
    assert_same(&decode(THREE_TOMBSTONE)?, &migrated(tombstone()));
    Ok(())
}

#[test]
fn a_token_that_was_never_replaced_is_taken_for_the_one_that_a_login_came_with() -> Result<(), FormatError> {
    for (fixture, login) in [(THREE_GRANT, Some(credential().digest())), (THREE_TOMBSTONE, None)] {
        let record = decode(without_dead(&String::from_utf8_lossy(fixture)).as_bytes())?;
        assert_eq!(record.dead.logins().copied().collect::<Vec<_>>(), Vec::from_iter(login));
    }
    Ok(())
}

#[test]
fn the_tokens_that_logins_came_with_stand_behind_the_dead_ones() -> Result<(), FormatError> {
    let record = with_login(digest(0xd2), with_login(digest(0xe1), full()));
    let wanted = with_logins(String::from_utf8_lossy(FIVE_GRANT).trim_end());
    assert_eq!(encoded(&record)?, wanted);
    assert_same(&decode(wanted.as_bytes())?, &record);
    Ok(())
}

/// `text` of `full`, with two tokens that logins came with.
fn with_logins(text: &str) -> String {
    let logins = format!("],\"logins\":[\"{}\",\"{}\"],\"content\"", "e1".repeat(32), "d2".repeat(32));
    text.replacen("],\"content\"", &logins, 1)
}

fn without_dead(text: &str) -> String {
    let start = text.find("\"dead\":[").expect("a list");
    let end = start + text[start..].find(']').expect("its end");
    format!("{}\"dead\":[{}", &text[..start], &text[end..])
}

#[test]
fn an_older_lineage_is_taken_to_rotate_if_a_dead_token_is_known() -> Result<(), FormatError> {
    for fixture in [TWO_GRANT, THREE_GRANT] {
        let known = String::from_utf8_lossy(fixture);
        let unknown = without_dead(&known);
        let rotated = |text: &str| decode(text.as_bytes()).map(|record| record.grant().expect("a grant").rotated);
        assert_eq!((rotated(&known)?, rotated(&unknown)?), (true, false));
    }
    Ok(())
}

#[test]
fn a_repeatable_grant_of_format_2_is_known_by_its_token() -> Result<(), FormatError> {
    let plan = |text: &str| {
        let record = decode(text.as_bytes())?;
        Ok::<_, FormatError>(record.grant().expect("a grant").renewal.clone())
    };
    let minted = String::from_utf8_lossy(TWO_REPEATABLE);
    // The name of the source that minted the token was never stored.
    assert_eq!(plan(&minted)?, RenewalPlan::repeatable(SourceName::default()));
    // This is an imported login without a refresh token.
    let imported = minted.replace("\"flight\":\"000000000000000000000000000000f1\"", "\"flight\":null");
    assert_eq!(plan(&imported)?, RenewalPlan::default());
    Ok(())
}

#[test]
fn a_migrated_record_is_written_in_the_current_format() -> Result<(), FormatError> {
    for fixture in [TWO_GRANT, TWO_REPEATABLE, TWO_TOMBSTONE, THREE_GRANT, THREE_TOMBSTONE, FOUR_GRANT, FOUR_TOMBSTONE]
    {
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
    assert_eq!(decode(br#"{"format":6}"#), newer(6));
    assert_eq!(decode(br#"{"record":[{"a":null}],"epoch":"x","format":4294967295}"#), newer(u32::MAX));
    let five = String::from_utf8_lossy(FIVE_GRANT);
    assert_eq!(decode(five.replace("\"format\":5", "\"format\":6").as_bytes()), newer(6));
    let message = FormatError::Newer { found: 6, known: CURRENT }.to_string();
    assert!(message.contains("format 6") && message.contains("above 5") && message.contains("update"), "{message}");
}

#[test]
fn a_record_without_a_usable_format_is_damaged() {
    let damaged = Err(FormatError::Damaged { what: "format" });
    for text in [
        r#"{}"#,
        r#"{"epoch":1}"#,
        r#"{"format":0}"#,
        r#"{"format":1}"#,
        r#"{"format":-1}"#,
        r#"{"format":4.0}"#,
        r#"{"format":"4"}"#,
        r#"{"format":null}"#,
        r#"{"format":4294967296}"#,
        r#"{"format":4,"format":5}"#,
        r#""4""#,
        r#"4"#,
    ] {
        assert_eq!(decode(text.as_bytes()), damaged, "{text}");
    }
}

#[test]
fn one_format_is_not_read_as_another() {
    let layout = Err(FormatError::Damaged { what: "layout" });
    let formats = [(2, TWO_GRANT), (3, THREE_GRANT), (4, FOUR_GRANT), (5, FIVE_GRANT)];
    for (number, fixture) in formats {
        for (other, _) in formats.iter().filter(|(other, _)| *other != number) {
            let text = String::from_utf8_lossy(fixture);
            let renamed = text.replace(&format!("\"format\":{number}"), &format!("\"format\":{other}"));
            assert_eq!(decode(renamed.as_bytes()), layout, "{number} as {other}");
        }
    }
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
