//! The actor at an issuer's limiter: a thin driver of the limiter machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::limiter::LimiterHandle;
use crate::law::flight::Urgency;
use crate::law::issuer::{AskId, IssuerEffect, IssuerEvent, IssuerLimiter};
use crate::values::ElapsedTime;

/// Drives the limiter of one issuer: message → event → effects. Awaits nothing, and fails at nothing.
pub(super) struct IssuerActor {
    limiter: Arc<LimiterHandle>,
    incarnation: u64,
    /// Closes when the actor's task is over, however it ended: unlike the state, no supervisor gets it.
    _end: watch::Sender<()>,
}

pub(super) enum LimiterMessage {
    /// An ask, and where its answer goes.
    Ask(AskId, Urgency, oneshot::Sender<PermitAnswer>),
    /// Anything else.
    Event(IssuerEvent),
}

// Never serializable, so that no permit leaves the process.
#[cfg(feature = "cluster")]
impl ractor::Message for LimiterMessage {}

/// What an asker is told.
pub(super) enum PermitAnswer {
    Granted,
    Held(Duration),
}

pub(super) struct LimiterActorState {
    machine: IssuerLimiter,
    answers: BTreeMap<AskId, oneshot::Sender<PermitAnswer>>,
    timer: Option<Timer>,
}

/// The one timer of a limiter. Dropping it ends it.
struct Timer {
    due: ElapsedTime,
    task: AbortHandle,
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
        Ok(LimiterActorState { machine: self.limiter.machine(), answers: BTreeMap::new(), timer: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<LimiterMessage>,
        message: LimiterMessage,
        state: &mut LimiterActorState,
    ) -> Result<(), ActorProcessingErr> {
        let event = self.take_in(message, state);
        let Some((effects, now)) = self.limiter.step(self.incarnation, &mut state.machine, event) else {
            // Another has taken over: whoever still waits here asks there.
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
                // An asker that has gone says so by itself, and gives back what it was granted.
                let _ = reply.send(answer);
            }
        }
        let due = state.machine.next_wake();
        if due != state.timer.as_ref().map(|timer| timer.due) {
            state.timer = due.map(|due| Timer::set(due, due.since(now.elapsed()), myself));
        }
        Ok(())
    }
}

impl Timer {
    #[expect(
        clippy::disallowed_methods,
        reason = "the limiter's only timer, as its machine names it: a minute at most"
    )]
    fn set(due: ElapsedTime, span: Duration, actor: ActorRef<LimiterMessage>) -> Self {
        let task = tokio::spawn(async move {
            tokio::time::sleep(span).await;
            let _ = actor.send_message(LimiterMessage::Event(IssuerEvent::Tick));
        });
        Self { due, task: task.abort_handle() }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
