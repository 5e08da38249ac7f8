//! The events that a host can follow, for logs, metrics and displays.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::ports::store::EventKind;
use crate::values::{FlightId, Generation, Moment, Reason, ServerIdentity, WallTime};

/// The number of events kept for a stream that does not read them.
pub(crate) const CAPACITY: usize = 1_024;

/// An event of a session. It contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthEvent {
    /// The session's identity.
    pub identity: ServerIdentity,
    /// The time of the event.
    pub at: Moment,
    /// The flight that the event belongs to, if any.
    pub flight: Option<FlightId>,
    /// The kind of event.
    pub kind: EventKind,
    /// The reason, from the fixed vocabulary.
    pub reason: Option<Reason>,
    /// The token that the event concerns, if any.
    pub generation: Option<Generation>,
    /// The wall-clock time at which the refresh token arrived or was last presented with success, if there was one. It is for
    /// telemetry.
    pub refresh_since: Option<WallTime>,
    /// The wall-clock time at which the login was completed, if known. It gives telemetry the age of the grant.
    pub signed_in: Option<WallTime>,
}

/// The events of all sessions of a runtime, from the creation of the stream on.
///
/// A stream has one reader, and each stream gets every event. Events of one identity come in the order in which they
/// happened. Events of different identities come in no particular order. A reader that is more than 1,024 events behind
/// loses the oldest ones, and gets the number of lost events.
#[derive(Debug)]
pub struct EventStream(pub(crate) broadcast::Receiver<AuthEvent>);

impl EventStream {
    /// Returns the next event. Returns `Err` with the number of lost events to a reader that has fallen too far behind,
    /// and `None` when the runtime is gone.
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Result<AuthEvent, u64>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Lagged(lost)) => Some(Err(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}
