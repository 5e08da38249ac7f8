//! All faults that destroy the answer, before processing and after it, with the exact counts.

use std::io::ErrorKind;
use std::time::Duration;

use reqwest::Client;
use tokenkeeper_testkit::hostile::{Counts, Fault, Grant, HostileAs, When};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{VERSIONS, Version, client, converse, header, json, refresh, refresh_with, wire, word};
use crate::within::within;

const WHEN: [(When, u64); 2] = [(When::Before, 0), (When::After, 1)];

/// A server whose next token request meets `fault`.
async fn server(when: When, fault: &Fault) -> (HostileAs, Grant) {
    let server = HostileAs::start().await.unwrap();
    server.next(when, fault.clone());
    let grant = server.grant();
    (server, grant)
}

/// One request arrived. `rotations` is 1 if it was processed.
fn one(counts: &Counts, rotations: u64) {
    let told = (counts.token_requests, counts.rotations, counts.replays, counts.faults, counts.chains_alive);
    assert_eq!(told, (1, rotations, 0, 1, 1));
}

/// The refresh token is still good, or spent, according to the counts.
async fn spent(http: &Client, server: &HostileAs, grant: &Grant, spent: u64) {
    let answer = refresh(http, grant).send().await.unwrap();
    assert_eq!(answer.status(), if spent == 0 { 200 } else { 400 });
    assert_eq!(server.counts().replays, spent);
}

#[tokio::test]
async fn answers_that_never_come_whole_are_errors_and_count_once() {
    let faults = [
        Fault::reset(),
        Fault::close(),
        Fault::pass().halved(),
        Fault::status(503).halved(),
        Fault::go_away(),
        Fault::go_away_covering(),
        Fault::refuse_stream(),
    ];
    for (fault, version, (when, rotations)) in faults
        .iter()
        .flat_map(|fault| VERSIONS.map(|version| (fault, version)))
        .flat_map(|(fault, version)| WHEN.map(|when| (fault, version, when)))
    {
        let (server, grant) = server(when, fault).await;
        let http = client(version);
        let answer = match refresh(&http, &grant).send().await {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        assert!(answer.is_err(), "{version:?} {when:?} {fault:?}");
        let counts = within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await;
        one(&counts, rotations);
        assert!(counts.token_answers.is_empty());
        spent(&client(version), &server, &grant, rotations).await;
    }
}

#[tokio::test]
async fn a_reset_is_seen_as_a_reset() {
    for (when, rotations) in WHEN {
        let (server, grant) = server(when, &Fault::reset()).await;
        let (answer, end) = converse(&server, &wire(&grant)).await;
        assert_eq!((&*answer, end.unwrap_err().kind()), ("", ErrorKind::ConnectionReset));
        one(&server.counts(), rotations);
    }
}

#[tokio::test]
async fn a_close_is_seen_as_an_end() {
    for (when, rotations) in WHEN {
        let (server, grant) = server(when, &Fault::close()).await;
        let (answer, end) = converse(&server, &wire(&grant)).await;
        assert_eq!((&*answer, end.is_ok()), ("", true));
        one(&server.counts(), rotations);
    }
}

#[tokio::test]
async fn half_an_answer_is_half_of_the_real_one() {
    let (first, grant) = server(When::After, &Fault::pass().halved()).await;
    let (answer, end) = converse(&first, &wire(&grant)).await;
    end.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length: usize = head.split_once("content-length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
    assert_eq!(body.len(), length / 2);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.starts_with("{\"access_token\":\"at-"), "{answer}");

    let (second, grant) = server(When::Before, &Fault::status(500).halved()).await;
    let (answer, end) = converse(&second, &wire(&grant)).await;
    end.unwrap();
    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("\r\n\r\n"), "{answer:?}");
}

#[tokio::test]
async fn a_slow_answer_arrives_in_the_end() {
    let slow = [Fault::pass().dripping(Duration::ZERO), Fault::pass().in_halves(Duration::from_millis(20))];
    for (version, slow) in VERSIONS.into_iter().flat_map(|version| slow.clone().map(|slow| (version, slow))) {
        let (_server, grant) = server(When::After, &slow).await;
        let http = client(version);
        let answer = json(refresh(&http, &grant).send().await.unwrap()).await;
        let again = refresh_with(&http, &grant, word(&answer, "refresh_token")).send().await.unwrap();
        assert_eq!(again.status(), 200);
    }
}

