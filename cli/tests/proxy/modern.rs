//! The wire of 2026-07-28.

use serde_json::{Value, json};
use tokenkeeper_testkit::mcp::Wires;

use crate::client::{ProxyClient, call, modern};
use crate::server::{OddRequest, OddServer};
use crate::tokens::ProxyScene;

fn metadata(exchange: &OddRequest) -> Vec<(&str, &str)> {
    let mut headers = exchange.headers_like("mcp-");
    headers.sort_unstable();
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_has_the_headers_that_repeat_it() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let version = ("mcp-protocol-version", "2026-07-28");
    let list = modern(json!({ "id": 1, "method": "tools/list" }));
    proxy.send(list.to_string()).await;
    let post = server.post().await;
    assert_eq!(
        (metadata(&post), post.body.clone()),
        (vec![("mcp-method", "tools/list"), version], list.to_string().into_bytes())
    );
    let good = r#"{"name":"sql","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"limit":{"type":"integer","x-mcp-header":"Limit"},"dry":{"type":"boolean","x-mcp-header":"Dry"}}},"odd":1.0}"#;
    let bad =
        r#"{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}}"#;
    post.answer(format!(r#"{{"id":1,"result":{{"tools":[{bad},{good}],"ttlMs":1.0}}}}"#)).await;
    assert_eq!(proxy.line().await, format!(r#"{{"id":1,"result":{{"tools":[{good}],"ttlMs":1.0}}}}"#));
    for (arguments, expected) in [
        (
            json!({ "region": "us-west1", "limit": 42, "dry": false }),
            vec![("mcp-param-dry", "false"), ("mcp-param-limit", "42"), ("mcp-param-region", "us-west1")],
        ),
        (json!({ "region": "Zür\nich", "limit": null }), vec![("mcp-param-region", "=?base64?WsO8cgppY2g=?=")]),
        (json!({ "other": 1 }), vec![]),
    ] {
        proxy.send(modern(call(2, "sql", arguments)).to_string()).await;
        let post = server.post().await;
        let mut headers = vec![("mcp-method", "tools/call"), ("mcp-name", "sql")];
        headers.extend(expected);
        headers.push(version);
        assert_eq!(metadata(&post), headers);
        post.result(json!({})).await;
        proxy.message().await;
    }
    // A notification that names no revision has that of the requests.
    proxy.send(json!({ "method": "notifications/odd" }).to_string()).await;
    let post = server.post().await;
    assert_eq!(metadata(&post), [("mcp-method", "notifications/odd"), version]);
    post.accepted().await;
    let (rest, code, notes) = proxy.end().await;
    assert_eq!((rest, code, server.left()), (vec![], 0, vec![]));
    assert!(notes.contains("the tool bad is left out"), "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_closes_the_stream_and_is_not_posted() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(modern(call(1, "a", json!({}))).to_string()).await;
    let mut stream = server.post().await.events().await;
    stream.event(json!({ "method": "notifications/progress" })).await;
    proxy.message().await;
    let cancel = modern(json!({ "method": "notifications/cancelled", "params": { "requestId": 1 } }));
    proxy.send(cancel.to_string()).await;
    stream.closed().await;
    // One that comes too late is not posted either.
    proxy.send(cancel.to_string()).await;
    proxy.send(modern(json!({ "id": 2, "method": "tools/list" })).to_string()).await;
    let post = server.post().await;
    assert_eq!(post.json()["id"], 2);
    post.result(json!({ "tools": [] })).await;
    assert_eq!(proxy.message().await["id"], 2);
    assert_eq!((proxy.end().await.0, server.left()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_an_error_and_is_not_resumed() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(modern(call(1, "a", json!({}))).to_string()).await;
    let mut stream = server.post().await.events().await;
    assert!(stream.bytes("id: 5\nretry: 1\ndata:\n\n").await);
    stream.end().await;
    assert_eq!(proxy.message().await["error"]["data"], json!({ "reason": "maybe_executed" }));
    assert_eq!(server.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_stand_beside_the_requests_and_their_end_is_a_cancellation() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let mut streams = Vec::new();
    for id in 0..70 {
        let listen = modern(json!({ "id": id, "method": "subscriptions/listen", "params": { "notifications": {} } }));
        proxy.send(listen.to_string()).await;
        streams.push(server.post().await.events().await);
    }
    proxy.send(modern(json!({ "id": "r", "method": "tools/list" })).to_string()).await;
    server.post().await.result(json!({ "tools": [] })).await;
    assert_eq!(proxy.message().await["id"], "r");
    let mut first = streams.remove(0);
    first.event(json!({ "method": "notifications/tools/list_changed" })).await;
    first.end().await;
    assert_eq!(proxy.message().await["method"], "notifications/tools/list_changed");
    let ended = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 0 } });
    assert_eq!(proxy.message().await, ended);
    // A server may end it with a result instead.
    let mut second = streams.remove(0);
    second.event(json!({ "id": 1, "result": {} })).await;
    second.end().await;
    assert_eq!(proxy.message().await, json!({ "id": 1, "result": {} }));
    // The others do not hold the end up.
    let (rest, code, _) = proxy.end().await;
    assert_eq!((rest, code), (vec![], 0));
}

/// A client of both wires finds out by an error that a server is one of 2025, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_both_wires_meets_a_server_of_2025() {
    let scene = ProxyScene::with(|settings| settings.wires = Wires::Only2025).await;
    let mut proxy = scene.proxy(&[]);
    let discover = modern(json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover" }));
    assert_eq!(proxy.ask(discover).await["error"]["code"], -32000);
    assert_eq!(proxy.ask(crate::client::initialize()).await["result"]["protocolVersion"], "2025-11-25");
    proxy.send(crate::client::INITIALIZED).await;
    let answer = proxy.ask(call(2, "echo", json!({ "text": "hello" }))).await;
    assert_eq!(answer["result"]["content"][0]["text"], "hello");
    scene.resource.until(|counts| counts.standing_streams == 1).await;
    assert_eq!(proxy.end().await.1, 0);
    let counts = scene.resource.counts();
    assert_eq!((counts.sessions, counts.sessions_opened, counts.requests("DELETE")), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_2026_is_spoken_to_without_a_session() {
    let scene = ProxyScene::with(|settings| settings.wires = Wires::Only2026).await;
    let mut proxy = scene.proxy(&[]);
    let ask = |id: i64, method: &str| modern(json!({ "jsonrpc": "2.0", "id": id, "method": method }));
    assert_eq!(proxy.ask(ask(1, "server/discover")).await["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(proxy.ask(ask(2, "tools/list")).await["result"]["tools"].as_array().map(Vec::len), Some(8));
    for region in ["us-west1", "Zürich", " padded ", "=?base64?eA==?="] {
        let answer = proxy.ask(modern(call(3, "routed", json!({ "region": region })))).await;
        assert_eq!(answer["result"]["content"][0]["text"], region);
    }
    let listen = modern(json!({ "jsonrpc": "2.0", "id": 4, "method": "subscriptions/listen",
        "params": { "notifications": { "toolsListChanged": true } } }));
    proxy.send(listen.to_string()).await;
    assert_eq!(proxy.message().await["method"], "notifications/subscriptions/acknowledged");
    scene.resource.notify("notifications/tools/list_changed", json!({}));
    assert_eq!(proxy.message().await["method"], "notifications/tools/list_changed");
    proxy
        .send(
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 4 } }).to_string(),
        )
        .await;
    scene.resource.until(|counts| counts.standing_streams == 0).await;
    let (rest, code, _) = proxy.end().await;
    assert_eq!((rest, code), (Vec::<Value>::new(), 0));
    let counts = scene.resource.counts();
    assert_eq!((counts.requests("GET"), counts.requests("DELETE"), counts.requests("POST")), (0, 0, 7));
    assert_eq!((counts.status(401), scene.server.counts().token_requests), (0, 1));
}

/// A host may know the tools from an earlier process. The server names the headers that it misses, and has executed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_was_not_listed_gets_its_headers_once_the_server_misses_them() {
    let scene = ProxyScene::with(|settings| settings.wires = Wires::Only2026).await;
    let mut proxy = scene.proxy(&[]);
    for id in 1..=2 {
        let answer = proxy.ask(modern(call(id, "routed", json!({ "region": "us-west1" })))).await;
        assert_eq!(answer["result"]["content"][0]["text"], "us-west1", "{answer}");
    }
    assert_eq!(proxy.end().await.0, [] as [Value; 0]);
    let counts = scene.resource.counts();
    assert_eq!((counts.of("tools/call"), counts.answered("tools/call", 400), counts.of("tools/list")), (3, 1, 1));
    assert_eq!(counts.executed("routed"), 2);
    // Another mismatch is the client's.
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(modern(call(1, "a", json!({}))).to_string()).await;
    let mismatch = r#"{"id":1,"error":{"code":-32020,"message":"Header mismatch"}}"#;
    let json = ("content-type", "application/json");
    server.post().await.reply(400, &[json], mismatch).await;
    let list = server.post().await;
    assert_eq!(list.json()["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"], "test");
    list.result(json!({ "tools": [{ "name": "b" }], "nextCursor": "page \"2\"" })).await;
    let list = server.post().await;
    assert_eq!(list.json()["params"]["cursor"], "page \"2\"");
    list.result(json!({ "tools": [] })).await;
    assert_eq!(proxy.line().await, mismatch);
    assert_eq!(server.left(), [] as [&str; 0]);
}
