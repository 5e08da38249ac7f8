//! Everything expires at once, for many servers behind one session at the identity provider.

use tokenkeeper::AuthSession;

use super::host::{Host, crowd};
use super::server::{BEARER, EXCHANGE, Fault, REFRESH};
use super::within;

const SERVERS: usize = 20;
const CALLERS: usize = 1_000;

fn sessions(host: &Host) -> Vec<AuthSession> {
    let grant = host.enterprise();
    (0..SERVERS).map(|server| host.session(server, &grant)).collect()
}

/// Asserts that all callers have tokens, and that those of one server have one token.
async fn all_are_served(sessions: &[AuthSession]) {
    let answers = crowd(sessions, CALLERS / SERVERS).await;
    assert_eq!(answers.len(), CALLERS);
    let mut tokens: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().token().expose()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), SERVERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refresh_serves_twenty_servers_and_a_thousand_callers() {
    let host = Host::new().await;
    host.signed_on().await;
    let sessions = sessions(&host);
    all_are_served(&sessions).await;
    assert_eq!(
        (host.server.count(REFRESH), host.server.count(EXCHANGE), host.server.count(BEARER)),
        (0, SERVERS, SERVERS)
    );
    for round in 1..=3 {
        host.expire();
        all_are_served(&sessions).await;
        let counts = (host.server.count(REFRESH), host.server.count(EXCHANGE), host.server.count(BEARER));
        assert_eq!(counts, (round, (round + 1) * SERVERS, (round + 1) * SERVERS));
        assert_eq!((host.server.replays(), host.server.most_refreshes_at_once()), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_every_step_pass_while_callers_wait() {
    let host = Host::new().await;
    host.signed_on().await;
    let sessions = sessions(&host);
    host.expire();
    let faults = || [Fault::CloseBefore, Fault::Refuse(503, "unavailable", None), Fault::Refuse(500, "trouble", None)];
    host.server.next(REFRESH, [Fault::Refuse(429, "slow_down", Some("1"))]);
    host.server.next(EXCHANGE, faults());
    host.server.next(BEARER, faults());
    all_are_served(&sessions).await;
    // Each grant has an exchange of its own, and a failed exchange leads to no grant.
    assert_eq!(host.server.count(REFRESH), 2);
    assert_eq!((host.server.count(EXCHANGE), host.server.count(BEARER)), (SERVERS + 6, SERVERS + 3));
    assert_eq!((host.server.replays(), host.server.most_refreshes_at_once()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_one_refresh_and_one_exchange_for_each_server() {
    let host = Host::new().await;
    host.signed_on().await;
    let other = host.another_process().await;
    host.expire();
    let (here, there) = (sessions(&host), sessions(&other));
    let (first, second) = tokio::join!(crowd(&here, 25), crowd(&there, 25));
    let mut tokens: Vec<_> =
        first.iter().chain(&second).map(|answer| answer.as_ref().unwrap().token().expose()).collect();
    assert_eq!(tokens.len(), CALLERS);
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), SERVERS);
    let counts = (host.server.count(REFRESH), host.server.count(EXCHANGE), host.server.count(BEARER));
    assert_eq!((counts, host.server.replays()), ((1, SERVERS, SERVERS), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_as_the_subject_is_spent_once_for_each_server_and_in_turn() {
    for keeps in [false, true] {
        let host = Host::new().await;
        let idp = host.signed_on_without_id_token().await;
        if keeps {
            host.server.keep_refresh_token();
        }
        let sessions = sessions(&host);
        for round in 1..=2 {
            all_are_served(&sessions).await;
            let counts = (host.server.count(REFRESH), host.server.count(EXCHANGE), host.server.count(BEARER));
            assert_eq!(counts, (0, round * SERVERS, round * SERVERS));
            assert_eq!((host.server.replays(), host.server.most_refreshes_at_once()), (0, 1));
            host.expire();
        }
        // The last exchange is answered before its flight has stored the successor.
        assert!(within("the end of the flights", host.auth.quiesce(std::time::Duration::from_secs(20))).await);
        let record = host.record(idp.identity()).await;
        assert!(record.held().is_some_and(|held| held.mark.is_none()));
    }
}
