//! Sign-ins of persons, from the client's request to its code.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::login_server::{Browser as Person, Consent, Endpoint};
use tower::ServiceExt as _;

use super::rig::{BACK, Rig, query};

#[tokio::test]
async fn a_person_allows_a_client_signs_in_upstream_and_the_client_calls_a_tool() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    for part in ["Test &lt;Client&gt;", "Test Gateway", "Upstream &amp; Co", "read, write", "a program on this device"]
    {
        assert!(page.body.contains(part), "the page does not show {part}: {}", page.body);
    }
    let callback = browser.allow(&rig, &page).await;
    assert!(callback.starts_with(BACK), "{callback}");
    assert_eq!(query(&callback, "state").as_deref(), Some("st"));
    assert_eq!(query(&callback, "iss").as_deref(), Some(rig.origin.as_str()));
    let (status, answer) = rig.redeem(&client, &query(&callback, "code").unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((answer["token_type"].as_str(), answer["expires_in"].as_u64()), (Some("Bearer"), Some(600)));
    assert_eq!(answer["scope"], "read write");
    let called = rig.call(answer["access_token"].as_str().unwrap()).await;
    assert_eq!(called.status, 200, "{}", called.body);
    assert_eq!(called.json()["upstream"], "alice");
    let counts = rig.upstream.counts();
    assert_eq!((counts.of(Endpoint::Authorization), counts.of(Endpoint::Token)), (1, 1));
}

#[tokio::test]
async fn no_cookie_of_a_login_is_set_before_the_person_has_allowed_the_client() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["tkg-browser"]);
    assert_eq!(rig.upstream.counts().of(Endpoint::Authorization), 0);
    browser.press(&rig, &page.form(), "allow", &[]).await;
    assert!(browser.cookies.keys().any(|name| name.starts_with("tkg-flow-")));
}

#[tokio::test]
async fn a_person_who_declines_sends_the_client_away_without_a_login() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let away = browser.press(&rig, &page.form(), "deny", &[]).await;
    assert_eq!(query(away.location(), "error").as_deref(), Some("access_denied"));
    assert_eq!(query(away.location(), "iss").as_deref(), Some(rig.origin.as_str()));
    assert_eq!(rig.upstream.counts().of(Endpoint::Authorization), 0);
}

#[tokio::test]
async fn a_person_who_declines_at_the_upstream_gives_no_code() {
    let rig = Rig::new().await;
    rig.upstream.consents(Consent::Deny);
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let callback = browser.allow(&rig, &page).await;
    assert_eq!(query(&callback, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&callback, "code"), None);
    assert_eq!(rig.gateway.counts().open_logins, 0);
}

#[tokio::test]
async fn a_consent_is_remembered_for_one_person_one_client_and_one_address() {
    let rig = Rig::new().await;
    let web = "https://app.example/callback";
    let client = rig.register_at(web).await;
    let mut browser = rig.browser();
    let url = rig.authorize(&client, &[("redirect_uri", web)]);
    let page = browser.get(&url).await;
    browser.allow(&rig, &page).await;
    let again = browser.get(&url).await;
    assert_eq!(again.status, 303, "the same request of the same person");
    assert!(query(again.location(), "code").is_some());
    assert_eq!(rig.upstream.counts().of(Endpoint::Authorization), 1);
    let other = rig.register_at(web).await;
    assert_eq!(browser.get(&rig.authorize(&other, &[("redirect_uri", web)])).await.status, 200, "another client");
    let narrow = rig.authorize(&client, &[("redirect_uri", web), ("scope", "read")]);
    assert_eq!(browser.get(&narrow).await.status, 200, "another scope");
    assert_eq!(rig.browser().get(&url).await.status, 200, "another browser");
    rig.clock.pass(Duration::from_secs(9 * 3600));
    assert_eq!(browser.get(&url).await.status, 200, "the browser's person is forgotten after eight hours");
}

#[tokio::test]
async fn a_program_on_the_persons_machine_is_shown_each_time() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    rig.code(&mut browser, &client).await;
    assert_eq!(rig.store.counts().consents, 0, "a consent that is never read is not stored");
    let page = browser.get(&rig.authorize(&client, &[])).await;
    assert_eq!(page.status, 200);
    let callback = browser.allow(&rig, &page).await;
    assert!(query(&callback, "code").is_some());
    assert_eq!(rig.upstream.counts().of(Endpoint::Authorization), 1, "the person signs in once");
}

