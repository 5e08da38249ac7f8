//! The answers that arrive at a listener. The host decides on them, and each browser waits for the page of the outcome.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::page::Outcome;
use crate::{Callback, LoginKey};

/// The maximum number of answers that wait for the host, and of requests that wait for the outcome of one answer.
const MAX_WAITING: usize = 16;

/// The maximum number of outcomes that are remembered for reloads.
const MAX_REMEMBERED: usize = 16;

/// Receives an outcome when the host has decided it.
type Pending = watch::Receiver<Option<Outcome>>;

/// The answers of one listener.
#[derive(Debug, Default)]
pub(super) struct Answers {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Answers that the host has not seen.
    queue: VecDeque<Callback>,
    /// The outcome of each answer that is in the queue, with the host, or decided. `None` until the host has decided it.
    outcomes: BTreeMap<LoginKey, Arc<watch::Sender<Option<Outcome>>>>,
    /// The keys of the answers that were decided, the oldest first.
    decided: VecDeque<LoginKey>,
    is_closed: bool,
}

/// The page for an answer that has arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The host decides the page later.
    Waits(Pending),
    /// The outcome is known already, and its page is shown.
    Known(Outcome),
    /// Too many requests wait already.
    Refused,
}

impl Answers {
    /// Takes an answer that has arrived. Only the first answer of each key reaches the host.
    pub(super) fn arrive(&self, callback: Callback) -> Arrival {
        let mut state = self.state();
        if let Some(outcome) = state.outcomes.get(&callback.key) {
            let known = *outcome.borrow();
            return match known {
                Some(outcome) => Arrival::Known(outcome.again()),
                None if outcome.receiver_count() >= MAX_WAITING => Arrival::Refused,
                None => Arrival::Waits(outcome.subscribe()),
            };
        }
        if state.is_closed {
            return Arrival::Known(Outcome::Expired);
        }
        if state.queue.len() >= MAX_WAITING {
            return Arrival::Refused;
        }
        let (sender, pending) = watch::channel(None);
        state.outcomes.insert(callback.key, Arc::new(sender));
        state.queue.push_back(callback);
        self.arrived.notify_one();
        Arrival::Waits(pending)
    }

    /// The next answer whose key is expected. The browsers of all other answers get the page of a mismatch.
    pub(super) async fn next(self: &Arc<Self>, expected: &[LoginKey]) -> Received {
        loop {
            if let Some(callback) = self.expected(expected) {
                return Received { callback, answers: self.clone(), is_answered: false };
            }
            self.arrived.notified().await;
        }
    }

    /// The first answer in the queue whose key is expected. The answers before it are answered with a mismatch.
    fn expected(&self, expected: &[LoginKey]) -> Option<Callback> {
        let mut state = self.state();
        while let Some(callback) = state.queue.pop_front() {
            if expected.contains(&callback.key) {
                return Some(callback);
            }
            // The outcome is not remembered, so that forged answers take no memory.
            if let Some(outcome) = state.outcomes.remove(&callback.key) {
                outcome.send_replace(Some(Outcome::Mismatched));
            }
        }
        None
    }

    /// Whether a login of this listener was completed.
    pub(super) fn has_signed_in(&self) -> bool {
        self.state().outcomes.values().any(|outcome| *outcome.borrow() == Some(Outcome::SignedIn))
    }

    /// Ends the wait of the browsers whose answers the host has not seen. Returns whether reloads may follow.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        state.is_closed = true;
        for callback in std::mem::take(&mut state.queue) {
            if let Some(outcome) = state.outcomes.get(&callback.key) {
                outcome.send_replace(Some(Outcome::Failed));
            }
        }
        !state.outcomes.is_empty()
    }

    /// The number of requests that wait for the outcome of a key.
    #[cfg(test)]
    pub(super) fn waiting(&self, key: LoginKey) -> usize {
        self.state().outcomes.get(&key).map_or(0, |outcome| outcome.receiver_count())
    }

    /// Notes the outcome that the host has decided, and shows it to the browsers that wait. Returns its sender, or `None`
    /// if the key is unknown.
    fn conclude(&self, key: LoginKey, outcome: Outcome) -> Option<Arc<watch::Sender<Option<Outcome>>>> {
        let mut state = self.state();
        let sender = state.outcomes.get(&key)?.clone();
        sender.send_replace(Some(outcome));
        state.decided.push_back(key);
        if state.decided.len() > MAX_REMEMBERED
            && let Some(oldest) = state.decided.pop_front()
        {
            state.outcomes.remove(&oldest);
        }
        Some(sender)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that a browser brought, and the browser that waits for its page.
#[derive(Debug)]
#[must_use = "the browser waits for the page"]
pub struct Received {
    callback: Callback,
    answers: Arc<Answers>,
    is_answered: bool,
}

impl Received {
    /// The answer.
    pub fn callback(&self) -> &Callback {
        &self.callback
    }

    /// Shows the page of `outcome` in the browser, and waits until it was sent. Requests with the same `state` get it, too.
    /// Without this call, dropping the value shows [`Outcome::Failed`].
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the page is sent as long as the tokio runtime runs.
    pub async fn respond(mut self, outcome: Outcome) {
        self.is_answered = true;
        if let Some(sender) = self.answers.conclude(self.callback.key, outcome) {
            sender.closed().await;
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.is_answered {
            let _ = self.answers.conclude(self.callback.key, Outcome::Failed);
        }
    }
}
