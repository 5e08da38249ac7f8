//! Results, on both wires and in both forms.

use std::process::Stdio;

use serde_json::json;
use tokenkeeper_testkit::mcp::{AnswerForm, Cut, HoldAt, Wires};
use tokio::io::AsyncWriteExt;

use crate::client::{command, home};
use crate::scene::{CallScene, WIRES, import, printed, spawn};
use crate::server::OddServer;

#[tokio::test(flavor = "multi_thread")]
async fn the_content_is_printed_on_both_wires() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        let printed = scene.call(&["echo", r#"{"text":"a\nb"}"#]).await;
        assert_eq!((&*printed.out, &*printed.notes, printed.code), ("a\nb\n", "", 0), "{wires:?} {answers:?}");
        let counts = scene.resource.counts();
        assert_eq!((counts.of("server/discover"), counts.executed("echo"), counts.sessions), (1, 1, 0));
        let sessions = u64::from(wires == Wires::Only2025);
        assert_eq!((counts.of("initialize"), counts.sessions_opened), (sessions, sessions));
        assert_eq!((counts.of("notifications/initialized"), counts.requests("DELETE")), (sessions, sessions));
        assert_eq!((scene.spent(), counts.status(401)), ((1, 1, 0), 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_both_is_called_on_the_newer_wire() {
    let scene = CallScene::new().await;
    let (call, totals) = scene.call(&["whoami", "--json"]).await.only();
    assert_eq!(
        (&call["n"], &call["ok"], &call["attempts"], &call["error"]),
        (&json!(1), &json!(true), &json!(1), &json!(null))
    );
    assert_eq!(call["generation"], "1.2");
    assert_eq!(call["result"]["structuredContent"]["ordinal"], 1);
    assert!(call["ms"].is_u64());
    assert_eq!(
        (&totals["calls"], &totals["ok"], &totals["failed"], &totals["token_requests"]),
        (&json!(1), &json!(1), &json!(0), &json!(1))
    );
    assert_eq!((&totals["p50_ms"], &totals["p99_ms"]), (&call["ms"], &call["ms"]));
    // A token that is good costs no request.
    let (again, totals) = scene.call(&["whoami", "--json"]).await.only();
    assert_eq!((&again["generation"], &totals["token_requests"]), (&json!("1.2"), &json!(0)));
    assert_eq!((scene.resource.counts().of("initialize"), scene.spent()), (0, (1, 1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_given_in_three_ways() {
    let scene = CallScene::new().await;
    let folder = home();
    let file = folder.path().join("arguments.json");
    std::fs::write(&file, "{ \"text\": \"of a file\" }\n").unwrap();
    assert_eq!(scene.call(&["echo", r#"{"text":"of the line"}"#]).await.out, "of the line\n");
    assert_eq!(scene.call(&["echo", &format!("@{}", file.display())]).await.out, "of a file\n");
    let mut command = command(&scene.home, &["call", &scene.resource.uri(), "echo", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"text":"of standard input"}"#).await.unwrap();
    assert_eq!(printed(child).await.out, "of standard input\n");
    assert_eq!(scene.call(&["echo"]).await.code, 0);
    for arguments in ["[]", "{", "@/no/such/file"] {
        assert_eq!(scene.call(&["echo", arguments]).await.code, 2, "{arguments}");
    }
    assert_eq!(scene.resource.counts().executed("echo"), 4);
}

/// The person's arguments and the server's result pass as they are.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_keep_their_meaning() {
    let mut server = OddServer::start().await;
    let scene = CallScene::new().await;
    let grant = scene.grant_for(server.url());
    import(&scene.home, server.url(), &grant).await;
    let arguments = r#"{"n": 123456789012345678901234567890, "f":1.0}"#;
    let mut call =
        command(&scene.home, &["call", server.url(), "odd", arguments, "--json", "--header", "x-key: s3cret"]);
    let child = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let discover = server.post().await;
    assert_eq!((discover.header("mcp-method"), discover.header("x-key")), (Some("server/discover"), Some("s3cret")));
    discover.result(json!({ "supportedVersions": ["2026-07-28"] })).await;
    let post = server.post().await;
    assert!(String::from_utf8_lossy(&post.body).contains(arguments));
    assert_eq!((post.header("mcp-name"), post.header("mcp-protocol-version")), (Some("odd"), Some("2026-07-28")));
    let id = &post.json()["id"];
    let result = format!("{{\"id\":{id},\"result\":{{\n\t\"big\": 123456789012345678901234567890.0, \"f\":1.0}}}}");
    post.answer(result).await;
    let printed = printed(child).await;
    assert!(
        printed.out.contains(r#""result":{  "big": 123456789012345678901234567890.0, "f":1.0}"#),
        "{}",
        printed.out
    );
    assert_eq!((printed.lines().len(), printed.code), (2, 0));
    assert!(!printed.out.contains("s3cret") && !printed.notes.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_resumed_where_it_can_be() {
    for cut in [Cut::AfterId, Cut::EndsAfterId] {
        let scene = CallScene::on(Wires::Only2025, AnswerForm::Sse).await;
        scene.resource.cut_next("tools/call", 1, cut);
        let (call, _) = scene.call(&["echo", r#"{"text":"a"}"#, "--json"]).await.only();
        assert_eq!((&call["ok"], &call["attempts"]), (&json!(true), &json!(1)), "{cut:?} {call}");
        let counts = scene.resource.counts();
        assert_eq!((counts.resumed, counts.executed("echo")), (1, 1));
    }
}

/// All calls that meet the loss share one new MCP session.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_mcp_session_is_opened_again_once() {
    let scene = CallScene::on(Wires::Only2025, AnswerForm::Json).await;
    let gate = scene.resource.hold("tools/call", HoldAt::BeforeCheck);
    let child = scene.start("call", &["echo", "--parallel", "8", "--json"]);
    gate.reached(8).await;
    scene.resource.forget_sessions();
    gate.open();
    let printed = printed(child).await;
    assert_eq!((printed.totals()["ok"].as_u64(), printed.code), (Some(8), 0));
    assert!(printed.lines()[..8].iter().all(|call| call["attempts"] == 2));
    let counts = scene.resource.counts();
    assert_eq!((counts.sessions_opened, counts.executed("echo"), counts.sessions), (2, 8, 0));
}

/// The schema of a tool whose parameter is repeated in a header is fetched when the server asks for the header.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_parameters_are_learned() {
    let scene = CallScene::new().await;
    let (call, _) = scene.call(&["routed", r#"{"region":"é"}"#, "--json"]).await.only();
    assert_eq!((&call["ok"], &call["attempts"]), (&json!(true), &json!(2)), "{call}");
    assert_eq!(call["result"]["content"][0]["text"], "é");
    let counts = scene.resource.counts();
    assert_eq!((counts.of("tools/list"), counts.executed("routed")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transport_has_an_mcp_session_of_its_own() {
    let scene = CallScene::on(Wires::Only2025, AnswerForm::Json).await;
    let printed = scene.call(&["echo", "--parallel", "5", "--repeat", "3", "--transports", "2", "--json"]).await;
    let mut numbers: Vec<_> = printed.lines().iter().filter_map(|line| line["n"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!((numbers, printed.code), ((1..=15).collect(), 0));
    let counts = scene.resource.counts();
    assert_eq!((counts.sessions_opened, counts.requests("DELETE"), counts.sessions), (2, 2, 0));
    assert_eq!((counts.executed("echo"), scene.spent()), (15, (1, 1, 0)));
    assert_eq!(scene.call(&["echo", "--transports", "2"]).await.code, 2);
}

/// A person gets the content of each call, and the totals beside it.
#[tokio::test(flavor = "multi_thread")]
async fn several_calls_are_summed_up_for_a_person() {
    let scene = CallScene::new().await;
    let printed = scene.call(&["echo", r#"{"text":"a"}"#, "--repeat", "3", "--interval", "1ms"]).await;
    assert_eq!((&*printed.out, printed.code), ("a\na\na\n", 0));
    assert!(printed.notes.starts_with("3 calls: 3 ok, 0 failed, 1 token requests, p50 "), "{}", printed.notes);
}

/// The client has no capabilities, and says so to a server that asks for something in the midst of a call.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_server_are_answered() {
    let mut server = OddServer::start().await;
    let scene = CallScene::new().await;
    import(&scene.home, server.url(), &scene.grant_for(server.url())).await;
    let child = spawn(command(&scene.home, &["call", server.url(), "odd"]));
    server.post().await.reply(404, &[], "").await;
    server.answer_initialize("s1").await;
    server.post().await.accepted().await;
    let call = server.post().await;
    let id = call.json()["id"].clone();
    let mut stream = call.events().await;
    stream.event(json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} })).await;
    for (request, answer) in [
        (json!({ "id": "p", "method": "ping" }), json!({ "jsonrpc": "2.0", "id": "p", "result": {} })),
        (
            json!({ "id": 7, "method": "sampling/createMessage" }),
            json!({ "jsonrpc": "2.0", "id": 7, "error": { "code": -32601, "message": "the client has no such method" } }),
        ),
    ] {
        stream.event(request).await;
        let post = server.post().await;
        assert_eq!((post.json(), post.header("mcp-session-id")), (answer, Some("s1")));
        post.accepted().await;
    }
    stream.event(json!({ "id": id, "result": { "content": [{ "type": "text", "text": "done" }] } })).await;
    stream.end().await;
    server.next("DELETE").await.reply(204, &[], "").await;
    let printed = printed(child).await;
    assert_eq!((&*printed.out, printed.code), ("done\n", 0));
}
