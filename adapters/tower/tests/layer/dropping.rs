//! Requests that are given up, for example by a time-out around the layer.

use std::task::Poll;
use std::time::Duration;

use http::{Request, StatusCode};
use tokenkeeper_testkit::scripted::{ScriptedSession, token};
use tokenkeeper_tower::SessionLayer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt};

use crate::server::Server;
use crate::within::within;
use crate::{URL, client, post, send, status};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_in_its_wait_leaves_the_refresh_to_the_others() {
    let script = ScriptedSession::new().then(token("first").takes(Duration::from_secs(10)));
    let server = Server::accepting("first");
    let client = client(&script, &server);
    for _ in 0..10 {
        let end = tokio::time::timeout(Duration::from_millis(100), client.clone().oneshot(post(URL))).await;
        assert!(end.is_err());
    }
    assert_eq!(status(&client, URL).await, StatusCode::OK);
    assert_eq!((script.counts().token_requests, server.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_noted_although_its_request_is_dropped() {
    let script = ScriptedSession::new().then(token("old")).then(token("new").takes(MINUTE / 4));
    let server = Server::accepting("new");
    let client = client(&script, &server);
    script.session().token().await.unwrap();
    {
        // One poll brings the refusal.
        let request = std::pin::pin!(client.clone().oneshot(post(URL)));
        assert!(matches!(futures_util::poll!(request), Poll::Pending));
    }
    assert_eq!((server.count(), script.counts().refusals), (1, 1));
    assert_eq!(status(&client, URL).await, StatusCode::OK);
    assert_eq!((server.count(), script.counts().token_requests), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_gives_its_place_back() {
    let script = ScriptedSession::new().then(token("first").takes(Duration::from_secs(10)));
    let server = Server::accepting("first");
    let client = SessionLayer::<Request<String>>::new(script.session()).layer(ConcurrencyLimit::new(server.clone(), 1));
    let end = tokio::time::timeout(Duration::from_millis(100), client.clone().oneshot(post(URL))).await;
    assert!(end.is_err());
    let answer = within("an answer", client.oneshot(post(URL))).await.unwrap();
    assert_eq!((answer.status(), server.count()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_request_that_was_never_polled_is_not_sent_again() {
    let script = ScriptedSession::new();
    let server = Server::accepting("access-token");
    let client = client(&script, &server);
    drop(client.clone().oneshot(post(URL)));
    assert_eq!((server.count(), script.counts().asked), (0, 0));
    assert_eq!(send(&client, post(URL)).await.unwrap().status(), StatusCode::OK);
}
