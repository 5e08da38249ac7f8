//! Authorization codes: PKCE, single use, redirect equality, client authentication, resource.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tokenkeeper_actors::values::record::{Client, ClientAuth};
use tokenkeeper_testkit::hostile::Rules;
use tokenkeeper_testkit::login_server::{Browser, Consent, Endpoint, LoginServer};

use crate::client::{CHALLENGE, Careless, REDIRECT, VERIFIER, encoded, error, http, json, with, word};

#[tokio::test]
async fn a_login_brings_tokens_that_work_and_is_counted() {
    let server = LoginServer::builder().scopes(["openid", "read"]).issuer_path("/tenant1").start().await.unwrap();
    let client = Careless::register(&server).await;
    let visit = client.ask("openid read").await;
    assert_eq!(visit.status, 302);
    assert_eq!(visit.query("state").as_deref(), Some("state-1"));
    assert_eq!(visit.query("iss"), Some(server.issuer()));
    let code = visit.query("code").unwrap();
    let answer = json(client.token(&client.exchange(&code)).await).await;
    assert_eq!((word(&answer, "token_type"), word(&answer, "scope")), ("Bearer", "openid read"));
    assert_eq!(claims(word(&answer, "id_token"))["sub"], "alice");
    assert_eq!(claims(word(&answer, "id_token"))["iss"], *server.issuer());
    assert_eq!(claims(word(&answer, "id_token"))["aud"], *client.id);
    assert_eq!(client.call("any", word(&answer, "access_token")).await.status(), 200);
    assert_eq!(client.refresh(word(&answer, "refresh_token")).await.status(), 200);

    let counts = server.counts();
    for (endpoint, count) in [
        (Endpoint::Registration, 1),
        (Endpoint::Authorization, 1),
        (Endpoint::Token, 2),
        (Endpoint::Resource, 1),
        (Endpoint::ServerMetadata, 0),
    ] {
        assert_eq!(counts.of(endpoint), count, "{endpoint:?}");
    }
    assert_eq!((counts.registered, counts.allowed, counts.logins, counts.code_replays), (1, 1, 1, 0));
    assert_eq!(counts.codes, [("code-0".to_owned(), 1)].into());
    assert_eq!(counts.clients, [(client.id.clone(), 3)].into());
    let tokens = counts.tokens;
    assert_eq!((tokens.token_requests, tokens.refresh_grants, tokens.rotations, tokens.mints), (2, 1, 1, 0));
    assert_eq!((tokens.chains_alive, tokens.chains_revoked, tokens.other_grants), (1, 0, 1));
    assert_eq!(server.hostile().newest(server.grants()[0].chain), 1);
}

#[tokio::test]
async fn a_code_is_presented_once_or_its_tokens_end() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let code = client.code("").await;
    let first = json(client.token(&client.exchange(&code)).await).await;
    assert_eq!(client.call("any", word(&first, "access_token")).await.status(), 200);
    let second = client.token(&client.exchange(&code)).await;
    assert_eq!(error(second).await, (400, "invalid_grant".into()));
    assert_eq!(client.call("any", word(&first, "access_token")).await.status(), 401);
    assert_eq!(error(client.refresh(word(&first, "refresh_token")).await).await.1, "invalid_grant");
    assert_eq!(error(client.token(&client.exchange("code-unknown")).await).await.1, "invalid_grant");

    let counts = server.counts();
    assert_eq!((counts.codes["code-0"], counts.codes["unknown"], counts.code_replays, counts.logins), (2, 1, 1, 1));
    assert_eq!((counts.tokens.chains_alive, counts.tokens.chains_revoked), (0, 1));
}

#[tokio::test]
async fn what_differs_from_the_request_is_refused_and_spends_the_code() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let other = "0123456789012345678901234567890123456789012";
    for (name, value, word) in [
        ("code_verifier", Some(other), "invalid_grant"),
        ("code_verifier", Some("short"), "invalid_grant"),
        ("code_verifier", None, "invalid_grant"),
        ("redirect_uri", Some("http://127.0.0.1:2/callback"), "invalid_grant"),
        ("redirect_uri", None, "invalid_grant"),
        ("resource", Some("https://other.example.com/mcp"), "invalid_target"),
        ("resource", None, "invalid_target"),
        ("code", None, "invalid_request"),
    ] {
        let code = client.code("").await;
        let answer = client.token(&with(client.exchange(&code), name, value)).await;
        assert_eq!(error(answer).await, (400, word.into()), "{name} {value:?}");
        let again = client.token(&client.exchange(&code)).await.status();
        assert_eq!(again, if name == "code" { 200 } else { 400 }, "{name} {value:?}");
    }
    let code = client.code("").await;
    server.advance(Duration::from_secs(60));
    assert_eq!(error(client.token(&client.exchange(&code)).await).await.1, "invalid_grant");
    assert_eq!(server.counts().logins, 1);
}

#[tokio::test]
async fn a_server_may_ignore_resources() {
    let rules = Rules { checks_resource: false, ..Rules::default() };
    let server = LoginServer::builder().rules(rules).start().await.unwrap();
    let client = Careless::register(&server).await;
    let url = client.url_of(&with(client.parameters(""), "resource", None));
    let code = Browser::open(&url).await.unwrap().query("code").unwrap();
    let tokens = json(client.token(&with(client.exchange(&code), "resource", None)).await).await;
    assert_eq!(client.call("any", word(&tokens, "access_token")).await.status(), 200);
}

