//! The token and revocation endpoints.

use std::time::Duration;

use futures_util::future::join_all;
use tokenkeeper_testkit::login_server::Endpoint;

use super::rig::{BACK, Rig, Tokens, VERIFIER, query};

#[tokio::test]
async fn a_hundred_refreshes_at_once_rotate_once_and_all_get_the_same_successor() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let refreshed = join_all((0..100).map(|_| rig.refresh(&client, &first.refresh))).await;
    let successors: Vec<_> = refreshed.iter().map(|(status, answer)| (*status, Tokens::of(answer).refresh)).collect();
    assert!(successors.iter().all(|answer| *answer == successors[0]), "{successors:?}");
    assert_ne!(successors[0].1, first.refresh);
    let counts = rig.gateway.counts();
    assert_eq!((counts.rotated, counts.repeated, counts.replayed), (1, 99, 0));
    assert_eq!(rig.upstream.counts().of(Endpoint::Token), 1, "the upstream was not asked");
}

#[tokio::test]
async fn a_replay_after_the_grace_ends_the_family_and_leaves_the_upstream_alone() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let (first, other) = (rig.signed_in(&client).await, rig.signed_in(&client).await);
    let (_, answer) = rig.refresh(&client, &first.refresh).await;
    let second = Tokens::of(&answer);
    rig.clock.pass(Duration::from_secs(31));
    let (status, answer) = rig.refresh(&client, &first.refresh).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(rig.refresh(&client, &second.refresh).await.0, 400, "the family has ended");
    assert_eq!(rig.call(&second.access).await.status, 401, "with its access tokens");
    assert_eq!(rig.call(&other.access).await.status, 200, "the person's other client goes on");
    assert!(rig.upstream.grants().iter().all(|grant| rig.upstream.hostile().is_alive(grant.chain)));
    assert_eq!((rig.upstream.counts().of(Endpoint::Token), rig.upstream.counts().of(Endpoint::Revocation)), (2, 0));
    assert_eq!(rig.gateway.counts().replayed, 1);
}

#[tokio::test]
async fn an_access_token_expires_and_a_refresh_brings_the_next_one() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    rig.clock.pass(Duration::from_secs(600));
    assert_eq!(rig.call(&first.access).await.status, 401);
    let second = Tokens::of(&rig.refresh(&client, &first.refresh).await.1);
    assert_eq!(rig.call(&second.access).await.status, 200);
}

#[tokio::test]
async fn a_refresh_stays_within_what_was_allowed() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let refresh = |name, value| {
        [
            ("grant_type", "refresh_token"),
            ("client_id", client.as_str()),
            ("refresh_token", &first.refresh),
            (name, value),
        ]
    };
    for (name, value, error) in
        [("scope", "read admin", "invalid_scope"), ("resource", "https://other.example/mcp", "invalid_target")]
    {
        let (status, answer) = rig.token(&refresh(name, value)).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)));
    }
    assert_eq!(rig.token(&refresh("scope", "read")).await.0, 200);
}

#[tokio::test]
async fn a_token_request_that_is_none_has_its_own_error() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let code = rig.code(&mut rig.browser(), &client).await;
    for (form, status, error) in [
        (vec![("grant_type", "password"), ("client_id", client.as_str())], 400, "unsupported_grant_type"),
        (vec![("client_id", client.as_str())], 400, "invalid_request"),
        (
            vec![("grant_type", "authorization_code"), ("client_id", client.as_str()), ("code", &code)],
            400,
            "invalid_request",
        ),
        (
            vec![("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", "x")],
            400,
            "invalid_grant",
        ),
        (
            vec![("grant_type", "refresh_token"), ("client_id", "unknown"), ("refresh_token", "x")],
            401,
            "invalid_client",
        ),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "x")], 401, "invalid_client"),
        (
            vec![("grant_type", "refresh_token"), ("grant_type", "x"), ("client_id", client.as_str())],
            400,
            "invalid_request",
        ),
    ] {
        let (answered, answer) = rig.token(&form).await;
        assert_eq!((answered, answer["error"].as_str()), (status, Some(error)), "{form:?}");
    }
    assert_eq!(rig.redeem(&client, &code).await.0, 200, "none of these has used the code");
}

