//! Connections that a source establishes before the mark is written.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper_actors::law::profile::{Evidence, NotSent};
use tokenkeeper_actors::ports::source::{NotRevoked, SourceConnection, TokenSource};
use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimEnding, ClaimScope, TokenStore};
use tokenkeeper_actors::runtime::{Settings, TokenOptions};
use tokenkeeper_actors::values::record::{Grant, Record};
use tokenkeeper_actors::values::{FlightId, Reason, ServerIdentity};

use super::support::server::{Answer, Server};
use super::support::{BoundedRuntime, BoundedSession, World, binding, identity, ms, s, within};

/// A source that connects ahead to the server.
#[derive(Clone)]
struct Dialler(Arc<Inner>);

struct Inner {
    server: Server,
    conduct: Mutex<Conduct>,
    asked: AtomicUsize,
    /// Connections that stand, or are being established.
    open: AtomicUsize,
    /// Requests over a connection that stood.
    over: AtomicUsize,
}

/// The reaction to each request to connect.
#[derive(Clone, Copy)]
enum Conduct {
    Connect,
    Fail(NotSent),
    Hang,
    Panic,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialler")
    }
}

/// A connection, until it is dropped.
struct Line(Dialler);

impl Line {
    fn open(dialler: &Dialler) -> Self {
        dialler.0.open.fetch_add(1, Ordering::SeqCst);
        Self(dialler.clone())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

#[async_trait]
impl SourceConnection for Line {
    async fn request(self: Box<Self>, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        self.0.0.over.fetch_add(1, Ordering::SeqCst);
        self.0.0.server.request(identity, request).await
    }
}

#[async_trait]
impl TokenSource for Dialler {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn connect(
        &self,
        _identity: &ServerIdentity,
        grant: &Grant,
    ) -> Result<Option<Box<dyn SourceConnection>>, NotSent> {
        assert_eq!(grant.binding.token_endpoint, binding().token_endpoint);
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let line = Line::open(self);
        let conduct = *self.0.conduct.lock().expect("nothing panics in here");
        match conduct {
            Conduct::Connect => Ok(Some(Box::new(line))),
            Conduct::Fail(why) => Err(why),
            Conduct::Hang => std::future::pending().await,
            Conduct::Panic => panic!("a source that was told to panic"),
        }
    }

    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        self.0.server.request(identity, request).await
    }

    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked> {
        self.0.server.revoke(identity, revocation).await
    }
}

/// A session whose access token has expired.
struct Scene {
    world: World,
    dialler: Dialler,
    runtime: BoundedRuntime,
    session: BoundedSession,
}

impl Scene {
    async fn new(conduct: Conduct) -> Self {
        let world = World::new();
        let dialler = Dialler(Arc::new(Inner {
            server: world.server.clone(),
            conduct: Mutex::new(conduct),
            asked: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            over: AtomicUsize::new(0),
        }));
        let settings = Settings { policy: world.policy.clone(), ..Settings::new(Arc::new(dialler.clone())) };
        let builder = world.builder_with(Arc::new(world.store.clone()), settings);
        let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.expect("a runtime"));
        let session = world.signed_in(&runtime, 0).await;
        world.expire().await;
        Self { world, dialler, runtime, session }
    }

    fn conducts(&self, conduct: Conduct) {
        *self.dialler.0.conduct.lock().expect("nothing panics in here") = conduct;
    }

    /// The connections that were asked for, those that are open, and the requests over one.
    fn counts(&self) -> (usize, usize, usize) {
        let count = |number: &AtomicUsize| number.load(Ordering::SeqCst);
        (count(&self.dialler.0.asked), count(&self.dialler.0.open), count(&self.dialler.0.over))
    }

    async fn record(&self) -> Record {
        self.world.store.load(&identity(0)).await.expect("a store").map(|record| *record).expect("a record")
    }

