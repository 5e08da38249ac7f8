//! Callers that leave, and callers whose time-out passes.

use futures_util::future::join_all;
use futures_util::{FutureExt, poll};
use tokenkeeper_actors::runtime::TokenOptions;
use tokenkeeper_actors::values::Reason;

use super::rig::{End, Rig, all_served, turns};
use crate::support::{ms, refuse, s, within};

/// More turns of the scheduler than a flight takes to reach the server.
const TURNS: usize = 60;

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_at_any_await_takes_nothing_with_it() {
    for polls in 0..=TURNS {
        let rig = Rig::brief().await;
        rig.world.expire().await;
        {
            let mut call = Box::pin(rig.session.token());
            for _ in 0..polls {
                assert!(poll!(&mut call).is_pending(), "the flight takes a second");
                turns(1).await;
            }
        }
        rig.world.clock.pass(s(5)).await;
        // A future that was never polled asks for nothing.
        rig.world.server.is_content_with(usize::from(polls > 0));
        let lease = rig.works().await;
        rig.world.server.is_content_with(1);
        assert_eq!(rig.works().await, lease);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_in_the_middle_of_a_refusal_has_been_heard() {
    for polls in 1..=10 {
        let rig = Rig::new().await;
        let lease = rig.works().await;
        {
            let mut refusal = Box::pin(refuse(&rig.session, &lease));
            for _ in 0..polls {
                if poll!(&mut refusal).is_ready() {
                    break;
                }
                turns(1).await;
            }
        }
        let newer = rig.works().await;
        assert!(newer.generation().supersedes(&lease.generation()));
        rig.world.server.is_content_with(1);
        rig.is_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_and_a_logout_go_on_without_whoever_asked() {
    for polls in 1..=10 {
        let rig = Rig::new().await;
        let old = rig.works().await;
        {
            let mut login = Box::pin(rig.session.install(rig.world.login()));
            for _ in 0..polls {
                if poll!(&mut login).is_ready() {
                    break;
                }
                turns(1).await;
            }
        }
        rig.world.clock.pass(s(1)).await;
        let lease = rig.works().await;
        assert!(lease.generation().supersedes(&old.generation()), "the login was stored");
        rig.world.server.is_content_with(0);
        {
            let mut logout = Box::pin(rig.session.logout());
            for _ in 0..polls {
                if poll!(&mut logout).is_ready() {
                    break;
                }
                turns(1).await;
            }
        }
        rig.world.clock.pass(s(1)).await;
        rig.fails(Reason::LoggedOut).await;
        assert!(rig.record().await.held().is_none());
        assert!(!rig.world.server.accepts(&lease), "what was logged out of was revoked");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_that_are_aborted_all_at_once_leave_the_flight_alone() {
    for callers in [16, 200] {
        for yields in [0, 1, 2, 5, 10, 20, 40, 60] {
            let rig = Rig::new().await;
            rig.world.expire().await;
            let cohort: Vec<_> =
                (0..callers).map(|number| if number % 4 == 0 { rig.writes() } else { rig.calls() }).collect();
            turns(yields).await;
            cohort.iter().for_each(tokio::task::JoinHandle::abort);
            let gone = within("the end of all callers", join_all(cohort)).await;
            assert!(gone.iter().all(|caller| caller.as_ref().is_err_and(tokio::task::JoinError::is_cancelled)));
            rig.world.clock.pass(s(5)).await;
            // Tasks that were aborted before their first poll asked for nothing.
            rig.world.server.is_content_with(usize::from(yields > 0));
            rig.works().await;
            rig.world.server.is_content_with(1);
            rig.is_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_runs_out_of_time_is_told_on_the_dot_and_the_flight_goes_on() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(10));
    rig.world.expire().await;
    let began = rig.world.clock.moment().elapsed;
    let calls = [0, 1, 3_000, 9_999].map(|timeout| {
        let (session, clock) = (rig.session.clone(), rig.world.clock.clone());
        tokio::spawn(async move {
            let request = TokenOptions { timeout: ms(timeout), ..TokenOptions::default() };
            let answer = session.token_with(request).await.map_err(|error| error.reason());
            (ms(timeout), clock.moment().elapsed.since(began), answer)
        })
    });
    let patient = [rig.calls(), rig.writes()];
    for call in within("an answer for everyone", join_all(calls)).await {
        let (timeout, answered, answer) = call.expect("no panic");
        assert_eq!(answer, Err(Reason::DeadlinePassed));
        assert_eq!(answered, timeout, "by its own deadline, and not before");
    }
    rig.world.server.is_content_with(0);
    let lease = all_served(patient).await;
    assert_eq!(rig.works().await, lease);
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_flight_of_callers_whose_time_is_up_is_stored() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(10));
    rig.world.expire().await;
    let request = TokenOptions { timeout: s(2), ..TokenOptions::default() };
    let answers = join_all((0..20).map(|_| rig.session.token_with(request))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|error| error.reason() == Reason::DeadlinePassed)));
    rig.world.clock.pass(s(10)).await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
    assert!(rig.session.token().now_or_never().is_some(), "a hit");
    rig.works().await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_from_actor_to_actor_eight_times_and_then_fails() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(1_000));
    rig.world.expire().await;
    let session = rig.session.clone();
    let patient = TokenOptions { timeout: s(2_000), ..TokenOptions::default() };
    let caller = tokio::spawn(async move { session.token_with(patient).await });
    rig.takes_off().await;
    for _ in 0..8 {
        rig.ends(End::Drain).await;
        turns(50).await;
        assert!(rig.actor().is_some() && !caller.is_finished());
    }
    rig.ends(End::Drain).await;
    turns(50).await;
    assert!(caller.is_finished());
    let error = within("an answer", caller).await.expect("no panic").expect_err("no token");
    assert_eq!(error.reason(), Reason::Aborted);
    // The flight goes on.
    rig.world.clock.pass(s(1_000)).await;
    rig.works().await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_an_actor_is_answered_when_the_runtime_begins_to_stop() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    assert!(rig.actor().is_none(), "it sleeps");
    let mut asked = Box::pin(rig.session.token());
    assert!(asked.as_mut().now_or_never().is_none());
    let mut stopped = Box::pin(rig.runtime.shutdown(s(5)));
    assert!(stopped.as_mut().now_or_never().is_none());
    // No other task has run yet, so no actor has answered.
    let answer = asked.as_mut().now_or_never().expect("an answer");
    assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::ShuttingDown));
    assert!(stopped.await.is_clean());
}
