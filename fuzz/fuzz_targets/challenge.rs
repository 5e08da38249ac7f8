//! Arbitrary `WWW-Authenticate` headers, one a line.
//!
//! Each challenge is bounded and shown clean, and one that is written after the others is read as it was written.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use tokenkeeper::discovery::Challenge;

const KNOWN: &str =
    "Bearer error=\"insufficient_scope\", scope=\"a \\\"b\", resource_metadata=\"https://a.example/\\\\x\"";

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
    let challenges = Challenge::parse(&headers);
    assert!(challenges.len() <= 16);
    for challenge in &challenges {
        assert!(!challenge.scheme().is_empty());
        let shown = format!("{challenge:?}");
        assert!(shown.chars().count() < 2_000 && !shown.chars().any(char::is_control));
        let scopes = challenge.scopes();
        assert!(scopes.is_none_or(|scopes| (1..=256).contains(&scopes.iter().count())));
        assert!(!challenge.is_insufficient_scope() || challenge.is_for_tokens());
    }
    assert_eq!(Challenge::key(&challenges), Challenge::key(&Challenge::parse(&headers)));

    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(KNOWN));
    let more = Challenge::parse(&headers);
    if input.len() < 8 * 1024 && challenges.len() < 16 {
        let [before @ .., known] = &more[..] else { panic!("the known challenge is missing") };
        assert_eq!(before, challenges);
        assert!(known.is_insufficient_scope());
        assert_eq!(known.scope(), Some("a \"b"));
        assert_eq!(known.resource_metadata(), Some("https://a.example/\\x"));
    }
});
