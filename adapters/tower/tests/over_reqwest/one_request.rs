//! One request at a time, through the layer and with `execute`.

use reqwest::Body;
use tokenkeeper::{CallError, Misdirected, Reason};
use tokenkeeper_testkit::hostile::{Fault, HostileAs, When};
use tower::buffer::Buffer;
use tower::{Layer, ServiceExt};

use crate::within::within;
use crate::{By, Host};

const INSUFFICIENT: &str = "Bearer error=\"insufficient_scope\", scope=\"files:write\"";

#[tokio::test]
async fn a_refused_token_costs_one_refresh() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        server.kill_access_tokens();
        for requests in [2, 3] {
            assert_eq!(host.status(by).await, 200, "{by:?}");
            assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, requests));
        }
    }
}

#[tokio::test]
async fn a_body_that_streams_gets_the_401_and_the_next_request_another_token() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        server.kill_access_tokens();
        for (status, token_requests) in [(401, 0..=1), (200, 1..=1)] {
            let request = host.client.post(&host.url).body(Body::wrap(Body::from("{}"))).build().unwrap();
            assert!(request.try_clone().is_none());
            let answer = host.send(by, request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{by:?}");
            assert!(token_requests.contains(&server.counts().token_requests));
        }
        assert_eq!((server.counts().resource_requests, server.counts().replays), (2, 0));
    }
}

#[tokio::test]
async fn a_request_with_its_own_authorization_is_sent_as_it_is() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        let before = host.session.at_hand();
        let request = host.client.post(&host.url).bearer_auth("another").build().unwrap();
        assert_eq!(host.send(by, request).await.unwrap().status().as_u16(), 401, "{by:?}");
        assert_eq!((server.counts().token_requests, server.counts().resource_requests), (0, 1));
        assert_eq!(host.session.at_hand(), before);
    }
}

#[tokio::test]
async fn a_request_to_another_place_is_refused() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        for path in ["/elsewhere", "/mcp/../elsewhere", "/mcp2"] {
            let request = host.client.post(format!("{}{path}", server.issuer())).build().unwrap();
            let error = host.send(by, request).await.unwrap_err();
            let misdirected = matches!(error.call(), Some(CallError::Misdirected(Misdirected::OtherPath { .. })));
            assert!(misdirected, "{by:?} {path}: {error:?}");
        }
        assert_eq!((server.counts().connections, server.counts().redirects_followed), (0, 0));
    }
}

#[tokio::test]
async fn a_redirect_out_of_the_server_is_the_answer() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        server.next_at_resource(1, When::Before, Fault::redirect());
        let answer = host.send(by, host.post()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.url().path()), (307, "/mcp"), "{by:?}");
        assert!(answer.headers()["location"].to_str().unwrap().ends_with("/elsewhere"));
        assert_eq!((server.counts().redirects_followed, server.counts().resource_requests), (0, 1));
    }
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed_and_a_refusal_behind_it_understood() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        server.kill_access_tokens();
        let redirect = || Fault::status(308).header("location", "/mcp?moved=1");
        // The first request is redirected and then refused, and so is the second one before it is served.
        server.next_at_resource(1, When::Before, redirect());
        let answer = host.send(by, host.post()).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{by:?}");
        assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, 3));
    }
}

#[tokio::test]
async fn a_session_that_never_signed_in_asks_for_a_login_only_after_a_401() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::new(&server).await;
        server.next_at_resource(1, When::Before, Fault::status(200));
        assert_eq!(host.status(by).await, 200, "{by:?}");
        let error = host.send(by, host.post()).await.unwrap_err();
        assert!(error.is_login_required() && error.call().unwrap().challenge().is_some());
        assert_eq!((server.counts().resource_requests, server.counts().token_requests), (2, 0));
    }
}

#[tokio::test]
async fn a_session_that_was_logged_out_sends_nothing() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        within("the logout", host.session.logout()).await.unwrap();
        let error = host.send(by, host.post()).await.unwrap_err();
        assert_eq!(error.call().unwrap().token_error().unwrap().reason(), Reason::LoggedOut, "{by:?}");
        assert!(error.is_login_required());
        assert_eq!(server.counts().resource_requests, 0);
    }
}

#[tokio::test]
async fn scopes_and_fresh_tokens_that_are_refused_are_errors() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        let refusal = Fault::status(403).header("www-authenticate", INSUFFICIENT);
        server.next_at_resource(1, When::Before, refusal);
        let error = host.send(by, host.post()).await.unwrap_err();
        assert_eq!(error.step_up().unwrap().scopes().iter().collect::<Vec<_>>(), ["files:write"], "{by:?}");
        assert_eq!(server.counts().token_requests, 0);

        server.next_at_resource(100, When::Before, Fault::challenge());
        let error = host.send(by, host.post()).await.unwrap_err();
        assert_eq!(error.call().unwrap().token_error().unwrap().reason(), Reason::ResourceRefuses);
        assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, 3));
    }
}

#[tokio::test]
async fn an_error_of_the_client_keeps_its_type() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, true).await;
        server.next_at_resource(1, When::Before, Fault::reset());
        let error = host.send(by, host.post()).await.unwrap_err();
        assert!(error.inner().unwrap().is_request(), "{by:?}: {error:?}");
        assert_eq!(server.counts().resource_requests, 1);
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_its_refresh_to_the_next_one() {
    for by in By::BOTH {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server, false).await;
        let gate = server.hold_next(When::After);
        {
            let mut request = std::pin::pin!(host.send(by, host.post()));
            let begun = server.until(|counts| counts.token_requests == 1);
            tokio::select! {
                end = &mut request => panic!("{end:?}"),
                _ = begun => {}
            }
        }
        gate.open();
        assert_eq!(host.status(by).await, 200, "{by:?}");
        assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, 1));
    }
}

#[tokio::test]
async fn the_layer_works_in_a_stack_of_towers() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server, true).await;
    server.kill_access_tokens();
    let client = tower::ServiceBuilder::new()
        .buffer(8)
        .map_err(|error: tokenkeeper_tower::SendError<reqwest::Error>| error.boxed())
        .concurrency_limit(4)
        .service(host.layered());
    let requests = futures_util::future::join_all((0..50).map(|_| client.clone().oneshot(host.post())));
    for answer in within("all answers", requests).await {
        assert_eq!(answer.unwrap().status().as_u16(), 200);
    }
    assert_eq!(server.counts().token_requests, 1);

    let around = tokenkeeper_tower::SessionLayer::new(host.session.clone()).layer(Buffer::new(host.client.clone(), 8));
    assert_eq!(within("an answer", around.oneshot(host.post())).await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn both_futures_cross_threads() {
    fn crosses<T: Send>(_: &T) {}
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server, true).await;
    let by_execute = tokenkeeper_tower::execute(&host.client, &host.session, host.post());
    crosses(&by_execute);
    let by_layer = tokio::spawn(host.layered().oneshot(host.post()));
    assert_eq!(within("an answer", by_execute).await.unwrap().status().as_u16(), 200);
    assert_eq!(within("an answer", by_layer).await.unwrap().unwrap().status().as_u16(), 200);
}
