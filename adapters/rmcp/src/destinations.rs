//! The URLs of a session's transports, each checked once.

use std::sync::{Arc, PoisonError, RwLock};

use tokenkeeper::{AuthSession, Destination, Misdirected};

/// How many URLs are remembered. A host's transports share one or a few. Others are checked at each request, which takes a
/// microsecond.
const MAX_KNOWN: usize = 16;

/// The verdicts on the URLs that requests went to. A transport hands the same `Arc` to each of its requests.
#[derive(Default)]
pub(crate) struct Destinations(RwLock<Vec<(Arc<str>, Verdict)>>);

type Verdict = Result<Destination, Misdirected>;

impl Destinations {
    pub(crate) fn of(&self, session: &AuthSession, uri: &Arc<str>) -> Verdict {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, verdict)) = known.iter().find(|(known, _)| Arc::ptr_eq(known, uri) || known == uri) {
            return verdict.clone();
        }
        drop(known);
        let verdict = session.destination(uri);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_KNOWN && !known.iter().any(|(known, _)| known == uri) {
            known.push((Arc::clone(uri), verdict.clone()));
        }
        verdict
    }
}
