//! The decisions about requests, which are made once for each method and URL.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Method;
use tokenkeeper::{AuthSession, Destination, Misdirected, OperationKey};

use crate::Outgoing;

/// The maximum number of remembered decisions. An MCP server has one URL and three methods.
const MAX_REMEMBERED: usize = 16;

/// The decisions about the latest requests with different methods and URLs, newest first. A check of a destination parses two
/// URLs, which takes longer than everything else that the layer does.
#[derive(Default)]
pub(crate) struct Verdicts(ArcSwap<Vec<Arc<Verdict>>>);

/// The decision about requests with one method and URL.
#[derive(Clone)]
struct Verdict {
    method: Method,
    url: String,
    destination: Result<Destination, Misdirected>,
    operation: OperationKey,
}

impl Verdicts {
    /// The request's destination, and its operation by method and path.
    pub(crate) fn of<R: Outgoing>(
        &self,
        session: &AuthSession,
        request: &R,
    ) -> (Result<Destination, Misdirected>, OperationKey) {
        let known = self.0.load();
        if let Some(verdict) = known.iter().find(|verdict| verdict.is_of(request)) {
            return (verdict.destination.clone(), verdict.operation);
        }
        let url = request.url().to_string();
        let (destination, operation) = (session.destination(&url), by_method_and_path(request.method(), &url));
        let verdict = Verdict { method: request.method().clone(), url, destination: destination.clone(), operation };
        let verdict = Arc::new(verdict);
        // The decision about a request in another task may be remembered twice, which only costs a place.
        self.0.rcu(|known| {
            let kept = known.iter().take(MAX_REMEMBERED - 1);
            [&verdict].into_iter().chain(kept).map(Arc::clone).collect::<Vec<_>>()
        });
        (destination, operation)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.0.load().len()
    }
}

impl Verdict {
    fn is_of<R: Outgoing>(&self, request: &R) -> bool {
        self.method == *request.method() && reads(request.url(), &self.url)
    }
}

/// The operation of a request for which the host names none. The origin is always the same, and the query is left out.
pub(crate) fn by_method_and_path(method: &Method, url: &str) -> OperationKey {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    OperationKey::of(&format!("{method} {path}"))
}

/// Whether `shown` is displayed as `text`, without an allocation.
fn reads(shown: impl fmt::Display, text: &str) -> bool {
    struct Rest<'t>(&'t str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(piece).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    fmt::Write::write_fmt(&mut rest, format_args!("{shown}")).is_ok() && rest.0.is_empty()
}

#[cfg(test)]
mod tests {
    use tokenkeeper_testkit::scripted::ScriptedSession;

    use super::*;

    fn request(method: Method, url: &str) -> http::Request<()> {
        let request = http::Request::builder().method(method).uri(url);
        request.body(()).unwrap()
    }

    #[test]
    fn a_text_is_compared_whole() {
        for (shown, text, is_same) in [
            ("https://a.example/mcp", "https://a.example/mcp", true),
            ("https://a.example/mcp?a=1", "https://a.example/mcp?a=1", true),
            ("https://a.example/mcp", "https://a.example/mcp/", false),
            ("https://a.example/mcp/", "https://a.example/mcp", false),
            ("https://a.example/mcp?a=1", "https://a.example/mcp?a=2", false),
            ("https://a.example/mcp", "", false),
        ] {
            assert_eq!(reads(request(Method::GET, shown).url(), text), is_same, "{shown} {text}");
        }
    }

    #[test]
    fn each_method_and_url_has_its_own_decision_and_few_are_remembered() {
        let script = ScriptedSession::new();
        let (session, verdicts) = (script.session(), Verdicts::default());
        let of = |method, url: &str| verdicts.of(&session, &request(method, url));
        let (to, first) = of(Method::POST, "https://mcp.example.com/mcp");
        assert_eq!(to.unwrap().url(), "https://mcp.example.com/mcp");
        assert_eq!((of(Method::POST, "https://mcp.example.com/mcp").1, verdicts.count()), (first, 1));
        assert_eq!(
            of(Method::POST, "https://mcp.example.com/mcp?a=1").1,
            first,
            "the query is not part of the operation"
        );
        assert_ne!(of(Method::GET, "https://mcp.example.com/mcp").1, first);
        assert_ne!(of(Method::POST, "https://mcp.example.com/mcp/x").1, first);
        for _ in 0..2 {
            let end = of(Method::POST, "https://mcp.example.com/steal").0;
            assert!(matches!(end, Err(Misdirected::OtherPath { .. })), "{end:?}");
        }
        assert_eq!(verdicts.count(), 5);
        for number in 0..100 {
            let url = format!("https://mcp.example.com/mcp/{number}");
            assert_eq!(of(Method::POST, &url).0.unwrap().url(), url);
        }
        assert_eq!(verdicts.count(), MAX_REMEMBERED);
        assert_eq!(of(Method::POST, "https://mcp.example.com/mcp").1, first);
    }
}
