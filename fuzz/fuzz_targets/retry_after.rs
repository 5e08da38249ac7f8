//! Arbitrary `Retry-After` headers.
#![no_main]

use std::time::Duration;

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::grant::retry_after;

fuzz_target!(|input: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let span = retry_after([&value], WallTime::from_millis(1_767_225_600_000));
    let text = value.to_str().unwrap_or_default().trim();
    if (1..10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        assert_eq!(span, text.parse().ok().map(Duration::from_secs));
    } else if text.is_empty() || text.starts_with(['+', '-']) && !text.contains(',') {
        assert_eq!(span, None);
    }
});
