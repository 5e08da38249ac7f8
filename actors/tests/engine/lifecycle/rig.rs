//! A runtime linked to a host, with a session, a guest, and ways to end actors.

use std::any::TypeId;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorRef, ActorStatus};
use tokenkeeper_actors::law::session::RefusalAnswer;
use tokenkeeper_actors::ports::store::{StoreEvent, TokenStore};
use tokenkeeper_actors::runtime::{AuthSpec, RuntimeBuilder, SessionState};
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{Lease, Reason, TokenError};
use tokio::task::JoinHandle;

use super::hosts::{Answer, Errand, Guest, guest_asks};
use super::tricks::{TrickSpawner, TrickStore};
use crate::support::calm::Calm;
use crate::support::{BoundedRuntime, BoundedSession, World, each_within, identity, s, within};

/// How an actor of the runtime ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Drain,
    Stop,
    Kill,
    Panic,
}

impl End {
    pub(crate) const ALL: [End; 4] = [End::Drain, End::Stop, End::Kill, End::Panic];
}

/// A world with a runtime under a host, one session that is signed in, and a guest.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) store: TrickStore,
    pub(crate) spawner: TrickSpawner,
    pub(crate) host: ActorCell,
    pub(crate) spec: AuthSpec,
    pub(crate) runtime: BoundedRuntime,
    pub(crate) session: BoundedSession,
    guest: ActorRef<Errand>,
    /// The type of token actors, which distinguishes them from the others.
    kind: TypeId,
}

impl Rig {
    /// A rig whose token requests take a second, under a host that lets its children end.
    pub(crate) async fn new() -> Self {
        let world = World::new();
        world.server.takes(s(1));
        Self::of(world, |builder| builder).await
    }

    /// The same with tokens that live for a minute, for tests that repeat many times.
    pub(crate) async fn brief() -> Self {
        let world = World::new();
        world.server.takes(s(1));
        world.server.lives_for(s(60));
        Self::of(world, |builder| builder).await
    }

