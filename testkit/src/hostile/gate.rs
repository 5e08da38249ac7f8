//! Holding requests until a test lets them go.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Where requests wait until a test lets them go: for cancelling callers in mid-flight without a sleep.
///
/// Put it into a [`Fault`](super::Fault) with [`Fault::hold`](super::Fault::hold) or [`held`](super::Fault::held).
/// Clones are the same gate. A gate that is dropped while closed stays closed, and what waits there waits until the
/// server stops.
///
/// A request that was let go is processed even if its client has gone away meanwhile.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    came: u64,
    /// How many of those that come may pass, in the order in which they come.
    let_through: u64,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Waits until `count` requests have come to the gate, from the beginning. It may be dropped at any time.
    pub async fn reached(&self, count: u64) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|state| state.came >= count).await;
    }

    /// Opens the gate for good: for those that wait and for those to come.
    pub fn open(&self) {
        self.0.send_modify(|state| state.let_through = u64::MAX);
    }

    /// Lets one more request pass: the one that has waited longest, or the next to come.
    pub fn let_one_through(&self) {
        self.0.send_modify(|state| state.let_through = state.let_through.saturating_add(1));
    }

    /// How many requests have come to the gate.
    pub fn came(&self) -> u64 {
        self.0.borrow().came
    }

    /// Comes to the gate, and waits to be let through.
    pub(super) async fn pass(&self) {
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
