//! A session that is in use refreshes in the early window of a lease that it handed out, without a waiting caller.

use futures_util::FutureExt;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::{Lease, Reason};

use super::rig::{End, Rig, all_served, turns};
use super::sleep::sibling;
use crate::support::server::Answer;
use crate::support::{World, refuse, s};

/// The early window begins between 300 s and 150 s before expiry.
const EARLIEST: u64 = 300;
const LATEST: u64 = 150;

async fn rig() -> Rig {
    let mut world = World::new();
    world.policy = Policy { refresh: RefreshPolicy::WhileInUse, ..Policy::default() };
    world.server.takes(s(1));
    Rig::of(world, |builder| builder).await
}

/// How a lease is used.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// A handle serves it, without a message.
    Hit,
    /// The actor serves it.
    Message,
}

impl Use {
    const ALL: [Use; 2] = [Use::Hit, Use::Message];

    async fn of(self, rig: &Rig) -> Lease {
        match self {
            Use::Hit => rig.session.token().now_or_never().expect("a hit"),
            Use::Message => rig.guest_asks().await,
        }
        .expect("a lease")
    }
}

/// Asserts that the session's lease, whose lifetime began just now, is refreshed in its early window, not before, and
/// without a caller.
async fn is_refreshed_early(rig: &Rig, story: &str) {
    let before = rig.world.server.requests();
    let left = rig.session.state().lease;
    rig.world.clock.pass(rig.world.server.lifetime() - s(EARLIEST + 100)).await;
    assert_eq!(rig.world.server.requests(), before, "{story}");
    rig.world.clock.pass(s(EARLIEST + 100 - LATEST + 1)).await;
    rig.world.server.is_content_with(before + 1);
    assert_ne!(rig.session.state().lease, left, "{story}");
}

/// Asserts that the lease is not refreshed within two lifetimes.
async fn is_left_alone(rig: &Rig) {
    let before = rig.world.server.requests();
    rig.world.clock.pass(2 * rig.world.server.lifetime()).await;
    rig.world.server.is_content_with(before);
    assert!(rig.actor().is_none(), "and it sleeps");
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_use_is_refreshed_in_its_early_window_with_no_caller_waiting() {
    for way in Use::ALL {
        let rig = rig().await;
        let lease = way.of(&rig).await;
        is_refreshed_early(&rig, &format!("{way:?}")).await;
        let newer = Use::Hit.of(&rig).await;
        assert!(newer.generation().supersedes(&lease.generation()));
        assert_eq!(rig.works().await, newer);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_in_use_is_left_alone() {
    let rig = rig().await;
    is_left_alone(&rig).await;
    rig.world.server.is_content_with(0);
}

#[tokio::test(start_paused = true)]
async fn use_is_counted_anew_for_each_lease() {
    let rig = rig().await;
    Use::Hit.of(&rig).await;
    is_refreshed_early(&rig, "the first").await;
    is_left_alone(&rig).await;
    // The callers of a flight use its token.
    all_served(rig.cohort()).await;
    is_refreshed_early(&rig, "the second").await;
    is_left_alone(&rig).await;
    rig.world.server.is_content_with(3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_sibling_obtained_is_not_in_use_until_it_is_used_here() {
    for used in [false, true] {
        let rig = rig().await;
        // The sibling refreshes only on demand.
        let (_runtime, sibling) = sibling(&World { policy: Policy::default(), ..rig.world.clone() }).await;
        let first = Use::Message.of(&rig).await;
        refuse(&sibling, &first).await.expect("noted");
        let second = sibling.token().await.expect("a lease");
        turns(50).await;
        assert_eq!(rig.session.state().lease.map(|(generation, _)| generation), Some(second.generation()));
        rig.world.server.is_content_with(1);
        if used {
            assert_eq!(Use::Hit.of(&rig).await, second);
            is_refreshed_early(&rig, "used").await;
        }
        is_left_alone(&rig).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_in_use_however_late_it_is_used() {
    for way in Use::ALL {
        let rig = rig().await;
        let actor = rig.actor().expect("awake").get_id();
        rig.world.clock.pass(s(1_000)).await;
        assert_eq!(rig.actor().map(|actor| actor.get_id()), Some(actor), "it has stayed awake to see the use");
        way.of(&rig).await;
        rig.world.clock.pass(rig.world.server.lifetime() - s(1_000 + LATEST - 1)).await;
        rig.world.server.is_content_with(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_use_is_refreshed_early_however_the_actor_ends() {
    for end in End::ALL {
        for way in Use::ALL {
            let rig = rig().await;
            way.of(&rig).await;
            rig.ends(end).await;
            is_refreshed_early(&rig, &format!("{end:?} {way:?}")).await;
            is_left_alone(&rig).await;
        }
    }
}

/// The end of a lease in use after which no refresh is due.
#[derive(Clone, Copy, Debug)]
enum Over {
    LoggedOut,
    /// The server has ended the grant, and its last token has expired.
    GrantEnded,
    /// The resource has refused the lease, and no caller has asked for another.
    Refused,
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_over_keeps_no_session_awake_though_it_was_in_use() {
    for over in [Over::LoggedOut, Over::GrantEnded, Over::Refused] {
        let rig = rig().await;
        let lease = Use::Hit.of(&rig).await;
        match over {
            Over::LoggedOut => drop(rig.session.logout().await.expect("logged out")),
            Over::GrantEnded => {
                // The answer to the early refresh is lost, and the server takes the next one for theft.
                rig.world.server.plans([Answer::LostAfter]);
                rig.world.expire().await;
                rig.fails(Reason::GrantEnded).await;
            }
            Over::Refused => refuse(&rig.session, &lease).await.expect("noted"),
        }
        let requests = rig.world.server.requests();
        rig.world.clock.pass(s(61)).await;
        assert!(rig.actor().is_none(), "{over:?}: it sleeps");
        rig.world.expire().await;
        assert_eq!(rig.world.server.requests(), requests, "{over:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_ends_within_the_early_window_is_followed_by_one_that_refreshes_what_is_in_use() {
    for end in End::ALL {
        let rig = rig().await;
        // The actor has begun to wait for the use, and ends after the window has begun.
        rig.world.clock.pass(rig.world.server.lifetime() - s(EARLIEST + 100)).await;
        Use::Hit.of(&rig).await;
        // The next attempt is not before 100 s before expiry.
        rig.world.server.plans([Answer::Refuse(429, Some(s(200)))]);
        rig.world.clock.pass(s(EARLIEST + 100 - LATEST + 1)).await;
        rig.world.server.is_content_with(1);
        rig.ends(end).await;
        rig.world.clock.pass(s(260)).await;
        rig.world.server.is_content_with(2);
        assert!(rig.session.state().lease.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_stays_awake_while_a_lease_in_use_waits_for_its_next_refresh() {
    let rig = rig().await;
    Use::Hit.of(&rig).await;
    rig.world.server.plans([Answer::Refuse(429, Some(s(600)))]);
    rig.world.clock.pass(rig.world.server.lifetime() - s(LATEST - 1)).await;
    rig.world.server.is_content_with(1);
    let actor = rig.actor().expect("awake").get_id();
    // Twice the time after which an idle actor ends.
    rig.world.clock.pass(s(120)).await;
    assert_eq!(rig.actor().map(|actor| actor.get_id()), Some(actor), "no other one was started");
}
