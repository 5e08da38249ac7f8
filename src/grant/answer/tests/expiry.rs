//! Lifetimes in all formats.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use tokenkeeper_actors::values::Validity;

use super::{ASKED, lifetime, refresh, tokens};

/// Ten years, the longest accepted lifetime.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

fn told(expires_in: &str) -> Option<u64> {
    let tokens = tokens(format!(r#"{{"access_token":"at","expires_in":{expires_in},"refresh_token":"rt"}}"#));
    assert_eq!(refresh(&tokens), Some("rt"), "{expires_in}");
    lifetime(&tokens)
}

#[test]
fn numbers_strings_and_floats_are_seconds() {
    for (said, seconds) in [
        ("3600", 3600),
        (r#""3600""#, 3600),
        (r#"" 3600 ""#, 3600),
        ("3600.0", 3600),
        (r#""3599.5""#, 3599),
        ("3.6e3", 3600),
        ("4294967296", LONGEST),
        ("1", 1),
    ] {
        assert_eq!(told(said), Some(seconds), "{said}");
    }
}

#[test]
fn what_is_huge_is_capped() {
    let digits = "9".repeat(400);
    for said in ["99999999999999999999", "1e300", "1e999", "\"18446744073709551616\"", &digits] {
        assert_eq!(told(said), Some(LONGEST), "{said}");
    }
}

#[test]
fn zero_and_less_and_what_cannot_be_read_are_unknown() {
    let long = "9".repeat(401);
    for said in [
        "0",
        "-1",
        "\"-3600\"",
        "-1e999",
        "0.0",
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"soon\"",
        "\"nan\"",
        "\"inf\"",
        "\"infinity\"",
        "\"0x10\"",
        "\"1h\"",
        "[3600]",
        &long,
    ] {
        assert_eq!(told(said), None, "{said}");
    }
    assert_eq!(lifetime(&tokens(r#"{"access_token":"at"}"#)), None);
}

fn jwt(claims: &str) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn hinted(token: &str) -> Option<u64> {
    lifetime(&tokens(format!(r#"{{"access_token":"{token}"}}"#)))
}

#[test]
fn a_jwt_says_when_it_expires_where_the_server_does_not() {
    let exp = ASKED.wall.as_millis() / 1000 + 900;
    assert_eq!(hinted(&jwt(&format!(r#"{{"exp":{exp}}}"#))), Some(900));
    assert_eq!(hinted(&jwt(&format!(r#"{{"sub":"x","exp":{exp}.0,"aud":["a"]}}"#))), Some(900));
    let padded = format!("e30.{}.c2ln", URL_SAFE.encode(format!(r#"{{"exp":{exp} }}"#)));
    assert!(padded.contains('='));
    assert_eq!(hinted(&padded), Some(900));

    // The longest claims that are read: 16 KiB, encoded.
    let rest = format!(r#","exp":{exp}}}"#);
    let longest = format!(r#"{{"x":"{}"{rest}"#, "y".repeat(12 * 1024 - 7 - rest.len()));
    assert_eq!(jwt(&longest).len(), "e30..c2ln".len() + 16 * 1024);
    assert_eq!(hinted(&jwt(&longest)), Some(900));

    let told = tokens(format!(r#"{{"access_token":"{}","expires_in":60}}"#, jwt(&format!(r#"{{"exp":{exp}}}"#))));
    assert_eq!(lifetime(&told), Some(60), "the server's word is better");
    let zero = tokens(format!(r#"{{"access_token":"{}","expires_in":0}}"#, jwt(&format!(r#"{{"exp":{exp}}}"#))));
    assert_eq!(lifetime(&zero), None, "the server's word, whatever it means");
    let garbage = tokens(format!(r#"{{"access_token":"{}","expires_in":"?"}}"#, jwt(&format!(r#"{{"exp":{exp}}}"#))));
    assert_eq!(lifetime(&garbage), Some(900), "no word at all");
}

#[test]
fn what_is_no_jwt_or_has_passed_says_nothing() {
    let now = ASKED.wall.as_millis() / 1000;
    let exp = now + 900;
    for token in [
        "opaque".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        "...".to_owned(),
        format!("{}.x", jwt(&format!(r#"{{"exp":{exp}}}"#))),
        jwt("{}"),
        jwt("[]"),
        jwt(r#"{"exp":null}"#),
        jwt(r#"{"exp":"soon"}"#),
        jwt(r#"{"exp":-1}"#),
        jwt(&format!(r#"{{"exp":{now}}}"#)),
        jwt(&format!(r#"{{"exp":{}}}"#, now - 1)),
        jwt(&format!(r#"{{"nested":{{"exp":{exp}}}}}"#)),
        jwt(&format!(r#"{{"x":"{}","exp":{exp}}}"#, "y".repeat(16 * 1024))),
    ] {
        assert_eq!(hinted(&token), None, "{token:.40}");
    }
    assert_eq!(hinted(&jwt(r#"{"exp":1e300}"#)), Some(LONGEST));
}

#[test]
fn the_anchor_is_the_start_of_the_request() {
    assert_eq!(tokens(r#"{"access_token":"at"}"#).validity, Validity::new(ASKED, None));
}
