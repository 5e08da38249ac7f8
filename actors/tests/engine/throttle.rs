//! The pauses of an issuer, which hold for all its identities, clocks that step, and machines that are suspended.

use futures_util::future::join_all;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::runtime::TokenOptions;
use tokenkeeper_actors::values::Reason;

use super::support::server::Answer;
use super::support::{BoundedSession, World, each_within, ms, s};

const IDENTITIES: usize = 300;

async fn signed_in(world: &World) -> Vec<BoundedSession> {
    let runtime = world.runtime().await;
    join_all((0..IDENTITIES).map(|number| world.signed_in(&runtime, number))).await
}

fn within(timeout: u64) -> TokenOptions {
    TokenOptions { timeout: s(timeout), ..TokenOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn an_issuers_word_holds_every_identity_back() {
    let world = World::new();
    let sessions = signed_in(&world).await;
    world.expire().await;
    world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    let told = sessions[0].token().await.expect_err("told off");
    assert_eq!((told.reason(), told.retry_after()), (Reason::Throttled, Some(s(60))));
    let began = world.clock.moment().elapsed;
    // A caller whose time-out is shorter than the pause fails at once.
    for answer in join_all(sessions.iter().map(|session| session.token_with(within(30)))).await {
        let told = answer.expect_err("told off");
        assert_eq!(told.reason(), Reason::Throttled);
        assert!(told.retry_after().is_some_and(|span| span <= s(60) && span >= s(59)), "{told:?}");
    }
    assert!(world.clock.moment().elapsed.since(began) < ms(500), "at once");
    world.server.is_content_with(1);
    // A caller with a longer time-out waits, and is served after the pause. No request is sent before.
    let patient: Vec<_> = sessions
        .iter()
        .cloned()
        .map(|session| tokio::spawn(async move { session.token_with(within(600)).await }))
        .collect();
    world.clock.pass(s(59)).await;
    world.server.is_content_with(1);
    for answer in join_all(patient).await {
        answer.expect("no panic").expect("a lease");
    }
    world.server.is_content_with(1 + IDENTITIES);
    assert!(world.server.most_in_flight() <= 8, "a few at a time");
}

#[tokio::test(start_paused = true)]
async fn the_pause_before_a_flights_own_repeat_holds_back_the_other_identities() {
    let world = World::new();
    let runtime = world.runtime().await;
    let (one, other) = (world.signed_in(&runtime, 1).await, world.signed_in(&runtime, 2).await);
    world.expire().await;
    world.server.plans([Answer::Refuse(503, Some(s(4)))]);
    let asks = |session: &BoundedSession| {
        let session = session.unbounded();
        tokio::spawn(async move { session.token_with(within(30)).await })
    };
    let first = asks(&one);
    world.clock.pass(s(1)).await;
    world.server.is_content_with(1);
    // One caller cannot wait, and one can.
    let told = other.token_with(within(2)).await.expect_err("told off");
    assert_eq!((told.reason(), told.retry_after()), (Reason::Throttled, Some(s(3))));
    let second = asks(&other);
    world.clock.pass(s(2)).await;
    world.server.is_content_with(1);
    for answer in each_within("a caller's answer", [first, second]).await {
        answer.expect("no panic").expect("a lease");
    }
    world.server.is_content_with(3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_still_lives_is_served_through_a_throttle() {
    let world = World::new();
    let sessions = signed_in(&world).await;
    // In the early window each caller would like a newer token, and has a valid one.
    world.clock.pass(world.server.lifetime() - s(30)).await;
    world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    sessions[0].token().await.expect("a lease");
    world.clock.pass(s(1)).await;
    world.server.is_content_with(1);
    for session in &sessions {
        session.token().await.expect("a lease");
    }
    world.clock.pass(s(1)).await;
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn after_eight_hours_of_sleep_background_work_is_spread() {
    let mut world = World::new();
    world.policy = Policy { refresh: RefreshPolicy::KeepWarm { inactivity: None }, ..Policy::default() };
    let sessions = signed_in(&world).await;
    world.clock.suspend(s(8 * 3_600));
    let mut made = Vec::new();
    for _ in 0..60 {
        world.clock.pass(s(1)).await;
        made.push(world.server.requests());
    }
    assert_eq!(*made.last().expect("a minute"), IDENTITIES, "each was refreshed once");
    let most = made.windows(2).map(|pair| pair[1] - pair[0]).max().expect("a minute");
    assert!(most <= IDENTITIES / 10, "at most {most} in a second");
    world.server.is_content_with(IDENTITIES);
    // Each session has a valid token now, which a caller gets at once.
    for session in &sessions {
        assert!(world.server.accepts(&session.token().await.expect("a lease")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_extends_nothing() {
    let world = World::new();
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    let lease = session.token().await.expect("a lease");
    world.clock.pass(s(1_800)).await;
    world.clock.step_wall(-3_600_000);
    assert_eq!(session.token().await.expect("a lease"), lease, "it has half an hour left");
    world.clock.pass(s(1_800)).await;
    assert!(session.token().await.expect("a lease").generation().supersedes(&lease.generation()));
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_in_the_sleep_is_not_served_after_it() {
    let world = World::new();
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    let lease = session.token().await.expect("a lease");
    world.clock.suspend(s(8 * 3_600));
    assert!(session.token().await.expect("a lease").generation().supersedes(&lease.generation()));
    world.server.is_content_with(1);
}
