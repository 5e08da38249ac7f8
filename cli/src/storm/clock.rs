//! Time in a storm: the system's clock, put forward at will, and a stopwatch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::{NoRandomness, SystemClock};
use tokenkeeper::engine::values::Moment;

/// The system's clock, so far ahead as it was told to be.
#[derive(Debug)]
pub(super) struct StormClock {
    system: SystemClock,
    ahead: AtomicU64,
}

impl StormClock {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        Ok(Self { system: SystemClock::new()?, ahead: AtomicU64::new(0) })
    }

    /// Puts both clocks forward.
    pub(super) fn advance(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ahead.fetch_add(millis, Ordering::Relaxed);
    }

    fn ahead(&self, moment: Moment) -> Moment {
        let ahead = Duration::from_millis(self.ahead.load(Ordering::Relaxed));
        Moment { wall: moment.wall.after(ahead), elapsed: moment.elapsed.after(ahead), ..moment }
    }
}

impl Clock for StormClock {
    fn now(&self) -> Moment {
        self.ahead(self.system.now())
    }

    fn coarse(&self) -> Option<Moment> {
        self.system.coarse().map(|moment| self.ahead(moment))
    }
}

/// Measures, to the microsecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a measurement, of which no decision is made")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "a measurement, of which no decision is made")]
    pub(super) fn read(self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits: in storms that go by the clock on the wall.
#[expect(clippy::disallowed_methods, reason = "a storm is no part of a session: it stages what sessions have to bear")]
pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// In milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
