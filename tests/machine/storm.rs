//! Everything expires at once, for many servers behind one session at the identity provider.

use tokenkeeper::AuthSession;

use super::host::{Host, crowd};
use super::server::{BEARER, EXCHANGE, Fault, REFRESH};

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
