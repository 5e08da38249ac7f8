//! Gates that hold requests.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Holds requests until a test releases them, for example to cancel callers in mid-flight without a sleep.
///
/// Put it into a [`Fault`](super::Fault) with [`Fault::hold`](super::Fault::hold) or [`held`](super::Fault::held).
/// Clones share one gate. A gate that is dropped while closed stays closed, and its requests wait until the server
/// stops.
///
/// A released request is processed even if its client has left.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    came: u64,
    /// How many requests may pass, in the order of their arrival.
    let_through: u64,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Waits until `count` requests have reached the gate since its creation. The future may be dropped at any time.
    pub async fn reached(&self, count: u64) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|state| state.came >= count).await;
    }

    /// Opens the gate for all waiting and later requests.
    pub fn open(&self) {
        self.0.send_modify(|state| state.let_through = u64::MAX);
    }

    /// Releases one request, the one that has waited longest or the next to arrive.
    pub fn let_one_through(&self) {
        self.0.send_modify(|state| state.let_through = state.let_through.saturating_add(1));
    }

    /// The number of requests that have reached the gate.
    pub fn came(&self) -> u64 {
        self.0.borrow().came
    }

    /// Registers an arrival, and waits to be released.
    pub(crate) async fn pass(&self) {
        let mut news = self.0.subscribe();
        let mut place = 0;
        self.0.send_modify(|state| {
            state.came += 1;
            place = state.came;
        });
        let _ = news.wait_for(|state| state.let_through >= place).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { came, let_through } = *self.0.borrow();
        f.debug_struct("Gate").field("came", &came).field("let_through", &let_through).finish()
    }
}
