//! Timers of the runtime's drivers.

use std::time::Duration;

use ractor::{ActorRef, Message};
use tokio_util::task::AbortOnDropHandle;

/// The longest sleep of a driver (law 14).
pub(crate) const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Spawns a task that ends when the returned handle is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the handle owns the task; work that must outlive it is spawned elsewhere"
)]
pub(crate) fn spawn_owned(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

/// Sends `message` to `actor` after `span`, unless the returned handle is dropped before.
///
/// ractor's own timers outlive their actor, and keep its mailbox and the messages in it alive.
pub(crate) fn send_after<M: Message>(span: Duration, actor: ActorRef<M>, message: M) -> AbortOnDropHandle<()> {
    spawn_owned(async move {
        pause(span).await;
        drop(actor.send_message(message));
    })
}

/// Waits for `span` of tokio's time, which does not count a suspend. Callers read the clock again afterwards.
#[expect(clippy::disallowed_methods, reason = "the only sleep of the drivers; the machines decide when and how long")]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Returns the pause before the next attempt after `failures` consecutive failures: `first`, doubled with each failure
/// after that, and at most `max`. Without a failure it is `first` too.
pub(crate) fn backoff(first: Duration, max: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let (first, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let pauses = [0, 1, 2, 3, 6, 7, 40, u32::MAX].map(|failures| backoff(first, max, failures).as_secs());
        assert_eq!(pauses, [1, 1, 2, 4, 32, 60, 60, 60]);
    }
}
