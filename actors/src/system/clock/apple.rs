//! The clocks of macOS, iOS and Apple's other systems.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::values::{BootId, ElapsedTime, Moment, WallTime};

use super::super::NoRandomness;
use super::boot;

/// `CLOCK_MONOTONIC` counts sleep here (clock_gettime(3)). Std's `Instant` is `CLOCK_UPTIME_RAW`, which does not.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    boot: BootId,
}

impl Clocks {
    pub(super) fn open() -> Result<Self, NoRandomness> {
        Ok(Self { boot: boot::random()? })
    }

    pub(super) fn now(&self) -> Moment {
        Moment {
            wall: WallTime::from_millis(millis(clock_gettime(ClockId::Realtime))),
            elapsed: ElapsedTime::from_millis(millis(clock_gettime(ClockId::Monotonic))),
            boot: self.boot,
        }
    }

    /// The approximate clocks need `mach_continuous_approximate_time`, which no safe crate offers. The precise clocks
    /// are read without a system call, too.
    pub(super) fn coarse(&self) -> Option<Moment> {
        Some(self.now())
    }
}

/// Whole milliseconds, or zero before the clock's origin.
fn millis(time: Timespec) -> u64 {
    let millis = time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}
