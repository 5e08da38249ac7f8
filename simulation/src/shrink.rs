//! Shrinks a schedule to a small number of events that still break the same law.

use crate::plan::Event;
use crate::{Breach, Schedule};

/// The maximum number of attempts.
const ATTEMPTS: usize = 600;

/// Returns the smallest schedule found that breaks the same law in the same way. Returns `schedule` itself if it
/// breaks none.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let Some(breach) = schedule.run(false).breach else { return schedule.clone() };
    let mut search = Search { breach, best: schedule.clone(), left: ATTEMPTS };
    let mut calm = search.best.clone();
    calm.plan.weather = false;
    search.try_it(calm);
    while search.pass() {}
    search.best
}

struct Search {
    breach: Breach,
    best: Schedule,
    left: usize,
}

impl Search {
    /// Keeps the candidate if it still breaks the law.
    fn try_it(&mut self, candidate: Schedule) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let same = |breach: &Breach| (breach.law, breach.what) == (self.breach.law, self.breach.what);
        let breaks = candidate.run(false).breach.is_some_and(|breach| same(&breach));
        if breaks {
            self.best = candidate;
        }
        breaks
    }

    /// Tries to drop events, in chunks that halve. Returns whether any chunk was dropped.
    fn pass(&mut self) -> bool {
        let before = self.best.plan.events.len();
        let mut size = before.div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < self.best.plan.events.len() {
                let mut candidate = self.best.clone();
                let end = (start + size).min(candidate.plan.events.len());
                candidate.plan.events.drain(start..end);
                if !self.try_it(candidate) {
                    start += size;
                }
            }
            size /= 2;
        }
        self.soften();
        self.left > 0 && self.best.plan.events.len() < before
    }

    /// Simplifies the remaining events. It does not remove a process or an identity, because the random draws are
    /// named after them.
    fn soften(&mut self) {
        for place in 0..self.best.plan.events.len() {
            let mut candidate = self.best.clone();
            let Some(Event { what: crate::plan::Stimulus::Caller(spec), .. }) = candidate.plan.events.get_mut(place)
            else {
                continue;
            };
            (spec.rounds, spec.leaves_after, spec.min_lifetime) = (0, None, 0);
            if candidate.plan != self.best.plan {
                self.try_it(candidate);
            }
        }
    }
}
