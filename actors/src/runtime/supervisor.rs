//! The supervisor. It starts and restarts the token actors, and passes the store's events on.
//!
//! A host links it into its own tree, beside its MCP session actors. It decides nothing about tokens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio_util::task::AbortOnDropHandle;

use super::core::{Core, SupervisorMessage};
use super::messages::TokenMessage;
use super::slot::Slot;
use super::timer;
use super::token_actor::{ActorArguments, TokenActor};
use super::watch;
use crate::law::flight::FlightEvent;
use crate::law::session::SessionEvent;
use crate::ports::store::StoreEvent;
use crate::values::{ExponentialBackoff, Reason, TokenError};

/// The number of consecutive failures after which an actor is restarted at once. After further failures there is a pause
/// before the start.
const RESTARTS: u32 = 5;

/// The pauses before further starts of an actor that has failed too often in a row.
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// The time that the actors have to empty their mailboxes at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Supervises the actors of one runtime.
#[derive(Debug)]
pub(crate) struct AuthSupervisor;

/// The state of the supervisor.
#[derive(Debug)]
pub(crate) struct SupervisorState {
    core: Arc<Core>,
    myself: ActorRef<SupervisorMessage>,
    /// The actors that run, with their slots.
    children: BTreeMap<ActorId, Arc<Slot>>,
    /// Whether the store's watch works.
    is_watching: bool,
    _watches: [AbortOnDropHandle<()>; 3],
}

/// The way in which an actor has ended.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It ended itself, because it was idle.
    Drained,
    /// It was stopped or killed by other code. Its successor starts at once, because the actor is not at fault.
    Stopped,
    /// It panicked.
    Failed,
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
            timer::spawn_owned(watch::follow_store(Arc::clone(&core), myself.clone())),
            timer::spawn_owned(watch::detect_suspend(Arc::clone(&core.ports.clock), myself.clone())),
            timer::spawn_owned(watch::remove_blank_slots(Arc::clone(&core))),
        ];
        Ok(SupervisorState { core, myself, children: BTreeMap::new(), is_watching: false, _watches: watches })
    }

    async fn post_start(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        // An earlier tree may have left slots. The store was not watched since that tree ended, and some sessions need an
        // actor although no caller waits.
        state.pass_on(StoreEvent::Lagged);
        for slot in state.core.slots() {
            // A slot that awaits an actor has asked this tree for it while the tree started.
            if slot.detach(slot.awaits_actor()) {
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
                if slot.end_pause() {
                    state.start(slot).await;
                }
            }
            SupervisorMessage::StoreEvent(event) => state.pass_on(event),
            SupervisorMessage::WatchStarted => {
                state.is_watching = true;
                state.pass_on(StoreEvent::Lagged);
            }
            SupervisorMessage::WatchLost => {
                state.is_watching = false;
                state.pass_on(StoreEvent::Lagged);
            }
            SupervisorMessage::Resumed => state.resume(),
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
                let end = if reason.as_deref() == Some("Drained") { End::Drained } else { End::Stopped };
                state.ended(&actor, end).await;
                // The last state is dropped at the end, because the requests in it are delivered again and need the slot
                // ready.
                drop(last_state);
            }
            SupervisionEvent::ActorFailed(actor, _) => state.ended(&actor, End::Failed).await,
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<SupervisorMessage>,
        _state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        // Draining answers the admitted requests. No actor waits while it handles a message, so the drain is quick.
        myself.drain_children_and_wait(Some(DRAIN_TIMEOUT)).await;
        // A host with ractor's default supervision stops when a child ends, even after an expected end.
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

    /// Frees the slot of an actor that has ended, and starts the next actor if one is wanted.
    async fn ended(&mut self, actor: &ActorCell, end: End) {
        let Some(slot) = self.children.remove(&actor.get_id()) else { return };
        if self.core.is_stopping() {
            return self.core.fail_parked(&slot);
        }
        match end {
            End::Drained => {
                if !self.is_watching {
                    slot.clear_lease();
                }
                slot.detach(false);
            }
            End::Stopped => {
                tracing::warn!(identity = %slot.identity, "an actor was stopped by other code");
                slot.detach(true);
            }
            End::Failed => self.crashed(&slot),
        }
        self.start(slot).await;
    }

    /// Handles the failure of an actor, or of its start. The next actor starts at once, or after a pause if there were
    /// too many failures.
    fn crashed(&self, slot: &Arc<Slot>) {
        let crashes = slot.crashed(self.core.ports.clock.now().elapsed);
        tracing::warn!(identity = %slot.identity, crashes, "an actor failed");
        match crashes.checked_sub(RESTARTS) {
            None | Some(0) => drop(slot.detach(true)),
            Some(too_many) => self.pause(slot, BACKOFF.pause(too_many)),
        }
    }

    /// Starts no actor at `slot` for `span`. Callers that wait longer than the pause go on waiting, and the others fail
    /// with `retry_after`.
    fn pause(&self, slot: &Arc<Slot>, span: Duration) {
        let now = self.core.ports.clock.now().elapsed;
        // The messages that the actor had not handled yet are lost, and one may have announced a change of the record.
        slot.clear_lease();
        let error = TokenError::new(Reason::Aborted).with_retry_after(span);
        let timer = timer::send_after(span, self.myself.clone(), SupervisorMessage::PauseOver(Arc::clone(slot)));
        slot.pause(now.after(span), timer).into_iter().for_each(|request| request.fail(error));
    }

    /// Passes the store's event on to the actors it concerns. Clears the published lease of each session without an
    /// actor, and starts an actor if a reader or the policy of that session waits for news.
    fn pass_on(&mut self, event: StoreEvent) {
        let slots = match event {
            StoreEvent::Changed(identity) => self.core.find(&identity).into_iter().collect(),
            StoreEvent::Lagged => self.core.slots(),
            // No session depends on an issuer's entry.
            StoreEvent::IssuerChanged(_) | StoreEvent::Ended => return,
        };
        for slot in &slots {
            if !slot.notify_or_clear(SessionEvent::StoreChanged) && slot.misses_news() {
                self.core.start(slot);
            }
        }
    }

    /// Notifies sessions and flights after a suspend.
    fn resume(&self) {
        for slot in self.core.slots() {
            slot.send(TokenMessage::event(SessionEvent::Resumed));
            slot.notify_flights(None, &FlightEvent::Tick);
        }
    }
}

impl Drop for SupervisorState {
    fn drop(&mut self) {
        self.core.detach_supervisor(&self.myself);
    }
}
