//! Attacks on the authorization server.

use std::collections::BTreeSet;
use std::time::Duration;

use tokenkeeper_testkit::login_server::{Browser as Person, Endpoint, LoginServer};

use super::rig::{BACK, Rig, Tokens, VERIFIER, query};

#[tokio::test]
async fn no_trick_with_the_redirect_address_sends_a_code_elsewhere() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    for redirect in [
        "http://127.0.0.1:7777/callback/",
        "http://127.0.0.1:7777/callback/../evil",
        "http://127.0.0.1:7777/callback?next=https://evil.example",
        "http://127.0.0.1:7777/callback%2f",
        "http://127.0.0.1:7777@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1:7777/callback#x",
        "http://localhost:7777/callback",
        "https://127.0.0.1:7777/callback",
        "https://evil.example/callback",
        "javascript:alert(1)",
        "",
    ] {
        let shown = rig.browser().get(&rig.authorize(&client, &[("redirect_uri", redirect)])).await;
        assert_eq!((shown.status, shown.location()), (400, ""), "{redirect}");
    }
    let other_port = rig.authorize(&client, &[("redirect_uri", "http://127.0.0.1:9/callback")]);
    assert_eq!(
        rig.browser().get(&other_port).await.status,
        200,
        "the port of a loopback address is the client's choice"
    );
}

#[tokio::test]
async fn a_client_cannot_be_forged_or_changed() {
    let (rig, other) = (Rig::new().await, Rig::new().await);
    let (client, foreign) = (rig.register().await, other.register().await);
    let mut changed = client.clone();
    changed.replace_range(30..31, if &client[30..31] == "A" { "B" } else { "A" });
    for id in [foreign.as_str(), &changed, "tkgd_", "x", "https://app.example/client.json", ""] {
        let shown = rig.browser().get(&rig.authorize(id, &[])).await;
        assert_eq!((shown.status, shown.location()), (400, ""), "{id}");
    }
}

#[tokio::test]
async fn pkce_cannot_be_left_out_or_weakened() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    for (name, value) in [
        ("code_challenge", ""),
        ("code_challenge_method", ""),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", "s256"),
        ("code_challenge", "short"),
        ("code_challenge", &[VERIFIER, "A"].concat()),
        ("code_challenge", &VERIFIER.replace('-', "+")),
    ] {
        let answer = rig.browser().get(&rig.authorize(&client, &[(name, value)])).await;
        assert_eq!(query(answer.location(), "error").as_deref(), Some("invalid_request"), "{name}={value}");
        assert_eq!(query(answer.location(), "iss").as_deref(), Some(rig.origin.as_str()));
    }
    for verifier in ["", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"] {
        let code = rig.code(&mut rig.browser(), &client).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client.as_str()),
            ("code", &code),
            ("redirect_uri", BACK),
            ("code_verifier", verifier),
        ];
        assert_eq!(rig.token(&form).await.0, 400);
    }
}

#[tokio::test]
async fn a_request_for_another_resource_or_another_kind_of_answer_is_refused() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    for (name, value, error) in [
        ("resource", "https://other.example/mcp", "invalid_target"),
        ("resource", "not a url", "invalid_target"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "read admin", "invalid_scope"),
        ("request_uri", "https://evil.example/request", "request_not_supported"),
    ] {
        let answer = rig.browser().get(&rig.authorize(&client, &[(name, value)])).await;
        assert_eq!(query(answer.location(), "error").as_deref(), Some(error), "{name}={value}");
    }
    let twice = format!("{}&redirect_uri=https://evil.example", rig.authorize(&client, &[]));
    assert_eq!(rig.browser().get(&twice).await.status, 400);
}

#[tokio::test]
async fn a_code_that_comes_twice_ends_what_it_brought() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let code = rig.code(&mut rig.browser(), &client).await;
    let tokens = Tokens::of(&rig.redeem(&client, &code).await.1);
    let (status, answer) = rig.redeem(&client, &code).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(rig.call(&tokens.access).await.status, 401);
    assert_eq!(rig.refresh(&client, &tokens.refresh).await.0, 400);
}

