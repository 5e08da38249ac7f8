//! The waiting callers. Their number is bounded, and each is answered once, by its own deadline (law 7).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::machine::{Output, Session};
use super::{Ask, WaiterId};
use crate::law::line::Line;
use crate::values::{ElapsedTime, Lease, Now, Reason, TokenError};

/// A waiting caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    deadline: ElapsedTime,
    min_lifetime: Duration,
    fail_fast: bool,
    /// A caller that insists takes only a token of a flight with a higher number than this.
    after_flight: Option<u64>,
}

impl Waiter {
    pub(super) fn new(ask: &Ask, flights_begun: u64) -> Self {
        Self {
            deadline: ask.deadline(),
            min_lifetime: ask.min_lifetime,
            fail_fast: ask.fail_fast,
            after_flight: ask.force.then_some(flights_begun),
        }
    }

    pub(super) fn min_lifetime(&self) -> Duration {
        self.min_lifetime
    }

    /// Whether the caller insists on a token from a later flight.
    pub(super) fn insists(&self) -> bool {
        self.after_flight.is_some()
    }

    /// Until when the caller waits for another attempt; `None` if it takes the first failure.
    pub(super) fn patience(&self) -> Option<ElapsedTime> {
        (!self.fail_fast).then_some(self.deadline)
    }

    /// Whether the caller takes a token from the flight with this number.
    pub(super) fn accepts_flight(&self, flight: u64) -> bool {
        self.after_flight.is_none_or(|after| flight > after)
    }
}

