//! A clock that follows tokio's paused time. Tests can step it and suspend the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{BootId, ElapsedTime, Moment, WallTime};
use tokio::time::Instant;

const BEGINNING: u64 = 1_000_000;

/// Follows tokio's time. Clones are one clock.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Milliseconds of suspend so far.
    slept: AtomicU64,
    /// The sum of all steps of the wall clock, in milliseconds.
    stepped: AtomicI64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { start: Instant::now(), slept: AtomicU64::new(0), stepped: AtomicI64::new(0) }))
    }

    pub(crate) fn moment(&self) -> Moment {
        let passed = u64::try_from(self.0.start.elapsed().as_millis()).expect("millis");
        let elapsed = BEGINNING + passed + self.0.slept.load(Ordering::SeqCst);
        let wall = (1_700_000_000_000 + elapsed).saturating_add_signed(self.0.stepped.load(Ordering::SeqCst));
        let elapsed = ElapsedTime::from_millis(elapsed);
        Moment { wall: WallTime::from_millis(wall), elapsed, boot: BootId(1) }
    }

    /// Lets time pass, with all events that are due in it.
    pub(crate) async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Suspends the machine. Elapsed and wall time go on, and tokio's does not.
    pub(crate) fn suspend(&self, span: Duration) {
        self.0.slept.fetch_add(u64::try_from(span.as_millis()).expect("millis"), Ordering::SeqCst);
    }

    /// Steps the wall clock by so many milliseconds.
    pub(crate) fn step_wall(&self, millis: i64) {
        self.0.stepped.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        self.moment()
    }
}
