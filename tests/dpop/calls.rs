//! Requests to the resource, with their proofs and nonces, and refusals that no other proof helps.

use http::{HeaderMap, Method};
use tokenkeeper::{CallError, ProofError};
use tokenkeeper_testkit::hostile::{Fault, When};

use crate::scene::Scene;

fn challenge(error: &str) -> Fault {
    Fault::status(401).header("www-authenticate", format!("DPoP error=\"{error}\"")).header("dpop-nonce", "n-1")
}

#[tokio::test]
async fn a_nonce_is_asked_for_once_and_learned_from_any_answer() {
    let scene = Scene::signed_in(|rules| (rules.resource_nonces, rules.single_use_nonces) = (true, true)).await;
    for _ in 0..4 {
        assert_eq!(scene.host.send().await.unwrap(), 200);
    }
    let proofs = scene.proofs();
    assert_eq!((proofs.resource_challenges, proofs.at_resource), (1, 4));
    scene.server.hostile().renew_nonces();
    assert_eq!(scene.host.send().await.unwrap(), 200);
    assert_eq!((scene.proofs().resource_challenges, scene.requests().0), (2, 1));
    scene.assert_clean();
}

#[tokio::test]
async fn each_send_has_a_proof_of_its_own() {
    let scene = Scene::signed_in(|_| {}).await;
    let authorization = scene.host.call().authorize(&scene.host.to, &Method::POST).await.unwrap().unwrap();
    assert!(authorization.bearer().is_none());
    let sent = || {
        let mut headers = HeaderMap::new();
        headers.append("dpop", "another".parse().unwrap());
        headers.append("authorization", "Bearer another".parse().unwrap());
        authorization.apply(&mut headers);
        assert_eq!(headers.len(), 2);
        assert!(headers.values().all(http::HeaderValue::is_sensitive));
        (headers["authorization"].clone(), headers["dpop"].clone())
    };
    let (one, two) = (sent(), sent());
    assert!(one.0.to_str().unwrap().starts_with("DPoP "));
    assert_eq!(one.0, two.0);
    assert_ne!(one.1, two.1);
    let token = scene.host.token().await.unwrap();
    for shown in [format!("{authorization:?}"), format!("{:?}", scene.host.call())] {
        assert!(!shown.contains(token.token().expose()), "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_never_accepts_a_proof_costs_one_resend_and_no_refresh() {
    for word in ["use_dpop_nonce", "invalid_dpop_proof"] {
        let scene = Scene::signed_in(|_| {}).await;
        let before = scene.requests().1;
        scene.server.hostile().next_at_resource(2, When::Before, challenge(word));
        let error = scene.host.send().await.unwrap_err();
        assert!(matches!(error, CallError::Proof(ProofError::Refused { skew: None })), "{error:?}");
        assert!(!error.is_login_required());
        assert_eq!((scene.requests().1 - before, scene.requests().0), (2, 1), "{word}");
        assert_eq!(scene.host.send().await.unwrap(), 200);
        scene.assert_clean();
    }
}

#[tokio::test]
async fn the_difference_between_clocks_is_named_in_the_error() {
    let scene = Scene::signed_in(|_| {}).await;
    let wrong = challenge("invalid_dpop_proof").header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    scene.server.hostile().next_at_resource(2, When::Before, wrong);
    let error = scene.host.send().await.unwrap_err();
    let CallError::Proof(ProofError::Refused { skew: Some(skew) }) = error else { panic!("{error:?}") };
    assert!(skew.seconds() < -900_000_000, "{skew}");
    assert!(error.to_string().contains(&format!("{} s ahead of the server's", -skew.seconds())), "{error}");
}

#[tokio::test]
async fn a_nonce_a_clock_and_a_refused_token_each_cost_one_attempt() {
    let scene = Scene::signed_in(|rules| rules.resource_nonces = true).await;
    let hostile = scene.server.hostile();
    hostile.proof_rules(|rules| rules.clock = 600);
    hostile.kill_access_tokens();
    let before = scene.requests();
    // A nonce, with the time, and then the token. The refresh token is presented twice, because of the clock.
    assert_eq!(scene.host.send().await.unwrap(), 200);
    let after = scene.requests();
    assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (2, 3, 1));
    assert_eq!((scene.proofs().replays, scene.proofs().bearer), (0, 0));
}
