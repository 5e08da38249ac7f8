//! The pause that a server asks for, in `Retry-After` (RFC 9110 section 10.2.3) or a similar header.

mod limits;
mod value;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokenkeeper_actors::values::WallTime;

use super::time::{self, Time};
use value::{of_header, up};

/// Headers in milliseconds: `retry-after-ms` (OpenAI, Azure) and `x-ms-retry-after-ms` (Azure).
const IN_MILLIS: [&str; 2] = ["retry-after-ms", "x-ms-retry-after-ms"];

/// Returns the longest delay of the `Retry-After` headers among `values`, as seen at `now`, or `None` if none can be
/// read.
///
/// A header holds seconds or a date. Proxies join several headers with commas, and each element counts. The following
/// forms are understood too. Negative and absurd numbers are ignored. A past date means no delay. The engine bounds the
/// result.
///
/// | value | delay |
/// |---|---|
/// | `299.997` | 300 s, because a server must not be asked too early |
/// | `60, 60` | the longest |
/// | `120s`, `2 min`, `1m30s`, `PT2M` | the span |
/// | `1767225660`, `1767225660000` | until then, as seconds or milliseconds since 1970 |
/// | `2026-01-01T00:00:30Z` | until then |
pub fn longest<'a>(values: impl IntoIterator<Item = &'a HeaderValue>, now: WallTime) -> Option<Duration> {
    values.into_iter().filter_map(|value| of_header(value.to_str().ok()?, now)).max()
}

/// The delay in the member `retry_after` of an answer, which is seconds (Discord) or a span (Google's `retryDelay`).
pub(super) fn of_member(value: &str) -> Option<Duration> {
    // A date is ignored, because there is no clock here to compare it with.
    match Time::of(value)? {
        Time::In(span) => Some(up(span)),
        Time::At(_) => None,
    }
}

/// The delay that an answer asks for. `heard` is the current time, used where the answer has no `Date`. `in_body` is the
/// delay that the body names.
///
/// A `Retry-After` counts for any status. The body and the headers of rate limits count only for 429 and 503, because
/// with another status they may describe a limit that was not reached.
pub(crate) fn of_answer(
    status: StatusCode,
    headers: &HeaderMap,
    in_body: Option<Duration>,
    heard: WallTime,
) -> Option<Duration> {
    let now = server_time(headers).unwrap_or(heard);
    let millis = IN_MILLIS.into_iter().filter_map(|name| {
        let number = time::number(headers.get(name)?.to_str().ok()?).filter(|number| *number >= 0.0)?;
        Duration::try_from_secs_f64(number / 1e3).ok()
    });
    let asked = longest(headers.get_all(header::RETRY_AFTER), now).into_iter().chain(millis).max();
    let limited = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    asked.or_else(|| if limited { in_body.or_else(|| limits::longest(headers, now)) } else { None })
}

/// Whether the headers of a 403 show that it comes from a rate limit (GitHub). They ask for a pause, or show that no request is
/// left. A 403 with neither is about the token.
pub(crate) fn is_of_limit(headers: &HeaderMap, now: WallTime) -> bool {
    of_answer(StatusCode::FORBIDDEN, headers, None, now).is_some() || limits::is_exhausted(headers)
}

/// The server's clock, if the answer shows it. Times in an answer are compared with it, so that a wrong clock on either
/// side does not matter.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<WallTime> {
    time::date(headers.get(header::DATE)?.to_str().ok()?)
}

#[cfg(test)]
mod tests;
