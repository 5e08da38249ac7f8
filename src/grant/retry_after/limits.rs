//! Headers of rate limits, which name the time at which a limit is reset.

use std::time::Duration;

use http::HeaderMap;
use tokenkeeper_actors::values::WallTime;

use super::value::of_header;

/// The headers with the reset of a limit, and the header with the number of requests that are left before it.
///
/// A value is seconds from now (the IETF draft), a time since 1970 in seconds or milliseconds (GitHub, Okta, X), a span
/// (`6m0s`, OpenAI) or a date (Anthropic).
const RESETS: [(&str, &str); 9] = [
    ("ratelimit-reset", "ratelimit-remaining"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("x-ratelimit-reset-after", "x-ratelimit-remaining"),
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("x-rate-limit-reset", "x-rate-limit-remaining"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("rate-limit-reset", "rate-limit-remaining"),
];

/// The header that holds both the reset and the remaining number, as parameters of structured fields.
const COMBINED: &str = "ratelimit";

/// The longest time until the reset of an exhausted limit, as seen at `now`. A limit that has requests left is not the
/// one that refused this request.
pub(super) fn longest(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    let single = RESETS.into_iter().filter_map(|(reset, remaining)| {
        let left = text(headers, remaining).and_then(|left| left.trim().parse::<f64>().ok());
        if left.is_some_and(|left| left > 0.0) { None } else { of_header(text(headers, reset)?, now) }
    });
    let combined = headers.get_all(COMBINED).into_iter().filter_map(|value| combined(value.to_str().ok()?, now));
    single.chain(combined).max()
}

/// Whether the headers show a limit of which no request is left.
pub(super) fn is_exhausted(headers: &HeaderMap) -> bool {
    let is_zero = |left: &str| left.trim().parse::<f64>().is_ok_and(|left| left <= 0.0);
    let single = RESETS.into_iter().any(|(_, remaining)| text(headers, remaining).is_some_and(is_zero));
    let values = headers.get_all(COMBINED).into_iter().filter_map(|value| value.to_str().ok());
    let mut parameters = values.flat_map(|value| value.split([',', ';'])).filter_map(|one| one.split_once('='));
    single || parameters.any(|(name, left)| matches!(name.trim(), "remaining" | "r") && is_zero(left))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Reads `limit=100, remaining=0, reset=50` of the draft's older versions, and `"default";r=0;t=50` of its newer ones.
/// Returns the longest reset of those limits that have no request left, or do not state how many.
fn combined(value: &str, now: WallTime) -> Option<Duration> {
    let (mut left, mut longest) = (None, None);
    for parameter in value.split([',', ';']) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        match name.trim() {
            "remaining" | "r" => left = value.trim().parse::<f64>().ok(),
            "reset" | "t" if left.is_none_or(|left| left <= 0.0) => longest = longest.max(of_header(value, now)),
            _ => {}
        }
    }
    longest
}
