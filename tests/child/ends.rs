//! The ends of a hand-off.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokenkeeper::child::HandOff;
use tokenkeeper_testkit::hostile::When;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::programs::{Language, Program};
use super::{Scene, within};

#[tokio::test]
async fn a_child_that_outlives_its_grant_gets_a_clean_error() {
    for language in Language::ALL.into_iter().filter(|language| language.is_here()) {
        let scene = Scene::signed_in().await;
        let mut program = Program::start(&scene, language, HandOff::SocketAndFile, true);
        assert!(program.run("ask").await["access_token"].is_string());
        program.grant = None;
        let error = program.run("ask").await;
        assert_eq!(error["error"], "host_gone", "{error}");
        assert!(error["text"].as_str().unwrap().contains("has ended: start it again"), "{error}");
        assert_eq!(program.end().await, Some(0));
    }
}

#[tokio::test]
async fn the_end_of_a_grant_closes_its_connections_and_no_others() {
    let scene = Scene::expired().await;
    let (child, sibling) = (scene.child(HandOff::SocketAndFile), scene.child(HandOff::Socket));
    let gate = scene.server.hold_next(When::After);
    let mut waiting = child.connect().await;
    waiting.write_all(child.line(&json!({})).as_bytes()).await.unwrap();
    within("the request", gate.reached(1)).await;
    let folder = Path::new(child.socket.as_ref().unwrap()).parent().unwrap().to_owned();
    drop(child.grant);
    assert!(!folder.exists());
    let mut rest = Vec::new();
    within("its end", waiting.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"", "it has no answer");
    // The request that its question began goes on, and serves the sibling.
    gate.open();
    assert!(sibling.ask(json!({})).await["access_token"].is_string());
    assert_eq!(scene.server.counts().token_requests, 1);
}

#[tokio::test]
async fn the_end_of_the_runtime_ends_the_tokens() {
    let scene = Scene::signed_in().await;
    let child = scene.child(HandOff::SocketAndFile);
    within("the file", child.grant.file_written()).await.unwrap();
    let file = child.file.clone().unwrap();
    assert!(Path::new(&file).exists());
    assert!(within("the shutdown", scene.runtime.shutdown(Duration::from_secs(5))).await.is_clean());
    within("the end of the file", async {
        while Path::new(&file).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Hits end with the runtime, too.
    assert_eq!(child.ask(json!({})).await["error"], "shutting_down");
}

#[test]
fn the_end_of_tokio_closes_the_socket() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let (child, _scene) = tokio.block_on(async {
        let scene = Scene::signed_in().await;
        (scene.child(HandOff::Socket), scene)
    });
    tokio.shutdown_timeout(Duration::from_secs(10));
    let socket = child.socket.clone().unwrap();
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    drop(child.grant);
    assert!(!Path::new(&socket).exists());
}

#[tokio::test]
async fn a_grant_that_is_dropped_at_once_leaves_nothing() {
    let scene = Scene::signed_in().await;
    for how in [HandOff::Socket, HandOff::File, HandOff::SocketAndFile] {
        let child = scene.child(how);
        let path = child.socket.or(child.file).unwrap();
        drop(child.grant);
        tokio::task::yield_now().await;
        assert!(!Path::new(&path).parent().unwrap().exists(), "{how:?}");
        assert!(UnixStream::connect(&path).await.is_err());
    }
}
