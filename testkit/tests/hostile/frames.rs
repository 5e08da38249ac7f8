//! Faults that only HTTP/2 has, and their effect on a client that repeats requests by itself.

use reqwest::Client;
use tokenkeeper_testkit::hostile::{Fault, Gate, HostileAs, When};

use crate::client::{Version, client, refresh};
use crate::within::within;

/// A client with reqwest's defaults. It repeats requests that the server reports as not processed.
fn trusting() -> Client {
    Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_request_said_to_be_unprocessed_is_repeated_by_a_trusting_client() {
    for fault in [Fault::go_away(), Fault::refuse_stream()] {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant();
        server.next(When::Before, fault.clone());
        assert_eq!(refresh(&trusting(), &grant).send().await.unwrap().status(), 200, "{fault:?}");
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (2, 1, 0));
    }
}

#[tokio::test]
async fn a_server_that_lies_about_it_kills_a_trusting_clients_chain() {
    for fault in [Fault::go_away(), Fault::refuse_stream()] {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant();
        server.next(When::After, fault.clone());
        assert_eq!(refresh(&trusting(), &grant).send().await.unwrap().status(), 400, "{fault:?}");
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (2, 1, 1));
        assert!(!server.is_alive(grant.chain));
    }
}

#[tokio::test]
async fn a_go_away_that_covers_the_request_is_not_taken_for_leave_to_repeat_it() {
    let server = HostileAs::start().await.unwrap();
    let grant = server.grant();
    server.next(When::After, Fault::go_away_covering());
    refresh(&trusting(), &grant).send().await.unwrap_err();
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (1, 1, 0));
}

#[tokio::test]
async fn streams_before_a_go_away_are_answered() {
    let server = HostileAs::start().await.unwrap();
    let (http, earlier, later) = (client(Version::Two), server.grant(), server.grant());
    let gate = Gate::closed();
    server.next(When::Before, Fault::hold(&gate));
    server.next(When::Before, Fault::go_away());
    let first = tokio::spawn(refresh(&http, &earlier).send());
    within("a request at the gate", gate.reached(1)).await;
    refresh(&http, &later).send().await.unwrap_err();
    gate.open();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    let counts = server.counts();
    assert_eq!((counts.connections, counts.token_requests, counts.rotations), (1, 2, 1));
    assert_eq!(refresh(&http, &later).send().await.unwrap().status(), 200);
    assert_eq!(server.counts().connections, 2);
}

#[tokio::test]
async fn a_refused_stream_leaves_its_connection_alone() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::Two), server.grant());
    server.next(When::Before, Fault::refuse_stream());
    refresh(&http, &grant).send().await.unwrap_err();
    assert_eq!(refresh(&http, &grant).send().await.unwrap().status(), 200);
    let counts = server.counts();
    assert_eq!((counts.connections, counts.token_requests, counts.rotations), (1, 2, 1));
}

#[tokio::test]
async fn what_breaks_one_stream_with_its_connection_loses_the_others_answers_and_not_their_work() {
    for fault in [Fault::reset(), Fault::close(), Fault::pass().halved()] {
        let server = HostileAs::start().await.unwrap();
        let (http, other, broken) = (client(Version::Two), server.grant(), server.grant());
        let gate = server.hold_next(When::Before);
        server.next(When::After, fault.clone());
        let waiting = tokio::spawn(refresh(&http, &other).send());
        within("a request at the gate", gate.reached(1)).await;
        let answer = refresh(&http, &broken).send().await;
        assert!(answer.is_err() || answer.unwrap().bytes().await.is_err(), "{fault:?}");
        waiting.await.unwrap().unwrap_err();
        gate.open();
        let counts = within(
            "what the server is to count",
            server.until(|counts| counts.rotations == 2 && counts.concurrent == 0),
        )
        .await;
        assert_eq!((counts.connections, counts.token_requests, counts.replays), (1, 2, 0));
    }
}
