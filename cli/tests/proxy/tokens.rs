//! Tokens of a strict authorization server, and what becomes of them under load.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::{Fault, Grant, HostileAs, When};
use tokenkeeper_testkit::mcp::{AnswerForm, HoldAt, McpResource, McpSettings};
use tokio::io::AsyncWriteExt;

use crate::client::{INITIALIZED, ProxyClient, call, command, home, initialize, modern};

/// An authorization server, a resource behind its tokens, and a home.
pub(crate) struct ProxyScene {
    pub(crate) server: HostileAs,
    pub(crate) resource: McpResource,
    pub(crate) grant: Grant,
    pub(crate) home: TempDir,
}

impl ProxyScene {
    /// A scene whose home has a login.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut McpSettings)) -> Self {
        let scene = Self::signed_out(change).await;
        scene.sign_in().await;
        scene
    }

    pub(crate) async fn signed_out(change: impl FnOnce(&mut McpSettings)) -> Self {
        let server = HostileAs::start().await.unwrap();
        let resource = McpResource::start_with(server.verifier(), change).await.unwrap();
        let grant = server.grant_for(&server.register(ClientAuth::None), &resource.uri(), "tools:read");
        Self { server, resource, grant, home: home() }
    }

    /// Stores the login, with an access token that has expired.
    pub(crate) async fn sign_in(&self) {
        self.import(&self.grant).await;
    }

    pub(crate) async fn import(&self, grant: &Grant) {
        import(&self.home, &self.resource.uri(), grant).await;
    }

    pub(crate) fn proxy(&self, arguments: &[&str]) -> ProxyClient {
        ProxyClient::of(command(&self.home, &[&["proxy", &self.resource.uri()], arguments].concat()))
    }

    /// A proxy with a session.
    pub(crate) async fn opened(&self, arguments: &[&str]) -> ProxyClient {
        let mut proxy = self.proxy(arguments);
        assert_eq!(proxy.ask(initialize()).await["result"]["protocolVersion"], "2025-11-25");
        proxy.send(INITIALIZED).await;
        proxy
    }

    /// The token requests, rotations and replays.
    pub(crate) fn spent(&self) -> (u64, u64, u64) {
        let counts = self.server.counts();
        (counts.token_requests, counts.rotations, counts.replays)
    }
}

