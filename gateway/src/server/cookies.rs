//! Cookies of the person's browser.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Reads and sets the gateway's cookies. Their short names are those without the common prefix ([`name`](Self::name)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookies<'a> {
    issuer: &'a str,
}

impl<'a> Cookies<'a> {
    pub(super) fn of(issuer: &'a str) -> Self {
        Self { issuer }
    }

    /// The full name of a cookie. The prefix `__Host-` makes browsers refuse a cookie of this name that another host of the
    /// domain sets. Browsers accept the prefix only with https. An issuer without https is on this machine, and has cookies
    /// without it.
    pub(super) fn name(self, name: &str) -> String {
        let prefix = if self.is_secure() { "__Host-" } else { "" };
        [prefix, "tkg-", name].concat()
    }

    /// The value of a cookie. `None` if there is none, or if there are two, because one of the two is not the gateway's.
    pub(super) fn get<'h>(self, headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
        let name = self.name(name);
        let mut values = pairs(headers).filter(|(known, _)| *known == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// The short names of the cookies that begin with `prefix`.
    pub(super) fn names(self, headers: &HeaderMap, prefix: &str) -> Vec<String> {
        let all = self.name("");
        let names = pairs(headers).filter_map(|(name, _)| name.strip_prefix(&all));
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// The header that sets a cookie for `lifetime`. Browsers send the cookie with navigations from other sites too, because an
    /// upstream's answer is one. Scripts cannot read it. `None` if no header can have the value.
    pub(super) fn set(self, name: &str, value: &str, lifetime: Duration) -> Option<HeaderValue> {
        let (name, secure) = (self.name(name), if self.is_secure() { "; Secure" } else { "" });
        let age = lifetime.as_secs();
        HeaderValue::from_str(&format!("{name}={value}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
    }

    /// The header that removes a cookie.
    pub(super) fn clear(self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Duration::ZERO)
    }

    /// Takes all cookies of the gateway out of a request, and leaves the others.
    pub(super) fn strip(self, headers: &mut HeaderMap) {
        let own = self.name("");
        let others: Vec<_> = pairs(headers).filter(|(name, _)| !name.starts_with(&own)).collect();
        if others.len() == pairs(headers).count() {
            return;
        }
        let others = others.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        headers.remove(COOKIE);
        // This does not fail, because the text consists of parts of valid values.
        if let Ok(others) = HeaderValue::from_str(&others)
            && !others.is_empty()
        {
            headers.insert(COOKIE, others);
        }
    }

    fn is_secure(self) -> bool {
        self.issuer.starts_with("https:")
    }
}

/// The names and values of all cookies of a request.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_the_hosts_own_and_out_of_reach_of_scripts() {
        let cookies = Cookies::of("https://gateway.example");
        assert_eq!(
            cookies.set("flow-1", "v", Duration::from_secs(600)).unwrap(),
            "__Host-tkg-flow-1=v; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=b; __Host-tkg-x=1; tkg-x=2; __Host-tkg-flow-2=3"));
        assert_eq!(cookies.get(&headers, "x"), Some("1"));
        assert_eq!(cookies.names(&headers, "flow-"), ["flow-2"]);
        headers.append(COOKIE, HeaderValue::from_static("__Host-tkg-x=4"));
        assert_eq!(cookies.get(&headers, "x"), None);
        cookies.strip(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=b; tkg-x=2"]);
        cookies.strip(&mut headers);
        assert_eq!(headers[COOKIE], "a=b; tkg-x=2", "those of others stay as they are");
    }
}