#[tokio::test]
async fn a_code_and_a_refresh_token_are_useless_to_another_client() {
    let rig = Rig::new().await;
    let (client, thief) = (rig.register().await, rig.register().await);
    let code = rig.code(&mut rig.browser(), &client).await;
    assert_eq!(rig.redeem(&thief, &code).await.0, 400);
    let tokens = Tokens::of(&rig.redeem(&client, &code).await.1);
    assert_eq!(rig.refresh(&thief, &tokens.refresh).await.0, 400);
    assert_eq!(rig.refresh(&client, &tokens.refresh).await.0, 200, "the thief has ended nothing");
}

#[tokio::test]
async fn a_code_expires_after_a_minute() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let code = rig.code(&mut rig.browser(), &client).await;
    rig.clock.pass(Duration::from_secs(60));
    assert_eq!(rig.redeem(&client, &code).await.0, 400);
    rig.code(&mut rig.browser(), &client).await;
    assert_eq!(rig.store.counts().families, 1, "the expired one has left the store");
}

#[tokio::test]
async fn consent_cannot_be_given_from_another_page_or_for_another_browser() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let (mut victim, mut attacker) = (rig.browser(), rig.browser());
    let page = victim.get(&rig.authorize(&client, &[])).await;
    let of_attacker = attacker.get(&rig.authorize(&client, &[])).await;
    for (form, headers) in [
        (of_attacker.form(), vec![]),
        (page.form(), vec![("origin", "https://evil.example")]),
        (page.form(), vec![("origin", "null")]),
        (page.form(), vec![("sec-fetch-site", "cross-site")]),
        (page.form(), vec![("sec-fetch-site", "same-site")]),
        (page.form().replace(&page.form()[10..11], "x"), vec![]),
        (client.clone(), vec![]),
        (String::new(), vec![]),
    ] {
        let answer = victim.press(&rig, &form, "allow", &headers).await;
        assert_eq!((answer.status, answer.location()), (400, ""), "{headers:?}");
    }
    let without_cookies = rig.browser().press(&rig, &page.form(), "allow", &[]).await;
    assert_eq!(without_cookies.status, 400);
    assert_eq!(rig.upstream.counts().of(Endpoint::Authorization), 0);
    let origin = rig.origin.clone();
    let own = [("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(victim.press(&rig, &page.form(), "allow", &own).await.status, 303);
    rig.clock.pass(Duration::from_secs(601));
    assert_eq!(victim.press(&rig, &page.form(), "allow", &own).await.status, 400, "after ten minutes");
}

#[tokio::test]
async fn a_page_cannot_be_framed_or_scripted_and_is_in_no_cache() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    for url in [rig.authorize(&client, &[]), rig.authorize("unknown", &[]), rig.url("/oauth/callback?code=x&state=y")] {
        let page = rig.browser().get(&url).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!((page.header("x-frame-options"), page.header("cache-control")), ("DENY", "no-store"));
        assert!(!page.body.contains("<script"));
    }
}

#[tokio::test]
async fn an_upstreams_answer_counts_in_the_browser_that_asked_and_once() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let (mut victim, mut attacker) = (rig.browser(), rig.browser());
    // The attacker begins a sign-in and stops before its end, to let the victim finish it.
    let page = attacker.get(&rig.authorize(&client, &[])).await;
    let away = attacker.press(&rig, &page.form(), "allow", &[]).await;
    let answer = Person::open(away.location()).await.unwrap().callback.unwrap();
    assert_eq!(victim.get(&answer).await.status, 400);
    assert_eq!(rig.upstream.counts().of(Endpoint::Token), 0, "the victim's browser has redeemed nothing");
    // Nor in a browser with a sign-in of its own.
    let page = victim.get(&rig.authorize(&client, &[])).await;
    victim.press(&rig, &page.form(), "allow", &[]).await;
    assert_eq!(victim.get(&answer).await.status, 400);
    let copied = attacker.cookies.clone();
    assert!(query(attacker.get(&answer).await.location(), "code").is_some());
    attacker.cookies = copied;
    let again = attacker.get(&answer).await;
    assert_eq!(query(again.location(), "code"), None, "an answer that comes again brings no second code");
    assert_eq!(rig.upstream.counts().of(Endpoint::Token), 1);
}

