//! The messages of a limiter's actor.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::law::flight::Urgency;
use crate::law::issuer::{AskId, IssuerEvent};

pub(super) enum LimiterMessage {
    /// A request for a permit, with the channel for its answer.
    Ask(AskId, Urgency, oneshot::Sender<PermitAnswer>),
    /// Any other event.
    Event(IssuerEvent),
}

// Not serializable, so that no permit leaves the process.
#[cfg(feature = "cluster")]
impl ractor::Message for LimiterMessage {}

/// The answer to a request for a permit.
pub(super) enum PermitAnswer {
    Granted,
    Held(Duration),
}
