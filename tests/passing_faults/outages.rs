//! A server that answers with errors for a while.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::ports::store::{EventKind, TokenStore};
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};
use tokio::task::JoinSet;

use crate::scene::{Scene, doubts};
use crate::support::{LONG_ENOUGH, LONGEST_PAUSE, PATIENCE};

/// The most token requests for one cohort.
const MAX_REQUESTS: u64 = 8;

/// The flight presents the token once more by itself.
#[tokio::test]
async fn one_fault_costs_one_request_more() {
    for fault in doubts() {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.next(When::Before, fault);
        assert!(scene.ask(PATIENCE).await.is_ok(), "{story}");
        scene.assert_counts((2, 1, 0), &story).await;
        scene.assert_whole(2, &story).await;
    }
}

#[tokio::test]
async fn two_faults_in_a_row_cost_two_requests_more() {
    for fault in doubts() {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.next_n(2, When::Before, fault);
        let (token, ()) = tokio::join!(scene.ask(PATIENCE), scene.pauses().skip(1, Reason::InDoubt));
        assert!(token.is_ok(), "{story}: {token:?}");
        scene.assert_counts((3, 1, 0), &story).await;
        scene.assert_whole(3, &story).await;
    }
}

/// However often it happens, the session never needs a login for it.
#[tokio::test]
async fn faults_at_each_attempt_leave_a_session_in_doubt_that_ends_with_an_answer() {
    for fault in doubts() {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.next_n(4, When::Before, fault);
        // Each caller takes the first failure. The first flight presents the token twice.
        for requests in 2..=4 {
            let (reason, retry_after) = scene.ask_fast().await.unwrap_err();
            assert_eq!((reason, retry_after.is_some()), (Reason::InDoubt, true), "{story}");
            assert_eq!(u64::from(scene.host.presentations().await), requests, "{story}");
            scene.assert_counts((requests, 0, 0), &story).await;
            scene.pass(Duration::from_secs(41));
        }
        assert!(scene.ask_fast().await.is_ok(), "{story}");
        scene.assert_counts((5, 1, 0), &story).await;
        scene.assert_whole(5, &story).await;
    }
}

/// A process that starts during an outage continues the doubt.
#[tokio::test]
async fn an_outage_of_an_hour_ends_no_session() {
    let scene = Scene::new().await;
    scene.server.always(When::Before, Fault::status(503).html());
    for _ in 0..60 {
        let process = scene.host.another_process().await;
        assert_eq!(process.try_to_renew().await.unwrap_err().reason(), Reason::InDoubt);
        process.shut_down().await;
        scene.pass(Duration::from_secs(61));
    }
    scene.assert_counts((61, 0, 0), "one request by each process, and one more by the first").await;
    scene.server.calm();
    assert!(scene.ask(PATIENCE).await.is_ok());
    scene.assert_counts((62, 1, 0), "the end of the outage").await;
    scene.assert_whole(62, "the end of the outage").await;
}

#[tokio::test]
async fn a_cohort_makes_no_more_than_eight_requests() {
    for (fault, reason) in [
        (Fault::status(503), Reason::InDoubt),
        (Fault::reset(), Reason::InDoubt),
        (Fault::status(429), Reason::Throttled),
    ] {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.always(When::Before, fault);
        let mut callers = JoinSet::new();
        for _ in 0..32 {
            let session = scene.host.session.clone();
            #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
            callers.spawn(async move { session.token_with(patient()).await.unwrap_err() });
        }
        // The first flight makes two requests if the token is in doubt, and each other flight one.
        let flights = if reason == Reason::InDoubt { MAX_REQUESTS - 1 } else { MAX_REQUESTS };
        scene.pauses().skip(u32::try_from(flights - 1).unwrap(), reason).await;
        for error in callers.join_all().await {
            assert_eq!(error.reason(), reason, "{story}");
            assert!(error.retry_after().is_some(), "{story}");
        }
        scene.assert_counts((MAX_REQUESTS, 0, 0), &story).await;
        // The bound is the cohort's. The next one makes requests of its own.
        scene.pass(LONG_ENOUGH);
        scene.server.calm();
        assert!(scene.ask(PATIENCE).await.is_ok(), "{story}");
        scene.assert_counts((MAX_REQUESTS + 1, 1, 0), &story).await;
        scene.assert_whole(MAX_REQUESTS + 1, &story).await;
    }
}

/// Longer than all pauses take.
fn patient() -> tokenkeeper::TokenOptions {
    tokenkeeper::TokenOptions { timeout: 20 * LONGEST_PAUSE, ..tokenkeeper::TokenOptions::default() }
}

