//! The slot of an identity. It outlives the identity's actors, and handles and flights find them through it.
//!
//! The slot is not the kind of shared mutable state that the laws forbid. The cell has one writer at a time and holds
//! immutable values. The state behind the mutex only determines where messages are sent. No decision to spend a refresh
//! token depends on the cell or on that state. The flight alone makes that decision, from the store, under a claim.

mod asleep;
mod attempts;
mod flights;
mod tasks;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::cell::{Cell, Incarnation};
use super::messages::{Mailbox, TokenMessage};
use super::plan::Plan;
use super::request::{Destination, Request};
use super::state::SessionState;
use super::usage::Usage;
use crate::law::flight::{FlightEvent, Report};
use crate::law::login::{LoginEvent, LoginReport};
use crate::sync::lock;
use crate::values::record::Issuer;
use crate::values::{AttemptId, ElapsedTime, FlightId, Moment, ServerIdentity};
use tasks::Tasks;

/// Two failures of an actor are consecutive if at most this time passes between them. A pause after the first failure does
/// not count, because no actor runs during it.
const CALM: Duration = Duration::from_secs(10);

/// The slot of one identity.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) identity: ServerIdentity,
    pub(crate) plan: Arc<Plan>,
    pub(crate) cell: Cell,
    pub(crate) usage: Usage,
    /// The channel to the readers of the session's state. It is made for the first reader.
    pub(crate) watchers: OnceLock<watch::Sender<SessionState>>,
    /// Leads from the slot back to its runtime. All slots of a runtime share this reference, so that each slot holds a thin
    /// pointer.
    router: Arc<Weak<dyn Router>>,
    /// The number of callers that wait.
    waiting: AtomicU32,
    state: Mutex<SlotState>,
}

/// The part of the core that a slot uses.
pub(crate) trait Router: Debug + Send + Sync {
    /// Delivers a request that was dropped without an answer.
    fn deliver(&self, request: Request<Slot>);

    /// The present moment, by the runtime's clock.
    fn now(&self) -> Moment;
}

impl Destination for Slot {
    type Guard = WaiterGuard<Arc<Slot>>;

    fn redeliver(&self, request: Request<Slot>) -> Result<(), Request<Slot>> {
        match self.router.upgrade() {
            Some(router) => {
                router.deliver(request);
                Ok(())
            }
            None => Err(request),
        }
    }
}

/// Counts a caller as waiting. It is taken before the caller's request is queued, and dropped when the caller is answered
/// or gone.
#[derive(Debug)]
pub(crate) struct WaiterGuard<S: Deref<Target = Slot>>(S);

impl<S: Deref<Target = Slot>> WaiterGuard<S> {
    /// Returns `None` if as many callers wait as the policy allows.
    pub(crate) fn take(slot: S) -> Option<Self> {
        let max_waiters = u32::try_from(slot.plan.policy.max_waiters).unwrap_or(u32::MAX);
        let taken = slot.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < max_waiters).then_some(waiting + 1)
        });
        taken.is_ok().then(|| Self(slot))
    }
}

impl<S: Deref<Target = Slot>> Drop for WaiterGuard<S> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The mutable state of a slot. Locked for a few instructions, and never across an await.
#[derive(Debug, Default)]
struct SlotState {
    actor_slot: ActorSlot,
    /// The backlog is boxed, because it is usually empty, and a sleeping session should use little memory.
    backlog: Option<Box<Backlog>>,
}

/// Requests for the actor, and the flights and login attempts with their reports.
#[derive(Debug, Default)]
struct Backlog {
    /// Requests for the actor, in the order in which they came. One message announces all of them to the actor, so that
    /// many callers cost few messages, and no request is lost when an actor ends with messages in its mailbox.
    inbox: VecDeque<Request<Slot>>,
    /// The flights. A new flight does not wait for one of an old epoch, so two may run.
    flights: Tasks<FlightId, FlightMessage, Report>,
    /// The login attempts.
    attempts: Tasks<AttemptId, LoginEvent, LoginReport>,
    /// The issuers that the resource listed last, for an actor that has not started yet.
    issuers: Option<Vec<Issuer>>,
    /// The number of consecutive failures of the actor, and the time since when another actor may run.
    crashes: (u32, ElapsedTime),
    /// Whether an event of the store has reached no actor, although the policy or a reader of the state waits for such
    /// events.
    missed_news: bool,
}

