//! The order of messages, and the bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::client::{INITIALIZED, ProxyClient, initialize};
use crate::server::OddServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_notification_before_it() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    // A client that does not wait for its own first answer.
    proxy.send(initialize().to_string()).await;
    proxy.send(INITIALIZED).await;
    proxy.send(json!({ "id": 1, "method": "tools/list" }).to_string()).await;
    server.answer_initialize("s1").await;
    let initialized = server.post().await;
    assert_eq!(
        (initialized.json()["method"].as_str(), initialized.header("mcp-session-id")),
        (Some("notifications/initialized"), Some("s1"))
    );
    assert!(!server.left().contains(&"POST".to_owned()));
    initialized.accepted().await;
    let list = server.post().await;
    assert_eq!((list.json()["id"].as_i64(), list.header("mcp-protocol-version")), (Some(1), Some("2025-06-18")));
    list.result(json!({ "tools": [] })).await;
    assert_eq!((proxy.message().await["id"].as_i64(), proxy.message().await["id"].as_i64()), (Some(0), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_side_by_side_up_to_a_limit_and_reading_goes_on() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    for id in 0..70 {
        proxy.send(json!({ "id": id, "method": "a" }).to_string()).await;
    }
    let mut posts = Vec::new();
    for _ in 0..64 {
        posts.push(server.post().await);
    }
    // An answer to a request of the server passes those that wait.
    proxy.send(json!({ "id": "s", "result": {} }).to_string()).await;
    let answer = server.post().await;
    assert_eq!(answer.json(), json!({ "id": "s", "result": {} }));
    answer.accepted().await;
    assert_eq!(server.left().len(), 0);
    // The last ones are answered first.
    for post in posts.into_iter().rev() {
        let id = post.json()["id"].clone();
        post.result(json!({})).await;
        assert_eq!(proxy.message().await["id"], id);
    }
    let mut ids = Vec::new();
    for _ in 64..70 {
        let post = server.post().await;
        ids.push(post.json()["id"].as_u64().unwrap());
        post.result(json!({})).await;
    }
    for _ in 64..70 {
        proxy.message().await;
    }
    ids.sort_unstable();
    assert_eq!(ids, (64..70).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_that_waits_is_never_sent() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    for id in 0..65 {
        proxy.send(json!({ "id": id, "method": "a" }).to_string()).await;
    }
    let mut posts = Vec::new();
    for _ in 0..64 {
        posts.push(server.post().await);
    }
    proxy.send(json!({ "method": "notifications/cancelled", "params": { "requestId": 64 } }).to_string()).await;
    proxy.send(json!({ "method": "n" }).to_string()).await;
    let next = server.post().await;
    assert_eq!(next.json(), json!({ "method": "n" }));
    next.accepted().await;
    for post in posts {
        post.result(json!({})).await;
        proxy.message().await;
    }
    assert_eq!((proxy.end().await.0, server.left()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_server_of_2025_and_the_request_gets_no_error() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(json!({ "id": "a", "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    stream.event(json!({ "method": "note" })).await;
    assert_eq!(proxy.message().await, json!({ "method": "note" }));
    proxy.send(json!({ "method": "notifications/cancelled", "params": { "requestId": "\u{61}" } }).to_string()).await;
    let cancel = server.post().await;
    assert_eq!(cancel.json()["params"]["requestId"], "a");
    cancel.accepted().await;
    stream.end().await;
    assert_eq!(proxy.end().await.0, [] as [Value; 0]);
}

/// Progress, requests and notifications of the server keep their order, and the answers of the client reach it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_its_order_and_the_server_may_ask_in_it() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    for progress in 0..500 {
        stream.event(json!({ "method": "notifications/progress", "params": { "progress": progress } })).await;
    }
    let sampling =
        r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"unknown":1.0,"maxTokens":5}}"#;
    stream.event(sampling).await;
    for progress in 0..500 {
        assert_eq!(proxy.message().await["params"]["progress"], progress);
    }
    assert_eq!(proxy.line().await, sampling);
    let sampled = r#"{"jsonrpc":"2.0","id":"q","result":{"role":"assistant","odd":1.0}}"#;
    proxy.send(sampled).await;
    let post = server.post().await;
    assert_eq!(post.body, sampled.as_bytes());
    post.accepted().await;
    stream.event(json!({ "id": 1, "result": {} })).await;
    stream.end().await;
    assert_eq!(proxy.message().await["id"], 1);
}

/// 200 MB at a client that does not read. The server is stopped, and the memory stays small.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_server() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    let (taken, told) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, tell) = (Arc::clone(&taken), Arc::clone(&told));
    let writing = tokio::spawn(async move {
        let event = format!("data: {}\n\n", json!({ "method": "note", "params": "x".repeat(100_000) }));
        for _ in 0..2000 {
            assert!(stream.bytes(&event).await);
            count.fetch_add(1, Ordering::Relaxed);
            tell.notify_one();
        }
        stream.event(json!({ "id": 1, "result": {} })).await;
        stream.end().await;
    });
    // It has stopped when no event is taken for a second.
    while tokio::time::timeout(std::time::Duration::from_secs(1), told.notified()).await.is_ok() {}
    let held = taken.load(Ordering::Relaxed);
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.child.id().unwrap())).unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).map(|size| size.trim().trim_end_matches(" kB"));
    let resident: u64 = resident.map_or(0, |size| size.parse().unwrap());
    assert!(held < 400, "{held} of 2000 events were taken");
    assert!(resident < 80_000, "{resident} kB");
    for _ in 0..2000 {
        assert_eq!(proxy.message().await["method"], "note");
    }
    assert_eq!(proxy.message().await["id"], 1);
    writing.await.unwrap();
    println!("{held} of 2000 events of 100 kB were taken, {resident} kB resident");
}
