//! The supervisor: starts the actors of a runtime, starts them again, and keeps the cells of those that sleep honest.
//!
//! A host links it into its own tree, beside its MCP session actors. It decides nothing about tokens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::core::Core;
use super::slot::Slot;
use super::timer::Leash;
use super::token_actor::{ActorArguments, TokenActor, TokenMessage};
use super::watch;
use crate::law::flight::FlightEvent;
use crate::law::session::SessionEvent;
use crate::ports::store::StoreEvent;
use crate::values::{Reason, TokenError};

/// An actor that ended unasked this long ago or longer ended by itself, not in a row.
const CALM: Duration = Duration::from_secs(60);

/// So many ends in a row are followed by a new start at once.
const RESTARTS: u32 = 5;

/// The first pause before another start after that; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest such pause.
const PAUSE_MOST: Duration = Duration::from_secs(60);

/// How long the actors may take to empty their mailboxes at the end.
const CHILDREN_DRAIN: Duration = Duration::from_secs(1);

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum SupervisorMessage {
    /// A slot wants an actor.
    Start(Arc<Slot>),
    /// A slot has rested from its actor's failures.
    PauseOver(Arc<Slot>),
    /// The store has news.
    StoreEvent(StoreEvent),
    /// The store can be listened to, from now on.
    Listening,
    /// The store cannot be listened to; it goes on being tried.
    Deaf,
    /// The machine has slept.
    Resumed,
}

#[cfg(feature = "cluster")]
impl ractor::Message for SupervisorMessage {}

/// Supervises the actors of one runtime.
#[derive(Debug)]
pub(crate) struct AuthSupervisor;

/// Whom the supervisor has started.
#[derive(Debug)]
pub(crate) struct SupervisorState {
    core: Arc<Core>,
    myself: ActorRef<SupervisorMessage>,
    children: BTreeMap<ActorId, Arc<Slot>>,
    /// Whether nobody says when the store changes.
    deaf: bool,
    _watches: [Leash; 2],
}

#[ractor::actor(message = SupervisorMessage, state = SupervisorState, arguments = Arc<Core>)]
impl AuthSupervisor {
    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        core: Arc<Core>,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        if core.is_stopping() {
            return Err("this runtime was shut down: build another".into());
        }
        if !core.attach_supervisor(&myself) {
            return Err("this runtime is running already".into());
        }
        let watches = [
            Leash::run(watch::listen(Arc::clone(&core), myself.clone())),
            Leash::run(watch::look_out(Arc::clone(&core.ports.clock), myself.clone())),
        ];
        Ok(SupervisorState { core, myself, children: BTreeMap::new(), deaf: true, _watches: watches })
    }

    async fn post_start(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        // What an earlier tree left: nobody has kept its cells honest since, and some sessions have something to do though
        // nobody asks.
        state.spread(StoreEvent::Lagged);
        for slot in state.core.slots() {
            if slot.detach(false) {
                state.start(slot).await;
            }
        }
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Start(slot) => state.start(slot).await,
            SupervisorMessage::PauseOver(slot) => {
                if slot.pause_is_over() {
                    state.start(slot).await;
                }
            }
            SupervisorMessage::StoreEvent(news) => state.spread(news),
            SupervisorMessage::Listening => {
                state.deaf = false;
                state.spread(StoreEvent::Lagged);
            }
            SupervisorMessage::Deaf => {
                state.deaf = true;
                state.spread(StoreEvent::Lagged);
            }
            SupervisorMessage::Resumed => state.wake_up(),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, last_state, reason) => {
                let asked_for = reason.as_deref() == Some("Drained");
                state.ended(&actor, asked_for).await;
                // Only now: whoever waits in it asks again, and finds the slot ready.
                drop(last_state);
            }
            SupervisionEvent::ActorFailed(actor, _) => state.ended(&actor, false).await,
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<SupervisorMessage>,
        _state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever was admitted is answered; no actor waits for anything in a message.
        myself.drain_children_and_wait(Some(CHILDREN_DRAIN)).await;
        // A host with ractor's default supervision stops when a child ends, even one that was told to.
        if let Some(host) = myself.try_get_supervisor() {
            myself.unlink(host);
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn start(&mut self, slot: Arc<Slot>) {
        while slot.awaits_actor() {
            let arguments = ActorArguments { core: Arc::clone(&self.core), slot: Arc::clone(&slot) };
            match Actor::spawn_linked(None, TokenActor, arguments, self.myself.get_cell()).await {
                Ok((actor, _)) => {
                    self.children.insert(actor.get_id(), slot);
                    return;
                }
                Err(error) => {
                    tracing::error!(identity = %slot.identity, %error, "an actor could not be started");
                    self.crashed(&slot);
                }
            }
        }
    }

    /// An actor has ended: its slot is free again, and its successor starts if one is wanted.
    async fn ended(&mut self, actor: &ActorCell, asked_for: bool) {
        let Some(slot) = self.children.remove(&actor.get_id()) else { return };
        if self.core.is_stopping() {
            return self.core.fail_parked(&slot);
        }
        if asked_for && self.deaf {
            slot.close();
        }
        if asked_for {
            slot.detach(false);
        } else {
            self.crashed(&slot);
        }
        self.start(slot).await;
    }

    /// An actor has ended unasked, or while it began: the next one is to start at once, unless that happened too often.
    fn crashed(&self, slot: &Arc<Slot>) {
        let crashes = slot.crashed(self.core.ports.clock.now().elapsed, CALM);
        tracing::warn!(identity = %slot.identity, crashes, "an actor ended unasked");
        match crashes.checked_sub(RESTARTS) {
            None | Some(0) => drop(slot.detach(true)),
            Some(too_many) => self.pause(slot, pause_after(too_many)),
        }
    }

    /// Starts nobody at `slot` for a while; those who wait are told when to come back.
    fn pause(&self, slot: &Arc<Slot>, span: Duration) {
        let now = self.core.ports.clock.now().elapsed;
        // What it was told and had not taken in yet is lost.
        slot.close();
        let error = TokenError::new(Reason::Aborted).with_retry_after(span);
        let timer = Leash::after(span, self.myself.clone(), SupervisorMessage::PauseOver(Arc::clone(slot)));
        slot.pause(now.after(span), timer).into_iter().for_each(|request| request.fail(error));
    }

    /// Passes on what the store said: to the actor that is awake, else by closing the cell of the one that sleeps.
    fn spread(&mut self, news: StoreEvent) {
        match news {
            StoreEvent::Changed(identity) => {
                if let Some(slot) = self.core.find(&identity) {
                    slot.notify_or_close(SessionEvent::StoreChanged);
                }
            }
            StoreEvent::Lagged => {
                self.core.slots().iter().for_each(|slot| slot.notify_or_close(SessionEvent::StoreChanged))
            }
            StoreEvent::Ended => {}
        }
    }

    fn wake_up(&self) {
        for slot in self.core.slots() {
            slot.tell(TokenMessage::event(SessionEvent::Resumed));
            slot.notify_flights(None, &FlightEvent::Tick);
        }
    }
}

impl Drop for SupervisorState {
    fn drop(&mut self) {
        self.core.detach_supervisor(&self.myself);
    }
}

/// The pause after so many failures too many.
fn pause_after(failures: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MOST)
}
