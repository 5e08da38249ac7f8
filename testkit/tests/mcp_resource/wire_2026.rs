//! The wire of 2026, without sessions.

use serde_json::{Value, json};
use tokenkeeper_testkit::mcp::{AnswerForm, HoldAt, Wires};

use crate::client::{Client, Events, Rig, call, initialize, json_of, text};
use crate::within::within;

fn discover() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {} })
}

fn listen(filter: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen", "params": { "notifications": filter } })
}

async fn error_of(client: &Client, message: &Value) -> (u16, i64) {
    let answer = client.send(message).await;
    (answer.status().as_u16(), json_of(answer).await["error"]["code"].as_i64().unwrap())
}

#[tokio::test]
async fn each_request_stands_alone() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.client_2026();
    let answer = json_of(client.send(&discover()).await).await;
    let versions = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
    assert_eq!(
        (&answer["result"]["supportedVersions"], &answer["result"]["resultType"]),
        (&versions, &json!("complete"))
    );
    let result = client.call("echo", json!({ "text": "hello" })).await;
    assert_eq!((text(&result), &result["resultType"]), ("hello", &json!("complete")));
    assert_eq!(client.open(None).await.status(), 400, "a client of 2025 has a session");
    assert_eq!(
        error_of(&client, &json!({ "jsonrpc": "2.0", "id": 1, "method": "prompts/list", "params": {} })).await,
        (404, -32601)
    );
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {} });
    assert_eq!(client.send(&cancelled).await.status(), 202);
    rig.resource.change(|settings| settings.answers = AnswerForm::Sse);
    let mut events = Events::of(client.send(&call(5, "echo", json!({ "text": "b" }))).await);
    let event = events.next().await.unwrap().unwrap();
    assert_eq!((event.id, text(&serde_json::from_str::<Value>(&event.data).unwrap()["result"])), (None, "b"));
    assert_eq!(events.next().await, Ok(None));
    assert_eq!((rig.resource.counts().sessions_opened, rig.resource.counts().executed("echo")), (0, 2));
}

#[tokio::test]
async fn headers_repeat_the_message() {
    let rig = Rig::start(|_| {}).await;
    let (client, plain) = (rig.client_2026(), rig.client());
    let mut message = call(1, "routed", json!({ "region": "zürich" }));
    let key = "io.modelcontextprotocol/protocolVersion";
    assert_eq!(error_of(&client, &message).await, (400, -32020));
    let encoded = "=?base64?esO8cmljaA==?=";
    let answer = client.post(&message).header("mcp-param-region", encoded).send().await.unwrap();
    assert_eq!(text(&json_of(answer).await["result"]), "zürich");

    message["params"]["_meta"][key] = "2026-07-28".into();
    let headers = [
        ("2026-07-28", "tools/call", "routed", encoded, 200),
        ("2026-07-28", "tools/list", "routed", encoded, 400),
        ("2026-07-28", "tools/call", "echo", encoded, 400),
        ("2026-07-28", "tools/call", "routed", "bern", 400),
        ("2025-11-25", "tools/call", "routed", encoded, 400),
    ];
    for (version, method, name, region, status) in headers {
        let request = plain.post(&message).header("mcp-protocol-version", version).header("mcp-method", method);
        let answer = request.header("mcp-name", name).header("mcp-param-region", region).send().await.unwrap();
        assert_eq!(answer.status(), status, "{version} {method} {name} {region}");
    }
    message["params"]["_meta"] = json!({});
    let request = plain.post(&message).header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call");
    let answer = request.header("mcp-name", "routed").header("mcp-param-region", encoded).send().await.unwrap();
    assert_eq!(json_of(answer).await["error"]["code"], -32020);
    assert_eq!(rig.resource.counts().executed("routed"), 2);
}

#[tokio::test]
async fn a_resource_speaks_one_wire_only_if_told_so() {
    let rig = Rig::start(|settings| settings.wires = Wires::Only2025).await;
    assert_eq!(error_of(&rig.client_2026(), &discover()).await, (400, -32000));
    assert_eq!(text(&rig.connect().await.call("echo", json!({ "text": "a" })).await), "a");
    rig.resource.change(|settings| settings.wires = Wires::Only2026);
    let answer = json_of(rig.client().send(&initialize("2025-11-25")).await).await;
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32022), &json!(0)));
    assert_eq!(answer["error"]["data"]["supported"], json!(["2026-07-28"]));
    assert_eq!(rig.client().open(None).await.status(), 405);
    let answer = json_of(rig.client_2026().send(&discover()).await).await;
    assert_eq!(answer["result"]["supportedVersions"], json!(["2026-07-28"]));
}

#[tokio::test]
async fn a_subscription_is_acknowledged_notified_and_ended() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.client_2026();
    let mut events =
        Events::of(client.send(&listen(json!({ "toolsListChanged": true, "promptsListChanged": true }))).await);
    let mut deaf = Events::of(client.send(&listen(json!({ "promptsListChanged": true }))).await);
    let acknowledged = events.message().await;
    assert_eq!(acknowledged["params"]["notifications"], json!({ "toolsListChanged": true }));
    assert_eq!(acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
    assert_eq!(deaf.message().await["params"]["notifications"], json!({}));
    rig.resource.until(|counts| counts.standing_streams == 2).await;
    rig.resource.notify("notifications/tools/list_changed", json!({}));
    let changed = events.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
    rig.resource.end_standing_streams();
    for events in [&mut events, &mut deaf] {
        let end = events.message().await;
        assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!("l"), &json!("complete")));
        assert_eq!(events.next().await, Ok(None));
    }
    rig.resource.until(|counts| counts.standing_streams == 0).await;
    let mut cut = Events::of(client.send(&listen(json!({}))).await);
    cut.message().await;
    rig.resource.cut_standing_streams();
    assert_eq!(cut.next().await, Err(String::new()));
    let mut left = Events::of(client.send(&listen(json!({}))).await);
    left.message().await;
    drop(left);
    within("the end", rig.resource.until(|counts| counts.standing_streams == 0)).await;
}

#[tokio::test]
async fn closing_the_connection_cancels() {
    for answers in [AnswerForm::Json, AnswerForm::Sse] {
        let rig = Rig::start(|settings| settings.answers = answers).await;
        let client = rig.client_2026();
        let gate = rig.resource.hold("slow", HoldAt::InTool);
        tokio::select! {
            _ = async { Events::of(client.send(&call(1, "slow", json!({}))).await).next().await } => panic!("it is held"),
            () = within("the call", gate.reached(1)) => {}
        }
        let counts = within("the end", rig.resource.until(|counts| counts.running == 0)).await;
        assert_eq!((counts.executed("slow"), counts.aborted), (1, 1), "{answers:?}");
    }
}
