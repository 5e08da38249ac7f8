//! Arbitrary answers of a token endpoint. The first byte is the status, the rest is the body.
//!
//! Tokens that a straightforward reader finds must be read, and a truncated answer must never pass for one without a
//! refresh token.
#![no_main]

use http::{Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tokenkeeper::engine::law::profile::Evidence;
use tokenkeeper::engine::values::{Moment, WallTime};
use tokenkeeper::grant::read_answer;
use tokenkeeper::http::Body;

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let status = [200, 200, 200, 201, 302, 400, 401, 500][usize::from(first % 8)];
    let success = (200..300).contains(&status);
    let due = straightforward(body);
    match read(status, body) {
        Evidence::Tokens(tokens) => {
            assert!(success);
            if let Some((access, refresh)) = &due {
                assert_eq!(tokens.access.expose(), access);
                assert_eq!(tokens.refresh.as_ref().map(|token| token.expose()), Some(refresh.as_str()));
            }
        }
        Evidence::Refused(refused) => {
            assert!(!success || due.is_none());
            assert_eq!(refused.status, status);
            let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            assert!(refused.error.is_none_or(|word| (1..=64).contains(&word.len()) && word.bytes().all(sane)));
        }
        evidence => panic!("{evidence:?}"),
    }
    if due.is_some() && body.ends_with(b"}") {
        let cut = &body[..body.len() - 1 - usize::from(*first) % body.len()];
        if let Evidence::Tokens(tokens) = read(200, cut) {
            assert!(tokens.refresh.is_some());
        }
    }
});

fn read(status: u16, body: &[u8]) -> Evidence {
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    read_answer(&answer, Moment::default(), WallTime::from_millis(0))
}

fn straightforward(body: &[u8]) -> Option<(String, String)> {
    let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let (access, refresh) = (text("access_token")?, text("refresh_token")?);
    let sendable = access.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !access.trim().is_empty();
    (sendable && !refresh.trim().is_empty()).then_some((access, refresh))
}