/// Stores a login in a home, as another process does.
pub(crate) async fn import(home: &TempDir, server: &str, grant: &Grant) {
    let login = json!({
        "server": server,
        "issuer": grant.binding.issuer.0,
        "token_endpoint": grant.binding.token_endpoint,
        "client_id": grant.binding.client.id,
        "scope": grant.scope,
        "refresh_token": grant.refresh_token.expose(),
    });
    let mut import = command(home, &["import"]);
    let mut import = import.stdin(std::process::Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(login.to_string().as_bytes()).await.unwrap();
    assert!(import.wait().await.unwrap().success());
}

/// Sends calls, and counts those that succeeded.
async fn storm(proxy: &mut ProxyClient, calls: u64, is_modern: bool) -> usize {
    let mut lines = String::new();
    for id in 1..=calls {
        let call = call(id, "echo", json!({ "text": id.to_string() }));
        let call = if is_modern { modern(call) } else { call };
        lines.push_str(&format!("{call}\n"));
    }
    proxy.send(lines.trim_end()).await;
    let (mut good, mut seen) = (0, std::collections::BTreeSet::new());
    while seen.len() < usize::try_from(calls).unwrap() {
        let answer = proxy.message().await;
        if answer.get("method").is_some() {
            continue;
        }
        assert!(seen.insert(answer["id"].as_u64().unwrap()), "{answer}");
        good += usize::from(answer["result"]["content"][0]["text"].as_str() == Some(answer["id"].to_string().as_str()));
    }
    good
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_at_expiry_costs_one_token_request() {
    for form in [AnswerForm::Json, AnswerForm::Sse] {
        let scene = ProxyScene::with(|settings| settings.answers = form).await;
        let mut proxy = scene.proxy(&[]);
        // The stored token has expired, and the first requests come together.
        assert_eq!(storm(&mut proxy, 200, true).await, 200);
        assert_eq!(scene.spent(), (1, 1, 0));
        let counts = scene.resource.counts();
        assert_eq!((counts.executed("echo"), counts.status(200), counts.status(401)), (200, 200, 0), "{form:?}");
        assert!(counts.most_running <= 64);
        assert_eq!(proxy.end().await.1, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_at_a_refusal_costs_one_token_request_and_each_call_is_executed_once() {
    for form in [AnswerForm::Json, AnswerForm::Sse] {
        let scene = ProxyScene::with(|settings| settings.answers = form).await;
        let mut proxy = scene.opened(&[]).await;
        let before = scene.server.counts().token_requests;
        scene.server.kill_access_tokens();
        assert_eq!(storm(&mut proxy, 1000, false).await, 1000);
        let counts = scene.resource.counts();
        assert_eq!((scene.server.counts().token_requests - before, scene.server.counts().replays), (1, 0));
        assert_eq!((counts.executed("echo"), counts.sessions_opened), (1000, 1), "{form:?}");
        assert_eq!(proxy.end().await.1, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_proxies_on_one_home_share_each_token_request() {
    let scene = ProxyScene::new().await;
    let mut proxies = Vec::new();
    for _ in 0..8 {
        proxies.push(scene.proxy(&[]));
    }
    let storms = proxies.into_iter().map(|mut proxy| {
        tokio::spawn(async move {
            let good = storm(&mut proxy, 50, true).await;
            (good, proxy.end().await.1)
        })
    });
    for storm in storms.collect::<Vec<_>>() {
        assert_eq!(storm.await.unwrap(), (50, 0));
    }
    assert_eq!(scene.spent(), (1, 1, 0));
    assert_eq!(scene.resource.counts().executed("echo"), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_loses_no_request() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.opened(&[]).await;
    scene.resource.until(|counts| counts.standing_streams == 1).await;
    scene.resource.forget_sessions();
    scene.server.kill_access_tokens();
    assert_eq!(storm(&mut proxy, 100, false).await, 100);
    let counts = scene.resource.until(|counts| counts.standing_streams == 1).await;
    assert_eq!((counts.sessions_opened, counts.executed("echo"), scene.server.counts().replays), (2, 100, 0));
    scene.resource.notify("notifications/tools/list_changed", json!({}));
    loop {
        if proxy.message().await["method"] == "notifications/tools/list_changed" {
            break;
        }
    }
    assert_eq!(proxy.end().await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_up_is_an_error_with_the_command_and_no_refresh() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.opened(&[]).await;
    let before = scene.server.counts().token_requests;
    let answer = proxy.ask(call(1, "restricted", json!({}))).await;
    let data = &answer["error"]["data"];
    assert_eq!(data["reason"], "insufficient_scope");
    let command = data["command"].as_str().unwrap();
    assert!(command.contains("--again --scope") && command.contains("tools:admin"), "{command}");
    assert_eq!(scene.server.counts().token_requests, before);
}

/// A request that waits for a token has not left, so its cancellation asks nothing of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cancelled_while_it_waits_for_a_token_is_not_sent() {
    let scene = ProxyScene::new().await;
    let gate = scene.server.hold_next(When::After);
    let mut proxy = scene.proxy(&[]);
    proxy.send(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string()).await;
    gate.reached(1).await;
    proxy
        .send(
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }).to_string(),
        )
        .await;
    proxy.send("{").await;
    assert_eq!(proxy.message().await["error"]["code"], -32700);
    gate.open();
    let answer = proxy.ask(initialize()).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    let counts = scene.resource.counts();
    assert_eq!((counts.of("tools/list"), counts.of("notifications/cancelled"), counts.of("initialize")), (0, 0, 1));
    // The refresh was not given up.
    assert_eq!(scene.spent(), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_session_identifier_is_written_anywhere() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.opened(&["--header", "x-key: s3cret"]).await;
    let gate = scene.resource.hold("slow", HoldAt::InTool);
    proxy.send(call(1, "slow", json!({ "milliseconds": 0 })).to_string()).await;
    gate.reached(1).await;
    scene.resource.forget_sessions();
    gate.open();
    proxy.answer(&json!(1)).await;
    proxy.ask(call(2, "restricted", json!({}))).await;
    let (rest, _, notes) = proxy.end().await;
    let all = format!("{}{notes}", Value::from(rest));
    assert!(!all.contains("s3cret") && !all.contains("Bearer") && !all.contains("session-"), "{all}");
    let log = scene.resource.log();
    assert!(log.iter().filter(|request| request.path == "/mcp").all(|request| request.contains("s3cret")));
}

/// Tokens that live for 2 s, an authorization server with passing faults, and clients that call without a pause.
#[tokio::test(flavor = "multi_thread")]
async fn eight_proxies_outlast_short_tokens_and_passing_faults() {
    let scene = ProxyScene::new().await;
    scene.server.rules(|rules| rules.access_lifetime = Duration::from_secs(2));
    let faults = [Fault::status(503), Fault::reset(), Fault::status(502).html(), Fault::redirect()];
    let (end, ended) = tokio::sync::watch::channel(false);
    let clients = (0..8).map(|_| {
        let (mut proxy, ended) = (scene.proxy(&[]), ended.clone());
        tokio::spawn(async move {
            let (mut calls, mut good) = (0, 0);
            while !*ended.borrow() {
                good += storm(&mut proxy, 20, true).await;
                calls += 20;
            }
            (calls - good, calls, proxy.end().await.1)
        })
    });
    let clients: Vec<_> = clients.collect();
    // Each fault comes before a refresh, and each refresh after the expiry of a token.
    for (number, fault) in (1..).zip(faults) {
        scene.server.until(|counts| counts.rotations >= number).await;
        scene.server.next(When::Before, fault);
    }
    scene.server.until(|counts| counts.rotations >= 5).await;
    end.send(true).unwrap();
    let mut all = 0;
    for client in clients {
        let (failed, calls, code) = client.await.unwrap();
        assert_eq!((failed, code), (0, 0));
        all += calls;
    }
    let counts = scene.server.counts();
    assert_eq!((counts.replays, counts.most_concurrent, scene.resource.counts().executed("echo")), (0, 1, all as u64));
    // Each fault costs one request more.
    assert_eq!(counts.token_requests, counts.rotations + 4);
}
