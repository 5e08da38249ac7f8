//! The end of the session's actor, in each possible way, at each moment of a flight.

use tokenkeeper_actors::law::session::Policy;
use tokenkeeper_actors::runtime::TokenOptions;
use tokenkeeper_actors::values::{Epoch, InstallError, Reason, StoreFault};

use super::rig::{End, Rig, all_served, answers, turns};
use super::tricks::Writing;
use crate::support::{World, ms, refuse, s};

/// More turns of the scheduler than a flight takes to reach the server.
const TURNS: usize = 60;

#[tokio::test(start_paused = true)]
async fn an_actor_that_ends_before_the_request_left_or_after_costs_nobody_anything() {
    for end in End::ALL {
        for yields in 0..=TURNS {
            let rig = Rig::brief().await;
            rig.world.expire().await;
            let cohort = rig.cohort();
            turns(yields).await;
            rig.ends(end).await;
            let late = rig.cohort();
            let lease = all_served(cohort.into_iter().chain(late)).await;
            assert_eq!(rig.works().await, lease);
            rig.world.server.is_content_with(1);
            rig.world.clock.pass(s(1)).await;
            rig.is_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_ends_while_the_answer_is_on_its_way_costs_nobody_anything() {
    for end in End::ALL {
        for yields in 0..=40 {
            let rig = Rig::brief().await;
            rig.world.expire().await;
            rig.world.server.shuts();
            let cohort = rig.cohort();
            rig.takes_off().await;
            rig.world.clock.pass(s(2)).await;
            rig.world.server.opens(1);
            turns(yields).await;
            rig.ends(end).await;
            let lease = all_served(cohort.into_iter().chain(rig.cohort())).await;
            assert_eq!(rig.works().await, lease);
            rig.world.server.is_content_with(1);
            rig.world.clock.pass(s(1)).await;
            rig.is_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn actors_that_end_one_after_another_in_one_flight_cost_nobody_anything() {
    for end in End::ALL {
        let rig = Rig::new().await;
        rig.world.server.takes(s(20));
        rig.world.expire().await;
        let mut cohort = rig.cohort();
        rig.takes_off().await;
        for _ in 0..4 {
            rig.ends(end).await;
            cohort.extend(rig.cohort());
            rig.world.clock.pass(s(1)).await;
        }
        all_served(cohort).await;
        rig.works().await;
        rig.world.server.is_content_with(1);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flight_of_an_actor_that_ended_is_stored_with_nobody_asking() {
    for end in End::ALL {
        let rig = Rig::new().await;
        rig.world.expire().await;
        let caller = rig.calls();
        rig.takes_off().await;
        caller.abort();
        rig.ends(end).await;
        rig.world.clock.pass(s(5)).await;
        rig.world.server.is_content_with(1);
        rig.is_settled().await;
        rig.works().await;
        rig.world.server.is_content_with(1);
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_though_the_actor_ends() {
    for end in End::ALL {
        let rig = Rig::new().await;
        rig.world.server.takes(s(10));
        rig.world.expire().await;
        let began = rig.world.clock.moment().elapsed;
        let session = rig.session.clone();
        let request = TokenOptions { timeout: s(5), ..TokenOptions::default() };
        let caller = tokio::spawn(async move { session.token_with(request).await });
        rig.takes_off().await;
        rig.world.clock.pass(s(2)).await;
        rig.ends(end).await;
        let answer = caller.await.expect("no panic");
        assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::DeadlinePassed));
        assert_eq!(rig.world.clock.moment().elapsed.since(began), s(5));
        rig.world.clock.pass(s(10)).await;
        rig.works().await;
        rig.world.server.is_content_with(1);
    }
}

// Law 6, that a refused token is not served again.

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_never_served_again_whatever_becomes_of_the_actor() {
    for end in End::ALL {
        for through_address in [false, true] {
            let rig = Rig::new().await;
            let refused = rig.works().await;
            if through_address {
                rig.guest_refuses(&refused).await.expect("noted");
            } else {
                refuse(&rig.session, &refused).await.expect("noted");
            }
            // The store still holds the refused token.
            rig.ends(end).await;
            let lease = all_served(rig.cohort()).await;
            assert!(lease.generation().supersedes(&refused.generation()));
            assert_eq!(rig.works().await, lease);
            rig.world.server.is_content_with(1);
            rig.is_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_while_nobody_could_refresh_is_not_served_afterwards_either() {
    for end in End::ALL {
        let mut world = World::new();
        world.policy = Policy { max_attempts: 1, ..Policy::default() };
        world.server.takes(s(1));
        let rig = Rig::of(world, |builder| builder).await;
        let refused = rig.works().await;
        // Each attempt fails before anything is sent. The store still holds the refused token.
        rig.world.server.plans((0..3).map(|_| crate::support::server::Answer::Refuse(429, None)));
        refuse(&rig.session, &refused).await.expect("noted");
        for attempts in 1..=3 {
            let told = answers(rig.cohort()).await;
            assert!(told.iter().all(|answer| answer.as_ref().is_err_and(|error| error.reason() == Reason::Throttled)));
            rig.ends(end).await;
            rig.world.server.is_content_with(attempts);
            let request = TokenOptions { timeout: ms(100), ..TokenOptions::default() };
            let error = rig.session.token_with(request).await.expect_err("it rests");
            assert_eq!(error.reason(), Reason::Throttled);
            assert!(error.retry_after() > Some(ms(100)), "and says how long");
            rig.world.server.is_content_with(attempts);
            rig.world.clock.pass(s(300)).await;
        }
        let lease = all_served(rig.cohort()).await;
        assert!(lease.generation().supersedes(&refused.generation()));
        rig.world.server.is_content_with(4);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_not_served_by_a_session_that_slept() {
    let rig = Rig::new().await;
    let refused = rig.works().await;
    refuse(&rig.session, &refused).await.expect("noted");
    rig.world.clock.pass(s(61)).await;
    assert!(rig.actor().is_none(), "it sleeps");
    let lease = all_served(rig.cohort()).await;
    assert!(lease.generation().supersedes(&refused.generation()));
    rig.world.server.is_content_with(1);
}

// Requests other than token requests.

#[tokio::test(start_paused = true)]
async fn a_refusal_is_heard_though_the_actor_ends() {
    for end in End::ALL {
        for yields in 0..=6 {
            let rig = Rig::new().await;
            let refused = rig.works().await;
            let refusal = tokio::spawn({
                let (session, refused) = (rig.session.clone(), refused.clone());
                async move { refuse(&session, &refused).await }
            });
            turns(yields).await;
            rig.ends(end).await;
            refusal.await.expect("no panic").expect("noted");
            let lease = rig.works().await;
            assert!(lease.generation().supersedes(&refused.generation()));
            rig.world.server.is_content_with(1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_is_answered_once_and_holds_though_the_actor_ends() {
    for end in End::ALL {
        for yields in 0..=12 {
            let rig = Rig::new().await;
            let lease = rig.works().await;
            let logout = tokio::spawn({
                let session = rig.session.clone();
                async move { session.logout().await }
            });
            turns(yields).await;
            rig.ends(end).await;
            logout.await.expect("no panic").expect("logged out");
            rig.fails(Reason::LoggedOut).await;
            rig.world.clock.pass(s(5)).await;
            assert!(rig.record().await.held().is_none());
            assert!(!rig.world.server.accepts(&lease), "revoked");
            assert_eq!((rig.world.server.requests(), rig.world.server.replays()), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_answered_once_and_its_answer_is_true_though_the_actor_ends() {
    for end in End::ALL {
        for yields in 0..=12 {
            let rig = Rig::new().await;
            let old = rig.works().await;
            let install = tokio::spawn({
                let (session, login) = (rig.session.clone(), rig.world.login());
                async move { session.install(login).await }
            });
            turns(yields).await;
            rig.ends(end).await;
            let answer = install.await.expect("no panic");
            rig.world.clock.pass(s(1)).await;
            let lease = rig.works().await;
            let moved = lease.generation().epoch != old.generation().epoch;
            match answer {
                Ok(view) => assert_eq!(view.lease.as_ref().map(|lease| lease.generation()), Some(lease.generation())),
                // Only the store knows, and either answer is possible.
                Err(error) => {
                    assert_eq!(error.to_string(), "the login could not be stored: the store did not answer in time");
                }
            }
            assert!(moved || answer_was_not_stored(&rig, &old).await);
            assert_eq!(rig.store.logins(), 1 + usize::from(moved), "it was written once, if at all");
            rig.world.server.is_content_with(0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_written_once_though_the_actor_ends_while_it_is_being_written() {
    for end in End::ALL {
        let rig = Rig::new().await;
        rig.store.writes(Writing::Slow(s(3)));
        let install = tokio::spawn({
            let (session, login) = (rig.session.clone(), rig.world.login());
            async move { session.install(login).await }
        });
        turns(50).await;
        assert_eq!((rig.store.logins(), rig.record().await.epoch), (2, Epoch::new(1)), "being written");
        rig.ends(end).await;
        // Only the store knows, and the session does not ask it again.
        let answer = install.await.expect("no panic");
        assert_eq!(answer, Err(InstallError::StoreTrouble(StoreFault::TimedOut)));
        rig.world.clock.pass(s(30)).await;
        assert_eq!((rig.store.logins(), rig.record().await.epoch), (2, Epoch::new(2)), "written");
        assert_eq!(rig.works().await.generation().epoch, Epoch::new(2));
        rig.world.server.is_content_with(0);
    }
}

/// Whether the record is the one from before.
async fn answer_was_not_stored(rig: &Rig, old: &tokenkeeper_actors::values::Lease) -> bool {
    rig.works().await == *old
}
