//! `token` as the helper program of a host: headers, and tokens that a server refused.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

mod scene;

use std::process::{Child, Command as Process, Stdio};

use serde_json::Value;
use snapbox::cmd::cargo_bin;

use scene::{Scene, stdout};

fn generation(scene: &Scene) -> String {
    scene.json("token", &["--json"])["generation"].as_str().unwrap().to_owned()
}

#[test]
fn the_headers_are_one_json_object() {
    let scene = Scene::signed_in();
    let token = stdout(&scene.run("token", &[]).success());
    let headers = scene.json("token", &["--headers"]);
    assert_eq!(headers, serde_json::json!({ "Authorization": format!("Bearer {}", token.trim()) }));
    scene.run("token", &["--headers", "--json"]).failure().code(2);
}

#[test]
fn a_rejected_token_is_not_printed_again_and_costs_one_refresh() {
    let scene = Scene::signed_in();
    let rejected = generation(&scene);
    let before = scene.server.counts().token_requests;
    let first = scene.json("token", &["--headers"]);
    let second = scene.json("token", &["--headers", "--rejected", &rejected]);
    assert_ne!(first, second);
    assert_eq!(scene.server.counts().token_requests - before, 1);
    // A helper that comes late with the same news gets the new token.
    assert_eq!(scene.json("token", &["--headers", "--rejected", &rejected]), second);
    assert_eq!(scene.json("token", &["--headers"]), second);
    assert_eq!(scene.server.counts().token_requests - before, 1);
}

#[test]
fn helpers_that_are_refused_together_share_one_refresh() {
    let scene = Scene::signed_in();
    let rejected = generation(&scene);
    let before = scene.server.counts().token_requests;
    let spawn = |_| -> Child {
        Process::new(cargo_bin!("tokenkeeper"))
            .arg("--home")
            .arg(scene.home.path())
            .args(["token", &scene.server.resource(), "--headers", "--rejected", &rejected])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let helpers: Vec<Child> = (0..4).map(spawn).collect();
    let printed: Vec<Value> = helpers
        .into_iter()
        .map(|helper| serde_json::from_slice(&helper.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    assert!(printed.iter().all(|headers| *headers == printed[0]), "{printed:?}");
    assert_eq!(scene.server.counts().token_requests - before, 1);
    assert_eq!(scene.server.counts().replays, 0);
}

#[test]
fn a_generation_is_two_numbers() {
    let scene = Scene::signed_in();
    for text in ["7", "1.x", "", "1.2.3"] {
        let rejected = scene.run("token", &["--rejected", text]).failure().code(2);
        assert!(String::from_utf8_lossy(&rejected.get_output().stderr).contains("such as 1.7"), "{text}");
    }
}
