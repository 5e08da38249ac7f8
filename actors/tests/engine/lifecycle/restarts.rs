//! Actors that panic at each start. Restarts are bounded, the errors of callers carry a time to retry, and the session
//! recovers.

use std::time::Duration;

use tokenkeeper_actors::values::Reason;

use super::rig::{End, Rig, all_served, answers, turns};
use crate::support::s;

#[tokio::test(start_paused = true)]
async fn an_actor_that_cannot_start_is_tried_once_a_while_and_callers_are_told_when() {
    let rig = Rig::new().await;
    rig.ends(End::Kill).await;
    turns(50).await;
    rig.world.expire().await;
    rig.ends(End::Drain).await;
    rig.spawner.panics(1_000);
    for round in 1..=20 {
        let before = rig.spawner.panics_left();
        for answer in answers(rig.cohort()).await {
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
            let told = answers(rig.cohort()).await;
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
    for answer in [rig.session.token().await, rig.guest_asks().await] {
        let error = answer.expect_err("nobody is there");
        assert_eq!((error.reason(), error.retry_after()), (Reason::Aborted, Some(s(1))));
    }
    rig.world.clock.pass(s(2)).await;
    assert_eq!(rig.works().await, lease);
    rig.world.server.is_content_with(0);
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
