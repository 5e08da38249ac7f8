//! The two watches of a runtime: one hears what the store says, one notices that the machine has slept.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ractor::ActorRef;

use super::core::Core;
use super::supervisor::SupervisorMessage;
use super::timer::pause;
use crate::ports::clock::Clock;
use crate::ports::store::StoreEvent;

/// The first pause before a lost watch is asked for again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// The longest such pause. While nobody listens, everything is taken to have changed each time.
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// How often the lookout compares the clocks.
const ROUND: Duration = Duration::from_secs(5);

/// So much more than was slept for must have passed before it counts as a suspend.
const SLEPT: Duration = Duration::from_secs(2);

/// Tells the supervisor what the store says, and when nobody can hear it.
pub(crate) async fn listen(core: Arc<Core>, supervisor: ActorRef<SupervisorMessage>) {
    let tell = |message| drop(supervisor.cast(message));
    let mut wait = PAUSE_FIRST;
    loop {
        if let Some(Ok(mut watch)) = catch_panic(core.ports.store.watch()).await {
            // What was written before it listened is news too.
            tell(SupervisorMessage::Listening);
            while let Some(news @ (StoreEvent::Changed(_) | StoreEvent::Lagged)) = catch_panic(watch.next()).await {
                wait = PAUSE_FIRST;
                tell(SupervisorMessage::StoreEvent(news));
            }
        }
        tell(SupervisorMessage::Deaf);
        pause(wait).await;
        wait = wait.saturating_mul(2).min(PAUSE_MOST);
    }
}

/// What came of `work`; `None` where it panicked, which must not leave the runtime deaf.
async fn catch_panic<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Tells the supervisor when the machine has slept: sleeps of tokio's go on after a suspend as if it had not been.
pub(crate) async fn look_out(clock: Arc<dyn Clock>, supervisor: ActorRef<SupervisorMessage>) {
    let mut before = clock.now().elapsed;
    loop {
        pause(ROUND).await;
        let now = clock.now().elapsed;
        if now.since(before) > ROUND + SLEPT {
            drop(supervisor.cast(SupervisorMessage::Resumed));
        }
        before = now;
    }
}
