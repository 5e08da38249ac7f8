//! What all parts of one runtime share: the ports, the directory of slots, and the way to the supervision tree.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{ActorRef, ActorStatus};
use tokio::sync::{Notify, broadcast};
use tokio_util::task::TaskTracker;

use super::events::AuthEvent;
use super::plan::{Plan, SessionSpec};
use super::request::Request;
use super::shutdown::Unsaved;
use super::slot::{Delivery, Slot};
use super::supervisor::SupervisorMessage;
use crate::law::flight::FlightEvent;
use crate::law::session::SessionEvent;
use crate::ports::clock::Clock;
use crate::ports::observer::EffectObserver;
use crate::ports::permit::IssuerPermits;
use crate::ports::spawner::Spawner;
use crate::ports::store::TokenStore;
use crate::system::Entropy;
use crate::values::{Nonce, Now, Reason, ServerIdentity, TokenError};

/// What the runtime asks of the world.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) permits: Arc<dyn IssuerPermits>,
    pub(crate) observer: Option<Arc<dyn EffectObserver>>,
    pub(crate) entropy: Entropy,
}

/// Shared by handles, actors and flights. It outlives the supervision tree, so that a tree that is spawned again finds
/// every slot, and every flight that is still in the air.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) ports: Ports,
    /// Tells this process's unstored tokens from those of others.
    pub(crate) nonce: Nonce,
    /// How long an actor stays awake with nothing to do.
    pub(crate) idle_after: Duration,
    pub(crate) events: broadcast::Sender<AuthEvent>,
    pub(crate) plan: Arc<Plan>,
    directory: Mutex<BTreeSet<Entry>>,
    tree: Mutex<Option<ActorRef<SupervisorMessage>>>,
    /// Notified when a supervisor has started.
    grown: Notify,
    tracker: TaskTracker,
    stopping: AtomicBool,
    unsaved: Mutex<Vec<Unsaved>>,
}

impl Core {
    pub(crate) fn new(ports: Ports, plan: Arc<Plan>, nonce: Nonce, idle_after: Duration) -> Self {
        let (events, _) = broadcast::channel(super::events::KEPT);
        Self {
            ports,
            nonce,
            idle_after,
            events,
            plan,
            directory: Mutex::default(),
            tree: Mutex::default(),
            grown: Notify::new(),
            tracker: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            unsaved: Mutex::default(),
        }
    }

    /// The present, with a fresh roll of the entropy.
    pub(crate) fn now(&self) -> Now {
        Now { moment: self.ports.clock.now(), jitter: self.ports.entropy.jitter() }
    }

    // The directory.

    /// The slot of a session, made where there is none. The first to open a session says how it is to be.
    pub(crate) fn slot(self: &Arc<Self>, spec: SessionSpec) -> Arc<Slot> {
        let mut directory = locked(&self.directory);
        if let Some(Entry(slot)) = directory.get(&spec.identity) {
            return Arc::clone(slot);
        }
        let plan = self.plan.for_session(&spec);
        let slot = Arc::new(Slot::new(spec.identity, plan, Arc::downgrade(self)));
        directory.insert(Entry(Arc::clone(&slot)));
        drop(directory);
        if slot.plan.is_kept_warm() && slot.wants_actor() {
            self.start(&slot);
        }
        slot
    }

    pub(crate) fn find(&self, identity: &ServerIdentity) -> Option<Arc<Slot>> {
        locked(&self.directory).get(identity).map(|Entry(slot)| Arc::clone(slot))
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        locked(&self.directory).iter().map(|Entry(slot)| Arc::clone(slot)).collect()
    }

    // Requests.

    /// Brings a request to its session's actor, which is started if there is none.
    pub(crate) fn deliver(&self, request: Request) {
        if self.is_stopping() {
            return request.fail(TokenError::new(Reason::ShuttingDown));
        }
        let slot = Arc::clone(request.slot());
        let now = self.ports.clock.now().elapsed;
        match slot.deliver(request, now) {
            Delivery::Sent => {}
            Delivery::Wanted => self.start(&slot),
            // Whoever was to start the actor may be gone; it looks once when it goes, and we look after we have parked.
            Delivery::Parked if self.supervisor().is_none() => self.fail_parked(&slot),
            Delivery::Parked => {}
            Delivery::Refused(request, until) => {
                request.fail(TokenError::new(Reason::Aborted).with_retry_after(until.since(now)));
            }
        }
    }

