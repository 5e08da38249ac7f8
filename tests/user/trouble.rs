//! Providers in trouble.

use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};
use tokenkeeper_testkit::login_server::Endpoint;

use super::support::time_runs_out;
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_context_that_is_too_old_is_returned_in_trouble_by_choice_alone() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let kept = user_with(&session, stale_for(HOUR)).await.unwrap();
    host.clock.pass(Duration::from_secs(301));
    host.server.next_at(Endpoint::UserInfo, 2, When::Before, Fault::status(503));
    assert_eq!(user_with(&session, stale_for(HOUR)).await, Ok(kept.clone()));
    let error = user(&session).await.unwrap_err();
    assert!(matches!(error, UserError::ServerTrouble { status: 503, .. }) && error.is_transient());
    // The failure is remembered for a second or so, for callers of both kinds.
    assert_eq!(user_with(&session, stale_for(HOUR)).await, Ok(kept));
    assert_eq!(host.requests().0, 2);
    assert_eq!(host.stats().stale, 2);
    host.clock.pass(Duration::from_secs(2));
    user(&session).await.unwrap_err();
    assert_eq!(host.requests().0, 3);
    host.clock.pass(Duration::from_secs(3));
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
}

#[tokio::test]
async fn a_context_of_another_login_is_never_stale_enough() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    user_with(&session, stale_for(HOUR)).await.unwrap();
    host.sign_in(&session, "bob").await;
    host.server.next_at(Endpoint::UserInfo, 1, When::Before, Fault::status(500));
    assert!(user_with(&session, stale_for(HOUR)).await.is_err());
}

/// A refusal is no trouble, and an old context is not returned because of it.
#[tokio::test]
async fn a_refusal_returns_no_old_context() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    user_with(&session, stale_for(HOUR)).await.unwrap();
    host.clock.pass(Duration::from_secs(301));
    host.server.next_at(Endpoint::UserInfo, 2, When::Before, Fault::status(401));
    assert_eq!(user_with(&session, stale_for(HOUR)).await, Err(UserError::Refused));
}

#[tokio::test]
async fn the_pause_that_the_provider_asks_for_is_kept_and_told() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let fault = Fault::status(429).retry_after(RetryAfter::Seconds(40));
    host.server.next_at(Endpoint::UserInfo, 1, When::Before, fault);
    let error = user(&session).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
    host.clock.pass(Duration::from_secs(30));
    let later = user(&session).await.unwrap_err().retry_after().unwrap();
    assert!(later <= Duration::from_secs(10), "{later:?}");
    assert_eq!(host.requests().0, 1);
    host.clock.pass(Duration::from_secs(21));
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
}

#[tokio::test]
async fn an_answer_that_is_too_long_or_no_json_is_an_error() {
    let cases = [
        (Fault::huge(10 << 20), UserError::TooLarge),
        (Fault::garbage(), UserError::Unreadable { status: 200 }),
        (Fault::status(200).html(), UserError::Unreadable { status: 200 }),
        (Fault::status(404), UserError::Unreadable { status: 404 }),
    ];
    for (fault, expected) in cases {
        let host = Host::new().await;
        let session = host.signed_in("ann").await;
        host.server.next_at(Endpoint::UserInfo, 1, When::After, fault);
        assert_eq!(user(&session).await, Err(expected));
        assert_eq!(host.requests(), (1, 0));
    }
}

/// The redirect would carry the token to another address.
#[tokio::test]
async fn no_redirect_is_followed() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    host.server.next_at(Endpoint::UserInfo, 1, When::After, Fault::redirect());
    assert!(matches!(user(&session).await, Err(UserError::Unreadable { status: 300..400 })));
    assert_eq!(host.server.counts().of(Endpoint::Elsewhere), 0);
}

/// An endpoint that sends a byte now and then is given up, and the caller is answered before.
#[tokio::test]
async fn a_slow_drip_is_given_up() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let drip = Fault::pass().dripping_for_ever(Duration::from_millis(50));
    host.server.next_at(Endpoint::UserInfo, 1, When::After, drip);
    let hurried = UserOptions { timeout: Duration::from_millis(200), ..UserOptions::default() };
    assert_eq!(user_with(&session, hurried).await, Err(UserError::DeadlinePassed));
    assert_eq!(host.stats().failures, 0, "it is still under way");
    host.asked(1).await;
    time_runs_out().await;
    while host.stats().failures == 0 {
        settle().await;
    }
    assert_eq!(user(&session).await, Err(UserError::Unreachable));
    assert_eq!(host.requests().0, 1);
}

#[tokio::test]
async fn an_issuer_without_a_userinfo_endpoint_is_told_apart() {
    let server = LoginServer::start().await.unwrap();
    let runtime = start(&MemoryStore::new(digest_key()), &Ahead::new(), |builder| builder).await;
    let session = runtime.session(SessionSpec::mcp(&server.resource_url()).unwrap());
    let grant = server.grant_as("ann");
    let login = Login::at(grant.binding).access_token(grant.access_token, Some(grant.lifetime));
    within("a login", session.install(login)).await.unwrap();
    let error = user(&session).await.unwrap_err();
    assert_eq!(error, UserError::NoEndpoint);
    assert!(error.to_string().contains("user_mapping"), "{error}");
}
