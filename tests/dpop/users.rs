//! The person of a session whose tokens are bound to a key.

use serde_json::json;
use tokenkeeper::Dpop;
use tokenkeeper::user::UserError;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use crate::scene::Scene;
use crate::within::within;

async fn scene(nonces: bool) -> Scene {
    let scene = Scene::new(LoginServer::builder().dpop().userinfo(json!({})), Dpop::WhereAnnounced).await;
    scene.server.hostile().proof_rules(|rules| (rules.resource_nonces, rules.single_use_nonces) = (nonces, nonces));
    scene.host.sign_in().await.unwrap();
    scene
}

#[tokio::test]
async fn the_request_for_the_person_has_a_proof() {
    let scene = scene(false).await;
    assert_eq!(within("a user", scene.host.session.user()).await.unwrap().subject(), "alice");
    assert_eq!((scene.proofs().at_resource, scene.server.counts().of(Endpoint::UserInfo)), (1, 1));
    scene.assert_clean();
}

/// A challenge with a nonce is no refusal. It costs one more request and no refresh.
#[tokio::test]
async fn a_nonce_is_answered_without_a_refresh() {
    let scene = scene(true).await;
    let before = scene.server.hostile().counts().token_requests;
    assert_eq!(within("a user", scene.host.session.user()).await.unwrap().subject(), "alice");
    assert_eq!((scene.proofs().resource_challenges, scene.server.counts().of(Endpoint::UserInfo)), (1, 2));
    assert_eq!(scene.server.hostile().counts().token_requests, before);
    scene.assert_clean();
}

#[tokio::test]
async fn a_bound_token_that_is_refused_is_refreshed_once() {
    let scene = scene(false).await;
    let before = scene.server.hostile().counts().token_requests;
    scene.server.next_at(Endpoint::UserInfo, 2, When::After, Fault::status(401));
    assert_eq!(within("a user", scene.host.session.user()).await, Err(UserError::Refused));
    assert_eq!(scene.server.counts().of(Endpoint::UserInfo), 2);
    assert_eq!(scene.server.hostile().counts().token_requests, before + 1);
    scene.assert_clean();
}
