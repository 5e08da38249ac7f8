//! The slot: an identity's place in a runtime. It outlives its actors, and is where flights and handles find them.
//!
//! Why this is not shared mutable state in the sense the law forbids: the cell has one writer at a time and holds
//! immutable values; the actor_slot only says *where* to send a message; and no decision to spend a refresh token is made on
//! either. That is decided under a claim, from the store, by the flight alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use ractor::ActorRef;
use tokio::sync::{mpsc, watch};

use super::cell::{Cell, Incarnation};
use super::core::Core;
use super::plan::Plan;
use super::request::Request;
#[cfg(feature = "scripted")]
use super::stand_in::{Stage, StandIn};
use super::state::SessionState;
use super::timer::Leash;
use super::token_actor::TokenMessage;
use crate::law::flight::{FlightEvent, Report};
use crate::law::session::SessionEvent;
use crate::values::record::Issuer;
use crate::values::{ElapsedTime, FlightId, ServerIdentity};

/// An identity's place in a runtime.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) identity: ServerIdentity,
    pub(crate) plan: Arc<Plan>,
    pub(crate) core: Weak<Core>,
    pub(crate) cell: Cell,
    /// Callers that wait through handles.
    pub(crate) waiting: AtomicU32,
    /// Whether the published lease was handed out since it was published.
    pub(crate) used: AtomicBool,
    /// Who watches the session's state: made when somebody first does.
    pub(crate) watchers: OnceLock<watch::Sender<SessionState>>,
    state: Mutex<SlotState>,
}

/// What comes and goes at a slot. Locked for some instructions, never across an await.
#[derive(Debug, Default)]
struct SlotState {
    actor_slot: ActorSlot,
    /// Nothing lies there as a rule, and a session that sleeps should not pay for it.
    backlog: Option<Box<Backlog>>,
}

/// What lies at a slot until somebody takes it.
#[derive(Debug, Default)]
struct Backlog {
    /// Requests that wait for the next actor.
    parked: Vec<Request>,
    /// What flights reported and no actor has taken in yet; `None` says that the flight is over.
    reports: VecDeque<(FlightId, Option<Report>)>,
    /// The flights in the air: seldom more than one, because one of an epoch that is over is left to itself.
    flights: Vec<RegisteredFlight>,
    /// The issuers the resource listed last, for an actor that has not started yet.
    issuers: Option<Vec<Issuer>>,
    /// Ends in a row that nobody asked for, and when the last one was.
    crashes: (u32, ElapsedTime),
}

impl SlotState {
    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    fn take_parked(&mut self) -> Vec<Request> {
        self.backlog.as_mut().map(|backlog| std::mem::take(&mut backlog.parked)).unwrap_or_default()
    }

    fn flights(&self) -> &[RegisteredFlight] {
        self.backlog.as_ref().map(|backlog| &backlog.flights[..]).unwrap_or_default()
    }

    /// Whether something lies there that an actor is to take in.
    fn awaits_actor(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| {
            !backlog.parked.is_empty() || !backlog.reports.is_empty() || backlog.issuers.is_some()
        })
    }

    /// Clears the backlog away where nothing lies there.
    fn tidy(&mut self) {
        let lies = |backlog: &Backlog| !backlog.flights.is_empty() || backlog.crashes.0 > 0;
        if !self.awaits_actor() && !self.backlog.as_deref().is_some_and(lies) {
            self.backlog = None;
        }
    }
}

/// A flight in the air, and how it is told things.
#[derive(Debug)]
struct RegisteredFlight {
    id: FlightId,
    tell: mpsc::UnboundedSender<FlightMessage>,
}

/// What a flight's driver is told.
#[derive(Debug)]
pub(crate) enum FlightMessage {
    /// The machine is to hear of it.
    Event(FlightEvent),
    /// Callers wait for it now.
    Expedite,
}

