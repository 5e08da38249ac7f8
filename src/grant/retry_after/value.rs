//! The delay in the value of one header, such as `Retry-After`.

use std::time::Duration;

use tokenkeeper_actors::values::WallTime;

use crate::grant::time::{self, Time};

/// The maximum number of elements of one header that are read.
const MAX_ELEMENTS: usize = 64;

/// The longest delay of one header.
pub(super) fn of_header(value: &str, now: WallTime) -> Option<Duration> {
    let whole = of_element(value, now);
    if whole.is_some() || !value.contains(',') {
        return whole;
    }
    let elements: Vec<&str> = value.split(',').take(MAX_ELEMENTS).collect();
    let alone = elements.iter().filter_map(|element| of_element(element, now));
    // An HTTP date contains a comma, after the weekday.
    let pairs = elements.windows(2).filter_map(|pair| of_element(&pair.join(","), now));
    alone.chain(pairs).max()
}

fn of_element(value: &str, now: WallTime) -> Option<Duration> {
    let value = value.trim().trim_matches('"');
    // A delay has no sign, although a number may have one.
    let signed = value.starts_with(['+', '-']);
    match Time::of(value).filter(|_| !signed)? {
        Time::In(span) if time::number(value).is_some() => Some(up(span)),
        Time::In(span) => Some(span),
        Time::At(at) => Some(at.since(now)),
    }
}

/// The span in whole seconds, rounded up.
pub(super) fn up(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)))
}