impl SlotState {
    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    fn take_inbox(&mut self) -> VecDeque<Request<Slot>> {
        self.backlog.as_mut().map(|backlog| std::mem::take(&mut backlog.inbox)).unwrap_or_default()
    }

    /// Whether the backlog holds something for an actor.
    fn has_work(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| {
            !backlog.inbox.is_empty()
                || backlog.flights.has_reports()
                || backlog.attempts.has_reports()
                || backlog.issuers.is_some()
                || backlog.missed_news
        })
    }

    /// Frees the backlog if it is empty.
    fn tidy(&mut self) {
        let in_use =
            |backlog: &Backlog| backlog.flights.is_running() || backlog.attempts.is_running() || backlog.crashes.0 > 0;
        if !self.has_work() && !self.backlog.as_deref().is_some_and(in_use) {
            self.backlog = None;
        }
    }
}

/// A message to a flight's task.
#[derive(Debug)]
pub(crate) enum FlightMessage {
    /// An event for the flight machine.
    Event(FlightEvent),
    /// The runtime stops, and waits for its flights until this time. `wanted` states whether callers waited for a token
    /// when the stop began.
    Shutdown { wanted: bool, until: ElapsedTime },
    /// Callers wait for this flight now.
    Expedite,
}

/// Whether there is an actor, and its address.
#[derive(Debug, Default)]
enum ActorSlot {
    #[default]
    Empty,
    /// The supervisor was asked to start an actor.
    Awaited,
    Taken {
        incarnation: Incarnation,
        mailbox: Mailbox,
        /// Whether a message about the inbox is on its way.
        announced: bool,
    },
    /// The actor failed too often. No actor is started before this time, at which the timer notifies the supervisor.
    Paused(
        ElapsedTime,
        #[expect(dead_code, reason = "held, so that the timer ends with the pause")] AbortOnDropHandle<()>,
    ),
}

/// The number of requests that an actor takes at once. Other messages come between two such batches.
const BATCH: usize = 256;

/// The result of a delivery.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// An actor was notified of the request.
    Sent,
    /// The request waits for an actor that was already asked for, whose predecessor is still ending, or that starts
    /// after a pause.
    Parked,
    /// The request waits for an actor that the supervisor must be asked for.
    Wanted,
    /// No actor is started before this time, and the caller does not wait that long.
    Refused(Request<Slot>, ElapsedTime),
}

