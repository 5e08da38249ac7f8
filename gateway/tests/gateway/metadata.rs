//! Metadata and registration.

use axum::body::Body;
use http::Request;
use tower::ServiceExt as _;

use super::rig::Rig;

#[tokio::test]
async fn a_client_finds_its_way_from_the_challenge_to_all_endpoints() {
    let rig = Rig::new().await;
    let refused = rig.http.post(rig.url("/mcp")).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let place = rig.url("/.well-known/oauth-protected-resource/mcp");
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{place}\", scope=\"read write\""));
    for place in [place, rig.url("/.well-known/oauth-protected-resource")] {
        let document: serde_json::Value =
            serde_json::from_slice(&rig.http.get(place).send().await.unwrap().bytes().await.unwrap()).unwrap();
        assert_eq!(document["resource"], rig.url("/mcp"));
        assert_eq!(document["authorization_servers"][0], rig.origin);
    }
    let answer = rig.http.get(rig.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers()["access-control-expose-headers"], "retry-after, www-authenticate");
    let document: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(document["issuer"], rig.origin);
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    for endpoint in ["authorization", "token", "registration", "revocation"] {
        assert!(document[format!("{endpoint}_endpoint")].as_str().unwrap().starts_with(&rig.origin));
    }
}

#[tokio::test]
async fn a_registration_outlives_the_process_that_took_it() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let replica = rig.other_resource();
    let request = Request::get(rig.authorize(&client, &[]).strip_prefix(&rig.origin).unwrap());
    let answer = replica.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200, "the identifier carries the registration");
}
