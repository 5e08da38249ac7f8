//! The places that requests go to, and requests with an authorization of their own.

use http::{HeaderValue, Request, StatusCode};
use tokenkeeper::{CallError, Misdirected};
use tokenkeeper_testkit::scripted::ScriptedSession;
use tokenkeeper_tower::{Elsewhere, SessionLayer};
use tower::Layer;

use crate::server::Server;
use crate::{INVALID, URL, client, post, send, status};

const ELSEWHERE: [&str; 9] = [
    "https://mcp.example.com/steal",
    "https://mcp.example.com/",
    "https://mcp.example.com/mcp2",
    "https://mcp.example.com/mcp/../steal",
    "https://mcp.example.com/mcp/%2e%2e/steal",
    "https://mcp.example.com:444/mcp",
    "http://mcp.example.com/mcp",
    "https://another.example/mcp",
    "https://mcp.example.com@another.example/mcp",
];

#[tokio::test]
async fn a_request_to_another_place_is_refused_and_not_sent() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (200, None)));
    let client = client(&script, &server);
    assert_eq!(status(&client, URL).await, StatusCode::OK);
    for url in ELSEWHERE {
        for _ in 0..2 {
            let error = send(&client, post(url)).await.unwrap_err();
            let Some(CallError::Misdirected(why)) = error.call() else { panic!("{url}: {error:?}") };
            assert!(matches!(why, Misdirected::OtherOrigin { .. } | Misdirected::OtherPath { .. }), "{url}: {why:?}");
        }
    }
    assert_eq!(status(&client, "https://mcp.example.com/mcp/below?a=1").await, StatusCode::OK);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_layer_may_let_them_pass_without_a_token() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (401, Some(INVALID))));
    let client = SessionLayer::new(script.session()).elsewhere(Elsewhere::Bare).layer(server.clone());
    for url in ELSEWHERE {
        for _ in 0..2 {
            assert_eq!(status(&client, url).await, StatusCode::UNAUTHORIZED, "the answer is the caller's");
        }
    }
    assert_eq!(server.count(), 2 * ELSEWHERE.len(), "none is sent again");
    assert!(server.seen().iter().all(|seen| seen.authorization.is_none()));
    assert_eq!((script.counts().asked, script.counts().refusals), (0, 0));
}

#[tokio::test]
async fn a_request_without_an_absolute_url_is_refused_in_any_case() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (200, None)));
    for elsewhere in [Elsewhere::Refused, Elsewhere::Bare] {
        let client = SessionLayer::new(script.session()).elsewhere(elsewhere).layer(server.clone());
        for url in ["/mcp", "*"] {
            let error = send(&client, post(url)).await.unwrap_err();
            assert!(matches!(error.call(), Some(CallError::Misdirected(Misdirected::NoUrl))), "{url}: {error:?}");
        }
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_request_with_its_own_authorization_is_sent_as_it_is() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (401, Some(INVALID))));
    let client = client(&script, &server);
    for url in [URL, "https://another.example/mcp", "/mcp"] {
        let request = Request::post(url).header("authorization", HeaderValue::from_static("Basic YTpi"));
        let answer = send(&client, request.body("{}".to_owned()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "the answer is the caller's");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.authorization.as_deref() == Some("Basic YTpi")), "{seen:?}");
    assert_eq!((script.counts().asked, script.counts().refusals), (0, 0));
}
