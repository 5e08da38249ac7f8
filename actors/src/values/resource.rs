//! The canonical URI of an MCP server, which names the resource of an access token.

mod covers;
mod parts;

pub(super) use covers::decoded;
pub(super) use parts::show;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use url::{ParseError, Position, Url};

use super::identity::Shown;
use parts::Parts;

/// The longest URI accepted, and the longest canonical form, in bytes.
const MAX_URI: usize = 8 * 1024;

/// The canonical URI of an MCP server (RFC 8707 section 2; MCP specification, authorization, "Canonical Server URI").
///
/// Two spellings of one server are one value. Scheme and host are in lower case (host names in their ASCII form, IP
/// addresses in their shortest), the default port is dropped, dot segments are resolved, and a host without a path has
/// no slash after it. A slash at the end of a longer path stays, because some servers distinguish `/mcp` and `/mcp/`.
/// The query stays as it is.
///
/// `Display` and `Debug` are made for logs. They hide possible credentials (the query, and path segments that look
/// like keys). The whole text is in [`as_str`](Self::as_str). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceUri(Arc<str>);

/// The reason why a text is not the URI of a resource. It gives the problem and the remedy, and never repeats the text,
/// which may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// The text, or its canonical form, is longer than 8 KiB.
    #[error("the URL is longer than 8 KiB: shorten it")]
    TooLong,
    /// There is white space or a control character in it.
    #[error("the URL contains white space or a control character: remove it, or percent-encode it")]
    Unprintable,
    /// It contains a backslash, which some parsers take for a slash.
    #[error("the URL contains a backslash: write a slash, or %5C if a backslash is meant")]
    Backslash,
    /// It is not an absolute URL.
    #[error("this is not an absolute URL: write all of it, beginning with https://")]
    NotAbsolute,
    /// The scheme is neither `https` nor `http`.
    #[error("the URL's scheme is neither https nor http: an MCP server is reached by one of them")]
    Scheme,
    /// There is no host.
    #[error("the URL names no host: write one after https://")]
    NoHost,
    /// A user name or a password stands before the host.
    #[error("the URL carries a user name or password: remove what stands before the @, and sign in instead")]
    Credentials,
    /// There is a fragment (RFC 8707 section 2 forbids it).
    #[error("the URL has a fragment: remove the # and what follows it")]
    Fragment,
    /// The host is not a valid name or address.
    #[error("the URL's host is not a valid name or address: check its spelling")]
    BadHost,
    /// The port is not a number from 0 to 65535.
    #[error("the URL's port is not a number from 0 to 65535: correct or remove it")]
    BadPort,
}

impl ResourceUri {
    /// The resource that `uri` names, in any spelling.
    ///
    /// # Errors
    ///
    /// A [`ResourceError`] when the text is no absolute `https` or `http` URL with a host, or carries credentials, a
    /// fragment, white space, control characters or backslashes.
    pub fn parse(uri: &str) -> Result<Self, ResourceError> {
        canonical(uri).map(|text| Self(text.into()))
    }

    /// The whole canonical form. Its query may hold a secret.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canonical form without its query, for the `resource` parameter. RFC 8707 section 2 advises against a query there,
    /// and a key in it would reach the authorization server.
    pub fn without_query(&self) -> &str {
        self.0.split_once('?').map_or(&self.0, |(uri, _)| uri)
    }

    /// Whether requests to the resource are protected by TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Whether the resource is on this computer, at `localhost`, at an address in 127.0.0.0/8 or at `::1`. Plain `http` is
    /// acceptable only there. Names below `localhost` do not count, because some resolvers ask the network for them.
    pub fn is_loopback(&self) -> bool {
        let (_, authority) = Parts::of(&self.0).origin.split_once("://").unwrap_or_default();
        let (host, bracketed) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => (address, true),
            None => (authority.split(':').next().unwrap_or_default(), false),
        };
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => !bracketed && host == "localhost",
        }
    }

    pub(super) fn shown(&self) -> Shown {
        show(&self.0)
    }
}

impl FromStr for ResourceUri {
    type Err = ResourceError;

    fn from_str(uri: &str) -> Result<Self, ResourceError> {
        Self::parse(uri)
    }
}

/// Safe to log, as the type's documentation describes.
impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().text)
    }
}

impl fmt::Debug for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceUri({self})")
    }
}

