//! Inbound requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::routing::any;
use axum::{Extension, Router};
use http::Request;
use serde_json::json;
use tokenkeeper::SessionSpec;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::user::UserContext;
use tokenkeeper_gateway::store::{
    Expiring, GatewayStore, Key, MemoryGatewayStore, Revision, StoreTrouble, Stored, Swapped,
};
use tokenkeeper_gateway::{
    BuildError, Gateway, GatewayBuilder, GatewayKey, IdentifyByUser, Inbound, Upstream, UpstreamUser,
};
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};
use tower::ServiceExt as _;

use super::rig::{Rig, Tokens, query};

/// A store that can be unplugged.
#[derive(Debug, Default)]
struct Unplugged {
    inner: MemoryGatewayStore,
    is_out: AtomicBool,
}

#[async_trait]
impl GatewayStore for Unplugged {
    async fn load(&self, key: &Key, now: WallTime) -> Result<Option<Stored>, StoreTrouble> {
        if self.is_out.load(Ordering::SeqCst) { Err(StoreTrouble) } else { self.inner.load(key, now).await }
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Revision>,
        next: Option<Expiring>,
        now: WallTime,
    ) -> Result<Swapped, StoreTrouble> {
        if self.is_out.load(Ordering::SeqCst) {
            Err(StoreTrouble)
        } else {
            self.inner.swap(key, expected, next, now).await
        }
    }
}

#[tokio::test]
async fn the_resource_gets_the_sender_and_neither_the_inbound_token_nor_another_persons() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let alice = rig.signed_in(&client).await;
    rig.upstream.subject("bob");
    let bob = rig.signed_in(&client).await;
    for (tokens, person) in [(&alice, "alice"), (&bob, "bob"), (&alice, "alice")] {
        let told = rig.call_with(&tokens.access, &[("cookie", "tkg-person=x; own=y")]).await.json();
        assert_eq!(told["cookie"], "own=y");
        assert_eq!((told["upstream"].as_str(), told["authorization"].as_bool()), (Some(person), Some(false)));
    }
}

#[tokio::test]
async fn only_a_dead_token_is_answered_with_401() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    let other = Rig::new().await;
    let foreign = other.signed_in(&other.register().await).await;
    for dead in ["", "x", &tokens.refresh, &foreign.access, &format!("{}x", tokens.access)] {
        let refused = rig.call(dead).await;
        assert_eq!(refused.status, 401, "{dead}");
        assert!(refused.header("www-authenticate").contains("resource_metadata="));
    }
    let twice = rig.call_with(&tokens.access, &[("authorization", "Bearer x")]).await;
    assert_eq!(twice.status, 401, "two tokens are none");
    assert_eq!(rig.call(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_at_its_own_resource_alone() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    // A second gateway of the same issuer, key and store, for another resource, as a replica with other routes.
    let other = rig.other_resource();
    let layer = other.layer(&rig.url("/other")).unwrap();
    let app = Router::new().route("/other", any(async || "served")).layer(layer);
    let request = Request::post("/other").header("authorization", format!("Bearer {}", tokens.access));
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
    let layer = other.layer(&rig.url("/mcp")).unwrap();
    let app = Router::new().route("/mcp", any(async || "served")).layer(layer);
    let request = Request::post("/mcp").header("authorization", format!("Bearer {}", tokens.access));
    assert_eq!(app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status(), 200);
    assert!(other.layer(&rig.url("/none")).is_err());
}

#[tokio::test]
async fn a_token_without_a_scope_is_answered_with_the_scope() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[("scope", "read")])).await;
    let callback = browser.allow(&rig, &page).await;
    let tokens = Tokens::of(&rig.redeem(&client, &query(&callback, "code").unwrap()).await.1);
    let layer = rig.gateway.layer(&rig.url("/mcp")).unwrap();
    let served = async |Extension(inbound): Extension<Inbound>| inbound.scopes().join(" ");
    for (scope, status) in [("read", 200), ("write", 403)] {
        let app = Router::new().route("/mcp", any(served)).layer(layer.clone().scopes([scope]).unwrap());
        let request = Request::post("/mcp").header("authorization", format!("Bearer {}", tokens.access));
        let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status);
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let wanted = "error=\"insufficient_scope\", scope=\"write\"";
        assert_eq!(challenge.is_some_and(|challenge| challenge.ends_with(wanted)), status == 403);
    }
}

