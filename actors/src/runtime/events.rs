//! Publishes the events of sessions to the host, to the log and to the journal.

use std::sync::Arc;

use super::auth_event::AuthEvent;
use super::core::Core;
use super::slot::Slot;
use crate::law::flight::{Landing, Outcome, Report};
use crate::law::login::LoginReport;
use crate::law::session::Failure;
use crate::ports::store::{EventKind, JournalLine};
use crate::values::{AttemptId, FlightId, Generation, LoginReason, Moment, Reason};

/// Publishes the event that a flight's report stands for, if there is one.
///
/// `wanted` matters only during a shutdown, and states whether callers waited when it began. While the runtime runs it
/// is `true`.
pub(crate) fn flight_reported(core: &Arc<Core>, slot: &Arc<Slot>, flight: FlightId, report: &Report, wanted: bool) {
    if let Some((kind, reason, generation)) = event_of(report, wanted) {
        let at = announce(core, slot, Some(flight), kind, reason, generation);
        if !login_was_required_already(report) {
            note(core, slot, JournalLine { at, flight: Some(flight), kind, reason });
        }
    }
}

/// Whether the flight only read that a login is required, without sending a request. Such a flight writes no line into the
/// journal, because every process that reads the record would add the same line. The flight whose request was refused has
/// written it.
fn login_was_required_already(report: &Report) -> bool {
    matches!(report, Report::Landed(Landing { outcome: Outcome::LoginRequired(_), requests: 0, .. }))
}

/// Publishes that a flight brought no token. `failure` is the session's decision on the consequence.
pub(crate) fn flight_failed(core: &Arc<Core>, slot: &Arc<Slot>, flight: FlightId, failure: Failure) {
    let kind = match failure {
        Failure { retrying: true, .. } => EventKind::Retrying,
        Failure { reason: Reason::InDoubt, .. } => EventKind::InDoubt,
        Failure { .. } => EventKind::Failed,
    };
    publish(core, slot, Some(flight), kind, Some(failure.reason), None);
}

/// The event that a report stands for; `None` if nothing happened to the session, or if the session publishes it.
///
/// The session publishes a failure, because it knows whether another attempt follows. Two failures are published here,
/// because their session may be gone. One is the failure of a flight that still has to write to the store (`keeping`).
/// The other is the failure of a flight that a shutdown cut short while callers waited.
fn event_of(report: &Report, wanted: bool) -> Option<(EventKind, Option<Reason>, Option<Generation>)> {
    Some(match report {
        Report::Landed(Landing { outcome, keeping, view, .. }) => match outcome {
            Outcome::Minted(lease) if *keeping => (EventKind::Degraded, None, Some(lease.generation())),
            Outcome::Minted(lease) => (EventKind::Refreshed, None, Some(lease.generation())),
            Outcome::Adopted => {
                let lease = view.as_ref().and_then(|view| view.lease.as_ref());
                (EventKind::Adopted, None, lease.map(|lease| lease.generation()))
            }
            // The record changed under the flight, and the session decides again.
            Outcome::Moved => return None,
            Outcome::Failed(trouble) if *keeping || trouble.reason == Reason::ShuttingDown && wanted => {
                (EventKind::Failed, Some(trouble.reason), None)
            }
            Outcome::Failed(_) => return None,
            // The outcome is final, so no session has to decide on it.
            Outcome::LoginRequired(reason) => (EventKind::Ended, Some(*reason), None),
        },
        // After a degraded landing the token was saved, or could not be saved.
        Report::Settled(view) => (EventKind::Refreshed, None, view.lease.as_ref().map(|lease| lease.generation())),
        Report::Lost { .. } => (EventKind::Lost, Some(Reason::StoreTrouble), None),
    })
}

