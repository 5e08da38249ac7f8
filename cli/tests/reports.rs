//! What `status`, `why` and `token` report of a session: the same, and nothing that did not happen.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use serde_json::Value;
use snapbox::cmd::cargo_bin;
use snapbox::str;
use tokenkeeper_testkit::hostile::{Fault, When};

use scene::{Scene, stdout};

fn begin_token(scene: &Scene) -> Child {
    Process::new(cargo_bin!("tokenkeeper"))
        .args(["token", &scene.server.resource(), "--home"])
        .arg(scene.home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The kinds of the journal's lines, oldest first.
fn happened(scene: &Scene) -> Vec<Value> {
    let why = scene.json("why", &["--json", "--lines", "1000"]);
    why["journal"].as_array().unwrap().iter().map(|line| line["what"].clone()).collect()
}

#[test]
fn refreshes_that_processes_share_leave_no_failure_in_the_journal() {
    let mut scene = Scene::signed_in();
    for round in 1..=5 {
        // Slow enough that the other seven wait for the one that refreshes.
        scene.server.next(When::Before, Fault::delay(Duration::from_millis(200)));
        let asking: Vec<_> = (0..8).map(|_| begin_token(&scene)).collect();
        let told: Vec<_> = asking.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
        assert!(told.iter().all(|output| output.status.success() && output.stdout == told[0].stdout));
        assert_eq!((scene.server.counts().token_requests, scene.server.counts().replays), (round, 0));
        let object = scene.json("why", &["--json"]);
        assert_eq!((&object["state"], &object["reason"]), (&"signed_in".into(), &Value::Null), "{object}");
        if round < 5 {
            // The next login brings no access token.
            scene.grant = scene.server.grant();
            scene.import(&scene.login()).success();
        }
    }
    let happened = happened(&scene);
    let times = |what: &str| happened.iter().filter(|line| **line == what).count();
    assert_eq!((times("logged_in"), times("refreshed"), times("failed")), (5, 5, 0), "{happened:?}");
    scene.command(&["status"]).assert().success().stderr_eq("").stdout_eq(str![[r#"
server                      account  state      expires    refreshed  issuer
http://127.0.0.1:[..]/mcp  default  signed in  in [..]  [..]  http://127.0.0.1:[..]

"#]]);
}

/// Adds a line to the session's journal, a second after the newest: what `changes` say, the rest as it is there.
fn add_to_journal(scene: &Scene, changes: &[(&str, Value)]) {
    let journal = fs::read_dir(scene.home.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&journal).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for (member, value) in changes {
        line[member] = value.clone();
    }
    line["wall"] = (line["wall"].as_u64().unwrap() + 1_000).into();
    writeln!(OpenOptions::new().append(true).open(&journal).unwrap(), "{line}").unwrap();
}

#[test]
fn a_process_that_stopped_is_no_trouble_of_the_session() {
    let scene = Scene::signed_in();
    scene.run("token", &[]).success();
    // As they stand in journals of earlier versions.
    for _ in 0..32 {
        add_to_journal(&scene, &[("what", "failed".into()), ("why", "shutting_down".into())]);
    }
    let why = scene.json("why", &["--json", "--lines", "1"]);
    assert_eq!((&why["state"], &why["reason"], &why["advice"]), (&"signed_in".into(), &Value::Null, &Value::Null));
    assert_eq!(why["journal"][0]["why"], "shutting_down", "the journal is shown as it is");
    assert!(!stdout(&scene.command(&["status"]).assert().success()).contains("shutting down"));

    // What failed before that is still told.
    add_to_journal(&scene, &[("what", "failed".into()), ("why", "unreachable".into())]);
    add_to_journal(&scene, &[("what", "failed".into()), ("why", "shutting_down".into())]);
    assert_eq!(scene.json("why", &["--json", "--lines", "1"])["reason"], "unreachable");
    assert!(stdout(&scene.command(&["status"]).assert().success()).contains("cannot be reached"));
}
