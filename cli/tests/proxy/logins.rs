//! Logins that are required, made elsewhere, and begun by the proxy.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};
use tokenkeeper_testkit::mcp::{HoldAt, McpResource};

use crate::client::{INITIALIZED, ProxyClient, call, command, home, initialize, within};
use crate::tokens::{ProxyScene, import};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_the_answer_is_at_once_and_names_the_command() {
    let scene = ProxyScene::signed_out(|_| {}).await;
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
    let scene = ProxyScene::signed_out(|_| {}).await;
    let mut proxy = scene.proxy(&[]);
    assert_eq!(proxy.ask(initialize()).await["error"]["data"]["reason"], "never_signed_in");
    scene.sign_in().await;
    assert_eq!(proxy.ask(initialize()).await["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(proxy.end().await.1, 0);
}

/// The stream comes back by itself after a login of another process.
#[tokio::test(flavor = "multi_thread")]
async fn the_standing_stream_waits_for_a_login() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.opened(&[]).await;
    scene.resource.until(|counts| counts.standing_streams == 1).await;
    let logout = command(&scene.home, &["logout", &scene.resource.uri()]).output().await.unwrap();
    assert!(logout.status.success());
    scene.server.kill_access_tokens();
    scene.resource.cut_standing_streams();
    let answer = proxy.ask(call(1, "echo", json!({ "text": "a" }))).await;
    assert_eq!(answer["error"]["data"]["reason"], "logged_out");
    let client = scene.server.register(ClientAuth::None);
    scene.import(&scene.server.grant_for(&client, &scene.resource.uri(), "tools:read")).await;
    scene.resource.until(|counts| counts.standing_streams == 1).await;
    scene.resource.notify("notifications/tools/list_changed", json!({}));
    assert_eq!(proxy.message().await["method"], "notifications/tools/list_changed");
    assert_eq!(proxy.ask(call(2, "echo", json!({ "text": "a" }))).await["result"]["isError"], false);
}

/// The request itself waits. A login that another process makes ends the wait, as one in the browser does.
#[tokio::test(flavor = "multi_thread")]
async fn with_login_the_first_request_waits_for_the_person() {
    let server = LoginServer::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let home = home();
    let mut proxy = ProxyClient::of(command(&home, &["proxy", &resource.uri(), "--login"]));
    proxy.send(initialize().to_string()).await;
    server.until(|counts| counts.registered == 1).await;
    let grant = server.hostile().grant_for(&server.hostile().register(ClientAuth::None), &resource.uri(), "tools:read");
    import(&home, &resource.uri(), &grant).await;
    assert_eq!(proxy.message().await["result"]["protocolVersion"], "2025-11-25");
    proxy.send(INITIALIZED).await;
    assert_eq!(proxy.ask(call(1, "echo", json!({ "text": "a" }))).await["result"]["isError"], false);
    let counts = resource.counts();
    assert_eq!((counts.answered("initialize", 200), counts.executed("echo"), counts.sessions_opened), (1, 1, 1));
    assert_eq!(proxy.end().await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_request_of_a_session_that_was_logged_out_is_never_sent() {
    let scene = ProxyScene::new().await;
    assert!(command(&scene.home, &["logout", &scene.resource.uri()]).output().await.unwrap().status.success());
    let gate = scene.resource.hold("*", HoldAt::BeforeCheck);
    let mut proxy = scene.proxy(&[]);
    assert_eq!(proxy.ask(initialize()).await["error"]["data"]["reason"], "logged_out");
    assert_eq!(proxy.end().await.1, 3);
    assert_eq!(scene.resource.counts().requests("POST"), 0);
    gate.open();
}

/// Three proxies of one home ask a person once. The browser is a program that hands the address to the test.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_in_the_browser_is_shared_by_all_proxies() {
    let server = LoginServer::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let (home, folder) = (home(), home());
    let (program, pages) = (folder.path().join("browser"), folder.path().join("pages"));
    assert!(std::process::Command::new("mkfifo").arg(&pages).status().unwrap().success());
    fs::write(&program, format!("#!/bin/sh\nprintf '%s\\n' \"$1\" > '{}'\n", pages.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (opened, page) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || opened.send(fs::read_to_string(pages).unwrap()));
    let mut proxies = Vec::new();
    for _ in 0..3 {
        let mut command = command(&home, &["proxy", &resource.uri(), "--login"]);
        command.env("BROWSER", &program);
        let mut proxy = ProxyClient::of(command);
        proxy.send(initialize().to_string()).await;
        proxies.push(proxy);
    }
    resource.until(|counts| counts.answered("initialize", 401) >= 3).await;
    let page = within("the browser", page).await.unwrap();
    within("the page", Browser::complete(page.trim())).await.unwrap();
    for mut proxy in proxies {
        assert_eq!(proxy.message().await["result"]["protocolVersion"], "2025-11-25");
        let (rest, code, notes) = proxy.end().await;
        assert_eq!((rest.len(), code), (0, 0), "{notes}");
    }
    let counts = server.counts();
    assert_eq!((counts.logins, counts.of(Endpoint::Authorization), counts.code_replays), (1, 1, 0));
    assert_eq!(resource.counts().answered("initialize", 200), 3);
}

/// A login that cannot be made ends the wait at once. Here the authorization server has no registration and no metadata.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_is_not_waited_for() {
    let scene = ProxyScene::signed_out(|_| {}).await;
    let mut proxy = scene.proxy(&["--login"]);
    let answer = proxy.ask(initialize()).await;
    assert_eq!(answer["error"]["data"]["reason"], "never_signed_in");
    let (rest, code, notes) = proxy.end().await;
    assert_eq!((rest.len(), code), (0, 3));
    assert!(notes.contains("note: not signed in: "), "{notes}");
}