    /// Has the supervisor start the actor of `slot`.
    pub(crate) fn start(&self, slot: &Arc<Slot>) {
        let told = self.supervisor().is_some_and(|tree| tree.cast(SupervisorMessage::Start(Arc::clone(slot))).is_ok());
        if !told {
            self.fail_parked(slot);
        }
    }

    /// Tells those who wait at a slot that nobody will come.
    pub(crate) fn fail_parked(&self, slot: &Slot) {
        let reason = if self.is_stopping() { Reason::ShuttingDown } else { Reason::NotRunning };
        slot.cancel_start().into_iter().for_each(|request| request.fail(TokenError::new(reason)));
    }

    // The supervision tree.

    /// The supervisor, if it is alive.
    pub(crate) fn supervisor(&self) -> Option<ActorRef<SupervisorMessage>> {
        locked(&self.tree).clone().filter(|tree| tree.get_status() < ActorStatus::Draining)
    }

    /// Waits until a supervisor is alive, which is at once in a running runtime.
    pub(crate) async fn running_supervisor(&self) -> ActorRef<SupervisorMessage> {
        loop {
            // Registered before the look, so that a supervisor that starts in between is not missed.
            let grown = self.grown.notified();
            if let Some(supervisor) = self.supervisor() {
                return supervisor;
            }
            grown.await;
        }
    }

    /// A tree has grown: `false` where one stands already.
    pub(crate) fn attach_supervisor(&self, supervisor: &ActorRef<SupervisorMessage>) -> bool {
        let mut tree = locked(&self.tree);
        if tree.as_ref().is_some_and(|tree| tree.get_status() < ActorStatus::Stopping) {
            return false;
        }
        *tree = Some(supervisor.clone());
        drop(tree);
        self.grown.notify_waiters();
        true
    }

    /// The tree is gone: nobody may wait for it, and nobody keeps cells honest, because nobody listens to the store.
    pub(crate) fn detach_supervisor(&self, supervisor: &ActorRef<SupervisorMessage>) {
        let slots = {
            let mut tree = locked(&self.tree);
            if tree.take_if(|tree| tree.get_id() == supervisor.get_id()).is_none() {
                return;
            }
            // While no other can be planted, whose actors this would hit.
            let slots = self.slots();
            slots.iter().for_each(|slot| slot.close());
            slots
        };
        slots.iter().for_each(|slot| self.fail_parked(slot));
    }

    // Work that no actor's end may end.

    /// Asks something that nobody need wait for at the end.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ports.spawner.spawn(Box::pin(work));
    }

    /// Runs a flight, or something else that is to be done before the end.
    pub(crate) fn spawn_tracked(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ports.spawner.spawn(Box::pin(self.tracker.track_future(work)));
    }

    /// Waits until every flight and every spawn_tracked is done.
    pub(crate) async fn wait_idle(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    // The end.

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Memory::SeqCst)
    }

    /// Nothing new begins, and everyone is told: sessions that are awake, those who wait for one to wake, and flights. Not
    /// by way of the supervisor, which may be gone, or end before it gets to it.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Memory::SeqCst);
        for slot in self.slots() {
            slot.notify_or_close(SessionEvent::Shutdown);
            let error = TokenError::new(Reason::ShuttingDown);
            slot.take_parked().into_iter().for_each(|request| request.fail(error));
            slot.notify_flights(None, &FlightEvent::Shutdown);
        }
    }

    pub(crate) fn note_unsaved(&self, unsaved: Unsaved) {
        locked(&self.unsaved).push(unsaved);
    }

    pub(crate) fn take_unsaved(&self) -> Vec<Unsaved> {
        std::mem::take(&mut locked(&self.unsaved))
    }
}

/// Nothing that is done under these locks can panic half way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slot in the directory, found by its identity.
#[derive(Debug)]
struct Entry(Arc<Slot>);

impl Borrow<ServerIdentity> for Entry {
    fn borrow(&self) -> &ServerIdentity {
        &self.0.identity
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity == other.0.identity
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.identity.cmp(&other.0.identity)
    }
}