    pub(crate) async fn of(world: World, build: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Self {
        let (host, _) = within("a host", Actor::spawn(None, Calm, ())).await.expect("a host");
        Self::under(host.get_cell(), world, build).await
    }

    pub(crate) async fn under(
        host: ActorCell,
        world: World,
        build: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
    ) -> Self {
        let (store, spawner) = (TrickStore::new(world.store.process()), TrickSpawner::new());
        let builder = world.builder_over(Arc::new(store.clone())).spawner(Arc::new(spawner.clone()));
        let spec = within("a runtime", build(builder).prepare()).await.expect("a runtime");
        let runtime = within("a tree", spec.spawn_linked(host.clone())).await.expect("a tree");
        let (guest, _) = within("a guest", Actor::spawn(None, Guest, runtime.address())).await.expect("a guest");
        let runtime = BoundedRuntime::from(runtime);
        let session = world.signed_in(&runtime, 1).await;
        // No flight has begun, so the session's actor is the supervisor's only child.
        let supervisor = supervisor_of(&host).expect("a supervisor");
        let [actor] = &supervisor.get_children()[..] else { panic!("one child") };
        let kind = actor.get_type_id();
        Self { world, store, spawner, host, spec, runtime, session, guest, kind }
    }

    // Actors.

    pub(crate) fn supervisor(&self) -> ActorCell {
        supervisor_of(&self.host).expect("a supervisor")
    }

    /// The session's actor, if it runs.
    pub(crate) fn actor(&self) -> Option<ActorCell> {
        let children = supervisor_of(&self.host)?.get_children();
        children
            .into_iter()
            .find(|child| child.get_type_id() == self.kind && child.get_status() < ActorStatus::Stopping)
    }

    /// Starts the tree again, under the same host.
    pub(crate) async fn grows_again(&self) {
        within("a tree", self.spec.spawn_linked(self.host.clone())).await.expect("a tree");
    }

    // Requests.

    /// Spawns a caller through a handle.
    pub(crate) fn calls(&self) -> JoinHandle<Answer> {
        let session = self.session.clone();
        tokio::spawn(async move { session.token().await })
    }

    /// Spawns a caller through the address.
    pub(crate) fn writes(&self) -> JoinHandle<Answer> {
        let guest = self.guest.clone();
        tokio::spawn(async move { guest_asks(&guest).await })
    }

    /// Spawns some callers of both kinds.
    pub(crate) fn cohort(&self) -> Vec<JoinHandle<Answer>> {
        vec![self.calls(), self.writes(), self.calls(), self.writes(), self.calls()]
    }

    /// Asks for a token through the address.
    pub(crate) async fn guest_asks(&self) -> Answer {
        guest_asks(&self.guest).await
    }

    /// Reports a refusal through the address.
    pub(crate) async fn guest_refuses(&self, lease: &Lease) -> Result<RefusalAnswer, TokenError> {
        let generation = lease.generation();
        let answer = self.guest.call(|reply| Errand::Refuse(identity(1), generation, reply), None);
        let answer = within("the answer to a refusal", answer).await;
        answer.expect("the guest lives").expect("an answer")
    }

    /// Asserts that the next call works, both ways, and returns a token that the resource accepts.
    pub(crate) async fn works(&self) -> Lease {
        let lease = self.session.token().await.expect("a lease");
        assert!(self.world.server.accepts(&lease), "a token that is good");
        assert_eq!(self.guest_asks().await, Ok(lease.clone()), "the address says what the handle says");
        lease
    }

    /// Asserts that the next call fails, both ways, for this reason.
    pub(crate) async fn fails(&self, reason: Reason) {
        assert_eq!(self.session.token().await.map_err(|error| error.reason()), Err(reason));
        assert_eq!(self.guest_asks().await.map_err(|error| error.reason()), Err(reason));
    }

    // Events.

    /// Lets time pass until the server has received a request.
    pub(crate) async fn takes_off(&self) {
        for _ in 0..1_000 {
            if self.world.server.in_flight() > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("no flight took off");
    }

    /// Ends the session's actor, if there is one, and waits for its end.
    pub(crate) async fn ends(&self, end: End) {
        let Some(actor) = self.actor() else { return };
        match end {
            End::Drain => drop(actor.drain()),
            End::Stop => actor.stop(None),
            End::Kill => actor.kill(),
            End::Panic => {
                self.spawner.panics(1);
                // The actor reads the record again.
                self.store.says(StoreEvent::Changed(identity(1)));
            }
        }
        within("an actor's end", actor.wait(None)).await.expect("an end");
        self.spawner.panics(0);
    }

    /// Kills the supervisor, and with it the tree.
    pub(crate) async fn fells(&self) {
        let supervisor = self.supervisor();
        supervisor.kill();
        within("a supervisor's end", supervisor.wait(None)).await.expect("an end");
    }

    // State.

    pub(crate) async fn record(&self) -> Box<Record> {
        self.world.store.load(&identity(1)).await.expect("a store").expect("a record")
    }

    /// Asserts that the store holds the newest pair, without a mark, and that no work is left.
    pub(crate) async fn is_settled(&self) {
        let record = self.record().await;
        let held = record.held().expect("a refresh token");
        assert!(held.mark.is_none(), "no mark is left");
        let quiet = |state: SessionState| !state.refreshing && !state.unsaved && !state.in_doubt;
        assert!(quiet(self.session.state()), "{:?}", self.session.state());
    }
}

fn supervisor_of(host: &ActorCell) -> Option<ActorCell> {
    host.get_children().into_iter().next()
}

/// The answers of all callers, one for each.
pub(crate) async fn answers(cohort: impl IntoIterator<Item = JoinHandle<Answer>>) -> Vec<Answer> {
    let answers = each_within("a caller's answer", cohort).await;
    answers.into_iter().map(|answer| answer.expect("no caller panics")).collect()
}

/// Asserts that all callers got the same lease, and returns it.
pub(crate) async fn all_served(cohort: impl IntoIterator<Item = JoinHandle<Answer>>) -> Lease {
    let leases: Vec<Lease> = answers(cohort).await.into_iter().map(|answer| answer.expect("a lease")).collect();
    let first = leases.first().expect("somebody asked").clone();
    assert!(leases.iter().all(|lease| *lease == first), "one token for all");
    first
}

/// Lets all tasks that can run take so many turns, without any time passing.
pub(crate) async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
