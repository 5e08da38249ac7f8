//! The clock port on this machine. A module for each operating system reads its clocks.

mod boot;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod coarse;

#[cfg(target_vendor = "apple")]
mod apple;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))))]
mod portable;

#[cfg(target_vendor = "apple")]
use apple::Clocks;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux::Clocks;
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
use portable::Clocks;

use crate::ports::clock::Clock;
use crate::values::Moment;

use super::NoRandomness;

/// This machine's clocks, for wall time and for elapsed time that counts suspend.
///
/// | system | elapsed time | boot identity |
/// |---|---|---|
/// | Linux, Android | `CLOCK_BOOTTIME` | the kernel's `boot_id`, or a random one without `/proc` |
/// | macOS, iOS | `CLOCK_MONOTONIC`, which counts sleep there | random |
/// | Windows | the performance counter, which counts sleep | random |
/// | elsewhere | [`Instant`](std::time::Instant), which may or may not count suspend | random |
///
/// A random identity belongs to one clock and its clones. Moments of two clocks with different identities are compared
/// by wall time alone. Therefore *another identity does not prove another boot*. It may belong to another process,
/// container or host. If elapsed time does not count suspend, expiry still counts it by the wall clock.
///
/// Only on Linux and Android is [`coarse`](Clock::coarse) cheaper than [`now`](Clock::now). There it reads the copies that
/// the kernel makes of its clocks at each timer tick. It is never ahead of the present, and usually behind it by one tick (1
/// to 10 ms). After a
/// `now()`, a `coarse()` may therefore be earlier by that much. It returns `None` once wall time and the elapsed clocks
/// have diverged by more than two seconds since the last `now()`, after a suspend or when the wall clock was set. It
/// does not notice a shorter suspend, a smaller step of the wall clock, or a wall clock that was set back by the length
/// of a suspend. Until the next `now()` its times are behind by that much. The wall clock itself is read only at the
/// first `coarse()` of a tick.
///
/// A clone reads the same clocks, with the same boot identity. Cloning is cheap, and sharing one clock is cheaper.
#[derive(Clone, Debug)]
pub struct SystemClock(Clocks);

impl SystemClock {
    /// Opens the clocks of this machine.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`], if a random boot identity is needed and the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Clocks::open().map(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        self.0.now()
    }

    #[inline]
    fn coarse(&self) -> Option<Moment> {
        self.0.coarse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_time_never_steps_back_and_keeps_its_boot() {
        let clock = SystemClock::new().unwrap();
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now.elapsed >= last.elapsed && now.boot == last.boot, "{now:?} after {last:?}");
            last = now;
        }
    }

    #[test]
    fn the_cheap_clocks_never_step_back_among_themselves_and_are_never_ahead() {
        let clock = SystemClock::new().unwrap();
        let mut last = clock.now().elapsed;
        for _ in 0..10_000 {
            let Some(coarse) = clock.coarse() else { continue };
            let now = clock.now();
            assert!(coarse.elapsed <= now.elapsed && coarse.boot == now.boot, "{coarse:?} before {now:?}");
            last = last.min(coarse.elapsed);
            assert!(coarse.elapsed >= last);
            last = coarse.elapsed;
        }
    }

    #[test]
    fn a_clone_shares_the_boot_and_the_elapsed_clock() {
        let clock = SystemClock::new().unwrap();
        let before = clock.now();
        let seen = clock.clone().now();
        let after = clock.now();
        assert_eq!((seen.boot, before.boot), (before.boot, after.boot));
        assert!(before.elapsed <= seen.elapsed && seen.elapsed <= after.elapsed);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the reference that the clock is compared with")]
    fn wall_time_is_the_systems() {
        let unix = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::try_from(since.unwrap().as_millis()).unwrap()
        };
        let (before, now, after) = (unix(), SystemClock::new().unwrap().now().wall.as_millis(), unix());
        assert!((before..=after).contains(&now), "{before} {now} {after}");
    }
}
