//! Calls that time out while the session waits for a token. rmcp reports a time-out once its cancellation was delivered. The
//! limit of a delivery is an hour in these tests, so that a cancellation that waits for a token would never return.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rmcp::ServiceError;
use rmcp::model::{CallToolRequest, ClientRequest};
use rmcp::service::PeerRequestOptions;
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError};
use tokenkeeper::{AuthRuntime, SessionSpec};
use tokenkeeper_rmcp::SessionClient;
use tokenkeeper_testkit::hostile::{Fault, Gate, When};
use tokenkeeper_testkit::mcp::HoldAt;
use tokenkeeper_testkit::scripted::{ScriptedSession, token};
use tokenkeeper_testkit::store_contract::async_trait;
use tokio::sync::watch;

use crate::host::{self, Host, Mcp, call, echo};
use crate::requests::{CALL, numbered, post};
use crate::scripted::{Scripted, Step};
use crate::within::{each_within, within};

const CALL_TIMEOUT: Duration = Duration::from_millis(500);

/// Makes calls that time out, and waits until each has.
async fn calls_time_out(mcp: &Mcp, calls: usize) {
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let peer = mcp.peer().clone();
            tokio::spawn(async move {
                let request = ClientRequest::CallToolRequest(CallToolRequest::new(call("echo", "text", "late")));
                let options = PeerRequestOptions::with_timeout(CALL_TIMEOUT);
                peer.send_cancellable_request(request, options).await?.await_response().await
            })
        })
        .collect();
    for result in each_within("a time-out", calls).await {
        let result = result.unwrap();
        assert!(matches!(result, Err(ServiceError::Timeout { .. })), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_a_refresh_time_out_in_their_time_and_the_refresh_is_kept() {
    for calls in [1, 8, 40, 200] {
        let host = Host::signed_in().await;
        let mcp = host.connect(&host.own_client()).await;
        host.expire();
        let gate = host.server.hold_next(When::After);
        calls_time_out(&mcp, calls).await;
        assert_eq!(gate.came(), 1, "{calls}");
        gate.open();
        within("a call", echo(&mcp, "next")).await.unwrap();
        let (tokens, counts) = (host.server.counts(), host.resource.counts());
        assert_eq!((tokens.token_requests, tokens.rotations, tokens.replays), (1, 1, 0), "{calls}");
        assert_eq!((counts.of("tools/call"), counts.of("notifications/cancelled")), (1, 0), "{calls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_were_refused_and_wait_for_a_refresh_are_cancelled_here() {
    for calls in [1, 40] {
        let host = Host::signed_in().await;
        let mcp = host.connect(&host.own_client()).await;
        host.server.kill_access_tokens();
        let gate = host.server.hold_next(When::Before);
        calls_time_out(&mcp, calls).await;
        let refused = host.resource.counts().answered("tools/call", 401);
        assert!((1..=calls as u64).contains(&refused), "{refused}");
        gate.open();
        within("a call", echo(&mcp, "next")).await.unwrap();
        let counts = host.resource.counts();
        assert_eq!((host.server.counts().token_requests, counts.of("notifications/cancelled")), (1, 0), "{calls}");
    }
}

#[tokio::test]
async fn calls_at_a_silent_authorization_server_time_out_in_their_time() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    host.expire();
    host.server.always(When::Before, Fault::silence());
    calls_time_out(&mcp, 8).await;
    let counts = host.resource.counts();
    assert_eq!((counts.of("tools/call"), counts.of("notifications/cancelled")), (0, 0));
}

/// Makes a call, and cancels it once it is executed and `then` was done. Returns when rmcp has delivered the cancellation.
async fn call_is_cancelled(mcp: &Mcp, in_tool: &Gate, then: impl FnOnce()) {
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(call("echo", "text", "late")));
    let sending = mcp.peer().send_cancellable_request(request, PeerRequestOptions::no_options());
    let sent = within("the call", sending).await.unwrap();
    within("the tool", in_tool.reached(1)).await;
    then();
    within("the cancellation", sent.cancel(None)).await.unwrap();
}

#[tokio::test]
async fn the_cancellation_of_a_call_at_the_server_is_sent_also_if_the_call_had_to_wait_for_a_token() {
    type Before = fn(&Host);
    let befores: [(Before, u64); 3] =
        [(|_| {}, 0), (|host| host.expire(), 1), (|host| host.server.kill_access_tokens(), 1)];
    for (before, refreshes) in befores {
        let host = Host::signed_in().await;
        let mcp = host.connect(&host.own_client()).await;
        before(&host);
        call_is_cancelled(&mcp, &host.resource.hold("echo", HoldAt::InTool), || {}).await;
        let counts = host.resource.counts();
        assert_eq!((counts.executed("echo"), counts.answered("notifications/cancelled", 202)), (1, 1));
        assert_eq!(host.server.counts().token_requests, refreshes);
    }
}

#[tokio::test]
async fn the_cancellation_of_a_call_at_the_server_does_not_wait_for_a_token_and_is_sent_after_it() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    let refresh = host.server.hold_next(When::After);
    call_is_cancelled(&mcp, &host.resource.hold("echo", HoldAt::InTool), || host.expire()).await;
    within("the refresh", refresh.reached(1)).await;
    assert_eq!(host.resource.counts().of("notifications/cancelled"), 0);
    refresh.open();
    within("the cancellation", host.resource.until(|counts| counts.of("notifications/cancelled") == 1)).await;
    assert_eq!(host.server.counts().token_requests, 1);
}

#[tokio::test]
async fn a_refused_cancellation_is_sent_again_without_waiting_for_the_refresh() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    let refresh = host.server.hold_next(When::After);
    let kill = || host.server.kill_access_tokens();
    call_is_cancelled(&mcp, &host.resource.hold("echo", HoldAt::InTool), kill).await;
    within("the refresh", refresh.reached(1)).await;
    refresh.open();
    within("the cancellation", host.resource.until(|counts| counts.answered("notifications/cancelled", 202) == 1))
        .await;
    assert_eq!((host.server.counts().token_requests, host.resource.counts().status(401)), (1, 1));
}

