//! Properties of the reader of answers, over arbitrary answers.
//!
//! CI runs a few hundred cases of each. A longer search takes the number of cases from a variable:
//!
//! ```sh
//! PROPTEST_CASES=2000000 cargo test --release -p tokenkeeper --test answers
//! ```
//!
//! The coverage-guided targets in `fuzz/` check the same properties.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Response, StatusCode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};
use tokenkeeper::engine::law::profile::{Evidence, Tokens};
use tokenkeeper::engine::values::{Moment, WallTime};
use tokenkeeper::grant::{read_answer, retry_after};
use tokenkeeper::http::Body;

const ASKED: Moment = Moment {
    wall: WallTime::from_millis(1_767_225_600_000),
    elapsed: tokenkeeper::engine::values::ElapsedTime::from_millis(7_000_000),
    boot: tokenkeeper::engine::values::BootId(1),
};

fn read(status: u16, header: Option<&[u8]>, body: &[u8]) -> Evidence {
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(value) = header.and_then(|value| HeaderValue::from_bytes(value).ok()) {
        answer.headers_mut().insert("retry-after", value.clone());
        answer.headers_mut().insert("date", value);
    }
    read_answer(&answer, ASKED, ASKED.wall)
}

/// Both tokens of an answer that has both.
fn both(evidence: Evidence) -> Option<(String, String)> {
    let Evidence::Tokens(tokens) = evidence else { return None };
    let Tokens { access, refresh, .. } = *tokens;
    Some((access.expose().to_owned(), refresh?.expose().to_owned()))
}

fn access_token() -> impl Strategy<Value = String> {
    "[ -~]{0,40}[!-~]".prop_map(String::from)
}

/// Any text that is not blank.
fn refresh_token() -> impl Strategy<Value = String> {
    "\\PC{0,20}[!-~]".prop_map(String::from)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9eE.+-]{1,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Member names that the reader knows, and others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "access_token",
            "refresh_token",
            "token_type",
            "expires_in",
            "scope",
            "authed_user",
            "error",
            "error_code",
            "code",
            "ok",
            "exp",
            "accessToken",
            "refreshToken",
            "expires_in_sec",
            "expires_at",
            "data",
            "errors",
            "type",
            "message",
            "status",
            "retry_after",
        ])
        .prop_map(String::from),
        any::<String>(),
    ]
}

/// The text of an object with both tokens among arbitrary members, in any order.
fn answer_with(access: &str, refresh: &str, others: Vec<(String, Value)>, place: (usize, usize)) -> String {
    let mut members: Vec<_> =
        others.into_iter().filter(|(name, _)| name != "access_token" && name != "refresh_token").collect();
    members.insert(place.0 % (members.len() + 1), ("access_token".to_owned(), access.into()));
    members.insert(place.1 % (members.len() + 1), ("refresh_token".to_owned(), refresh.into()));
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    format!("{{{}}}", members.join(","))
}

/// The result of a straightforward reader: both tokens, if both are there and usable.
fn straightforward(body: &[u8]) -> Option<(String, String)> {
    let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let (access, refresh) = (text("access_token")?, text("refresh_token")?);
    let sendable = access.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !access.trim().is_empty();
    (sendable && !refresh.trim().is_empty()).then_some((access, refresh))
}

