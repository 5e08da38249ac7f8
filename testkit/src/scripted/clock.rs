//! The script's time, which is tokio's, and the one task that waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{BootId, ElapsedTime, Moment, WallTime};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What the elapsed clock shows when the script begins: long enough after boot that what was before it has room.
const BEGINNING: Duration = Duration::from_secs(24 * 60 * 60);

/// What the wall clock shows then: a day in November 2023.
const WALL: u64 = 1_700_000_000_000;

/// Both clocks, as tokio's time goes: a paused one stands still, and goes on where it is advanced. Clones are one clock.
#[derive(Clone, Debug)]
pub(super) struct TokioClock(Arc<Instant>);

impl TokioClock {
    #[expect(clippy::disallowed_methods, reason = "tokio's time is what a host's test can pause")]
    pub(super) fn new() -> Self {
        Self(Arc::new(Instant::now()))
    }

    /// When tokio's clock shows `at`.
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

/// Rings once, and is gone with its owner.
#[derive(Debug)]
pub(super) struct Alarm {
    at: ElapsedTime,
    task: AbortHandle,
}

impl Alarm {
    /// Calls `ring` at `at`. `None` outside a tokio runtime: what is due is seen to when somebody asks next.
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
