//! Both adapters, with nonces at the resource.

use http::Method;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{StreamableHttpClient, StreamableHttpPostResponse};
use tokenkeeper_rmcp::SessionClient;

use crate::scene::Scene;
use crate::within::within;

#[tokio::test]
async fn a_request_through_tower_carries_both_headers() {
    let scene = Scene::signed_in(|rules| rules.resource_nonces = true).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..3 {
        let url = format!("{}?page=1", scene.server.resource_url()).parse().unwrap();
        let request = reqwest::Request::new(Method::POST, url);
        let sent = tokenkeeper_tower::execute(&client, &scene.host.session, request);
        assert_eq!(within("an answer", sent).await.unwrap().status(), 200);
    }
    assert_eq!((scene.proofs().resource_challenges, scene.proofs().at_resource), (1, 3));
    scene.assert_clean();
}

/// rmcp shows no header of an answer, so the runtime asks for the nonce itself, once for all requests.
#[tokio::test]
async fn a_request_through_rmcp_carries_both_headers() {
    let scene = Scene::signed_in(|rules| rules.resource_nonces = true).await;
    let client = SessionClient::new(scene.host.session.clone()).unwrap();
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let message: ClientJsonRpcMessage = serde_json::from_str(message).unwrap();
    let post = || {
        let uri = scene.server.resource_url().into();
        within("an answer", client.post_message(uri, message.clone(), None, None, Default::default()))
    };
    let answer = post().await.unwrap();
    assert!(matches!(answer, StreamableHttpPostResponse::Json(..)), "{answer:?}");
    // The request, the question for the nonce, and the request again.
    let asked = scene.proofs().resource_challenges;
    assert_eq!((asked, scene.proofs().at_resource), (2, 1));
    let posts = futures_util::future::join_all((0..8).map(|_| post())).await;
    assert!(posts.iter().all(Result::is_ok));
    assert_eq!((scene.proofs().resource_challenges, scene.proofs().at_resource), (asked, 9));
    assert_eq!(scene.requests().0, 1, "a nonce is no reason to refresh");
    scene.assert_clean();
}
