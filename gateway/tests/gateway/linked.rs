//! Sessions at a second upstream, which belong to the subject.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::routing::any;
use axum::{Extension, Router};
use http::Request;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{Login, SessionSpec};
use tokenkeeper_gateway::{Inbound, Upstream, UpstreamTrouble, UpstreamUser};
use tokenkeeper_testkit::login_server::{Browser as Person, Endpoint, LoginServer};
use tower::ServiceExt as _;

use super::rig::{Answer, Browser, Rig, Tokens};

struct Linked {
    rig: Rig,
    second: Arc<LoginServer>,
    client: String,
}

fn of(second: &LoginServer) -> Upstream {
    Upstream::new("second", SessionSpec::mcp(&second.resource_url()).unwrap()).label("Second")
}

impl Linked {
    async fn new() -> Self {
        let second = Arc::new(LoginServer::start().await.unwrap());
        let upstream = of(&second);
        let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.upstream(upstream)).await;
        let client = rig.register().await;
        Self { rig, second, client }
    }

    /// Another replica answers from now on, which has the rig's runtime.
    async fn restart(&mut self) {
        let upstream = of(&self.second);
        self.rig.restart(|builder| builder.upstream(upstream)).await;
    }

    /// Signs a person of both upstreams in for the client.
    async fn sign_in(&self, browser: &mut Browser, name: &str) -> Tokens {
        self.rig.upstream.subject(name);
        let code = self.rig.code(browser, &self.client).await;
        Tokens::of(&self.rig.redeem(&self.client, &code).await.1)
    }

    /// Begins a sign-in at the second upstream, and returns the address of its answer.
    async fn answer_of_second(&self, browser: &mut Browser, name: &str) -> String {
        let away = browser.login(&self.rig, "second").await;
        assert!(away.location().starts_with(self.second.origin()), "{}", away.location());
        self.answer_at_second(&away, name).await
    }

    async fn answer_at_second(&self, away: &Answer, name: &str) -> String {
        self.second.subject(name);
        Person::open(away.location()).await.unwrap().callback.unwrap()
    }

    /// The status of a call that needs the second upstream, and the person there.
    async fn call(&self, tokens: &Tokens) -> (u16, String) {
        let second = Arc::clone(&self.second);
        let served = async move |Extension(inbound): Extension<Inbound>| {
            let lease = inbound.upstream("second")?.token().await?;
            let verdict = second.verifier().admit(
                Some(format!("Bearer {}", lease.token().expose()).as_bytes()),
                &second.resource_url(),
                &[],
            );
            let tokenkeeper_testkit::hostile::TokenVerdict::Admitted(admission) = verdict else {
                return Ok("nobody".to_owned());
            };
            let chain = admission.chain.unwrap();
            Ok::<_, UpstreamTrouble>(second.subject_of(chain).unwrap_or_else(|| format!("{chain:?}")))
        };
        let layer = self.rig.gateway.layer(&self.rig.url("/mcp")).unwrap();
        let app = Router::new().route("/mcp", any(served)).layer(layer);
        let request = Request::post("/mcp").header("authorization", format!("Bearer {}", tokens.access));
        let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_person_links_a_second_upstream_and_all_clients_use_it() {
    let linked = Linked::new().await;
    let mut browser = linked.rig.browser();
    let first = linked.sign_in(&mut browser, "alice").await;
    let (status, told) = linked.call(&first).await;
    assert_eq!(status, 403);
    assert!(told.contains("/oauth/login/second"), "{told}");
    let answer = linked.answer_of_second(&mut browser, "alice-at-second").await;
    assert!(browser.get(&answer).await.body.contains("You are signed in"));
    assert_eq!(linked.call(&first).await, (200, "alice-at-second".to_owned()));
    // A later login at the first upstream, from another browser, leaves it as it is.
    let other = linked.sign_in(&mut linked.rig.browser(), "alice").await;
    assert_eq!(linked.call(&other).await, (200, "alice-at-second".to_owned()));
    assert_eq!(linked.call(&first).await, (200, "alice-at-second".to_owned()));
    let again = browser.login(&linked.rig, "second").await;
    assert!(again.body.contains("You are signed in"), "a session that is signed in needs no login");
}

#[tokio::test]
async fn a_browser_whose_person_is_not_known_signs_in_at_the_first_upstream_before() {
    let linked = Linked::new().await;
    let tokens = linked.sign_in(&mut linked.rig.browser(), "alice").await;
    let mut browser = linked.rig.browser();
    let away = browser.login(&linked.rig, "second").await;
    assert!(away.location().starts_with(linked.rig.upstream.origin()));
    let answer = Person::open(away.location()).await.unwrap().callback.unwrap();
    let away = browser.get(&answer).await;
    assert!(away.location().starts_with(linked.second.origin()), "{}", away.body);
    let answer = linked.answer_at_second(&away, "alice-at-second").await;
    assert!(browser.get(&answer).await.body.contains("You are signed in"));
    assert_eq!(linked.call(&tokens).await, (200, "alice-at-second".to_owned()));
}

#[tokio::test]
async fn a_person_cannot_be_made_to_link_the_account_of_another() {
    let linked = Linked::new().await;
    let (mut alice, mut bob) = (linked.rig.browser(), linked.rig.browser());
    let of_alice = linked.sign_in(&mut alice, "alice").await;
    let of_bob = linked.sign_in(&mut bob, "bob").await;
    let answer = linked.answer_of_second(&mut bob, "bob-at-second").await;
    // Also while a sign-in of hers is under way.
    let hers = linked.answer_of_second(&mut alice, "alice-at-second").await;
    assert_eq!(alice.get(&answer).await.status, 400);
    assert_eq!(linked.second.counts().of(Endpoint::Token), 0);
    assert_eq!((linked.call(&of_alice).await.0, linked.call(&of_bob).await.0), (403, 403));
    assert_eq!(alice.get(&hers).await.status, 200);
    assert_eq!(bob.get(&answer).await.status, 200);
    assert_eq!(linked.call(&of_alice).await, (200, "alice-at-second".to_owned()));
    assert_eq!(linked.call(&of_bob).await, (200, "bob-at-second".to_owned()));
}

#[tokio::test]
async fn of_two_browsers_of_one_person_the_later_one_completes_the_login() {
    let linked = Linked::new().await;
    let (mut first, mut later) = (linked.rig.browser(), linked.rig.browser());
    let tokens = linked.sign_in(&mut first, "alice").await;
    linked.sign_in(&mut later, "alice").await;
    let abandoned = linked.answer_of_second(&mut first, "alice-at-second").await;
    let answer = linked.answer_of_second(&mut later, "alice-at-second").await;
    let late = first.get(&abandoned).await;
    assert_eq!(late.status, 400, "{}", late.body);
    assert_eq!(later.get(&answer).await.status, 200);
    assert_eq!(linked.call(&tokens).await, (200, "alice-at-second".to_owned()));
    assert_eq!(linked.second.counts().of(Endpoint::Token), 1);
}

#[tokio::test]
async fn a_login_at_a_second_upstream_never_changes_the_browsers_person() {
    let linked = Linked::new().await;
    let mut browser = linked.rig.browser();
    let of_alice = linked.sign_in(&mut browser, "alice").await;
    let hers = linked.answer_of_second(&mut browser, "alice-at-second").await;
    // Bob signs in at the same browser, and then her answer comes.
    linked.rig.upstream.subject("bob");
    let away = browser.login(&linked.rig, "up").await;
    browser.get(&Person::open(away.location()).await.unwrap().callback.unwrap()).await;
    let bob = browser.cookies["tkg-person"].clone();
    assert_eq!(browser.get(&hers).await.status, 400);
    assert_eq!(browser.cookies["tkg-person"], bob);
    assert_eq!((linked.call(&of_alice).await.0, linked.second.counts().of(Endpoint::Token)), (403, 0));
    let his = linked.answer_of_second(&mut browser, "bob-at-second").await;
    assert_eq!(browser.get(&his).await.status, 200);
    assert_eq!(browser.cookies["tkg-person"], bob, "nor does one of his own");
}

#[tokio::test]
async fn a_person_who_was_enrolled_has_the_sessions_that_were_installed_for_them() {
    let linked = Linked::new().await;
    let (gateway, runtime) = (&linked.rig.gateway, &linked.rig.runtime);
    let alice = UpstreamUser { issuer: linked.rig.upstream.issuer(), subject: "alice".to_owned() };
    // An earlier system had tokens of hers at the second upstream.
    let subject = gateway.enroll(&alice, "earlier-1").await.unwrap();
    let earlier = linked.second.hostile().grant_for(
        &linked.second.pre_register(ClientAuth::None, ["https://earlier.example/back"]),
        &linked.second.resource_url(),
        "mcp:read",
    );
    let settings = IssuerSettings::new(
        linked.second.issuer(),
        earlier.binding.token_endpoint.clone(),
        Client::public(earlier.binding.client.id.clone()),
    );
    let login = Login::at(settings.unwrap()).refresh_token(earlier.refresh_token.expose());
    let spec = SessionSpec::mcp(&linked.second.resource_url()).unwrap().account(&subject).unwrap();
    runtime.session(spec).install(login).await.unwrap();

    let of_bob = linked.sign_in(&mut linked.rig.browser(), "bob").await;
    assert_eq!(linked.call(&of_bob).await.0, 403, "nothing was installed for others");
    let of_alice = linked.sign_in(&mut linked.rig.browser(), "alice").await;
    assert_eq!(linked.rig.call(&of_alice.access).await.json()["subject"], subject.as_str());
    assert_eq!(linked.call(&of_alice).await, (200, format!("{:?}", earlier.chain)));
    gateway.sign_out(&subject).await.unwrap();
    assert_eq!(linked.call(&of_alice).await.0, 401);
}

#[tokio::test]
async fn a_sign_in_at_another_replica_is_waited_for() {
    let mut linked = Linked::new().await;
    let mut browser = linked.rig.browser();
    let tokens = linked.sign_in(&mut browser, "alice").await;
    let answer = linked.answer_of_second(&mut browser, "alice-at-second").await;

    // Her next request comes to another replica, from another browser of hers.
    let mut other = linked.rig.browser();
    linked.sign_in(&mut other, "alice").await;
    let (first, cookies, others) = (linked.rig.runtime.clone(), browser.cookies, other.cookies);
    linked.rig.runtime = linked.rig.other_runtime().await;
    linked.restart().await;
    let mut other = linked.rig.browser();
    other.cookies = others;
    let waits = other.login(&linked.rig, "second").await;
    assert_eq!((waits.status, waits.location()), (400, ""));
    assert!(waits.body.contains("Another sign-in is under way. Try again in a minute."), "{}", waits.body);
    assert!(!waits.body.contains("You are signed in"));
    assert_eq!(linked.call(&tokens).await.0, 403);

    // The first one ends where it was begun, and both replicas have the session.
    let others = other.cookies;
    let second = std::mem::replace(&mut linked.rig.runtime, first);
    linked.restart().await;
    let mut browser = linked.rig.browser();
    browser.cookies = cookies;
    assert!(browser.get(&answer).await.body.contains("You are signed in"));
    linked.rig.runtime = second;
    linked.restart().await;
    let mut other = linked.rig.browser();
    other.cookies = others;
    let done = other.login(&linked.rig, "second").await;
    assert!(done.body.contains("You are signed in"), "{}", done.body);
    assert_eq!(linked.call(&tokens).await, (200, "alice-at-second".to_owned()));
    assert_eq!(linked.second.counts().of(Endpoint::Token), 1);
}
