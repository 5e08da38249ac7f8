//! The final deadline check before a request leaves.

use std::fmt;
use std::sync::Arc;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::ElapsedTime;

/// The deadline for sending a request. An [`HttpClient`](super::HttpClient) checks it immediately before the first byte
/// leaves.
///
/// Elapsed time includes suspend. If the computer sleeps between the decision to send and the send, the check fails.
#[derive(Clone, Default)]
pub struct Departure(Option<(Arc<dyn Clock>, ElapsedTime)>);

impl Departure {
    /// The request may leave until `clock` shows `not_after`, inclusive.
    pub fn by(clock: Arc<dyn Clock>, not_after: ElapsedTime) -> Self {
        Self(Some((clock, not_after)))
    }

    /// The request may leave at any time.
    pub fn at_any_time() -> Self {
        Self(None)
    }

    /// Whether the request may leave now.
    pub fn may_leave(&self) -> bool {
        self.0.as_ref().is_none_or(|(clock, not_after)| clock.now().elapsed <= *not_after)
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Departure").field(&self.0.as_ref().map(|(_, not_after)| not_after)).finish()
    }
}
