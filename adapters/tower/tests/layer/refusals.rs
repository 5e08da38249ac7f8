//! Refusals, and the requests that are sent again.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode};
use tokenkeeper::{CallError, OperationKey, Reason};
use tokenkeeper_testkit::scripted::{ScriptedSession, token};
use tokenkeeper_tower::{SendError, SessionLayer};
use tower::{Layer, ServiceExt};

use crate::server::{Server, Stream};
use crate::within::within;
use crate::{INVALID, URL, client, post, send, status};

const INSUFFICIENT: &str = "Bearer error=\"insufficient_scope\", scope=\"files:write\"";

fn two_tokens() -> ScriptedSession {
    ScriptedSession::new().then(token("old")).then(token("new"))
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_same_request_sent_again() {
    let (script, server) = (two_tokens(), Server::accepting("new"));
    let client = client(&script, &server);
    for requests in [2, 3] {
        let answer = send(&client, post("https://mcp.example.com/mcp?session=1")).await.unwrap();
        assert_eq!((answer.status(), server.count()), (StatusCode::OK, requests));
    }
    let seen = server.seen();
    assert!(seen[0].has("old") && seen[1].has("new") && seen[2].has("new"), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.url == "https://mcp.example.com/mcp?session=1" && seen.body == "{}"));
    assert_eq!((script.counts().token_requests, script.counts().refusals), (2, 1));
    assert_eq!(server.held_at_arrival(), 0, "the refused answer is dropped first");
}

#[tokio::test]
async fn a_body_that_cannot_be_had_again_gets_the_401_and_the_next_one_a_new_token() {
    let (script, server) = (two_tokens(), Server::accepting("new"));
    let client = SessionLayer::once(script.session()).layer(server.clone());
    let request = || Request::post(URL).body(Stream::new("streamed")).unwrap();
    for (expected, token_requests) in [(StatusCode::UNAUTHORIZED, 1), (StatusCode::OK, 2)] {
        let answer = within("an answer", client.clone().oneshot(request())).await.unwrap();
        assert_eq!(answer.status(), expected);
        assert_eq!(answer.headers().contains_key("www-authenticate"), expected == StatusCode::UNAUTHORIZED);
        assert!(script.counts().token_requests >= token_requests);
    }
    assert_eq!((server.count(), script.counts().token_requests, script.counts().refusals), (2, 2, 1));
}

#[tokio::test]
async fn a_host_decides_what_can_be_had_again() {
    let (script, server) = (two_tokens(), Server::accepting("new"));
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let layer = SessionLayer::once(script.session()).resend(move |request: &Request<Stream>| {
        count.fetch_add(1, Ordering::SeqCst);
        assert!(request.headers().is_empty(), "the copy is made before the token is put in");
        (request.uri().path() == "/mcp").then(|| Request::post(request.uri()).body(Stream::new("again")).unwrap())
    });
    let client = layer.layer(server.clone());
    let request = |url: &str| Request::post(url).body(Stream::new("first")).unwrap();
    let answer = within("an answer", client.clone().oneshot(request("https://mcp.example.com/mcp/once"))).await;
    assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    script.push(token("newest"));
    let answer = within("an answer", client.oneshot(request(URL))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!((asked.load(Ordering::SeqCst), server.count()), (2, 2));
}

#[tokio::test]
async fn a_server_that_refuses_fresh_tokens_too_gives_an_error() {
    let script = ScriptedSession::new();
    let server = Server::new(|_| (401, Some(INVALID)));
    let error = send(&client(&script, &server), post(URL)).await.unwrap_err();
    let session = error.call().unwrap();
    assert_eq!(session.token_error().unwrap().reason(), Reason::ResourceRefuses);
    assert_eq!(session.challenge().unwrap().error(), Some("invalid_token"));
    assert!(!error.is_login_required() && error.retry_after().is_some() && error.inner().is_none());
    assert_eq!((server.count(), script.counts().token_requests), (2, 2));
}

#[tokio::test]
async fn missing_scopes_are_a_step_up_and_never_a_refresh() {
    for status in [401, 403] {
        let script = ScriptedSession::new();
        let server = Server::new(move |_| (status, Some(INSUFFICIENT)));
        let error = send(&client(&script, &server), post(URL)).await.unwrap_err();
        let step_up = error.step_up().unwrap();
        assert_eq!(step_up.scopes().iter().collect::<Vec<_>>(), ["files:write"]);
        assert!(!error.is_login_required() && !error.is_transient());
        let counts = script.counts();
        assert_eq!((server.count(), counts.token_requests, counts.refusals), (1, 1, 0));
    }
}

#[tokio::test]
async fn an_operation_is_the_method_and_path_or_the_hosts_own() {
    let script = ScriptedSession::new();
    let server = Server::new(|_| (403, Some(INSUFFICIENT)));
    let layer = SessionLayer::new(script.session()).operation(|request: &Request<String>| {
        request.headers().get("mcp-name").map(|name| OperationKey::of(name.to_str().unwrap()))
    });
    let client = layer.layer(server);
    let operation = async |url: &str, name: Option<&'static str>| {
        let mut request = post(url);
        if let Some(name) = name {
            request.headers_mut().insert("mcp-name", HeaderValue::from_static(name));
        }
        send(&client, request).await.unwrap_err().step_up().unwrap().operation()
    };
    let by_path = operation(URL, None).await;
    assert_eq!(by_path, OperationKey::of("POST https://mcp.example.com/mcp"));
    assert_eq!(operation("https://mcp.example.com/mcp?a=1", None).await, by_path);
    assert_ne!(operation("https://mcp.example.com/mcp/x", None).await, by_path);
    assert_eq!(operation(URL, Some("search")).await, OperationKey::of("search"));
}

