//! The standing stream of a transport, while tokens change, are refused, or are not to be had. After a failed attempt rmcp
//! would try again in an hour, so a stream that is back has waited in the adapter.

use std::sync::Arc;
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::RoleClient;
use rmcp::service::NotificationContext;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use serde_json::json;
use tokenkeeper::SessionSpec;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokio::sync::watch;

use crate::host::{self, Connected, Host, echo};
use crate::within::within;

const LIST_CHANGED: &str = "notifications/tools/list_changed";

/// A handler that counts the notifications it gets.
#[derive(Clone, Default)]
struct Listener(Arc<watch::Sender<u64>>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.send_modify(|heard| *heard += 1);
    }
}

impl Listener {
    /// Sends a notification on the standing stream, and waits for it.
    async fn hears(&self, host: &Host) {
        let mut heard = self.0.subscribe();
        let before = *heard.borrow_and_update();
        host.resource.notify(LIST_CHANGED, json!({}));
        within("a notification", heard.wait_for(|heard| *heard > before)).await.unwrap();
    }
}

async fn connect(host: &Host) -> (Connected<Listener>, Listener) {
    let listener = Listener::default();
    let mut retry = ExponentialBackoff::default();
    retry.base_duration = Duration::from_secs(3600);
    let mut config = host.config();
    config.retry_config = Arc::new(retry);
    let mcp = host.connect_as(listener.clone(), &host.own_client(), config).await;
    listener.hears(host).await;
    (mcp, listener)
}

/// Waits until the stream was cut, and another one is open.
async fn reopened(host: &Host, opened: u64) {
    let is_open = |counts: &tokenkeeper_testkit::mcp::McpCounts| {
        counts.answered("GET", 200) == opened && counts.standing_streams == 1
    };
    within("the standing stream", host.resource.until(is_open)).await;
}

#[tokio::test]
async fn an_open_stream_outlives_its_token() {
    let host = Host::signed_in().await;
    let (mcp, listener) = connect(&host).await;
    for lifetimes in 1..=3 {
        host.expire();
        within("a call", echo(&mcp, "x")).await.unwrap();
        assert_eq!(host.server.counts().token_requests, lifetimes);
        listener.hears(&host).await;
    }
    assert_eq!(host.resource.counts().requests("GET"), 1);
}

#[tokio::test]
async fn a_stream_that_is_cut_while_its_token_is_refused_comes_back_with_the_next_one() {
    let host = Host::signed_in().await;
    let (_mcp, listener) = connect(&host).await;
    host.server.kill_access_tokens();
    let gate = host.server.hold_next(When::After);
    host.resource.cut_standing_streams();
    within("the refresh", gate.reached(1)).await;
    gate.open();
    reopened(&host, 2).await;
    listener.hears(&host).await;
    assert_eq!((host.server.counts().token_requests, host.resource.counts().answered("GET", 401)), (1, 1));
}

#[tokio::test]
async fn a_stream_that_is_cut_while_logged_out_comes_back_after_a_login_in_another_process() {
    let host = Host::signed_in().await;
    let (mcp, listener) = connect(&host).await;
    within("a logout", host.session.logout()).await.unwrap();
    host.resource.cut_standing_streams();
    within("the cut", host.resource.until(|counts| counts.standing_streams == 0)).await;
    within("an error", echo(&mcp, "x")).await.unwrap_err();

    let other = host::process(&host.store, None).await;
    let session = other.session(SessionSpec::mcp(&host.resource.uri()).unwrap());
    host::install(&session, &host.grant()).await;
    reopened(&host, 2).await;
    listener.hears(&host).await;
    within("a call", echo(&mcp, "x")).await.unwrap();
    assert_eq!((host.resource.counts().requests("GET"), host.resource.counts().status(401)), (2, 0));
}

#[tokio::test]
async fn a_stream_that_is_cut_while_the_authorization_server_is_down_comes_back_after_it() {
    let host = Host::signed_in().await;
    let (_mcp, listener) = connect(&host).await;
    host.expire();
    host.server.always(When::Before, Fault::status(503));
    host.resource.cut_standing_streams();
    within("a token request", host.server.until(|counts| counts.token_requests >= 2)).await;
    host.server.calm();
    reopened(&host, 2).await;
    listener.hears(&host).await;
    assert_eq!((host.server.counts().rotations, host.resource.counts().status(401)), (1, 0));
}

#[tokio::test]
async fn a_stream_is_opened_at_the_first_login_of_an_identity_whose_calls_need_none() {
    let host = Host::never_signed_in(|_| {}, |_| {}).await;
    let client = host.own_client();
    let login = async {
        // The stream's first request was refused without a token.
        within("a refusal", host.resource.until(|counts| counts.answered("GET", 401) == 1)).await;
        host.install(&host.grant()).await;
    };
    let stream = async {
        use rmcp::transport::streamable_http_client::StreamableHttpClient;
        let uri = host.resource.uri().into();
        client.get_stream(uri, None, None, None, std::collections::HashMap::new()).await
    };
    let (stream, ()) = tokio::join!(within("the stream", stream), login);
    // The server knows no MCP session of this request, which is an answer of the resource and not a refusal.
    assert!(tokenkeeper_rmcp::session_error(&stream.err().unwrap()).is_none());
    assert_eq!((host.resource.counts().requests("GET"), host.resource.counts().status(401)), (2, 1));
}