/// Publishes the event that a login attempt's report stands for, if there is one.
pub(crate) fn login_reported(core: &Arc<Core>, slot: &Arc<Slot>, attempt: AttemptId, report: &LoginReport) {
    let (kind, generation) = match report {
        LoginReport::Offered(..) => (EventKind::Asked, None),
        LoginReport::Arriving => (EventKind::Answered, None),
        LoginReport::Concluded(conclusion) => match (conclusion.result, &conclusion.unstored, &conclusion.view) {
            (Ok(()), Some(lease), _) => (EventKind::Degraded, Some(lease.generation())),
            (Ok(()), None, view) => {
                let lease = view.as_ref().and_then(|view| view.lease.as_ref());
                (EventKind::LoggedIn, lease.map(|lease| lease.generation()))
            }
            (Err(LoginReason::Denied), ..) => (EventKind::Declined, None),
            // The login or logout that came first has its own event, and so has the end of the process.
            (Err(LoginReason::Superseded | LoginReason::LoggedOut | LoginReason::ShuttingDown), ..) => return,
            (Err(_), ..) => (EventKind::LoginFailed, None),
        },
        LoginReport::Settled(view) => (EventKind::LoggedIn, view.lease.as_ref().map(|lease| lease.generation())),
        LoginReport::Lost => (EventKind::Lost, None),
        LoginReport::Seen(_) | LoginReport::Elsewhere => return,
    };
    publish(core, slot, Some(attempt.holder()), kind, None, generation);
}

/// Publishes an event to the event streams and to the log, and writes it to the identity's journal unless another attempt
/// follows ([`EventKind::Retrying`]).
pub(crate) fn publish(
    core: &Arc<Core>,
    slot: &Arc<Slot>,
    flight: Option<FlightId>,
    kind: EventKind,
    reason: Option<Reason>,
    generation: Option<Generation>,
) {
    let at = announce(core, slot, flight, kind, reason, generation);
    if kind != EventKind::Retrying {
        note(core, slot, JournalLine { at, flight, kind, reason });
    }
}

/// Publishes an event to the event streams and to the log. Returns its time.
fn announce(
    core: &Arc<Core>,
    slot: &Arc<Slot>,
    flight: Option<FlightId>,
    kind: EventKind,
    reason: Option<Reason>,
    generation: Option<Generation>,
) -> Moment {
    let at = core.ports.clock.now();
    let standing = slot.cell.read().standing;
    let identity = slot.identity.clone();
    tracing::info!(%identity, flight = flight.map(tracing::field::display), ?kind, reason = reason.map(Reason::as_str), "session");
    let event = AuthEvent {
        identity,
        at,
        flight,
        kind,
        reason,
        generation,
        refresh_since: standing.refresh_since,
        signed_in: standing.signed_in,
    };
    // The error means that there is no event stream.
    drop(core.events.send(event));
    at
}

/// Writes a line to the identity's journal, in the background. A failure is only logged.
fn note(core: &Arc<Core>, slot: &Arc<Slot>, line: JournalLine) {
    let (store, identity) = (Arc::clone(&core.ports.store), slot.identity.clone());
    core.spawn_tracked(async move {
        if let Err(fault) = store.note(&identity, line).await {
            tracing::debug!(%identity, %fault, "the journal could not be written");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::profile::Trouble;

    fn kind(reason: Reason, keeping: bool, wanted: bool) -> Option<EventKind> {
        let outcome = Outcome::Failed(Trouble::new(reason));
        let landing = Landing { outcome, view: None, keeping, requests: 1 };
        event_of(&Report::Landed(landing), wanted).map(|(kind, ..)| kind)
    }

    #[test]
    fn an_early_end_is_a_failure_only_if_a_caller_waits_or_a_mark_is_left() {
        assert_eq!(kind(Reason::ShuttingDown, false, false), None);
        assert_eq!(kind(Reason::ShuttingDown, false, true), Some(EventKind::Failed), "a caller waited");
        assert_eq!(kind(Reason::ShuttingDown, true, false), Some(EventKind::Failed), "a mark is left");
        assert_eq!(kind(Reason::Unreachable, false, false), None, "the session itself publishes this failure");
        assert_eq!(event_of(&Report::Lost { noted: true }, false).map(|(kind, ..)| kind), Some(EventKind::Lost));
    }
}
