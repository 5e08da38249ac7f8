//! The running flights of a slot, and the reports that they leave there.

use tokio::sync::mpsc;

use super::{ActorSlot, FlightMessage, RegisteredFlight, Slot};
use crate::law::flight::{FlightEvent, Report};
use crate::runtime::cell::Incarnation;
use crate::runtime::messages::TokenMessage;
use crate::values::{ElapsedTime, FlightId};

impl Slot {
    /// Registers a flight. Messages to it arrive at the returned receiver.
    pub(crate) fn register_flight(&self, id: FlightId) -> mpsc::UnboundedReceiver<FlightMessage> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().backlog().flights.push(RegisteredFlight { id, sender });
        receiver
    }

    /// Tells a flight that callers wait for it now.
    pub(crate) fn expedite(&self, id: FlightId) {
        for flight in self.state().flights().iter().filter(|flight| flight.id == id) {
            drop(flight.sender.send(FlightMessage::Expedite));
        }
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
        let state = self.state();
        for flight in state.flights().iter().filter(|flight| id.is_none_or(|id| id == flight.id)) {
            drop(flight.sender.send(message()));
        }
    }

    pub(crate) fn is_flying(&self) -> bool {
        !self.state().flights().is_empty()
    }

    /// Stores a flight's report (`None` for its end), and notifies the actor. Returns `true` if the supervisor must be
    /// asked for an actor.
    pub(crate) fn report(&self, id: FlightId, report: Option<Report>) -> bool {
        let wanted = {
            let mut state = self.state();
            if report.is_none() {
                state.backlog().flights.retain(|flight| flight.id != id);
            }
            state.backlog().reports.push_back((id, report));
            let wanted = matches!(state.actor_slot, ActorSlot::Empty);
            if wanted {
                state.actor_slot = ActorSlot::Awaited;
            }
            wanted
        };
        self.send(TokenMessage::Backlog);
        wanted
    }

    /// Takes the next report. Returns `None` if there is none, or if `incarnation` is not the current one.
    pub(crate) fn take_report(&self, incarnation: Incarnation) -> Option<(FlightId, Option<Report>)> {
        let mut state = self.state();
        match state.actor_slot {
            ActorSlot::Taken { incarnation: taken, .. } if taken == incarnation => {
                state.backlog.as_mut()?.reports.pop_front()
            }
            _ => None,
        }
    }

    /// Whether a flight has ended and all its reports were taken.
    pub(crate) fn is_finished(&self, id: FlightId) -> bool {
        let state = self.state();
        state.backlog.as_ref().is_none_or(|backlog| {
            let running = backlog.flights.iter().any(|flight| flight.id == id);
            !running && !backlog.reports.iter().any(|(reported, _)| *reported == id)
        })
    }
}
