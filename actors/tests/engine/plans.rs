//! Which source renews an identity is read from its record, not from the handle that opened its session.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, TokenRequest};
use tokenkeeper_actors::law::ledger::Login;
use tokenkeeper_actors::law::profile::{Evidence, Profile, Profiles, Reuse, Tokens};
use tokenkeeper_actors::ports::source::{NotRevoked, TokenSource};
use tokenkeeper_actors::ports::store::{EventKind, TokenStore};
use tokenkeeper_actors::runtime::{AuthRuntime, SessionSpec};
use tokenkeeper_actors::values::{
    AccessToken, ConfigureError, ProviderName, Reason, RenewalPlan, ServerIdentity, SourceName, Spending, TokenKind,
    Validity,
};

use super::support::server::Answer;
use super::support::{TestClock, World, binding, identity, s, within};

/// A source that needs no login.
pub(crate) struct Robot {
    clock: TestClock,
    mints: AtomicUsize,
}

impl fmt::Debug for Robot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Robot")
    }
}

impl Robot {
    pub(crate) fn new(world: &World) -> Arc<Self> {
        Arc::new(Self { clock: world.clock.clone(), mints: AtomicUsize::new(0) })
    }

    pub(crate) fn mints(&self) -> usize {
        self.mints.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenSource for Robot {
    fn spending(&self) -> Spending {
        Spending::Repeatable
    }

    async fn request(&self, _identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        assert_eq!(request.refresh, None);
        let number = self.mints.fetch_add(1, Ordering::SeqCst) + 1;
        Evidence::Tokens(Box::new(Tokens {
            access: AccessToken::new(format!("robot-{number}")),
            kind: TokenKind::Bearer,
            validity: Validity::new(self.clock.moment(), Some(s(600))),
            refresh: None,
            granted: None,
            subject: None,
            binding: Some(Box::new(binding())),
        }))
    }

    async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> Result<(), NotRevoked> {
        Err(NotRevoked::NotOffered)
    }
}

pub(crate) fn robot() -> RenewalPlan {
    RenewalPlan::repeatable(SourceName::new("robot").expect("a name"))
}

async fn runtime(world: &World, robot: Option<&Arc<Robot>>, profiles: Profiles) -> AuthRuntime {
    let mut settings = world.settings();
    settings.profiles = profiles;
    if let Some(source) = robot {
        settings.sources = settings.sources.with(self::robot().source, Arc::clone(source) as _);
    }
    let builder = world.builder_with(Arc::new(world.store.clone()), settings);
    builder.spawn().await.expect("a runtime")
}

#[tokio::test(start_paused = true)]
async fn a_repeatable_identity_restarts_from_its_record_alone() {
    let (world, first) = (World::new(), Robot::new(&World::new()));
    let early = runtime(&world, Some(&first), Profiles::default()).await;
    let lease = early.session(SessionSpec::new(identity(1)).renewal(robot())).token().await.expect("a lease");
    assert_eq!(lease.token().expose(), "robot-1");
    assert!(early.shutdown(s(5)).await.is_clean());

    // Another runtime over the same store, opened with the bare identity.
    let second = Robot::new(&world);
    let late = runtime(&world, Some(&second), Profiles::default()).await;
    let session = late.session(identity(1));
    assert_eq!(session.token().await.expect("the stored lease").token().expose(), "robot-1");
    world.clock.pass(s(600)).await;
    assert_eq!(session.token().await.expect("a lease").generation().number, 2);
    assert_eq!((first.mints(), second.mints(), world.server.requests()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_record_outranks_the_plan_a_session_is_opened_with() {
    let (world, source) = (World::new(), Robot::new(&World::new()));
    let early = runtime(&world, None, Profiles::default()).await;
    world.signed_in(&early, 1).await;
    assert!(early.shutdown(s(5)).await.is_clean());
    let late = runtime(&world, Some(&source), Profiles::default()).await;
    world.expire().await;
    late.session(SessionSpec::new(identity(1)).renewal(robot())).token().await.expect("a lease");
    assert_eq!((source.mints(), world.server.requests()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_source_is_missing_is_left_alone_and_works_once_configured() {
    let world = World::new();
    let runtime = runtime(&world, None, Profiles::default()).await;
    let session = runtime.session(identity(1));
    let renamed = RenewalPlan { source: SourceName::new("renamed").expect("a name"), ..RenewalPlan::default() };
    session.install(Login { renewal: renamed, ..world.login() }).await.expect("installed");
    world.expire().await;
    let error = session.token().await.expect_err("no source");
    assert_eq!(error.reason(), Reason::SourceMissing);
    assert!(!error.is_transient() && !error.is_login_required());
    assert!(error.to_string().contains("no token source"), "{error}");
    assert_eq!(world.server.requests(), 0, "nothing is presented");
    assert!(!session.state().in_doubt, "nothing is marked");

    let view = session.configure(RenewalPlan::default()).await.expect("configured");
    assert_eq!(view.plan, Some(RenewalPlan::default()));
    session.token().await.expect("a lease");
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_in_the_record_decides_about_replays_in_every_runtime() {
    let name = || ProviderName::new("strict").expect("a name");
    let strict = Profile { reuse: Reuse::EndsMore, ..Profile::default() };
    let world = World::new();
    let early = runtime(&world, None, Profiles::default()).await;
    let session = early.session(identity(1));
    session.install(world.login()).await.expect("installed");
    session.configure(RenewalPlan::at(name())).await.expect("configured");
    assert!(early.shutdown(s(5)).await.is_clean());

    let late = runtime(&world, None, Profiles::default().with(name(), strict)).await;
    world.expire().await;
    world.server.plans([Answer::LostAfter]);
    let session = late.session(identity(1));
    assert_eq!(session.token().await.expect_err("in doubt").reason(), Reason::MaybeConsumed);
    world.clock.pass(s(3_600)).await;
    assert_eq!(session.token().await.expect_err("in doubt").reason(), Reason::MaybeConsumed);
    assert_eq!(world.server.requests(), 1, "presented once");
    // The journal has the line of the flight that lost the answer, and none for each look after it.
    assert!(late.shutdown(s(5)).await.is_clean());
    assert_eq!(ends(&world).await, [Some(Reason::MaybeConsumed)]);
    for _ in 0..3 {
        let strict = Profile { reuse: Reuse::EndsMore, ..Profile::default() };
        let later = runtime(&world, None, Profiles::default().with(name(), strict)).await;
        let session = later.session(identity(1));
        let mut events = later.events();
        assert_eq!(session.token().await.expect_err("in doubt").reason(), Reason::MaybeConsumed);
        let event = within("an event", events.next()).await.expect("a runtime").expect("nothing is lost");
        assert_eq!((event.kind, event.reason), (EventKind::Ended, Some(Reason::MaybeConsumed)), "a host learns of it");
        assert!(later.shutdown(s(5)).await.is_clean());
    }
    assert_eq!(ends(&world).await, [Some(Reason::MaybeConsumed)]);
    assert_eq!(world.server.requests(), 1, "presented once");
}

/// The reasons of the journal's lines about an end.
async fn ends(world: &World) -> Vec<Option<Reason>> {
    let journal = world.store.journal(&identity(1), usize::MAX).await.expect("a journal");
    journal.into_iter().filter(|line| line.kind == EventKind::Ended).map(|line| line.reason).collect()
}

#[tokio::test(start_paused = true)]
async fn configurations_are_taken_in_order_and_told_what_became_of_them() {
    let world = World::new();
    let runtime = runtime(&world, None, Profiles::default()).await;
    let session = runtime.session(identity(1));
    assert_eq!(session.configure(robot()).await.err(), Some(ConfigureError::NotSignedIn));
    let lease = world.signed_in(&runtime, 1).await.token().await.expect("a lease");
    session.configure(robot()).await.expect("configured");
    // The lease goes on being served.
    assert_eq!(session.token().await.expect("the same lease").generation(), lease.generation());
    session.logout().await.expect("logged out");
    assert_eq!(session.configure(robot()).await.err(), Some(ConfigureError::NotSignedIn));
    assert!(runtime.shutdown(s(5)).await.is_clean());
    assert_eq!(session.configure(robot()).await.err(), Some(ConfigureError::ShuttingDown));
}
