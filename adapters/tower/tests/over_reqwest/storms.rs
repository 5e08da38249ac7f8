//! Crowds of requests that meet an expired or a refused token at once.

use std::time::Duration;

use futures_util::future::join_all;
use tokenkeeper_testkit::hostile::{HostileAs, Rules};
use tower::ServiceExt;

use crate::Host;
use crate::within::each_within;

/// Sends `size` requests from tasks of their own, and checks that one token request served them all.
async fn storm(size: usize, is_refused: bool) {
    let rules = Rules { answer_delay: Duration::from_millis(50), old_access_dies: true, ..Rules::default() };
    let server = HostileAs::start_with(rules).await.unwrap();
    let host = Host::signed_in(&server, is_refused).await;
    if is_refused {
        server.kill_access_tokens();
    }
    let client = host.layered();
    let tasks: Vec<_> = (0..size).map(|_| tokio::spawn(client.clone().oneshot(host.post()))).collect();
    for answer in each_within("all answers", tasks).await {
        assert_eq!(answer.unwrap().unwrap().status().as_u16(), 200);
    }
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.replays, counts.chains_revoked), (1, 0, 0), "{size} {is_refused}");
    let answered = |status| counts.resource_answers.get(&status).copied().unwrap_or_default();
    assert_eq!(answered(200), size as u64);
    assert!(if is_refused { (1..=size as u64).contains(&answered(401)) } else { answered(401) == 0 });
    assert_eq!(counts.resource_requests, answered(200) + answered(401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_expiry_one_token_request_serves_a_crowd_of_any_size() {
    for size in [16, 200, 1_000] {
        storm(size, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_refusal_one_token_request_serves_a_crowd_of_any_size() {
    for size in [16, 200, 1_000] {
        storm(size, true).await;
    }
}

#[tokio::test]
async fn a_crowd_that_is_given_up_costs_one_token_request_and_no_replay() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server, true).await;
    server.kill_access_tokens();
    let gate = server.hold_next(tokenkeeper_testkit::hostile::When::After);
    let client = host.layered();
    let crowd: Vec<_> = (0..200).map(|_| tokio::spawn(client.clone().oneshot(host.post()))).collect();
    server.until(|counts| counts.token_requests == 1).await;
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    let ends = join_all(crowd).await;
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(tokio::task::JoinError::is_cancelled)));
    gate.open();
    assert_eq!(host.status(crate::By::Layer).await, 200);
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (1, 1, 0));
}
