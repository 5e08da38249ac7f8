//! No output shows a secret, and no secret is ever escaped.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::super::secret::Secret;
use super::*;
use crate::values::SourceSettings;

fn shown(value: &impl Debug) -> String {
    format!("{value:?}\n{value:#?}")
}

#[test]
fn the_search_finds_every_form() {
    let hidden = |text: &str| trace(&format!("error: {text}."), CLIENT).is_some();
    assert!(hidden(CLIENT) && hidden(&CLIENT[9..17]) && !hidden(&CLIENT[9..16]) && !hidden("cs-"));
    assert!(hidden("cs-Yb8cRj4NiT7lQg2DzH5u%2F%2B"[12..].trim()));
    assert!(hidden(&format!("{:02x?}", CLIENT.as_bytes()).replace([',', ' ', '[', ']'], "")));
    assert!(hidden(&shown(&CLIENT.as_bytes())));
    for before in ["", "x", "xy"] {
        let coded = base64(format!("{before}{CLIENT}..").as_bytes());
        assert!(hidden(&coded) && hidden(&coded[12..24]), "{coded}");
        assert!(hidden(&coded.replace('+', "-").replace('/', "_")));
    }
    assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    assert!(trace(&shown(&DPOP), DPOP).is_some());
    assert_eq!(trace("error: the record is damaged.", CLIENT), None);
}

#[test]
fn no_value_shows_a_secret() -> Result<(), FormatError> {
    let record = full();
    assert_unmarked(&shown(&record));
    assert_unmarked(&shown(&record.view()));
    assert_unmarked(&shown(&record.lease()));
    assert_unmarked(&shown(&credential()));
    assert_unmarked(&shown(&encode(&record)?));
    assert_unmarked(&shown(&decode(encode(&record)?.expose_secret())));
    assert_eq!(
        MARKED.iter().filter(|secret| trace(&encoded(&record).unwrap_or_default(), secret).is_some()).count(),
        4
    );
    Ok(())
}

#[test]
fn the_settings_of_a_source_are_a_secret() -> Result<(), FormatError> {
    let record = with(|grant| grant.renewal.settings = Some(SourceSettings::new(DPOP)));
    assert_unmarked(&shown(&record));
    assert_unmarked(&shown(&record.view()));
    let text = encoded(&record)?;
    assert!(text.contains("\"settings\":\"hex:"), "no secret is escaped");
    assert_eq!(decode(text.as_bytes())?, record);
    assert!(!encoded(&full())?.contains("settings"), "a source without settings writes none");
    Ok(())
}

#[test]
fn no_error_shows_a_secret() -> Result<(), FormatError> {
    let text = encoded(&full())?;
    // Puts a secret in place of each value and of each name. A reader that quotes its input would then quote it.
    let names_and_values = text.match_indices(['"', ':', ',', '{', '[']).map(|(at, found)| at + found.len());
    let mut errors = BTreeMap::new();
    for at in names_and_values {
        for secret in MARKED {
            let quoted = serde_json::Value::from(secret).to_string();
            for insert in [quoted.clone(), format!("{quoted},"), format!("{quoted}:1,"), secret.to_owned()] {
                let Err(error) = decode(format!("{}{insert}{}", &text[..at], &text[at..]).as_bytes()) else { continue };
                *errors.entry(format!("{error} {error:?}")).or_insert(0) += 1;
            }
        }
    }
    errors.keys().for_each(|shown| assert_unmarked(shown));
    assert!(errors.len() > 9 && errors.values().sum::<u32>() > 1_000, "{errors:?}");
    Ok(())
}

#[test]
fn a_secret_is_never_escaped_and_comes_back() -> Result<(), serde_json::Error> {
    let cases = [
        ("", "\"\""),
        ("plain ~!/ü", "\"plain ~!/ü\""),
        ("a\"b", "\"hex:612262\""),
        ("a\\", "\"hex:615c\""),
        ("\u{1f}", "\"hex:1f\""),
        ("\u{7f}", "\"\u{7f}\""),
        ("hex:", "\"hex:6865783a\""),
        ("hex", "\"hex\""),
    ];
    for (secret, json) in cases {
        assert_eq!(serde_json::to_string(&Secret::Plain(secret))?, json);
        let read: Secret<'_> = serde_json::from_str(json)?;
        assert_eq!(read.reveal(str::to_owned).as_deref(), Some(secret));
        assert_eq!(Secret::Plain(secret).reveal(str::to_owned).as_deref(), Some(secret));
        assert_eq!(serde_json::to_string(&read)?, json);
    }
    Ok(())
}

#[test]
fn a_secret_in_a_form_that_is_never_written_is_refused() -> Result<(), serde_json::Error> {
    for json in [r#""a\"b""#, r#""a\u0041""#, "7", "null", "[]"] {
        let error = serde_json::from_str::<Secret<'_>>(json).err();
        assert!(error.is_some_and(|error| error.is_data()), "{json}");
    }
    for json in ["\"hex:6\"", "\"hex:6G\"", "\"hex:4F\"", "\"hex:ff\"", "\"hex:zz\""] {
        assert_eq!(serde_json::from_str::<Secret<'_>>(json)?.reveal(str::to_owned), None, "{json}");
    }
    Ok(())
}
