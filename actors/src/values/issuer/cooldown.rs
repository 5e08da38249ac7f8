//! The cool-down of an issuer, which all processes that share a store observe.

use std::time::Duration;

use super::super::time::Moment;

/// A time in which an issuer asked for no requests (`Retry-After`), with the moment at which it began.
///
/// It applies to all processes and hosts that share the store. Each computes the end with [`left`](Self::left), on its
/// own clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// The moment at which it began, on both clocks of the process that stored it.
    pub began: Moment,
    /// Its duration from that moment, to the millisecond.
    pub span: Duration,
}

/// How far the wall clock of the process that stored a cool-down may be ahead of the reader's.
const MAX_SKEW: Duration = Duration::from_secs(300);

impl Cooldown {
    /// The time left at `now`, if the whole cool-down counts as at most `max`. `None` if it is over.
    ///
    /// Within one boot both clocks count, and the earlier end wins. Between boots and hosts only the wall clocks count.
    /// There, a cool-down that began more than five minutes in the future is ignored, because one of the two wall
    /// clocks is wrong. A wrong clock therefore holds requests back for `max` and five minutes at most.
    pub fn left(&self, now: &Moment, max: Duration) -> Option<Duration> {
        // A coarse clock (`Clock::coarse`) may read a few milliseconds earlier than the precise one that `began` comes
        // from. In that case the wall clocks are compared.
        let is_of_this_boot = self.began.boot == now.boot && self.began.elapsed <= now.elapsed;
        let passed = if is_of_this_boot {
            now.at_most_since(&self.began)?
        } else if self.began.wall.since(now.wall) > MAX_SKEW {
            return None;
        } else {
            now.wall.since(self.began.wall)
        };
        self.span.min(max).checked_sub(passed).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{BootId, ElapsedTime, WallTime};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A moment by the seconds of both clocks.
    fn at(wall: u64, elapsed: u64, boot: u128) -> Moment {
        Moment {
            wall: WallTime::from_millis(wall * 1_000),
            elapsed: ElapsedTime::from_millis(elapsed * 1_000),
            boot: BootId(boot),
        }
    }

    fn cooldown() -> Cooldown {
        Cooldown { began: at(10_000, 500, 1), span: secs(120) }
    }

    #[test]
    fn within_one_boot_the_earlier_end_wins() {
        let left = |wall, elapsed| cooldown().left(&at(wall, elapsed, 1), HOUR);
        assert_eq!(left(10_000, 500), Some(secs(120)));
        assert_eq!(left(10_020, 520), Some(secs(100)));
        assert_eq!(left(10_020, 600), Some(secs(20)), "the elapsed clock is ahead");
        assert_eq!(left(10_100, 520), Some(secs(20)), "the wall clock is ahead");
        assert_eq!(left(10_120, 500), None, "the wall clock stepped past the end");
        assert_eq!(left(0, 620), None, "the wall clock was set back, and the time has elapsed");
        assert_eq!(left(0, 619), Some(secs(1)));
    }

    #[test]
    fn in_another_boot_the_wall_clocks_count() {
        let left = |wall| cooldown().left(&at(wall, 9_999_999, 2), HOUR);
        assert_eq!(left(10_000), Some(secs(120)));
        assert_eq!(left(10_119), Some(secs(1)));
        assert_eq!(left(10_120), None);
        assert_eq!(left(10_000 - 300), Some(secs(120)), "never more than the issuer asked for");
        assert_eq!(left(10_000 - 301), None, "one of the two clocks is wrong");
        assert_eq!(left(0), None);
    }

    #[test]
    fn no_stored_value_holds_requests_back_for_longer_than_the_cap() {
        let never = Cooldown { span: Duration::MAX, ..cooldown() };
        assert_eq!(never.left(&at(10_000, 500, 1), HOUR), Some(HOUR));
        assert_eq!(never.left(&at(10_000, 4_100, 1), HOUR), None, "the cap counts from its beginning");
        assert_eq!(never.left(&at(13_600, 0, 2), HOUR), None);
        let future = Cooldown {
            began: Moment {
                wall: WallTime::from_millis(u64::MAX),
                elapsed: ElapsedTime::from_millis(u64::MAX),
                boot: BootId(1),
            },
            span: Duration::MAX,
        };
        for boot in [1, 2] {
            assert_eq!(future.left(&at(10_000, 500, boot), HOUR), None, "boot {boot}");
        }
        // Only the elapsed clock is wrong.
        let future = Cooldown { began: Moment { wall: at(10_000, 0, 1).wall, ..future.began }, span: secs(120) };
        assert_eq!(future.left(&at(10_100, 500, 1), HOUR), Some(secs(20)));
    }

    #[test]
    fn a_clock_that_reads_a_little_earlier_adds_nothing() {
        let mut now = cooldown().began;
        now.elapsed = ElapsedTime::from_millis(now.elapsed.as_millis() - 3);
        now.wall = WallTime::from_millis(now.wall.as_millis() - 3);
        assert_eq!(cooldown().left(&now, HOUR), Some(secs(120)));
    }

    #[test]
    fn none_is_left_of_nothing() {
        let nothing = Cooldown { span: Duration::ZERO, ..cooldown() };
        assert_eq!(nothing.left(&cooldown().began, HOUR), None);
        assert_eq!(cooldown().left(&cooldown().began, Duration::ZERO), None);
    }
}
