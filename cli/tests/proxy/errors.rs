//! Every request is answered.

use serde_json::{Value, json};

use crate::client::{ProxyClient, initialize};
use crate::server::OddServer;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_that_is_none_becomes_an_error_with_a_reason() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let html = ("content-type", "text/html");
    for (status, headers, body, data) in [
        (500, vec![html], "<html>secret</html>", json!({ "reason": "server_trouble", "status": 500 })),
        (429, vec![("retry-after", "7")], "", json!({ "reason": "throttled", "status": 429, "retry_after": 7.0 })),
        (404, vec![html], "<html>", json!({ "reason": "request_refused", "status": 404 })),
        (400, vec![JSON], r#"{"error":"secret"}"#, json!({ "reason": "request_refused", "status": 400 })),
        (403, vec![], "no", json!({ "reason": "request_refused", "status": 403 })),
        (302, vec![("location", "/other")], "", json!({ "reason": "request_refused", "status": 302 })),
        (200, vec![JSON], "", json!({ "reason": "no_answer" })),
        (200, vec![JSON], r#"{"jsonrpc":"2.0","id":"x"#, json!({ "reason": "no_answer" })),
        (200, vec![html], "<html>secret</html>", json!({ "reason": "no_answer" })),
        (202, vec![], "", json!({ "reason": "no_answer" })),
    ] {
        proxy.send(json!({ "jsonrpc": "2.0", "id": "x", "method": "server/discover" }).to_string()).await;
        server.post().await.reply(status, &headers, body).await;
        let line = proxy.line().await;
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["data"]), (&json!("x"), &data), "{status} {body}");
        assert_eq!((&answer["error"]["code"], line.contains("secret")), (&json!(-32050), false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_keeps_its_code_and_data_and_gets_the_identifier() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let error = r#"{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["a"],"n":1.0}}"#;
    for named in [r#","id":null"#, "", r#","id":"server-error""#, r#","id":5"#] {
        proxy.send(json!({ "jsonrpc": "2.0", "id": 5, "method": "a" }).to_string()).await;
        let body = format!(r#"{{"jsonrpc":"2.0","error":{error}{named}}}"#);
        server.post().await.reply(400, &[JSON], body).await;
        let answer = proxy.line().await;
        assert!(answer.contains(error) && answer.contains(r#""id":5"#), "{answer}");
    }
    // In a stream, only an error that names no request is the answer.
    proxy.send(json!({ "jsonrpc": "2.0", "id": 6, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    stream.event(r#"{"id":"other","error":{"code":1,"message":"m"}}"#).await;
    stream.event(r#"{"id":null,"error":{"code":2,"message":"m"}}"#).await;
    stream.end().await;
    assert_eq!(proxy.message().await["id"], "other");
    assert_eq!(proxy.message().await, json!({ "jsonrpc": "2.0", "id": 6, "error": { "code": 2, "message": "m" } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_an_error_and_the_request_is_not_sent_again() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "no http\r\n\r\n"] {
        proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
        let post = server.post().await;
        post.write_and_close(bytes).await;
        assert_eq!(proxy.message().await["error"]["data"], json!({ "reason": "maybe_executed" }), "{bytes}");
    }
    assert_eq!(server.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_an_error_and_the_process_stays() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut proxy = ProxyClient::start(&format!("http://{address}/mcp"));
    for _ in 0..2 {
        let answer = proxy.ask(initialize()).await;
        assert_eq!(answer["error"]["data"], json!({ "reason": "unreachable" }));
    }
    assert_eq!(proxy.end().await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_an_error() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let large = "x".repeat(33 << 20);
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let post = server.post().await;
    let body = large.clone();
    tokio::spawn(async move { post.answer(body).await });
    assert_eq!(proxy.message().await["error"]["data"], json!({ "reason": "too_large" }));
    proxy.send(json!({ "id": 2, "method": "a" }).to_string()).await;
    let mut stream = server.post().await.events().await;
    tokio::spawn(async move { stream.bytes(format!("data: {large}")).await });
    assert_eq!(proxy.message().await["error"]["data"], json!({ "reason": "too_large" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_fails_holds_nothing_up() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(json!({ "method": "n" }).to_string()).await;
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    server.post().await.reply(500, &[], "secret").await;
    server.post().await.result(json!({})).await;
    assert_eq!(proxy.message().await["id"], 1);
    let (_, code, notes) = proxy.end().await;
    assert_eq!(code, 0);
    assert!(
        notes.contains("n was not taken: the server answered with status 500") && !notes.contains("secret"),
        "{notes}"
    );
}

/// A notification that the server does not answer holds the requests behind it back for 5 s, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_is_never_answered_holds_nothing_up_for_ever() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(json!({ "method": "n" }).to_string()).await;
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let notification = server.post().await;
    server.post().await.result(json!({})).await;
    assert_eq!(proxy.message().await["id"], 1);
    notification.accepted().await;
}
