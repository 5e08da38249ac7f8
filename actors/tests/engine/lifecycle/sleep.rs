//! Sessions that sleep. They serve hits, wake for other calls, and see the changes of siblings.

use std::sync::Arc;

use futures_util::FutureExt;
use tokenkeeper_actors::ports::store::StoreEvent;
use tokenkeeper_actors::runtime::SessionSpec;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::issuer::IssuerKey;
use tokenkeeper_actors::values::{Lease, Reason};
use tokio::time::Instant;

use super::rig::{End, Rig, all_served, turns};
use crate::support::{BoundedRuntime, BoundedSession, World, identity, ms, refuse, s, within};

/// A time after which an unused session sleeps.
const SLEEPS: u64 = 61;

/// Another runtime on the same store, like that of another process.
pub(super) async fn sibling(world: &World) -> (BoundedRuntime, BoundedSession) {
    let builder = world.builder_over(Arc::new(world.store.process())).entropy(Entropy::seeded(8));
    let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.expect("a sibling"));
    let session = runtime.session(SessionSpec::new(identity(1)));
    (runtime, session)
}

/// Asserts that the rig's session serves `lease`, with and without a message.
async fn serves(rig: &Rig, lease: &Lease) {
    assert_eq!(rig.works().await, *lease);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_sleeps_serves_hits_and_wakes_on_a_miss() {
    let rig = Rig::new().await;
    let lease = rig.works().await;
    for rounds in 1..=10 {
        rig.world.clock.pass(s(SLEEPS)).await;
        assert!(rig.actor().is_none(), "it sleeps");
        for _ in 0..100 {
            rig.session.token().await.expect("a hit");
        }
        assert!(rig.actor().is_none(), "a hit wakes nobody");
        rig.world.expire().await;
        assert!(rig.actor().is_none(), "nor does expiry");
        all_served(rig.cohort()).await;
        assert!(rig.actor().is_some());
        rig.world.server.is_content_with(rounds);
    }
    assert_ne!(rig.works().await, lease);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_asked_is_not_asleep_and_one_in_flight_stays_awake() {
    let rig = Rig::new().await;
    for _ in 0..10 {
        rig.world.clock.pass(s(50)).await;
        rig.guest_asks().await.expect("a lease");
        assert!(rig.actor().is_some());
    }
    rig.world.server.takes(s(200));
    rig.world.expire().await;
    let caller = rig.calls();
    rig.takes_off().await;
    caller.abort();
    rig.world.clock.pass(s(150)).await;
    assert!(rig.actor().is_some(), "never one in flight");
    rig.world.clock.pass(s(60)).await;
    rig.works().await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_siblings_doings_reach_sessions_that_sleep_and_that_are_awake() {
    for asleep in [false, true] {
        let rig = Rig::new().await;
        let (_runtime, sibling) = sibling(&rig.world).await;
        let rest = || async {
            if asleep {
                rig.world.clock.pass(s(SLEEPS)).await;
                assert!(rig.actor().is_none());
            }
        };
        let first = rig.works().await;
        rest().await;
        // A rotation.
        refuse(&sibling, &first).await.expect("noted");
        let second = sibling.token().await.expect("a lease");
        assert!(second.generation().supersedes(&first.generation()));
        turns(50).await;
        serves(&rig, &second).await;
        rig.world.server.is_content_with(1);
        rest().await;
        // A login.
        sibling.install(rig.world.login()).await.expect("installed");
        let third = sibling.token().await.expect("a lease");
        turns(50).await;
        serves(&rig, &third).await;
        rest().await;
        // A logout.
        sibling.logout().await.expect("logged out");
        turns(50).await;
        rig.fails(Reason::LoggedOut).await;
        rest().await;
        // Another login.
        sibling.install(rig.world.login()).await.expect("installed");
        let fourth = sibling.token().await.expect("a lease");
        turns(50).await;
        serves(&rig, &fourth).await;
        assert_eq!((rig.world.server.requests(), rig.world.server.replays()), (1, 0));
    }
}

/// The session has given the first read up, and ignores its answer.
#[tokio::test(start_paused = true)]
async fn the_late_answer_of_an_earlier_read_puts_no_session_to_sleep() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    rig.works().await;
    rig.world.clock.pass(s(SLEEPS - 4)).await;
    rig.store.answers(false);
    sibling.logout().await.expect("logged out");
    // The first read times out after 5 s, and the second begins two seconds later at the latest.
    rig.world.clock.pass(s(8)).await;
    rig.store.answers_one_read();
    rig.world.clock.pass(s(2)).await;
    rig.store.answers(true);
    turns(50).await;
    rig.fails(Reason::LoggedOut).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_watch_hits_of_a_session_that_sleeps_go_the_slow_way() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    let first = rig.works().await;
    rig.world.clock.pass(s(SLEEPS)).await;
    assert!(rig.actor().is_none());
    rig.store.falls_silent();
    turns(50).await;
    // No event reports this refresh.
    refuse(&sibling, &first).await.expect("noted");
    let second = sibling.token().await.expect("a lease");
    serves(&rig, &second).await;
    rig.world.server.is_content_with(1);
    // The session sleeps again, and the watch is still lost.
    for _ in 0..5 {
        rig.world.clock.pass(s(SLEEPS + 10)).await;
        let known = rig.works().await;
        refuse(&sibling, &known).await.expect("noted");
        let newer = sibling.token().await.expect("a lease");
        rig.world.clock.pass(s(SLEEPS + 10)).await;
        serves(&rig, &newer).await;
    }
    rig.world.server.is_content_with(6);
    // A change that no watch reported is found once the store can be watched again.
    let known = rig.works().await;
    rig.world.clock.pass(s(SLEEPS)).await;
    refuse(&sibling, &known).await.expect("noted");
    let newer = sibling.token().await.expect("a lease");
    rig.store.speaks();
    rig.world.clock.pass(s(11)).await;
    serves(&rig, &newer).await;
    rig.world.clock.pass(s(SLEEPS)).await;
    assert!(rig.actor().is_none());
    assert_eq!(rig.session.token().await, Ok(newer), "a hit again");
    assert!(rig.actor().is_none());
    rig.world.server.is_content_with(7);
}

#[tokio::test(start_paused = true)]
async fn news_of_an_issuers_entry_wakes_no_session_and_ends_no_watch() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    let first = rig.works().await;
    rig.world.clock.pass(s(SLEEPS)).await;
    assert!(rig.actor().is_none());
    rig.store.says(StoreEvent::IssuerChanged(IssuerKey::from_key("metadata:https://as.example.com#").expect("a key")));
    turns(50).await;
    assert_eq!(rig.session.token().await, Ok(first.clone()), "a hit");
    assert!(rig.actor().is_none());
    // The watch goes on.
    refuse(&sibling, &first).await.expect("noted");
    let second = sibling.token().await.expect("a lease");
    turns(50).await;
    serves(&rig, &second).await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn with_the_watch_lost_a_session_that_is_awake_reads_again_and_again() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    let first = rig.works().await;
    rig.store.falls_silent();
    turns(50).await;
    refuse(&sibling, &first).await.expect("noted");
    let second = sibling.token().await.expect("a lease");
    rig.world.clock.pass(s(11)).await;
    serves(&rig, &second).await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_came_before_the_watch_started_again_is_found() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    let first = rig.works().await;
    // The watch is tried again after half a second, and a second after that.
    rig.store.falls_silent();
    turns(50).await;
    refuse(&sibling, &first).await.expect("noted");
    let second = sibling.token().await.expect("a lease");
    rig.store.speaks();
    assert_eq!(rig.session.token().await, Ok(first), "it knows nothing yet");
    rig.world.clock.pass(s(1)).await;
    assert!(rig.actor().is_some());
    serves(&rig, &second).await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_siblings_logout_that_is_heard_of_while_falling_asleep_is_not_slept_through() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    rig.works().await;
    rig.world.clock.pass(s(10)).await;
    // The event of the logout and the end of the idle minute come at the same time, the event first, so that it is in
    // the mailbox when the actor decides to end.
    rig.store.holds_news_until(Instant::now() + s(60));
    turns(50).await;
    rig.guest_asks().await.expect("a lease");
    sibling.logout().await.expect("logged out");
    rig.world.clock.pass(s(60) - ms(1)).await;
    assert!(matches!(rig.session.token().now_or_never(), Some(Ok(_))), "it knows nothing yet");
    rig.world.clock.pass(ms(1)).await;
    turns(50).await;
    assert!(rig.actor().is_none(), "it sleeps");
    rig.fails(Reason::LoggedOut).await;
}

#[tokio::test(start_paused = true)]
async fn a_siblings_logout_that_was_being_read_when_the_actor_ended_is_not_slept_through() {
    // A panic comes with the beginning of a read, and none begins beside the one that hangs.
    for end in [End::Drain, End::Stop, End::Kill] {
        let rig = Rig::new().await;
        let (_runtime, sibling) = sibling(&rig.world).await;
        rig.works().await;
        rig.store.answers(false);
        sibling.logout().await.expect("logged out");
        turns(50).await;
        rig.ends(end).await;
        turns(50).await;
        assert!(rig.session.token().now_or_never().is_none(), "{end:?}: no hit");
        rig.store.answers(true);
        rig.fails(Reason::LoggedOut).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_falls_asleep_while_the_watch_is_lost_serves_no_hit() {
    let rig = Rig::new().await;
    let (_runtime, sibling) = sibling(&rig.world).await;
    rig.store.falls_silent();
    turns(50).await;
    rig.works().await;
    rig.world.clock.pass(s(60)).await;
    turns(50).await;
    assert!(rig.actor().is_none(), "it sleeps");
    sibling.logout().await.expect("logged out");
    rig.fails(Reason::LoggedOut).await;
}

#[tokio::test(start_paused = true)]
async fn callers_race_a_session_that_falls_asleep() {
    for yields in 0..=40 {
        let rig = Rig::new().await;
        rig.world.clock.pass(s(59)).await;
        rig.world.clock.pass(s(1)).await;
        turns(yields).await;
        all_served(rig.cohort()).await;
        rig.works().await;
        rig.world.server.is_content_with(0);
    }
}
