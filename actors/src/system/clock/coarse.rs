//! Computes coarse elapsed time, which counts suspend, from clocks that do not. This module reads no clock itself.
//!
//! Three clocks are involved. *Boottime* counts suspend, *monotonic* does not, and the *wall* clock counts it but can
//! be set. Only monotonic and wall have coarse copies, which the kernel makes at each timer tick and which are cheaper to
//! read. Boottime − monotonic is constant between suspends, grows with
//! each suspend and never shrinks. Wall − monotonic, the *skew*, changes only with a suspend and when the wall clock is
//! set, because adjusting the clocks' speed changes both clocks. A coarse elapsed time is therefore monotonic plus the
//! time suspended, as long as the skew has not changed since that time was measured.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::values::{BootId, ElapsedTime, Moment, WallTime};

/// The change of the skew, in nanoseconds, beyond which coarse times are refused. A leap second changes it by less.
const MAX_CHANGE: u64 = 2_000_000_000;

/// The change of the skew, in nanoseconds, beyond which it is stored again. The time between two readings changes it by
/// less, and storing that would invalidate the cache line for all readers.
const MIN_STORED: u64 = 1_000_000;

/// Precise readings in nanoseconds, taken in this order.
///
/// Wall comes before boottime, so that boottime includes every suspend that wall includes. Boottime comes before
/// monotonic, so that their difference is never more than the time that was really suspended.
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

/// Wall time and elapsed time, in nanoseconds, from coarse readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coarse {
    pub(super) wall: i64,
    pub(super) elapsed: i64,
}

/// The last known differences between the clocks.
///
/// The coarse clocks change once a tick. Therefore the wall clock is read once a tick, to check the skew, and the other
/// readings within that tick add the skew to the monotonic time. This halves the cost of a reading. A wall clock that is set
/// within a tick is noticed at the next one.
///
/// The atomics have no lock. A reader may see one of `suspended` and `skew` from before a suspend and the other from
/// after it. The order of the accesses makes that harmless. `suspended` is written before `skew` and read after it, so
/// a reader of a skew also reads a `suspended` that includes every suspend of that skew. The remaining case is an old
/// skew with a newer `suspended`. If the coarse clocks were read after the suspend, the old skew refuses them. If they
/// were read before it, the sum is still no later than the present, because `suspended` is never too large and
/// monotonic was read in the past. A delayed writer can only restore an old skew, which refuses coarse times until the
/// next `now()`, but never an older `suspended`.
#[derive(Debug)]
pub(super) struct Offsets {
    /// Boottime − monotonic. It only grows. The largest reading is the most precise, because each reading is too small
    /// by the time that it took.
    suspended: AtomicI64,
    /// Wall − monotonic.
    skew: AtomicI64,
    /// The monotonic time of the last tick at which `skew` was found to be right.
    checked: AtomicI64,
}

/// No tick has this time.
const UNCHECKED: i64 = i64::MIN;

impl Offsets {
    /// Makes the differences of the first readings.
    pub(super) fn new(seen: Precise) -> Self {
        Self {
            suspended: AtomicI64::new(seen.suspended()),
            skew: AtomicI64::new(seen.skew()),
            checked: AtomicI64::new(UNCHECKED),
        }
    }

    /// Updates the differences that have changed.
    pub(super) fn learn(&self, seen: Precise) {
        if self.suspended.load(Relaxed) < seen.suspended() {
            self.suspended.fetch_max(seen.suspended(), Relaxed);
        }
        if self.skew.load(Relaxed).abs_diff(seen.skew()) > MIN_STORED {
            self.skew.store(seen.skew(), Release);
        }
    }

    /// Returns the time at the tick `monotonic`, or `None` if the skew has changed. Calls `wall` only at the first
    /// reading of a tick, and after `monotonic` was read, so that a suspend in between shows in the skew.
    #[inline]
    pub(super) fn at(&self, monotonic: i64, wall: impl FnOnce() -> i64) -> Option<Coarse> {
        let is_checked = self.checked.load(Acquire) == monotonic;
        let skew = self.skew.load(Acquire);
        if !is_checked {
            let change = wall().saturating_sub(monotonic).abs_diff(skew);
            if change > MAX_CHANGE {
                return None;
            }
            self.checked.store(monotonic, Release);
        }
        let elapsed = monotonic.saturating_add(self.suspended.load(Relaxed));
        Some(Coarse { wall: monotonic.saturating_add(skew), elapsed })
    }
}

impl Clone for Offsets {
    fn clone(&self) -> Self {
        let skew = self.skew.load(Acquire);
        let suspended = AtomicI64::new(self.suspended.load(Relaxed));
        Self { suspended, skew: AtomicI64::new(skew), checked: AtomicI64::new(UNCHECKED) }
    }
}

/// Returns the moment at these readings, in whole milliseconds, and zero before the clock's origin.
pub(super) fn moment(wall: i64, elapsed: i64, boot: BootId) -> Moment {
    let millis = |nanos: i64| u64::try_from(nanos / 1_000_000).unwrap_or(0);
    Moment { wall: WallTime::from_millis(millis(wall)), elapsed: ElapsedTime::from_millis(millis(elapsed)), boot }
}

#[cfg(test)]
mod tests;
