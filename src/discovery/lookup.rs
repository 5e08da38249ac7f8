//! The look-up of one document, as a pure machine. Many callers ask for the document, and it is fetched once and kept while
//! it is fresh.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::values::ElapsedTime;

use super::error::DiscoveryError;
use super::fetch::Validator;

/// The pause after the first failure. It doubles with each further one.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause after a failure.
const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The time in which challenges cause at most one fetch, because some servers name other metadata with each answer.
const CHALLENGE_PAUSE: Duration = Duration::from_secs(60);

/// The time for which a stale document is kept, for its revalidation.
const KEEP_STALE: Duration = Duration::from_secs(60 * 60);

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// A document that is fresh by the rules of HTTP, or the failure of a recent request.
    #[default]
    Cached,
    /// A document that is fresh by the rules of HTTP. A recent failure is ignored, because a person asks again.
    RetryFailure,
    /// The answer to a new request, or to one that is under way.
    Now,
}

/// A document in memory.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    pub(crate) value: Arc<T>,
    /// The name of the document's version, for its revalidation.
    pub(crate) validator: Option<Validator>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), validator: self.validator.clone() }
    }
}

/// The instruction to begin a fetch.
#[derive(Debug)]
pub(crate) struct FetchOrder<T> {
    /// The URL that a challenge named.
    pub(crate) named: Option<Arc<str>>,
    /// The document in memory, which the fetch revalidates.
    pub(crate) kept: Option<Kept<T>>,
}

/// The result of a fetch.
#[derive(Debug)]
pub(crate) struct Found<T> {
    pub(crate) value: Arc<T>,
    pub(crate) validator: Option<Validator>,
    pub(crate) fresh_until: ElapsedTime,
    pub(crate) may_be_stored: bool,
}

/// The answer to a caller.
pub(crate) type Answer<T> = Result<Arc<T>, DiscoveryError>;

/// The decision about a caller that asks.
#[derive(Debug)]
pub(crate) enum Asked<T, W> {
    /// The caller gets this answer at once.
    Answered(W, Answer<T>),
    /// The caller waits for the fetch that is under way.
    Waits,
    /// The caller waits for this fetch, which is to begin.
    Begins(FetchOrder<T>),
}

/// The decisions at the end of a fetch.
#[derive(Debug)]
pub(crate) struct Ended<T, W> {
    /// The callers to answer.
    pub(crate) waiters: Vec<W>,
    /// Their answer.
    pub(crate) answer: Answer<T>,
    /// The next fetch, for callers whose challenge came while this one was under way.
    pub(crate) next: Option<FetchOrder<T>>,
}

/// The state of a look-up. `W` is a waiting caller.
#[derive(Debug)]
pub(crate) struct Lookup<T, W> {
    state: State<T, W>,
    /// The URL that the latest challenge named.
    named: Option<Arc<str>>,
    /// The number of consecutive failures.
    failures: u32,
    /// The time at which a challenge last ended the use of a document or of a failure.
    dropped: Option<ElapsedTime>,
}

#[derive(Debug)]
enum State<T, W> {
    Empty,
    Fetching {
        kept: Option<Kept<T>>,
        waiters: Vec<W>,
        /// The callers that wait for the next fetch, because a challenge has named another URL during this one. `None` if
        /// no challenge has.
        superseded: Option<Vec<W>>,
    },
    /// A document, which is stale from `until` on.
    Found {
        kept: Kept<T>,
        until: ElapsedTime,
    },
    /// A failure, which is forgotten from `until` on.
    Failed {
        error: DiscoveryError,
        until: ElapsedTime,
        kept: Option<Kept<T>>,
    },
}

impl<T, W> Default for Lookup<T, W> {
    fn default() -> Self {
        Self { state: State::Empty, named: None, failures: 0, dropped: None }
    }
}

impl<T, W> Lookup<T, W> {
    /// Handles a caller that asks for the document. `named` is the URL that the caller's challenge names.
    pub(crate) fn ask(
        &mut self,
        waiter: W,
        named: Option<&str>,
        freshness: Freshness,
        now: ElapsedTime,
    ) -> Asked<T, W> {
        let is_new = named.is_some() && named != self.named.as_deref();
        let is_taken = is_new && self.take_challenge(named, now);
        let kept = match &mut self.state {
            State::Fetching { waiters, superseded, .. } => {
                // Later callers with the same challenge wait for the second fetch too.
                let waits_for_next = is_taken || named.is_some() && named == self.named.as_deref();
                match superseded {
                    Some(late) if waits_for_next => late.push(waiter),
                    _ => waiters.push(waiter),
                }
                return Asked::Waits;
            }
            State::Found { kept, until } if *until > now && freshness != Freshness::Now => {
                return Asked::Answered(waiter, Ok(Arc::clone(&kept.value)));
            }
            State::Failed { error, until, .. } if *until > now && freshness == Freshness::Cached => {
                return Asked::Answered(waiter, Err(*error));
            }
            State::Found { kept, .. } => Some(kept.clone()),
            State::Failed { kept, .. } => kept.take(),
            State::Empty => None,
        };
        Asked::Begins(self.begin(kept, vec![waiter]))
    }

