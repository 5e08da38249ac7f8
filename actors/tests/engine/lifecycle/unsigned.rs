//! Sessions that only a login can help. They sleep, also where they are kept warm, and news of the store wakes them.

use tokenkeeper_actors::law::ledger::Login;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::ports::store::StoreEvent;
use tokenkeeper_actors::runtime::SessionSpec;
use tokenkeeper_actors::values::Reason;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::rig::{End, Rig, turns};
use super::sleep::sibling;
use crate::support::server::Answer;
use crate::support::{BoundedRuntime, BoundedSession, World, identity, ms, s};

/// A time after which an unused session sleeps.
const SLEEPS: u64 = 61;

/// The early window begins 150 s before expiry at the latest.
const LATEST: u64 = 150;

const WARM: RefreshPolicy = RefreshPolicy::KeepWarm { inactivity: None };

async fn rig(refresh: RefreshPolicy) -> Rig {
    let mut world = World::new();
    world.policy = Policy { refresh, ..Policy::default() };
    world.server.takes(s(1));
    Rig::of(world, |builder| builder).await
}

/// Why only a login helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    LoggedOut,
    GrantEnded,
    /// The answer was lost, and the login says never to present its token again.
    NeverReplay,
}

impl Need {
    const ALL: [Need; 3] = [Need::LoggedOut, Need::GrantEnded, Need::NeverReplay];

