//! Requests that wait for a token. If such a request is cancelled, its cancellation is not sent either.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::RequestId;

#[expect(clippy::disallowed_types, reason = "its order is never seen")]
type Map<K, V> = std::collections::HashMap<K, V>;

/// The maximum number of dropped requests that are remembered. Their cancellation follows at once, unless a transport ends.
const MAX_ABANDONED: usize = 4096;

/// The name of a request in its cancellation. Transports without an MCP session use the same numbers, so the cancellation of
/// one request may be taken for that of another. Such a server cannot tell them apart either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestName {
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) id: RequestId,
}

/// The requests that have not been sent to the server.
#[derive(Clone, Default)]
pub(crate) struct Unsent(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    requests: Map<RequestName, Entry>,
    /// The requests that were dropped, the oldest first, with the numbers of their notes.
    abandoned: VecDeque<(RequestName, u64)>,
    notes: u64,
}

struct Entry {
    note: u64,
    is_cancelled: bool,
}

impl Unsent {
    /// Notes that a request is about to wait. The request is remembered until [`Note::settle`], even if the note is dropped.
    pub(crate) fn note(&self, name: RequestName) -> Note {
        let mut state = self.state();
        state.notes += 1;
        let note = state.notes;
        state.requests.insert(name.clone(), Entry { note, is_cancelled: false });
        Note { unsent: self.clone(), name: Some(name), note }
    }

    /// Whether this request waits, or was dropped while it waited. Its cancellation is then not sent.
    ///
    /// rmcp cancels a request before it sends the cancellation, so a request that still waits is dropped at its next poll
    /// and never sent.
    pub(crate) fn take_cancellation(&self, name: &RequestName) -> bool {
        let mut state = self.state();
        let Some(entry) = state.requests.get_mut(name) else { return false };
        entry.is_cancelled = true;
        let note = entry.note;
        if let Some(place) = state.abandoned.iter().position(|(_, abandoned)| *abandoned == note) {
            state.abandoned.remove(place);
            state.requests.remove(name);
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The note of one request that waits.
pub(crate) struct Note {
    unsent: Unsent,
    name: Option<RequestName>,
    note: u64,
}

impl Note {
    /// Removes the request, because it is sent now, or has failed.
    pub(crate) fn settle(mut self) {
        if let Some(name) = self.name.take() {
            self.unsent.state().forget(&name, self.note);
        }
    }
}

/// A drop without [`Note::settle`] means that the request was dropped. Its cancellation may follow.
impl Drop for Note {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        let mut state = self.unsent.state();
        match state.requests.get(&name) {
            Some(entry) if entry.note == self.note && entry.is_cancelled => state.forget(&name, self.note),
            Some(entry) if entry.note == self.note => {
                state.abandoned.push_back((name, self.note));
                if state.abandoned.len() > MAX_ABANDONED
                    && let Some((name, note)) = state.abandoned.pop_front()
                {
                    state.forget(&name, note);
                }
            }
            _ => {}
        }
    }
}

impl State {
    /// Removes a request, unless a later one has its name.
    fn forget(&mut self, name: &RequestName, note: u64) {
        if self.requests.get(name).is_some_and(|entry| entry.note == note) {
            self.requests.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: i64) -> RequestName {
        RequestName { session_id: Some("session".into()), id: RequestId::Number(id) }
    }

    fn size(unsent: &Unsent) -> (usize, usize) {
        let state = unsent.state();
        (state.requests.len(), state.abandoned.len())
    }

    #[test]
    fn the_cancellation_of_a_request_that_waits_or_was_dropped_is_taken_once() {
        let unsent = Unsent::default();
        let waiting = unsent.note(named(1));
        drop(unsent.note(named(2)));
        assert!(unsent.take_cancellation(&named(1)));
        assert!(unsent.take_cancellation(&named(2)));
        assert!(!unsent.take_cancellation(&named(2)));
        drop(waiting);
        assert!(!unsent.take_cancellation(&named(1)));
        assert_eq!(size(&unsent), (0, 0));
    }

    #[test]
    fn the_cancellation_of_a_request_that_was_sent_is_not_taken() {
        let unsent = Unsent::default();
        unsent.note(named(1)).settle();
        assert!(!unsent.take_cancellation(&named(1)));
        assert!(!unsent.take_cancellation(&named(2)));
        let other = RequestName { session_id: None, ..named(3) };
        let waiting = unsent.note(other);
        assert!(!unsent.take_cancellation(&named(3)));
        waiting.settle();
        assert_eq!(size(&unsent), (0, 0));
    }

    #[test]
    fn a_later_request_of_the_same_name_keeps_its_note() {
        let unsent = Unsent::default();
        let first = unsent.note(named(1));
        let second = unsent.note(named(1));
        drop(first);
        assert!(unsent.take_cancellation(&named(1)));
        second.settle();
        assert_eq!(size(&unsent), (0, 0));
    }

    #[test]
    fn requests_whose_cancellation_never_comes_are_forgotten() {
        let unsent = Unsent::default();
        for id in 0..MAX_ABANDONED as i64 + 100 {
            drop(unsent.note(named(id)));
        }
        assert_eq!(size(&unsent), (MAX_ABANDONED, MAX_ABANDONED));
        assert!(!unsent.take_cancellation(&named(99)));
        assert!(unsent.take_cancellation(&named(100)));
    }
}
