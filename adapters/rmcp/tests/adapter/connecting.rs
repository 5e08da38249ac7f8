//! Connecting with an expired token and a slow refresh.

use std::time::Duration;

use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use tokenkeeper_testkit::hostile::When;

use crate::host::{Host, echo};
use crate::within::within;

fn auto() -> ClientLifecycleMode {
    let preferred_versions = vec![rmcp::model::ProtocolVersion::LATEST];
    ClientLifecycleMode::Auto { preferred_versions, legacy_version: None }
}

/// The recipe of the documentation, with a refresh that is slower than rmcp's patience of 10 s for a discovery. Only the wait
/// for the lease is that long, and nothing of rmcp runs meanwhile.
#[tokio::test]
async fn with_a_lease_first_a_slow_refresh_does_not_disturb_the_connection() {
    let host = Host::signed_in().await;
    host.expire();
    let gate = host.server.hold_next(When::After);
    let connect = async {
        host.session.token().await.unwrap();
        let transport = StreamableHttpClientTransport::with_client(host.own_client(), host.config());
        ().serve_with_lifecycle(transport, auto()).await.unwrap()
    };
    let slow = async {
        gate.reached(1).await;
        // The time passes only here. rmcp's 10 s begin with its first request.
        assert_eq!(host.resource.counts().requests("POST"), 0);
        gate.open();
    };
    let (mcp, ()) = tokio::join!(within("a connection", connect), within("the refresh", slow));
    within("a call", echo(&mcp, "x")).await.unwrap();
    assert_eq!((host.server.counts().token_requests, host.resource.counts().status(401)), (1, 0));
}

#[tokio::test]
async fn a_host_may_wait_for_a_login_before_it_connects() {
    let host = Host::never_signed_in(|_| {}, |_| {}).await;
    let connect = async {
        host.session.signed_in().await.unwrap();
        host.session.token().await.unwrap();
        let transport = StreamableHttpClientTransport::with_client(host.own_client(), host.config());
        ().serve_with_lifecycle(transport, auto()).await.unwrap()
    };
    let login = async { host.install(&host.grant()).await };
    let (mcp, ()) = tokio::join!(within("a connection", connect), login);
    within("a call", echo(&mcp, "x")).await.unwrap();
    assert_eq!(host.resource.counts().status(401), 0);
}

/// The order of a host's end. The end of an MCP session needs a token.
#[tokio::test]
async fn mcp_sessions_end_before_the_auth_runtime() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    host.expire();
    within("the end of the MCP session", mcp.cancel()).await.unwrap();
    let report = within("a shutdown", host.runtime.shutdown(Duration::from_secs(5))).await;
    assert!(report.is_clean(), "{report:?}");
    let counts = host.resource.counts();
    assert_eq!((counts.answered("DELETE", 204), counts.sessions), (1, 0));
    assert_eq!(host.server.counts().token_requests, 1);
}
