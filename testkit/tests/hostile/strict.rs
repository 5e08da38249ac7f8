//! The server's behaviour without faults.

use std::time::Duration;

use tokenkeeper_actors::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::{HostileAs, Rotation, Rules, What};

use crate::client::{VERSIONS, Version, call, client, form, json, refresh, refresh_body, refresh_with, word};
use crate::within::within;

#[tokio::test]
async fn a_refresh_brings_a_pair_that_works() {
    for version in VERSIONS {
        let server = HostileAs::start().await.unwrap();
        let (client, grant) = (client(version), server.grant());
        assert_eq!(call(&client, &server, grant.access_token.expose()).await.status(), 200);
        let answer = json(refresh(&client, &grant).send().await.unwrap()).await;
        assert_eq!((word(&answer, "token_type"), &answer["expires_in"]), ("Bearer", &3600.into()));
        assert_eq!(word(&answer, "scope"), grant.scope);
        assert_eq!(call(&client, &server, word(&answer, "access_token")).await.status(), 200);
        let second = refresh_with(&client, &grant, word(&answer, "refresh_token")).send().await.unwrap();
        assert_eq!(second.status(), 200);

        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.refresh_grants, counts.rotations), (2, 2, 2), "{version:?}");
        assert_eq!((counts.chains_alive, counts.chains_revoked, counts.replays), (1, 0, 0));
        assert_eq!((counts.resource_requests, counts.resource_answers[&200]), (2, 2));
        assert_eq!((counts.connections, counts.http2_connections), (1, u64::from(version == Version::Two)));
        assert_eq!((counts.concurrent, counts.most_concurrent), (0, 1));
        assert_eq!((server.is_alive(grant.chain), server.newest(grant.chain)), (true, 2));
    }
}

#[tokio::test]
async fn a_replay_kills_the_whole_chain() {
    for version in VERSIONS {
        let server = HostileAs::start().await.unwrap();
        let (client, grant) = (client(version), server.grant());
        let newer = json(refresh(&client, &grant).send().await.unwrap()).await;
        let replay = refresh(&client, &grant).send().await.unwrap();
        assert_eq!(replay.status(), 400);
        assert_eq!(replay.headers()["content-type"], "application/json");
        assert_eq!(word(&json(replay).await, "error"), "invalid_grant");

        assert_eq!(refresh_with(&client, &grant, word(&newer, "refresh_token")).send().await.unwrap().status(), 400);
        for access in [grant.access_token.expose(), word(&newer, "access_token")] {
            let refused = call(&client, &server, access).await;
            assert_eq!(refused.status(), 401);
            let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer resource_metadata=\"http://127.0.0.1:"), "{challenge}");
            assert!(challenge.ends_with("/mcp\", error=\"invalid_token\""), "{challenge}");
        }
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (3, 1, 1));
        assert_eq!((counts.refusals["invalid_grant"], counts.resource_answers[&401]), (2, 2));
        assert_eq!((counts.chains_alive, counts.chains_revoked), (0, 1));
    }
}

