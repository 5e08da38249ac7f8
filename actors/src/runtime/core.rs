//! The shared part of one runtime, with its ports, its directory of slots and the address of its supervisor.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{ActorId, ActorRef, ActorStatus};
use tokio::sync::{Notify, broadcast};
use tokio_util::task::TaskTracker;

use super::auth_event::{self, AuthEvent};
use super::directory::Directory;
use super::plan::{Plan, SessionSpec};
use super::request::Request;
use super::revocations::Revocations;
use super::shutdown::Unsaved;
use super::slot::{Delivery, Router, Slot};
use super::timer;
use crate::law::login::LoginEvent;
use crate::law::session::SessionEvent;
use crate::ports::clock::Clock;
use crate::ports::observer::EffectObserver;
use crate::ports::permit::IssuerPermits;
use crate::ports::spawner::Spawner;
use crate::ports::store::{StoreEvent, TokenStore};
use crate::sync::lock;
use crate::system::Entropy;
use crate::values::{
    ElapsedTime, LoginKey, LoginReason, Moment, Nonce, Now, Reason, ServerIdentity, SignInError, TokenError,
};

/// The pause between two checks whether flights run or callers wait.
const QUIET_LOOK: Duration = Duration::from_millis(10);

/// The ports of a runtime.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) permits: Arc<dyn IssuerPermits>,
    pub(crate) observer: Option<Arc<dyn EffectObserver>>,
    pub(crate) entropy: Entropy,
}

/// A message to the supervisor.
#[derive(Debug)]
pub(crate) enum SupervisorMessage {
    /// A slot wants an actor.
    Start(Arc<Slot>),
    /// The pause after the failures of a slot's actor is over.
    PauseOver(Arc<Slot>),
    /// The store's watch reports an event.
    StoreEvent(StoreEvent),
    /// The store's watch has started.
    WatchStarted,
    /// The store's watch was lost, or could not be started. It is started again after a pause.
    WatchLost,
    /// The computer was suspended and runs again.
    Resumed,
}

#[cfg(feature = "cluster")]
impl ractor::Message for SupervisorMessage {}

/// The shared part of one runtime.
///
/// Handles, actors and flights share it. It outlives the supervision tree, so that a tree that is spawned again finds
/// every slot and every running flight.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) ports: Ports,
    /// Distinguishes the tokens of this process that were never stored from those of other processes.
    pub(crate) nonce: Nonce,
    /// The time after which an idle actor ends.
    pub(crate) idle_after: Duration,
    pub(crate) events: broadcast::Sender<AuthEvent>,
    pub(crate) plan: Arc<Plan>,
    directory: Directory,
    tree: Mutex<Option<ActorRef<SupervisorMessage>>>,
    /// Every supervisor that this runtime has had, because a host may learn late of the end of one. Each start adds one.
    supervisors: Mutex<Vec<ActorId>>,
    /// Wakes the tasks that wait for a supervisor, when one has started.
    tree_started: Notify,
    tracker: TaskTracker,
    /// The time until which the runtime waits for flights; set once it stops.
    stops_at: OnceLock<ElapsedTime>,
    /// Wakes the tasks that wait for the end of the runtime, when it stops.
    stop_begun: Notify,
    unsaved: Mutex<Vec<Unsaved>>,
    pub(crate) revocations: Revocations,
    /// The reference to this core that all its slots share. Made with the first slot.
    router: OnceLock<Arc<Weak<dyn Router>>>,
}

impl Core {
    pub(crate) fn new(ports: Ports, plan: Arc<Plan>, nonce: Nonce, idle_after: Duration) -> Self {
        let (events, _) = broadcast::channel(auth_event::CAPACITY);
        Self {
            ports,
            nonce,
            idle_after,
            events,
            plan,
            directory: Directory::default(),
            tree: Mutex::default(),
            supervisors: Mutex::default(),
            tree_started: Notify::new(),
            tracker: TaskTracker::new(),
            stops_at: OnceLock::new(),
            stop_begun: Notify::new(),
            unsaved: Mutex::default(),
            revocations: Revocations::default(),
            router: OnceLock::new(),
        }
    }

    /// The present, with a new jitter.
    pub(crate) fn now(&self) -> Now {
        Now { moment: self.ports.clock.now(), jitter: self.ports.entropy.jitter() }
    }

    // The directory.

    /// Returns the slot of a session, and makes it if there is none. The settings of the call that makes it apply to
    /// all later calls.
    pub(crate) fn slot(self: &Arc<Self>, spec: SessionSpec) -> Arc<Slot> {
        let make = || Slot::new(spec.identity.clone(), self.plan.for_session(&spec), self.router());
        let (slot, is_new) = self.directory.open(&spec.identity, make);
        if is_new && slot.plan.is_kept_warm() && slot.wants_actor() {
            self.start(&slot);
        }
        slot
    }

