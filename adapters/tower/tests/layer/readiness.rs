//! Services that are not always ready. The server of these tests panics if it is called without being ready.

use std::future::Ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use tokenkeeper_testkit::scripted::{ScriptedSession, token};
use tokenkeeper_tower::SessionLayer;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::server::{Held, Server};
use crate::within::within;
use crate::{INVALID, URL, client, post, send};

fn two_tokens() -> ScriptedSession {
    ScriptedSession::new().then(token("old")).then(token("new"))
}

#[tokio::test]
async fn the_instance_that_was_ready_is_called_and_asked_again_before_each_attempt() {
    let (script, server) = (two_tokens(), Server::accepting("new").ready_times(3));
    let mut client = client(&script, &server);
    for (requests, left) in [(2, true), (3, false)] {
        let ready = within("readiness", client.ready()).await;
        let answer = within("an answer", ready.unwrap().call(post(URL))).await.unwrap();
        assert_eq!((answer.status(), server.count()), (StatusCode::OK, requests));
        assert_eq!(within("readiness", client.ready()).await.is_ok(), left);
    }
}

#[tokio::test]
async fn an_inner_service_that_fails_before_the_second_attempt_is_the_error() {
    let (script, server) = (two_tokens(), Server::accepting("new").ready_times(1));
    let error = send(&client(&script, &server), post(URL)).await.unwrap_err();
    assert_eq!(error.inner().unwrap().to_string(), "worn out");
    assert_eq!(server.count(), 1);
    let error = send(&client(&script, &server), post(URL)).await.unwrap_err();
    assert_eq!(error.inner().unwrap().to_string(), "worn out", "of `poll_ready` itself");
}

/// A service whose answers occupy its only connection, so that it is not ready while one is kept.
#[derive(Clone)]
pub struct OneConnection(pub Server);

impl Service<Request<String>> for OneConnection {
    type Response = Response<Held>;
    type Error = io::Error;
    type Future = Ready<io::Result<Response<Held>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert_eq!(self.0.held(), 0, "the refused answer was not dropped");
        Service::<Request<String>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn the_refused_answer_is_dropped_before_the_wait_for_readiness() {
    let (script, server) = (two_tokens(), Server::accepting("new"));
    let client = SessionLayer::new(script.session()).layer(OneConnection(server.clone()));
    assert_eq!(within("an answer", client.oneshot(post(URL))).await.unwrap().status(), StatusCode::OK);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn the_layer_is_ready_when_the_inner_service_is() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (200, None)));
    let limited = ConcurrencyLimit::new(server.clone(), 1);
    let mut first = SessionLayer::<Request<String>>::new(script.session()).layer(limited);
    let mut second = first.clone();
    within("readiness", first.ready()).await.unwrap();
    assert!(futures_util::poll!(std::pin::pin!(second.ready())).is_pending());
    within("an answer", first.call(post(URL))).await.unwrap();
    within("an answer", second.oneshot(post(URL))).await.unwrap();
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_refused_crowd_keeps_to_a_limit_and_takes_one_refresh() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    for at_once in [1, 2, 7] {
        let (script, server) = (two_tokens(), Server::accepting("new"));
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        most.store(0, Ordering::SeqCst);
        let counted = {
            let (server, most) = (server.clone(), Arc::clone(&most));
            tower::service_fn(move |request: Request<String>| {
                let (server, running, most) = (server.clone(), Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    let answer = server.oneshot(request).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    answer
                }
            })
        };
        let client = SessionLayer::new(script.session()).layer(ConcurrencyLimit::new(counted, at_once));
        let requests = join_all((0..50).map(|_| client.clone().oneshot(post(URL))));
        let answers = within("all answers", requests).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == StatusCode::OK));
        assert_eq!((script.counts().token_requests, most.load(Ordering::SeqCst)), (2, at_once));
        assert!((51..=50 + at_once).contains(&server.count()), "{}", server.count());
    }
}

#[tokio::test]
async fn a_buffer_may_stand_around_the_layer_and_inside_it() {
    let (script, server) = (two_tokens(), Server::accepting("new"));
    let outside = Buffer::new(client(&script, &server).map_err(|error| error.boxed()), 4);
    let requests = join_all((0..50).map(|_| outside.clone().oneshot(post(URL))));
    let answers: Vec<Result<_, BoxError>> = within("all answers", requests).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == StatusCode::OK));
    assert_eq!(script.counts().token_requests, 2);

    let (script, server) = (two_tokens(), Server::accepting("new"));
    let inside = SessionLayer::new(script.session()).layer(Buffer::new(server, 4));
    let requests = join_all((0..50).map(|_| inside.clone().oneshot(post(URL))));
    for answer in within("all answers", requests).await {
        assert_eq!(answer.map_err(|error| error.boxed()).unwrap().status(), StatusCode::OK);
    }
    assert_eq!(script.counts().token_requests, 2);
}

#[tokio::test]
async fn a_request_that_is_not_sent_gives_its_place_back() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (401, Some(INVALID))));
    let client = SessionLayer::<Request<String>>::new(script.session()).layer(ConcurrencyLimit::new(server.clone(), 1));
    for _ in 0..3 {
        let end = within("an answer", client.clone().oneshot(post("https://another.example/"))).await;
        assert!(end.unwrap_err().call().is_some());
    }
    script.logged_out_elsewhere();
    for _ in 0..3 {
        let end = within("an answer", client.clone().oneshot(post(URL))).await;
        assert!(end.unwrap_err().is_login_required());
    }
    assert_eq!(server.count(), 0);
}
