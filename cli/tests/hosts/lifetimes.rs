//! A login, tokens that expire and are revoked, and a server that restarts, as hosts see them, which is not at all.

use std::time::Duration;

use serde_json::json;
use tokenkeeper_testkit::login_server::{Browser, LoginServer};
use tokenkeeper_testkit::mcp::{McpResource, McpSettings, Wires};

use crate::client::{home, within};
use crate::host::{Host, Sdk, browser};

/// The lifetime of the tokens.
const SHORT: Duration = Duration::from_secs(2);

async fn lives_through_all(sdk: Sdk, mode: &str, wires: Wires) {
    let server = LoginServer::start().await.unwrap();
    server.hostile().rules(|rules| rules.access_lifetime = SHORT);
    let settings = |port| {
        move |settings: &mut McpSettings| {
            settings.port = port;
            settings.wires = wires;
        }
    };
    let resource = McpResource::start_with(server.verifier(), settings(0)).await.unwrap();
    let (uri, port, home) = (resource.uri(), resource.address().port(), home());
    let (_folder, program, page) = browser();
    let Some(mut host) = Host::start(sdk, mode, home.path(), &program, &["proxy", &uri, "--login"]) else { return };

    // The first request waits for the person.
    host.begin(json!(["connect"])).await;
    let page = within("the browser", page).await.unwrap();
    within("the page", Browser::complete(page.trim())).await.unwrap();
    let connected = host.result().await;
    assert!(connected["done"].is_string(), "{connected}");
    assert!(host.done(json!(["list"])).await.as_array().unwrap().contains(&json!("echo")));

    // Each call succeeds, however many tokens expire.
    let hostile = server.hostile();
    let mut calls = 0;
    let before = hostile.counts().refresh_grants;
    while hostile.counts().refresh_grants < before + 2 {
        host.call(&format!("{calls}")).await;
        calls += 1;
        tokio::time::sleep(SHORT / 20).await;
    }
    hostile.kill_access_tokens();
    host.call("after a revocation").await;

    // The server restarts, and has lost its sessions.
    let (executed, refused) = (resource.counts().executed("echo"), resource.counts().status(401));
    assert!(executed == calls + 1 && refused >= 1, "{executed} {refused}");
    drop(resource);
    // Its connections end a moment later than it does.
    let is_down = async {
        loop {
            host.begin(json!(["call", "while it is down"])).await;
            let result = host.result().await;
            if result["error"].as_str().is_some_and(|error| error.contains("cannot be reached")) {
                return;
            }
        }
    };
    within("an error", is_down).await;
    let resource = McpResource::start_with(server.verifier(), settings(port)).await.unwrap();
    host.call("after a restart").await;
    host.end().await;
    let counts = hostile.counts();
    assert_eq!((server.counts().logins, counts.replays, counts.most_concurrent), (1, 0, 1));
    assert_eq!(resource.counts().executed("echo"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_host_on_the_wire_of_2025() {
    lives_through_all(Sdk::TypeScript, "legacy", Wires::Only2025).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_host_that_chooses_the_wire() {
    lives_through_all(Sdk::TypeScript, "auto", Wires::Both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_host_on_the_wire_of_2025() {
    lives_through_all(Sdk::Python, "legacy", Wires::Only2025).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_host_that_chooses_the_wire() {
    lives_through_all(Sdk::Python, "auto", Wires::Both).await;
}
