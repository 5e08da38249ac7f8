//! The script's clock, which is tokio's, and its only timer task.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{BootId, ElapsedTime, Moment, WallTime};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The elapsed clock's time at the start of the script. It is long enough after boot to leave room for earlier times.
const BEGINNING: Duration = Duration::from_secs(24 * 60 * 60);

/// The wall clock's time at the start of the script, a day in November 2023.
const WALL: u64 = 1_700_000_000_000;

/// Both clocks, driven by tokio's time. With a paused runtime they advance only with it. Clones share one clock.
#[derive(Clone, Debug)]
pub(super) struct TokioClock(Arc<Instant>);

impl TokioClock {
    #[expect(clippy::disallowed_methods, reason = "tokio's time is what a host's test can pause")]
    pub(super) fn new() -> Self {
        Self(Arc::new(Instant::now()))
    }

    /// The tokio time of `at`.
    fn instant(&self, at: ElapsedTime) -> Instant {
        *self.0 + at.since(ElapsedTime::default().after(BEGINNING))
    }
}

impl Clock for TokioClock {
    #[expect(clippy::disallowed_methods, reason = "tokio's time is what a host's test can pause")]
    fn now(&self) -> Moment {
        let passed = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        let passed = Duration::from_millis(passed);
        Moment {
            wall: WallTime::from_millis(WALL).after(passed),
            elapsed: ElapsedTime::default().after(BEGINNING).after(passed),
            boot: BootId(1),
        }
    }
}

/// A one-shot timer that is cancelled on drop.
#[derive(Debug)]
pub(super) struct Alarm {
    at: ElapsedTime,
    task: AbortHandle,
}

impl Alarm {
    /// Calls `ring` at `at`. Returns `None` outside a tokio runtime, where due work is done on the next call.
    #[expect(clippy::disallowed_methods, reason = "a script waits as its test does, in a task that its alarm owns")]
    pub(super) fn set(clock: &TokioClock, at: ElapsedTime, ring: impl FnOnce() + Send + 'static) -> Option<Self> {
        let instant = clock.instant(at);
        let task = Handle::try_current().ok()?.spawn(async move {
            tokio::time::sleep_until(instant).await;
            ring();
        });
        Some(Self { at, task: task.abort_handle() })
    }

    pub(super) fn rings_at(&self, at: ElapsedTime) -> bool {
        self.at == at && !self.task.is_finished()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.task.abort();
    }
}
