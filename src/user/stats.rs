//! Counts of user contexts.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of a runtime's user contexts since its start. All counts only grow, except [`kept`](Self::kept).
///
/// Each call of [`user`](crate::AuthSession::user) counts as one of the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserStats {
    /// Calls that were answered with a context that was fresh enough.
    pub hits: u64,
    /// Calls that began a request to the provider.
    pub misses: u64,
    /// Calls that waited for a request which was under way.
    pub coalesced: u64,
    /// Calls that were answered with a recent failure.
    pub failure_hits: u64,
    /// Calls that were turned away, because too many wait for the session.
    pub turned_away: u64,
    /// Fetches that were begun. Each asks the provider for one person. If a login or a logout comes in between, another
    /// fetch begins.
    pub fetches: u64,
    /// Answers with a context that was too old, because the provider could not be asked.
    pub stale: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Fetches whose result was dropped, because a login or a logout had come first.
    pub superseded: u64,
    /// Entries that were removed from the memory, because they were over or because of a logout.
    pub cleaned: u64,
    /// Entries in the memory now.
    pub kept: u64,
}

/// A count that any thread may increment.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`UserStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) failure_hits: Counter,
    pub(crate) turned_away: Counter,
    pub(crate) fetches: Counter,
    pub(crate) stale: Counter,
    pub(crate) failures: Counter,
    pub(crate) superseded: Counter,
    pub(crate) cleaned: Counter,
}

impl Counters {
    pub(crate) fn stats(&self, kept: usize) -> UserStats {
        UserStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            coalesced: self.coalesced.get(),
            failure_hits: self.failure_hits.get(),
            turned_away: self.turned_away.get(),
            fetches: self.fetches.get(),
            stale: self.stale.get(),
            failures: self.failures.get(),
            superseded: self.superseded.get(),
            cleaned: self.cleaned.get(),
            kept: u64::try_from(kept).unwrap_or(u64::MAX),
        }
    }
}
