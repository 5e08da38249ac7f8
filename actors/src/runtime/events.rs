//! What happens to sessions, as one stream of typed events: for logs, metrics and whoever shows it to a person.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::core::Core;
use super::slot::Slot;
use crate::law::flight::{Landing, Outcome, Report};
use crate::ports::store::{EventKind, JournalLine};
use crate::values::{FlightId, Generation, Moment, Reason, ServerIdentity, WallTime};

/// How many pieces of news are kept for a reader that does not read them.
pub(crate) const KEPT: usize = 1_024;

/// Something that happened to a session. Free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthEvent {
    /// Whose session.
    pub identity: ServerIdentity,
    /// When.
    pub at: Moment,
    /// The flight it belongs to, if any.
    pub flight: Option<FlightId>,
    /// What happened.
    pub kind: EventKind,
    /// Why, in a fixed word.
    pub reason: Option<Reason>,
    /// The token it is about, if any.
    pub generation: Option<Generation>,
    /// Since when the refresh token had been held, where there was one: its age, for telemetry.
    pub refresh_since: Option<Moment>,
    /// When the login was completed, by the wall clock, where that is known: the grant's age, for telemetry.
    pub signed_in: Option<WallTime>,
}

/// Follows kind happens to all sessions of a runtime, from when it was made.
///
/// One reader each; every feed gets every piece. StoreEvent of one identity comes in the order in which it happened; that of
/// different identities in no particular one. A reader that is more than 1,024 pieces behind loses the oldest and is told
/// how many.
#[derive(Debug)]
pub struct EventStream(pub(crate) broadcast::Receiver<AuthEvent>);

impl EventStream {
    /// The next piece of news; `Err` with the number of pieces lost, for a reader that detach_supervisor too far behind; `None` when
    /// the runtime is gone.
    ///
    /// Safe to drop: nothing is lost by it.
    pub async fn next(&mut self) -> Option<Result<AuthEvent, u64>> {
        match self.0.recv().await {
            Ok(news) => Some(Ok(news)),
            Err(RecvError::Lagged(lost)) => Some(Err(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Tells kind a flight reports.
pub(crate) fn flight_reported(core: &Arc<Core>, slot: &Arc<Slot>, flight: FlightId, report: &Report) {
    let (kind, reason, generation) = match report {
        Report::Landed(Landing { outcome, keeping, view }) => match outcome {
            Outcome::Minted(lease) if *keeping => (EventKind::Degraded, None, Some(lease.generation())),
            Outcome::Minted(lease) => (EventKind::Refreshed, None, Some(lease.generation())),
            Outcome::Adopted => {
                let lease = view.as_ref().and_then(|view| view.lease.as_ref());
                (EventKind::Adopted, None, lease.map(|lease| lease.generation()))
            }
            Outcome::Moved => return,
            Outcome::Failed(trouble) if trouble.reason == Reason::InDoubt => {
                (EventKind::InDoubt, Some(trouble.reason), None)
            }
            Outcome::Failed(trouble) => (EventKind::Failed, Some(trouble.reason), None),
            Outcome::LoginRequired(reason) => (EventKind::Ended, Some(*reason), None),
        },
        Report::Settled(view) => (EventKind::Refreshed, None, view.lease.as_ref().map(|lease| lease.generation())),
        Report::Lost { .. } => (EventKind::Lost, Some(Reason::StoreTrouble), None),
    };
    publish(core, slot, Some(flight), kind, reason, generation);
}

/// Tells that something happened: whoever listens, the log, and the identity's journal, which is written in the
/// background and may fail.
pub(crate) fn publish(
    core: &Arc<Core>,
    slot: &Arc<Slot>,
    flight: Option<FlightId>,
    kind: EventKind,
    reason: Option<Reason>,
    generation: Option<Generation>,
) {
    let at = core.ports.clock.now();
    let standing = slot.cell.read().standing;
    let identity = slot.identity.clone();
    tracing::info!(%identity, flight = flight.map(tracing::field::display), ?kind, reason = reason.map(Reason::as_str), "session");
    let news = AuthEvent {
        identity: identity.clone(),
        at,
        flight,
        kind,
        reason,
        generation,
        refresh_since: standing.refresh_since,
        signed_in: standing.signed_in,
    };
    // Nobody may be listening.
    drop(core.events.send(news));
    let store = Arc::clone(&core.ports.store);
    core.spawn_tracked(async move {
        if let Err(fault) = store.note(&identity, JournalLine { at, flight, kind, reason }).await {
            tracing::debug!(%identity, %fault, "the journal could not be written");
        }
    });
}
