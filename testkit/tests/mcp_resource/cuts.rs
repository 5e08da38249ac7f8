//! Streams that are cut, connections that are closed, and gates.

use serde_json::json;
use tokenkeeper_testkit::mcp::{AnswerForm, Cut, HoldAt};
use tokio::task::JoinSet;

use crate::client::{Events, Rig, call, text};
use crate::within::within;

#[tokio::test]
async fn a_stream_that_is_cut_after_an_identifier_is_resumed() {
    let rig = Rig::start(|settings| settings.answers = AnswerForm::Sse).await;
    let client = rig.connect().await;
    for cut in [Cut::AfterId, Cut::EndsAfterId] {
        rig.resource.cut_next("echo", 1, cut);
        let mut events = Events::of(client.send(&call(1, "echo", json!({ "text": "kept" }))).await);
        let id = events.next().await.unwrap().unwrap().id.unwrap();
        match cut {
            Cut::EndsAfterId => assert_eq!(events.next().await, Ok(None)),
            _ => assert!(events.next().await.unwrap_err().contains("data: {"), "half an event"),
        }
        let mut resumed = Events::of(client.open(Some(&id)).await);
        assert_eq!(text(&resumed.message().await["result"]), "kept");
        assert_eq!(resumed.next().await, Ok(None));
        assert_eq!(client.open(Some(&id)).await.status(), 400);
    }
    let counts = rig.resource.counts();
    assert_eq!((counts.executed("echo"), counts.resumed, counts.aborted), (2, 2, 0));
}

#[tokio::test]
async fn a_stream_that_is_cut_without_an_identifier_is_lost() {
    for has_sessions in [true, false] {
        let rig = Rig::start(|settings| {
            settings.answers = AnswerForm::Sse;
            settings.has_sessions = has_sessions;
        })
        .await;
        let client = if has_sessions { rig.connect().await } else { rig.client() };
        rig.resource.cut_next("tools/call", 1, Cut::WithoutId);
        let mut events = Events::of(client.send(&call(1, "echo", json!({ "text": "lost" }))).await);
        let half = events.next().await.unwrap_err();
        assert!(half.starts_with("data: {") && !half.contains("id: "), "{half}");
        assert_eq!((rig.resource.counts().executed("echo"), rig.resource.counts().aborted), (1, 0));
        // The next one is whole.
        let mut events = Events::of(client.send(&call(2, "echo", json!({ "text": "whole" }))).await);
        assert_eq!(text(&events.message().await["result"]), "whole");
    }
}

#[tokio::test]
async fn a_call_goes_on_in_its_session_and_ends_without_one() {
    for (has_sessions, aborted) in [(true, 0), (false, 1)] {
        let rig = Rig::start(|settings| {
            settings.answers = AnswerForm::Sse;
            settings.has_sessions = has_sessions;
        })
        .await;
        let client = if has_sessions { rig.connect().await } else { rig.client() };
        let gate = rig.resource.hold("echo", HoldAt::InTool);
        let answer = client.send(&call(1, "echo", json!({}))).await;
        within("the call", gate.reached(1)).await;
        drop(answer);
        if has_sessions {
            gate.open();
        }
        let counts = within("the end", rig.resource.until(|counts| counts.running == 0)).await;
        assert_eq!((counts.executed("echo"), counts.aborted), (1, aborted));
    }
}

#[tokio::test]
async fn gates_hold_before_the_check_and_after_it() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    let before = rig.resource.hold("echo", HoldAt::BeforeCheck);
    let after = rig.resource.hold("tools/call", HoldAt::AfterCheck);
    let checked = rig.server.counts().resource_requests;
    let calling = {
        let client = client.clone();
        async move { client.call("echo", json!({ "text": "a" })).await }
    };
    let watching = async {
        within("the first gate", before.reached(1)).await;
        assert_eq!(rig.server.counts().resource_requests, checked);
        before.open();
        within("the second gate", after.reached(1)).await;
        // The token was good when it was checked.
        rig.server.kill_access_tokens();
        assert_eq!((rig.server.counts().resource_requests, rig.resource.counts().executed("echo")), (checked + 1, 0));
        after.open();
    };
    let (result, ()) = tokio::join!(calling, watching);
    assert_eq!(text(&result), "a");
    assert_eq!(client.send(&call(2, "echo", json!({}))).await.status(), 401);
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    let gate = rig.resource.hold("slow", HoldAt::InTool);
    let calls = (0..20).map(|_| {
        let client = client.clone();
        async move { client.call("slow", json!({})).await }
    });
    let calls: JoinSet<_> = calls.collect();
    let open = async {
        within("all calls", gate.reached(20)).await;
        gate.open();
    };
    let (results, ()) = tokio::join!(calls.join_all(), open);
    assert!(results.iter().all(|result| text(result) == "done"));
    let counts = rig.resource.counts();
    assert_eq!((counts.executed("slow"), counts.most_running, counts.running), (20, 20, 0));
}