impl Slot {
    pub(crate) fn new(identity: ServerIdentity, plan: Arc<Plan>, router: Arc<Weak<dyn Router>>) -> Self {
        Self {
            identity,
            plan,
            cell: Cell::default(),
            usage: Usage::default(),
            watchers: OnceLock::new(),
            router,
            waiting: AtomicU32::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        // No code panics between two related writes while it holds this lock.
        lock(&self.state)
    }

    /// Returns the time until the early window of the published lease begins, if the policy refreshes a lease that is in
    /// use. `None` once the window has begun, and for an unknown lifetime, because no actor has to watch the lease's use
    /// then.
    pub(crate) fn until_early(&self, now: &Moment) -> Option<Duration> {
        let snapshot = self.cell.read();
        let follows_use = self.plan.follows_use() && snapshot.standing.login_required.is_none();
        let window = snapshot.hit.as_ref().filter(|_| follows_use)?.window;
        window.remaining(now).filter(|left| !left.is_zero())
    }

    /// Returns `true` while callers wait for a token here, through handles or the address.
    pub(crate) fn has_callers(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    // Requests.

    /// Puts a request into the inbox, and notifies the actor.
    pub(crate) fn deliver(&self, request: Request<Slot>, now: ElapsedTime) -> Delivery {
        let mailbox = {
            let mut state = self.state();
            let (mailbox, delivery) = match &mut state.actor_slot {
                ActorSlot::Taken { mailbox, announced, .. } => {
                    let first = !std::mem::replace(announced, true);
                    (first.then(|| mailbox.clone()), Delivery::Sent)
                }
                ActorSlot::Paused(until, _) if *until > now => {
                    if !request.outwaits(*until) {
                        return Delivery::Refused(request, *until);
                    }
                    (None, Delivery::Parked)
                }
                ActorSlot::Awaited => (None, Delivery::Parked),
                empty @ (ActorSlot::Empty | ActorSlot::Paused(..)) => {
                    *empty = ActorSlot::Awaited;
                    (None, Delivery::Wanted)
                }
            };
            state.backlog().inbox.push_back(request);
            match mailbox {
                Some(mailbox) => mailbox,
                None => return delivery,
            }
        };
        // The message is sent after the lock is released, because a scripted session takes its requests at once. An actor
        // that is ending takes no requests. The supervisor will notice its end, and start the next actor for them.
        if mailbox.send(TokenMessage::Requests) { Delivery::Sent } else { Delivery::Parked }
    }

    /// Takes the next requests out of the inbox. Returns `true` with them if there are more.
    pub(crate) fn take_requests(&self, by: Incarnation) -> (VecDeque<Request<Slot>>, bool) {
        let mut state = self.state();
        let SlotState { actor_slot: ActorSlot::Taken { incarnation, announced, .. }, backlog: Some(backlog) } =
            &mut *state
        else {
            return Default::default();
        };
        if *incarnation != by {
            return Default::default();
        }
        if backlog.inbox.len() > BATCH {
            return (backlog.inbox.drain(..BATCH).collect(), true);
        }
        *announced = false;
        let requests = state.take_inbox();
        state.tidy();
        (requests, false)
    }

    /// Sends a message to the actor. Returns `false` if no actor takes it.
    pub(crate) fn send(&self, message: TokenMessage) -> bool {
        self.address().is_some_and(|(_, mailbox)| mailbox.send(message))
    }

    /// Sends a message to one incarnation of the actor. The message is lost if that incarnation is gone.
    pub(crate) fn notify_incarnation(&self, incarnation: Incarnation, message: TokenMessage) {
        if let Some((_, mailbox)) = self.address().filter(|(taken, _)| *taken == incarnation) {
            mailbox.send(message);
        }
    }

    fn address(&self) -> Option<(Incarnation, Mailbox)> {
        match &self.state().actor_slot {
            ActorSlot::Taken { incarnation, mailbox, .. } => Some((*incarnation, mailbox.clone())),
            _ => None,
        }
    }

    // Reports.

    /// Stores a report by `put`, and notifies the actor. Returns `true` if the supervisor must be asked for an actor.
    fn put_report(&self, put: impl FnOnce(&mut Backlog)) -> bool {
        let wanted = {
            let mut state = self.state();
            put(state.backlog());
            let wanted = matches!(state.actor_slot, ActorSlot::Empty);
            if wanted {
                state.actor_slot = ActorSlot::Awaited;
            }
            wanted
        };
        self.send(TokenMessage::Backlog);
        wanted
    }

    /// Takes something out of the backlog, if `by` is the current incarnation.
    fn take_for<T>(&self, by: Incarnation, take: impl FnOnce(&mut Backlog) -> Option<T>) -> Option<T> {
        let mut state = self.state();
        match state.actor_slot {
            ActorSlot::Taken { incarnation, .. } if incarnation == by => take(state.backlog.as_mut()?),
            _ => None,
        }
    }

    // The life of actors.

    /// Asks for an actor without a request. Returns `true` if the supervisor must be notified.
    pub(crate) fn wants_actor(&self) -> bool {
        let mut state = self.state();
        let wanted = matches!(state.actor_slot, ActorSlot::Empty);
        if wanted {
            state.actor_slot = ActorSlot::Awaited;
        }
        wanted
    }

    /// Stores the address of a new actor, which then takes the requests that wait for it.
    pub(crate) fn attach(&self, incarnation: Incarnation, mailbox: Mailbox) {
        let former = {
            let mut state = self.state();
            if let Some(backlog) = &mut state.backlog {
                backlog.missed_news = false;
            }
            let taken = ActorSlot::Taken { incarnation, mailbox, announced: false };
            std::mem::replace(&mut state.actor_slot, taken)
        };
        // The former address is dropped after the lock is released, because it may own the last messages that were sent to
        // it.
        drop(former);
    }

    /// Removes the address of an actor that has ended. The actor calls this itself, so that the address does not keep
    /// alive a message that arrived too late.
    pub(crate) fn forget_address(&self, incarnation: Incarnation) {
        let former = {
            let mut state = self.state();
            match state.actor_slot {
                ActorSlot::Taken { incarnation: taken, .. } if taken == incarnation => {
                    std::mem::replace(&mut state.actor_slot, ActorSlot::Awaited)
                }
                _ => return,
            }
        };
        drop(former);
    }

    /// Frees the slot after the end of its actor. Returns whether another actor is to be started now, because one is
    /// needed, or because `anyway` is set.
    pub(crate) fn detach(&self, anyway: bool) -> bool {
        let needed = anyway || self.needs_actor();
        let (former, wanted) = {
            let mut state = self.state();
            let former = std::mem::take(&mut state.actor_slot);
            let wanted = needed || state.has_work();
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

    /// Whether the session needs an actor although no caller waits.
    fn needs_actor(&self) -> bool {
        let snapshot = self.cell.read();
        let unfinished = snapshot.extra_residue().is_some_and(|residue| {
            residue.flight.is_some() || residue.closing.is_some() || !residue.attempts.is_empty()
        });
        let before_early_window = |router: Arc<dyn Router>| self.until_early(&router.now()).is_some();
        unfinished
            || self.plan.is_kept_warm() && snapshot.standing.login_required.is_none()
            || self.is_in_use()
            || self.router.upgrade().is_some_and(before_early_window)
    }

    /// Whether the lease is in use, if the policy refreshes leases that are in use. Returns `false` for a lease that
    /// only a login can replace.
    pub(crate) fn is_in_use(&self) -> bool {
        let snapshot = self.cell.read();
        self.plan.follows_use()
            && self.usage.is_noted()
            && snapshot.hit.is_some()
            && snapshot.standing.login_required.is_none()
    }

    /// Counts a failure of the actor. Returns the number of consecutive failures.
    pub(crate) fn crashed(&self, now: ElapsedTime) -> u32 {
        let mut state = self.state();
        let (count, last) = state.backlog().crashes;
        let count = if now.since(last) > CALM { 1 } else { count.saturating_add(1) };
        state.backlog().crashes = (count, now);
        count
    }

    /// Starts no actor before `until`, when `timer` is due. Returns the requests whose callers do not wait that long.
    pub(crate) fn pause(&self, until: ElapsedTime, timer: AbortOnDropHandle<()>) -> VecDeque<Request<Slot>> {
        let (former, impatient) = {
            let mut state = self.state();
            let former = std::mem::replace(&mut state.actor_slot, ActorSlot::Paused(until, timer));
            state.backlog().crashes.1 = until;
            let (waiting, impatient) = state.take_inbox().into_iter().partition(|request| request.outwaits(until));
            state.backlog().inbox = waiting;
            (former, impatient)
        };
        drop(former);
        impatient
    }

    /// Ends the pause. Returns whether an actor is wanted.
    pub(crate) fn end_pause(&self) -> bool {
        matches!(self.state().actor_slot, ActorSlot::Paused(..)) && self.detach(false)
    }

    /// Returns the requests that wait for an actor that has not started.
    pub(crate) fn take_parked(&self) -> VecDeque<Request<Slot>> {
        let mut state = self.state();
        match state.actor_slot {
            // A message has announced the requests to the actor, which takes them itself.
            ActorSlot::Taken { .. } => VecDeque::new(),
            _ => state.take_inbox(),
        }
    }

    /// Withdraws the request for an actor, because none will be started. Returns the requests that wait.
    ///
    /// A running actor keeps its address. It removes that itself when it ends, and it may belong to a tree that has
    /// just started.
    pub(crate) fn cancel_start(&self) -> VecDeque<Request<Slot>> {
        let (former, waiting) = {
            let mut state = self.state();
            let former = match state.actor_slot {
                ActorSlot::Taken { .. } => None,
                _ => Some(std::mem::take(&mut state.actor_slot)),
            };
            (former, state.take_inbox())
        };
        drop(former);
        waiting
    }

    /// Keeps the issuers that the resource listed, until an actor takes them.
    pub(crate) fn put_issuers(&self, issuers: Vec<Issuer>) {
        self.state().backlog().issuers = Some(issuers);
    }

    pub(crate) fn take_issuers(&self) -> Option<Vec<Issuer>> {
        self.state().backlog.as_mut()?.issuers.take()
    }
}
