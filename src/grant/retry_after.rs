//! `Retry-After` (RFC 9110 section 10.2.3), in both of its forms.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use tokenkeeper_actors::values::WallTime;

/// Returns the longest delay of the `Retry-After` headers among `values`, as seen at `now`, or `None` if none can be
/// read.
///
/// A header holds seconds or a date in one of three formats. A past date means no delay. The engine bounds the result.
pub fn longest<'a>(values: impl IntoIterator<Item = &'a HeaderValue>, now: WallTime) -> Option<Duration> {
    values.into_iter().filter_map(|value| span(value.to_str().ok()?, now)).max()
}

fn span(value: &str, now: WallTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large for `u64` becomes the maximum.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some(date(value)?.since(now))
}

/// The date in one of HTTP's three formats (RFC 9110 section 5.6.7).
pub(super) fn date(value: &str) -> Option<WallTime> {
    let since = httpdate::parse_http_date(value.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(WallTime::from_millis(u64::try_from(since.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const THEN: WallTime = WallTime::from_millis(784_111_777_000);

    fn asked(values: &[&str]) -> Option<u64> {
        let values: Vec<_> = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap()).collect();
        longest(&values, WallTime::from_millis(THEN.as_millis() - 90_000)).map(|span| span.as_secs())
    }

    #[test]
    fn seconds_are_taken_as_they_are() {
        assert_eq!(asked(&["120"]), Some(120));
        assert_eq!(asked(&[" 7 "]), Some(7));
        assert_eq!(asked(&["0"]), Some(0));
        assert_eq!(asked(&["99999999999999999999999999"]), Some(u64::MAX));
    }

    #[test]
    fn dates_are_read_in_all_three_formats() {
        assert_eq!(asked(&["Sun, 06 Nov 1994 08:49:37 GMT"]), Some(90));
        assert_eq!(asked(&["Sunday, 06-Nov-94 08:49:37 GMT"]), Some(90));
        assert_eq!(asked(&["Sun Nov  6 08:49:37 1994"]), Some(90));
        assert_eq!(asked(&["Sun, 06 Nov 1994 08:00:00 GMT"]), Some(0), "it has passed");
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for value in ["", "-5", "+5", "1.5", "soon", "5 s", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT", "ä"] {
            assert_eq!(asked(&[value]), None, "{value:?}");
        }
    }

    #[test]
    fn of_several_the_longest_counts() {
        assert_eq!(asked(&["5", "soon", "Sun, 06 Nov 1994 08:49:37 GMT", "60"]), Some(90));
    }
}
