//! The gateway's clock, which never goes back.

use std::sync::{Arc, Mutex, PoisonError};

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::WallTime;

/// Wall time, as tokens and entries of the store carry it. If the machine's clock is set back, this clock goes on from its last
/// time, at the pace of the elapsed time. So an expired token stays expired, and no token lives longer.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    clock: Arc<dyn Clock>,
    /// The last time that was returned, and the elapsed time then, in milliseconds.
    last: Mutex<(u64, u64)>,
}

impl SteadyClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::new((0, 0)) }
    }

    /// The present time. It is never before a time that was returned earlier. The lock is held for a few instructions.
    pub(crate) fn now(&self) -> WallTime {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = self.clock.now();
        let (wall, elapsed) = (moment.wall.as_millis(), moment.elapsed.as_millis());
        let gone_on = last.0.saturating_add(elapsed.saturating_sub(last.1));
        // The first call takes the wall time as it is. The elapsed time before it does not count.
        let is_first = last.0 == 0;
        *last = (if is_first { wall } else { wall.max(gone_on) }, elapsed.max(last.1));
        WallTime::from_millis(last.0)
    }
}

#[cfg(test)]
mod tests {
    use tokenkeeper::engine::system::SystemClock;
    use tokenkeeper::engine::values::{ElapsedTime, Moment};

    use super::*;

    /// A clock with this wall and elapsed time.
    #[derive(Debug)]
    struct Set(Mutex<(u64, u64)>, SystemClock);

    impl Clock for Set {
        fn now(&self) -> Moment {
            let (wall, elapsed) = *self.0.lock().unwrap();
            Moment {
                wall: WallTime::from_millis(wall),
                elapsed: ElapsedTime::from_millis(elapsed),
                ..Clock::now(&self.1)
            }
        }
    }

    #[test]
    fn a_step_back_of_the_clock_neither_turns_time_back_nor_stops_it() {
        let set = Arc::new(Set(Mutex::new((1_000_000, 50)), SystemClock::new().unwrap()));
        let steady = SteadyClock::new(Arc::<Set>::clone(&set));
        for (wall, elapsed, told) in [
            (1_000_000, 50, 1_000_000),
            (1_000_100, 150, 1_000_100),
            // An hour back, and on from there.
            (400_000, 160, 1_000_110),
            (400_500, 660, 1_000_610),
            // Forward again, and far ahead and back.
            (1_000_700, 700, 1_000_700),
            (9_000_000, 710, 9_000_000),
            (1_000_720, 720, 9_000_010),
            (1_000_820, 820, 9_000_110),
        ] {
            *set.0.lock().unwrap() = (wall, elapsed);
            assert_eq!(steady.now(), WallTime::from_millis(told));
        }
    }
}
