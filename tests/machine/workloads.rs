//! The tokens of a workload, in a file that changes and of another session, and exchanges.

use std::fs;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::issuers::Client;
use tokenkeeper::machine::{MachineGrant, SubjectToken, TokenType};

use super::host::{Host, robot, token, try_token};
use super::server::{BEARER, CREDENTIALS, DELEGATION};
use super::{jwt, within};

#[tokio::test]
async fn a_token_file_is_read_again_for_each_request() {
    let host = Host::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let session = host.session(0, &MachineGrant::jwt_bearer(SubjectToken::file(&file)));
    let error = try_token(&session).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SubjectUnavailable);
    assert!(error.is_transient() && !error.is_login_required());
    assert_eq!(host.server.count(BEARER), 0);

    for number in 1..=3 {
        // As a projected token is replaced.
        let next = folder.path().join("next");
        fs::write(&next, format!("wl-{number}\n")).unwrap();
        fs::rename(&next, &file).unwrap();
        host.expire();
        assert!(token(&session).await.is_ok());
        let request = host.server.requests().pop().unwrap();
        assert_eq!(request.form["assertion"], format!("wl-{number}"));
        assert_eq!(request.form["resource"], host.server.resource(0));
        assert!(request.authorization.is_none() && !request.form.contains_key("client_id"), "no client authenticates");
    }
    let host = host.restarted().await;
    host.expire();
    assert!(token(&host.auth.session(host.spec(0))).await.is_ok(), "the record names the file");
    assert_eq!(host.server.count(BEARER), 4);
}

#[tokio::test]
async fn a_rejected_assertion_is_presented_once() {
    let host = Host::new().await;
    let session = host.session(0, &MachineGrant::jwt_bearer(SubjectToken::fixed("bad-token")));
    let error = token(&session).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CredentialRejected);
    assert_eq!(host.server.count(BEARER), 1);
}

#[tokio::test]
async fn a_file_that_is_no_token_is_not_sent() {
    let host = Host::new().await;
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    fs::write(&large, vec![b'a'; 64 * 1024 + 1]).unwrap();
    let words = folder.path().join("words");
    fs::write(&words, "no such token").unwrap();
    for (server, file) in [large, words, folder.path().to_owned()].iter().enumerate() {
        let session = host.session(server, &MachineGrant::jwt_bearer(SubjectToken::file(file)));
        assert_eq!(try_token(&session).await.unwrap_err().reason(), Reason::SubjectUnavailable, "{file:?}");
    }
    assert_eq!(host.server.count(BEARER), 0);
}

#[tokio::test]
async fn an_exchange_has_the_subject_and_the_actor_and_does_not_outlive_the_subject() {
    let host = Host::new().await;
    // It lives for ten minutes, and the server's tokens for an hour.
    let subject = jwt::unsigned(&serde_json::json!({ "sub": "ann", "iat": 1_700_000_000, "exp": 1_700_000_600 }));
    let grant = MachineGrant::token_exchange(SubjectToken::fixed(subject.as_str()), TokenType::jwt())
        .actor(SubjectToken::fixed("actor-token"), TokenType::access_token())
        .audience("backend")
        .client(Client::secret_basic("robot", "secret/1 +"));
    let session = host.session(0, &grant);
    assert!(token(&session).await.is_ok());
    let request = host.server.requests().pop().unwrap();
    let wanted = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("actor_token", "actor-token"),
        ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", "backend"),
    ];
    for (name, value) in wanted {
        assert_eq!(request.form[name], value);
    }
    assert_eq!(request.authorization, Some(jwt::basic("robot", "secret/1 +")));
    let lease = within("a token", session.token()).await.unwrap();
    assert_eq!(lease.validity().lifetime(), Some(std::time::Duration::from_secs(600)));
    assert_eq!(host.server.count(DELEGATION), 1);
}

#[tokio::test]
async fn a_grant_on_behalf_of_takes_the_parameters_of_its_provider() {
    let host = Host::new().await;
    let grant = MachineGrant::jwt_bearer(SubjectToken::fixed("users-token"))
        .client(Client::secret_post("robot", "secret/1 +"))
        .scopes(["api://backend/.default"])
        .parameter("requested_token_use", "on_behalf_of")
        .parameter("grant_type", "password")
        .parameter("client_secret", "other")
        .without_resource();
    assert!(token(&host.session(0, &grant)).await.is_ok());
    let form = host.server.requests().pop().unwrap().form;
    assert_eq!(form["requested_token_use"], "on_behalf_of");
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer", "the request's own stay");
    assert_eq!((form["client_secret"].as_str(), form["scope"].as_str()), ("secret/1 +", "api://backend/.default"));
}

#[tokio::test]
async fn the_token_of_another_session_is_renewed_first() {
    let host = Host::new().await;
    let first = host.session(0, &robot());
    let subject = SubjectToken::session(first.identity().clone());
    let second = host.session(1, &MachineGrant::token_exchange(subject, TokenType::access_token()));
    assert!(token(&second).await.is_ok());
    host.expire();
    assert!(token(&second).await.is_ok());
    assert_eq!((host.server.count(CREDENTIALS), host.server.count(DELEGATION)), (2, 2));
    let subjects: Vec<_> =
        host.server.requests().into_iter().filter_map(|request| request.form.get("subject_token").cloned()).collect();
    assert_eq!(subjects, ["at-1", "at-3"]);

    let itself = SubjectToken::session(host.spec(2).identity().clone());
    let circle = host.session(2, &MachineGrant::token_exchange(itself, TokenType::access_token()));
    assert_eq!(try_token(&circle).await.unwrap_err().reason(), Reason::RequestRefused);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let host = Host::new().await;
    let session = host.session(0, &robot());
    let lease = within("a token", session.token()).await.unwrap();
    let operation = OperationKey::of("tools/call");
    within("a report", session.invalidate(&lease, operation, ChallengeKey::default())).await.unwrap();
    let next = within("a token", session.token()).await.unwrap();
    assert_ne!(lease.token(), next.token());
    let error = within("a report", session.invalidate(&next, operation, ChallengeKey::default())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ResourceRefuses);
    assert_eq!(host.server.count(CREDENTIALS), 2);
}