    /// Asks for a token, and takes the first failure.
    async fn fails(&self) -> Reason {
        let options = TokenOptions { fail_fast: true, ..TokenOptions::default() };
        self.session.token_with(options).await.expect_err("a failure").reason()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_over_the_connection_that_stood_before_its_mark() {
    let scene = Scene::new(Conduct::Connect).await;
    scene.session.token().await.expect("a lease");
    assert_eq!(scene.counts(), (1, 0, 1));
    scene.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_costs_no_write() {
    let cases = [
        (Conduct::Fail(NotSent::Unreachable), Reason::Unreachable),
        (Conduct::Fail(NotSent::Unbuildable), Reason::RequestRefused),
        (Conduct::Panic, Reason::Unreachable),
    ];
    for (conduct, reason) in cases {
        let scene = Scene::new(conduct).await;
        let before = scene.record().await;
        assert_eq!(scene.fails().await, reason);
        assert_eq!(scene.record().await, before);
        assert_eq!(scene.counts(), (1, 0, 0));
        scene.world.server.is_content_with(0);
        // The claim was released, and the token is whole.
        scene.conducts(Conduct::Connect);
        scene.world.clock.pass(s(5)).await;
        scene.session.token().await.expect("a lease");
        scene.world.server.is_content_with(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_stands_is_given_up_after_ten_seconds() {
    let scene = Scene::new(Conduct::Hang).await;
    let before = scene.record().await;
    assert_eq!(scene.fails().await, Reason::Unreachable);
    assert_eq!(scene.record().await, before);
    assert_eq!(scene.counts(), (1, 0, 0));
    scene.world.server.is_content_with(0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_connection() {
    let scene = Scene::new(Conduct::Hang).await;
    let before = scene.record().await;
    let session = scene.session.unbounded();
    let asking = tokio::spawn(async move { session.token().await });
    while scene.counts().0 == 0 {
        scene.world.clock.pass(ms(1)).await;
    }
    let report = scene.runtime.shutdown(s(5)).await;
    assert!(report.unsaved.is_empty());
    assert_eq!(
        within("the caller", asking).await.expect("no panic").expect_err("stopped").reason(),
        Reason::ShuttingDown
    );
    assert_eq!(scene.record().await, before);
    assert_eq!(scene.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_prompt_repeat_has_a_connection_of_its_own() {
    let scene = Scene::new(Conduct::Connect).await;
    scene.world.server.plans([Answer::LostBefore]);
    scene.session.token().await.expect("a lease");
    assert_eq!(scene.counts(), (2, 0, 2));
    scene.world.server.is_content_with(2);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_issuer_is_not_connected_to() {
    let scene = Scene::new(Conduct::Connect).await;
    scene.world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    assert_eq!(scene.fails().await, Reason::Throttled);
    let after = scene.record().await;
    assert_eq!(scene.fails().await, Reason::Throttled);
    assert_eq!(scene.record().await, after);
    assert_eq!(scene.counts(), (1, 0, 1));
    scene.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_that_begins_while_a_flight_waits_for_its_claim_costs_no_connection_and_no_write() {
    let scene = Scene::new(Conduct::Connect).await;
    let another = scene.world.signed_in(&scene.runtime, 1).await;
    scene.world.expire().await;
    let before = scene.record().await;
    let (store, scope) = (&scene.world.store, ClaimScope::Spend(before.epoch));
    let answer = store.claim(&identity(0), scope, FlightId(9), s(600)).await.expect("a store");
    let ClaimAnswer::Granted(claim) = answer else { panic!("{answer:?}") };
    let session = scene.session.unbounded();
    let options = TokenOptions { fail_fast: true, ..TokenOptions::default() };
    let asking = tokio::spawn(async move { session.token_with(options).await });
    scene.world.clock.pass(ms(500)).await;
    scene.world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    assert_eq!(another.token_with(options).await.expect_err("throttled").reason(), Reason::Throttled);
    store.end_claim(&identity(0), &claim, ClaimEnding::Released).await.expect("a store");
    let failure = within("the caller", asking).await.expect("no panic").expect_err("throttled");
    assert_eq!(failure.reason(), Reason::Throttled);
    assert_eq!(scene.record().await, before);
    assert_eq!(scene.counts(), (1, 0, 1), "the other identity's alone");
    scene.world.server.is_content_with(1);
}
