//! Lifetimes in all formats.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use tokenkeeper_actors::law::profile::Evidence;
use tokenkeeper_actors::values::Validity;

use super::{ASKED, answer, lifetime, refresh, tokens};

const DAY: u64 = 24 * 60 * 60;

/// The longest accepted lifetime.
const LONGEST: u64 = 90 * DAY;

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
        (r#""3600s""#, 3600),
        (r#""1h""#, 3600),
    ] {
        assert_eq!(told(said), Some(seconds), "{said}");
    }
}

#[test]
fn what_is_huge_is_capped() {
    let digits = "9".repeat(400);
    let ten_years = (10 * 365 * DAY).to_string();
    for said in
        ["99999999999999999999", "1e300", "1e999", "\"18446744073709551616\"", "2147483647", &ten_years, &digits]
    {
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
    assert_eq!(lifetime(&told), Some(60), "`expires_in` is preferred");
    let zero = tokens(format!(r#"{{"access_token":"{}","expires_in":0}}"#, jwt(&format!(r#"{{"exp":{exp}}}"#))));
    assert_eq!(lifetime(&zero), None, "zero means unknown, and the JWT is not read");
    let garbage = tokens(format!(r#"{{"access_token":"{}","expires_in":"?"}}"#, jwt(&format!(r#"{{"exp":{exp}}}"#))));
    assert_eq!(lifetime(&garbage), Some(900), "an unreadable `expires_in` counts as none");
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
fn a_jwt_lives_from_its_iat_to_its_exp_whatever_the_clocks_say() {
    let now = ASKED.wall.as_millis() / 1000;
    let issued = |iat: u64| jwt(&format!(r#"{{"iat":{iat},"exp":{}}}"#, iat + 900));
    assert_eq!(hinted(&issued(now + 2 * 365 * DAY)), Some(900), "the server's clock is two years ahead");
    assert_eq!(hinted(&issued(now - 2 * 365 * DAY)), Some(900), "the server's clock is two years behind");
    assert_eq!(hinted(&issued(now - 600)), Some(300), "it was issued 10 min ago");
    let millis = jwt(&format!(r#"{{"iat":{now}000,"exp":{}000}}"#, now + 900));
    assert_eq!(hinted(&millis), Some(900), "in milliseconds");
    for odd in [format!(r#""iat":{},"exp":{}"#, now + 1000, now + 900), format!(r#""iat":null,"exp":{}"#, now + 900)] {
        assert_eq!(hinted(&jwt(&format!("{{{odd}}}"))), Some(900), "{odd}");
    }

    let told = |expires_in: u64, token: &str| {
        lifetime(&tokens(format!(r#"{{"access_token":"{token}","expires_in":{expires_in}}}"#)))
    };
    assert_eq!(told(60, &issued(now)), Some(60));
    assert_eq!(told(3600, &issued(now)), Some(900), "the resource reads the JWT");
    assert_eq!(told(10 * 365 * DAY, &issued(now)), Some(900));
}

/// The lifetime of an answer with these members.
#[track_caller]
fn named(members: &str) -> Option<u64> {
    lifetime(&tokens(format!(r#"{{"access_token":"at",{members},"refresh_token":"rt"}}"#)))
}

#[test]
fn a_number_that_is_no_number_of_seconds_is_in_milliseconds() {
    for (said, seconds) in [
        (3_600_000, 3_600),
        (900_000, 900),
        (1_800_000, 1_800),
        (7_200_000, 7_200),
        (28_800_000, 28_800),
        (60 * DAY, 60 * DAY), // LinkedIn
        (30 * DAY, 30 * DAY),
        (365 * DAY, LONGEST),
        (2_628_000, 2_628_000), // a month
        (604_800, 604_800),     // a week
        (300_000, 300_000),     // less than a week, so it may be meant
        (3_600_001, 3_600_001),
    ] {
        assert_eq!(named(&format!(r#""expires_in":{said}"#)), Some(seconds), "{said}");
    }
}

#[test]
fn a_member_with_its_unit_in_its_name_counts_first() {
    assert_eq!(named(r#""expires_in":3600000,"expires_in_sec":3600"#), Some(3600));
    assert_eq!(named(r#""expires_in_sec":3600,"expires_in":3600000"#), Some(3600));
    assert_eq!(named(r#""expires_in_seconds":"3600""#), Some(3600));
    assert_eq!(named(r#""expires_in_ms":3600000"#), Some(3600));
    assert_eq!(named(r#""expires_in":60,"ext_expires_in":3600"#), Some(60));
    assert_eq!(named(r#""ext_expires_in":3600,"refresh_token_expires_in":7200,"refresh_expires_in":1"#), None);
    assert_eq!(named(r#""expiresIn":3600"#), Some(3600));
    assert_eq!(named(r#""expires":3600"#), Some(3600));
}

#[test]
fn dates_count_where_there_is_no_number_of_seconds() {
    let now = ASKED.wall.as_millis() / 1000;
    for date in [
        format!("{}", now + 900),
        format!("\"{}\"", now + 900),
        format!("{}", (now + 900) * 1000),
        "\"2026-01-01T00:15:00Z\"".to_owned(),
        "\"2026-01-01T01:15:00+01:00\"".to_owned(),
        "\"Thu, 01 Jan 2026 00:15:00 GMT\"".to_owned(),
    ] {
        for name in ["expires", "expires_at", "expires_on", "expiresAt", "expiry", "expires_in"] {
            assert_eq!(named(&format!(r#""{name}":{date}"#)), Some(900), "{name} {date}");
        }
        assert_eq!(named(&format!(r#""expires_at":{date},"expires_in":60"#)), Some(60), "{date}");
        assert_eq!(named(&format!(r#""expires_at":{date},"expires_in":3600000"#)), Some(900), "{date}");
    }
    for passed in ["1500000000", "\"2025-12-31T23:59:59Z\"", "\"soon\"", "null", "0", "-1"] {
        assert_eq!(named(&format!(r#""expires_at":{passed}"#)), None, "{passed}");
    }
    assert_eq!(named(r#""expires_at":"2036-01-01T00:00:00Z""#), Some(LONGEST));
}

#[test]
fn a_date_counts_from_the_servers_clock() {
    let headers = [("date", "Thu, 01 Jan 2099 00:00:00 GMT")];
    let body = r#"{"access_token":"at","expires_at":"2099-01-01T00:15:00Z"}"#;
    let Evidence::Tokens(tokens) = answer(200, &headers, body) else { panic!() };
    assert_eq!(lifetime(&tokens), Some(900));
}

#[test]
fn the_anchor_is_the_start_of_the_request() {
    assert_eq!(tokens(r#"{"access_token":"at"}"#).validity, Validity::new(ASKED, None));
}