/// Whether there is an actor, and where.
#[derive(Debug, Default)]
enum ActorSlot {
    #[default]
    Empty,
    /// The supervisor has been asked for one.
    Awaited,
    Taken(Incarnation, ActorRef<TokenMessage>),
    /// It ended too often: nobody is started before then, when the timer says so to the supervisor.
    Paused(ElapsedTime, #[expect(dead_code, reason = "held, so that it ends with the rest")] Leash),
    /// No actor ever comes: something stands in for it.
    #[cfg(feature = "scripted")]
    Cast(Stage, Arc<dyn StandIn>),
}

/// What became of a request that was to be delivered.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The actor has it.
    Sent,
    /// It waits for an actor that has been asked for already, or whose predecessor is still ending.
    Parked,
    /// It waits for an actor: ask the supervisor for one.
    Wanted,
    /// Nobody is started before then.
    Refused(Request, ElapsedTime),
}

impl Slot {
    pub(crate) fn new(identity: ServerIdentity, plan: Arc<Plan>, core: Weak<Core>) -> Self {
        Self {
            identity,
            plan,
            core,
            cell: Cell::default(),
            waiting: AtomicU32::new(0),
            used: AtomicBool::new(false),
            watchers: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        // Nothing below can panic between two writes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the published lease was handed out. Costs a read where that is known already.
    #[inline]
    pub(crate) fn note_use(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Tells a session's actor, or takes the lease of one that sleeps away from hits. Whoever begins after it was not there
    /// to be told reads the store by itself.
    pub(crate) fn notify_or_close(&self, event: SessionEvent) {
        let by = self.cell.read().by;
        if !self.tell(TokenMessage::event(event)) {
            self.cell.close(by);
        }
    }

    /// Takes the lease of a session without an actor away from hits.
    pub(crate) fn close(&self) {
        let by = self.cell.read().by;
        self.cell.close(by);
    }

    // Requests.

    /// Hands a request to the actor, or parks it for the next one.
    pub(crate) fn deliver(&self, mut request: Request, now: ElapsedTime) -> Delivery {
        #[cfg(feature = "scripted")]
        if let Some((stage, stand_in)) = self.stand_in() {
            stage.take(request).into_iter().for_each(|event| stand_in.happen(event));
            return Delivery::Sent;
        }
        loop {
            let (incarnation, actor) = match self.park(request, now) {
                Ok(delivery) => return delivery,
                Err((sent_back, incarnation, actor)) => {
                    request = sent_back;
                    (incarnation, actor)
                }
            };
            // Not under the lock: a message that cannot be sent may be dropped here, and a request that is dropped asks
            // again.
            let Err(refused) = actor.send_message(TokenMessage::Request(request)) else { return Delivery::Sent };
            match TokenMessage::refused(refused) {
                Some(sent_back) => request = sent_back,
                None => return Delivery::Sent,
            }
            // It is ending. Its end is on its way to the supervisor, which will find what is parked; unless that has
            // happened by now, and there is another.
            let mut state = self.state();
            if matches!(state.actor_slot, ActorSlot::Taken(taken, _) if taken == incarnation) {
                state.backlog().parked.push(request);
                return Delivery::Parked;
            }
        }
    }

    /// Parks a request, unless there is an actor to send it to.
    fn park(
        &self,
        request: Request,
        now: ElapsedTime,
    ) -> Result<Delivery, (Request, Incarnation, ActorRef<TokenMessage>)> {
        let mut state = self.state();
        match &state.actor_slot {
            ActorSlot::Taken(incarnation, actor) => Err((request, *incarnation, actor.clone())),
            ActorSlot::Paused(until, _) if *until > now => Ok(Delivery::Refused(request, *until)),
            ActorSlot::Awaited => {
                state.backlog().parked.push(request);
                Ok(Delivery::Parked)
            }
            // It was cast this very moment: a request that is dropped asks again.
            #[cfg(feature = "scripted")]
            ActorSlot::Cast(..) => Ok(Delivery::Sent),
            ActorSlot::Empty | ActorSlot::Paused(..) => {
                state.backlog().parked.push(request);
                state.actor_slot = ActorSlot::Awaited;
                Ok(Delivery::Wanted)
            }
        }
    }

    /// Sends a message to the actor; `false` where there is none to hear it.
    pub(crate) fn tell(&self, message: TokenMessage) -> bool {
        #[cfg(feature = "scripted")]
        if let Some((_, stand_in)) = self.stand_in() {
            self.take_issuers().into_iter().for_each(|issuers| stand_in.happen(SessionEvent::IssuersListed(issuers)));
            return true;
        }
        self.address().is_some_and(|(_, actor)| actor.send_message(message).is_ok())
    }

    /// Sends a message to one incarnation of the actor; lost if that is gone.
    pub(crate) fn notify_incarnation(&self, incarnation: Incarnation, message: TokenMessage) {
        if let Some((_, actor)) = self.address().filter(|(taken, _)| *taken == incarnation) {
            drop(actor.send_message(message));
        }
    }

    fn address(&self) -> Option<(Incarnation, ActorRef<TokenMessage>)> {
        match &self.state().actor_slot {
            ActorSlot::Taken(incarnation, actor) => Some((*incarnation, actor.clone())),
            _ => None,
        }
    }

    /// From now on `stand_in` stands in for an actor.
    #[cfg(feature = "scripted")]
    pub(crate) fn cast(&self, stage: Stage, stand_in: Arc<dyn StandIn>) {
        self.state().actor_slot = ActorSlot::Cast(stage, stand_in);
    }

    #[cfg(feature = "scripted")]
    fn stand_in(&self) -> Option<(Stage, Arc<dyn StandIn>)> {
        match &self.state().actor_slot {
            ActorSlot::Cast(stage, stand_in) => Some((stage.clone(), Arc::clone(stand_in))),
            _ => None,
        }
    }

    // The life of actors.

    /// Asks for an actor with nobody waiting; `true` when the supervisor is to be told.
    pub(crate) fn wants_actor(&self) -> bool {
        let mut state = self.state();
        let wanted = matches!(state.actor_slot, ActorSlot::Empty);
        if wanted {
            state.actor_slot = ActorSlot::Awaited;
        }
        wanted
    }

    /// An actor has started: it gets what was parked for it.
    pub(crate) fn attach(&self, incarnation: Incarnation, actor: ActorRef<TokenMessage>) -> Vec<Request> {
        let (former, parked) = {
            let mut state = self.state();
            let former = std::mem::replace(&mut state.actor_slot, ActorSlot::Taken(incarnation, actor));
            (former, state.take_parked())
        };
        // Not under the lock: an address may hold the last of what was sent to it.
        drop(former);
        parked
    }

    /// The actor's address is of no use any more. Called by its own end, so that a message which lost the race with that
    /// end is not kept alive by the address.
    pub(crate) fn forget_address(&self, incarnation: Incarnation) {
        let former = {
            let mut state = self.state();
            match state.actor_slot {
                ActorSlot::Taken(taken, _) if taken == incarnation => {
                    std::mem::replace(&mut state.actor_slot, ActorSlot::Awaited)
                }
                _ => return,
            }
        };
        drop(former);
    }

    /// The actor has ended: whether another is to be started now, because one is wanted, or `anyway`.
    pub(crate) fn detach(&self, anyway: bool) -> bool {
        let (former, wanted) = {
            let mut state = self.state();
            let former = std::mem::take(&mut state.actor_slot);
            let wanted = anyway || state.awaits_actor() || self.has_business();
            if wanted {
                state.actor_slot = ActorSlot::Awaited;
            } else {
                state.tidy();
            }
            (former, wanted)
        };
        drop(former);
        wanted
    }

    /// Whether an actor is still to be started here.
    pub(crate) fn awaits_actor(&self) -> bool {
        matches!(self.state().actor_slot, ActorSlot::Awaited)
    }

    /// Whether something is going on that needs an actor though nobody asks.
    fn has_business(&self) -> bool {
        let posted = self.cell.read();
        let business = posted
            .burden()
            .is_some_and(|residue| residue.flight.is_some() || residue.closing.is_some() || residue.barred.is_some());
        business || self.plan.is_kept_warm()
    }

    /// Counts an end that nobody asked for: how often that happened lately.
    pub(crate) fn crashed(&self, now: ElapsedTime, calm: std::time::Duration) -> u32 {
        let mut state = self.state();
        let (count, last) = state.backlog().crashes;
        let count = if now.since(last) > calm { 1 } else { count.saturating_add(1) };
        state.backlog().crashes = (count, now);
        count
    }

    /// Starts nobody before `until`, when `timer` runs out; those who wait are handed back.
    pub(crate) fn pause(&self, until: ElapsedTime, timer: Leash) -> Vec<Request> {
        let (former, parked) = {
            let mut state = self.state();
            let former = std::mem::replace(&mut state.actor_slot, ActorSlot::Paused(until, timer));
            (former, state.take_parked())
        };
        drop(former);
        parked
    }

    /// The rest is over: whether an actor is wanted.
    pub(crate) fn pause_is_over(&self) -> bool {
        matches!(self.state().actor_slot, ActorSlot::Paused(..)) && self.detach(false)
    }

    /// Hands back those who wait for an actor.
    pub(crate) fn take_parked(&self) -> Vec<Request> {
        self.state().take_parked()
    }

    /// Nobody will start an actor: those who wait for one are handed back, and the next one begins anew. An actor that is
    /// there keeps its actor_slot: it clears that itself when it ends, and it may be of a tree that has just grown.
    pub(crate) fn cancel_start(&self) -> Vec<Request> {
        let (former, parked) = {
            let mut state = self.state();
            let former = match state.actor_slot {
                ActorSlot::Taken(..) => None,
                _ => Some(std::mem::take(&mut state.actor_slot)),
            };
            (former, state.take_parked())
        };
        drop(former);
        parked
    }

    /// Keeps what the resource listed for the next actor.
    pub(crate) fn hear_issuers(&self, issuers: Vec<Issuer>) {
        self.state().backlog().issuers = Some(issuers);
    }

    pub(crate) fn take_issuers(&self) -> Option<Vec<Issuer>> {
        self.state().backlog.as_mut()?.issuers.take()
    }

    // Flights.

    /// A flight begins: what it is told from now on arrives at the returned end.
    pub(crate) fn register_flight(&self, id: FlightId) -> mpsc::UnboundedReceiver<FlightMessage> {
        let (tell, told) = mpsc::unbounded_channel();
        self.state().backlog().flights.push(RegisteredFlight { id, tell });
        told
    }

    /// Tells a flight that callers wait for it now.
    pub(crate) fn expedite(&self, flight: FlightId) {
        for airborne in self.state().flights().iter().filter(|airborne| airborne.id == flight) {
            drop(airborne.tell.send(FlightMessage::Expedite));
        }
    }

    /// Tells one flight, or all of them, what happened.
    pub(crate) fn notify_flights(&self, flight: Option<FlightId>, event: &FlightEvent) {
        let state = self.state();
        for airborne in state.flights().iter().filter(|airborne| flight.is_none_or(|flight| flight == airborne.id)) {
            drop(airborne.tell.send(FlightMessage::Event(event.clone())));
        }
    }

    pub(crate) fn is_flying(&self) -> bool {
        !self.state().flights().is_empty()
    }

    /// A flight reports, or is over; the actor is told to look. `true` when there is no actor and one is wanted.
    pub(crate) fn report(&self, flight: FlightId, report: Option<Report>) -> bool {
        let wanted = {
            let mut state = self.state();
            if report.is_none() {
                state.backlog().flights.retain(|airborne| airborne.id != flight);
            }
            state.backlog().reports.push_back((flight, report));
            let wanted = matches!(state.actor_slot, ActorSlot::Empty);
            if wanted {
                state.actor_slot = ActorSlot::Awaited;
            }
            wanted
        };
        self.tell(TokenMessage::Backlog);
        wanted
    }

    /// The next report nobody has taken in yet.
    pub(crate) fn take_report(&self, incarnation: Incarnation) -> Option<(FlightId, Option<Report>)> {
        let mut state = self.state();
        match state.actor_slot {
            ActorSlot::Taken(taken, _) if taken == incarnation => state.backlog.as_mut()?.reports.pop_front(),
            _ => None,
        }
    }

    /// Whether nothing more will be heard of a flight: it is not in the air, and all its reports were taken.
    pub(crate) fn has_no_trace_of(&self, flight: FlightId) -> bool {
        let state = self.state();
        state.backlog.as_ref().is_none_or(|backlog| {
            let airborne = backlog.flights.iter().any(|airborne| airborne.id == flight);
            !airborne && !backlog.reports.iter().any(|(id, _)| *id == flight)
        })
    }
}
