//! Actors and trees end again and again, on several threads. Counts stay exact.

use futures_util::future::join_all;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::Reason;

use super::rig::{End, Rig, all_served, answers, turns};
use crate::support::{World, s};

/// A sequence of pseudo-random numbers, the same in each run.
struct Rolls(u64);

impl Rolls {
    fn next(&mut self, below: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % below).expect("a small number")
    }
}

/// Waits until the session has received the report of its flight, so that the token does not expire before that.
async fn rests(rig: &Rig) {
    while rig.session.state().refreshing {
        turns(1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn actors_end_under_load_and_each_expiry_costs_one_request() {
    let world = World::new();
    let rig = Rig::of(world, |builder| builder).await;
    let mut rolls = Rolls(1);
    for round in 1..=300 {
        // The machine's time passes, not tokio's. No end counts as one in a row with the one before.
        rests(&rig).await;
        rig.world.clock.suspend(rig.world.server.lifetime());
        let mut cohort: Vec<_> = (0..4).flat_map(|_| rig.cohort()).collect();
        turns(rolls.next(12)).await;
        rig.ends(End::ALL[rolls.next(4)]).await;
        cohort.extend(rig.cohort());
        all_served(cohort).await;
        rig.world.server.is_content_with(round);
    }
    assert_eq!(rig.world.server.most_in_flight(), 1);
    assert!(rig.runtime.shutdown(s(30)).await.is_clean());
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trees_end_under_load_and_each_expiry_costs_one_request() {
    let rig = Rig::of(World::new(), |builder| builder).await;
    let mut rolls = Rolls(2);
    for round in 1..=300 {
        rests(&rig).await;
        rig.world.clock.suspend(rig.world.server.lifetime());
        let cohort: Vec<_> = (0..4).flat_map(|_| rig.cohort()).collect();
        turns(rolls.next(12)).await;
        rig.fells().await;
        rig.grows_again().await;
        for answer in answers(cohort).await {
            match answer {
                Ok(lease) => assert!(rig.world.server.accepts(&lease)),
                Err(error) => assert_eq!(error.reason(), Reason::NotRunning),
            }
        }
        all_served(rig.cohort()).await;
        rig.world.server.is_content_with(round);
    }
    rests(&rig).await;
    assert!(rig.runtime.shutdown(s(30)).await.is_clean());
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_under_load_answers_everyone() {
    for round in 0..100 {
        let rig = Rig::of(World::new(), |builder| builder).await;
        rig.world.clock.suspend(rig.world.server.lifetime());
        let cohort: Vec<_> = (0..8).map(|_| rig.calls()).collect();
        turns(round % 12).await;
        let (report, late) = tokio::join!(rig.runtime.shutdown(s(30)), join_all((0..8).map(|_| rig.session.token())));
        assert!(report.is_clean());
        for answer in answers(cohort).await.into_iter().chain(late) {
            match answer {
                Ok(lease) => assert!(rig.world.server.accepts(&lease)),
                Err(error) => assert_eq!(error.reason(), Reason::ShuttingDown),
            }
        }
        rig.world.server.is_content_with(rig.world.server.requests().min(1));
        assert!(rig.record().await.held().expect("a refresh token").mark.is_none());
    }
}

// A session that is kept warm stays awake without callers.

#[tokio::test(start_paused = true)]
async fn a_session_that_is_kept_warm_is_so_whatever_ends() {
    for end in End::ALL {
        let mut world = World::new();
        world.policy = Policy { refresh: RefreshPolicy::KeepWarm { inactivity: None }, ..Policy::default() };
        world.server.takes(s(1));
        let rig = Rig::of(world, |builder| builder).await;
        for refreshes in 1..=5 {
            if refreshes % 2 == 0 {
                rig.fells().await;
                rig.grows_again().await;
            } else {
                rig.ends(end).await;
            }
            turns(50).await;
            assert!(rig.actor().is_some(), "awake with nobody asking");
            let lease = rig.session.token().await.expect("a lease");
            rig.world.clock.pass(rig.world.server.lifetime() - s(100)).await;
            while rig.session.token().await == Ok(lease.clone()) {
                rig.world.clock.pass(s(1)).await;
            }
            rig.works().await;
            rig.world.server.is_content_with(refreshes);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_actor_of_the_tree_ends_nobody_notices() {
    for (order, end) in [(0, End::Kill), (1, End::Kill), (0, End::Stop), (1, End::Stop)] {
        for yields in 0..=30 {
            let rig = Rig::brief().await;
            rig.world.expire().await;
            let cohort = rig.cohort();
            turns(yields).await;
            // The session's actor, and the issuer's actor that grants permits to flights.
            let mut children = rig.supervisor().get_children();
            children.sort_by_key(|child| child.get_id());
            if order == 1 {
                children.reverse();
            }
            for child in children {
                if end == End::Kill {
                    child.kill()
                } else {
                    child.stop(None)
                }
                turns(1).await;
            }
            all_served(cohort).await;
            rig.works().await;
            rig.world.server.is_content_with(1);
        }
    }
}