/// The canonical form of `uri`.
pub(super) fn canonical(uri: &str) -> Result<String, ResourceError> {
    // The URL parser is made for text that people type. It strips white space, converts backslashes, supplies missing
    // slashes and drops an empty user name. A URL that determines where credentials are sent must be exact.
    if uri.len() > MAX_URI {
        return Err(ResourceError::TooLong);
    }
    if uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ResourceError::Unprintable);
    }
    if uri.contains('\\') {
        return Err(ResourceError::Backslash);
    }
    let (scheme, rest) = uri.split_once("://").ok_or(ResourceError::NotAbsolute)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(ResourceError::Scheme);
    }
    match rest.split(['/', '?', '#']).next() {
        None | Some("") => return Err(ResourceError::NoHost),
        Some(authority) if authority.contains('@') => return Err(ResourceError::Credentials),
        Some(_) => {}
    }
    if uri.contains('#') {
        return Err(ResourceError::Fragment);
    }
    let url = Url::parse(uri).map_err(|error| match error {
        ParseError::EmptyHost => ResourceError::NoHost,
        ParseError::InvalidPort => ResourceError::BadPort,
        _ => ResourceError::BadHost,
    })?;
    let path = if url.path() == "/" { "" } else { url.path() };
    let text = [&url[..Position::BeforePath], path, &url[Position::AfterPath..]].concat();
    if text.len() > MAX_URI { Err(ResourceError::TooLong) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(uri: &str) -> Result<String, ResourceError> {
        ResourceUri::parse(uri).map(|resource| resource.as_str().to_owned())
    }

    fn assert_canonical(cases: &[(&str, &str)]) {
        for (given, canonical) in cases {
            assert_eq!(parsed(given).as_deref(), Ok(*canonical), "{given}");
        }
    }

    fn assert_refused(error: ResourceError, cases: &[&str]) {
        for given in cases {
            assert_eq!(parsed(given), Err(error), "{given}");
        }
    }

    #[test]
    fn the_specifications_examples_are_canonical_already() {
        for uri in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com",
            "https://mcp.example.com:8443",
            "https://mcp.example.com/server/mcp",
        ] {
            assert_eq!(parsed(uri).as_deref(), Ok(uri));
        }
    }

    #[test]
    fn scheme_and_host_have_one_spelling() {
        assert_canonical(&[
            ("HTTPS://MCP.Example.COM/Mcp", "https://mcp.example.com/Mcp"),
            ("https://bücher.example/mcp", "https://xn--bcher-kva.example/mcp"),
            ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
            ("https://a%2Eexample", "https://a.example"),
            ("http://0x7f.1/mcp", "http://127.0.0.1/mcp"),
            ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]"),
        ]);
        // A dot at the end of a host makes another name, for TLS and for cookies, so it stays.
        assert_ne!(ResourceUri::parse("https://a.example."), ResourceUri::parse("https://a.example"));
    }

    #[test]
    fn the_default_port_and_the_slash_of_a_bare_host_are_dropped() {
        assert_canonical(&[
            ("https://a.example/", "https://a.example"),
            ("https://a.example:443/", "https://a.example"),
            ("https://a.example:/", "https://a.example"),
            ("http://a.example:80", "http://a.example"),
            ("https://a.example:80/", "https://a.example:80"),
            ("https://a.example:08443/", "https://a.example:8443"),
            ("https://a.example/?", "https://a.example?"),
            ("https://a.example/?tenant=1", "https://a.example?tenant=1"),
        ]);
    }

    #[test]
    fn a_longer_path_keeps_its_slash_and_its_escapes() {
        assert_canonical(&[
            ("https://a.example/mcp/", "https://a.example/mcp/"),
            ("https://a.example//", "https://a.example//"),
            ("https://a.example/a/./b/../c", "https://a.example/a/c"),
            ("https://a.example/a/%2e%2E/c", "https://a.example/c"),
            ("https://a.example/a/..", "https://a.example"),
            ("https://a.example/a%2fb%2F%7e", "https://a.example/a%2fb%2F%7e"),
            ("https://a.example/é?q=É&r=%c3", "https://a.example/%C3%A9?q=%C3%89&r=%c3"),
            ("https://a.example/mcp?B=/../&a=@:?", "https://a.example/mcp?B=/../&a=@:?"),
        ]);
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        use ResourceError::*;
        assert_refused(NotAbsolute, &["", "mcp.example.com", "/mcp", "//a.example", "https:/a.example", "mailto:a@b"]);
        assert_refused(Scheme, &["ftp://a.example", "wss://a.example", "javascript://a", "://a.example", "xhttps://a"]);
        assert_refused(NoHost, &["https://", "https:///mcp", "https://?a", "https://:443/", "http://#"]);
        assert_refused(
            BadHost,
            &["https://a b.example".replace(' ', "%20").as_str(), "https://[::1", "https://1.2.3.999"],
        );
        assert_refused(BadHost, &["https://xn--a.example/", "https://a<b>.example", "https://%00"]);
        assert_refused(BadPort, &["https://a.example:65536", "https://a.example:x", "https://a.example:-1"]);
    }

    #[test]
    fn what_hides_a_secret_or_a_trick_is_refused() {
        use ResourceError::*;
        assert_refused(
            Credentials,
            &["https://u:p@a.example", "https://u@a.example/", "https://@a.example", "http://:@a"],
        );
        assert_refused(Credentials, &["https://a.example@evil.example/"]);
        assert_refused(Fragment, &["https://a.example/#", "https://a.example#x", "https://a.example/?q#x"]);
        assert_refused(
            Unprintable,
            &[" https://a.example", "https://a.example\n", "https://a.ex\tample/", "https://a\u{0}"],
        );
        assert_refused(
            Unprintable,
            &["https://a.example/\u{a0}", "https://a.example/?q=\u{1b}[2J", "https://a/\u{2028}"],
        );
        assert_refused(Backslash, &["https:\\\\a.example", "https://a.example\\mcp", "https://a.example/?\\"]);
    }

    #[test]
    fn the_length_is_bounded_before_and_after() {
        let long = |letter: &str, count: usize| parsed(&format!("https://a.example/{}", letter.repeat(count)));
        assert!(long("x", 8 * 1024 - 18).is_ok());
        assert_eq!(long("x", 8 * 1024 - 17), Err(ResourceError::TooLong));
        assert_eq!(long("é", 2_000), Err(ResourceError::TooLong));
    }

    #[test]
    fn errors_say_what_to_do_and_never_repeat_the_text() {
        let error = ResourceUri::parse("https://user:hunter2@a.example").unwrap_err();
        assert!(error.to_string().contains("remove what stands before the @"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn https_and_loopback_are_told() {
        let resource = |uri: &str| ResourceUri::parse(uri).unwrap();
        for uri in ["http://localhost:8080/mcp", "http://LOCALHOST", "http://127.9.9.9", "http://[::1]:3000/mcp"] {
            assert!(resource(uri).is_loopback() && !resource(uri).is_https(), "{uri}");
        }
        assert!(resource("https://[::ffff:127.0.0.1]/").is_loopback());
        assert!(resource("https://localhost").is_https());
        for uri in [
            "https://a.example",
            "http://localhost.example",
            "http://a.localhost",
            "http://127.0.0.1.example",
            "http://128.0.0.1",
            "http://0.0.0.0",
            "http://[::2]",
            "http://a.example/localhost",
        ] {
            assert!(!resource(uri).is_loopback(), "{uri}");
        }
    }

    #[test]
    fn from_str_parses_and_display_shows_the_same_form() {
        let resource: ResourceUri = "HTTPS://a.example/".parse().unwrap();
        assert_eq!(resource.to_string(), "https://a.example");
        assert_eq!(format!("{resource:?}"), "ResourceUri(https://a.example)");
        assert_eq!("a.example".parse::<ResourceUri>(), Err(ResourceError::NotAbsolute));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn canonicalising_twice_changes_nothing(
            uri in "(?i:https?)://[a-zA-Zä0-9.:%\\[\\]-]{1,12}[/a-z.%0-9A-Fé;|^{}\"'<>`?&=:@-]{0,40}",
        ) {
            if let Ok(once) = ResourceUri::parse(&uri) {
                prop_assert!(once.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{}", once.as_str());
                prop_assert!(!once.as_str().contains('#'));
                prop_assert_eq!(parsed(once.as_str()), Ok(once.as_str().to_owned()));
                prop_assert!(once.covers(once.as_str()), "{}", once.as_str());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}|https://\\PC{0,40}") {
            let _ = ResourceUri::parse(&text).map(|resource| (resource.to_string(), resource.is_loopback()));
        }
    }
}
