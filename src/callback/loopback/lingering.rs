//! The listeners of this process, by port. A dropped listener lingers for a few seconds to answer reloads of its page. It
//! gives its port to the next listener that wants it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

/// The maximum wait for a dropped listener to close its sockets.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A listener holds this value, on which nothing is ever sent. Its drop ends the serving task, at once or after the time
/// for reloads.
pub(super) type Open = oneshot::Sender<Infallible>;

/// The listeners whose sockets are open, by port.
static LISTENING: Mutex<BTreeMap<u16, Entry>> = Mutex::new(BTreeMap::new());

/// One listener in [`LISTENING`].
#[derive(Debug)]
struct Entry {
    /// Gone once the listener was dropped.
    open: Weak<Open>,
    /// This sender is dropped to ask the listener for its port.
    asks: oneshot::Sender<Infallible>,
    /// The sender of this receiver is dropped once the sockets are closed.
    closed: watch::Receiver<()>,
}

/// Keeps the entry of a listener in [`LISTENING`] until its sockets are closed.
#[derive(Debug)]
pub(super) struct Lingering {
    port: u16,
    open: Weak<Open>,
    _closes: watch::Sender<()>,
}

impl Lingering {
    /// Makes the entry of a listener. The returned receiver ends when another listener asks for the port.
    pub(super) fn new(port: u16, open: &Arc<Open>) -> (Self, oneshot::Receiver<Infallible>) {
        let (asks, asked) = oneshot::channel();
        let (closes, closed) = watch::channel(());
        let open = Arc::downgrade(open);
        listening().insert(port, Entry { open: open.clone(), asks, closed });
        (Self { port, open, _closes: closes }, asked)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let mut listening = listening();
        if listening.get(&self.port).is_some_and(|entry| entry.open.ptr_eq(&self.open)) {
            listening.remove(&self.port);
        }
    }
}

/// Asks a dropped listener for its port, and waits until its sockets are closed. If nothing runs on that listener's tokio
/// runtime, the wait times out, and the port stays taken.
pub(super) async fn release(port: u16) {
    let entry = {
        let mut listening = listening();
        let is_dropped = listening.get(&port).is_some_and(|entry| entry.open.strong_count() == 0);
        if is_dropped { listening.remove(&port) } else { None }
    };
    if let Some(Entry { mut closed, asks, .. }) = entry {
        drop(asks);
        #[expect(
            clippy::disallowed_methods,
            reason = "no decision depends on the wait, and a suspend makes no difference"
        )]
        // Nothing is ever sent on this channel. The wait ends when the sender is dropped.
        let _ = tokio::time::timeout(MAX_WAIT, closed.changed()).await;
    }
}

fn listening() -> MutexGuard<'static, BTreeMap<u16, Entry>> {
    LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
}