#[tokio::test]
async fn a_layer_that_requires_an_upstream_answers_for_it() {
    let rig = Rig::new().await;
    let tokens = rig.signed_in(&rig.register().await).await;
    rig.expire_upstream();
    rig.upstream.hostile().revoke(rig.upstream.grants()[0].chain);
    let layer = rig.gateway.layer(&rig.url("/mcp")).unwrap().requires("up").unwrap();
    let app = Router::new().route("/mcp", any(async || "served")).layer(layer);
    let request = Request::post("/mcp").header("authorization", format!("Bearer {}", tokens.access));
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn a_name_that_the_gateway_does_not_have_is_an_error_when_the_layer_is_made() {
    let rig = Rig::new().await;
    let layer = || rig.gateway.layer(&rig.url("/mcp")).unwrap();
    let error = layer().requires("typo").unwrap_err();
    assert_eq!(error, BuildError::NoSuchUpstream { name: "typo".to_owned(), known: "up".to_owned() });
    assert!(error.to_string().contains("correct the name, or add the upstream"), "{error}");
    let error = layer().scopes(["read", "raed"]).unwrap_err();
    assert_eq!(error, BuildError::NoSuchScope { name: "raed".to_owned(), known: "read, write".to_owned() });
    let without = rig.other_resource().layer(&rig.url("/other")).unwrap();
    assert!(without.scopes(["read"]).unwrap_err().to_string().contains("the gateway has none"));
    layer().requires("up").unwrap().scopes(["write", "read"]).unwrap();
}

#[tokio::test]
async fn an_upstream_that_needs_a_login_is_told_with_the_page_for_it() {
    let rig = Rig::new().await;
    let tokens = rig.signed_in(&rig.register().await).await;
    rig.expire_upstream();
    rig.upstream.hostile().revoke(rig.upstream.grants()[0].chain);
    for _ in 0..3 {
        let told = rig.call(&tokens.access).await;
        assert_eq!((told.status, told.header("www-authenticate")), (403, ""));
        assert_eq!(told.json()["error"], "interaction_required");
        assert_eq!(told.json()["interaction_url"], rig.url("/oauth/login/up"));
    }
    assert_eq!(rig.upstream.hostile().counts().refresh_grants, 1, "it was asked once");
}

#[tokio::test]
async fn trouble_of_the_upstream_passes_and_its_pause_is_named() {
    let rig =
        Rig::with(LoginServer::start().await.unwrap(), |builder| builder.upstream_timeout(Duration::from_millis(300)))
            .await;
    let tokens = rig.signed_in(&rig.register().await).await;
    rig.expire_upstream();
    let pause = Fault::status(429).retry_after(RetryAfter::Seconds(7));
    rig.upstream.hostile().always(When::Before, pause);
    let told = rig.call(&tokens.access).await;
    assert_eq!((told.status, told.header("www-authenticate")), (503, ""));
    let pause: u64 = told.header("retry-after").parse().unwrap();
    assert!((3..=7).contains(&pause), "the upstream's own pause, of which a part may have passed: {pause}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_signs_nobody_out() {
    let store = Arc::new(Unplugged::default());
    let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.store(store.clone())).await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    store.is_out.store(true, Ordering::SeqCst);
    let told = rig.call(&tokens.access).await;
    assert_eq!((told.status, told.header("retry-after"), told.header("www-authenticate")), (503, "2", ""));
    let (status, answer) = rig.refresh(&client, &tokens.refresh).await;
    assert_eq!((status, answer["error"].as_str()), (503, Some("temporarily_unavailable")));
    assert_eq!(rig.revoke(&client, &tokens.refresh).await, 503);
    store.is_out.store(false, Ordering::SeqCst);
    assert_eq!(rig.refresh(&client, &tokens.refresh).await.0, 200);
    assert_eq!(rig.call(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_full_store_refuses_a_code_and_serves_those_who_are_signed_in() {
    let bounds = {
        let mut bounds = tokenkeeper_gateway::store::Bounds::default();
        bounds.max_families = 1;
        bounds
    };
    let store = Arc::new(MemoryGatewayStore::new(bounds));
    let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.store(store)).await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    let mut browser = rig.browser();
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let callback = browser.allow(&rig, &page).await;
    assert_eq!(query(&callback, "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(rig.call(&tokens.access).await.status, 200);
    assert_eq!(rig.refresh(&client, &tokens.refresh).await.0, 200);
}

#[tokio::test]
async fn an_mcp_session_belongs_to_its_subject() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let alice = rig.signed_in(&client).await;
    rig.upstream.subject("bob");
    let bob = rig.signed_in(&client).await;
    let begun = rig.call(&alice.access).await;
    let session = begun.header("mcp-session-id").to_owned();
    assert_ne!(session, "session-1");
    let own = rig.call_with(&alice.access, &[("mcp-session-id", &session)]).await;
    assert_eq!((own.status, own.json()["session"].as_str()), (200, Some("session-1")));
    for id in [session.as_str(), "session-1", "session-1.x"] {
        let foreign = rig.call_with(&bob.access, &[("mcp-session-id", id)]).await;
        assert_eq!(foreign.status, 404, "{id}");
    }
    assert_eq!(rig.upstream.counts().of(Endpoint::Revocation), 0);
}

#[tokio::test]
async fn the_user_context_is_fetched_once_and_comes_with_each_request() {
    let upstream = LoginServer::builder().userinfo(json!({ "name": "Alice Example" })).start().await.unwrap();
    let rig = Rig::with(upstream, |builder| builder).await;
    let tokens = rig.signed_in(&rig.register().await).await;
    let layer = rig.gateway.layer(&rig.url("/mcp")).unwrap().gives_user();
    let served = async |Extension(user): Extension<UserContext>| {
        format!("{} is {}", user.subject(), user.name().unwrap_or_default())
    };
    let app = Router::new().route("/mcp", any(served)).layer(layer);
    for _ in 0..10 {
        let request = Request::post("/mcp").header("authorization", format!("Bearer {}", tokens.access));
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body = to_bytes(answer.into_body(), 1000).await.unwrap();
        assert_eq!(body, "alice is Alice Example".as_bytes());
    }
    assert_eq!(rig.upstream.counts().of(Endpoint::UserInfo), 1);
}

#[tokio::test]
async fn a_person_is_identified_by_the_user_context() {
    for (claims, is_known) in [(Some(json!({})), true), (None, false)] {
        let builder = LoginServer::builder();
        let builder = match &claims {
            Some(claims) => builder.userinfo(claims.clone()),
            None => builder,
        };
        let by_user =
            |builder: GatewayBuilder| builder.identify(Arc::new(IdentifyByUser::at("https://upstream.example")));
        let rig = Rig::with(builder.start().await.unwrap(), by_user).await;
        let (client, mut browser) = (rig.register().await, rig.browser());
        let page = browser.get(&rig.authorize(&client, &[])).await;
        let callback = browser.allow(&rig, &page).await;
        assert_eq!(query(&callback, "code").is_some(), is_known, "{callback}");
        assert_eq!(query(&callback, "error").is_none(), is_known);
        let subject =
            UpstreamUser { issuer: "https://upstream.example".to_owned(), subject: "alice".to_owned() }.subject();
        if let Some(code) = query(&callback, "code") {
            let tokens = Tokens::of(&rig.redeem(&client, &code).await.1);
            assert_eq!(rig.call(&tokens.access).await.json()["subject"], subject);
        }
    }
}

#[tokio::test]
async fn the_page_of_consent_names_the_person_who_is_signed_in() {
    let upstream = LoginServer::builder().userinfo(json!({ "name": "Alice <Example>" })).start().await.unwrap();
    let by_user = |builder: GatewayBuilder| builder.identify(Arc::new(IdentifyByUser::at("https://upstream.example")));
    let rig = Rig::with(upstream, by_user).await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    assert!(!page.body.contains("signed in as"), "{}", page.body);
    browser.allow(&rig, &page).await;
    let page = browser.get(&rig.authorize(&client, &[])).await;
    assert!(page.body.contains("You are signed in as</dt><dd>Alice &lt;Example&gt;</dd>"), "{}", page.body);
}

#[tokio::test]
async fn two_upstreams_of_one_name_are_refused() {
    let rig = Rig::new().await;
    let upstream = || Upstream::new("up", SessionSpec::mcp(&rig.upstream.resource_url()).unwrap());
    let builder = Gateway::builder(&rig.origin, rig.runtime.clone(), GatewayKey::random().unwrap())
        .store(Arc::new(rig.store.clone()))
        .resource(rig.url("/mcp"))
        .upstream(upstream())
        .upstream(upstream());
    assert_eq!(builder.build().unwrap_err(), BuildError::Upstream);
}
