//! The URLs that an access token may be sent to, which are those at its resource's path and below it.

use super::parts::Parts;
use super::{ResourceUri, canonical};

impl ResourceUri {
    /// Whether a request to `url` goes to this resource. It must have the same origin, and its path must be the
    /// resource's or below it. By law 13 an access token is sent to no other URL.
    ///
    /// Paths are compared segment by segment and byte by byte, so `/mcp` covers `/mcp/x` and neither `/mcpx` nor
    /// `/m%63p`. `/mcp/` does not cover `/mcp`. The query and the fragment are ignored. The part before them must be a
    /// URL that [`parse`](Self::parse) accepts.
    ///
    /// A URL that some server could read as leading out of the path is not covered:
    ///
    /// - one with dot segments anywhere, plain or percent-encoded once;
    /// - one that has encoded slashes, backslashes or control characters below the resource's path, or dot segments there with
    ///   any number of layers of percent-encoding or with `;` parameters.
    pub fn covers(&self, url: &str) -> bool {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        let Ok(request) = canonical(url) else { return false };
        let (ours, theirs) = (Parts::of(&self.0), Parts::of(&request));
        if ours.origin != theirs.origin {
            return false;
        }
        if ours.path.is_empty() {
            return true;
        }
        let Some(below) = theirs.path.strip_prefix(ours.path) else { return false };
        let at_a_boundary = below.is_empty() || below.starts_with('/') || ours.path.ends_with('/');
        // A client may send the request without resolving dot segments, so the check applies to the URL as it was given, after
        // its scheme and authority. One layer is enough, because the resource's own path matches byte for byte.
        let mut segments = url.split('/').skip(3);
        let has_dot_segments = segments.any(|segment| matches!(decoded(segment.as_bytes()).as_slice(), b"." | b".."));
        at_a_boundary && !has_dot_segments && !below.split('/').any(may_lead_out)
    }
}

/// Whether some server may take a segment for something other than one step down in the path. Each proxy on the way may
/// decode the segment once. A segment that is still encoded after eight layers is not trusted.
fn may_lead_out(segment: &str) -> bool {
    const LAYERS: usize = 8;
    let mut bytes = segment.as_bytes().to_vec();
    for _layer in 0..LAYERS {
        let without_parameters = bytes.split(|byte| *byte == b';').next().unwrap_or_default();
        let separates = bytes.iter().any(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control());
        if separates || matches!(without_parameters, b"." | b"..") {
            return true;
        }
        let next = decoded(&bytes);
        if next == bytes {
            return false;
        }
        bytes = next;
    }
    true
}

