//! The callers that wait: bounded, each with its own deadline, each answered once (law 7).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Ask, WaiterId};
use crate::law::line::Line;
use crate::values::ElapsedTime;

/// A caller that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) deadline: ElapsedTime,
    pub(super) min_lifetime: Duration,
    /// Only a flight after this one, by its number in this session, will do for a caller that insists.
    pub(super) after_flight: Option<u64>,
}

impl Waiter {
    pub(super) fn new(ask: &Ask, flights_begun: u64) -> Self {
        Self {
            deadline: ask.deadline(),
            min_lifetime: ask.min_lifetime,
            after_flight: ask.force.then_some(flights_begun),
        }
    }

    /// Whether the flight with this number is one the caller can take a token from.
    pub(super) fn accepts_flight(&self, flight: u64) -> bool {
        self.after_flight.is_none_or(|after| flight > after)
    }
}

/// All callers that wait, by id and by deadline.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    by_id: Line<WaiterId, Waiter>,
    /// The earliest first, and among others those who have left; the first is never one of those.
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
        self.forget_who_left();
        Some(waiter)
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<ElapsedTime> {
        self.by_deadline.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes out one caller whose deadline has come.
    pub(super) fn pop_due(&mut self, now: ElapsedTime) -> Option<(WaiterId, Waiter)> {
        let Reverse((_, id)) = *self.by_deadline.peek().filter(|Reverse((deadline, _))| *deadline <= now)?;
        self.remove(id).map(|waiter| (id, waiter))
    }

    /// Hands each caller to `answer`, in the order of their ids, and takes out those for whom it returns true.
    pub(super) fn answer_each(&mut self, mut answer: impl FnMut(WaiterId, &Waiter) -> bool) {
        self.by_id.retain(|id, waiter| !answer(id, waiter));
        self.forget_who_left();
    }

    /// Whether some caller insists on a flight after number `flight`.
    pub(super) fn insist(&self) -> bool {
        self.by_id.iter().any(|(_, waiter)| waiter.after_flight.is_some())
    }

    /// Takes deadlines out of the heap that belong to nobody: from its top, and from everywhere once they are many.
    fn forget_who_left(&mut self) {
        let by_id = &self.by_id;
        let waits = |Reverse((deadline, id)): &Reverse<(ElapsedTime, WaiterId)>| {
            by_id.get(*id).is_some_and(|waiter| waiter.deadline == *deadline)
        };
        if by_id.is_empty() {
            // A crowd's room is not kept for the next crowd.
            self.by_deadline = BinaryHeap::new();
        } else if self.by_deadline.len() > 2 * by_id.len() {
            self.by_deadline.retain(waits);
        }
        while self.by_deadline.peek().is_some_and(|first| !waits(first)) {
            self.by_deadline.pop();
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
    fn deadlines_of_callers_who_left_take_no_room() {
        let mut waiters = Waiters::default();
        waiters.insert(WaiterId(0), waiter(1, false));
        for id in 1..10_000 {
            waiters.insert(WaiterId(id), waiter(1 + id, false));
            assert!(waiters.remove(WaiterId(id)).is_some());
            assert!(waiters.by_deadline.len() <= 2);
        }
        assert_eq!(waiters.next_deadline(), Some(ElapsedTime::from_millis(1)));
    }

    /// Sweeping costs as much as there are deadlines: so it happens once they are more than twice the callers, not before.
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
    fn who_insists_takes_only_a_later_flight() {
        assert!(waiter(10, false).accepts_flight(1));
        assert!(!waiter(10, true).accepts_flight(3));
        assert!(waiter(10, true).accepts_flight(4));
    }
}
