//! A clock that can be put forward, a stopwatch and pauses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::{NoRandomness, SystemClock};
use tokenkeeper::engine::values::Moment;

/// The system's clock plus an offset that only grows.
#[derive(Debug)]
pub(crate) struct OffsetClock {
    system: SystemClock,
    offset_ms: AtomicU64,
}

impl OffsetClock {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        Ok(Self { system: SystemClock::new()?, offset_ms: AtomicU64::new(0) })
    }

    /// Puts wall time and elapsed time forward.
    pub(crate) fn advance(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.offset_ms.fetch_add(millis, Ordering::Relaxed);
    }

    fn shifted(&self, moment: Moment) -> Moment {
        let offset = Duration::from_millis(self.offset_ms.load(Ordering::Relaxed));
        Moment { wall: moment.wall.after(offset), elapsed: moment.elapsed.after(offset), ..moment }
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Moment {
        self.shifted(self.system.now())
    }

    fn coarse(&self) -> Option<Moment> {
        self.system.coarse().map(|moment| self.shifted(moment))
    }
}

/// A stopwatch that runs from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a measurement, on which no session decides anything")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "a measurement, on which no session decides anything")]
    pub(crate) fn read(self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits for so long in real time.
#[expect(clippy::disallowed_methods, reason = "the judge is no part of a session, and its processes take real time")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A duration in milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
