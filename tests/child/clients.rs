//! The clients of the documentation, in real processes, with and without a wrapper.

use serde_json::json;
use tokenkeeper::child::HandOff;
use tokenkeeper_testkit::hostile::When;

use super::programs::{Language, Program, client};
use super::{SHORT, Scene, within};

#[test]
fn the_clients_have_at_most_thirty_lines() {
    for language in ["python", "js"] {
        let lines = client(language).lines().count();
        assert!((10..=30).contains(&lines), "{language} has {lines}");
    }
}

/// A child that calls the server over several lifetimes of tokens. The wrapper does not hand on open files.
async fn calls(language: Language, wrapped: bool) {
    if !language.is_here() {
        return;
    }
    let scene = Scene::expired().await;
    scene.server.rules(|rules| rules.access_lifetime = SHORT);
    let mut program = Program::start(&scene, language, HandOff::Socket, wrapped);
    let done = program.run("calls 4").await;
    assert_eq!((&done["tokens"], &done["bad"]), (&json!(4), &json!(0)), "{done}");
    let counts = scene.server.counts();
    assert_eq!((counts.replays, counts.most_concurrent), (0, 1));
    assert_eq!(counts.rotations, counts.token_requests);
    assert!(counts.token_requests >= 4);
    // Revoked tokens are refused once, and one refresh replaces them.
    scene.server.rules(|rules| rules.access_lifetime = SHORT * 1_000);
    within("a long token", async {
        while scene.session.token().await.unwrap().validity().lifetime() < Some(SHORT * 2) {
            tokio::time::sleep(SHORT / 20).await;
        }
    })
    .await;
    scene.server.kill_access_tokens();
    let before = scene.server.counts().token_requests;
    let done = program.run("calls 1").await;
    assert_eq!(done, json!({ "tokens": 1, "bad": 0, "refused": 1 }));
    assert_eq!(scene.server.counts().token_requests, before + 1);
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn a_python_child_calls_over_many_lifetimes() {
    calls(Language::Python, false).await;
}

#[tokio::test]
async fn a_python_child_below_a_wrapper_calls_over_many_lifetimes() {
    calls(Language::Python, true).await;
}

#[tokio::test]
async fn a_node_child_calls_over_many_lifetimes() {
    calls(Language::Node, false).await;
}

#[tokio::test]
async fn a_node_child_below_a_wrapper_calls_over_many_lifetimes() {
    calls(Language::Node, true).await;
}

#[tokio::test]
async fn a_crowd_in_one_child_whose_token_was_refused_causes_one_refresh() {
    for language in Language::ALL.into_iter().filter(|language| language.is_here()) {
        let scene = Scene::signed_in().await;
        let mut program = Program::start(&scene, language, HandOff::Socket, false);
        assert_eq!(program.run("crowd 50").await, json!({ "held": 1 }));
        scene.server.kill_access_tokens();
        let gate = scene.server.hold_next(When::After);
        let done = tokio::join!(program.run("go"), async {
            within("the request", gate.reached(1)).await;
            gate.open();
        });
        assert_eq!(done.0, json!({ "bad": 0, "tokens": 1 }), "{language:?}");
        assert_eq!(scene.server.counts().token_requests, 1, "{language:?}");
        assert_eq!(program.end().await, Some(0));
    }
}

#[tokio::test]
async fn a_child_without_a_session_gets_the_reason_and_the_advice() {
    for language in Language::ALL.into_iter().filter(|language| language.is_here()) {
        let scene = Scene::new().await;
        let mut program = Program::start(&scene, language, HandOff::Socket, true);
        let error = program.run("ask").await;
        assert_eq!(error["error"], "never_signed_in", "{error}");
        assert!(error["text"].as_str().unwrap().contains("nobody is signed in here: sign in"), "{error}");
        scene.install(scene.login()).await;
        assert!(program.run("ask").await["access_token"].is_string());
        assert_eq!(program.end().await, Some(0));
    }
}
