//! The refusals of servers, ordinary and odd, and the bounds of a call.

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokenkeeper::{CallError, Next, OperationKey, Reason, Scopes};
use tokenkeeper_testkit::hostile::{Fault, HostileAs, Rules, When};

use crate::within::within;
use crate::{Host, reason};

const INSUFFICIENT: &str = "Bearer error=\"insufficient_scope\", scope=\"files:write files:read\"";

fn challenge(value: &str) -> Fault {
    Fault::status(401).header("www-authenticate", value)
}

#[tokio::test]
async fn a_refused_token_costs_one_refresh_however_the_refusal_looks() {
    let refusals = [
        ("a challenge", Method::POST, Fault::challenge()),
        ("no challenge", Method::POST, Fault::status(401)),
        ("bytes beyond ASCII", Method::POST, challenge("Bearer realm=\"caf\u{e9}\", error=\"invalid_token\"")),
        ("an unreadable challenge", Method::POST, challenge("=,, \"")),
        ("another scheme first", Method::POST, challenge("Negotiate, Bearer error=\"invalid_token\"")),
        ("a refused GET", Method::GET, Fault::challenge()),
        ("a refused DELETE", Method::DELETE, Fault::challenge()),
    ];
    for (name, method, refusal) in refusals {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server).await;
        server.next_at_resource(1, When::Before, refusal);
        let mut call = host.call();
        let first = host.session.at_hand().unwrap().generation();
        let status = host.send(&mut call, method).await.unwrap();
        assert_ne!(status, StatusCode::UNAUTHORIZED, "{name}");
        assert_ne!(call.generation().unwrap(), first, "{name}");
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.resource_requests), (1, 2), "{name}");
    }
}

#[tokio::test]
async fn of_two_hundred_calls_with_a_refused_token_one_refreshes_and_none_fails() {
    for old_access_dies in [false, true] {
        let rules = Rules { answer_delay: Duration::from_millis(50), old_access_dies, ..Rules::default() };
        let server = HostileAs::start_with(rules).await.unwrap();
        let host = Host::signed_in(&server).await;
        server.kill_access_tokens();
        let calls = join_all((0..200).map(|_| async { host.send(&mut host.call(), Method::POST).await }));
        let ends = within("all calls", calls).await;
        assert!(ends.iter().all(|end| matches!(end, Ok(StatusCode::OK))), "{ends:?}");
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.replays), (1, 0));
    }
}

#[tokio::test]
async fn a_server_that_refuses_fresh_tokens_too_costs_one_refresh() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    // For example for an unknown MCP session.
    server.next_at_resource(100, When::Before, Fault::challenge());
    let error = host.send(&mut host.call(), Method::POST).await.unwrap_err();
    assert_eq!(error.token_error().unwrap().reason(), Reason::ResourceRefuses);
    assert!(error.retry_after().is_some() && !error.is_login_required());
    assert_eq!(error.challenge().unwrap().error(), Some("invalid_token"));
    assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, 2));
    assert_eq!(reason(host.send(&mut host.call(), Method::POST).await), Reason::ResourceRefuses);
    assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, 3));
}

#[tokio::test]
async fn missing_scopes_are_a_step_up_and_never_a_refresh() {
    let refusals = [
        ("403", Fault::status(403).header("www-authenticate", INSUFFICIENT)),
        (
            "behind another scheme",
            Fault::status(403).header("www-authenticate", "Negotiate").header("www-authenticate", INSUFFICIENT),
        ),
        ("401", challenge(INSUFFICIENT)),
    ];
    for (name, refusal) in refusals {
        let server = HostileAs::start().await.unwrap();
        let host = Host::signed_in(&server).await;
        server.next_at_resource(1, When::Before, refusal);
        let mut call = host.call();
        let error = host.send(&mut call, Method::POST).await.unwrap_err();
        assert!(!error.is_login_required() && !error.is_transient());
        let CallError::StepUp(step_up) = error else { panic!("{name}: {error:?}") };
        assert_eq!(step_up.scopes().iter().collect::<Vec<_>>(), ["files:write", "files:read"], "{name}");
        assert_eq!(Some(step_up.refused()), call.generation());
        assert_eq!(step_up.operation(), OperationKey::of(crate::OPERATION));
        assert_eq!(server.counts().token_requests, 0, "{name}");
        assert!(host.session.at_hand().is_some(), "others keep the lease");
    }
}

