//! Any number of callers at once cause one token request, and all of them get its token.

use std::time::Duration;

use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey, Policy, RefreshPolicy};
use tokenkeeper_actors::values::Lease;
use tokio::task::JoinHandle;

use super::support::{BoundedSession, World, each_within, ms, s};

fn asks(session: &BoundedSession) -> JoinHandle<Lease> {
    let session = session.unbounded();
    tokio::spawn(async move { session.token().await.expect("a lease") })
}

/// A caller that invalidates `lease` after `late`, and asks for another token.
fn is_refused(session: &BoundedSession, lease: &Lease, late: Duration) -> JoinHandle<Lease> {
    let (session, lease) = (session.unbounded(), lease.clone());
    tokio::spawn(async move {
        tokio::time::sleep(late).await;
        session.invalidate(&lease, OperationKey(0), ChallengeKey(0)).await.expect("noted");
        session.token().await.expect("a lease")
    })
}

/// Asserts that all callers got the same token.
async fn all_share_one(tasks: impl IntoIterator<Item = JoinHandle<Lease>>) -> Lease {
    let leases = each_within("a caller's answer", tasks).await;
    let leases: Vec<Lease> = leases.into_iter().map(|lease| lease.expect("no panic")).collect();
    let first = leases.first().expect("somebody asked").clone();
    assert!(leases.iter().all(|lease| *lease == first), "one token for all");
    first
}

#[tokio::test(start_paused = true)]
async fn at_expiry_one_request_serves_all() {
    for callers in [32, 1_000, 10_000] {
        let world = World::new();
        world.server.takes(s(1));
        let runtime = world.runtime().await;
        let session = world.signed_in(&runtime, 1).await;
        for expiries in 1..=20 {
            world.expire().await;
            all_share_one((0..callers).map(|_| asks(&session))).await;
            world.server.is_content_with(expiries);
        }
        assert!(runtime.shutdown(s(5)).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn refused_all_at_once_one_request_serves_all() {
    for callers in [32, 1_000, 10_000] {
        let world = World::new();
        world.server.takes(s(1));
        let runtime = world.runtime().await;
        let session = world.signed_in(&runtime, 1).await;
        for refusals in 1..=20 {
            let lease = session.token().await.expect("a lease");
            let newer = all_share_one((0..callers).map(|_| is_refused(&session, &lease, s(0)))).await;
            assert!(newer.generation().supersedes(&lease.generation()));
            world.server.is_content_with(refusals);
            // A second refusal soon after the first one is futile (law 11), so a minute passes first.
            world.clock.pass(s(60)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_during_an_early_refresh_are_content_with_it() {
    let mut world = World::new();
    world.policy = Policy { refresh: RefreshPolicy::KeepWarm { inactivity: None }, ..Policy::default() };
    world.server.takes(s(2));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    for refreshes in 1..=20 {
        let lease = session.token().await.expect("a lease");
        world.takes_off(s(1)).await;
        let newer = all_share_one((0..1_000).map(|_| is_refused(&session, &lease, s(0)))).await;
        assert!(newer.generation().supersedes(&lease.generation()));
        world.server.is_content_with(refreshes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_kills_the_old_token_each_time_is_asked_once_each_time() {
    let world = World::new();
    world.server.takes(s(1));
    world.server.kills_old();
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    for refreshes in 1..=20 {
        let lease = session.token().await.expect("a lease");
        assert!(world.server.accepts(&lease));
        // One caller forces a refresh, which kills the token that the others hold. When they report their refusals, the
        // newer token is there.
        let force = tokenkeeper_actors::runtime::TokenOptions { force: true, ..Default::default() };
        session.token_with(force).await.expect("a lease");
        assert!(!world.server.accepts(&lease));
        let newer = all_share_one((0..1_000).map(|_| is_refused(&session, &lease, s(0)))).await;
        assert!(world.server.accepts(&newer));
        world.server.is_content_with(refreshes);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_that_arrive_late_get_what_is_there() {
    let world = World::new();
    world.server.takes(s(1));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    for refreshes in 1..=20 {
        let lease = session.token().await.expect("a lease");
        let late = (0..1_000).map(|number| is_refused(&session, &lease, ms(number * 13)));
        let newer = all_share_one(late.collect::<Vec<_>>()).await;
        assert!(newer.generation().supersedes(&lease.generation()));
        world.server.is_content_with(refreshes);
        world.clock.pass(s(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_valid_lease_is_not_delayed_by_a_flight() {
    let world = World::new();
    world.server.takes(s(1));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    // In the early window a caller starts a refresh, and is served at once.
    world.clock.pass(world.server.lifetime() - s(60)).await;
    let began = world.clock.moment().elapsed;
    let lease = session.token().await.expect("a lease");
    world.takes_off(ms(1)).await;
    for _ in 0..100 {
        assert_eq!(session.token().await.expect("a lease"), lease);
    }
    assert!(world.clock.moment().elapsed.since(began) < ms(100), "nobody waited for the flight");
    world.clock.pass(s(5)).await;
    assert!(session.token().await.expect("a lease").generation().supersedes(&lease.generation()));
    world.server.is_content_with(1);
}