    /// Notes that a challenge names the metadata at `named`, so the document that is kept may have changed (RFC 9728 section
    /// 5.2). It is revalidated when the next caller asks, at most once a minute.
    pub(crate) fn note(&mut self, named: &str, now: ElapsedTime) {
        // The answer of a fetch that is under way is about as new as the challenge.
        let is_fetched = matches!(self.state, State::Fetching { .. }) && self.named.as_deref() == Some(named);
        if !is_fetched {
            self.take_challenge(Some(named), now);
        }
    }

    /// Notes that the document in memory was of no use, because an endpoint in it is gone. It is revalidated when the next
    /// caller asks.
    pub(crate) fn doubt(&mut self, now: ElapsedTime) {
        if let State::Found { until, .. } = &mut self.state {
            *until = now;
        }
    }

    /// Ends the use of the document or of the failure in memory because of a challenge, unless another challenge did so a
    /// short time ago. Returns whether it did.
    fn take_challenge(&mut self, named: Option<&str>, now: ElapsedTime) -> bool {
        if self.dropped.is_some_and(|dropped| now < dropped.after(CHALLENGE_PAUSE)) {
            return false;
        }
        self.named = named.map(Arc::from);
        match &mut self.state {
            // Nothing is in memory, so no pause begins, and the next challenge may end the use of the first document.
            State::Empty => return true,
            State::Fetching { superseded, .. } => drop(superseded.get_or_insert_default()),
            State::Found { until, .. } | State::Failed { until, .. } => *until = now,
        }
        self.dropped = Some(now);
        true
    }

    fn begin(&mut self, kept: Option<Kept<T>>, waiters: Vec<W>) -> FetchOrder<T> {
        self.state = State::Fetching { kept: kept.clone(), waiters, superseded: None };
        FetchOrder { named: self.named.clone(), kept }
    }

    /// Handles the end of the fetch.
    pub(crate) fn end(&mut self, result: Result<Found<T>, DiscoveryError>, now: ElapsedTime) -> Ended<T, W> {
        let (kept, waiters, superseded) = match mem::replace(&mut self.state, State::Empty) {
            State::Fetching { kept, waiters, superseded } => (kept, waiters, superseded),
            State::Found { kept, .. } => (Some(kept), Vec::new(), None),
            State::Failed { kept, .. } => (kept, Vec::new(), None),
            State::Empty => (None, Vec::new(), None),
        };
        let is_superseded = superseded.is_some();
        let answer = match result {
            Ok(found) => {
                self.failures = 0;
                let until = if is_superseded { now } else { found.fresh_until };
                if found.may_be_stored {
                    let kept = Kept { value: Arc::clone(&found.value), validator: found.validator };
                    self.state = State::Found { kept, until };
                }
                Ok(found.value)
            }
            Err(error) => {
                let pause = FAILURE_PAUSE.saturating_mul(1 << self.failures.min(8)).min(MAX_FAILURE_PAUSE);
                self.failures = self.failures.saturating_add(1);
                let until = if is_superseded { now } else { now.after(pause) };
                self.state = State::Failed { error, until, kept };
                Err(error)
            }
        };
        let late = superseded.filter(|late| !late.is_empty());
        let next = late.map(|late| {
            let kept = match &self.state {
                State::Found { kept, .. } => Some(kept.clone()),
                State::Failed { kept, .. } => kept.clone(),
                State::Empty | State::Fetching { .. } => None,
            };
            self.begin(kept, late)
        });
        Ended { waiters, answer, next }
    }

    /// The time from which nothing here is worth its memory. `None` while a fetch is under way.
    pub(crate) fn ends_at(&self) -> Option<ElapsedTime> {
        let ends = match &self.state {
            State::Fetching { .. } => return None,
            State::Empty => ElapsedTime::default(),
            State::Found { kept, until } if kept.validator.is_some() => until.after(KEEP_STALE),
            State::Found { until, .. } => *until,
            // The count of failures outlives the pause, so that the next pause is longer.
            State::Failed { until, .. } => until.after(MAX_FAILURE_PAUSE),
        };
        // The pause between challenges is remembered even if the document may not be stored.
        Some(self.dropped.map_or(ends, |dropped| ends.max(dropped.after(CHALLENGE_PAUSE))))
    }
}

#[cfg(test)]
mod tests;
