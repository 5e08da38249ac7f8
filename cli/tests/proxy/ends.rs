//! The ends of a proxy.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::mcp::HoldAt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::client::{ProxyClient, call, initialize, within};
use crate::server::OddServer;
use crate::tokens::ProxyScene;

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_their_way_are_answered_before_the_end() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.opened(&[]).await;
    let gate = scene.resource.hold("slow", HoldAt::InTool);
    for id in 1..=3 {
        proxy.send(call(id, "slow", json!({ "milliseconds": 0 })).to_string()).await;
    }
    gate.reached(3).await;
    let end = tokio::spawn(proxy.end());
    gate.open();
    let (rest, code, _) = end.await.unwrap();
    let good = rest.iter().filter(|answer| answer["result"]["isError"] == false).count();
    assert_eq!((good, rest.len(), code), (3, 3, 0));
    let counts = scene.resource.counts();
    assert_eq!((counts.requests("DELETE"), counts.sessions, counts.standing_streams), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_gets_no_answer_in_time_gets_an_error() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    server.open(&mut proxy, "s1").await.reply(405, &[], "").await;
    for id in 0..66 {
        proxy.send(json!({ "id": id, "method": "a" }).to_string()).await;
    }
    let mut posts = Vec::new();
    for _ in 0..64 {
        posts.push(server.post().await);
    }
    let end = tokio::spawn(proxy.end());
    server.next("DELETE").await.reply(200, &[], "").await;
    let (rest, code, _) = end.await.unwrap();
    let mut ids: Vec<_> = rest.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!((ids, code), ((0..66).collect(), 0));
    assert!(rest.iter().all(|answer| answer["error"]["data"]["reason"] == "shutting_down"), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let scene = ProxyScene::new().await;
        let proxy = scene.opened(&[]).await;
        scene.resource.until(|counts| counts.standing_streams == 1).await;
        proxy.signal(signal);
        let (rest, code, _) = proxy.ended().await;
        let counts = scene.resource.counts();
        assert_eq!((rest.len(), code, counts.requests("DELETE"), counts.sessions), (0, 0, 1, 0), "{signal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_output_ends_it() {
    let scene = ProxyScene::new().await;
    let mut proxy = scene.opened(&[]).await;
    drop(proxy.output.take());
    // The input stays open.
    proxy.send(call(1, "echo", json!({ "text": "a" })).to_string()).await;
    let input = proxy.input.take();
    let (_, code, _) = proxy.ended().await;
    drop(input);
    assert_eq!((code, scene.resource.counts().requests("DELETE")), (0, 1));
}

/// The parent is a shell that is killed, while another process keeps the proxy's input open.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_was_killed_ends_it() {
    let scene = ProxyScene::new().await;
    let proxy = scene.proxy(&[]);
    let program = env!("CARGO_BIN_EXE_tokenkeeper");
    drop(proxy);
    let script = format!(
        "'{program}' --home '{}' proxy '{}' <&3 & echo $!; wait",
        scene.home.path().display(),
        scene.resource.uri()
    );
    let script = format!("exec 3<&0; {script}");
    let mut shell =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = shell.stdin.take();
    let mut lines = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    within("the child", lines.read_line(&mut line)).await.unwrap();
    let mut writer = input.unwrap();
    let first = format!("{}\n", initialize());
    tokio::io::AsyncWriteExt::write_all(&mut writer, first.as_bytes()).await.unwrap();
    line.clear();
    within("the answer", lines.read_line(&mut line)).await.unwrap();
    assert!(line.contains("2025-11-25"), "{line}");
    shell.start_kill().unwrap();
    shell.wait().await.unwrap();
    // Its output closes when it has ended, and the session was ended before.
    within("the end", lines.read_to_string(&mut line)).await.unwrap();
    assert_eq!(scene.resource.counts().requests("DELETE"), 1);
    drop(writer);
}

/// The answer of a refresh may be the only copy of a token.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_on_its_way_is_stored_before_the_end() {
    let scene = ProxyScene::new().await;
    let gate = scene.server.hold_next(When::After);
    let mut proxy = scene.proxy(&[]);
    proxy.send(initialize().to_string()).await;
    gate.reached(1).await;
    proxy.signal(Signal::TERM);
    // The client gets its answer after a second, and the end waits for the refresh.
    let answer = proxy.message().await;
    assert_eq!(answer["error"]["data"]["reason"], "shutting_down");
    gate.open();
    assert_eq!(proxy.ended().await.1, 0);
    let mut proxy = scene.proxy(&[]);
    assert_eq!(proxy.ask(initialize()).await["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(scene.spent(), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_ends_it_with_success() {
    let server = OddServer::start().await;
    let proxy = ProxyClient::start(server.url());
    let (rest, code, notes) = proxy.end().await;
    assert_eq!((rest.len(), code), (0, 0));
    assert!(!notes.contains("error"), "{notes}");
}
