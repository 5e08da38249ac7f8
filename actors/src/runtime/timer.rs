//! The one place where drivers wait: a task that sends one message at a given time, and is gone with its owner.

use std::time::Duration;

use ractor::{ActorRef, Message};
use tokio::task::AbortHandle;

/// A task that ends with whoever holds this.
///
/// ractor's own timers go on after their actor has ended, and keep its mailbox alive with all that is in it.
#[derive(Debug)]
pub(crate) struct Leash(AbortHandle);

impl Leash {
    /// Runs `work` until it is done or the leash is dropped.
    #[expect(
        clippy::disallowed_methods,
        reason = "owned by the leash; what must outlive its owner is no business of it"
    )]
    pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }

    /// Sends `message` to `actor` after `span`. No machine asks for more than a minute.
    pub(crate) fn after<M: Message>(span: Duration, actor: ActorRef<M>, message: M) -> Self {
        Self::run(async move {
            pause(span).await;
            drop(actor.send_message(message));
        })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for `span` of tokio's time, which forgets a suspend: whoever waits reads the clock again afterwards.
#[expect(clippy::disallowed_methods, reason = "the drivers' one way to wait; when and how long is a machine's word")]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
