//! Pushed authorization requests (RFC 9126).

use std::time::Duration;

use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};

use crate::client::{Careless, error, json, with, word};

#[tokio::test]
async fn a_pushed_request_is_used_once() {
    let server = LoginServer::builder().require_par().start().await.unwrap();
    let client = Careless::register(&server).await;
    let answer = client.form("/par", &client.parameters("tools:read")).await;
    assert_eq!(answer.status(), 201);
    let answer = json(answer).await;
    assert_eq!(answer["expires_in"], 60);
    let short =
        client.url_of(&[("client_id", client.id.clone()), ("request_uri", word(&answer, "request_uri").to_owned())]);
    let visit = Browser::open(&short).await.unwrap();
    assert_eq!(visit.query("state").as_deref(), Some("state-1"));
    let tokens = json(client.token(&client.exchange(&visit.query("code").unwrap())).await).await;
    assert_eq!(word(&tokens, "scope"), "tools:read");
    assert_eq!(Browser::open(&short).await.unwrap().status, 400);
    let unknown = client.url_of(&[("client_id", client.id.clone()), ("request_uri", "urn:x".into())]);
    assert_eq!(Browser::open(&unknown).await.unwrap().status, 400);

    let counts = server.counts();
    assert_eq!((counts.of(Endpoint::PushedAuthorization), counts.of(Endpoint::Authorization)), (1, 3));
    assert_eq!((counts.request_uris["request-0"], counts.request_uris["unknown"]), (2, 1));
    assert_eq!(counts.allowed, 1);
}

#[tokio::test]
async fn a_pushed_request_expires_and_belongs_to_its_client() {
    let server = LoginServer::start().await.unwrap();
    let (client, thief) = (Careless::register(&server).await, Careless::register(&server).await);
    let answer = json(client.form("/par", &client.parameters("")).await).await;
    let uri = word(&answer, "request_uri").to_owned();
    let stolen = client.url_of(&[("client_id", thief.id.clone()), ("request_uri", uri.clone())]);
    assert_eq!(Browser::open(&stolen).await.unwrap().status, 400);
    server.advance(Duration::from_secs(60));
    let late = client.url_of(&[("client_id", client.id.clone()), ("request_uri", uri)]);
    assert_eq!(Browser::open(&late).await.unwrap().status, 400);
    assert_eq!(server.counts().allowed, 0);
}

#[tokio::test]
async fn a_bad_request_fails_before_the_person_is_asked() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    for (name, value, status, word) in [
        ("client_id", Some("client-99"), 401, "invalid_client"),
        ("redirect_uri", Some("https://attacker.example.com/"), 400, "invalid_request"),
        ("code_challenge_method", Some("plain"), 400, "invalid_request"),
        ("scope", Some("admin"), 400, "invalid_scope"),
        ("resource", None, 400, "invalid_target"),
        ("request_uri", Some("urn:x"), 400, "invalid_request"),
    ] {
        let answer = client.form("/par", &with(client.parameters(""), name, value)).await;
        assert_eq!(error(answer).await, (status, word.into()), "{name} {value:?}");
    }
    server.forget_clients();
    assert_eq!(error(client.form("/par", &client.parameters("")).await).await.1, "invalid_client");
    assert_eq!(server.counts().of(Endpoint::Authorization), 0);
}

#[tokio::test]
async fn a_server_may_have_neither_pushes_nor_devices() {
    let server = LoginServer::builder().without_par().without_devices().start().await.unwrap();
    let client = Careless::register(&server).await;
    for path in ["/par", "/device_authorization"] {
        assert_eq!(client.form(path, &client.parameters("")).await.status(), 404, "{path}");
    }
    let metadata = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let metadata = json(client.http.get(metadata).send().await.unwrap()).await;
    assert!(metadata.get("pushed_authorization_request_endpoint").is_none());
    assert!(metadata.get("device_authorization_endpoint").is_none());
    assert!(client.log_in("").await.get("access_token").is_some());
}

#[tokio::test]
async fn a_server_that_requires_pushes_refuses_other_requests() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    assert!(client.ask("").await.query("code").is_some());
    server.require_par();
    assert_eq!(client.ask("").await.query("error").as_deref(), Some("invalid_request"));
    let metadata = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let metadata = json(client.http.get(metadata).send().await.unwrap()).await;
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
}
