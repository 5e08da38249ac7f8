//! The background tasks of the supervisor. One follows the store's watch, one detects that the computer was suspended, and
//! one removes slots that hold nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ractor::ActorRef;
use tokio::task::yield_now;

use super::core::{Core, SupervisorMessage};
use super::timer::pause;
use crate::ports::clock::Clock;
use crate::ports::store::StoreEvent;
use crate::values::ExponentialBackoff;

/// The pauses before a lost watch is started again. As long as there is no watch, every record counts as changed after each
/// pause.
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// The interval at which the clocks are compared.
const INTERVAL: Duration = Duration::from_secs(5);

/// The elapsed time beyond the interval that counts as a suspend.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The shortest and the longest interval at which slots that hold nothing are removed. Between these bounds, the
/// interval is the time after which an idle actor ends.
const REMOVAL_INTERVAL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Sends the store's events to the supervisor, and notifies it when the watch starts and when it is lost.
pub(crate) async fn follow_store(core: Arc<Core>, supervisor: ActorRef<SupervisorMessage>) {
    let send = |message| drop(supervisor.cast(message));
    let mut failures = 0;
    loop {
        if let Some(Ok(mut watch)) = catch_panic(core.ports.store.watch()).await {
            // The supervisor treats this as a change of every record, because earlier writes were not seen.
            send(SupervisorMessage::WatchStarted);
            while let Some(event) = catch_panic(watch.next()).await.filter(|event| *event != StoreEvent::Ended) {
                failures = 0;
                send(SupervisorMessage::StoreEvent(event));
            }
        }
        send(SupervisorMessage::WatchLost);
        failures += 1;
        pause(BACKOFF.pause(failures)).await;
    }
}

/// Returns `None` if `work` panics, so that a panicking store does not end the task.
async fn catch_panic<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Notifies the supervisor after a suspend. Tokio's sleeps do not count the time of a suspend.
pub(crate) async fn detect_suspend(clock: Arc<dyn Clock>, supervisor: ActorRef<SupervisorMessage>) {
    let mut before = clock.now().elapsed;
    loop {
        pause(INTERVAL).await;
        let now = clock.now().elapsed;
        if now.since(before) > INTERVAL + TOLERANCE {
            drop(supervisor.cast(SupervisorMessage::Resumed));
        }
        before = now;
    }
}

/// Removes the slots that hold nothing. The directory is never locked for long, even if there are many slots.
pub(crate) async fn remove_blank_slots(core: Arc<Core>) {
    let [min_interval, max_interval] = REMOVAL_INTERVAL;
    loop {
        pause(core.idle_after.clamp(min_interval, max_interval)).await;
        let mut after = None;
        loop {
            after = core.remove_blank_slots(after.as_ref());
            if after.is_none() {
                break;
            }
            yield_now().await;
        }
    }
}