    /// Removes slots that hold nothing and to which nothing refers, after the identity `after`. Returns the identity to
    /// continue after, if there may be more.
    pub(crate) fn remove_blank_slots(&self, after: Option<&ServerIdentity>) -> Option<ServerIdentity> {
        let now = self.ports.clock.now().elapsed;
        self.directory.remove(after, |slot| slot.is_blank(Arc::ptr_eq(&slot.plan, &self.plan), now))
    }

    /// The number of slots.
    pub(crate) fn slot_count(&self) -> usize {
        self.directory.len()
    }

    /// The reference through which requests that were dropped without an answer return to this runtime.
    pub(crate) fn router(self: &Arc<Self>) -> Arc<Weak<dyn Router>> {
        let make = || -> Arc<Weak<dyn Router>> {
            let core: Weak<Self> = Arc::downgrade(self);
            Arc::new(core)
        };
        Arc::clone(self.router.get_or_init(make))
    }

    pub(crate) fn find(&self, identity: &ServerIdentity) -> Option<Arc<Slot>> {
        self.directory.find(identity)
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.directory.all()
    }

    /// Returns the identity that a pending login belongs to, within `timeout`. A panic of the store counts as a failure.
    pub(crate) async fn identity_of_login(
        &self,
        key: &LoginKey,
        timeout: Duration,
    ) -> Result<ServerIdentity, SignInError> {
        let now = self.ports.clock.now();
        let found = tokio::select! {
            biased;
            found = AssertUnwindSafe(self.ports.store.peek_login(key, now)).catch_unwind() => found,
            () = timer::pause(timeout) => return Err(SignInError::new(LoginReason::DeadlinePassed)),
        };
        match found {
            Ok(Ok(Some(pending))) => Ok(pending.identity),
            Ok(Ok(None)) => Err(SignInError::new(LoginReason::UnknownLogin)),
            Ok(Err(_)) | Err(_) => Err(SignInError::new(LoginReason::StoreTrouble)),
        }
    }

    // Requests.

    /// Delivers a request to its session's actor, which is started if there is none.
    pub(crate) fn deliver(&self, request: Request<Slot>) {
        if self.is_stopping() {
            return request.fail(TokenError::new(Reason::ShuttingDown));
        }
        let slot = Arc::clone(request.slot());
        let now = self.ports.clock.now().elapsed;
        match slot.deliver(request, now) {
            Delivery::Sent => {}
            Delivery::Wanted => self.start(&slot),
            Delivery::Parked => self.fail_parked_if_alone(&slot),
            Delivery::Refused(request, until) => {
                request.fail(TokenError::new(Reason::Aborted).with_retry_after(until.since(now)));
            }
        }
    }

    /// Asks the supervisor to start the actor of `slot`. Fails the parked requests if there is no supervisor.
    pub(crate) fn start(&self, slot: &Arc<Slot>) {
        self.fail_parked_unless(slot, |tree| tree.cast(SupervisorMessage::Start(Arc::clone(slot))).is_ok());
    }

    /// Fails the requests that are parked at `slot` if the supervisor that was to start the actor has ended. A
    /// supervisor fails parked requests once, when it ends. The request was parked before this check, so none is
    /// missed.
    pub(crate) fn fail_parked_if_alone(&self, slot: &Slot) {
        self.fail_parked_unless(slot, |_| true);
    }

    /// Fails the requests that are parked at `slot`, unless a running supervisor `takes` them.
    fn fail_parked_unless(&self, slot: &Slot, takes: impl FnOnce(&ActorRef<SupervisorMessage>) -> bool) {
        let parked = {
            // The lock is held, so that no other supervisor starts meanwhile and has its requests failed.
            let tree = lock(&self.tree);
            if tree.as_ref().filter(|tree| is_running(tree)).is_some_and(takes) {
                return;
            }
            slot.cancel_start()
        };
        self.fail(parked);
    }

    /// Fails the requests that are parked at a slot, because no actor will be started.
    pub(crate) fn fail_parked(&self, slot: &Slot) {
        self.fail(slot.cancel_start());
    }

    fn fail(&self, requests: impl IntoIterator<Item = Request<Slot>>) {
        let reason = if self.is_stopping() { Reason::ShuttingDown } else { Reason::NotRunning };
        requests.into_iter().for_each(|request| request.fail(TokenError::new(reason)));
    }

    // The supervision tree.

    /// The supervisor, if it is running.
    pub(crate) fn supervisor(&self) -> Option<ActorRef<SupervisorMessage>> {
        lock(&self.tree).clone().filter(is_running)
    }

    /// Whether this actor is or was the supervisor of this runtime.
    pub(crate) fn is_supervisor(&self, actor: ActorId) -> bool {
        lock(&self.supervisors).contains(&actor)
    }

