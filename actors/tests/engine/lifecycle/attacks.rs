//! Rows that were added later. Each comes from an attack on the runtime that lost a token, hung, or returned a wrong
//! answer.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::ports::store::StoreEvent;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{Epoch, Reason};

use super::rig::{End, Rig, all_served, answers, turns};
use super::tricks::Writing;
use crate::support::{BoundedRuntime, BoundedSession, World, identity, ms, refuse, s, within};

/// An unused session sleeps after a minute.
const SLEEPS: u64 = 60;

/// Sends a request, and drops its future before there is an answer.
fn sends_and_leaves<T>(asked: impl Future<Output = T>) {
    let mut asked = Box::pin(asked);
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

async fn sibling(world: &World) -> (BoundedRuntime, BoundedSession) {
    let builder = world.builder_over(Arc::new(world.store.process()));
    let runtime = within("a runtime", builder.entropy(Entropy::seeded(8)).spawn()).await.expect("a sibling");
    let runtime = BoundedRuntime::from(runtime);
    let session = runtime.session(identity(1));
    (runtime, session)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_when_it_is_to_save_loses_nothing() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.store.writes(Writing::CommitsPanic);
    let lease = all_served(rig.cohort()).await;
    assert!(rig.session.state().unsaved);
    rig.world.clock.pass(s(30)).await;
    assert!(rig.store.commits() > 1, "it is tried again");
    assert_eq!(rig.works().await, lease);
    rig.store.writes(Writing::Works);
    rig.world.clock.pass(s(61)).await;
    rig.is_settled().await;
    rig.world.server.is_content_with(1);
    rig.world.expire().await;
    rig.works().await;
    rig.world.server.is_content_with(2);
}

// A logout, a login or a refusal takes effect even if its caller has left.

#[tokio::test(start_paused = true)]
async fn a_logout_holds_though_whoever_asked_for_it_has_left() {
    for asleep in [false, true] {
        let rig = Rig::new().await;
        if asleep {
            rig.world.clock.pass(s(SLEEPS + 1)).await;
        }
        sends_and_leaves(rig.session.logout());
        turns(50).await;
        rig.fails(Reason::LoggedOut).await;
        assert!(rig.record().await.held().is_none(), "a tombstone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_though_whoever_told_of_it_has_left() {
    for asleep in [false, true] {
        for end in End::ALL {
            let rig = Rig::new().await;
            let refused = rig.works().await;
            if asleep {
                rig.world.clock.pass(s(SLEEPS + 1)).await;
            }
            sends_and_leaves(refuse(&rig.session, &refused));
            rig.ends(end).await;
            turns(50).await;
            assert!(rig.works().await.generation().supersedes(&refused.generation()));
            rig.world.server.is_content_with(1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_meets_a_session_falling_asleep_is_stored() {
    for yields in 0..=30 {
        let rig = Rig::new().await;
        rig.world.clock.pass(s(SLEEPS) - ms(1)).await;
        let (session, login) = (rig.session.clone(), rig.world.login());
        let tokio = tokio::spawn(async move {
            tokio::time::sleep(ms(1)).await;
            turns(yields).await;
            session.install(login).await
        });
        tokio.await.expect("no panic").expect("installed");
        assert_eq!(rig.record().await.epoch, Epoch::new(2));
        rig.works().await;
        rig.world.server.is_content_with(0);
    }
}

// No session serves a token that the store may have invalidated.

#[tokio::test(start_paused = true)]
async fn news_that_meet_a_session_falling_asleep_are_heard() {
    for yields in 0..=30 {
        let rig = Rig::new().await;
        let (_runtime, sibling) = sibling(&rig.world).await;
        sibling.token().await.expect("a lease");
        rig.works().await;
        rig.world.clock.pass(s(SLEEPS) - ms(1)).await;
        tokio::spawn(async move {
            tokio::time::sleep(ms(1)).await;
            turns(yields).await;
            sibling.logout().await
        });
        rig.world.clock.pass(ms(10)).await;
        turns(50).await;
        rig.fails(Reason::LoggedOut).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_could_not_read_what_changed_does_not_sleep_over_it() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    rig.store.answers(false);
    rig.store.says(StoreEvent::Changed(identity(1)));
    rig.world.clock.pass(s(SLEEPS + 10)).await;
    assert!(rig.actor().is_some());
    sibling.logout().await.expect("logged out");
    rig.store.answers(true);
    rig.world.clock.pass(s(10)).await;
    rig.fails(Reason::LoggedOut).await;
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_there_was_no_tree_is_known_to_the_next_one_at_once() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    rig.fells().await;
    sibling.logout().await.expect("logged out");
    rig.grows_again().await;
    rig.fails(Reason::LoggedOut).await;
}

#[tokio::test(start_paused = true)]
async fn issuers_that_were_listed_while_the_session_rested_are_heard() {
    let rig = Rig::new().await;
    rig.works().await;
    let rests = async {
        while rig.actor().is_some() {
            rig.ends(End::Panic).await;
            turns(20).await;
        }
    };
    within("an end of restarts", rests).await;
    rig.session.issuers_listed(vec![Issuer("https://other.example.com".to_owned())]);
    // There is no caller.
    rig.world.clock.pass(s(2)).await;
    assert_eq!(rig.session.state().lease, None);
    assert!(rig.session.token().await.expect_err("its issuer is listed no more").is_login_required());
    rig.world.server.is_content_with(0);
}

// Callers and shutdowns do not wait for work that no caller needs.

/// A session that is kept warm, after a suspend in which its token ended. A flight has begun, which gets its turn
/// within half a minute, and no caller has asked yet.
async fn kept_warm_and_resumed() -> Rig {
    let mut world = World::new();
    world.policy = Policy { refresh: RefreshPolicy::KeepWarm { inactivity: None }, ..Policy::default() };
    world.server.takes(s(1));
    let rig = Rig::of(world, |builder| builder).await;
    rig.world.clock.suspend(rig.world.server.lifetime() + s(60));
    let refreshes = async {
        while !rig.session.state().refreshing {
            rig.world.clock.pass(ms(100)).await;
        }
    };
    within("a flight", refreshes).await;
    assert_eq!(rig.world.server.in_flight(), 0);
    rig
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_resume_does_not_wait_for_the_spread() {
    let rig = kept_warm_and_resumed().await;
    let began = rig.world.clock.moment().elapsed;
    all_served(rig.cohort()).await;
    assert_eq!(rig.world.clock.moment().elapsed.since(began), s(1), "the server's second alone");
    rig.world.server.is_content_with(1);
    rig.world.clock.pass(s(60)).await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_leave_that_nobody_wants_any_more() {
    let rig = kept_warm_and_resumed().await;
    let began = rig.world.clock.moment().elapsed;
    assert!(rig.runtime.shutdown(s(30)).await.is_clean());
    assert!(rig.world.clock.moment().elapsed.since(began) < ms(100), "nothing was sent, nothing is waited for");
    rig.world.server.is_content_with(0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_ended_holds_a_shutdown_up_for_half_a_minute_at_most() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let caller = rig.calls();
    rig.takes_off().await;
    rig.store.answers(false);
    all_served([caller]).await;
    let began = rig.world.clock.moment().elapsed;
    assert!(rig.runtime.shutdown(s(600)).await.is_clean(), "what was obtained is saved");
    assert!(rig.world.clock.moment().elapsed.since(began) <= s(31));
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_to_the_address_at_the_end_is_answered() {
    for yields in 0..=20 {
        let rig = Rig::new().await;
        rig.world.expire().await;
        let cohort: Vec<_> = (0..8).map(|_| rig.writes()).collect();
        turns(yields).await;
        let (report, late) = tokio::join!(rig.runtime.shutdown(s(30)), answers((0..8).map(|_| rig.writes())));
        assert!(report.is_clean());
        for answer in answers(cohort).await.into_iter().chain(late) {
            if let Err(error) = answer {
                assert_eq!(error.reason(), Reason::ShuttingDown);
            }
        }
        let after = rig.guest_asks().await.map_err(|error| error.reason());
        assert_eq!(after, Err(Reason::ShuttingDown));
        rig.world.server.is_content_with(rig.world.server.requests().min(1));
    }
}
