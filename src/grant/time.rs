//! Numbers, spans and dates as servers write them.

use std::time::{Duration, UNIX_EPOCH};

use tokenkeeper_actors::values::WallTime;

/// The maximum length of a text that is read, in bytes.
const MAX_TEXT: usize = 400;

/// The smallest number that is a time since 1970 in seconds. A span of so many seconds is 31 years.
const EPOCH_SECONDS: f64 = 1e9;

/// The smallest number that is a time since 1970 in milliseconds. As seconds, it is the year 5138.
const EPOCH_MILLIS: f64 = 1e11;

/// The smallest number that is a time since 1970 in microseconds.
const EPOCH_MICROS: f64 = 1e14;

/// The smallest number that is too large to be any of these times. It is ignored.
const ABSURD: f64 = 1e17;

/// A time that is written as a span or as a date.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Time {
    /// After this span, counted from now.
    In(Duration),
    /// At this time.
    At(WallTime),
}

impl Time {
    /// A number below a billion is seconds from now. A larger one is a time since 1970, in the unit that its size
    /// implies. Text is a number, a [span](span), a [duration](iso_span) or a [date](date).
    pub(super) fn of(text: &str) -> Option<Self> {
        match number(text) {
            Some(number) => Self::of_number(number),
            None => span(text).or_else(|| iso_span(text)).map(Self::In).or_else(|| date(text).map(Self::At)),
        }
    }

    fn of_number(number: f64) -> Option<Self> {
        if !(0.0..ABSURD).contains(&number) {
            return None;
        }
        let at = |seconds: f64| {
            let since = Duration::try_from_secs_f64(seconds).ok()?;
            Some(Self::At(WallTime::from_millis(u64::try_from(since.as_millis()).ok()?)))
        };
        match number {
            _ if number < EPOCH_SECONDS => Duration::try_from_secs_f64(number).ok().map(Self::In),
            _ if number < EPOCH_MILLIS => at(number),
            _ if number < EPOCH_MICROS => at(number / 1e3),
            _ => at(number / 1e6),
        }
    }
}

/// The time from `now` until the date or the time since 1970 that `text` is; `None` if it is neither, or has passed.
pub(crate) fn until(text: &str, now: WallTime) -> Option<Duration> {
    match Time::of(text)? {
        Time::In(_) => None,
        Time::At(at) => Some(at.since(now)).filter(|span| !span.is_zero()),
    }
}

/// A decimal number, of any size and sign.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if text.len() > MAX_TEXT || !text.bytes().all(numeric) {
        return None;
    }
    text.parse().ok()
}

/// Numbers with units, for example `120s`, `1m30s`, `1.5 h` and `250ms`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > MAX_TEXT {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        seconds += number.parse::<f64>().ok()? * seconds_of(unit)?;
        rest = after.trim_start();
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// A duration of ISO 8601, for example `PT3S`, `PT1M30.5S`, `P1DT2H` and `P2W`. A year has 365 days and a month 30.
fn iso_span(text: &str) -> Option<Duration> {
    const DATE: [(char, f64); 4] = [('Y', 31_536_000.0), ('M', 2_592_000.0), ('W', 604_800.0), ('D', 86_400.0)];
    const CLOCK: [(char, f64); 3] = [('H', 3_600.0), ('M', 60.0), ('S', 1.0)];
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return None;
    }
    let text = text.to_ascii_uppercase();
    let seconds = match text.strip_prefix('P')?.split_once('T') {
        None => seconds_in(text.strip_prefix('P')?, &DATE)?,
        Some(("", clock)) => seconds_in(clock, &CLOCK)?,
        Some((date, clock)) => seconds_in(date, &DATE)? + seconds_in(clock, &CLOCK)?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// The seconds of one part of a duration, which consists of numbers with their units. `None` if the part is empty or cannot
/// be read.
fn seconds_in(part: &str, units: &[(char, f64)]) -> Option<f64> {
    let (mut rest, mut seconds) = (part, None);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ','))?;
        let (number, after) = rest.split_at(digits);
        let unit = after.chars().next()?;
        let (_, length) = units.iter().find(|(letter, _)| *letter == unit)?;
        seconds = Some(seconds.unwrap_or_default() + number.replace(',', ".").parse::<f64>().ok()? * length);
        rest = &after[unit.len_utf8()..];
    }
    seconds
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    })
}

