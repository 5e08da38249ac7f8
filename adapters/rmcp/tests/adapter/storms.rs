//! Storms of calls over two transports of one session, at expiry and at refusal.

use std::time::Duration;

use rmcp::ServiceError;
use tokenkeeper::TokenOptions;
use tokenkeeper_testkit::mcp::{AnswerForm, HoldAt};

use crate::host::{Host, Mcp, echo};
use crate::within::{each_within, within};

const SIZES: [usize; 3] = [16, 200, 1_000];

/// The time for which the authorization server holds its answer, so that a storm meets the refresh.
const ANSWER_DELAY: Duration = Duration::from_millis(50);

/// Sends `size` calls at once over both transports. Returns how many failed.
async fn storm(transports: &[Mcp; 2], size: usize) -> usize {
    let calls = (0..size).map(|number| {
        let peer = transports[number % 2].peer().clone();
        tokio::spawn(async move {
            let text = number.to_string();
            let result = peer.call_tool(crate::host::call("echo", "text", text.clone())).await?;
            assert_eq!(result.content[0].as_text().unwrap().text, text);
            Ok::<_, ServiceError>(())
        })
    });
    let calls: Vec<_> = calls.collect();
    let results = each_within("the calls", calls).await;
    results.into_iter().filter(|result| result.as_ref().unwrap().is_err()).count()
}

#[derive(Clone, Copy, Debug)]
enum Cause {
    Expiry,
    Refusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Of2025,
    Of2026,
}

async fn storms(cause: Cause, answers: AnswerForm, wire: Wire) {
    for size in SIZES {
        let story = format!("{cause:?} {answers:?} {wire:?} {size}");
        let host = Host::with(|rules| rules.answer_delay = ANSWER_DELAY, |settings| settings.answers = answers).await;
        let client = host.own_client();
        let transports = match wire {
            Wire::Of2025 => [host.connect(&client).await, host.connect(&client).await],
            Wire::Of2026 => [host.connect_2026(&client).await, host.connect_2026(&client).await],
        };
        match cause {
            Cause::Expiry => host.expire(),
            Cause::Refusal => host.server.kill_access_tokens(),
        }
        assert_eq!(storm(&transports, size).await, 0, "{story}");
        assert_eq!(storm(&transports, size).await, 0, "{story}");
        let (tokens, counts) = (host.server.counts(), host.resource.counts());
        assert_eq!(
            (tokens.token_requests, tokens.rotations, tokens.replays),
            (1, 1, 0),
            "{cause:?} {answers:?} {size}"
        );
        assert_eq!(counts.executed("echo"), 2 * size as u64, "{story}");
        assert_eq!(counts.status(401) > 0, matches!(cause, Cause::Refusal), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_expiry_one_refresh_serves_all_calls_answered_with_json() {
    storms(Cause::Expiry, AnswerForm::Json, Wire::Of2025).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_expiry_one_refresh_serves_all_calls_answered_with_events() {
    storms(Cause::Expiry, AnswerForm::Sse, Wire::Of2025).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_refusal_one_refresh_serves_all_calls_answered_with_json() {
    storms(Cause::Refusal, AnswerForm::Json, Wire::Of2025).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_refusal_one_refresh_serves_all_calls_answered_with_events() {
    storms(Cause::Refusal, AnswerForm::Sse, Wire::Of2025).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_wire_of_2026_one_refresh_serves_all_calls_too() {
    storms(Cause::Expiry, AnswerForm::Sse, Wire::Of2026).await;
    storms(Cause::Refusal, AnswerForm::Json, Wire::Of2026).await;
}

/// All calls have left with the old token when another caller's refresh ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_whose_token_ends_with_a_refresh_are_sent_again_with_the_new_one() {
    for size in SIZES {
        let host = Host::with(|rules| rules.old_access_dies = true, |_| {}).await;
        let client = host.own_client();
        let transports = [host.connect(&client).await, host.connect(&client).await];
        let gate = host.resource.hold("echo", HoldAt::BeforeCheck);
        let options = TokenOptions { force: true, ..TokenOptions::default() };
        let refresh = async {
            gate.reached(size as u64).await;
            host.session.token_with(options).await.unwrap();
            gate.open();
        };
        let (failed, ()) = tokio::join!(storm(&transports, size), within("the refresh", refresh));
        assert_eq!(failed, 0, "{size}");
        let (tokens, counts) = (host.server.counts(), host.resource.counts());
        assert_eq!((tokens.token_requests, tokens.replays), (1, 0), "{size}");
        assert_eq!((counts.answered("tools/call", 401), counts.executed("echo")), (size as u64, size as u64), "{size}");
    }
}

/// rmcp's default, which sends 16 requests at once and queues the rest.
#[tokio::test]
async fn a_storm_in_rmcps_queue_is_served_by_one_refresh_too() {
    let host = Host::with(|rules| rules.answer_delay = ANSWER_DELAY, |_| {}).await;
    let client = host.own_client();
    let config = host.config().max_concurrent_requests(16);
    let transport = rmcp::transport::StreamableHttpClientTransport::with_client(client, config);
    let mcp = within("a connection", rmcp::ServiceExt::serve((), transport)).await.unwrap();
    host.server.kill_access_tokens();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let peer = mcp.peer().clone();
            tokio::spawn(async move { peer.call_tool(crate::host::call("echo", "text", "x")).await })
        })
        .collect();
    let results = each_within("the calls", calls).await;
    assert!(results.iter().all(|result| result.as_ref().unwrap().is_ok()));
    assert_eq!((host.server.counts().token_requests, host.resource.counts().executed("echo")), (1, 200));
    within("a call", echo(&mcp, "after it")).await.unwrap();
}