#[tokio::test]
async fn a_caller_takes_the_first_failure_if_it_asks_to() {
    for (fault, reason, requests) in [
        (Fault::status(503), Reason::InDoubt, 2),
        (Fault::status(429), Reason::Throttled, 1),
        (Fault::status(400).error("temporarily_unavailable"), Reason::InDoubt, 2),
        (Fault::status(400).error("invalid_scope"), Reason::RequestRefused, 2),
    ] {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.next_n(usize::try_from(requests).unwrap(), When::Before, fault);
        let (told, retry_after) = scene.ask_fast().await.unwrap_err();
        assert_eq!((told, retry_after.is_some()), (reason, true), "{story}");
        scene.assert_counts((requests, 0, 0), &story).await;
    }
}

/// The caller beside it, which waits, gets a token.
#[tokio::test]
async fn a_caller_that_takes_the_first_failure_ends_no_other_callers_attempts() {
    let scene = Scene::new().await;
    scene.server.next_n(2, When::Before, Fault::status(503));
    let (fast, patient, ()) =
        tokio::join!(scene.ask_fast(), scene.ask(PATIENCE), scene.pauses().skip(1, Reason::InDoubt));
    assert!(matches!(fast, Err((Reason::InDoubt, Some(_)))), "{fast:?}");
    assert!(patient.is_ok(), "{patient:?}");
    scene.assert_counts((3, 1, 0), "one flight for both, and one more").await;
    scene.assert_whole(3, "both answered").await;
}

#[tokio::test]
async fn a_throttle_of_a_second_is_waited_for_by_callers_that_have_it() {
    let scene = Scene::new().await;
    scene.server.next(When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(1)));
    let mut pauses = scene.pauses();
    let second = Duration::from_secs(1);
    let pass_it = async {
        assert_eq!(pauses.next().await, Reason::Throttled);
        // The mark is withdrawn before the pause.
        assert_eq!(scene.host.mark().await, None);
        scene.host.skip(second).await;
    };
    let (patient, impatient, ()) = tokio::join!(scene.ask(PATIENCE), scene.ask(second / 2), pass_it);
    // The caller that cannot wait that long gets the error at once, not at its deadline.
    let (reason, retry_after) = impatient.unwrap_err();
    assert_eq!(reason, Reason::Throttled);
    assert!(retry_after.is_some_and(|wait| wait <= second && wait > second / 2), "{retry_after:?}");
    assert!(patient.is_ok(), "{patient:?}");
    scene.assert_counts((2, 1, 0), "one request before the throttle, one after it").await;
    scene.assert_whole(2, "throttled").await;
}

#[tokio::test]
async fn a_throttle_that_outlasts_its_callers_is_an_error_at_once() {
    let scene = Scene::new().await;
    let asked = Duration::from_secs(120);
    scene.server.next(When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(asked.as_secs())));
    assert_eq!(scene.ask(PATIENCE).await, Err((Reason::Throttled, Some(asked))));
    for _ in 0..3 {
        let (reason, retry_after) = scene.ask(PATIENCE).await.unwrap_err();
        assert_eq!(reason, Reason::Throttled);
        assert!(retry_after.is_some_and(|wait| wait <= asked && wait > PATIENCE), "{retry_after:?}");
    }
    scene.assert_counts((1, 0, 0), "throttled").await;
    scene.pass(asked);
    scene.assert_whole(1, "afterwards").await;
}

/// A host sees each attempt as an event. The journal, which is durable, keeps the outcome only.
#[tokio::test]
async fn attempts_are_events_and_the_journal_keeps_the_outcome() {
    let scene = Scene::new().await;
    scene.server.next_n(3, When::Before, Fault::status(503));
    let events = scene.pauses();
    let (token, ()) = tokio::join!(scene.ask(PATIENCE), scene.pauses().skip(2, Reason::InDoubt));
    assert!(token.is_ok());
    let retrying = (EventKind::Retrying, Some(Reason::InDoubt));
    assert_eq!(events.rest().await, [retrying, retrying, (EventKind::Refreshed, None)]);
    scene.assert_counts((4, 1, 0), "four attempts").await;
    // Shutting down waits for the journal.
    scene.host.shut_down().await;
    let journal = scene.host.store.journal(scene.host.session.identity(), usize::MAX).await.unwrap();
    let kinds: Vec<_> = journal.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [EventKind::LoggedIn, EventKind::Refreshed]);
}
