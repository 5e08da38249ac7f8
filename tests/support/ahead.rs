//! A clock that a test sets forward.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "several tests take it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::{ElapsedTime, Moment, WallTime};

/// The machine's clock, which a test can set forward.
#[derive(Clone, Debug)]
pub struct Ahead {
    system: SystemClock,
    by: Arc<AtomicU64>,
}

impl Ahead {
    pub fn new() -> Self {
        Self { system: SystemClock::new().unwrap(), by: Arc::default() }
    }

    /// Lets `span` pass at once.
    pub fn pass(&self, span: Duration) {
        self.by.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Moment {
        let (now, by) = (self.system.now(), self.by.load(Ordering::SeqCst));
        Moment {
            wall: WallTime::from_millis(now.wall.as_millis() + by),
            elapsed: ElapsedTime::from_millis(now.elapsed.as_millis() + by),
            ..now
        }
    }
}