/// `text` with one layer of percent-encoding removed. Invalid escapes stay as they are (RFC 3986 section 2.1).
pub(in super::super) fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text;
    let mut plain = Vec::with_capacity(text.len());
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, after @ ..] if *first == b'%' => digit(high).zip(digit(low)).map(|digits| (digits, after)),
            _ => None,
        };
        match escape {
            Some(((high, low), after)) => {
                plain.push(high * 16 + low);
                rest = after;
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(resource: &str, url: &str) -> bool {
        ResourceUri::parse(resource).unwrap().covers(url)
    }

    #[test]
    fn a_resource_covers_its_path_and_what_is_below() {
        for url in [
            "https://a.example/mcp",
            "https://a.example/mcp/",
            "https://a.example/mcp/x/y",
            "https://a.example/mcp//x",
            "https://a.example/mcp?session=1/../..",
            "https://a.example/mcp/x#top",
            "HTTPS://A.Example:443/mcp",
            "https://a.example/mcp/a%20b",
            "https://a.example/mcp/...",
            "https://a.example/mcp/.well-known",
        ] {
            assert!(covers("https://a.example/mcp", url), "{url}");
        }
        assert!(covers("https://a.example/mcp?tenant=1", "https://a.example/mcp"));
        assert!(covers("https://a.example/mcp/", "https://a.example/mcp/x"));
        assert!(covers("https://a.example/a%2Fb", "https://a.example/a%2Fb/c"));
        assert!(covers("http://./mcp", "http://./mcp"));
    }

    #[test]
    fn a_resource_covers_no_other_origin_and_no_other_path() {
        for url in [
            "https://a.example",
            "https://a.example/",
            "https://a.example/mcpx",
            "https://a.example/MCP",
            "https://a.example/m%63p",
            "https://a.example/x/mcp",
            "https://a.example//mcp",
            "https://a.example/mcp%2Fx",
            "https://a.example/mcp;x",
            "http://a.example/mcp",
            "https://a.example:8443/mcp",
            "https://b.a.example/mcp",
            "https://a.example./mcp",
            "https://a.example.evil.example/mcp",
            "https://a.example@evil.example/mcp",
            "https://u:p@a.example/mcp",
            "https:///a.example/mcp",
            "/mcp",
            "",
        ] {
            assert!(!covers("https://a.example/mcp", url), "{url}");
        }
        assert!(!covers("https://a.example/mcp/", "https://a.example/mcp"));
    }

    #[test]
    fn no_trick_with_dots_slashes_or_escapes_leads_out() {
        for path in [
            "/mcp/../admin",
            "/mcp/%2e%2e/admin",
            "/mcp/.%2E/admin",
            "/admin/../mcp",
            "/admin/%2e%2e/mcp",
            "/./mcp",
            "/mcp/.",
            "/mcp/..%2fadmin",
            "/mcp/x%2f..%2f..%2fadmin",
            "/mcp/%2e%2e%2fadmin",
            "/mcp/%252e%252e%252fadmin",
            "/mcp/%25252e%25252e/admin",
            "/mcp/%25252525252525252525",
            "/mcp/..;/admin",
            "/mcp/..;x=1/admin",
            "/mcp/%2e%2e%3b/admin",
            "/mcp/..%5cadmin",
            "/mcp\\..\\admin",
            "/mcp/%5c..",
            "/mcp/x%00",
            "/mcp/%0d%0a",
            "/mcp/\t/admin",
            "/mcp/.\t./admin",
        ] {
            assert!(!covers("https://a.example/mcp", &format!("https://a.example{path}")), "{path}");
        }
    }

    #[test]
    fn a_resource_without_a_path_covers_its_whole_origin() {
        for url in ["https://a.example", "https://a.example/x", "https://a.example/files/a%2Fb", "https://a.example?q"]
        {
            assert!(covers("https://a.example/", url), "{url}");
        }
        assert!(!covers("https://a.example", "https://b.example/"));
        assert!(!covers("https://a.example", "https://a.example:444/"));
    }

    #[test]
    fn escapes_are_undone_once_and_what_is_none_stays() {
        assert_eq!(decoded(b"a%2Fb%2f%25%zz%4"), b"a/b/%%zz%4");
        assert_eq!(decoded(b"%%41"), b"%A");
        assert_eq!(decoded(b"%ff%00"), [0xff, 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// If the resource covers a path, the path stays below the resource however it is decoded.
        #[test]
        fn whatever_is_covered_stays_below_after_any_decoding(
            steps in prop::collection::vec("(\\.|%2e|%252E|/|%2f|%255c|\\\\|;|a){0,5}", 0..5),
        ) {
            let url = format!("https://a.example/mcp/{}", steps.join("/"));
            if covers("https://a.example/mcp", &url) {
                let mut path = url.as_bytes()["https://a.example".len()..].to_vec();
                for _layer in 0..4 {
                    let mut depth = 0_i32;
                    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')).skip(1) {
                        match segment.split(|byte| *byte == b';').next().unwrap() {
                            b".." => depth -= 1,
                            b"." | b"" => {}
                            _ => depth += 1,
                        }
                        prop_assert!(depth >= 1, "{url}");
                    }
                    path = decoded(&path);
                }
            }
        }
    }
}
