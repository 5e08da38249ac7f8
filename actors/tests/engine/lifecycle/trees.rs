//! The supervisor or its host ends, and a host starts the tree again.

use ractor::{Actor, ActorStatus};
use tokenkeeper_actors::values::{Reason, TokenError};

use super::hosts::DefaultHost;
use super::rig::{End, Rig, all_served, answers, turns};
use crate::support::calm::Calm;
use crate::support::{World, refuse, s, within};

/// More turns of the scheduler than a flight takes to reach the server.
const TURNS: usize = 60;

/// A rig under a host with ractor's default supervision.
async fn under_default_host() -> Rig {
    let (host, _) = within("a host", Actor::spawn(None, DefaultHost, ())).await.expect("a host");
    let world = World::new();
    world.server.takes(s(1));
    Rig::under(host.get_cell(), world, |builder| builder).await
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_killed_takes_no_flight_with_it_and_grows_again() {
    for yields in 0..=TURNS {
        let rig = Rig::brief().await;
        rig.world.expire().await;
        let cohort = rig.cohort();
        turns(yields).await;
        rig.fells().await;
        for answer in answers(cohort).await {
            let reason = answer.map_err(|error| error.reason());
            assert_eq!(reason, Err(Reason::NotRunning), "told at once, and why");
        }
        rig.fails(Reason::NotRunning).await;
        rig.grows_again().await;
        // If a flight was under way, it is still the only one.
        let lease = all_served(rig.cohort()).await;
        assert_eq!(rig.works().await, lease);
        rig.world.server.is_content_with(1);
        rig.world.clock.pass(s(1)).await;
        rig.is_settled().await;
    }
}

/// The actors of a tree that was killed end a little later than their supervisor.
#[tokio::test(start_paused = true)]
async fn a_request_to_an_actor_that_outlives_its_supervisor_is_answered() {
    for yields in 0..=20 {
        let rig = Rig::new().await;
        let supervisor = rig.supervisor();
        // Without a host its state is dropped before its actors end.
        supervisor.unlink(rig.host.clone());
        supervisor.kill();
        turns(yields).await;
        // Nobody else asks, so nothing else finds the request.
        let [answer] = &answers([rig.calls()]).await[..] else { panic!("one answer") };
        assert_eq!(answer.as_ref().map_err(TokenError::reason), Err(Reason::NotRunning), "after {yields} turns");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flight_without_a_tree_is_stored_and_found_by_the_next_one() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let cohort = rig.cohort();
    rig.takes_off().await;
    rig.fells().await;
    answers(cohort).await;
    rig.world.clock.pass(s(5)).await;
    rig.world.server.is_content_with(1);
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none());
    rig.fails(Reason::NotRunning).await;
    rig.grows_again().await;
    rig.works().await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_while_nobody_listens_to_the_store() {
    let rig = Rig::new().await;
    let lease = rig.works().await;
    rig.fells().await;
    rig.fails(Reason::NotRunning).await;
    assert_eq!(rig.guest_asks().await.map_err(|error| error.reason()), Err(Reason::NotRunning));
    assert_eq!(refuse(&rig.session, &lease).await.map_err(|error| error.reason()), Err(Reason::NotRunning));
    rig.grows_again().await;
    assert_eq!(rig.works().await, lease);
    refuse(&rig.session, &lease).await.expect("noted");
    assert!(rig.works().await.generation().supersedes(&lease.generation()));
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_not_served_by_a_tree_that_grew_again() {
    let rig = Rig::new().await;
    let refused = rig.works().await;
    refuse(&rig.session, &refused).await.expect("noted");
    rig.fells().await;
    rig.grows_again().await;
    let lease = all_served(rig.cohort()).await;
    assert!(lease.generation().supersedes(&refused.generation()));
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_tree_grows_again_as_often_as_its_host_likes() {
    let rig = Rig::new().await;
    for rounds in 1..=10 {
        rig.world.expire().await;
        let cohort = rig.cohort();
        rig.takes_off().await;
        rig.fells().await;
        rig.grows_again().await;
        let late = rig.cohort();
        assert_eq!(answers(cohort).await.len(), 5);
        all_served(late).await;
        rig.works().await;
        rig.world.server.is_content_with(rounds);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_tree_stands_at_a_time() {
    let rig = Rig::new().await;
    assert!(within("a refusal", rig.spec.spawn()).await.is_err());
    assert!(within("a refusal", rig.spec.spawn_linked(rig.host.clone())).await.is_err());
    rig.works().await;
    rig.fells().await;
    within("a tree", rig.spec.spawn()).await.expect("a tree without a host");
    assert!(within("a refusal", rig.spec.spawn()).await.is_err());
    rig.works().await;
    rig.world.server.is_content_with(0);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_stopped_or_drained_answers_everyone_and_its_flight_lands() {
    for drained in [false, true] {
        let rig = under_default_host().await;
        rig.world.expire().await;
        let cohort = rig.cohort();
        rig.takes_off().await;
        let supervisor = rig.supervisor();
        if drained {
            supervisor.drain().expect("drains");
        } else {
            supervisor.stop(None);
        }
        within("a supervisor's end", supervisor.wait(None)).await.expect("an end");
        for answer in answers(cohort).await {
            assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::NotRunning));
        }
        rig.world.clock.pass(s(5)).await;
        rig.world.server.is_content_with(1);
        assert_eq!(rig.host.get_status(), ActorStatus::Running, "a voluntary end is no reason to stop");
        rig.grows_again().await;
        rig.works().await;
        rig.world.server.is_content_with(1);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_shutdown_leaves_the_host_alive() {
    let rig = under_default_host().await;
    rig.world.expire().await;
    let cohort = [rig.calls(), rig.calls(), rig.writes()];
    rig.takes_off().await;
    assert!(rig.runtime.shutdown(s(10)).await.is_clean());
    for answer in answers(cohort).await {
        assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::ShuttingDown));
    }
    rig.world.server.is_content_with(1);
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none(), "the flight was waited for");
    turns(100).await;
    assert_eq!(rig.host.get_status(), ActorStatus::Running);
    assert!(rig.host.get_children().is_empty());
    let answer = rig.session.token().await.map_err(|error| error.reason());
    assert_eq!(answer, Err(Reason::ShuttingDown));
    assert!(within("a refusal", rig.spec.spawn()).await.is_err(), "a shutdown is for good");
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_ends_is_no_business_of_the_host() {
    for end in End::ALL {
        let rig = under_default_host().await;
        rig.world.expire().await;
        let cohort = rig.cohort();
        rig.takes_off().await;
        rig.ends(end).await;
        all_served(cohort).await;
        turns(100).await;
        assert_eq!(rig.host.get_status(), ActorStatus::Running);
        rig.works().await;
        rig.world.server.is_content_with(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_ends_takes_the_tree_with_it_and_no_flight() {
    for kill in [false, true] {
        let mut rig = under_default_host().await;
        rig.world.expire().await;
        let cohort = rig.cohort();
        rig.takes_off().await;
        if kill {
            rig.host.kill();
        } else {
            // A sibling actor of the runtime ends. By default the host then stops, and ends all its children.
            let (sibling, _) = Actor::spawn_linked(None, Calm, (), rig.host.clone()).await.expect("a sibling");
            sibling.stop(None);
        }
        within("the host's end", rig.host.wait(None)).await.expect("an end");
        for answer in answers(cohort).await {
            assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::NotRunning));
        }
        rig.world.clock.pass(s(5)).await;
        rig.world.server.is_content_with(1);
        assert!(rig.record().await.held().expect("a refresh token").mark.is_none());
        // Another host links the tree.
        let (host, _) = Actor::spawn(None, Calm, ()).await.expect("a host");
        rig.host = host.get_cell();
        rig.grows_again().await;
        rig.works().await;
        rig.world.server.is_content_with(1);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_works_after_the_tree_has_died() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let cohort = rig.cohort();
    rig.takes_off().await;
    rig.fells().await;
    answers(cohort).await;
    assert!(rig.runtime.shutdown(s(10)).await.is_clean());
    rig.world.server.is_content_with(1);
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none(), "the flight was waited for");
    let answer = rig.session.token().await.map_err(|error| error.reason());
    assert_eq!(answer, Err(Reason::ShuttingDown));
}
