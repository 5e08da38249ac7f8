//! The token file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokenkeeper::child::HandOff;
use tokenkeeper::{ChallengeKey, OperationKey, TokenError};
use tokenkeeper_testkit::hostile::{Fault, When};

use super::programs::{Language, Program};
use super::{SHORT, Scene, within};

/// Waits until the file has another content than `before`, or none, and returns it.
async fn changed(path: &str, before: Option<&str>) -> Option<String> {
    let change = async {
        loop {
            let read = fs::read_to_string(path).ok();
            if read.as_deref() != before {
                return read;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("another token", change).await
}

/// A child that reads the file until it had four tokens of two seconds each, while refreshes fail for moments.
async fn reads(language: Language) {
    if !language.is_here() {
        return;
    }
    let scene = Scene::expired().await;
    scene.server.rules(|rules| rules.access_lifetime = SHORT);
    let mut program = Program::start(&scene, language, HandOff::File, true);
    within("the file", program.grant.as_ref().unwrap().file_written()).await.unwrap();
    scene.server.in_turn([(When::Before, Fault::pass()), (When::Before, Fault::status(503))]);
    let done = program.run("file 4").await;
    assert_eq!(done, json!({ "tokens": 4, "bad": 0, "reads": true }));
    let counts = scene.server.counts();
    assert_eq!((counts.replays, counts.most_concurrent), (0, 1));
    assert!(counts.rotations >= 4, "{counts:?}");
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn a_python_child_that_only_reads_always_finds_a_whole_token_that_is_good() {
    reads(Language::Python).await;
}

#[tokio::test]
async fn a_node_child_that_only_reads_always_finds_a_whole_token_that_is_good() {
    reads(Language::Node).await;
}

#[tokio::test]
async fn a_token_that_is_over_is_removed_and_replaced_when_the_server_is_back() {
    let scene = Scene::expired().await;
    scene.server.rules(|rules| rules.access_lifetime = SHORT);
    let child = scene.child(HandOff::File);
    within("the file", child.grant.file_written()).await.unwrap();
    let path = child.file.clone().unwrap();
    let first = fs::read_to_string(&path).unwrap();
    scene.server.always(When::Before, Fault::status(503));
    assert_eq!(changed(&path, Some(&first)).await, None);
    assert!(within("the report", child.grant.file_written()).await.is_err());
    scene.server.calm();
    assert_ne!(changed(&path, None).await, Some(first));
    assert_eq!(scene.server.counts().replays, 0);
}

#[tokio::test]
async fn the_file_has_the_token_and_nothing_else_and_is_private() {
    let scene = Scene::signed_in().await;
    let child = scene.child(HandOff::File);
    within("the file", child.grant.file_written()).await.unwrap();
    let path = child.file.clone().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), scene.grant.access_token.expose());
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(Path::new(&path)), mode(Path::new(&path).parent().unwrap())), (0o600, 0o700));
    assert_eq!(scene.server.counts().token_requests, 0, "a token that lasts is taken as it is");
    drop(child.grant);
    assert!(!Path::new(&path).parent().unwrap().exists());
}

#[tokio::test]
async fn a_refusal_a_logout_and_a_login_change_the_file() {
    let scene = Scene::signed_in().await;
    let child = scene.child(HandOff::SocketAndFile);
    within("the file", child.grant.file_written()).await.unwrap();
    let path = child.file.clone().unwrap();
    let first = fs::read_to_string(&path).unwrap();
    // Another program of the host reports that the server refused the token.
    scene.server.kill_access_tokens();
    let lease = scene.session.at_hand().unwrap();
    within("the report", scene.session.invalidate(&lease, OperationKey(1), ChallengeKey(1))).await.unwrap();
    let second = changed(&path, Some(&first)).await.unwrap();
    assert_eq!(child.ask(json!({})).await["access_token"], second);
    assert_eq!(scene.server.counts().token_requests, 1);

    within("the logout", scene.session.logout()).await.unwrap();
    assert_eq!(changed(&path, Some(&second)).await, None);
    let grant = scene.server.grant();
    let (token, lifetime) = (grant.access_token.expose(), Some(grant.lifetime));
    let login = tokenkeeper::Login::at(grant.binding.clone()).refresh_token(grant.refresh_token.expose());
    scene.install(login.access_token(token, lifetime)).await;
    assert_eq!(changed(&path, None).await.as_deref(), Some(token));
}

#[tokio::test]
async fn the_first_failure_is_reported_and_the_file_appears_after_a_login() {
    let scene = Scene::new().await;
    let child = scene.child(HandOff::File);
    let error = within("the first attempt", child.grant.file_written()).await.unwrap_err();
    let reason = error.get_ref().unwrap().downcast_ref::<TokenError>().unwrap();
    assert!(reason.is_login_required());
    scene.install(scene.login()).await;
    let path = child.file.clone().unwrap();
    let token = changed(&path, None).await.unwrap();
    assert_eq!(token, scene.session.at_hand().unwrap().token().expose());
    // It is reported a moment after the file has appeared.
    within("the report", async {
        while child.grant.file_written().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