#[tokio::test]
async fn a_dripping_answer_may_never_end() {
    for version in VERSIONS {
        let (server, grant) = server(When::After, &Fault::pass().dripping_for_ever(Duration::ZERO)).await;
        let mut answer = refresh(&client(version), &grant).send().await.unwrap();
        let mut read = Vec::new();
        while read.len() < 2_000 {
            read.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
        }
        let text = String::from_utf8(read).unwrap();
        assert!(text.starts_with("{\"access_token\":\"at-") && text.ends_with("   "), "{text}");
        assert_eq!(server.counts().concurrent, 1);
        drop(answer);
        one(&within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await, 1);
    }
}

#[tokio::test]
async fn a_huge_answer_is_as_large_as_it_says() {
    const HUGE: usize = 20 << 20;
    for version in VERSIONS {
        let (server, grant) = server(When::After, &Fault::huge(HUGE)).await;
        let answer = refresh(&client(version), &grant).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "application/json"));
        assert_eq!(answer.bytes().await.unwrap().len(), HUGE);
        one(&server.counts(), 1);
    }
}

#[tokio::test]
async fn silence_lasts_until_the_client_leaves() {
    for (version, (when, rotations)) in VERSIONS.into_iter().flat_map(|version| WHEN.map(|when| (version, when))) {
        let (server, grant) = server(when, &Fault::silence()).await;
        let http = client(version);
        let caller = tokio::spawn(refresh(&http, &grant).send());
        let counts = within("what the server is to count", server.until(|counts| counts.faults == 1)).await;
        assert_eq!(counts.concurrent, 1);
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        one(&within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await, rotations);
    }
}

#[tokio::test]
async fn a_slow_server_is_at_least_as_slow_as_it_was_told() {
    const SLOW: Duration = Duration::from_millis(20);
    for (when, order) in [(When::Before, [0, 20]), (When::After, [20, 0])] {
        let (server, grant) = server(when, &Fault::delay(SLOW)).await;
        assert_eq!(refresh(&client(Version::One), &grant).send().await.unwrap().status(), 200);
        let snapshot = server.snapshot();
        assert_eq!(snapshot.counts.faults, 0);
        let at: Vec<_> = snapshot.timeline.iter().rev().take(3).map(|event| event.at).collect();
        let [answered, worked, arrived] = at[..] else { panic!("{snapshot:?}") };
        assert!(answered - worked >= Duration::from_millis(order[0]));
        assert!(worked - arrived >= Duration::from_millis(order[1]));
    }
    let server = HostileAs::start().await.unwrap();
    server.rules(|rules| rules.answer_delay = SLOW);
    assert_eq!(refresh(&client(Version::One), &server.grant()).send().await.unwrap().status(), 200);
    let timeline = server.snapshot().timeline;
    let [.., arrived, worked, answered] = &timeline[..] else { panic!("{timeline:?}") };
    assert!(answered.at - worked.at >= SLOW && worked.at >= arrived.at);
}

#[tokio::test]
async fn a_connection_that_promised_to_stay_is_closed() {
    for version in VERSIONS {
        let (server, grant) = server(When::After, &Fault::pass().then_close()).await;
        let http = client(version);
        let answer = json(refresh(&http, &grant).send().await.unwrap()).await;
        assert!(!word(&answer, "refresh_token").is_empty());
        assert_eq!(server.counts().faults, 0);
    }
    let (server, grant) = server(When::After, &Fault::pass().then_close()).await;
    let (answer, end) = converse(&server, &wire(&grant)).await;
    end.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_pooled_connection_dies_on_the_next_requests_first_bytes() {
    for version in VERSIONS {
        let (server, grant) = server(When::After, &Fault::pass().then_reset_next()).await;
        let http = client(version);
        let answer = json(refresh(&http, &grant).send().await.unwrap()).await;
        let next = refresh_with(&http, &grant, word(&answer, "refresh_token"));
        assert!(next.try_clone().unwrap().send().await.is_err());
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.connections), (2, 1, 1), "{version:?}");
        assert_eq!(next.send().await.unwrap().status(), 200);
        assert_eq!(server.counts().connections, 2);
    }
}

#[tokio::test]
async fn requests_that_break_off_are_counted_and_not_processed() {
    let server = HostileAs::start().await.unwrap();
    let request = wire(&server.grant());
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    for (sent, requests, broken) in [(&request[..request.len() - 1], 1, 0), (head, 1, 1), ("garbage\r\n", 1, 2)] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = within("the end of a connection", stream.read_to_end(&mut Vec::new())).await;
        let counted = server.until(|counts| counts.concurrent == 0 && counts.broken_heads == broken);
        let counts = within("what the server is to count", counted).await;
        assert_eq!((counts.token_requests, counts.rotations), (requests, 0));
    }
    let chunked = "POST /token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(converse(&server, chunked).await.0.starts_with("HTTP/1.1 411 "));
}
