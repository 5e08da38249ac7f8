//! What is to be done in a storm, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::clock::Stopwatch;
use super::crew::Number;

/// Something to be done at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The next incident begins.
    Incident,
    /// No flight has come to the point, or sent anything.
    InVain,
    Kill(Number),
    /// This one, which is sending, is stopped for so long, and somebody signs in meanwhile.
    Supersede(Number, Duration),
    LetGo(Number),
    /// The home is looked at.
    Glance,
    /// The time is over.
    End,
    /// Nobody is waited for any more.
    Last,
}

/// All of it, by a watch of its own.
pub(super) struct Schedule {
    watch: Stopwatch,
    /// By time, and then by the order in which it came up.
    due: BTreeMap<(Duration, u64), Due>,
    count: u64,
}

impl Schedule {
    /// Nothing yet, and no time has passed.
    pub(super) fn new() -> Self {
        Self { watch: Stopwatch::start(), due: BTreeMap::new(), count: 0 }
    }

    /// The time that has passed.
    pub(super) fn passed(&self) -> Duration {
        self.watch.read()
    }

    pub(super) fn within(&mut self, span: Duration, due: Due) {
        self.count += 1;
        self.due.insert((self.passed() + span, self.count), due);
    }

    /// How long nothing is due.
    pub(super) fn rest(&self) -> Duration {
        self.due.first_key_value().map_or(Duration::ZERO, |((at, _), _)| at.saturating_sub(self.passed()))
    }

    /// What is due, if anything is.
    pub(super) fn next(&mut self) -> Option<Due> {
        let passed = self.passed();
        let first = self.due.first_entry().filter(|first| first.key().0 <= passed)?;
        Some(first.remove())
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Due) -> bool) {
        self.due.retain(|_, due| keep(due));
    }
}
