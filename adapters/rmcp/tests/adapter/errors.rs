//! The session's errors inside all those of rmcp, and rmcp's own questions about them.

use std::time::Duration;

use rmcp::service::ClientInitializeError;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, ErrorData, RmcpError, ServiceError, ServiceExt};
use tokenkeeper::Reason;
use tokenkeeper_rmcp::{SessionClient, session_error};
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};
use tokenkeeper_testkit::scripted::{ScriptedSession, login_required};

use crate::host::{Host, call, echo};
use crate::requests::URI;
use crate::scripted::Scripted;
use crate::within::within;

#[tokio::test]
async fn a_call_without_a_login_answers_in_both_worlds() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    within("a logout", host.session.logout()).await.unwrap();
    let error = within("an error", echo(&mcp, "x")).await.unwrap_err();
    assert_eq!(session_error(&error).unwrap().reason(), Some(Reason::LoggedOut));
    assert!(error.is_authorization_required());
    assert_eq!(error.auth_challenge(), Some(""));
    assert_eq!(host.resource.counts().executed("echo"), 0);

    host.install(&host.grant()).await;
    within("a call", echo(&mcp, "x")).await.unwrap();
}

#[tokio::test]
async fn the_first_challenge_of_a_server_is_in_both_worlds_when_a_connection_fails() {
    let host = Host::never_signed_in(|_| {}, |_| {}).await;
    let preferred = vec![rmcp::model::ProtocolVersion::LATEST];
    for lifecycle in [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Auto { preferred_versions: preferred, legacy_version: None },
    ] {
        let transport = StreamableHttpClientTransport::with_client(host.own_client(), host.config());
        let error = within("an error", ().serve_with_lifecycle(transport, lifecycle)).await.err().unwrap();
        let session = session_error(&error).unwrap();
        assert!(session.is_login_required());
        let challenge = error.auth_challenge().unwrap();
        assert!(challenge.contains("resource_metadata"), "{challenge}");
        assert!(session.challenge().unwrap().resource_metadata().is_some());
        assert!(error.is_authorization_required());
    }
}

#[tokio::test]
async fn a_step_up_has_its_scopes_in_both_worlds_and_is_no_refresh() {
    for status in [403, 401] {
        let host = Host::with(|_| {}, |settings| settings.insufficient_scope_status = status).await;
        let mcp = host.connect(&host.own_client()).await;
        let error = within("an error", mcp.call_tool(call("restricted", "x", 1))).await.unwrap_err();
        let session = session_error(&error).unwrap();
        let step_up = session.step_up().unwrap();
        assert!(step_up.scopes().iter().any(|scope| scope == "tools:admin"));
        assert_eq!(step_up.operation(), tokenkeeper::OperationKey::of("tools/call restricted"));
        assert!(error.auth_challenge().unwrap().contains("insufficient_scope"));
        assert!(!error.is_authorization_required() && !session.is_login_required());
        assert_eq!(host.server.counts().token_requests, 0);
    }
}

#[tokio::test]
async fn a_fault_that_passes_says_when_to_try_again() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    host.expire();
    let pause = Duration::from_secs(120);
    host.server.always(When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(pause.as_secs())));
    let error = within("an error", echo(&mcp, "x")).await.unwrap_err();
    let session = session_error(&error).unwrap();
    assert_eq!((session.reason(), session.is_transient()), (Some(Reason::Throttled), true));
    assert!(session.retry_after().is_some_and(|span| span > pause / 2));
    assert!(!error.is_authorization_required() && session.step_up().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_error_is_found_in_every_error_of_rmcp() {
    let ended = || ScriptedSession::new().then(login_required()).session();
    let transport = || {
        let client = SessionClient::over(Scripted::default(), ended());
        StreamableHttpClientTransport::with_client(client, StreamableHttpClientTransportConfig::with_uri(URI))
    };
    let failed = || async { ().serve(transport()).await.err().unwrap() };
    assert!(session_error(&failed().await).is_some());
    let fallback = ClientInitializeError::LegacyFallbackFailed {
        discover: Box::new(ClientInitializeError::Cancelled),
        fallback: Box::new(failed().await),
    };
    assert!(session_error(&fallback).is_some());
    assert!(session_error(&RmcpError::ClientInitialize(failed().await)).is_some());
    assert!(session_error(&std::io::Error::other(failed().await)).is_some());
    for other in [
        ServiceError::TransportClosed,
        ServiceError::McpError(ErrorData::internal_error("x", None)),
        ServiceError::Cancelled { reason: None },
    ] {
        assert!(session_error(&other).is_none());
    }
}
