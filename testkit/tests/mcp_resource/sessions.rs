//! The wire of 2025, with sessions.

use serde_json::{Value, json};
use tokenkeeper_testkit::mcp::{AnswerForm, HoldAt, McpResource};

use crate::client::{Events, Rig, call, initialize, json_of, text};
use crate::within::within;

const CHANGED: &str = "notifications/tools/list_changed";

#[tokio::test]
async fn a_session_lists_and_calls_tools() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    let list = json_of(client.send(&json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/list" })).await).await;
    assert_eq!((&list["id"], list["result"]["tools"].as_array().unwrap().len()), (&json!("a"), 8));
    assert_eq!(text(&client.call("echo", json!({ "text": "hello" })).await), "hello");
    assert_eq!(text(&client.call("large", json!({ "bytes": 100_000 })).await).len(), 100_000);
    assert_eq!(text(&client.call("slow", json!({ "milliseconds": 1 })).await), "done");
    assert_eq!(client.call("fail", json!({})).await["isError"], true);
    let me = client.call("whoami", json!({})).await["structuredContent"].clone();
    assert_eq!(me, json!({ "chain": rig.grant.chain.0, "ordinal": 0, "scope": "tools:read tools:call" }));
    let unknown = json_of(client.send(&call(7, "none", json!({}))).await).await;
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(7), &json!(-32602)));
    assert_eq!(client.delete().await.status(), 204);
    assert_eq!(client.send(&call(1, "echo", json!({}))).await.status(), 404);

    let counts = rig.resource.counts();
    assert_eq!((counts.requests("POST"), counts.requests("DELETE"), counts.of("tools/call")), (10, 1, 7));
    assert_eq!((counts.answered("tools/call", 200), counts.status(404), counts.status(202)), (6, 1, 1));
    assert_eq!((counts.all_executed(), counts.executed("echo"), counts.most_running), (5, 1, 1));
    assert_eq!((counts.sessions_opened, counts.sessions, counts.running, counts.aborted), (1, 0, 0, 0));
    assert_eq!(rig.server.counts().resource_answers[&200], 11);
}

#[tokio::test]
async fn events_have_identifiers_and_progress() {
    let rig = Rig::start(|settings| {
        settings.answers = AnswerForm::Sse;
        settings.retry = Some(std::time::Duration::from_millis(5));
    })
    .await;
    let client = rig.connect().await;
    let mut message = call(3, "progress", json!({ "steps": 2 }));
    message["params"]["_meta"]["progressToken"] = "p".into();
    let mut events = Events::of(client.send(&message).await);
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_deref(), first.retry.as_deref(), &*first.data), (Some("1-0"), Some("5"), ""));
    for step in 1..=2 {
        let params = json!({ "progressToken": "p", "progress": step, "total": 2 });
        assert_eq!(events.message().await["params"], params);
    }
    let last = events.next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_str(&last.data).unwrap();
    assert_eq!((last.id.as_deref(), &answer["id"], text(&answer["result"])), (Some("1-3"), &json!(3), "done"));
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn revisions_are_negotiated_and_forms_checked() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.client();
    for (asked, answered) in [("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-11-25")] {
        let answer = json_of(client.send(&initialize(asked)).await).await;
        assert_eq!(answer["result"]["protocolVersion"], answered);
    }
    assert_eq!(client.send(&call(1, "echo", json!({}))).await.status(), 400);
    let message = call(1, "echo", json!({}));
    let plain = client.request(reqwest::Method::POST).body(message.to_string()).send().await.unwrap();
    assert_eq!(plain.status(), 415);
    let picky = client.post(&message).header("accept", "text/html");
    let request = picky.build().unwrap();
    assert_eq!(request.headers().get_all("accept").iter().count(), 2);
    let future = client.post(&message).header("mcp-protocol-version", "2031-01-01").send().await.unwrap();
    assert_eq!(future.status(), 400);
    assert_eq!(json_of(future).await["error"]["data"]["requested"], "2031-01-01");
    let batch = client.post(&json!([message])).send().await.unwrap();
    assert_eq!((batch.status().as_u16(), json_of(batch).await["error"]["code"].clone()), (400, json!(-32700)));
}

