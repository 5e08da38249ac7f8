//! The actor of an issuer's limiter. It drives the limiter machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::super::timer;
use super::limiter::LimiterHandle;
use super::messages::{LimiterMessage, PermitAnswer};
use crate::law::issuer::{AskId, IssuerEffect, IssuerEvent, IssuerLimiter};
use crate::values::ElapsedTime;

/// The time after which an actor ends if it has no request and no granted permit.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Drives the limiter of one issuer. It never awaits and never fails.
pub(super) struct IssuerActor {
    limiter: Arc<LimiterHandle>,
    incarnation: u64,
    /// Closes when the actor's task ends in any way. Unlike the state, it is not passed to the supervisor.
    _end: watch::Sender<()>,
}

pub(super) struct LimiterActorState {
    machine: IssuerLimiter,
    answers: BTreeMap<AskId, oneshot::Sender<PermitAnswer>>,
    /// The timer, with the time at which it is due.
    timer: Option<(ElapsedTime, AbortOnDropHandle<()>)>,
    /// The time since which there has been no request and no granted permit.
    idle_since: Option<ElapsedTime>,
}

impl IssuerActor {
    pub(super) fn new(limiter: Arc<LimiterHandle>, incarnation: u64, end: watch::Sender<()>) -> Self {
        Self { limiter, incarnation, _end: end }
    }

    fn take_in(&self, message: LimiterMessage, state: &mut LimiterActorState) -> IssuerEvent {
        match message {
            LimiterMessage::Ask(ask, urgency, reply) => {
                state.answers.insert(ask, reply);
                IssuerEvent::Ask(ask, urgency)
            }
            LimiterMessage::Event(event) => {
                match event {
                    IssuerEvent::Gone(ask) => drop(state.answers.remove(&ask)),
                    IssuerEvent::Tick => state.timer = None,
                    _ => {}
                }
                event
            }
        }
    }
}

#[ractor::actor(message = LimiterMessage, state = LimiterActorState, arguments = ())]
impl IssuerActor {
    async fn pre_start(
        &self,
        _myself: ActorRef<LimiterMessage>,
        _: (),
    ) -> Result<LimiterActorState, ActorProcessingErr> {
        Ok(LimiterActorState {
            machine: self.limiter.machine(),
            answers: BTreeMap::new(),
            timer: None,
            idle_since: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<LimiterMessage>,
        message: LimiterMessage,
        state: &mut LimiterActorState,
    ) -> Result<(), ActorProcessingErr> {
        let event = self.take_in(message, state);
        let Some((effects, now)) = self.limiter.step(self.incarnation, &mut state.machine, event) else {
            // Another actor has taken over. The dropped requests are sent to it.
            state.answers.clear();
            state.timer = None;
            return Ok(());
        };
        for effect in effects {
            let (ask, answer) = match effect {
                IssuerEffect::Grant(ask) => (ask, PermitAnswer::Granted),
                IssuerEffect::Hold(ask, span) => (ask, PermitAnswer::Held(span)),
            };
            if let Some(reply) = state.answers.remove(&ask) {
                // If the caller is gone, its ticket returns the permit.
                let _ = reply.send(answer);
            }
        }
        let now = now.elapsed();
        let is_idle = self.limiter.is_unused();
        state.idle_since = is_idle.then(|| state.idle_since.unwrap_or(now));
        let ends_at = state.idle_since.map(|since| since.after(IDLE_AFTER));
        if ends_at.is_some_and(|at| at <= now) && self.limiter.retire(self.incarnation) {
            // The next request starts another actor. No request is left in the mailbox.
            myself.stop(None);
            return Ok(());
        }
        let due = state.machine.next_wake().into_iter().chain(ends_at).min();
        if due != state.timer.as_ref().map(|(due, _)| *due) {
            let tick = LimiterMessage::Event(IssuerEvent::Tick);
            state.timer = due.map(|due| (due, timer::send_after(due.since(now), myself, tick)));
        }
        Ok(())
    }
}