#[tokio::test]
async fn other_answers_are_the_callers() {
    let script = ScriptedSession::new();
    for expected in [200, 202, 307, 400, 403, 404, 407, 429, 500, 503] {
        let server = Server::new(move |_| (expected, Some(INVALID)));
        assert_eq!(status(&client(&script, &server), URL).await.as_u16(), expected);
        assert_eq!(server.count(), 1);
    }
    assert_eq!((script.counts().token_requests, script.counts().refusals), (1, 0));
}

#[tokio::test]
async fn an_error_of_the_client_is_returned_as_it_is() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (0, None)));
    let client = client(&script, &server);
    for _ in 0..2 {
        let error = send(&client, post(URL)).await.unwrap_err();
        assert_eq!(error.inner().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
        assert!(error.call().is_none() && !error.is_login_required() && !error.is_transient());
        assert!(error.retry_after().is_none() && error.step_up().is_none());
        assert!(error.boxed().downcast_ref::<std::io::Error>().is_some());
    }
    assert_eq!(server.count(), 2, "never sent again");
}

#[tokio::test]
async fn a_session_that_never_signed_in_sends_without_a_token() {
    let script = ScriptedSession::never_signed_in();
    let open = Server::new(|_| (200, None));
    assert_eq!(status(&client(&script, &open), URL).await, StatusCode::OK);
    assert_eq!(open.seen()[0].authorization, None);

    let closed = Server::accepting("access-token");
    let error = send(&client(&script, &closed), post(URL)).await.unwrap_err();
    assert!(error.is_login_required());
    assert!(matches!(error.call(), Some(CallError::Token { challenge: Some(_), .. })), "{error:?}");
    assert_eq!(closed.count(), 1);
    script.signed_in_elsewhere();
    assert_eq!(status(&client(&script, &closed), URL).await, StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_was_logged_out_sends_nothing() {
    let (script, server) = (ScriptedSession::new(), Server::new(|_| (200, None)));
    let client = client(&script, &server);
    assert_eq!(status(&client, URL).await, StatusCode::OK);
    script.logged_out_elsewhere();
    let error = send(&client, post(URL)).await.unwrap_err();
    assert!(error.is_login_required() && server.count() == 1);
    let boxed: Box<dyn Error + Send + Sync> = error.into();
    let error = boxed.downcast::<SendError<std::io::Error>>().unwrap();
    assert_eq!(error.to_string(), error.call().unwrap().to_string());
    assert!(error.boxed().downcast_ref::<CallError>().unwrap().is_login_required());
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_not_sent() {
    let (script, server) = (ScriptedSession::new().then(token("bound").dpop()), Server::new(|_| (200, None)));
    let client = client(&script, &server);
    for _ in 0..2 {
        let error = send(&client, post(URL)).await.unwrap_err();
        assert!(matches!(error.call(), Some(CallError::Proof(_))), "{error:?}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn waits_have_a_bound_and_tokens_a_lifetime() {
    let minute = Duration::from_secs(60);
    let short = token("short").expires_in(minute);
    let script = ScriptedSession::new().then(short).then(token("long").takes(minute / 3));
    let server = Server::new(|_| (200, None));
    let layer = SessionLayer::new(script.session());
    assert_eq!(status(&layer.clone().layer(server.clone()), URL).await, StatusCode::OK);
    tokio::time::advance(minute / 2).await;
    let asked = script.counts().asked;
    let careful = layer.min_lifetime(minute);
    let error = send(&careful.clone().patience(Duration::from_secs(1)).layer(server.clone()), post(URL)).await;
    assert_eq!(error.unwrap_err().call().unwrap().token_error().unwrap().reason(), Reason::DeadlinePassed);
    assert_eq!(status(&careful.layer(server.clone()), URL).await, StatusCode::OK);
    assert_eq!(script.counts().asked, asked + 2);
    let seen = server.seen();
    assert!(seen.len() == 2 && seen[0].has("short") && seen[1].has("long"), "{seen:?}");
}