#[tokio::test]
async fn a_standing_stream_carries_notifications_and_is_resumed() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    let mut events = Events::of(client.open(None).await);
    rig.resource.until(|counts| counts.standing_streams == 1).await;
    rig.resource.notify(CHANGED, json!({}));
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_deref(), &*first.data), (Some("0-0"), ""));
    let second = events.next().await.unwrap().unwrap();
    assert_eq!(second.id.as_deref(), Some("0-1"));
    rig.resource.cut_standing_streams();
    assert_eq!(events.next().await, Err(String::new()));
    rig.resource.until(|counts| counts.standing_streams == 0).await;

    rig.resource.notify(CHANGED, json!({ "n": 2 }));
    let mut resumed = Events::of(client.open(Some("0-1")).await);
    assert_eq!(resumed.message().await["params"]["n"], 2);
    // A second stream takes the place of the first.
    let mut other = Events::of(client.open(None).await);
    assert_eq!(resumed.next().await, Ok(None));
    rig.resource.notify(CHANGED, json!({ "n": 3 }));
    assert_eq!(other.message().await["params"]["n"], 3);
    rig.resource.end_standing_streams();
    assert_eq!(other.next().await, Ok(None));
    assert_eq!(client.open(Some("4-0")).await.status(), 400);
    let counts = rig.resource.counts();
    assert_eq!((counts.requests("GET"), counts.resumed, counts.answered("GET", 400)), (4, 1, 1));
}

#[tokio::test]
async fn forgotten_sessions_are_unknown_and_their_calls_aborted() {
    let rig = Rig::start(|settings| settings.answers = AnswerForm::Sse).await;
    let client = rig.connect().await;
    let mut standing = Events::of(client.open(None).await);
    let gate = rig.resource.hold("slow", HoldAt::InTool);
    let mut events = Events::of(client.send(&call(1, "slow", json!({}))).await);
    within("the call", gate.reached(1)).await;
    rig.resource.forget_sessions();
    assert_eq!(standing.next().await.unwrap().unwrap().data, "");
    assert_eq!(standing.next().await, Ok(None));
    assert_eq!(events.next().await.unwrap().unwrap().data, "");
    assert_eq!(events.next().await, Ok(None));
    let counts = rig.resource.until(|counts| counts.running == 0).await;
    assert_eq!((counts.executed("slow"), counts.aborted, counts.sessions), (1, 1, 0));
    for answer in [client.send(&call(2, "echo", json!({}))).await, client.open(None).await, client.delete().await] {
        assert_eq!(answer.status(), 404);
    }
    rig.resource.change(|settings| settings.unknown_session_status = 401);
    let refused = client.delete().await;
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().ends_with("error=\"invalid_token\""));
}

#[tokio::test]
async fn a_cancelled_request_has_no_answer() {
    let rig = Rig::start(|settings| settings.answers = AnswerForm::Sse).await;
    let client = rig.connect().await;
    let gate = rig.resource.hold("tools/call", HoldAt::InTool);
    let mut events = Events::of(client.send(&call(9, "echo", json!({}))).await);
    within("the call", gate.reached(1)).await;
    let params = json!({ "requestId": 9 });
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    assert_eq!(client.send(&cancelled).await.status(), 202);
    assert_eq!(events.next().await.unwrap().unwrap().data, "");
    assert_eq!(events.next().await, Ok(None));
    let counts = rig.resource.until(|counts| counts.running == 0).await;
    assert_eq!((counts.of("notifications/cancelled"), counts.aborted), (1, 1));
}

#[tokio::test]
async fn a_resource_without_sessions_has_neither_get_nor_delete() {
    let rig = Rig::start(|settings| settings.has_sessions = false).await;
    let client = rig.client();
    let answer = client.send(&initialize("2025-11-25")).await;
    assert!(!answer.headers().contains_key("mcp-session-id"));
    assert_eq!(text(&client.call("echo", json!({ "text": "a" })).await), "a");
    assert_eq!(
        (client.open(None).await.status(), client.delete().await.status()),
        (405.try_into().unwrap(), 405.try_into().unwrap())
    );
    rig.resource.change(|settings| settings.answers = AnswerForm::Sse);
    let mut events = Events::of(client.send(&call(2, "echo", json!({ "text": "b" }))).await);
    let only = events.next().await.unwrap().unwrap();
    assert_eq!(only.id, None);
    assert_eq!(events.next().await, Ok(None));
}

/// The grant is for the address, so the client goes on with its token, and has lost its session.
#[tokio::test]
async fn a_resource_starts_again_at_its_port() {
    let mut rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    let port = rig.resource.address().port();
    // The old one gives its port back a moment after it is dropped.
    rig.resource = within("the port", async {
        let mut old = Some(rig.resource);
        loop {
            drop(old.take());
            match McpResource::start_with(rig.server.verifier(), |settings| settings.port = port).await {
                Ok(resource) => return resource,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(rig.resource.address().port(), port);
    assert_eq!(client.send(&call(1, "echo", json!({ "text": "a" }))).await.status(), 404);
    let client = rig.connect().await;
    assert_eq!(text(&client.call("echo", json!({ "text": "hello" })).await), "hello");
    assert_eq!(rig.resource.counts().sessions_opened, 1);
}
