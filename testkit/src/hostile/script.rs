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
    /// The fault for requests that find the queue empty.
    always: Option<Step>,
}

impl Script {
    pub(super) fn push(&mut self, times: usize, step: &Step) {
        self.queue.extend(std::iter::repeat_n(step, times).cloned());
    }

    pub(super) fn set_always(&mut self, step: Option<Step>) {
        self.always = step;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take(&mut self) -> Option<Step> {
        self.queue.pop_front().or_else(|| self.always.clone())
    }
}
