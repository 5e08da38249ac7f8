//! The cookies of one origin, in memory. Load balancers use them to choose a server.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use tokenkeeper::engine::values::WallTime;

use crate::when;

/// The maximum number of cookies that are kept.
const MAX_COOKIES: usize = 64;

/// The longest cookie, in bytes, with its name (RFC 6265 section 6.1).
const MAX_COOKIE: usize = 4096;

/// The cookies that an origin has set. They are sent to exactly this origin, and their `Domain` has no effect.
///
/// They are kept as long as the process lives. A cookie that expired before the process began, or whose lifetime is not
/// positive, is removed. `Debug` shows no value.
pub(crate) struct Cookies {
    begun: WallTime,
    /// The path of the requests.
    path: String,
    kept: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Cookies {
    /// An empty collection for requests to `path`. `begun` is the present time.
    pub(crate) fn new(path: &str, begun: WallTime) -> Self {
        Self { begun, path: path.to_owned(), kept: Mutex::default() }
    }

    /// Adds the cookies to a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<_> = kept.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
        if let (false, Ok(mut value)) = (pairs.is_empty(), HeaderValue::from_bytes(&pairs.join(&b"; "[..]))) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }

    /// Keeps the cookies that an answer sets (RFC 6265 section 5.2).
    pub(crate) fn keep_from(&self, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            self.keep(header.as_bytes());
        }
    }

    fn keep(&self, header: &[u8]) {
        let mut parts = header.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let pair = parts.next().unwrap_or_default();
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else { return };
        let (name, value) = (pair.get(..at).unwrap_or_default().trim_ascii(), pair.get(at + 1..).unwrap_or_default());
        if name.is_empty() || pair.len() > MAX_COOKIE {
            return;
        }
        let (mut max_age, mut expires, mut is_elsewhere) = (None, None, false);
        for part in parts {
            let part = String::from_utf8_lossy(part);
            let (attribute, value) = part.split_once('=').unwrap_or((&part, ""));
            match attribute.trim().to_ascii_lowercase().as_str() {
                "max-age" => max_age = value.trim().parse::<i64>().ok().or(max_age),
                "expires" => expires = when::read_mail(value.trim()).or(expires),
                "path" => is_elsewhere = !covers(value.trim(), &self.path),
                _ => {}
            }
        }
        let is_over = max_age.map_or_else(|| expires.is_some_and(|at| at <= self.begun), |seconds| seconds <= 0);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if is_over {
            kept.remove(name);
        } else if !is_elsewhere && (kept.contains_key(name) || kept.len() < MAX_COOKIES) {
            kept.insert(name.to_vec(), value.trim_ascii().to_vec());
        }
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

/// Whether a cookie's path is that of the request or above it (RFC 6265 section 5.1.4). A cookie without a valid path is for
/// all requests.
fn covers(cookie: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(cookie) else { return !cookie.starts_with('/') };
    rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/') || !cookie.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &Cookies) -> Option<String> {
        let mut headers = HeaderMap::new();
        cookies.add_to(&mut headers);
        headers.get(COOKIE).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_are_kept_replaced_and_removed() {
        let cookies = Cookies::new("/mcp", WallTime::from_millis(1_700_000_000_000));
        assert_eq!(sent(&cookies), None);
        for header in
            ["AWSALB=a=b; Expires=Wed, 09 Jun 2100 10:18:14 GMT; Path=/", "s=1; Domain=other.example; Secure", "x"]
        {
            cookies.keep(header.as_bytes());
        }
        assert_eq!(sent(&cookies).as_deref(), Some("AWSALB=a=b; s=1"));
        for header in
            ["s=2; path=/mcp", "t=3; Path=/other", "u=4; Path=/mc", "AWSALB=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
        {
            cookies.keep(header.as_bytes());
        }
        assert_eq!(sent(&cookies).as_deref(), Some("s=2"));
        cookies.keep(b"s=; Max-Age=0");
        assert_eq!(sent(&cookies), None);
        assert!(!format!("{cookies:?}").contains("AWSALB"));
    }

    #[test]
    fn cookies_are_bounded() {
        let cookies = Cookies::new("/", WallTime::from_millis(0));
        for number in 0..100 {
            cookies.keep(format!("c{number}=1").as_bytes());
        }
        cookies.keep(&[b'a'; MAX_COOKIE + 1]);
        assert_eq!(cookies.kept.lock().unwrap().len(), MAX_COOKIES);
    }
}
