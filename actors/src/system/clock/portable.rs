//! The clocks of std, for Windows, the BSDs and all other systems that have no module of their own here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::values::{BootId, ElapsedTime, Moment, WallTime};

use super::super::NoRandomness;
use super::boot;

/// On Windows, `Instant` is the performance counter, which runs in sleep and hibernation. On the BSDs it is
/// `CLOCK_MONOTONIC`, which counts suspend in some releases of FreeBSD and OpenBSD and not in others. In the other
/// releases, only wall time shows a suspend.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    opened: Instant,
    boot: BootId,
}

impl Clocks {
    #[expect(clippy::disallowed_methods, reason = "the system clock: the one place where time is read")]
    pub(super) fn open() -> Result<Self, NoRandomness> {
        Ok(Self { opened: Instant::now(), boot: boot::random()? })
    }

    #[expect(clippy::disallowed_methods, reason = "the system clock: the one place where time is read")]
    pub(super) fn now(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Moment {
            wall: WallTime::from_millis(millis(wall)),
            elapsed: ElapsedTime::from_millis(millis(self.opened.elapsed())),
            boot: self.boot,
        }
    }

    /// Std has no cheaper clock.
    pub(super) fn coarse(&self) -> Option<Moment> {
        Some(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_time_counts_from_the_opening_and_never_steps_back() {
        let clocks = Clocks::open().unwrap();
        let (first, second) = (clocks.now(), clocks.now());
        assert!(first.elapsed <= second.elapsed);
        assert!(first.elapsed.as_millis() < 60_000);
        assert!(first.wall.as_millis() > 1_700_000_000_000);
        assert!(clocks.coarse().unwrap().elapsed >= second.elapsed);
    }

    #[test]
    fn each_clock_has_its_own_boot_and_shares_it_with_its_clones() {
        let clocks = Clocks::open().unwrap();
        assert_eq!(clocks.clone().now().boot, clocks.now().boot);
        assert_eq!(Clocks::open().unwrap().now().elapsed_since(&clocks.now()), None);
    }
}
