//! The URLs of a session's transports, each checked once.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokenkeeper::{AuthSession, Destination, Misdirected};

/// The maximum number of URLs that are remembered. A host's transports share one or a few. Other URLs are checked at each
/// request, which takes a microsecond.
const MAX_KNOWN: usize = 16;

/// The verdicts on the URLs that requests went to. A transport hands the same `Arc` to each of its requests.
#[derive(Default)]
pub(crate) struct Destinations(ArcSwap<Vec<(Arc<str>, Verdict)>>);

type Verdict = Result<Destination, Misdirected>;

impl Destinations {
    pub(crate) fn of(&self, session: &AuthSession, uri: &Arc<str>) -> Verdict {
        let known = self.0.load();
        if let Some((_, verdict)) = known.iter().find(|(known, _)| Arc::ptr_eq(known, uri) || known == uri) {
            return verdict.clone();
        }
        let verdict = session.destination(uri);
        if known.len() < MAX_KNOWN {
            // The URL of a request in another task may be remembered twice, which only costs a place.
            self.0.rcu(|known| {
                let further = (Arc::clone(uri), verdict.clone());
                known.iter().cloned().chain([further]).take(MAX_KNOWN).collect::<Vec<_>>()
            });
        }
        verdict
    }
}
