//! The list of tools.

use serde_json::{Value, json};

use crate::client::command;
use crate::scene::{CallScene, WIRES, import, printed, spawn};
use crate::server::OddServer;

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_are_listed_on_both_wires() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        let listed = scene.run("tools", &[]).await;
        assert_eq!((listed.out.lines().count(), listed.code), (16, 0), "{}", listed.out);
        assert!(listed.out.starts_with("echo [text]\n  A tool for tests.\n"), "{}", listed.out);
        let json = scene.run("tools", &["--json"]).await;
        assert_eq!((json.totals()["tools"].as_array().unwrap().len(), json.lines().len()), (8, 1));
        let schema = scene.run("tools", &["--schema", "routed"]).await;
        let schema: Value = serde_json::from_str(&schema.out).unwrap();
        assert_eq!(schema["properties"]["region"], json!({ "type": "string", "x-mcp-header": "Region" }));
        let raw = scene.run("tools", &["--schema", "routed", "--json"]).await;
        assert_eq!(raw.lines(), [schema]);
        let missing = scene.run("tools", &["--schema", "no such"]).await;
        assert_eq!((&*missing.out, missing.code), ("", 1));
        let counts = scene.resource.counts();
        assert_eq!((counts.of("tools/list"), counts.sessions, scene.spent()), (5, 0, (1, 1, 0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_read_and_the_tools_stay_as_they_are() {
    let mut server = OddServer::start().await;
    let scene = CallScene::new().await;
    import(&scene.home, server.url(), &scene.grant_for(server.url())).await;
    let child = spawn(command(&scene.home, &["tools", server.url(), "--json"]));
    server.post().await.result(json!({ "supportedVersions": ["2026-07-28", "2025-11-25"] })).await;
    for (cursor, page) in [
        (json!(null), r#""tools":[{"name":"a","odd":1.0}, {"name":"b"}],"nextCursor":"x\"y""#),
        (json!("x\"y"), r#""tools":[],"nextCursor":"z""#),
        (
            json!("z"),
            r#""tools":[{"name":"c",
            "inputSchema":{"maximum":123456789012345678901234567890}}]"#,
        ),
    ] {
        let post = server.post().await;
        assert_eq!((&post.json()["method"], &post.json()["params"]["cursor"]), (&json!("tools/list"), &cursor));
        let id = post.json()["id"].clone();
        post.answer(format!("{{\"id\":{id},\"result\":{{{page}}}}}")).await;
    }
    let printed = printed(child).await;
    let expected = "{\"tools\":[{\"name\":\"a\",\"odd\":1.0},{\"name\":\"b\"},{\"name\":\"c\",             \
                    \"inputSchema\":{\"maximum\":123456789012345678901234567890}}]}\n";
    assert_eq!((&*printed.out, printed.code), (expected, 0));
}

/// Servers of the wire of 2025 refuse the question for the revision in many ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_the_newer_wire_gets_initialize() {
    let rpc =
        |code: i64| json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": "m" } }).to_string();
    for (status, body) in [
        (400, rpc(-32000)),
        (400, "Bad Request".to_owned()),
        (404, String::new()),
        (405, "<html>".to_owned()),
        (500, "Internal Server Error".to_owned()),
        (200, rpc(-32601)),
        (202, String::new()),
    ] {
        let mut server = OddServer::start().await;
        let scene = CallScene::new().await;
        import(&scene.home, server.url(), &scene.grant_for(server.url())).await;
        let child = spawn(command(&scene.home, &["tools", server.url()]));
        server.post().await.reply(status, &[("content-type", "application/json")], body).await;
        server.answer_initialize("s1").await;
        server.post().await.accepted().await;
        let list = server.post().await;
        assert_eq!(
            (list.header("mcp-session-id"), list.header("mcp-protocol-version")),
            (Some("s1"), Some("2025-06-18"))
        );
        list.result(json!({ "tools": [] })).await;
        server.next("DELETE").await.reply(405, &[], "").await;
        assert_eq!(printed(child).await.code, 0, "{status}");
    }
}
