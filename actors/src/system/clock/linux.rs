//! The clocks of Linux. All of them are read in the vDSO, without a system call.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::values::{BootId, Moment};

use super::super::NoRandomness;
use super::boot;
use super::coarse::{Coarse, Offsets, Precise, moment};

/// The clocks, and the identity of this boot. Linux keeps a coarse copy of `CLOCK_MONOTONIC`, and none of
/// `CLOCK_BOOTTIME`, which counts suspend. Coarse elapsed time is therefore the coarse monotonic time plus the
/// difference, which `offsets` keeps.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    boot: BootId,
    offsets: Offsets,
}

impl Clocks {
    /// Fails only if the kernel gives no boot identity, and no random one can be drawn instead.
    pub(super) fn open() -> Result<Self, NoRandomness> {
        Ok(Self { boot: boot::of_this_machine()?, offsets: Offsets::new(precise()) })
    }

    pub(super) fn now(&self) -> Moment {
        let seen = precise();
        self.offsets.learn(seen);
        moment(seen.wall, seen.boottime, self.boot)
    }

    #[inline]
    pub(super) fn coarse(&self) -> Option<Moment> {
        let monotonic = nanos(clock_gettime(ClockId::MonotonicCoarse));
        let Coarse { wall, elapsed } = self.offsets.at(monotonic, || nanos(clock_gettime(ClockId::RealtimeCoarse)))?;
        Some(moment(wall, elapsed, self.boot))
    }
}

/// Reads the clocks in the order that [`Precise`] requires. A struct's fields are evaluated in the order in which they
/// are written.
fn precise() -> Precise {
    Precise {
        wall: nanos(clock_gettime(ClockId::Realtime)),
        boottime: nanos(clock_gettime(ClockId::Boottime)),
        monotonic: nanos(clock_gettime(ClockId::Monotonic)),
    }
}

/// Nanoseconds since the clock's origin. They fit until the year 2262.
#[inline]
fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use rustix::time::clock_getres;

    use super::*;

    #[test]
    fn the_cheap_clocks_agree_with_the_precise_ones_within_some_ticks() {
        let tick = nanos(clock_getres(ClockId::MonotonicCoarse)).div_euclid(1_000_000).unsigned_abs() + 1;
        let clocks = Clocks::open().unwrap();
        // One agreement in a thousand tries is enough. A tick may come late to a virtual machine that was not running,
        // and the wall clock may be set.
        let agreed = (0..1_000).any(|_| {
            let now = clocks.now();
            clocks.coarse().is_some_and(|coarse| {
                let behind = now.elapsed.since(coarse.elapsed).max(now.wall.since(coarse.wall));
                behind.as_millis() <= u128::from(3 * tick)
            })
        });
        assert!(agreed, "never within {tick} ms * 3 of each other");
    }

    #[test]
    fn elapsed_time_is_boottime() {
        let before = nanos(clock_gettime(ClockId::Boottime)).unsigned_abs() / 1_000_000;
        let now = Clocks::open().unwrap().now().elapsed.as_millis();
        let after = nanos(clock_gettime(ClockId::Boottime)).unsigned_abs() / 1_000_000;
        assert!((before..=after).contains(&now), "{before} {now} {after}");
    }

    #[test]
    fn times_before_the_origin_are_negative_and_times_beyond_i64_saturate() {
        assert_eq!(nanos(Timespec { tv_sec: 2, tv_nsec: 5 }), 2_000_000_005);
        assert_eq!(nanos(Timespec { tv_sec: i64::MAX, tv_nsec: 5 }), i64::MAX);
        assert_eq!(nanos(Timespec { tv_sec: -1, tv_nsec: 5 }), -999_999_995);
    }
}
