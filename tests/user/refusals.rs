//! Refused tokens. One refresh, one more request, and never a third.

use futures_util::future::join_all;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::Endpoint;

use super::*;

/// At a 401, 1,000 callers cost one refresh and one more request.
#[tokio::test]
async fn a_thousand_callers_at_a_401_cost_one_refresh_and_one_more_request() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let before = session.token().await.unwrap().generation();
    host.server.hostile().kill_access_tokens();
    let users = join_all((0..1_000).map(|_| user(&session))).await;
    assert!(users.iter().all(|user| user.as_ref().is_ok_and(|user| user.subject() == "ann")));
    assert_eq!(host.requests(), (2, 1));
    assert!(users[0].as_ref().unwrap().generation().supersedes(&before));
    let stats = host.stats();
    assert_eq!((stats.misses, stats.coalesced, stats.fetches), (1, 999, 1));
}

/// The historic fault was that a refresh within the fetch waited for the lock that the fetch itself held. The token has expired and every
/// caller of the person and of tokens waits for the same refresh. All are answered.
#[tokio::test]
async fn historic_fault_deadlock_on_refresh_within_the_fetch() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    host.clock.pass(Duration::from_secs(3 * 3_600));
    host.server.advance(Duration::from_secs(3 * 3_600));
    let gate = host.server.hold_at(Endpoint::Token, When::Before);
    let users = join_all((0..50).map(|_| user(&session)));
    let tokens = join_all((0..50).map(|_| within("a token", session.token())));
    let (users, tokens, ()) = tokio::join!(users, tokens, async {
        within("a refresh", host.server.until(|counts| counts.tokens.token_requests == 1)).await;
        gate.open();
    });
    assert!(users.iter().all(Result::is_ok) && tokens.iter().all(Result::is_ok));
    assert_eq!(host.requests(), (1, 1));
}

/// The historic fault was that callers which waited for the refresh fetched again after it, each for itself.
#[tokio::test]
async fn historic_fault_double_fetch_after_refresh() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    host.server.hostile().kill_access_tokens();
    let gate = host.server.hold_at(Endpoint::Token, When::Before);
    let first = join_all((0..20).map(|_| user(&session)));
    let (first, late) = tokio::join!(first, async {
        within("a refresh", host.server.until(|counts| counts.tokens.token_requests == 1)).await;
        // These come while the refresh within the fetch is under way.
        let late = join_all((0..20).map(|_| user(&session)));
        let (late, ()) = tokio::join!(late, async {
            settle().await;
            gate.open();
        });
        late
    });
    assert!(first.iter().chain(&late).all(Result::is_ok));
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
    assert_eq!(host.requests(), (2, 1), "one refused and one good");
}

#[tokio::test]
async fn a_second_refusal_is_an_error_and_there_is_no_third_request() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    host.server.next_at(Endpoint::UserInfo, 2, When::After, Fault::status(401));
    let error = user(&session).await.unwrap_err();
    assert_eq!(error, UserError::Refused);
    assert!(!error.is_transient() && !error.is_login_required());
    assert_eq!(host.requests(), (2, 1));
    // It is remembered for all callers, and the session's token is served to others all the same.
    for _ in 0..100 {
        assert_eq!(user(&session).await, Err(UserError::Refused));
    }
    assert_eq!(host.requests(), (2, 1));
    assert_eq!(host.stats().failure_hits, 100);
    assert!(session.token().await.is_ok());
    assert_eq!(host.requests(), (2, 1));
    host.clock.pass(Duration::from_secs(76));
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
}

/// A userinfo failure after a good refresh never discards the rotated pair (toolhive#6194).
#[tokio::test]
async fn a_failure_after_a_good_refresh_keeps_the_rotated_pair() {
    for fault in [Fault::status(500), Fault::status(401), Fault::garbage(), Fault::reset(), Fault::status(403)] {
        let host = Host::new().await;
        let session = host.signed_in("ann").await;
        let before = session.token().await.unwrap().generation();
        host.server.hostile().kill_access_tokens();
        // The first request is refused, the refresh succeeds, and the second request fails.
        host.server.next_at(Endpoint::UserInfo, 1, When::After, Fault::status(401));
        host.server.next_at(Endpoint::UserInfo, 1, When::After, fault);
        user(&session).await.unwrap_err();
        assert_eq!(host.requests(), (2, 1));
        let lease = session.token().await.unwrap();
        assert!(lease.generation().supersedes(&before), "the new token is served");
        // Another process finds the pair in the store, and refreshes with the rotated token.
        let other = start(&host.store, &host.clock, |builder| builder).await;
        let session = other.session(session.identity().clone());
        let forced = tokenkeeper::TokenOptions { force: true, ..Default::default() };
        within("a token", session.token_with(forced)).await.unwrap();
        assert_eq!((host.requests().1, host.server.counts().tokens.replays), (2, 0));
    }
}

#[tokio::test]
async fn a_challenge_of_the_endpoint_says_nothing_about_the_resource() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let elsewhere = r#"Bearer error="invalid_token", resource_metadata="https://evil.example/metadata""#;
    let fault = Fault::status(401).header("www-authenticate", elsewhere);
    host.server.next_at(Endpoint::UserInfo, 1, When::After, fault);
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
    assert_eq!(host.server.counts().of(Endpoint::ResourceMetadata), 0);
}

#[tokio::test]
async fn a_missing_scope_costs_no_refresh_and_names_the_scope() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let challenge = r#"Bearer error="insufficient_scope", scope="openid email""#;
    let fault = Fault::status(403).header("www-authenticate", challenge);
    host.server.next_at(Endpoint::UserInfo, 1, When::After, fault);
    let error = user(&session).await.unwrap_err();
    let UserError::ScopeMissing { scopes } = &error else { panic!("{error:?}") };
    assert_eq!(scopes.iter().collect::<Vec<_>>(), ["openid", "email"]);
    assert!(error.is_login_required());
    assert_eq!(host.requests(), (1, 0));
}

#[tokio::test]
async fn a_person_who_never_signed_in_is_told_so_at_once_and_may_sign_in_at_once() {
    let host = Host::new().await;
    let session = host.session("ann");
    let error = user(&session).await.unwrap_err();
    assert_eq!(error.reason(), Some(tokenkeeper::Reason::NeverSignedIn));
    assert!(error.is_login_required());
    assert_eq!(host.requests(), (0, 0));
    host.sign_in(&session, "ann").await;
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
}
