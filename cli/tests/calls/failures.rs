//! Failures, with their reasons and exit codes.

use serde_json::{Value, json};
use tokenkeeper_testkit::mcp::{AnswerForm, Cut, HoldAt, Instead, Wires};

use crate::client::{command, home};
use crate::scene::{CallScene, WIRES, import, printed, spawn};

/// The reason of the only call, and the exit code.
async fn reason(scene: &CallScene, arguments: &[&str]) -> (String, i32) {
    let printed = scene.call(&[arguments, &["--json"]].concat()).await;
    let (call, totals) = printed.only();
    assert_eq!((&call["ok"], &totals["failed"]), (&json!(false), &json!(1)), "{call}");
    let reason = call["error"]["reason"].as_str().unwrap();
    assert!(printed.notes.starts_with(&format!("error: {reason}: ")), "{}", printed.notes);
    (reason.to_owned(), printed.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_fails_ends_with_1_and_its_content() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        let printed = scene.call(&["fail"]).await;
        assert_eq!((&*printed.out, printed.code), ("failed, as it always does\n", 1));
        assert_eq!(printed.notes, "error: tool_error: the tool reported an error\n");
        assert_eq!(reason(&scene, &["fail"]).await, ("tool_error".to_owned(), 1));
        assert_eq!(reason(&scene, &["no such tool"]).await, ("rpc_error".to_owned(), 1));
        assert_eq!(scene.resource.counts().executed("fail"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_required_ends_with_3() {
    // There is no home.
    let scene = CallScene::signed_out(|_| {}).await;
    let printed = scene.call(&["echo"]).await;
    assert_eq!((&*printed.out, printed.code), ("", 3));
    assert!(printed.notes.contains("there is no home"), "{}", printed.notes);
    assert_eq!(scene.resource.counts().requests("POST"), 0);
    // The home has a session of another server.
    import(&scene.home, "https://mcp.example.com/mcp", &scene.grant_for("https://mcp.example.com/mcp")).await;
    let printed = scene.call(&["echo", "--json"]).await;
    let totals = printed.totals();
    assert_eq!((&totals["calls"], &totals["error"]["reason"], printed.code), (&json!(0), &json!("never_signed_in"), 3));
    assert!(printed.notes.contains("tokenkeeper login signs you in"), "{}", printed.notes);
    assert_eq!(scene.resource.counts().answered("server/discover", 401), 1);
    // The session of another URL is named.
    let slash = format!("{}/", scene.resource.uri());
    import(&scene.home, &slash, &scene.grant_for(&slash)).await;
    assert!(scene.call(&["echo"]).await.notes.contains(&format!("there is one for {slash}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_logged_out_sends_nothing() {
    let scene = CallScene::new().await;
    assert_eq!(scene.run("logout", &[]).await.code, 0);
    let printed = scene.call(&["echo", "--json"]).await;
    assert_eq!((&printed.totals()["error"]["reason"], printed.code), (&json!("logged_out"), 3));
    assert_eq!(scene.run("tools", &[]).await.code, 3);
    assert_eq!(scene.resource.counts().requests("POST"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_scopes_and_refusals_end_with_4() {
    let scene = CallScene::new().await;
    let printed = scene.call(&["restricted"]).await;
    assert_eq!((&*printed.out, printed.code), ("", 4));
    assert!(printed.notes.starts_with("error: insufficient_scope: "), "{}", printed.notes);
    assert!(printed.notes.contains("--again --scope") && printed.notes.contains("tools:admin"), "{}", printed.notes);
    assert_eq!(reason(&scene, &["restricted"]).await, ("insufficient_scope".to_owned(), 4));
    scene.resource.next("tools/call", 1, Instead::Status(403));
    assert_eq!(reason(&scene, &["echo"]).await, ("request_refused".to_owned(), 4));
    assert_eq!(scene.spent(), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_that_pass_end_with_5() {
    let scene = CallScene::new().await;
    for (status, expected) in [(503, "server_trouble"), (429, "throttled")] {
        scene.resource.next("tools/call", 1, Instead::Status(status));
        assert_eq!(reason(&scene, &["echo"]).await, (expected.to_owned(), 5));
    }
    // A gateway may answer like that for a server that runs the tool, and does so for the list as well.
    scene.resource.next("tools/call", 1, Instead::Status(504));
    assert_eq!(reason(&scene, &["echo"]).await, ("server_trouble".to_owned(), 1));
    scene.resource.next("tools/list", 1, Instead::Status(504));
    assert_eq!(scene.run("tools", &[]).await.code, 5);
    assert_eq!(scene.resource.counts().executed("echo"), 0);
    let CallScene { resource, home, server } = scene;
    let uri = resource.uri();
    drop(resource);
    let down = printed(spawn(command(&home, &["call", &uri, "echo", "--json"]))).await;
    assert_eq!((&down.totals()["error"]["reason"], down.code), (&json!("unreachable"), 5));
    drop(server);
}

/// A program that sees only the exit code must not repeat a call that the server may have executed.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_have_been_executed_ends_with_1_and_is_sent_once() {
    for wires in [Wires::Only2025, Wires::Only2026] {
        let scene = CallScene::on(wires, AnswerForm::Sse).await;
        scene.resource.cut_next("tools/call", 1, Cut::WithoutId);
        assert_eq!(reason(&scene, &["echo"]).await, ("maybe_executed".to_owned(), 1));
        assert_eq!(scene.resource.counts().executed("echo"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_ends_with_5_before_the_call() {
    let scene = CallScene::new().await;
    let gate = scene.resource.hold("server/discover", HoldAt::BeforeCheck);
    for (command, arguments) in [("call", &["--timeout", "1s", "echo"][..]), ("tools", &["--timeout", "1s"])] {
        let printed = scene.run(command, arguments).await;
        assert_eq!(printed.code, 5);
        assert!(printed.notes.starts_with("error: deadline_passed: "), "{}", printed.notes);
    }
    gate.open();
    assert_eq!(scene.resource.counts().of("tools/call"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_cancelled() {
    for (wires, notices) in [(Wires::Only2025, 1), (Wires::Only2026, 0)] {
        let scene = CallScene::on(wires, AnswerForm::Sse).await;
        let gate = scene.resource.hold("slow", HoldAt::InTool);
        assert_eq!(reason(&scene, &["slow", "--timeout", "3s"]).await, ("maybe_executed".to_owned(), 1));
        let counts = scene.resource.until(|counts| counts.aborted == 1).await;
        assert_eq!((counts.of("notifications/cancelled"), counts.executed("slow")), (notices, 1), "{wires:?}");
        gate.open();
    }
}

/// The exit code of several calls is that of the failure which a person has to see first.
#[tokio::test(flavor = "multi_thread")]
async fn one_failed_call_among_many_decides() {
    let scene = CallScene::new().await;
    scene.resource.next("tools/call", 1, Instead::Status(503));
    scene.resource.next("tools/call", 1, Instead::Status(403));
    let printed = scene.call(&["echo", "--parallel", "6", "--json"]).await;
    let totals = printed.totals();
    assert_eq!((&totals["ok"], &totals["failed"], printed.code), (&json!(4), &json!(2), 4));
    let mut reasons: Vec<_> =
        printed.lines().iter().filter_map(|call| call["error"]["reason"].as_str().map(str::to_owned)).collect();
    reasons.sort();
    assert_eq!(reasons, ["request_refused", "server_trouble"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_not_acceptable_end_with_2() {
    let home = home();
    let url = "https://mcp.example.com/mcp";
    for arguments in [
        &["call", url][..],
        &["call", url, "t", "not json"],
        &["call", url, "t", "--parallel", "0"],
        &["call", url, "t", "--header", "Authorization: Bearer s3cret"],
        &["call", "-", "t", "-"],
        &["call", "ftp://mcp.example.com", "t"],
        &["tools", url, "--timeout", "soon"],
    ] {
        let printed = printed(spawn(command(&home, arguments))).await;
        assert_eq!((&*printed.out, printed.code), ("", 2), "{arguments:?}");
        assert!(!printed.notes.contains("s3cret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_session_identifier_is_printed() {
    let scene = CallScene::on(Wires::Only2025, AnswerForm::Sse).await;
    let mut all = String::new();
    for tool in ["whoami", "fail", "restricted", "no such tool"] {
        for form in [&["--json"][..], &[]] {
            let printed = scene.call(&[&[tool, "--header", "x-key: s3cret"], form].concat()).await;
            all.push_str(&format!("{}{}", printed.out, printed.notes));
        }
    }
    let token: Value = serde_json::from_str(&scene.run("token", &["--json"]).await.out).unwrap();
    let token = token["access_token"].as_str().unwrap();
    assert!(!all.contains(token) && !all.contains("s3cret") && !all.contains("Bearer") && !all.contains("session-"));
    let log = scene.resource.log();
    assert!(log.iter().filter(|request| request.path == "/mcp").all(|request| request.contains("s3cret")));
}
