//! Sessions of the wire of 2025, and their loss.

use serde_json::{Value, json};

use crate::client::{INITIALIZED, ProxyClient};
use crate::server::{OddRequest, OddServer};

fn session(exchange: &OddRequest) -> Option<&str> {
    exchange.header("mcp-session-id")
}

/// Lets a client set up a session with a level and two subscriptions, one of which has ended.
async fn set_up(server: &mut OddServer, proxy: &mut ProxyClient) {
    server.open(proxy, "s1").await.reply(405, &[], "").await;
    for (id, method, params) in [
        (1, "logging/setLevel", json!({ "level": "debug" })),
        (2, "resources/subscribe", json!({ "uri": "file:///a" })),
        (3, "resources/subscribe", json!({ "uri": "file:///b" })),
        (4, "resources/unsubscribe", json!({ "uri": "file:///a" })),
    ] {
        proxy.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()).await;
        let post = server.post().await;
        assert_eq!((session(&post), post.header("mcp-protocol-version")), (Some("s1"), Some("2025-06-18")));
        post.result(json!({})).await;
        assert_eq!(proxy.message().await["id"], id);
    }
}

/// Takes the messages by which a proxy sets a lost session up again.
async fn renewal(server: &mut OddServer, new: &str) -> Vec<String> {
    server.answer_initialize(new).await;
    let mut methods = Vec::new();
    for _ in 0..3 {
        let post = server.post().await;
        assert_eq!(session(&post), Some(new));
        methods.push(post.json()["method"].as_str().unwrap().to_owned());
        if post.body == INITIALIZED.as_bytes() {
            post.accepted().await;
        } else {
            if methods.last().unwrap() == "resources/subscribe" {
                assert_eq!(post.json()["params"]["uri"], "file:///b");
            }
            post.result(json!({})).await;
        }
    }
    methods
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_meet_a_lost_session_share_one_new_session() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    set_up(&mut server, &mut proxy).await;
    for id in 10..13 {
        proxy
            .send(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "a" } }).to_string())
            .await;
    }
    let mut posts = Vec::new();
    for _ in 0..3 {
        posts.push(server.post().await);
    }
    for post in posts {
        assert_eq!(session(&post), Some("s1"));
        post.reply(404, &[], "gone").await;
    }
    assert_eq!(
        renewal(&mut server, "s2").await,
        ["notifications/initialized", "logging/setLevel", "resources/subscribe"]
    );
    // The new session has a standing stream of its own.
    let standing = server.next("GET").await;
    assert_eq!(session(&standing), Some("s2"));
    let mut standing = standing.events().await;
    for _ in 0..3 {
        let post = server.post().await;
        assert_eq!((session(&post), post.json()["method"].as_str()), (Some("s2"), Some("tools/call")));
        post.result(json!({ "content": [] })).await;
    }
    let mut messages = Vec::new();
    for _ in 0..5 {
        messages.push(proxy.message().await);
    }
    let changed = |list: &str| json!({ "jsonrpc": "2.0", "method": format!("notifications/{list}/list_changed") });
    assert_eq!((&messages[0], &messages[1]), (&changed("tools"), &changed("resources")));
    assert!(messages[2..].iter().all(|answer| answer["result"]["content"] == json!([])), "{messages:?}");
    standing.event(json!({ "method": "still/here" })).await;
    assert_eq!(proxy.message().await, json!({ "method": "still/here" }));
    assert_eq!(server.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_400_that_names_the_session_means_its_loss_and_no_other_400_does() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    set_up(&mut server, &mut proxy).await;
    proxy.send(json!({ "id": 10, "method": "a" }).to_string()).await;
    let invalid = r#"{"jsonrpc":"2.0","id":10,"error":{"code":-32602,"message":"Invalid params"}}"#;
    server.post().await.reply(400, &[("content-type", "application/json")], invalid).await;
    assert_eq!(proxy.line().await, invalid);
    proxy.send(json!({ "id": 11, "method": "a" }).to_string()).await;
    let lost =
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#;
    server.post().await.reply(400, &[("content-type", "application/json")], lost).await;
    renewal(&mut server, "s2").await;
    let again = server.post().await;
    assert_eq!((session(&again), again.json()["id"].as_i64()), (Some("s2"), Some(11)));
    // It is sent once more, and no third time.
    again.reply(404, &[], "").await;
    let answer = proxy.answer(&json!(11)).await;
    assert_eq!(answer["error"]["data"], json!({ "reason": "request_refused", "status": 404 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_renewed_is_an_error_and_the_next_request_tries_again() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    server.open(&mut proxy, "s1").await.reply(405, &[], "").await;
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    server.post().await.reply(404, &[], "").await;
    server.post().await.reply(503, &[("retry-after", "3")], "busy").await;
    let answer = proxy.message().await;
    assert_eq!(answer["error"]["data"], json!({ "reason": "server_trouble", "retry_after": 3.0 }));
    // If the connection of the new session breaks, only `initialize` may have been executed.
    proxy.send(json!({ "id": 2, "method": "a" }).to_string()).await;
    server.post().await.reply(404, &[], "").await;
    let post = server.post().await;
    assert_eq!(post.json()["method"], "initialize");
    post.write_and_close("").await;
    assert_eq!(proxy.message().await["error"]["data"], json!({ "reason": "session_lost" }));
    proxy.send(json!({ "id": 3, "method": "a" }).to_string()).await;
    server.post().await.reply(404, &[], "").await;
    server.answer_initialize("s2").await;
    server.post().await.accepted().await;
    server.post().await.result(json!({})).await;
    assert_eq!(proxy.answer(&json!(3)).await["result"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_sessions_gets_none_and_its_404_is_an_answer() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(crate::client::initialize().to_string()).await;
    let post = server.post().await;
    post.result(json!({ "protocolVersion": "2025-03-26", "capabilities": {} })).await;
    proxy.message().await;
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let post = server.post().await;
    assert_eq!((session(&post), post.header("mcp-protocol-version")), (None, Some("2025-03-26")));
    post.reply(404, &[], "<html>").await;
    assert_eq!(proxy.message().await["error"]["data"]["status"], 404);
    let (rest, code, _) = proxy.end().await;
    assert_eq!((rest, code, server.left()), (vec![] as Vec<Value>, 0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_keeps_a_session_alive_and_renews_a_lost_one() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::with(server.url(), &["--ping", "1s"]);
    server.open(&mut proxy, "s1").await.reply(405, &[], "").await;
    let ping = server.post().await;
    assert_eq!((session(&ping), ping.json()["method"].as_str()), (Some("s1"), Some("ping")));
    ping.reply(404, &[], "").await;
    server.answer_initialize("s2").await;
    server.post().await.accepted().await;
    let ping = server.post().await;
    assert_eq!((session(&ping), ping.json()["method"].as_str()), (Some("s2"), Some("ping")));
    ping.result(json!({})).await;
    for list in ["tools", "resources"] {
        assert_eq!(proxy.message().await["method"], format!("notifications/{list}/list_changed"));
    }
    // The client never sees a ping or its answer.
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.ended().await.0, [] as [Value; 0]);
}
