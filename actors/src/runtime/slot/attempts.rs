//! The running login attempts of a slot, and the reports that they leave there.

use tokio::sync::mpsc;

use super::Slot;
use crate::law::login::{LoginEvent, LoginReport};
use crate::runtime::cell::Incarnation;
use crate::values::AttemptId;

impl Slot {
    /// Registers an attempt. Events for it arrive at the returned receiver.
    pub(crate) fn register_attempt(&self, id: AttemptId) -> mpsc::UnboundedReceiver<LoginEvent> {
        self.state().backlog().attempts.register(id)
    }

    /// Sends an event to one running attempt, or to all of them.
    pub(crate) fn notify_attempts(&self, id: Option<AttemptId>, event: &LoginEvent) {
        if let Some(backlog) = &self.state().backlog {
            backlog.attempts.send(id, || event.clone());
        }
    }

    pub(crate) fn is_signing_in(&self) -> bool {
        self.state().backlog.as_ref().is_some_and(|backlog| backlog.attempts.is_running())
    }

    /// Stores an attempt's report (`None` for its end), and notifies the actor. Returns `true` if the supervisor must be asked
    /// for an actor.
    pub(crate) fn report_attempt(&self, id: AttemptId, report: Option<LoginReport>) -> bool {
        self.put_report(|backlog| backlog.attempts.put(id, report))
    }

    /// Takes the next report. Returns `None` if there is none, or if `by` is not the current incarnation.
    pub(crate) fn take_login_report(&self, by: Incarnation) -> Option<(AttemptId, Option<LoginReport>)> {
        self.take_for(by, |backlog| backlog.attempts.take())
    }

    /// Whether an attempt has ended and all its reports were taken.
    pub(crate) fn is_attempt_finished(&self, id: AttemptId) -> bool {
        self.state().backlog.as_ref().is_none_or(|backlog| backlog.attempts.is_finished(id))
    }
}
