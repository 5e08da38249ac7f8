//! How elapsed time is had from clocks that stop in suspend: arithmetic alone, no clock is read here.
//!
//! Three clocks are involved. *Boottime* counts suspend, *monotonic* does not, and the *wall* clock counts it but can be
//! set. Only monotonic and wall have coarse copies. Between suspends, boottime − monotonic is constant; it grows with
//! each suspend and never shrinks. Wall − monotonic, the *skew*, is constant too, but for a suspend and for the wall
//! clock being set: adjusting its speed moves both. So a coarse elapsed time is monotonic plus what was suspended, as
//! long as the skew is still where it was when that was learnt.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::values::{BootId, ElapsedTime, Moment, WallTime};

/// How far the skew may move before the cheap clocks no longer vouch for themselves. Less is a leap second.
const TRUSTED: u64 = 2_000_000_000;

/// How far the skew may move before it is written down again. What moves it less is the time between two readings, and
/// writing that would take the line from the caches of everybody who reads.
const NOTED: u64 = 1_000_000;

/// Precise readings in nanoseconds, taken in this order.
///
/// Wall before boottime: a suspend that the wall reading includes, boottime includes too. Boottime before monotonic: the
/// difference is never more than what was really suspended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Precise {
    pub(super) wall: i64,
    pub(super) boottime: i64,
    pub(super) monotonic: i64,
}

impl Precise {
    fn suspended(self) -> i64 {
        self.boottime.saturating_sub(self.monotonic)
    }

    fn skew(self) -> i64 {
        self.wall.saturating_sub(self.monotonic)
    }
}

/// Coarse readings in nanoseconds, taken in this order: a suspend in between shows in the skew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coarse {
    pub(super) monotonic: i64,
    pub(super) wall: i64,
}

/// What was last learnt of the distances between the clocks.
///
/// Two atomics without a lock, so that a reader may see one of them before a suspend and the other after. The order
/// makes that harmless. `suspended` is written before `skew` and read after it: whoever sees a skew also sees a
/// `suspended` that includes every suspend which that skew includes. What is left is an old skew beside a newer
/// `suspended`. If the coarse clocks were read after the suspend, the old skew refuses them; if before, the sum is still
/// no more than the present, because what was suspended is never overstated and monotonic was read in the past. And a
/// writer that was delayed can only bring back an old skew, which refuses until the next `now()`, but no older
/// `suspended`.
#[derive(Debug)]
pub(super) struct Offsets {
    /// Boottime − monotonic. It only grows, and the largest seen is the nearest to the truth: each reading falls short
    /// by the time that passed within it.
    suspended: AtomicI64,
    /// Wall − monotonic.
    skew: AtomicI64,
}

impl Offsets {
    /// The distances as `seen`.
    pub(super) fn new(seen: Precise) -> Self {
        Self { suspended: AtomicI64::new(seen.suspended()), skew: AtomicI64::new(seen.skew()) }
    }

    /// Takes note of what was `seen`, writing only what changed.
    pub(super) fn learn(&self, seen: Precise) {
        if self.suspended.load(Relaxed) < seen.suspended() {
            self.suspended.fetch_max(seen.suspended(), Relaxed);
        }
        if self.skew.load(Relaxed).abs_diff(seen.skew()) > NOTED {
            self.skew.store(seen.skew(), Release);
        }
    }

    /// Elapsed time at `seen`, in nanoseconds; `None` where the skew has moved.
    pub(super) fn elapsed(&self, seen: Coarse) -> Option<i64> {
        let moved = seen.wall.saturating_sub(seen.monotonic).abs_diff(self.skew.load(Acquire));
        (moved <= TRUSTED).then(|| seen.monotonic.saturating_add(self.suspended.load(Relaxed)))
    }
}

impl Clone for Offsets {
    fn clone(&self) -> Self {
        let skew = self.skew.load(Acquire);
        Self { suspended: AtomicI64::new(self.suspended.load(Relaxed)), skew: AtomicI64::new(skew) }
    }
}

/// The moment at these readings, in whole milliseconds; zero before the clock's origin.
pub(super) fn moment(wall: i64, elapsed: i64, boot: BootId) -> Moment {
    let millis = |nanos: i64| u64::try_from(nanos / 1_000_000).unwrap_or(0);
    Moment { wall: WallTime::from_millis(millis(wall)), elapsed: ElapsedTime::from_millis(millis(elapsed)), boot }
}

#[cfg(test)]
mod tests;
