//! Computes for how long an answer may be used again (RFC 9111), from its headers and the time alone.
//!
//! The few directives are read here, because a crate for them would bring a crate for dates that nothing else needs.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, header};
use tokenkeeper_actors::values::WallTime;

/// The lifetime of an answer that states none.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The longest lifetime, even if the answer states a longer one.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum length of an `ETag` that is kept, in bytes.
const MAX_TAG: usize = 1024;

/// An answer's statement about its reuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caching {
    /// The lifetime of the answer, counted from the time at which its request was sent.
    pub(crate) fresh_for: Duration,
    /// The `ETag` with which the answer can be revalidated. `None` if there is none, or if the answer may not be stored.
    pub(crate) tag: Option<String>,
    /// Whether the answer may be kept at all. If not, callers that wait for the same request still share it.
    pub(crate) may_be_stored: bool,
}

impl Caching {
    /// The statement of `headers`, received at `now`.
    ///
    /// `max-age` outranks `Expires` (RFC 9111 section 5.3). A lifetime that cannot be read counts as over already (section
    /// 4.2.1), and the shortest of several counts. `s-maxage` is for shared caches, and this cache is not shared.
    pub(crate) fn of(headers: &HeaderMap, now: WallTime) -> Self {
        let directives = Directives::of(headers);
        let stated = directives.max_age.or_else(|| expires_in(headers, now));
        let fresh_for = match stated {
            _ if directives.no_store || directives.no_cache => Duration::ZERO,
            Some(lifetime) => lifetime.min(MAX_LIFETIME).saturating_sub(age(headers)),
            None => DEFAULT_LIFETIME.saturating_sub(age(headers)),
        };
        let tag = text(headers, header::ETAG).filter(|tag| tag.len() <= MAX_TAG && !directives.no_store);
        Self { fresh_for, tag: tag.map(str::to_owned), may_be_stored: !directives.no_store }
    }
}

#[derive(Default)]
struct Directives {
    no_store: bool,
    no_cache: bool,
    max_age: Option<Duration>,
}

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => directives.no_store = true,
                // `no-cache` with field names is about those fields alone. It may be taken for the whole answer.
                "no-cache" => directives.no_cache = true,
                "max-age" => {
                    let lifetime = seconds(argument.trim().trim_matches('"')).unwrap_or_default();
                    directives.max_age = Some(directives.max_age.map_or(lifetime, |other| other.min(lifetime)));
                }
                _ => {}
            }
        }
        directives
    }
}

fn expires_in(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    let expires = headers.get(header::EXPIRES)?.to_str().ok();
    // The expiry is compared with the server's own `Date`, if there is one, so that a wrong clock on this computer does not
    // matter.
    let now = text(headers, header::DATE).and_then(date).unwrap_or(now);
    // A common value is `0`. It is no date, and means that the answer is stale already (RFC 9111 section 5.3).
    Some(expires.and_then(date).map_or(Duration::ZERO, |expires| expires.since(now)))
}

fn age(headers: &HeaderMap) -> Duration {
    text(headers, header::AGE).and_then(seconds).unwrap_or_default()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A number of seconds (RFC 9111 section 1.2.2). A number that is too large counts as a very long time.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))
}

fn date(text: &str) -> Option<WallTime> {
    let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(WallTime::from_millis(u64::try_from(since.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 2026-01-01T00:00:00Z.
    const NOW: WallTime = WallTime::from_millis(1_767_225_600_000);

    fn caching(headers: &[(&'static str, &str)]) -> Caching {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Caching::of(&map, NOW)
    }

    fn fresh_for(headers: &[(&'static str, &str)]) -> u64 {
        caching(headers).fresh_for.as_secs()
    }

    #[test]
    fn lifetimes_are_those_of_http() {
        for (value, due) in [
            ("max-age=60", 60),
            ("public, MAX-AGE = 60 , must-revalidate", 60),
            ("max-age=\"60\"", 60),
            ("max-age=60, max-age=90", 60),
            ("max-age=0", 0),
            ("max-age=-1", 0),
            ("max-age=soon", 0),
            ("max-age", 0),
            ("max-age=99999999999999999999999", 86_400),
            ("max-age=100000", 86_400),
            ("s-maxage=5", 3_600),
            ("private", 3_600),
            ("no-cache, max-age=60", 0),
            ("no-cache=\"set-cookie\"", 0),
            ("no-store", 0),
        ] {
            assert_eq!(fresh_for(&[("cache-control", value)]), due, "{value}");
        }
        assert_eq!(fresh_for(&[]), 3_600);
        assert_eq!(fresh_for(&[("cache-control", "max-age=60"), ("cache-control", "no-store")]), 0);
    }

    #[test]
    fn age_counts() {
        let aged = |age| fresh_for(&[("cache-control", "max-age=60"), ("age", age)]);
        assert_eq!([aged("20"), aged("61"), aged("x"), aged("99999999999999999999999")], [40, 0, 60, 0]);
        assert_eq!(fresh_for(&[("age", "600")]), 3_000);
    }

    #[test]
    fn expires_is_compared_with_the_servers_clock() {
        let expires = "Thu, 01 Jan 2026 00:10:00 GMT";
        assert_eq!(fresh_for(&[("expires", expires)]), 600);
        assert_eq!(fresh_for(&[("expires", expires), ("date", "Thu, 01 Jan 2026 00:09:00 GMT")]), 60);
        assert_eq!(fresh_for(&[("expires", expires), ("cache-control", "max-age=5")]), 5);
        assert_eq!(fresh_for(&[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")]), 86_400);
        for over in ["0", "-1", "", "Thu, 01 Jan 1970 00:00:00 GMT", "never"] {
            assert_eq!(fresh_for(&[("expires", over)]), 0, "{over}");
        }
    }

    #[test]
    fn a_tag_is_kept_unless_the_answer_may_not_be_stored() {
        let tagged = |control| caching(&[("etag", "W/\"1\""), ("cache-control", control)]);
        assert_eq!(tagged("max-age=1").tag.as_deref(), Some("W/\"1\""));
        assert_eq!(tagged("no-cache").tag.as_deref(), Some("W/\"1\""));
        assert!(tagged("no-cache").may_be_stored);
        assert_eq!((tagged("no-store").tag, tagged("no-store").may_be_stored), (None, false));
        assert_eq!(caching(&[("etag", &"x".repeat(MAX_TAG + 1))]).tag, None);
    }
}