/// A date in one of HTTP's three formats (RFC 9110 section 5.6.7), in HTTP's first format with `UTC` or `+0000`, or in
/// ISO 8601's extended format. A date of ISO 8601 without a zone is taken as UTC.
pub(super) fn date(text: &str) -> Option<WallTime> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return None;
    }
    http_date(text).or_else(|| iso_date(text))
}

fn http_date(text: &str) -> Option<WallTime> {
    let zoned = ["UTC", "+0000", "-0000"].into_iter().find_map(|zone| text.strip_suffix(zone));
    let date = match zoned {
        Some(rest) => httpdate::parse_http_date(&format!("{rest}GMT")),
        None => httpdate::parse_http_date(text),
    };
    let since = date.ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(WallTime::from_millis(u64::try_from(since.as_millis()).ok()?))
}

/// `2026-01-01T00:00:00.123+01:00`. Seconds, their fraction and the zone may be absent, and a space may stand for `T`.
fn iso_date(text: &str) -> Option<WallTime> {
    let (day, clock) = text.split_once(['T', 't', ' '])?;
    let mut day = day.split('-');
    let (year, month, day) = match (day.next(), day.next(), day.next(), day.next()) {
        (Some(year), Some(month), Some(day), None) => (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?),
        _ => return None,
    };
    let (clock, east) = zone(clock.trim())?;
    let mut clock = clock.split(':');
    let (hour, minute) = (digits(clock.next()?, 2)?, digits(clock.next()?, 2)?);
    let (whole, fraction) = clock.next().map_or(("00", ""), |second| second.split_once('.').unwrap_or((second, "")));
    let second = digits(whole, 2)?;
    let sane = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sane || hour > 23 || minute > 59 || second > 60 || clock.next().is_some() {
        return None;
    }
    let millis = match fraction.get(..fraction.len().min(3)) {
        Some("") => 0,
        Some(first) if fraction.bytes().all(|byte| byte.is_ascii_digit()) => format!("{first:0<3}").parse().ok()?,
        _ => return None,
    };
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - east;
    Some(WallTime::from_millis(u64::try_from((minutes * 60 + second) * 1000 + millis).ok()?))
}

/// The clock's part without its zone, and the minutes that the zone is east of UTC.
fn zone(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, 0)) };
    let (clock, zone) = clock.split_at(at);
    let (sign, zone) = (if zone.starts_with('-') { -1 } else { 1 }, &zone[1..]);
    let (hours, minutes) = match zone.split_once(':') {
        Some((hours, minutes)) => (digits(hours, 2)?, digits(minutes, 2)?),
        None if zone.len() == 2 => (digits(zone, 2)?, 0),
        None => (digits(zone.get(..2)?, 2)?, digits(zone.get(2..)?, 2)?),
    };
    Some((clock.trim_end(), sign * (hours * 60 + minutes)))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// The days from 1970-01-01 to this date of the Gregorian calendar. The year counts from March, so that the leap day is
