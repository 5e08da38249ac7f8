//! Streams of events, their breaks and their resumption, on the wire of 2025.

use serde_json::json;

use crate::client::ProxyClient;
use crate::server::OddServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_resumed_after_its_last_event() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    server.open(&mut proxy, "s1").await.reply(405, &[], "").await;
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    assert!(stream.bytes("retry: 30\nid: e1\ndata:\n\n").await);
    assert!(stream.bytes(format!("id: e2\ndata: {}\n\nid: e3\ndata: {{\"meth", json!({ "method": "one" }))).await);
    assert_eq!(proxy.message().await["method"], "one");
    stream.cut();
    let get = server.next("GET").await;
    assert_eq!((get.header("last-event-id"), get.header("mcp-session-id")), (Some("e2"), Some("s1")));
    assert_eq!((get.header("accept"), get.header("content-type")), (Some("text/event-stream"), None));
    // A proper end without the answer means the same. The identifier stays.
    let mut stream = get.events().await;
    stream.event(json!({ "method": "two" })).await;
    stream.end().await;
    let get = server.next("GET").await;
    assert_eq!(get.header("last-event-id"), Some("e2"));
    // A failure of the server passes.
    get.reply(502, &[], "").await;
    let mut stream = server.next("GET").await.events().await;
    stream.event(json!({ "id": 1, "result": {} })).await;
    stream.end().await;
    assert_eq!(
        (proxy.message().await["method"].as_str(), proxy.message().await["id"].as_i64()),
        (Some("two"), Some(1))
    );
    assert_eq!(server.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_stream_cannot_be_resumed_gets_an_error_and_is_sent_once() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    server.open(&mut proxy, "s1").await.reply(405, &[], "").await;
    // Without an identifier.
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    stream.event(json!({ "method": "one" })).await;
    proxy.message().await;
    stream.cut();
    let answer = proxy.message().await;
    assert_eq!((&answer["id"], &answer["error"]["data"]), (&json!(1), &json!({ "reason": "maybe_executed" })));
    assert!(answer["error"]["message"].as_str().unwrap().contains("may have done what was asked"));
    // With one, at a server that cannot resume.
    proxy.send(json!({ "id": 2, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    assert!(stream.bytes("retry: 20\nid: e1\ndata:\n\n").await);
    stream.end().await;
    server.next("GET").await.reply(405, &[], "").await;
    assert_eq!(proxy.message().await["error"]["data"]["reason"], "maybe_executed");
    assert_eq!(server.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_is_not_resumed() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    server.open(&mut proxy, "s1").await.reply(405, &[], "").await;
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    assert!(stream.bytes(format!("id: e1\nretry: 300\ndata: {}\n\n", json!({ "method": "one" }))).await);
    proxy.message().await;
    proxy.send(json!({ "method": "notifications/cancelled", "params": { "requestId": 1 } }).to_string()).await;
    server.post().await.accepted().await;
    stream.end().await;
    // Nothing is left when the proxy has ended in order, apart from the end of the session.
    assert_eq!(proxy.end().await.0.len(), 0);
    assert_eq!(server.left(), ["DELETE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standing_stream_is_opened_again_after_its_last_event() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let get = server.open(&mut proxy, "s1").await;
    assert_eq!((get.header("mcp-session-id"), get.header("last-event-id")), (Some("s1"), None));
    let mut stream = get.events().await;
    assert!(
        stream.bytes(format!("retry: 20\nid: 7\ndata: {}\n\n", json!({ "id": "r", "method": "roots/list" }))).await
    );
    assert_eq!(proxy.message().await, json!({ "id": "r", "method": "roots/list" }));
    proxy.send(r#"{"id":"r","result":{"roots":[],"odd":1.0}}"#).await;
    let post = server.post().await;
    assert_eq!(
        (post.header("mcp-session-id"), &*post.body),
        (Some("s1"), &br#"{"id":"r","result":{"roots":[],"odd":1.0}}"#[..])
    );
    post.accepted().await;
    stream.cut();
    let get = server.next("GET").await;
    assert_eq!(get.header("last-event-id"), Some("7"));
    get.reply(503, &[], "").await;
    let mut stream = server.next("GET").await.events().await;
    stream.event(json!({ "method": "again" })).await;
    assert_eq!(proxy.message().await["method"], "again");
    let ended = tokio::spawn(proxy.end());
    stream.closed().await;
    server.next("DELETE").await.reply(405, &[], "").await;
    assert_eq!(ended.await.unwrap().1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_standing_stream_is_asked_once() {
    for status in [405, 400, 404] {
        let mut server = OddServer::start().await;
        let mut proxy = ProxyClient::start(server.url());
        proxy.send(crate::client::initialize().to_string()).await;
        server.post().await.result(json!({ "protocolVersion": "2025-11-25" })).await;
        proxy.message().await;
        proxy.send(crate::client::INITIALIZED).await;
        server.post().await.accepted().await;
        server.next("GET").await.reply(status, &[], "").await;
        proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
        server.post().await.result(json!({})).await;
        proxy.message().await;
        proxy.end().await;
        assert_eq!(server.left(), [] as [&str; 0], "{status}");
    }
}
