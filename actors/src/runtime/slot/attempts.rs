//! The running login attempts of a slot, and the reports that they leave there.

use tokio::sync::mpsc;

use super::{ActorSlot, Slot};
use crate::law::login::{LoginEvent, LoginReport};
use crate::runtime::cell::Incarnation;
use crate::runtime::messages::TokenMessage;
use crate::values::AttemptId;

/// A running login attempt, with the channel to its task.
#[derive(Debug)]
pub(super) struct RegisteredAttempt {
    id: AttemptId,
    sender: mpsc::UnboundedSender<LoginEvent>,
}

impl Slot {
    /// Registers an attempt. Events for it arrive at the returned receiver.
    pub(crate) fn register_attempt(&self, id: AttemptId) -> mpsc::UnboundedReceiver<LoginEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().backlog().attempts.push(RegisteredAttempt { id, sender });
        receiver
    }

    /// Sends an event to one running attempt, or to all of them.
    pub(crate) fn notify_attempts(&self, id: Option<AttemptId>, event: &LoginEvent) {
        let state = self.state();
        let attempts = state.backlog.as_ref().map(|backlog| &backlog.attempts[..]).unwrap_or_default();
        for attempt in attempts.iter().filter(|attempt| id.is_none_or(|id| id == attempt.id)) {
            drop(attempt.sender.send(event.clone()));
        }
    }

    pub(crate) fn is_signing_in(&self) -> bool {
        self.state().backlog.as_ref().is_some_and(|backlog| !backlog.attempts.is_empty())
    }

    /// Stores an attempt's report (`None` for its end), and notifies the actor. Returns `true` if the supervisor must be asked
    /// for an actor.
    pub(crate) fn report_attempt(&self, id: AttemptId, report: Option<LoginReport>) -> bool {
        let wanted = {
            let mut state = self.state();
            if report.is_none() {
                state.backlog().attempts.retain(|attempt| attempt.id != id);
            }
            state.backlog().login_reports.push_back((id, report));
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
    pub(crate) fn take_login_report(&self, incarnation: Incarnation) -> Option<(AttemptId, Option<LoginReport>)> {
        let mut state = self.state();
        match state.actor_slot {
            ActorSlot::Taken { incarnation: taken, .. } if taken == incarnation => {
                state.backlog.as_mut()?.login_reports.pop_front()
            }
            _ => None,
        }
    }

    /// Whether an attempt has ended and all its reports were taken.
    pub(crate) fn is_attempt_finished(&self, id: AttemptId) -> bool {
        let state = self.state();
        state.backlog.as_ref().is_none_or(|backlog| {
            let running = backlog.attempts.iter().any(|attempt| attempt.id == id);
            !running && !backlog.login_reports.iter().any(|(reported, _)| *reported == id)
        })
    }
}
