//! Cancelled callers, deadlines, a store that is down and faults that pass, for each source.

use std::time::Duration;

use tokenkeeper::machine::{MachineGrant, SubjectToken, TokenType};
use tokenkeeper::{AuthSession, Reason, TokenOptions};

use super::host::{Host, crowd, robot, token};
use super::server::{BEARER, CREDENTIALS, DELEGATION, Fault};
use super::within;

/// Each source that asks a server, with the grant that is counted.
fn sources() -> Vec<(&'static str, Option<MachineGrant>)> {
    let subject = || SubjectToken::fixed("wl-1");
    vec![
        (CREDENTIALS, Some(robot())),
        (BEARER, Some(MachineGrant::jwt_bearer(subject()))),
        (DELEGATION, Some(MachineGrant::token_exchange(subject(), TokenType::jwt()))),
        // Enterprise-managed authorization, whose last step is counted.
        (BEARER, None),
    ]
}

/// A host, and a session whose token has expired.
async fn expired(grant: Option<&MachineGrant>) -> (Host, AuthSession) {
    let host = Host::new().await;
    host.signed_on().await;
    let session = host.session(0, &grant.cloned().unwrap_or_else(|| host.enterprise()));
    assert!(token(&session).await.is_ok());
    host.expire();
    (host, session)
}

#[tokio::test]
async fn a_request_outlives_its_callers() {
    for (counted, grant) in sources() {
        let (host, session) = expired(grant.as_ref()).await;
        host.server.hold(counted);
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { session.token().await })
            })
            .collect();
        host.server.until(counted, 2).await;
        callers.iter().for_each(tokio::task::JoinHandle::abort);
        host.server.release();
        assert!(token(&session).await.is_ok(), "{counted}");
        assert_eq!(host.server.count(counted), 2, "the token of the cancelled callers is there");
        assert!(within("a shutdown", host.auth.shutdown(Duration::from_secs(5))).await.is_clean());
    }
}

#[tokio::test]
async fn a_caller_has_its_answer_by_its_deadline() {
    for (counted, grant) in sources() {
        let (host, session) = expired(grant.as_ref()).await;
        host.server.hold(counted);
        let patient = tokio::spawn({
            let session = session.clone();
            async move { token(&session).await }
        });
        host.server.until(counted, 2).await;
        let options = TokenOptions { timeout: Duration::from_millis(50), ..TokenOptions::default() };
        let error = within("an answer", session.token_with(options)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DeadlinePassed, "{counted}");
        host.server.release();
        assert!(within("a patient caller", patient).await.unwrap().is_ok());
        assert_eq!(host.server.count(counted), 2);
    }
}

#[tokio::test]
async fn faults_pass_while_callers_wait() {
    for (counted, grant) in sources() {
        let (host, session) = expired(grant.as_ref()).await;
        let faults = [
            Fault::CloseBefore,
            Fault::CloseAfter,
            Fault::Refuse(503, "unavailable", None),
            Fault::Refuse(429, "slow_down", Some("1")),
        ];
        host.server.next(counted, faults);
        let answers = crowd(std::slice::from_ref(&session), 50).await;
        assert!(answers.iter().all(Result::is_ok), "{counted}: {answers:?}");
        assert_eq!(host.server.count(counted), 1 + 4 + 1, "{counted}");
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_is_not_repeated() {
    for (counted, grant) in sources() {
        let (host, session) = expired(grant.as_ref()).await;
        host.server.next(counted, [Fault::Refuse(400, "invalid_scope", None)]);
        assert_eq!(token(&session).await.unwrap_err().reason(), Reason::RequestRefused, "{counted}");
        assert_eq!(host.server.count(counted), 2, "{counted}");
    }
}

#[tokio::test]
async fn with_the_store_down_a_token_is_minted_once_for_all() {
    for (counted, grant) in sources() {
        let Some(grant) = grant else { continue };
        let (host, session) = expired(Some(&grant)).await;
        host.store.set_down(true);
        let answers = crowd(std::slice::from_ref(&session), 100).await;
        let first = answers[0].as_ref().unwrap().token().clone();
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|lease| *lease.token() == first)), "{counted}");
        assert_eq!(host.server.count(counted), 2, "{counted}");
        host.store.set_down(false);
        host.expire();
        assert!(token(&session).await.is_ok());
        let stored = host.grant(session.identity()).await.access.unwrap();
        assert_eq!(
            Some(stored.token),
            within("a token", session.token()).await.ok().map(|lease| lease.token().clone())
        );
    }
}

#[tokio::test]
async fn with_the_store_down_no_refresh_token_of_a_provider_is_spent() {
    let (host, session) = expired(None).await;
    host.store.set_down(true);
    let options = TokenOptions { fail_fast: true, ..TokenOptions::default() };
    let error = within("an answer", session.token_with(options)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreTrouble);
    assert_eq!(host.server.count(super::server::REFRESH), 0);
    host.store.set_down(false);
    assert!(token(&session).await.is_ok());
    assert_eq!((host.server.count(super::server::REFRESH), host.server.replays()), (1, 0));
}

#[tokio::test]
async fn a_shutdown_ends_a_request_that_waits_for_another_session() {
    let (host, session) = expired(None).await;
    host.server.hold(super::server::REFRESH);
    let caller = tokio::spawn({
        let session = session.clone();
        async move { session.token().await }
    });
    host.server.until(super::server::REFRESH, 1).await;
    let shutdown = tokio::spawn({
        let auth = host.auth.clone();
        async move { auth.shutdown(Duration::from_secs(20)).await }
    });
    let error = within("a caller", caller).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::ShuttingDown);
    host.server.release();
    assert!(within("a shutdown", shutdown).await.unwrap().is_clean(), "the provider's new refresh token is stored");
    assert_eq!(host.server.replays(), 0);
}
