//! Requests held at a precise point, without a sleep.

use std::time::Duration;

use tokenkeeper_testkit::hostile::{Fault, Gate, HostileAs, When};

use crate::client::{VERSIONS, client, refresh};
use crate::within::within;

#[tokio::test]
async fn a_caller_that_leaves_in_mid_flight_has_spent_its_token_all_the_same() {
    for (version, when) in VERSIONS.into_iter().flat_map(|version| [(version, When::Before), (version, When::After)]) {
        let server = HostileAs::start().await.unwrap();
        let (http, grant) = (client(version), server.grant());
        let gate = server.hold_next(when);
        let caller = tokio::spawn(refresh(&http, &grant).send());
        within("a request at the gate", gate.reached(1)).await;
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.concurrent), (1, 1));
        assert_eq!(counts.rotations, u64::from(when == When::After), "{version:?} {when:?}");
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        drop(http);
        gate.open();
        let counts = within(
            "what the server is to count",
            server.until(|counts| counts.rotations == 1 && counts.concurrent == 0),
        )
        .await;
        assert_eq!((counts.token_requests, counts.replays), (1, 0));
        assert_eq!(server.newest(grant.chain), 1);
    }
}

#[tokio::test]
async fn a_gate_lets_through_as_many_as_it_is_told() {
    let server = HostileAs::start().await.unwrap();
    let (gate, grants) = (Gate::closed(), [server.grant(), server.grant(), server.grant()]);
    server.next_n(3, When::Before, Fault::hold(&gate));
    let http = client(crate::client::Version::Two);
    let callers = grants.each_ref().map(|grant| tokio::spawn(refresh(&http, grant).send()));
    within("a request at the gate", gate.reached(3)).await;
    assert_eq!((gate.came(), server.counts().most_concurrent), (3, 3));
    gate.let_one_through();
    let counts = within("what the server is to count", server.until(|counts| counts.concurrent == 2)).await;
    assert_eq!(counts.rotations, 1);
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().status(), 200);
    }
    let counts = within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await;
    assert_eq!((counts.rotations, counts.faults, counts.most_concurrent), (3, 0, 3));
}

#[tokio::test]
async fn an_arrival_can_be_waited_for() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(crate::client::Version::Two), server.grant());
    server.next(When::Before, Fault::silence());
    let caller = tokio::spawn(refresh(&http, &grant).send());
    let counts = within("what the server is to count", server.until(|counts| counts.faults == 1)).await;
    assert_eq!((counts.token_requests, counts.rotations), (1, 0));
    caller.abort();
    within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await;
}

/// With a fast client, and a server that is slow to finish the previous request.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_has_been_answered_is_not_with_the_server_any_more() {
    let ends = [
        Fault::pass(),
        Fault::pass().dripping(Duration::ZERO),
        Fault::pass().in_halves(Duration::ZERO),
        Fault::pass().halved(),
        Fault::reset(),
        Fault::close(),
        Fault::go_away_covering(),
    ];
    for (version, end) in VERSIONS.into_iter().flat_map(|version| ends.clone().map(|end| (version, end))) {
        let server = HostileAs::start().await.unwrap();
        server.next_n(100, When::After, end.clone());
        let http = client(version);
        for _ in 0..100 {
            let answer = refresh(&http, &server.grant()).send().await;
            if let Ok(answer) = answer {
                drop(answer.bytes().await);
            }
            assert_eq!(server.counts().concurrent, 0, "{version:?} {end:?}");
        }
        assert_eq!((server.counts().token_requests, server.counts().most_concurrent), (100, 1));
    }
}
