//! Every kind of message of the reference server of the MCP project, and of a client that it makes use of.

use std::process::Stdio;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::conversation::{Scene, first_line};
use crate::ports::free_port;
use crate::rigs::Program;

/// Starts the server. `None` without Node.
async fn everything(port: u16) -> Option<Child> {
    let folder = Program::McpHosts.prepared()?;
    let mut server = Command::new("node");
    server.arg(folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")).arg("streamableHttp");
    server.env("PORT", port.to_string()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().unwrap();
    let line = first_line(server.stderr.take().unwrap()).await;
    assert!(line.contains("listening"), "{line}");
    Some(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_passes_byte_for_byte_both_ways() {
    let port = free_port();
    let Some(_server) = everything(port).await else { return };
    let (scene, mut client) = Scene::before(port).await;
    client.until_all(&["roots/list"]).await;

    let mut answers = Vec::new();
    for (method, params) in [
        ("ping", json!({})),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("logging/setLevel", json!({ "level": "debug" })),
        ("resources/read", json!({ "uri": "demo://resource/dynamic/text/1" })),
        ("resources/read", json!({ "uri": "demo://resource/dynamic/blob/2" })),
        ("resources/subscribe", json!({ "uri": "demo://resource/dynamic/text/1" })),
        ("prompts/get", json!({ "name": "simple-prompt" })),
        ("prompts/get", json!({ "name": "args-prompt", "arguments": { "city": "Z\u{fc}rich" } })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "completable-prompt" }, "argument": { "name": "department", "value": "E" } }),
        ),
        ("tasks/list", json!({})),
    ] {
        answers.push((method, client.ask(method, params).await));
    }
    for (tool, arguments) in [
        ("echo", json!({ "message": "\u{1f511} \\u0000 \"quoted\"" })),
        ("get-sum", json!({ "a": 1.5, "b": -2e3 })),
        ("get-annotated-message", json!({ "messageType": "error", "includeImage": true })),
        ("get-tiny-image", json!({})),
        ("get-structured-content", json!({ "location": "Chicago" })),
        ("get-resource-links", json!({ "count": 2 })),
        ("get-resource-reference", json!({ "resourceType": "Text", "resourceId": 1 })),
        ("get-roots-list", json!({})),
        ("trigger-sampling-request", json!({ "prompt": "p", "maxTokens": 10 })),
        ("trigger-elicitation-request", json!({})),
        ("toggle-simulated-logging", json!({})),
        ("toggle-subscriber-updates", json!({})),
    ] {
        let answer = client.call(tool, arguments).await;
        assert_ne!(answer["result"]["isError"], true, "{tool}: {answer}");
        answers.push((tool, answer));
    }
    let slow = json!({ "name": "trigger-long-running-operation", "arguments": { "duration": 0.1, "steps": 4 },
        "_meta": { "progressToken": "p" } });
    answers.push(("progress", client.ask("tools/call", slow.clone()).await));
    for (name, answer) in &answers {
        assert!(answer.get("result").is_some(), "{name}: {answer}");
    }
    let task = json!({ "name": "simulate-research-query", "arguments": { "topic": "t" }, "task": { "ttl": 60_000 } });
    let task = client.ask("tools/call", task).await["result"]["task"]["taskId"].clone();
    for method in ["tasks/get", "tasks/cancel"] {
        let answer = client.ask(method, json!({ "taskId": task })).await;
        assert_eq!(answer["result"]["taskId"], task, "{answer}");
    }
    // Errors of the protocol and of a tool, and an error that carries a page.
    assert_eq!(client.ask("no/such/method", json!({})).await["error"]["code"], -32601);
    assert_eq!(client.call("no-such-tool", json!({})).await["result"]["isError"], true);
    let page = json!({ "url": "https://example.com/x", "message": "m", "errorPath": true });
    assert_eq!(client.call("trigger-url-elicitation", page).await["error"]["code"], -32042);
    // A cancelled request has no answer. This server goes on with its progress.
    let mut slow = slow;
    slow["arguments"]["duration"] = 0.4.into();
    slow["_meta"]["progressToken"] = "q".into();
    let cancelled = client.begin("tools/call", slow).await;
    client.progress("q", 1).await;
    client
        .send(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{cancelled}}}}}"#
        ))
        .await;
    client.progress("q", 4).await;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    client.until_all(&["notifications/message", "notifications/resources/updated", "notifications/progress"]).await;
    client.call("toggle-simulated-logging", json!({})).await;
    client.call("toggle-subscriber-updates", json!({})).await;
    client.ask("resources/unsubscribe", json!({ "uri": "demo://resource/dynamic/text/1" })).await;
    client.ask("ping", json!({})).await;

    let expected = [
        "elicitation/create",
        "notifications/message",
        "notifications/progress",
        "notifications/resources/updated",
        "roots/list",
        "sampling/createMessage",
    ];
    scene.end(client, &expected).await;
}
