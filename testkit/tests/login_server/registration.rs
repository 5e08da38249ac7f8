//! Registration and its management.

use std::time::Duration;

use serde_json::json;
use tokenkeeper_actors::values::record::ClientAuth;
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};

use crate::client::{Careless, REDIRECT, error, json as body, post_json, with, word};

#[tokio::test]
async fn a_registration_is_read_and_deleted_with_its_own_token() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let (address, token) = (
        word(&client.registration, "registration_client_uri"),
        word(&client.registration, "registration_access_token"),
    );
    let read = body(client.http.get(address).bearer_auth(token).send().await.unwrap()).await;
    assert_eq!(read, client.registration);
    assert_eq!(client.http.get(address).bearer_auth("guess").send().await.unwrap().status(), 401);
    assert_eq!(client.http.delete(address).bearer_auth("guess").send().await.unwrap().status(), 401);
    assert_eq!(client.http.put(address).bearer_auth(token).send().await.unwrap().status(), 405);
    assert_eq!(client.http.delete(address).bearer_auth(token).send().await.unwrap().status(), 204);
    assert_eq!(client.http.get(address).bearer_auth(token).send().await.unwrap().status(), 401);
    assert_eq!((client.ask("").await.status, client.ask("").await.callback), (400, None));
    let counts = server.counts();
    assert_eq!((counts.of(Endpoint::ClientConfiguration), counts.registered, counts.deleted), (6, 1, 1));
}

#[tokio::test]
async fn a_registration_gets_what_it_asks_for_or_the_defaults() {
    let server = LoginServer::start().await.unwrap();
    let endpoint = format!("{}/register", server.origin());
    let answer = body(post_json(&endpoint, &json!({ "redirect_uris": [REDIRECT] })).await).await;
    assert_eq!(word(&answer, "token_endpoint_auth_method"), "client_secret_basic");
    assert_eq!(answer["grant_types"], json!(["authorization_code"]));
    assert_eq!((answer["client_secret_expires_at"].as_u64(), answer["client_secret"].is_string()), (Some(0), true));
    let asked = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "client_name": "A host" });
    let answer = body(post_json(&endpoint, &asked).await).await;
    assert_eq!((word(&answer, "client_name"), answer.get("client_secret")), ("A host", None));

    for (asked, expected) in [
        (json!({}), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://example.com/callback"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["javascript:alert(1)"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://localhost.example.com/"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "magic" }), "invalid_client_metadata"),
        (json!([]), "invalid_client_metadata"),
    ] {
        assert_eq!(error(post_json(&endpoint, &asked).await).await, (400, expected.into()), "{asked}");
    }
    assert_eq!((server.counts().of(Endpoint::Registration), server.counts().registered), (8, 2));
}

#[tokio::test]
async fn a_server_may_know_one_authentication_method_only() {
    let server = LoginServer::builder().auth_methods([ClientAuth::Post]).start().await.unwrap();
    let endpoint = format!("{}/register", server.origin());
    for (method, status) in [("none", 400), ("client_secret_basic", 400), ("client_secret_post", 201)] {
        let asked = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method });
        assert_eq!(post_json(&endpoint, &asked).await.status(), status, "{method}");
    }
    let metadata = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let metadata = body(crate::client::get(&metadata).await).await;
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["client_secret_post"]));
    assert_eq!(body(crate::client::get(word(&metadata, "jwks_uri")).await).await, json!({ "keys": [] }));
}

#[tokio::test]
async fn the_secrets_of_registered_clients_may_end() {
    let server = LoginServer::builder().secrets_expire_in(Duration::from_secs(600)).start().await.unwrap();
    let answer =
        body(post_json(&format!("{}/register", server.origin()), &json!({ "redirect_uris": [REDIRECT] })).await).await;
    let (issued, expires) = (answer["client_id_issued_at"].as_u64(), answer["client_secret_expires_at"].as_u64());
    let lifetime = expires.unwrap() - issued.unwrap();
    assert!((600..=601).contains(&lifetime), "{lifetime}");
}

#[tokio::test]
async fn a_client_without_the_grant_type_gets_no_refresh_token() {
    let server = LoginServer::start().await.unwrap();
    let mut client = Careless::register(&server).await;
    assert!(client.log_in("").await.get("refresh_token").is_some());
    let asked = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let answer = body(post_json(&format!("{}/register", server.origin()), &asked).await).await;
    client.id = word(&answer, "client_id").to_owned();
    assert!(client.log_in("").await.get("refresh_token").is_none());
}

#[tokio::test]
async fn forgotten_clients_are_unknown_everywhere_and_others_stay() {
    let server = LoginServer::start().await.unwrap();
    let mut client = Careless::register(&server).await;
    let tokens = client.log_in("").await;
    let code = client.code("").await;
    let hand_made = server.pre_register(ClientAuth::None, [REDIRECT]);
    server.forget_clients();
    assert_eq!((client.ask("").await.status, client.ask("").await.callback), (400, None));
    assert_eq!(error(client.refresh(word(&tokens, "refresh_token")).await).await, (401, "invalid_client".into()));
    assert_eq!(error(client.token(&client.exchange(&code)).await).await, (401, "invalid_client".into()));
    assert_eq!(client.call("any", word(&tokens, "access_token")).await.status(), 200);
    client.id = hand_made.id;
    assert!(client.log_in("").await.get("access_token").is_some());
    let again = Careless::register(&server).await;
    assert!(again.log_in("").await.get("access_token").is_some());
}

#[tokio::test]
async fn a_client_may_be_named_by_its_metadata_document() {
    let server = LoginServer::builder().metadata_documents().start().await.unwrap();
    let mut client = Careless::register(&server).await;
    client.id = "https://host.example.com/client.json".to_owned();
    assert_eq!(client.ask("").await.status, 400);
    server.add_metadata_document(&client.id, [REDIRECT]);
    assert!(client.log_in("").await.get("access_token").is_some());
    let metadata = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let metadata = body(client.http.get(metadata).send().await.unwrap()).await;
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
}

#[tokio::test]
async fn the_port_of_a_loopback_address_may_differ() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let moved = "http://127.0.0.1:9/callback";
    let url = client.url_of(&with(client.parameters(""), "redirect_uri", Some(moved)));
    let visit = Browser::open(&url).await.unwrap();
    assert!(visit.callback.as_ref().unwrap().starts_with(moved), "{visit:?}");
    let exchange = client.exchange(&visit.query("code").unwrap());
    assert_eq!(client.token(&with(exchange, "redirect_uri", Some(moved))).await.status(), 200);
}