#[tokio::test]
async fn a_host_adds_the_scopes_that_a_challenge_does_not_name() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    for (challenge, named) in [("Bearer error=\"insufficient_scope\"", 0), (INSUFFICIENT, 2)] {
        let refusal = Fault::status(403).header("www-authenticate", challenge);
        server.next_at_resource(1, When::Before, refusal);
        let error = host.send(&mut host.call(), Method::POST).await.unwrap_err();
        let CallError::StepUp(step_up) = error else { panic!("{error:?}") };
        assert_eq!(step_up.scopes().iter().count(), named);
        let step_up = step_up.with_scopes(&Scopes::new(["admin"])).with_scopes(&Scopes::new(["admin", "files:read"]));
        let scopes = step_up.scopes();
        let expected: &[&str] =
            if named == 0 { &["admin", "files:read"] } else { &["files:write", "files:read", "admin"] };
        assert_eq!(scopes.iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn other_answers_are_the_callers() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let before = host.session.at_hand();
    for status in [200, 202, 307, 400, 403, 404, 407, 429, 500, 503] {
        server.next_at_resource(1, When::Before, challenge("Bearer error=\"invalid_token\"").with_status(status));
        assert_eq!(host.send(&mut host.call(), Method::POST).await.unwrap().as_u16(), status);
    }
    assert_eq!((server.counts().token_requests, host.session.at_hand()), (0, before));
}

#[tokio::test]
async fn the_refusal_of_a_request_that_cannot_be_sent_again_helps_the_next_one() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    server.kill_access_tokens();
    let mut call = host.call();
    let (status, headers) = host.attempt(&mut call, &Method::POST).await.unwrap();
    assert_eq!(call.next(status, &headers).await.unwrap(), Next::Again);
    drop(call);
    assert_eq!(host.send(&mut host.call(), Method::POST).await.unwrap(), StatusCode::OK);
    assert_eq!((server.counts().token_requests, server.counts().resource_requests), (1, 2));
}

#[tokio::test]
async fn a_call_is_sent_three_times_at_most() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let mut call = host.call();
    host.attempt(&mut call, &Method::POST).await.unwrap();
    // Each refusal is one of a lease that was replaced meanwhile, so law 11 does not end the call.
    for _ in 0..2 {
        assert_eq!(call.next(StatusCode::UNAUTHORIZED, &HeaderMap::new()).await.unwrap(), Next::Again);
        host.session.token().await.unwrap();
    }
    let end = call.next(StatusCode::UNAUTHORIZED, &HeaderMap::new()).await;
    assert_eq!(reason(end), Reason::ResourceRefuses);
    assert_eq!(server.counts().token_requests, 1);
}

#[tokio::test]
async fn the_patience_counts_for_the_whole_call() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    server.kill_access_tokens();
    let mut call = host.call().patience(Duration::from_millis(200));
    let (status, headers) = host.attempt(&mut call, &Method::POST).await.unwrap();
    let gate = server.hold_next(When::Before);
    assert_eq!(call.next(status, &headers).await.unwrap(), Next::Again);
    for _ in 0..2 {
        assert_eq!(reason(host.attempt(&mut call, &Method::POST).await), Reason::DeadlinePassed);
        assert!(!format!("{call:?}").contains("patience: 200ms"), "a second wait does not begin anew");
    }
    gate.open();
    assert_eq!(host.send(&mut host.call(), Method::POST).await.unwrap(), StatusCode::OK);
    assert_eq!(server.counts().token_requests, 1, "the refresh outlives its caller");
}

#[tokio::test]
async fn without_patience_a_refusal_is_noted_all_the_same() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let mut call = host.call().patience(Duration::ZERO);
    let (_, headers) = host.attempt(&mut call, &Method::POST).await.unwrap();
    let refused = call.generation().unwrap();
    let _answer = call.next(StatusCode::UNAUTHORIZED, &headers).await;
    assert_ne!(within("a token", host.session.token()).await.unwrap().generation(), refused);
}

#[tokio::test]
async fn every_future_of_a_call_can_be_dropped() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    server.kill_access_tokens();
    let mut call = host.call();
    let (status, headers) = host.attempt(&mut call, &Method::POST).await.unwrap();
    for _ in 0..10 {
        let _ = futures_util::poll!(std::pin::pin!(call.next(status, &headers)));
    }
    assert_eq!(within("a decision", call.next(status, &headers)).await.unwrap(), Next::Again);
    let gate = server.hold_next(When::After);
    for _ in 0..10 {
        let _ = futures_util::poll!(std::pin::pin!(call.authorize(&host.to, &Method::POST)));
    }
    gate.open();
    assert_eq!(host.send(&mut call, Method::POST).await.unwrap(), StatusCode::OK);
    assert_eq!((server.counts().token_requests, server.counts().replays), (1, 0));
}

#[tokio::test]
async fn the_header_is_sensitive_replaces_another_and_is_shown_nowhere() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let authorization = host.call().authorize(&host.to, &Method::POST).await.unwrap().unwrap();
    let token = authorization.bearer().unwrap().expose().to_owned();
    let mut headers = HeaderMap::new();
    headers.append("authorization", HeaderValue::from_static("Bearer another"));
    headers.append("authorization", HeaderValue::from_static("Basic YTpi"));
    authorization.apply(&mut headers);
    let values: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(values, [&format!("Bearer {token}")]);
    assert!(values[0].is_sensitive());
    assert_eq!(Some(authorization.lease().clone()), host.session.at_hand());
    assert_eq!(format!("{authorization:?}"), "Authorization { .. }");
    assert!(!format!("{:?} {headers:?}", host.call()).contains(&token));
}