#[tokio::test]
async fn a_confidential_client_authenticates_in_the_way_it_registered() {
    let rig = Rig::new().await;
    let metadata = serde_json::json!({ "redirect_uris": [BACK], "token_endpoint_auth_method": "client_secret_basic" });
    let answer = rig.http.post(rig.url("/oauth/register")).body(metadata.to_string()).send().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let (client, secret) = (answer["client_id"].as_str().unwrap(), answer["client_secret"].as_str().unwrap());
    let code = rig.code(&mut rig.browser(), client).await;
    let form = format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}");
    let ask = async |secret: &str| {
        let request = rig.http.post(rig.url("/oauth/token")).basic_auth(client, Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.clone());
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(rig.redeem(client, &code).await.0, 401, "without its secret");
    assert_eq!(ask("tkgs_wrong").await, 401);
    assert_eq!(ask(secret).await, 200);
}

#[tokio::test]
async fn a_revocation_ends_one_family_and_is_the_clients_own_affair() {
    let rig = Rig::new().await;
    let (client, foreign) = (rig.register().await, rig.register().await);
    let (tokens, other) = (rig.signed_in(&client).await, rig.signed_in(&client).await);
    assert_eq!(rig.revoke(&foreign, &tokens.refresh).await, 400);
    assert_eq!(rig.call(&tokens.access).await.status, 200);
    assert_eq!(rig.revoke(&client, "no token").await, 200);
    assert_eq!(rig.revoke(&client, &tokens.refresh).await, 200);
    assert_eq!(rig.call(&tokens.access).await.status, 401);
    assert_eq!(rig.call(&other.access).await.status, 200);
    assert_eq!(rig.upstream.counts().of(Endpoint::Revocation), 0, "the upstream session serves the other client");
}

#[tokio::test]
async fn a_sign_out_ends_everything_of_one_person_that_has_begun() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let mut browser = rig.browser();
    let code = rig.code(&mut browser, &client).await;
    let alice = Tokens::of(&rig.redeem(&client, &code).await.1);
    let waiting = rig.code(&mut browser, &client).await;
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let subject = rig.call(&alice.access).await.json()["subject"].as_str().unwrap().to_owned();
    rig.upstream.subject("bob");
    let bob = rig.signed_in(&client).await;
    rig.gateway.sign_out(&subject).await.unwrap();
    rig.gateway.sign_out("nobody").await.unwrap();
    assert_eq!(rig.call(&alice.access).await.status, 401);
    assert_eq!(rig.refresh(&client, &alice.refresh).await.0, 400);
    assert_eq!(rig.redeem(&client, &waiting).await.0, 400, "nor is a code redeemed that waits");
    let shown = browser.press(&rig, &page.form(), "allow", &[]).await;
    assert_eq!(shown.status, 200, "the browser's person is not known any more");
    assert!(!shown.body.contains("Use another account"));
    assert_eq!(rig.call(&bob.access).await.status, 200, "the other person goes on");
    assert_eq!(rig.upstream.counts().of(Endpoint::Revocation), 0);
    rig.clock.pass(Duration::from_millis(1));
    rig.upstream.subject("alice");
    let again = rig.signed_in(&client).await;
    assert_eq!(rig.call(&again.access).await.json()["subject"], subject, "and signs in again");
    assert_eq!(rig.call(&alice.access).await.status, 401, "which brings nothing back");
}

#[tokio::test]
async fn one_person_cannot_fill_the_store_and_what_is_in_use_stays() {
    let rig = Rig::new().await;
    let web = "https://app.example/callback";
    let (client, mut browser) = (rig.register_at(web).await, rig.browser());
    let url = rig.authorize(&client, &[("redirect_uri", web)]);
    let page = browser.get(&url).await;
    browser.allow(&rig, &page).await;
    let mut tokens = Vec::new();
    for number in 0..120 {
        rig.clock.pass(Duration::from_secs(1));
        let code = query(browser.get(&url).await.location(), "code").unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client.as_str()),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ];
        tokens.push(Tokens::of(&rig.token(&form).await.1));
        if number == 60 {
            tokens[0] = Tokens::of(&rig.refresh(&client, &tokens[0].refresh).await.1);
        }
        assert!(rig.store.counts().families <= 100);
    }
    assert_eq!(rig.store.counts().families, 100);
    assert_eq!(rig.refresh(&client, &tokens[0].refresh).await.0, 200, "the one in use");
    assert_eq!(rig.refresh(&client, &tokens[1].refresh).await.0, 400, "one that was not used for the longest");
    assert_eq!(rig.refresh(&client, &tokens[119].refresh).await.0, 200);
}