/// The client of a runtime whose requests are never answered.
#[derive(Debug, Default)]
struct NoAnswer(watch::Sender<u64>);

#[async_trait]
impl HttpClient for NoAnswer {
    async fn send(&self, _: Exchange) -> Result<http::Response<Body>, HttpError> {
        self.0.send_modify(|asked| *asked += 1);
        pending().await
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

/// The session reads the metadata that a challenge names before it gives up the token.
#[tokio::test]
async fn a_refused_call_that_waits_for_metadata_is_cancelled_here() {
    let host = Host::signed_in().await;
    let http = Arc::new(NoAnswer::default());
    let builder =
        AuthRuntime::builder(MemoryStore::new(DigestKey::new([7; 32])).process()).http(Arc::clone(&http) as _);
    let runtime = within("a runtime", builder.spawn()).await.unwrap();
    let session = runtime.session(SessionSpec::mcp(&host.resource.uri()).unwrap());
    host::install(&session, &host.grant()).await;
    let mcp = host.connect(&host::own_client(&session)).await;
    host.server.kill_access_tokens();
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(call("echo", "text", "late")));
    let sending = mcp.peer().send_cancellable_request(request, PeerRequestOptions::no_options());
    let sent = within("the call", sending).await.unwrap();
    within("the metadata", http.0.subscribe().wait_for(|asked| *asked > 0)).await.unwrap();
    within("the cancellation", sent.cancel(None)).await.unwrap();
    let counts = host.resource.counts();
    assert_eq!((counts.answered("tools/call", 401), counts.of("notifications/cancelled")), (1, 0));
}

fn cancellation(id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
}

/// A transport may hand over the cancellation before it drops the request.
#[tokio::test(start_paused = true)]
async fn the_cancellation_of_a_request_that_still_waits_is_accepted_and_not_sent() {
    let script = ScriptedSession::new().then(token("at-1").takes(Duration::from_secs(2)));
    let inner = Scripted::default();
    let client = SessionClient::over(inner.clone(), script.session());
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { post(&client, CALL).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(matches!(post(&client, &cancellation(1)).await, Ok(StreamableHttpPostResponse::Accepted)));
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    script.session().token().await.unwrap();
    assert_eq!((inner.sent(), script.counts().token_requests), (vec![], 1));
    // The number is another request's from now on.
    post(&client, CALL).await.unwrap();
    post(&client, &cancellation(1)).await.unwrap();
    assert_eq!(inner.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_cancellation_of_a_request_that_was_refused_and_not_sent_again_is_not_sent() {
    let script = ScriptedSession::new().then(token("at-1")).then(token("at-2").takes(Duration::from_secs(2)));
    let inner = Scripted::new([Step::Challenged(401, "Bearer")]);
    let client = SessionClient::over(inner.clone(), script.session());
    let refused = tokio::time::timeout(Duration::from_secs(1), post(&client, CALL));
    assert!(refused.await.is_err());
    post(&client, &cancellation(1)).await.unwrap();
    assert_eq!(script.session().token().await.unwrap().token().expose(), "at-2");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((inner.sent().len(), script.counts().token_requests), (1, 2));
}

/// rmcp sends answers and cancellations one after another, so a cancellation would wait for the token of an answer.
#[tokio::test(start_paused = true)]
async fn an_answer_to_the_server_is_accepted_at_once_and_sent_when_there_is_a_token() {
    let waits = ScriptedSession::new().then(token("at-1").takes(Duration::from_secs(20)));
    let is_refused = ScriptedSession::new().then(token("at-0")).then(token("at-1").takes(Duration::from_secs(20)));
    is_refused.session().token().await.unwrap();
    let answers =
        [r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}"#];
    for (script, refusals) in [(waits, 0), (is_refused, 1)] {
        let inner = Scripted::new(vec![Step::Challenged(401, "Bearer"); refusals]);
        let client = SessionClient::over(inner.clone(), script.session());
        let begun = tokio::time::Instant::now();
        for answer in answers {
            assert!(matches!(post(&client, answer).await, Ok(StreamableHttpPostResponse::Accepted)));
        }
        assert_eq!((begun.elapsed(), inner.sent().len()), (Duration::ZERO, refusals));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(inner.tokens()[refusals..], [Some("at-1".to_owned()), Some("at-1".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_finds_no_token_is_dropped_after_five_seconds() {
    let script = ScriptedSession::new().then(token("at-1").takes(Duration::from_secs(6)));
    let inner = Scripted::default();
    let client = SessionClient::over(inner.clone(), script.session());
    let begun = tokio::time::Instant::now();
    post(&client, &cancellation(1)).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    script.session().token().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(inner.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_at_a_slow_server_is_as_slow_as_its_server() {
    let inner = Scripted::new([Step::Good, Step::Silent]);
    let client = SessionClient::over(inner.clone(), numbered().session());
    post(&client, CALL).await.unwrap();
    let cancellation = cancellation(1);
    assert!(tokio::time::timeout(Duration::from_secs(3), post(&client, &cancellation)).await.is_err());
    assert_eq!(inner.sent().len(), 2);
}
