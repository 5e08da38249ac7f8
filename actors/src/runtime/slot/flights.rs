//! The running flights of a slot, and the reports that they leave there.

use tokio::sync::mpsc;

use super::{FlightMessage, Slot};
use crate::law::flight::{FlightEvent, Report};
use crate::runtime::cell::Incarnation;
use crate::values::{ElapsedTime, FlightId};

impl Slot {
    /// Registers a flight. Messages to it arrive at the returned receiver.
    pub(crate) fn register_flight(&self, id: FlightId) -> mpsc::UnboundedReceiver<FlightMessage> {
        self.state().backlog().flights.register(id)
    }

    /// Tells a flight that callers wait for it now.
    pub(crate) fn expedite(&self, id: FlightId) {
        self.send_to_flights(Some(id), || FlightMessage::Expedite);
    }

    /// Sends an event to one running flight, or to all of them.
    pub(crate) fn notify_flights(&self, id: Option<FlightId>, event: &FlightEvent) {
        self.send_to_flights(id, || FlightMessage::Event(event.clone()));
    }

    /// Tells one running flight, or all of them, that the runtime stops and waits for them until `until`.
    pub(crate) fn stop_flights(&self, id: Option<FlightId>, wanted: bool, until: ElapsedTime) {
        self.send_to_flights(id, || FlightMessage::Shutdown { wanted, until });
    }

    fn send_to_flights(&self, id: Option<FlightId>, message: impl Fn() -> FlightMessage) {
        if let Some(backlog) = &self.state().backlog {
            backlog.flights.send(id, message);
        }
    }

    pub(crate) fn is_flying(&self) -> bool {
        self.state().backlog.as_ref().is_some_and(|backlog| backlog.flights.is_running())
    }

    /// Stores a flight's report (`None` for its end), and notifies the actor. Returns `true` if the supervisor must be
    /// asked for an actor.
    pub(crate) fn report(&self, id: FlightId, report: Option<Report>) -> bool {
        self.put_report(|backlog| backlog.flights.put(id, report))
    }

    /// Takes the next report. Returns `None` if there is none, or if `by` is not the current incarnation.
    pub(crate) fn take_report(&self, by: Incarnation) -> Option<(FlightId, Option<Report>)> {
        self.take_for(by, |backlog| backlog.flights.take())
    }

    /// Whether a flight has ended and all its reports were taken.
    pub(crate) fn is_finished(&self, id: FlightId) -> bool {
        self.state().backlog.as_ref().is_none_or(|backlog| backlog.flights.is_finished(id))
    }
}