/// its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<f64> {
        span(text).map(|span| span.as_secs_f64())
    }

    #[test]
    fn spans_with_units() {
        for (text, due) in [
            ("120s", 120.0),
            ("120 s", 120.0),
            ("5 seconds", 5.0),
            ("1m30s", 90.0),
            ("1m30.5s", 90.5),
            ("6m0s", 360.0),
            ("250ms", 0.25),
            ("2h", 7_200.0),
            ("1d 2h", 93_600.0),
            ("10µs", 1e-5),
        ] {
            assert_eq!(seconds(text), Some(due), "{text}");
        }
        for text in ["", " ", "5", "s", "5x", "-5s", "5s5", "1..5s", "5 s soon", "1e3s", "9".repeat(401).as_str()] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(seconds(&format!("{}d", "9".repeat(30))), None, "more than a duration holds");
    }

    #[test]
    fn durations_of_iso_8601() {
        let seconds = |text: &str| iso_span(text).map(|span| span.as_secs_f64());
        for (text, due) in [
            ("PT3S", 3.0),
            (" pt3s ", 3.0),
            ("PT0S", 0.0),
            ("PT1M30S", 90.0),
            ("PT1.5S", 1.5),
            ("PT1,5S", 1.5),
            ("PT2H", 7_200.0),
            ("P1D", 86_400.0),
            ("P1DT2H", 93_600.0),
            ("P0Y0M0DT0H0M3S", 3.0),
            ("P1W", 604_800.0),
        ] {
            assert_eq!(seconds(text), Some(due), "{text}");
            assert_eq!(Time::of(text), Some(Time::In(Duration::from_secs_f64(due))), "{text}");
        }
        for text in
            ["", "P", "PT", "P1DT", "T3S", "3S", "PTS", "PT3", "PT3X", "PT3D", "P3S", "-PT3S", "PT-3S", "PT1.2.3S"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(seconds(&format!("PT{}H", "9".repeat(30))), None, "more than a duration holds");
    }

    fn millis(text: &str) -> Option<u64> {
        date(text).map(WallTime::as_millis)
    }

    #[test]
    fn dates_in_all_formats() {
        const THEN: u64 = 784_111_777_000;
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " 1994-11-06T08:49:37Z ",
            "1994-11-06t08:49:37z",
            "1994-11-06 08:49:37",
            "1994-11-06T08:49:37.000000Z",
            "1994-11-06T09:49:37+01:00",
            "1994-11-06T03:19:37-0530",
            "1994-11-06T10:49:37+02",
            "1994-11-06 08:49:37 +00:00",
        ] {
            assert_eq!(millis(text), Some(THEN), "{text}");
        }
        assert_eq!(millis("1970-01-01T00:00Z"), Some(0));
        assert_eq!(millis("2000-02-29T00:00:00.5Z"), Some(951_782_400_500));
        assert_eq!(millis("2024-12-31T23:59:60Z"), Some(1_735_689_600_000), "a leap second");
        for text in [
            "",
            "soon",
            "1994-11-06",
            "1994-11-06T",
            "1994-13-06T08:49:37Z",
            "1994-11-32T08:49:37Z",
            "1994-11-06T24:49:37Z",
            "1994-11-06T08:49:37.xZ",
            "1994-11-06T08:49:37.ä",
            "1994-11-06T08:49:37+1",
            "1994-11-06T08:49:37+ä1",
            "94-11-06T08:49:37Z",
            "1969-12-31T23:59:59Z",
            "Sun, 99 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn texts_of_any_kind_have_a_maximum_length() {
        let of_length = |length: usize, before: &str, after: &str| {
            format!("{before}{}{after}", "0".repeat(length - before.len() - after.len()))
        };
        let is_read = |length: usize| {
            [
                number(&of_length(length, "", "7")).is_some(),
                span(&of_length(length, "", "7s")).is_some(),
                iso_span(&of_length(length, "PT", "7S")).is_some(),
                date(&of_length(length, "2026-01-01T00:00:00.", "Z")).is_some(),
            ]
        };
        assert_eq!(is_read(MAX_TEXT), [true; 4]);
        assert_eq!(is_read(MAX_TEXT + 1), [false; 4]);
    }

    #[test]
    fn the_size_of_a_number_is_its_unit() {
        let at = |millis| Some(Time::At(WallTime::from_millis(millis)));
        assert_eq!(Time::of("60"), Some(Time::In(Duration::from_secs(60))));
        assert_eq!(Time::of("999999999"), Some(Time::In(Duration::from_secs(999_999_999))));
        assert_eq!(Time::of("1767225600"), at(1_767_225_600_000));
        assert_eq!(Time::of("1767225600.25"), at(1_767_225_600_250));
        assert_eq!(Time::of("1767225600000"), at(1_767_225_600_000));
        assert_eq!(Time::of("1767225600000000"), at(1_767_225_600_000));
        assert_eq!(Time::of("1m"), Some(Time::In(Duration::from_secs(60))));
        assert_eq!(Time::of("2026-01-01T00:00:00Z"), at(1_767_225_600_000));
        for text in ["-1", "1e17", "1e999", "nan", "inf", "", "."] {
            assert_eq!(Time::of(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn no_text_makes_a_reader_stumble(text in "\\PC{0,40}", shaped in "P?[0-9a-zA-Zäµ:.,+ TZ-]{0,40}") {
            for text in [text, shaped] {
                let _ = (Time::of(&text), number(&text), span(&text), iso_span(&text), date(&text));
            }
        }

        #[test]
        fn an_iso_date_is_the_http_date_of_that_time(seconds in 0_u64..4_102_444_800) {
            let http = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            let parts: Vec<&str> = http.split([' ', ',']).filter(|part| !part.is_empty()).collect();
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = 1 + months.iter().position(|month| *month == parts[2]).unwrap();
            let iso = format!("{}-{month:02}-{}T{}Z", parts[3], parts[1], parts[4]);
            proptest::prop_assert_eq!(millis(&iso), Some(seconds * 1000));
            proptest::prop_assert_eq!(millis(&http), Some(seconds * 1000));
        }
    }
}
