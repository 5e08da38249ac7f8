//! The parts of a URL, and its form for logs.

use super::super::identity::Shown;

/// An `http` or `https` URL without a fragment, split into parts.
pub(super) struct Parts<'a> {
    /// Scheme, host and port.
    pub(super) origin: &'a str,
    /// The path, which is empty or begins with a slash.
    pub(super) path: &'a str,
    /// The query, without its question mark.
    pub(super) query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(url: &'a str) -> Self {
        let authority = url.find("://").map_or(0, |at| at + 3);
        let path = url[authority..].find(['/', '?']).map_or(url.len(), |at| authority + at);
        let query = url[path..].find('?').map_or(url.len(), |at| path + at);
        Self { origin: &url[..path], path: &url[path..query], query: url.get(query + 1..) }
    }
}

/// The form of a URL for logs. It has no query, and no path segment that may be a credential.
pub(in super::super) fn show(url: &str) -> Shown {
    let parts = Parts::of(url);
    let mut shown = Shown::with_room(Shown::TARGET);
    shown.push(parts.origin);
    for (place, segment) in parts.path.split('/').enumerate() {
        if place > 0 {
            shown.push("/");
        }
        if may_be_a_credential(segment) {
            shown.elide();
        } else {
            shown.push(segment);
        }
    }
    if parts.query.is_some() {
        shown.push("?");
        shown.elide();
    }
    shown
}

/// Whether a path segment may be a credential, because some servers hand out URLs that contain a key. Such a segment
/// has the form of a parameter or an e-mail address, encoded or not. Or it is as long as a key and does not look like
/// joined words, because it contains a digit, letters of both cases, or a part of that length.
fn may_be_a_credential(segment: &str) -> bool {
    const SHORTEST_KEY: usize = 20;
    let has = |kind: fn(&char) -> bool| segment.chars().any(|c| kind(&c));
    segment.contains([';', '=', '@'])
        || ["%40", "%3B", "%3D"].iter().any(|encoded| segment.contains(encoded))
        || segment.len() >= SHORTEST_KEY
            && (has(char::is_ascii_digit)
                || has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase)
                || segment.split(['-', '_', '.', '~']).any(|part| part.len() >= SHORTEST_KEY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> (String, bool) {
        let shown = show(url);
        (shown.text, shown.elided)
    }

    #[test]
    fn a_url_is_split_into_its_parts() {
        let parts = |url: &'static str| {
            let Parts { origin, path, query } = Parts::of(url);
            (origin, path, query)
        };
        assert_eq!(parts("https://a.example"), ("https://a.example", "", None));
        assert_eq!(parts("https://a.example?"), ("https://a.example", "", Some("")));
        assert_eq!(parts("https://a.example:1/b/c?d/e?f"), ("https://a.example:1", "/b/c", Some("d/e?f")));
        assert_eq!(parts("http://[::1]/"), ("http://[::1]", "/", None));
    }

    #[test]
    fn a_plain_url_is_shown_whole() {
        for url in [
            "https://a.example",
            "https://a.example:8443/v1/servers/github/mcp/",
            "https://a.example/2025-11-25",
            "https://a.example/customer-relationship-management/mcp",
        ] {
            assert_eq!(shown(url), (url.to_owned(), false));
        }
    }

    #[test]
    fn queries_and_what_looks_like_a_credential_are_left_out() {
        let elided = |text: &str| (text.to_owned(), true);
        assert_eq!(shown("https://a.example/mcp?key=s3cret"), elided("https://a.example/mcp?…"));
        assert_eq!(shown("https://a.example?"), elided("https://a.example?…"));
        assert_eq!(shown("https://a.example/s/sk-0123456789abcdefg/mcp"), elided("https://a.example/s/…/mcp"));
        assert_eq!(shown("https://a.example/mcp;key=1/x"), elided("https://a.example/…/x"));
        assert_eq!(shown("https://a.example/key=1"), elided("https://a.example/…"));
        assert_eq!(shown("https://a.example/u/alice@example.com/mcp"), elided("https://a.example/u/…/mcp"));
        assert_eq!(shown("https://a.example/u/alice%40example.com/mcp"), elided("https://a.example/u/…/mcp"));
        assert_eq!(shown("https://a.example/key%3Dabc"), elided("https://a.example/…"));
        assert_eq!(shown("https://a.example/qZsWxEcRvTbYnUmIkOlP/mcp"), elided("https://a.example/…/mcp"));
        assert_eq!(shown("https://a.example/sk-qwertyuiopasdfghjklz"), elided("https://a.example/…"));
        assert_eq!(shown("https://a.example/sk-live_Qwerty-Uiopas"), elided("https://a.example/…"));
    }

    #[test]
    fn a_long_url_is_cut() {
        let (text, elided) = shown(&format!("https://a.example/{}", "word/".repeat(99)));
        assert!(elided && text.ends_with('…'));
        assert_eq!(text.chars().count(), 160);
    }
}
