//! The options of the command.

use serde_json::json;

use crate::client::{ProxyClient, call, command, home};
use crate::server::OddServer;

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_from_arguments_files_and_the_environment() {
    let mut server = OddServer::start().await;
    let (home, folder) = (home(), home());
    let file = folder.path().join("headers");
    std::fs::write(&file, "# of the team\nX-File: ${PROXY_TEST}-file\n").unwrap();
    let arguments =
        ["proxy", server.url(), "--header", "X-Team:${PROXY_TEST}", "--header-file", file.to_str().unwrap()];
    let mut command = command(&home, &arguments);
    command.env("PROXY_TEST", "s3cret");
    let mut proxy = ProxyClient::of(command);
    proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
    let post = server.post().await;
    assert_eq!((post.header("x-team"), post.header("x-file")), (Some("s3cret"), Some("s3cret-file")));
    post.reply(500, &[], "").await;
    let answer = proxy.line().await;
    let (_, _, notes) = proxy.end().await;
    assert!(!answer.contains("s3cret") && !notes.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_not_acceptable_end_with_usage() {
    for arguments in [
        &["--header", "Authorization: Bearer x"][..],
        &["--header", "Mcp-Session-Id: x"],
        &["--header", "X: ${NOT_SET_ANYWHERE}"],
        &["--header-file", "/no/such/file"],
        &["--ping", "0s"],
    ] {
        let proxy = ProxyClient::with("https://mcp.example.com/mcp", arguments);
        let (rest, code, _) = proxy.ended().await;
        assert_eq!((rest.len(), code), (0, 2), "{arguments:?}");
    }
    assert_eq!(ProxyClient::start("-").ended().await.1, 2);
    assert_eq!(ProxyClient::start("ftp://mcp.example.com").ended().await.1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_tools_are_neither_listed_nor_called() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::with(server.url(), &["--tool-filter", "read_*", "--tool-filter", "!*_all"]);
    proxy.send(json!({ "id": 1, "method": "tools/list" }).to_string()).await;
    let tools = r#"{"id":1,"result":{"tools":[{"name":"read_a","odd":1.0}, {"name":"read_all"},{"name":"write"}],"nextCursor":"x"}}"#;
    server.post().await.answer(tools).await;
    assert_eq!(proxy.line().await, r#"{"id":1,"result":{"tools":[{"name":"read_a","odd":1.0}],"nextCursor":"x"}}"#);
    let refused = proxy.ask(call(2, "write", json!({}))).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["reason"]), (&json!(-32602), &json!("excluded")));
    proxy.send(call(3, "read_a", json!({})).to_string()).await;
    let post = server.post().await;
    assert_eq!(post.json()["id"], 3);
    post.result(json!({})).await;
    assert_eq!(proxy.message().await["id"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_sent_back() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    for (sent, set) in [
        (None, "AWSALB=a; Path=/; Domain=other.example"),
        (Some("AWSALB=a"), "AWSALB=b; Max-Age=60"),
        (Some("AWSALB=b"), "AWSALB=; Max-Age=0"),
        (None, "other=1; Path=/other"),
        (None, "x=1"),
    ] {
        proxy.send(json!({ "id": 1, "method": "a" }).to_string()).await;
        let post = server.post().await;
        assert_eq!(post.header("cookie"), sent);
        let headers = [("set-cookie", set), ("content-type", "application/json")];
        post.reply(200, &headers, r#"{"id":1,"result":{}}"#).await;
        proxy.message().await;
    }
}

/// Redirects are followed to the server's own path and below it, with the same method and body, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_below_the_server_alone() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let message = json!({ "id": 1, "method": "a" }).to_string();
    proxy.send(&message).await;
    let below = format!("{}/v2", server.url());
    server.post().await.reply(307, &[("location", &below)], "").await;
    let post = server.post().await;
    assert_eq!(post.body, message.as_bytes());
    post.result(json!({})).await;
    assert_eq!(proxy.message().await["result"], json!({}));
    for (status, location) in [(307, "/other"), (308, "http://localhost:1/mcp"), (302, below.as_str())] {
        proxy.send(&message).await;
        server.post().await.reply(status, &[("location", location)], "").await;
        let answer = proxy.message().await;
        assert_eq!(answer["error"]["data"]["status"], status, "{location}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("redirects to another place"));
    }
    assert_eq!(server.left(), [] as [&str; 0]);
}
