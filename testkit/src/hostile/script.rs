//! The assignment of faults to requests.

use std::collections::VecDeque;

use super::fault::{Fault, When};

/// A fault with its time.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) when: When,
    pub(super) fault: Fault,
}

/// The faults of one endpoint, in a queue.
#[derive(Default)]
pub(super) struct Script {
    queue: VecDeque<Step>,
    /// The faults for requests that find the queue empty, in turn.
    in_turn: Vec<Step>,
    /// The position in `in_turn`.
    turn: usize,
}

impl Script {
    pub(super) fn push(&mut self, times: usize, step: &Step) {
        self.queue.extend(std::iter::repeat_n(step, times).cloned());
    }

    pub(super) fn set_in_turn(&mut self, steps: Vec<Step>) {
        (self.in_turn, self.turn) = (steps, 0);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take(&mut self) -> Option<Step> {
        let queued = self.queue.pop_front();
        if queued.is_some() || self.in_turn.is_empty() {
            return queued;
        }
        let step = self.in_turn.get(self.turn).cloned();
        self.turn = (self.turn + 1) % self.in_turn.len();
        step
    }
}