    /// Waits until a supervisor is running. In a running runtime there is no wait.
    pub(crate) async fn running_supervisor(&self) -> ActorRef<SupervisorMessage> {
        loop {
            // The wait is registered before the check, so that a supervisor that starts in between is not missed.
            let started = self.tree_started.notified();
            if let Some(supervisor) = self.supervisor() {
                return supervisor;
            }
            started.await;
        }
    }

    /// Stores the address of a supervisor that starts. Returns `false` if another is running.
    pub(crate) fn attach_supervisor(&self, supervisor: &ActorRef<SupervisorMessage>) -> bool {
        let mut tree = lock(&self.tree);
        if tree.as_ref().is_some_and(|tree| tree.get_status() < ActorStatus::Stopping) {
            return false;
        }
        *tree = Some(supervisor.clone());
        drop(tree);
        lock(&self.supervisors).push(supervisor.get_id());
        self.tree_started.notify_waiters();
        true
    }

    /// Removes the address of a supervisor that has ended. Clears the published leases, because the store is not
    /// watched any more, and fails the parked requests.
    pub(crate) fn detach_supervisor(&self, supervisor: &ActorRef<SupervisorMessage>) {
        let parked = {
            let mut tree = lock(&self.tree);
            if tree.take_if(|tree| tree.get_id() == supervisor.get_id()).is_none() {
                return;
            }
            // The lock is held, so that no other supervisor can start and have its sessions and requests affected.
            let slots = self.slots();
            slots.iter().for_each(|slot| slot.clear_lease());
            slots.iter().flat_map(|slot| slot.cancel_start()).collect::<Vec<_>>()
        };
        self.fail(parked);
    }

    // Work that outlives the actors.

    /// Spawns work that a shutdown does not wait for.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ports.spawner.spawn(Box::pin(work));
    }

    /// Spawns a flight, or other work that a shutdown waits for.
    pub(crate) fn spawn_tracked(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ports.spawner.spawn(Box::pin(self.tracker.track_future(work)));
    }

    /// Waits until every flight and all other tracked work is done.
    pub(crate) async fn wait_idle(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Waits until no flight runs and no caller waits. It polls, because notifications would add work to every request, and
    /// only a host that is ending waits here.
    pub(crate) async fn quiet(&self) {
        let is_busy = |slot: &Arc<Slot>| slot.has_callers() || slot.is_flying();
        loop {
            let mut busy: Vec<_> = self.slots().into_iter().filter(is_busy).collect();
            if busy.is_empty() {
                return;
            }
            while !busy.is_empty() {
                timer::pause(QUIET_LOOK).await;
                busy.retain(is_busy);
            }
        }
    }

    // Shutdown.

    pub(crate) fn is_stopping(&self) -> bool {
        self.stops_at().is_some()
    }

    /// The time until which the runtime waits for flights; `None` before it stops.
    pub(crate) fn stops_at(&self) -> Option<ElapsedTime> {
        self.stops_at.get().copied()
    }

    /// Waits until the runtime stops.
    pub(crate) async fn stopping(&self) {
        // The wait is registered before the check, so that a stop in between is not missed.
        let begun = self.stop_begun.notified();
        if !self.is_stopping() {
            begun.await;
        }
    }

    /// Stops admission, fails parked requests, and notifies sessions and flights. The runtime waits for flights until
    /// `until`. A second shutdown does not move that time.
    ///
    /// This does not use the supervisor, which may be gone, or may end before it handles a message.
    pub(crate) fn stop(&self, until: ElapsedTime) {
        let until = *self.stops_at.get_or_init(|| until);
        self.stop_begun.notify_waiters();
        for slot in self.slots() {
            // This is read before the session answers its waiters.
            let wanted = slot.has_callers();
            slot.notify_or_clear(SessionEvent::Shutdown);
            let error = TokenError::new(Reason::ShuttingDown);
            slot.take_parked().into_iter().for_each(|request| request.fail(error));
            slot.stop_flights(None, wanted, until);
            slot.notify_attempts(None, &LoginEvent::Shutdown(until));
        }
    }

    pub(crate) fn note_unsaved(&self, unsaved: Unsaved) {
        lock(&self.unsaved).push(unsaved);
    }

    pub(crate) fn take_unsaved(&self) -> Vec<Unsaved> {
        std::mem::take(&mut lock(&self.unsaved))
    }
}

impl Router for Core {
    fn deliver(&self, request: Request<Slot>) {
        Core::deliver(self, request);
    }

    fn now(&self) -> Moment {
        self.ports.clock.now()
    }
}

fn is_running(supervisor: &ActorRef<SupervisorMessage>) -> bool {
    supervisor.get_status() < ActorStatus::Draining
}