#[tokio::test]
async fn a_code_belongs_to_its_client() {
    let server = LoginServer::start().await.unwrap();
    let (client, thief) = (Careless::register(&server).await, Careless::register(&server).await);
    let code = client.code("").await;
    assert_eq!(error(client.token(&thief.exchange(&code)).await).await.1, "invalid_grant");
    assert_eq!(client.token(&client.exchange(&code)).await.status(), 200);
}

#[tokio::test]
async fn each_client_authenticates_as_it_is_registered() {
    let server = LoginServer::start().await.unwrap();
    let spare = Careless::register(&server).await;
    for auth in [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post] {
        let registered = server.pre_register(auth, [REDIRECT]);
        let client = Careless { server: &server, http: http(), id: registered.id.clone(), registration: Value::Null };
        for used in [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post] {
            let code = client.code("").await;
            let status = authenticated(&client, &registered, used, &code).await;
            assert_eq!(status, if auth == used { 200 } else { 401 }, "{auth:?} by {used:?}");
        }
    }
    assert_eq!(server.counts().tokens.refusals["invalid_client"], 6);
    assert_eq!(server.counts().logins, 3);
    drop(spare);
}

async fn authenticated(client: &Careless<'_>, registered: &Client, auth: ClientAuth, code: &str) -> u16 {
    let secret = registered.secret.as_ref().map_or("guess", |secret| secret.expose());
    let mut parameters = client.exchange(code);
    let mut request = client.http.post(client.server.hostile().token_endpoint());
    match auth {
        ClientAuth::Post => parameters.push(("client_secret", secret.to_owned())),
        ClientAuth::Basic => {
            parameters = with(parameters, "client_id", None);
            let header = STANDARD.encode(format!("{}:{secret}", registered.id));
            request = request.header("authorization", format!("Basic {header}"));
        }
        _ => {}
    }
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(encoded(&parameters)).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn bad_requests_come_back_as_errors_or_not_at_all() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    for (name, value, word) in [
        ("response_type", Some("token"), "unsupported_response_type"),
        ("code_challenge", None, "invalid_request"),
        ("code_challenge", Some("short"), "invalid_request"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("resource", None, "invalid_target"),
        ("resource", Some("https://elsewhere.example.com"), "invalid_target"),
        ("scope", Some("admin"), "invalid_scope"),
    ] {
        let url = client.url_of(&with(client.parameters(""), name, value));
        let visit = Browser::open(&url).await.unwrap();
        assert_eq!(visit.query("error").as_deref(), Some(word), "{name} {value:?}");
        assert_eq!(visit.query("state").as_deref(), Some("state-1"));
        assert_eq!(visit.query("iss"), Some(server.issuer()));
    }
    for (name, value) in [
        ("client_id", Some("client-99")),
        ("client_id", None),
        ("redirect_uri", Some("http://127.0.0.1:1/other")),
        ("redirect_uri", Some("https://attacker.example.com/callback")),
        ("redirect_uri", None),
    ] {
        let url = client.url_of(&with(client.parameters(""), name, value));
        let visit = Browser::open(&url).await.unwrap();
        assert_eq!((visit.status, visit.callback), (400, None), "{name} {value:?}");
    }
    let repeated = format!("{}&scope=a&scope=b", client.url_of(&with(client.parameters(""), "scope", None)));
    assert_eq!(Browser::open(&repeated).await.unwrap().status, 400);
    let counts = server.counts();
    assert_eq!((counts.refused["invalid_request"], counts.refused["no_callback"], counts.allowed), (3, 6, 0));
}

#[tokio::test]
async fn the_person_may_decline() {
    let server = LoginServer::builder().consents(Consent::Deny).start().await.unwrap();
    let client = Careless::register(&server).await;
    let visit = client.ask("").await;
    assert_eq!((visit.query("error").as_deref(), visit.query("code")), (Some("access_denied"), None));
    assert_eq!((server.counts().declined, server.counts().allowed), (1, 0));
    server.consents(Consent::Fails("temporarily_unavailable"));
    assert_eq!(client.ask("").await.query("error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!((server.counts().declined, server.counts().refused["temporarily_unavailable"]), (1, 1));
    server.consents(Consent::Allow);
    assert!(client.ask("").await.query("code").is_some());
}

#[tokio::test]
async fn the_log_has_each_request_without_a_secret() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let code = client.code("tools:read").await;
    client.token(&client.exchange(&code)).await;
    let log = server.log();
    let told: Vec<_> =
        log.iter().map(|request| (request.endpoint, &*request.method, &*request.path, request.status)).collect();
    assert_eq!(
        told,
        [
            (Endpoint::Registration, "POST", "/register", Some(201)),
            (Endpoint::Authorization, "GET", "/authorize", Some(302)),
            (Endpoint::Token, "POST", "/token", Some(200)),
        ]
    );
    assert_eq!(log[0].json.as_ref().unwrap()["application_type"], "native");
    assert_eq!((log[1].parameter("code_challenge"), log[1].parameter("scope")), (CHALLENGE, "tools:read"));
    assert_eq!((log[2].parameter("resource"), log[2].parameter("code")), (&*server.resource_url(), "(hidden)"));
    let text = format!("{log:?}");
    assert!(!text.contains(VERIFIER) && !text.contains(&code), "{text}");
    assert_eq!(server.log_of(Endpoint::Token), log[2..]);
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