/// All waiting callers, by id and by deadline.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    by_id: Line<WaiterId, Waiter>,
    /// The earliest deadline first. Some entries belong to callers that are gone, but never the first one.
    by_deadline: BinaryHeap<Reverse<(ElapsedTime, WaiterId)>>,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn insert(&mut self, id: WaiterId, waiter: Waiter) {
        self.remove(id);
        self.by_id.join(id, waiter);
        self.by_deadline.push(Reverse((waiter.deadline, id)));
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.by_id.leave(id)?;
        self.forget_departed();
        Some(waiter)
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<ElapsedTime> {
        self.by_deadline.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Removes one caller whose deadline has come.
    fn pop_due(&mut self, now: ElapsedTime) -> Option<(WaiterId, Waiter)> {
        let Reverse((_, id)) = *self.by_deadline.peek().filter(|Reverse((deadline, _))| *deadline <= now)?;
        self.remove(id).map(|waiter| (id, waiter))
    }

    /// Calls `answer` for each caller, in the order of their ids, and removes those for which it returns true.
    fn answer_each(&mut self, mut answer: impl FnMut(WaiterId, &Waiter) -> bool) {
        self.by_id.retain(|id, waiter| !answer(id, waiter));
        self.forget_departed();
    }

    /// Until when the most patient caller waits for another attempt; `None` if there is no such caller.
    pub(super) fn patience(&self) -> Option<ElapsedTime> {
        self.by_id.iter().filter_map(|(_, waiter)| waiter.patience()).max()
    }

    /// Whether any caller insists on a token from a later flight.
    pub(super) fn insist(&self) -> bool {
        self.by_id.iter().any(|(_, waiter)| waiter.insists())
    }

    /// The flight with this number was as good as a new one, so callers that insisted on such a flight take the current lease.
    pub(super) fn satisfy(&mut self, flight: u64) {
        self.by_id.for_each(|waiter| {
            if waiter.accepts_flight(flight) {
                waiter.after_flight = None;
            }
        });
    }

    /// Removes the deadlines of callers that are gone. At the top of the heap they are removed at once. Others stay
    /// until they are more than half of all.
    fn forget_departed(&mut self) {
        let by_id = &self.by_id;
        let waits = |Reverse((deadline, id)): &Reverse<(ElapsedTime, WaiterId)>| {
            by_id.get(*id).is_some_and(|waiter| waiter.deadline == *deadline)
        };
        if by_id.is_empty() {
            // The memory of many deadlines is freed as soon as the last caller leaves.
            self.by_deadline = BinaryHeap::new();
        } else if self.by_deadline.len() > 2 * by_id.len() {
            self.by_deadline.retain(waits);
        }
        while self.by_deadline.peek().is_some_and(|first| !waits(first)) {
            self.by_deadline.pop();
        }
    }
}

impl Session {
    /// Calls `answer` for each waiting caller, in the order of their ids. Answers and removes those for which it
    /// returns an answer.
    pub(super) fn answer_waiters(
        &mut self,
        out: &mut Output,
        mut answer: impl FnMut(&Session, &Waiter) -> Option<Result<Lease, TokenError>>,
    ) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.answer_each(|id, waiter| {
            let answer = answer(self, waiter);
            let answered = answer.is_some();
            if let Some(answer) = answer {
                out.answer(id, answer);
            }
            answered
        });
        self.waiters = waiters;
    }

    /// Answers the callers whose deadline has come.
    pub(super) fn answer_due(&mut self, now: Now, out: &mut Output) {
        while let Some((id, waiter)) = self.waiters.pop_due(now.elapsed()) {
            // A lease that could not be served when the caller asked may be good now, after a step of the clock.
            let served = self.serve_waiter(&waiter, now);
            out.answer(id, served.ok_or(TokenError::new(Reason::DeadlinePassed)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(deadline: u64, force: bool) -> Waiter {
        let ask = Ask {
            asked: ElapsedTime::from_millis(deadline),
            timeout: Duration::ZERO,
            min_lifetime: Duration::ZERO,
            force,
            fail_fast: false,
        };
        Waiter::new(&ask, 3)
    }

    #[test]
    fn callers_leave_by_deadline_by_answer_or_on_their_own() {
        let mut waiters = Waiters::default();
        for (id, deadline) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            waiters.insert(WaiterId(id), waiter(deadline, false));
        }
        assert_eq!(waiters.next_deadline(), Some(ElapsedTime::from_millis(10)));
        let due = |waiters: &mut Waiters, millis| waiters.pop_due(ElapsedTime::from_millis(millis)).map(|(id, _)| id);
        assert_eq!(due(&mut waiters, 9), None);
        assert_eq!(due(&mut waiters, 10), Some(WaiterId(2)));
        waiters.remove(WaiterId(4));
        assert_eq!(due(&mut waiters, 10), None);
        waiters.answer_each(|id, _| id == WaiterId(3));
        assert_eq!(waiters.len(), 1);
        assert_eq!(waiters.next_deadline(), Some(ElapsedTime::from_millis(30)));
        assert!(!waiters.is_empty() && !waiters.insist());
    }

    #[test]
    fn the_same_id_again_replaces_its_deadline() {
        let mut waiters = Waiters::default();
        waiters.insert(WaiterId(1), waiter(10, false));
        waiters.insert(WaiterId(2), waiter(30, false));
        waiters.insert(WaiterId(1), waiter(20, true));
        assert!(waiters.pop_due(ElapsedTime::from_millis(15)).is_none());
        assert!(waiters.insist());
        assert_eq!(waiters.len(), 2);
    }

    #[test]
    fn deadlines_of_departed_callers_take_no_memory() {
        let mut waiters = Waiters::default();
        waiters.insert(WaiterId(0), waiter(1, false));
        for id in 1..10_000 {
            waiters.insert(WaiterId(id), waiter(1 + id, false));
            assert!(waiters.remove(WaiterId(id)).is_some());
            assert!(waiters.by_deadline.len() <= 2);
        }
        assert_eq!(waiters.next_deadline(), Some(ElapsedTime::from_millis(1)));
    }

    /// A sweep visits every deadline. It therefore happens only once there are more than twice as many as callers.
    #[test]
    fn deadlines_are_swept_once_they_are_more_than_twice_the_callers() {
        let mut waiters = Waiters::default();
        for id in 1..=4 {
            waiters.insert(WaiterId(id), waiter(id, false));
        }
        waiters.remove(WaiterId(4));
        waiters.remove(WaiterId(3));
        assert_eq!(waiters.by_deadline.len(), 4);
        waiters.remove(WaiterId(2));
        assert_eq!(waiters.by_deadline.len(), 1);
    }

    #[test]
    fn a_caller_that_insists_takes_only_a_later_flight() {
        assert!(waiter(10, false).accepts_flight(1));
        assert!(!waiter(10, true).accepts_flight(3));
        assert!(waiter(10, true).accepts_flight(4));
    }
}
