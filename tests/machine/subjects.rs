//! A refresh token as the subject of an exchange is a spend, marked and in doubt like any other.

use tokenkeeper::Reason;
use tokenkeeper::engine::values::record::MarkState;

use super::host::{Host, crowd, token, try_token};
use super::server::{BEARER, EXCHANGE, Fault, REFRESH};
use super::within;

#[tokio::test]
async fn the_refresh_token_is_the_subject_and_its_successor_is_stored() {
    let host = Host::new().await;
    let idp = host.signed_on_without_id_token().await;
    let session = host.session(2, &host.enterprise().scopes(["tools:read"]));
    assert!(token(&session).await.is_ok());
    let exchange = &host.server.requests()[0];
    let wanted = [
        ("subject_token", "rt-0"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
        ("audience", &host.server.issuer(2)),
        ("resource", &host.server.resource(2)),
        ("scope", "tools:read"),
    ];
    for (name, value) in wanted {
        assert_eq!(exchange.form[name], value);
    }
    let record = host.record(idp.identity()).await;
    assert_eq!(record.held().unwrap().credential.token().expose(), "rt-1");
    let host = host.restarted().await;
    host.expire();
    assert!(token(&host.auth.session(host.spec(2))).await.is_ok());
    assert_eq!((host.server.count(REFRESH), host.server.count(EXCHANGE), host.server.replays()), (0, 2, 0));
}

#[tokio::test]
async fn the_refresh_token_is_marked_while_it_is_exchanged() {
    let host = Host::new().await;
    let idp = host.signed_on_without_id_token().await;
    host.server.hold(EXCHANGE);
    let session = host.session(0, &host.enterprise());
    let caller = tokio::spawn(async move { token(&session).await });
    host.server.until(EXCHANGE, 1).await;
    let record = host.record(idp.identity()).await;
    let mark = record.held().unwrap().mark.clone().unwrap();
    assert_eq!((mark.state, mark.presentations), (MarkState::Open, 1));
    host.server.release();
    assert!(within("a caller", caller).await.unwrap().is_ok());
}

#[tokio::test]
async fn faults_that_leave_the_token_unspent_pass() {
    let host = Host::new().await;
    host.signed_on_without_id_token().await;
    host.server.next(EXCHANGE, [Fault::CloseBefore, Fault::Refuse(429, "slow_down", Some("1"))]);
    let answers = crowd(&[host.session(0, &host.enterprise()), host.session(1, &host.enterprise())], 25).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((host.server.count(EXCHANGE), host.server.count(BEARER), host.server.replays()), (4, 2, 0));
}

#[tokio::test]
async fn a_lost_answer_of_a_strict_provider_ends_in_a_sign_on() {
    let host = Host::new().await;
    let idp = host.signed_on_without_id_token().await;
    host.server.next(EXCHANGE, [Fault::CloseAfter]);
    let session = host.session(0, &host.enterprise());
    assert_eq!(token(&session).await.unwrap_err().reason(), Reason::SignOnRequired);
    assert_eq!(host.server.count(EXCHANGE), 2, "the doubt is resolved by one prompt presentation");
    assert_eq!(try_token(&idp).await.unwrap_err().reason(), Reason::GrantEnded);
}

#[tokio::test]
async fn a_denial_for_one_server_leaves_the_others() {
    let host = Host::new().await;
    host.signed_on_without_id_token().await;
    host.server.next(EXCHANGE, [Fault::Refuse(403, "access_denied", None)]);
    let denied = host.session(0, &host.enterprise());
    assert_eq!(token(&denied).await.unwrap_err().reason(), Reason::PolicyDenied);
    assert!(token(&host.session(1, &host.enterprise())).await.is_ok());
    assert_eq!(host.server.replays(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_costs_one_exchange_and_no_refresh_token() {
    let host = Host::new().await;
    let idp = host.signed_on_without_id_token().await;
    host.server.hold(EXCHANGE);
    let session = host.session(0, &host.enterprise());
    let caller = tokio::spawn({
        let session = session.clone();
        async move { session.token().await }
    });
    host.server.until(EXCHANGE, 1).await;
    caller.abort();
    host.server.release();
    assert!(token(&session).await.is_ok());
    assert_eq!((host.server.count(EXCHANGE), host.server.count(BEARER), host.server.replays()), (1, 1, 0));
    assert!(host.record(idp.identity()).await.held().is_some_and(|held| held.mark.is_none()));
}