#[tokio::test]
async fn another_person_at_the_same_browser_gets_a_session_of_their_own() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let code = rig.code(&mut browser, &client).await;
    let alice = rig.redeem(&client, &code).await.1;
    rig.upstream.subject("bob");
    let page = browser.get(&rig.authorize(&client, &[])).await;
    assert!(page.body.contains("Use another account"));
    let away = browser.press(&rig, &page.form(), "another", &[]).await;
    let callback = browser.at_upstream(&rig, &away).await;
    let bob = rig.redeem(&client, &query(&callback, "code").unwrap()).await.1;
    let person = async |tokens: &serde_json::Value| {
        let called = rig.call(tokens["access_token"].as_str().unwrap()).await;
        (called.json()["subject"].clone(), called.json()["upstream"].clone())
    };
    let (alice, bob) = (person(&alice).await, person(&bob).await);
    assert_eq!((&alice.1, &bob.1), (&"alice".into(), &"bob".into()));
    assert_ne!(alice.0, bob.0);
}

#[tokio::test]
async fn a_person_is_the_same_subject_from_each_browser() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let (first, second) = (rig.signed_in(&client).await, rig.signed_in(&client).await);
    let (first, second) = (rig.call(&first.access).await, rig.call(&second.access).await);
    assert_eq!(first.json(), second.json());
    assert_eq!(rig.store.counts().persons, 1);
    assert!(
        rig.upstream.grants().iter().all(|grant| rig.upstream.hostile().is_alive(grant.chain)),
        "nothing was revoked"
    );
}

#[tokio::test]
async fn a_person_signs_in_to_an_upstream_again_at_its_own_page() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    let chain = rig.upstream.grants()[0].chain;
    rig.upstream.hostile().revoke(chain);
    rig.upstream.hostile().kill_access_tokens();
    let mut browser = rig.browser();
    let away = browser.login(&rig, "up").await;
    let visit = Person::open(away.location()).await.unwrap();
    let page = browser.get(&visit.callback.unwrap()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("You are signed in"));
    // The client's own tokens lead to the new session.
    assert_eq!(rig.call(&tokens.access).await.json()["upstream"], "alice");
    assert_eq!(browser.get(&rig.url("/oauth/login/other")).await.status, 404);
}

#[tokio::test]
async fn a_consent_is_given_by_the_person_who_saw_the_page() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    rig.code(&mut browser, &client).await;
    let of_alice = browser.get(&rig.authorize(&client, &[])).await;
    // Bob signs in in another tab, and then the button of the first one is pressed.
    rig.upstream.subject("bob");
    let away = browser.login(&rig, "up").await;
    browser.get(&Person::open(away.location()).await.unwrap().callback.unwrap()).await;
    let shown = browser.press(&rig, &of_alice.form(), "allow", &[]).await;
    assert_eq!((shown.status, shown.location()), (200, ""), "the page is shown again, to Bob");
    assert!(shown.body.contains("Test &lt;Client&gt;"), "{}", shown.body);
    let allowed = browser.press(&rig, &shown.form(), "allow", &[]).await;
    let tokens = rig.redeem(&client, &query(allowed.location(), "code").unwrap()).await.1;
    assert_eq!(rig.call(tokens["access_token"].as_str().unwrap()).await.json()["upstream"], "bob");
    let declined = browser.press(&rig, &of_alice.form(), "deny", &[]).await;
    assert_eq!(query(declined.location(), "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn a_browser_that_leaves_during_the_answer_loses_no_sign_in() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let away = browser.press(&rig, &page.form(), "allow", &[]).await;
    let answer = Person::open(away.location()).await.unwrap().callback.unwrap();
    let gate = rig.upstream.hold_at(Endpoint::Token, When::Before);
    let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get(answer.strip_prefix(&rig.origin).unwrap()).header("cookie", cookies.join("; "));
    let mut leaving = Box::pin(rig.gateway.router().oneshot(request.body(Body::empty()).unwrap()));
    let before = rig.upstream.counts().tokens.token_requests;
    tokio::select! {
        answer = &mut leaving => panic!("{answer:?}"),
        _ = rig.upstream.until(|counts| counts.tokens.token_requests > before) => {}
    }
    drop(leaving);
    gate.open();
    while rig.store.counts().families == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((rig.store.counts().persons, rig.gateway.counts().codes), (1, 1));
}

#[tokio::test]
async fn a_login_begins_with_a_button_and_not_with_a_link() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        let page = rig.browser().get(&rig.url("/oauth/login/up")).await;
        assert_eq!((page.status, page.location()), (200, ""));
        assert!(page.body.contains("Sign in to Upstream &amp; Co"), "{}", page.body);
        let other = rig.http.post(rig.url("/oauth/login/up"));
        let form = format!("form={}", page.form());
        let other = other.header("content-type", "application/x-www-form-urlencoded").body(form);
        assert_eq!(other.send().await.unwrap().status(), 400, "another browser");
    }
    assert_eq!(rig.gateway.counts().open_logins, 0);
    let mut browser = rig.browser();
    assert!(browser.login(&rig, "up").await.location().starts_with(rig.upstream.origin()));
    assert_eq!(rig.gateway.counts().open_logins, 1);
    rig.clock.pass(Duration::from_secs(600));
    assert_eq!(rig.gateway.counts().open_logins, 0, "one that has expired is not counted");
}