#[tokio::test]
async fn each_client_authenticates_as_it_is_registered() {
    let server = HostileAs::start().await.unwrap();
    let http = client(Version::One);
    let basic = server.grant_to(&server.register(ClientAuth::Basic));
    let post = server.grant_to(&server.register(ClientAuth::Post));
    let secret =
        |grant: &tokenkeeper_testkit::hostile::Grant| grant.binding.client.secret.as_ref().unwrap().expose().to_owned();

    for grant in [&basic, &post] {
        let refused = refresh(&http, grant).send().await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(word(&json(refused).await, "error"), "invalid_client");
    }
    let wrong = refresh(&http, &basic).basic_auth(&basic.binding.client.id, Some("guess")).send().await.unwrap();
    assert!(wrong.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    let good = refresh(&http, &basic).basic_auth(&basic.binding.client.id, Some(secret(&basic)));
    assert_eq!(good.send().await.unwrap().status(), 200);
    let body = format!("{}&client_secret={}", refresh_body(&post, post.refresh_token.expose()), secret(&post));
    assert_eq!(form(http.post(server.token_endpoint()), &body).send().await.unwrap().status(), 200);

    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.refusals["invalid_client"]), (5, 2, 3));
    server.unregister(&basic.binding.client);
    let pruned = refresh(&http, &basic).basic_auth(&basic.binding.client.id, Some(secret(&basic)));
    assert_eq!(pruned.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn client_credentials_mint_without_a_chain() {
    let server = HostileAs::start().await.unwrap();
    let (http, machine) = (client(Version::One), server.register(ClientAuth::Basic));
    let secret = machine.secret.as_ref().unwrap().expose();
    let body = format!("grant_type=client_credentials&resource={}", server.resource());
    let request = form(http.post(server.token_endpoint()), &body).basic_auth(&machine.id, Some(secret));
    let answer = json(request.send().await.unwrap()).await;
    assert!(answer.get("refresh_token").is_none(), "{answer}");
    assert_eq!(call(&http, &server, word(&answer, "access_token")).await.status(), 200);
    let counts = server.counts();
    assert_eq!((counts.client_credentials_grants, counts.mints, counts.rotations, counts.chains_alive), (1, 1, 0, 0));
}

#[tokio::test]
async fn what_asks_for_nothing_it_knows_is_refused_and_counted() {
    let server = HostileAs::start().await.unwrap();
    let http = client(Version::One);
    let endpoint = server.token_endpoint();
    let refused = form(http.post(&endpoint), "grant_type=password&client_id=client-0").send().await.unwrap();
    assert_eq!(word(&json(refused).await, "error"), "unsupported_grant_type");
    let refused = http.post(&endpoint).header("content-type", "application/json").body("{}").send().await.unwrap();
    assert_eq!(word(&json(refused).await, "error"), "invalid_request");
    assert_eq!(http.get(&endpoint).send().await.unwrap().status(), 405);
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.other_grants, counts.refresh_grants), (3, 2, 0));
    assert_eq!((counts.token_answers[&400], counts.token_answers[&405]), (2, 1));
}

#[tokio::test]
async fn a_resource_takes_its_own_tokens_only() {
    let server = HostileAs::start().await.unwrap();
    let http = client(Version::One);
    let other = format!("{}/other", server.resource());
    let theirs = server.grant_for(&server.register(ClientAuth::None), &other, "read");
    assert_eq!(call(&http, &server, theirs.access_token.expose()).await.status(), 401);
    let at_home = http.post(&other).bearer_auth(theirs.access_token.expose()).send().await.unwrap();
    assert_eq!(at_home.status(), 200);
    let anonymous = http.post(&other).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert!(!anonymous.headers()["www-authenticate"].to_str().unwrap().contains("error"));
    assert_eq!(http.get(&other).bearer_auth(theirs.access_token.expose()).send().await.unwrap().status(), 405);

    let body = refresh_body(&server.grant(), theirs.refresh_token.expose());
    let mixed = body.replace("client-0", &theirs.binding.client.id);
    let refused = form(http.post(server.token_endpoint()), &mixed).send().await.unwrap();
    assert_eq!(word(&json(refused).await, "error"), "invalid_target");
    assert_eq!(server.newest(theirs.chain), 0);
}

#[tokio::test]
async fn access_tokens_expire_on_the_servers_clock() {
    let rules = Rules { access_lifetime: Duration::from_secs(60), ..Rules::default() };
    let server = HostileAs::start_with(rules).await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    assert_eq!(grant.lifetime, Duration::from_secs(60));
    assert_eq!(call(&http, &server, grant.access_token.expose()).await.status(), 200);
    server.advance(Duration::from_secs(60));
    assert_eq!(call(&http, &server, grant.access_token.expose()).await.status(), 401);
    let newer = json(refresh(&http, &grant).send().await.unwrap()).await;
    assert_eq!(newer["expires_in"], 60);
    assert_eq!(call(&http, &server, word(&newer, "access_token")).await.status(), 200);
    server.kill_access_tokens();
    assert_eq!(call(&http, &server, word(&newer, "access_token")).await.status(), 401);
    assert!(server.is_alive(grant.chain));
}

#[tokio::test]
async fn rules_change_while_the_server_runs() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    server.rules(|rules| (rules.rotation, rules.old_access_dies) = (Rotation::None, true));
    let answer = json(refresh(&http, &grant).send().await.unwrap()).await;
    assert!(answer.get("refresh_token").is_none());
    assert_eq!(call(&http, &server, grant.access_token.expose()).await.status(), 401);
    server.rules(|rules| rules.rotation = Rotation::Grace(Duration::from_secs(30)));
    for _ in 0..2 {
        assert_eq!(refresh(&http, &grant).send().await.unwrap().status(), 200);
    }
    server.advance(Duration::from_secs(30));
    assert_eq!(refresh(&http, &grant).send().await.unwrap().status(), 400);
    assert_eq!(server.counts().replays, 1);
}

