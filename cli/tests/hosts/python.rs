//! Every kind of message of a server on the Python SDK.

use std::process::Stdio;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::conversation::{Scene, first_line};
use crate::rigs::Program;

/// Starts the server, and returns its port. `None` without Python.
async fn messages() -> Option<(Child, u16)> {
    let folder = Program::McpPython.prepared()?;
    let mut server = Command::new(folder.join(".venv/bin/python"));
    server.arg(folder.join("messages.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.kill_on_drop(true).spawn().unwrap();
    let port = first_line(server.stdout.take().unwrap()).await.parse().unwrap();
    Some((server, port))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_the_python_sdk_passes_byte_for_byte() {
    let Some((_server, port)) = messages().await else { return };
    let (scene, mut client) = Scene::before(port).await;
    for (method, params) in [
        ("ping", json!({})),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "text://one" })),
        ("resources/read", json!({ "uri": "bytes://one" })),
        ("resources/read", json!({ "uri": "text://Zo%C3%AB/greeting" })),
        ("prompts/get", json!({ "name": "review", "arguments": { "code": "a \u{1f511} b" } })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "review" }, "argument": { "name": "code", "value": "o" } }),
        ),
    ] {
        let answer = client.ask(method, params).await;
        assert!(answer.get("result").is_some(), "{method}: {answer}");
    }
    for (tool, arguments) in [
        ("echo", json!({ "text": "\u{1f511} \\u0000 \"quoted\" \u{2028}" })),
        ("add", json!({ "a": 1.5, "b": -2e3 })),
        ("image", json!({})),
        ("sample", json!({})),
        ("ask", json!({})),
        ("page", json!({})),
        ("roots", json!({})),
        ("announce", json!({})),
    ] {
        let answer = client.call(tool, arguments).await;
        assert_eq!(answer["result"]["isError"], false, "{tool}: {answer}");
    }
    let slow = json!({ "name": "work", "arguments": { "steps": 4 }, "_meta": { "progressToken": "p" } });
    assert_eq!(client.ask("tools/call", slow).await["result"]["isError"], false);
    assert_eq!(client.call("fail", json!({})).await["result"]["isError"], true);
    assert_eq!(client.ask("no/such/method", json!({})).await["error"]["code"], -32601);
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    let expected = [
        "elicitation/create",
        "notifications/elicitation/complete",
        "notifications/message",
        "notifications/progress",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
        "ping",
        "roots/list",
        "sampling/createMessage",
    ];
    client.until_all(&expected).await;
    client.ask("ping", json!({})).await;
    scene.end(client, &expected).await;
}