#[tokio::test]
async fn a_cookie_of_one_use_is_none_of_another_and_cannot_be_changed() {
    let rig = Rig::new().await;
    let web = "https://app.example/callback";
    let client = rig.register_at(web).await;
    let url = rig.authorize(&client, &[("redirect_uri", web)]);
    let mut browser = rig.browser();
    let page = browser.get(&url).await;
    let form = page.form();
    browser.allow(&rig, &page).await;
    let person = browser.cookies["tkg-person"].clone();
    for forged in [form, client.clone(), person.replace(&person[20..21], "x"), String::new()] {
        browser.cookies.insert("tkg-person".to_owned(), forged);
        assert_eq!(browser.get(&url).await.status, 200, "the person is asked");
    }
    browser.cookies.insert("tkg-person".to_owned(), person);
    assert_eq!(browser.get(&url).await.status, 303);
}

#[tokio::test]
async fn logins_that_strangers_begin_take_a_bounded_place() {
    let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.max_open_logins(3)).await;
    let client = rig.register().await;
    let begin = async || {
        let mut browser = rig.browser();
        let page = browser.get(&rig.authorize(&client, &[])).await;
        browser.press(&rig, &page.form(), "allow", &[]).await.location().to_owned()
    };
    for _ in 0..3 {
        assert!(begin().await.starts_with(rig.upstream.origin()));
    }
    assert_eq!(query(&begin().await, "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(rig.gateway.counts().open_logins, 3);
    rig.clock.pass(Duration::from_secs(600));
    assert!(begin().await.starts_with(rig.upstream.origin()), "after ten minutes there is room again");
}

#[tokio::test]
async fn a_browser_keeps_the_cookies_of_its_last_logins_alone() {
    let rig = Rig::new().await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let (mut begun, mut known) = (Vec::new(), BTreeSet::new());
    for _ in 0..10 {
        let page = browser.get(&rig.authorize(&client, &[])).await;
        browser.press(&rig, &page.form(), "allow", &[]).await;
        let cookies = browser.cookies.values().map(String::len).sum::<usize>();
        assert!(browser.cookies.len() <= 4 && cookies < 8192, "{cookies}");
        let flows: BTreeSet<_> = browser.cookies.keys().filter(|name| name.starts_with("tkg-flow-")).cloned().collect();
        begun.extend(flows.difference(&known).cloned());
        known.extend(flows.iter().cloned());
        assert!(begun.iter().rev().take(3).all(|name| flows.contains(name)), "the oldest one was dropped");
        rig.clock.pass(Duration::from_secs(1));
    }
    assert_eq!(begun.len(), 10);
}

#[tokio::test]
async fn a_link_alone_sends_nobody_to_an_address_that_anyone_can_register() {
    let rig = Rig::new().await;
    let web = "https://evil.example/phish?a=1";
    let client = rig.register_at(web).await;
    for changes in [[("redirect_uri", web), ("scope", "none")], [("redirect_uri", web), ("code_challenge", "")]] {
        let shown = rig.browser().get(&rig.authorize(&client, &changes)).await;
        assert_eq!((shown.status, shown.location()), (400, ""));
        assert!(shown.body.contains("href=\"https://evil.example/phish?a=1&amp;error="), "{}", shown.body);
    }
    let app = "com.example.app:/callback";
    let client = rig.register_at(app).await;
    let shown = rig.browser().get(&rig.authorize(&client, &[("redirect_uri", app), ("scope", "none")])).await;
    assert_eq!((shown.status, shown.location()), (400, ""), "nor does it open an app");
    assert!(shown.body.contains("the app that opens com.example.app addresses"), "{}", shown.body);
}
