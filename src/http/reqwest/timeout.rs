//! The time-out of an exchange, which reads what has arrived before it gives up.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

use super::{Gate, Passage};

/// Ten years. It replaces reqwest's own time-outs, which would end an exchange without reading the bytes that wait in the
/// socket.
pub(super) const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The length of one turn after the time-out. In a turn, the tokio runtime reads its sockets.
const TURN: Duration = Duration::from_millis(25);

/// The maximum number of turns after the time-out without progress.
const QUIET_TURNS: u32 = 10;

/// The maximum number of turns after the time-out.
const MAX_TURNS: u32 = 40;

/// The time-out of one exchange, and its turns.
///
/// A timer that fires shows that the time is over, but not that no answer has come. A process that was stopped
/// (SIGSTOP, a frozen container), or a runtime whose thread was blocked, finds both the timer and the answer when it
/// continues, and tokio may deliver the timer first. The answer itself takes several steps from the socket to the
/// caller, each in its own poll. The time-out is therefore followed by up to [`QUIET_TURNS`] turns of [`TURN`], so
/// that the runtime reads its sockets that often. The turns are counted and not timed, because time also passes while
/// the process is stopped. As long as bytes arrive there are more turns, [`MAX_TURNS`] at most, which is a second.
///
/// A request that has not left when the timer fires will not leave later, so there is no answer to wait for.
pub(super) struct Timeout {
    alarm: Pin<Box<Sleep>>,
    gate: Arc<Gate>,
    turns: u32,
    quiet: u32,
}

impl Timeout {
    pub(super) fn new(span: Duration, gate: &Arc<Gate>) -> Self {
        Self { alarm: alarm(span), gate: Arc::clone(gate), turns: 0, quiet: 0 }
    }

    /// The result of `step`, or `None` if the time-out and its turns have passed. Each result counts as progress, and
    /// allows further turns.
    pub(super) async fn first<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        let mut step = pin!(step);
        loop {
            let result = std::future::poll_fn(|cx| match step.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => self.alarm.as_mut().poll(cx).map(|()| None),
            });
            if let Some(result) = result.await {
                self.quiet = 0;
                return Some(result);
            }
            if self.gate.shut() != Passage::Left || self.turns == MAX_TURNS || self.quiet == QUIET_TURNS {
                return None;
            }
            self.turns += 1;
            self.quiet += 1;
            self.alarm = alarm(TURN);
        }
    }
}

/// A timer that goes off after `span`.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller of the port sets this time-out, and the exchange may end at any point"
)]
pub(super) fn alarm(span: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(span))
}

/// The result of `step`, or `None` if `alarm` goes off before.
pub(super) async fn before<T>(alarm: &mut Pin<Box<Sleep>>, step: impl Future<Output = T>) -> Option<T> {
    let mut step = pin!(step);
    std::future::poll_fn(|cx| match step.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}
