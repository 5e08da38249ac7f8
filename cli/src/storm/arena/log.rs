//! What was seen at the token endpoint, and when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::clock::Stopwatch;

/// Something that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A token request arrived.
    Request,
    /// Its refresh token was exchanged for new ones.
    Rotated,
    /// It presented a spent refresh token.
    Replayed,
    /// The chain ended.
    Revoked,
    /// It was refused for another reason.
    Refused,
    /// A fault struck.
    Fault,
    /// It was answered.
    Answer,
    /// The MCP server answered 401.
    Unauthorized,
    /// The MCP server answered 200.
    Served,
}

/// What clients saw, for servers that keep no timeline.
#[derive(Debug)]
pub(crate) struct Log {
    seen: Mutex<Vec<Sighting>>,
    watch: Stopwatch,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::default(), watch: Stopwatch::start() }
    }

    /// A token request leaves.
    pub(crate) fn sent(self: &Arc<Self>) -> Sent {
        self.note(What::Request);
        Sent(Arc::clone(self))
    }

    pub(super) fn clear(&self) {
        self.seen().clear();
    }

    pub(super) fn all(&self) -> Vec<Sighting> {
        self.seen().clone()
    }

    fn note(&self, what: What) {
        let at = self.watch.read();
        self.seen().push(Sighting { at, what });
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Sighting>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token request that has left.
pub(crate) struct Sent(Arc<Log>);

impl Sent {
    /// Its answer has come, or was lost.
    pub(crate) fn answered(self, status: Option<u16>) {
        match status {
            Some(200) => self.0.note(What::Rotated),
            Some(_) => self.0.note(What::Refused),
            None => self.0.note(What::Fault),
        }
        self.0.note(What::Answer);
    }
}

/// Counts time from the first token request; what was before it is left out.
pub(super) fn from_first_request(seen: Vec<Sighting>) -> Vec<Sighting> {
    let Some(first) = seen.iter().find(|sighting| sighting.what == What::Request).map(|first| first.at) else {
        return Vec::new();
    };
    let later = seen.into_iter().filter(|sighting| sighting.at >= first);
    later.map(|sighting| Sighting { at: sighting.at - first, ..sighting }).collect()
}
