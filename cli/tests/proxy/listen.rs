//! `--listen`, for hosts that take a URL.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Client, Method, Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokenkeeper_testkit::mcp::AnswerForm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::client::{ProxyClient, call, home, initialize, modern, within};
use crate::server::OddServer;
use crate::tokens::ProxyScene;

async fn post(url: &str, message: &Value) -> Response {
    let request = Client::new().post(url).header("accept", "application/json, text/event-stream");
    let request = request.header("content-type", "application/json").header("mcp-protocol-version", "2026-07-28");
    let request = request.header("mcp-method", message["method"].as_str().unwrap());
    let request = match message["params"]["name"].as_str() {
        Some(name) => request.header("mcp-name", name),
        None => request,
    };
    within("an answer", request.body(message.to_string()).send()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_needs_no_token() {
    for form in [AnswerForm::Json, AnswerForm::Sse] {
        let scene = ProxyScene::with(|settings| settings.answers = form).await;
        let mut proxy = scene.proxy(&["--listen", "127.0.0.1:0"]);
        let url = proxy.line().await;
        assert!(url.starts_with("http://127.0.0.1:") && url.len() > 80, "{url}");
        let calls = (0..100).map(|id| {
            let url = url.clone();
            tokio::spawn(async move {
                post(&url, &modern(call(id, "echo", json!({ "text": "hello" })))).await.text().await.unwrap()
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(call.await.unwrap().contains("hello"));
        }
        assert_eq!((scene.spent(), scene.resource.counts().executed("echo")), ((1, 1, 0), 100));
        proxy.signal(Signal::TERM);
        let (rest, code, notes) = proxy.ended().await;
        assert_eq!((rest.len(), code), (0, 0), "{notes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_headers_pass_as_they_are_and_the_streams_as_they_arrive() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::with(server.url(), &["--listen", "127.0.0.1:0"]);
    let url = proxy.line().await;
    let body = r#"{ "jsonrpc":"2.0", "id":1.0, "method":"tools/call" }"#;
    let request = Client::new()
        .post(&url)
        .header("mcp-session-id", "s1")
        .header("x-odd", "1")
        .header("authorization", "Bearer own");
    let asking =
        tokio::spawn(request.header("cookie", "a=b").header("content-type", "application/json").body(body).send());
    let post = server.post().await;
    assert_eq!(
        (&*post.body, post.header("x-odd"), post.header("mcp-session-id")),
        (body.as_bytes(), Some("1"), Some("s1"))
    );
    assert_eq!((post.header("authorization"), post.header("cookie")), (None, None));
    let mut stream = post.events().await;
    let mut answer = within("the head", asking).await.unwrap().unwrap();
    assert!(stream.bytes("id: 1\ndata:\n\n").await);
    assert_eq!(within("an event", answer.chunk()).await.unwrap().unwrap(), "id: 1\ndata:\n\n");
    assert!(stream.bytes("data: {}\n\n").await);
    assert_eq!(within("an event", answer.chunk()).await.unwrap().unwrap(), "data: {}\n\n");
    // The end of the client's connection is that of the server's.
    drop(answer);
    stream.closed().await;
    let asking = tokio::spawn(Client::new().delete(&url).header("mcp-session-id", "s1").send());
    let delete = server.next("DELETE").await;
    delete.reply(405, &[("set-cookie", "a=b"), ("x-odd", "2")], "no").await;
    let answer = within("an answer", asking).await.unwrap().unwrap();
    assert_eq!((answer.status(), answer.headers().get("set-cookie")), (StatusCode::METHOD_NOT_ALLOWED, None));
    assert_eq!(answer.headers()["x-odd"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_know_the_path_reach_the_server() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.proxy(&["--listen", "127.0.0.1:0"]);
    let url = proxy.line().await;
    let (origin, path) = url.rsplit_once('/').unwrap();
    let client = Client::new();
    let wrong =
        [format!("{origin}/"), format!("{origin}/mcp"), format!("{url}0"), format!("{url}/x"), format!("{url}?x")];
    for url in wrong {
        assert_eq!(post(&url, &initialize()).await.status(), StatusCode::NOT_FOUND, "{url}");
    }
    for (name, value) in [("host", "attacker.example"), ("origin", "https://attacker.example"), ("origin", "null")] {
        let answer = client.post(&url).header(name, value).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}");
    }
    let answer = client.request(Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!((scene.spent(), scene.resource.counts().requests("POST"), path.len()), ((0, 0, 0), 0, 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_the_answer_names_the_command_and_no_authorization_server() {
    let scene = ProxyScene::signed_out(|_| {}).await;
    let mut proxy = scene.proxy(&["--listen", "127.0.0.1:0"]);
    let url = proxy.line().await;
    let answer = post(&url, &modern(call("a", "echo", json!({})))).await;
    assert_eq!((answer.status(), answer.headers().get("www-authenticate")), (StatusCode::SERVICE_UNAVAILABLE, None));
    let error: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((&error["id"], &error["error"]["data"]["reason"]), (&json!("a"), &json!("never_signed_in")));
    assert!(error["error"]["data"]["command"].as_str().unwrap().starts_with("tokenkeeper login "));
    scene.sign_in().await;
    assert_eq!(post(&url, &modern(call("a", "echo", json!({ "text": "x" })))).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_for_this_user_alone() {
    let scene = ProxyScene::new().await;
    let folder = home();
    let path = folder.path().join("mcp.sock");
    for _ in 0..2 {
        let mut proxy = scene.proxy(&["--listen", &format!("unix:{}", path.display())]);
        assert_eq!(proxy.line().await, format!("unix:{}", path.display()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut socket = UnixStream::connect(&path).await.unwrap();
        let body = initialize().to_string();
        let head = "POST /any HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("an answer", socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("2025-11-25"), "{answer}");
        // A second proxy does not take the place of one that runs.
        let second = scene.proxy(&["--listen", &format!("unix:{}", path.display())]);
        assert_eq!(second.ended().await.1, 1);
        proxy.signal(Signal::KILL);
        proxy.ended().await;
        // The next proxy replaces the socket of one that was killed.
        assert!(path.exists());
    }
    let mut proxy = scene.proxy(&["--listen", &format!("unix:{}", path.display())]);
    proxy.line().await;
    proxy.signal(Signal::INT);
    assert_eq!((proxy.ended().await.1, path.exists()), (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_than_loopback_are_refused() {
    for address in ["0.0.0.0:0", "192.0.2.1:80", "localhost:0", "unix:"] {
        let proxy = ProxyClient::with("https://mcp.example.com/mcp", &["--listen", address]);
        assert_eq!(proxy.ended().await.1, 2, "{address}");
    }
}