    /// Brings it about.
    async fn arises(self, rig: &Rig) -> Reason {
        match self {
            Need::LoggedOut => {
                rig.session.logout().await.expect("logged out");
                Reason::LoggedOut
            }
            Need::GrantEnded => {
                // The answer is lost, and the server takes the second presentation for theft.
                rig.world.server.plans([Answer::LostAfter]);
                rig.world.expire().await;
                Reason::GrantEnded
            }
            Need::NeverReplay => {
                let mut login = rig.world.login();
                login.renewal.never_replay = true;
                rig.session.install(login).await.expect("installed");
                rig.world.server.plans([Answer::LostAfter]);
                rig.world.expire().await;
                Reason::MaybeConsumed
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_needs_a_login_sleeps_however_it_is_refreshed() {
    for need in Need::ALL {
        for refresh in [RefreshPolicy::OnDemand, RefreshPolicy::WhileInUse, WARM] {
            let rig = rig(refresh).await;
            let reason = need.arises(&rig).await;
            rig.fails(reason).await;
            let requests = rig.world.server.requests();
            rig.world.clock.pass(s(SLEEPS)).await;
            assert!(rig.actor().is_none(), "{need:?} {refresh:?}: it sleeps");
            rig.world.clock.pass(s(86_400)).await;
            assert!(rig.actor().is_none(), "{need:?} {refresh:?}: and sleeps on");
            rig.fails(reason).await;
            assert_eq!(rig.world.server.requests(), requests, "{need:?} {refresh:?}");
            // The login wakes it.
            rig.session.install(rig.world.login()).await.expect("installed");
            rig.works().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_only_a_login_can_replace_keeps_no_session_awake() {
    for refresh in [RefreshPolicy::OnDemand, RefreshPolicy::WhileInUse, WARM] {
        let rig = rig(refresh).await;
        let (_runtime, sibling) = sibling(&World { policy: Policy::default(), ..rig.world.clone() }).await;
        // Without a refresh token, and with a lease that is good for an hour.
        let login = Login { refresh: None, ..rig.world.login() };
        sibling.install(login).await.expect("installed");
        turns(50).await;
        let lease = rig.works().await;
        rig.world.clock.pass(s(SLEEPS)).await;
        assert!(rig.actor().is_none(), "{refresh:?}: it sleeps");
        assert_eq!(rig.session.token().await, Ok(lease), "{refresh:?}: a hit");
        assert!(rig.actor().is_none(), "{refresh:?}: a hit wakes no actor");
        rig.world.expire().await;
        rig.fails(Reason::NotRefreshable).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_siblings_login_wakes_a_session_that_is_kept_warm() {
    for need in Need::ALL {
        let rig = rig(WARM).await;
        let (_runtime, sibling) = sibling(&World { policy: Policy::default(), ..rig.world.clone() }).await;
        let reason = need.arises(&rig).await;
        rig.fails(reason).await;
        rig.world.clock.pass(s(SLEEPS)).await;
        assert!(rig.actor().is_none(), "{need:?}: it sleeps");
        let requests = rig.world.server.requests();
        sibling.install(rig.world.login()).await.expect("installed");
        turns(50).await;
        assert!(rig.actor().is_some(), "{need:?}: it is awake");
        assert!(rig.session.state().lease.is_some(), "{need:?}: it has read the record");
        rig.world.clock.pass(rig.world.server.lifetime() - s(LATEST - 2)).await;
        assert_eq!(rig.world.server.requests(), requests + 1, "{need:?}: it is refreshed early, without a caller");
    }
}

/// A session on demand that is logged out, and a sibling.
async fn logged_out() -> (Rig, BoundedRuntime, BoundedSession) {
    let rig = rig(RefreshPolicy::OnDemand).await;
    let (runtime, sibling) = sibling(&rig.world).await;
    rig.session.logout().await.expect("logged out");
    (rig, runtime, sibling)
}

#[tokio::test(start_paused = true)]
async fn news_wakes_a_session_whose_state_is_followed_and_no_other() {
    for follows in [true, false] {
        let (rig, _runtime, sibling) = logged_out().await;
        // A reader that is gone does not count.
        let mut watch = Some(rig.session.watch()).filter(|_| follows);
        rig.world.clock.pass(s(SLEEPS)).await;
        assert!(rig.actor().is_none(), "it sleeps");
        sibling.install(rig.world.login()).await.expect("installed");
        turns(50).await;
        assert_eq!(rig.actor().is_some(), follows);
        if let Some(watch) = &mut watch {
            let mut state = watch.now();
            while state.lease.is_none() {
                state = watch.next().await.expect("a state");
            }
            assert_eq!(state.login_required, None);
            rig.world.clock.pass(s(SLEEPS)).await;
            assert!(rig.actor().is_none(), "it sleeps again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn news_that_comes_while_an_actor_ends_reaches_those_who_follow_the_state() {
    // The event comes some turns after the idle minute is over. By then the actor is still awake, is ending, or has ended.
    for yields in 0..=20 {
        let (rig, _runtime, sibling) = logged_out().await;
        let mut watch = rig.session.watch();
        rig.store.holds_news_until(Instant::now() + s(86_400));
        turns(50).await;
        sibling.install(rig.world.login()).await.expect("installed");
        rig.world.clock.pass(s(60) - ms(1)).await;
        assert!(rig.actor().is_some());
        rig.world.clock.pass(ms(1)).await;
        turns(yields).await;
        assert_eq!(watch.now().lease, None, "{yields} turns: it knows nothing yet");
        rig.store.says(StoreEvent::Changed(identity(1)));
        turns(100).await;
        assert_ne!(watch.now().lease, None, "{yields} turns");
    }
    // It is in the mailbox when the actor decides to end.
    let (rig, _runtime, sibling) = logged_out().await;
    let mut watch = rig.session.watch();
    rig.world.clock.pass(s(10)).await;
    rig.store.holds_news_until(Instant::now() + s(60));
    turns(50).await;
    rig.fails(Reason::LoggedOut).await;
    sibling.install(rig.world.login()).await.expect("installed");
    rig.world.clock.pass(s(60)).await;
    turns(100).await;
    assert_ne!(watch.now().lease, None);
}

#[tokio::test(start_paused = true)]
async fn news_that_was_being_read_when_the_actor_ended_reaches_those_who_follow_the_state() {
    // A panic comes with the beginning of a read, and none begins beside the one that hangs.
    for end in [End::Drain, End::Stop, End::Kill] {
        let (rig, _runtime, sibling) = logged_out().await;
        let mut watch = rig.session.watch();
        rig.store.answers(false);
        sibling.install(rig.world.login()).await.expect("installed");
        turns(50).await;
        rig.ends(end).await;
        turns(50).await;
        assert_eq!(watch.now().lease, None, "{end:?}: the record cannot be read");
        rig.store.answers(true);
        turns(100).await;
        assert_ne!(watch.now().lease, None, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_grows_again_tells_what_happened_meanwhile() {
    for refresh in [RefreshPolicy::OnDemand, WARM] {
        let rig = rig(refresh).await;
        let (_runtime, sibling) = sibling(&World { policy: Policy::default(), ..rig.world.clone() }).await;
        rig.session.logout().await.expect("logged out");
        let mut watch = rig.session.watch();
        rig.world.clock.pass(s(SLEEPS)).await;
        assert!(rig.actor().is_none(), "it sleeps");
        rig.fells().await;
        sibling.install(rig.world.login()).await.expect("installed");
        turns(50).await;
        assert_eq!(watch.now().lease, None, "{refresh:?}: without a tree there is no watch");
        rig.grows_again().await;
        turns(100).await;
        assert_ne!(watch.now().lease, None, "{refresh:?}");
        assert!(rig.actor().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn many_sessions_that_need_a_login_cost_neither_actors_nor_tasks() {
    const SESSIONS: usize = 2_000;
    let rig = rig(WARM).await;
    rig.session.logout().await.expect("logged out");
    rig.world.clock.pass(s(SLEEPS)).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let actors = || rig.supervisor().get_children().len();
    let before = (tasks(), actors());
    assert_eq!(before.1, 0);
    let mut sessions = Vec::new();
    for number in 2..SESSIONS + 2 {
        let session = rig.runtime.session(SessionSpec::new(identity(number)));
        // Half of them were signed in once.
        if number % 2 == 0 {
            session.install(rig.world.login()).await.expect("installed");
            session.logout().await.expect("logged out");
        }
        assert!(session.token().await.is_err());
        sessions.push(session);
    }
    assert_eq!(actors(), SESSIONS);
    rig.world.clock.pass(s(SLEEPS)).await;
    assert_eq!((tasks(), actors()), before);
    assert_eq!(rig.runtime.session_count(), SESSIONS + 1);
}
