//! Logins that are required, made elsewhere, and begun by the proxy.

use serde_json::json;
use tokenkeeper_testkit::mcp::HoldAt;

use crate::client::{INITIALIZED, call, command, initialize};
use crate::tokens::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_the_answer_is_at_once_and_names_the_command() {
    let scene = Scene::signed_out(|_| {}).await;
    let mut proxy = scene.proxy(&["--account", "my work"]);
    let answer = proxy.ask(initialize()).await;
    let data = &answer["error"]["data"];
    let command = data["command"].as_str().unwrap();
    assert_eq!(data["reason"], "never_signed_in");
    assert!(
        command.starts_with(&format!("tokenkeeper login {} --account 'my work' --home ", scene.resource.uri())),
        "{command}"
    );
    assert!(answer["error"]["message"].as_str().unwrap().contains(command));
    let (rest, code, notes) = proxy.end().await;
    assert_eq!((rest.len(), code), (0, 3));
    assert!(notes.contains("tokenkeeper login"), "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_another_process_is_used_at_once() {
    let scene = Scene::signed_out(|_| {}).await;
    let mut proxy = scene.proxy(&[]);
    assert_eq!(proxy.ask(initialize()).await["error"]["data"]["reason"], "never_signed_in");
    scene.sign_in().await;
    assert_eq!(proxy.ask(initialize()).await["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(proxy.end().await.1, 0);
}

/// The stream comes back by itself after a login of another process.
#[tokio::test(flavor = "multi_thread")]
async fn the_standing_stream_waits_for_a_login() {
    let scene = Scene::new().await;
    let mut proxy = scene.opened(&[]).await;
    scene.resource.until(|counts| counts.standing_streams == 1).await;
    let logout = command(&scene.home, &["logout", &scene.resource.uri()]).output().await.unwrap();
    assert!(logout.status.success());
    scene.server.kill_access_tokens();
    scene.resource.cut_standing_streams();
    let answer = proxy.ask(call(1, "echo", json!({ "text": "a" }))).await;
    assert_eq!(answer["error"]["data"]["reason"], "logged_out");
    let client = scene.server.register(tokenkeeper::engine::values::record::ClientAuth::None);
    scene.import(&scene.server.grant_for(&client, &scene.resource.uri(), "tools:read")).await;
    scene.resource.until(|counts| counts.standing_streams == 1).await;
    scene.resource.notify("notifications/tools/list_changed", json!({}));
    assert_eq!(proxy.message().await["method"], "notifications/tools/list_changed");
    assert_eq!(proxy.ask(call(2, "echo", json!({ "text": "a" }))).await["result"]["isError"], false);
}

/// The request itself waits. A login that another process makes ends the wait, as one in the browser does.
#[tokio::test(flavor = "multi_thread")]
async fn with_login_the_first_request_waits_for_the_person() {
    let scene = Scene::signed_out(|_| {}).await;
    let mut proxy = scene.proxy(&["--login"]);
    proxy.send(initialize().to_string()).await;
    scene.resource.until(|counts| counts.answered("initialize", 401) == 1).await;
    scene.sign_in().await;
    assert_eq!(proxy.message().await["result"]["protocolVersion"], "2025-11-25");
    proxy.send(INITIALIZED).await;
    assert_eq!(proxy.ask(call(1, "echo", json!({ "text": "a" }))).await["result"]["isError"], false);
    let counts = scene.resource.counts();
    // The login asks the server once more how to sign in.
    assert_eq!((counts.answered("initialize", 200), counts.executed("echo"), counts.sessions_opened), (1, 1, 1));
    assert_eq!(proxy.end().await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_request_of_a_session_that_was_logged_out_is_never_sent() {
    let scene = Scene::new().await;
    assert!(command(&scene.home, &["logout", &scene.resource.uri()]).output().await.unwrap().status.success());
    let gate = scene.resource.hold("*", HoldAt::BeforeCheck);
    let mut proxy = scene.proxy(&[]);
    assert_eq!(proxy.ask(initialize()).await["error"]["data"]["reason"], "logged_out");
    assert_eq!(proxy.end().await.1, 3);
    assert_eq!(scene.resource.counts().requests("POST"), 0);
    gate.open();
}