#[tokio::test]
async fn a_chain_can_be_revoked_by_its_client_and_by_its_user() {
    let server = HostileAs::start().await.unwrap();
    let (http, ours, theirs) = (client(Version::One), server.grant(), server.grant());
    let body = format!("token={}&client_id={}", ours.refresh_token.expose(), ours.binding.client.id);
    let endpoint = ours.binding.revocation_endpoint.as_ref().unwrap();
    assert_eq!(form(http.post(endpoint), &body).send().await.unwrap().status(), 200);
    assert!(!server.is_alive(ours.chain) && server.is_alive(theirs.chain));
    server.revoke(theirs.chain);
    server.revoke(theirs.chain);
    let refused = refresh(&http, &theirs).send().await.unwrap();
    assert_eq!(word(&json(refused).await, "error"), "invalid_grant");
    let counts = server.counts();
    assert_eq!((counts.revocation_requests, counts.chains_revoked, counts.replays), (1, 2, 0));
}

#[tokio::test]
async fn the_snapshot_is_one_json_object_without_a_secret() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    let newer = refresh(&http, &grant).send().await.unwrap().text().await.unwrap();
    refresh(&http, &grant).send().await.unwrap();
    let next: serde_json::Value = serde_json::from_str(&newer).unwrap();
    refresh_with(&http, &grant, word(&next, "refresh_token")).send().await.unwrap();
    refresh_with(&http, &grant, "rt-unknown").send().await.unwrap();
    let snapshot = server.snapshot();
    let told: Vec<_> = snapshot.timeline.iter().map(|event| (event.what, event.ordinal, event.status)).collect();
    assert_eq!(
        told,
        [
            (What::Granted, Some(0), None),
            (What::Connected, None, None),
            (What::TokenRequest, None, None),
            (What::Rotated, Some(1), None),
            (What::TokenAnswer, None, Some(200)),
            (What::TokenRequest, None, None),
            (What::Replayed, Some(0), None),
            (What::ChainRevoked, Some(0), None),
            (What::TokenAnswer, None, Some(400)),
            (What::TokenRequest, None, None),
            (What::Refused, Some(1), None),
            (What::TokenAnswer, None, Some(400)),
            (What::TokenRequest, None, None),
            (What::Refused, None, None),
            (What::TokenAnswer, None, Some(400)),
        ]
    );
    assert!(snapshot.timeline.is_sorted_by_key(|event| event.at));
    let json = serde_json::to_value(&snapshot).unwrap();
    assert_eq!((&json["token_requests"], &json["token_answers"]["400"]), (&4.into(), &3.into()));
    assert_eq!(json["timeline"][3]["what"], "rotated");
    assert_eq!(json["timeline"][3]["chain"], 0);
    assert!(json["timeline"][3]["ms"].is_f64());
    let shown = format!("{json} {server:?} {grant:?}");
    assert!(shown.contains(&server.address().to_string()));
    for secret in [grant.refresh_token.expose(), word(&next, "access_token"), word(&next, "refresh_token")] {
        assert!(!shown.contains(secret));
    }
}

#[tokio::test]
async fn metadata_leads_from_the_challenge_to_the_endpoints() {
    let server = HostileAs::start().await.unwrap();
    let http = client(Version::One);
    let fetch = async |path: &str| json(http.get(format!("{}{path}", server.issuer())).send().await.unwrap()).await;
    let resource = fetch("/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(word(&resource, "resource"), server.resource());
    assert_eq!(resource["authorization_servers"][0], server.issuer());
    let metadata = fetch("/.well-known/oauth-authorization-server").await;
    assert_eq!(word(&metadata, "token_endpoint"), server.token_endpoint());
    assert_eq!(http.get(format!("{}/x", server.issuer())).send().await.unwrap().status(), 404);
    assert_eq!(server.counts().token_requests, 0);
}

#[tokio::test]
async fn it_stops_when_it_is_dropped() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    let gate = server.hold_next(tokenkeeper_testkit::hostile::When::Before);
    let waiting = tokio::spawn(refresh(&http, &grant).send());
    within("a request at the gate", gate.reached(1)).await;
    drop(server);
    assert!(waiting.await.unwrap().is_err());
    assert!(refresh(&http, &grant).send().await.unwrap_err().is_connect());
}
