//! Timers of the runtime's drivers.

use std::time::Duration;

use ractor::{ActorRef, Message};
use tokio_util::task::AbortOnDropHandle;

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
#[expect(
    clippy::disallowed_methods,
    reason = "the only sleep of the drivers; the machines decide when and for how long"
)]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
