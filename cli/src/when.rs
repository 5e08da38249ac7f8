//! Times and spans, in formats for people and for programs.

use std::time::Duration;

use jiff::Timestamp;
use tokenkeeper::engine::values::WallTime;

/// A wall-clock time in UTC, to the second (RFC 3339).
pub(crate) fn stamp(at: WallTime) -> String {
    let seconds = i64::try_from(at.as_millis() / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "in the far future".to_owned(), |at| at.to_string())
}

/// Parses a time in RFC 3339 or in seconds since 1970.
pub(crate) fn read(text: &str) -> Option<WallTime> {
    let millis = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => seconds * 1000.0,
        Ok(_) => return None,
        Err(_) => {
            return u64::try_from(text.parse::<Timestamp>().ok()?.as_millisecond()).ok().map(WallTime::from_millis);
        }
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of floats saturates")]
    let millis = millis as u64;
    Some(WallTime::from_millis(millis))
}

/// Parses a time as mail and HTTP write it (RFC 9110 section 5.6.7).
pub(crate) fn read_mail(text: &str) -> Option<WallTime> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    u64::try_from(at.as_millisecond()).ok().map(WallTime::from_millis)
}

/// A time relative to `now`, such as "in 58 min", "3 h ago" or "now".
pub(crate) fn relative(at: WallTime, now: WallTime) -> String {
    match (span(at.since(now)), span(now.since(at))) {
        (Some(ahead), _) => format!("in {ahead}"),
        (None, Some(past)) => format!("{past} ago"),
        (None, None) => "now".to_owned(),
    }
}

/// A span in the largest unit that fits, or `None` for less than a second.
fn span(span: Duration) -> Option<String> {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds >= *size)?;
    Some(format!("{} {unit}", seconds / size))
}

/// Parses a span such as `60s`, `5m`, `1h30m` or `90`, which is in seconds.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| "write it like 60s, 5m or 1h30m".to_owned())?;
    Duration::try_from(span).map_err(|_| "a span is not negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_largest_unit() {
        let at = WallTime::from_millis;
        let told = |from_now: i64| relative(at((1_000_000_000 + from_now).unsigned_abs()), at(1_000_000_000));
        let expected = [
            (0, "now"),
            (999, "now"),
            (1_000, "in 1 s"),
            (59_999, "in 59 s"),
            (60_000, "in 1 min"),
            (3_600_000, "in 1 h"),
            (86_400_000, "in 1 d"),
            (-1_000, "1 s ago"),
            (-7_200_000, "2 h ago"),
        ];
        assert!(expected.iter().all(|(from_now, words)| told(*from_now) == *words));
    }

    #[test]
    fn a_time_is_read_either_way() {
        assert_eq!(read("1700000000"), Some(WallTime::from_millis(1_700_000_000_000)));
        assert_eq!(read("1700000000.5"), Some(WallTime::from_millis(1_700_000_000_500)));
        assert_eq!(read("2023-11-14T22:13:20Z"), Some(WallTime::from_millis(1_700_000_000_000)));
        assert_eq!(read("2023-11-14T23:13:20+01:00"), Some(WallTime::from_millis(1_700_000_000_000)));
        assert_eq!(stamp(WallTime::from_millis(1_700_000_000_999)), "2023-11-14T22:13:20Z");
        for bad in ["", "tomorrow", "NaN", "2023-11-14"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_are_read_with_or_without_a_unit() {
        for (text, seconds) in [("60s", 60), ("60", 60), ("5m", 300), ("1h30m", 5_400)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(parse_span("soon").is_err() && parse_span("-5s").is_err());
    }
}
