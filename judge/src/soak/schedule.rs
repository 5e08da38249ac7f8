//! The actions that a soak still has to take, by time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::workers::WorkerNumber;
use crate::clock::Stopwatch;

/// An action at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DueAction {
    /// The next fault begins.
    BeginFault,
    /// No flight has reached the point or sent a request by then, and the fault is given up.
    GiveUpFault,
    Kill(WorkerNumber),
    /// This worker, which is sending, is stopped for this time, and a user signs in meanwhile.
    Supersede(WorkerNumber, Duration),
    Resume(WorkerNumber),
    /// The home is looked at, and the progress shown.
    Look,
    /// The duration is over.
    End,
    /// Workers that have not ended yet are killed.
    KillAll,
}

/// All scheduled actions, with a stopwatch of their own.
pub(super) struct Schedule {
    watch: Stopwatch,
    /// By time, and then by the order in which they were scheduled.
    due: BTreeMap<(Duration, u64), DueAction>,
    count: u64,
}

impl Schedule {
    /// An empty schedule. Its time begins now.
    pub(super) fn new() -> Self {
        Self { watch: Stopwatch::start(), due: BTreeMap::new(), count: 0 }
    }

    /// The time since the beginning.
    pub(super) fn passed(&self) -> Duration {
        self.watch.read()
    }

    /// Schedules an action, `span` from now.
    pub(super) fn within(&mut self, span: Duration, action: DueAction) {
        self.count += 1;
        self.due.insert((self.passed() + span, self.count), action);
    }

    /// The time until the next action.
    pub(super) fn until_next(&self) -> Duration {
        self.due.first_key_value().map_or(Duration::ZERO, |((at, _), _)| at.saturating_sub(self.passed()))
    }

    /// Removes and returns the next action that is due.
    pub(super) fn next(&mut self) -> Option<DueAction> {
        let passed = self.passed();
        let first = self.due.first_entry().filter(|first| first.key().0 <= passed)?;
        Some(first.remove())
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&DueAction) -> bool) {
        self.due.retain(|_, action| keep(action));
    }
}
