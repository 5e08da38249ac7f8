//! The messages of an [`IssuerActor`](super::actor::IssuerActor), which drives one issuer's limiter.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::law::flight::Urgency;
use crate::law::issuer::{AskId, IssuerEvent};

pub(super) enum LimiterMessage {
    /// A request for a permit, with the channel for its answer.
    Ask(AskId, Urgency, oneshot::Sender<PermitAnswer>),
    /// Any event but [`IssuerEvent::Ask`], which needs a channel for its answer.
    Event(IssuerEvent),
}

// With the feature `cluster`, ractor does not implement this by itself. The default is not serializable, so permits
// stay within one process.
#[cfg(feature = "cluster")]
impl ractor::Message for LimiterMessage {}

/// The answer to a request for a permit.
pub(super) enum PermitAnswer {
    Granted,
    /// The permit was not granted. The caller may ask again after this time.
    Held(Duration),
}