proptest! {
    // No file of regressions is kept. A failure prints the smallest input, which belongs in a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_the_reader_stumble(
        status in 100_u16..1000,
        header in option::of(vec(any::<u8>(), 0..40)),
        body in vec(any::<u8>(), 0..300),
    ) {
        match read(status, header.as_deref(), &body) {
            Evidence::Tokens(_) => prop_assert!((200..300).contains(&status)),
            Evidence::Refused(refused) => {
                prop_assert_eq!(refused.status, status);
                let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
                let word = refused.error.unwrap_or_else(|| "none".to_owned());
                prop_assert!((1..=64).contains(&word.len()) && word.bytes().all(sane));
            }
            evidence => prop_assert!(false, "{:?}", evidence),
        }
    }

    #[test]
    fn what_looks_like_json_does_not_either(
        status in prop::sample::select(vec![200_u16, 400]),
        body in "[{\\[\"]{1,3}(access_token|refresh_token|scope|expires_in|[{}\\[\\]\",:0-9eE\\\\u ]){0,30}",
    ) {
        let evidence = read(status, None, body.as_bytes());
        if status == 200 && let Some(due) = straightforward(body.as_bytes()) {
            prop_assert_eq!(both(evidence), Some(due));
        }
    }

    #[test]
    fn no_member_beside_them_loses_the_tokens(
        access in access_token(),
        refresh in refresh_token(),
        others in vec((name(), json()), 0..8),
        place in any::<(usize, usize)>(),
        status in 200_u16..300,
        before in "(\u{feff})?[ \r\n\t]{0,3}",
        after in "\\PC{0,10}",
    ) {
        let body = format!("{before}{}{after}", answer_with(&access, &refresh, others, place));
        prop_assert_eq!(both(read(status, None, body.as_bytes())), Some((access, refresh)), "{}", body);
    }

    #[test]
    fn an_answer_that_is_cut_off_brings_both_tokens_or_none(
        access in access_token(),
        refresh in refresh_token(),
        others in vec((name(), json()), 0..4),
        place in any::<(usize, usize)>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let body = answer_with(&access, &refresh, others, place);
        let body = &body.as_bytes()[..cut.index(body.len())];
        if let Evidence::Tokens(tokens) = read(200, None, body) {
            prop_assert_eq!(tokens.access.expose(), access);
            prop_assert_eq!(tokens.refresh.map(|token| token.expose().to_owned()), Some(refresh));
        }
    }

    #[test]
    fn a_damaged_answer_is_read_as_any_other_reader_reads_it(
        access in access_token(),
        refresh in refresh_token(),
        others in vec((name(), json()), 0..4),
        place in any::<(usize, usize)>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        let mut body = answer_with(&access, &refresh, others, place).into_bytes();
        for (at, byte, how) in damage {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        let evidence = read(200, None, &body);
        if let Some(due) = straightforward(&body) {
            prop_assert_eq!(both(evidence), Some(due));
        }
    }

    #[test]
    fn a_form_brings_what_was_put_in(
        access in access_token(),
        refresh in refresh_token(),
        others in vec(("[a-z_]{1,8}", any::<String>()), 0..6),
    ) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(others.iter().filter(|(name, _)| name != "access_token" && name != "refresh_token"));
        form.append_pair("access_token", &access).append_pair("refresh_token", &refresh);
        prop_assert_eq!(both(read(200, None, form.finish().as_bytes())), Some((access, refresh)));
    }

    #[test]
    fn a_lifetime_is_the_number_or_bounded(seconds in any::<f64>(), quoted in any::<bool>()) {
        prop_assume!(seconds.is_finite());
        let seconds = if quoted { Value::from(seconds.to_string()) } else { Value::from(seconds) };
        let body = format!(r#"{{"access_token":"at","expires_in":{seconds}}}"#);
        let Evidence::Tokens(tokens) = read(200, None, body.as_bytes()) else { panic!("{body}") };
        let told: f64 = seconds.as_str().map_or_else(|| seconds.as_f64().unwrap(), |text| text.parse().unwrap());
        match tokens.validity.lifetime().map(|lifetime| lifetime.as_secs_f64()) {
            Some(lifetime) if told <= 604_800.0 => prop_assert!((lifetime - told).abs() < 1e-6),
            Some(lifetime) => prop_assert!(lifetime <= 90.0 * 86_400.0),
            // A time since 1970 that has passed names no lifetime.
            None => prop_assert!(!(1e-9..1e9).contains(&told), "{}", told),
        }
    }

    #[test]
    fn retry_after_understands_seconds_and_no_sign(value in vec(any::<u8>(), 0..40), seconds in 0_u64..1_000_000_000) {
        let seconds_value = HeaderValue::from_str(&seconds.to_string()).unwrap();
        prop_assert_eq!(retry_after([&seconds_value], ASKED.wall), Some(Duration::from_secs(seconds)));
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let span = retry_after([&value], ASKED.wall);
        let text = value.to_str().unwrap_or_default().trim();
        if text.starts_with(['+', '-']) && !text.contains(',') || text.is_empty() {
            prop_assert_eq!(span, None);
        }
    }

    #[test]
    fn tokens_in_one_envelope_are_read(
        access in access_token(),
        refresh in refresh_token(),
        name in "data|body|result|response|payload|x[a-z_ ]{0,12}",
        outer in vec(("[b-d]{1,8}", any::<i64>()), 0..4),
    ) {
        let mut members: Map<String, Value> = outer.into_iter().map(|(name, value)| (name, value.into())).collect();
        members.insert(name, serde_json::json!({ "access_token": access, "refresh_token": refresh }));
        let body = Value::from(members).to_string();
        prop_assert_eq!(both(read(200, None, body.as_bytes())), Some((access, refresh)), "{}", body);
    }

    #[test]
    fn a_date_is_counted_from_now(ahead in 0_u64..100_000_000, now in 0_u64..200_000_000_000) {
        let date = UNIX_EPOCH + Duration::from_secs(now + ahead);
        let value = HeaderValue::from_str(&httpdate::fmt_http_date(date)).unwrap();
        let now = WallTime::from_millis(now * 1000);
        prop_assert_eq!(retry_after([&value], now), Some(Duration::from_secs(ahead)));
    }
}
