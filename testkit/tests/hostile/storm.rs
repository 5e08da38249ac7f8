//! Many independent callers.

use reqwest::Client;
use tokenkeeper_testkit::hostile::HostileAs;
use tokio::task::JoinSet;

use crate::client::{Version, client, refresh};
use crate::within::within;

/// Lets `callers` refresh concurrently with one refresh token. Returns the number of callers that got tokens.
async fn storm(server: &HostileAs, callers: usize, http: impl Fn(usize) -> Client) -> usize {
    let grant = server.grant();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        tasks.spawn(refresh(&http(caller), &grant).send());
    }
    let mut served = 0;
    while let Some(answer) = within("an answer", tasks.join_next()).await {
        served += usize::from(answer.unwrap().unwrap().status() == 200);
    }
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_of_many_is_served_and_the_chain_is_lost() {
    for (version, callers, clients) in [(Version::One, 200, 1), (Version::Two, 2_000, 20), (Version::Two, 10_000, 1)] {
        let server = HostileAs::start().await.unwrap();
        let pool: Vec<_> = (0..clients).map(|_| client(version)).collect();
        assert_eq!(storm(&server, callers, |caller| pool[caller % clients].clone()).await, 1);
        let snapshot = server.snapshot();
        let (counts, callers) = (snapshot.counts, callers as u64);
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (callers, 1, callers - 1));
        assert_eq!((counts.refresh_grants, counts.refusals["invalid_grant"]), (callers, callers - 1));
        assert_eq!((counts.chains_alive, counts.chains_revoked, counts.broken_heads), (0, 1, 0));
        assert_eq!((counts.token_answers[&200], counts.token_answers[&400]), (1, callers - 1));
        // One grant and one revocation; for each request its arrival, its processing and its answer; and each
        // connection.
        assert_eq!(snapshot.timeline.len() as u64, 2 + 3 * callers + counts.connections);
    }
}
