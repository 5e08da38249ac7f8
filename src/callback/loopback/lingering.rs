//! The listeners of this process by port, so that one which was dropped, and only answers reloads, gives its port to the next.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

/// How long the end of a listener is waited for.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Held by a listener. Its drop tells the serving task to end.
pub(super) type Open = oneshot::Sender<Infallible>;

static LISTENING: Mutex<BTreeMap<u16, Entry>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct Entry {
    open: Weak<Open>,
    /// Its drop asks the port back.
    asks: oneshot::Sender<Infallible>,
    /// Ends once the sockets are closed.
    closed: watch::Receiver<()>,
}

/// The entry of a listener, kept until its sockets are closed.
#[derive(Debug)]
pub(super) struct Lingering {
    port: u16,
    open: Weak<Open>,
    _closes: watch::Sender<()>,
}

impl Lingering {
    /// Enters a listener. The receiver ends when the port is asked back.
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

/// Asks for the port of a listener that was dropped, and waits until its sockets are closed, or until the time is up because
/// nothing runs on the runtime of that listener. The port is then taken.
pub(super) async fn release(port: u16) {
    let entry = {
        let mut listening = listening();
        let is_dropped = listening.get(&port).is_some_and(|entry| entry.open.strong_count() == 0);
        if is_dropped { listening.remove(&port) } else { None }
    };
    if let Some(Entry { mut closed, asks, .. }) = entry {
        drop(asks);
        #[expect(clippy::disallowed_methods, reason = "no decision depends on it, and a suspend makes no difference")]
        // Nothing is ever sent. It ends with its sender.
        let _ = tokio::time::timeout(MAX_WAIT, closed.changed()).await;
    }
}

fn listening() -> MutexGuard<'static, BTreeMap<u16, Entry>> {
    LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
}
