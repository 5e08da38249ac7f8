//! Actors that panic at each start. Restarts are bounded. Callers wait for the next actor within their patience, or get an
//! error with a time to retry. The session recovers.

use std::time::Duration;

use tokenkeeper_actors::runtime::TokenOptions;
use tokenkeeper_actors::values::Reason;
use tokio::task::JoinHandle;

use super::hosts::Answer;
use super::rig::{End, Rig, all_served, answers, turns};
use crate::support::{ms, s};

#[tokio::test(start_paused = true)]
async fn an_actor_that_cannot_start_is_tried_once_a_while_and_hasty_callers_are_told_when() {
    let rig = Rig::new().await;
    rig.ends(End::Kill).await;
    turns(50).await;
    rig.world.expire().await;
    rig.ends(End::Drain).await;
    rig.spawner.panics(1_000);
    for round in 1..=20 {
        let before = rig.spawner.panics_left();
        for answer in answers(hasty(&rig)).await {
            let error = answer.expect_err("nobody can answer");
            assert_eq!(error.reason(), Reason::Aborted, "round {round}");
            let wait = error.retry_after().expect("a time");
            assert!(wait > Duration::ZERO && wait <= s(60));
        }
        let tried = before - rig.spawner.panics_left();
        assert!(tried <= 7, "{tried} starts for one pause");
        // While the session pauses, calls start no actor, however many there are.
        let before = rig.spawner.panics_left();
        for _ in 0..10 {
            let told = answers(hasty(&rig)).await;
            assert!(told.iter().all(|answer| answer.is_err()));
        }
        assert!(before - rig.spawner.panics_left() <= 1);
        rig.world.clock.pass(s(1)).await;
    }
    rig.spawner.panics(0);
    rig.world.clock.pass(s(61)).await;
    all_served(rig.cohort()).await;
    rig.works().await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_cannot_start_in_mid_flight_leaves_the_flight_alone() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(3));
    rig.world.expire().await;
    let cohort = rig.cohort();
    rig.takes_off().await;
    // The flight itself spawns nothing before it reports.
    rig.ends(End::Kill).await;
    rig.spawner.panics(1_000);
    rig.ends(End::Kill).await;
    turns(100).await;
    rig.spawner.panics(0);
    let told = answers(cohort).await;
    assert!(told.iter().all(|answer| match answer {
        Ok(lease) => rig.world.server.accepts(lease),
        Err(error) => error.reason() == Reason::Aborted && error.retry_after().is_some(),
    }));
    rig.world.clock.pass(s(10)).await;
    rig.works().await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_again_and_again_is_given_a_rest_and_works_afterwards() {
    let rig = Rig::new().await;
    let lease = rig.works().await;
    let mut ended = 0;
    // The actor is restarted at once for a bounded number of times in a row.
    while let Some(_actor) = rig.actor() {
        rig.ends(End::Panic).await;
        ended += 1;
        turns(20).await;
        assert!(ended < 100, "no end of restarts");
    }
    assert_eq!(ended, 6);
    // Its lease is not served meanwhile, because events of the store are lost without an actor.
    for answer in answers(hasty(&rig)).await {
        let error = answer.expect_err("nobody is there");
        assert_eq!((error.reason(), error.retry_after()), (Reason::Aborted, Some(s(1))));
    }
    // Callers with patience wait for the next actor.
    let waiting = rig.cohort();
    turns(50).await;
    assert!(waiting.iter().all(|caller| !caller.is_finished()));
    rig.world.clock.pass(s(1)).await;
    assert_eq!(all_served(waiting).await, lease);
    assert_eq!(rig.works().await, lease);
    rig.world.server.is_content_with(0);
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_an_actor_are_answered_by_their_deadline_or_before() {
    let rig = Rig::new().await;
    rig.ends(End::Kill).await;
    turns(50).await;
    rig.world.expire().await;
    rig.ends(End::Drain).await;
    rig.spawner.panics(1_000);
    // The pauses are 1, 2, 4, 8 and 16 s. The last one would end after the callers' 30 s.
    let waiting = rig.cohort();
    rig.world.clock.pass(s(14)).await;
    assert!(waiting.iter().all(|caller| !caller.is_finished()));
    rig.world.clock.pass(s(1)).await;
    for answer in answers(waiting).await {
        let error = answer.expect_err("no actor starts in time");
        assert_eq!((error.reason(), error.retry_after()), (Reason::Aborted, Some(s(16))));
    }
    rig.spawner.panics(0);
    rig.world.clock.pass(s(16)).await;
    rig.works().await;
    rig.world.server.is_content_with(1);
}

/// Callers that take the first failure.
fn hasty(rig: &Rig) -> Vec<JoinHandle<Answer>> {
    let hasty = TokenOptions { fail_fast: true, ..TokenOptions::default() };
    let short = TokenOptions { timeout: ms(500), ..TokenOptions::default() };
    [hasty, short, hasty, short]
        .map(|options| {
            let session = rig.session.clone();
            tokio::spawn(async move { session.token_with(options).await })
        })
        .into()
}

#[tokio::test(start_paused = true)]
async fn ends_that_are_far_apart_are_not_in_a_row() {
    let rig = Rig::new().await;
    for _ in 0..20 {
        assert!(rig.actor().is_some());
        rig.ends(End::Kill).await;
        turns(20).await;
        rig.world.clock.pass(s(61)).await;
        rig.works().await;
        // Wakes the session, if it slept.
        let _ = rig.guest_asks().await;
    }
    rig.world.server.is_content_with(0);
}
