//! Faults that pass while `token` waits, and a process that is stopped while its answer arrives.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

mod scene;

use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use snapbox::cmd::cargo_bin;
use tokenkeeper_testkit::hostile::{Fault, Gate, RetryAfter, Rotation, When};

use scene::{Scene, stdout};

/// Faults that leave open whether the request was processed.
fn doubts() -> Vec<Fault> {
    vec![
        Fault::status(500),
        Fault::status(502).html(),
        Fault::status(503),
        Fault::status(504).html(),
        Fault::status(403).html(),
        Fault::status(530).html(),
        Fault::redirect(),
        Fault::reset(),
        Fault::pass().halved(),
    ]
}

#[test]
fn one_fault_costs_one_request_more() {
    for fault in doubts() {
        let scene = Scene::signed_in();
        scene.server.next(When::Before, fault.clone());
        scene.run("token", &[]).success();
        let counts = scene.server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (2, 1, 0), "{fault:?}");
        assert_eq!(scene.state(), "signed_in", "{fault:?}");
    }
}

#[test]
fn two_faults_in_a_row_cost_two_requests_more() {
    for fault in doubts() {
        let scene = Scene::signed_in();
        scene.server.next_n(2, When::Before, fault.clone());
        scene.run("token", &[]).success();
        let counts = scene.server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (3, 1, 0), "{fault:?}");
        assert_eq!(scene.state(), "signed_in", "{fault:?}");
    }
}

/// The commands make their requests at growing pauses. The session stays in doubt, and needs no login.
#[test]
fn a_doubt_lasts_over_processes_and_ends_with_an_answer() {
    let scene = Scene::signed_in();
    scene.server.always(When::Before, Fault::status(503).html());
    for (arguments, requests) in [(&["--fail-fast"][..], 2..=2), (&["--timeout", "2s"], 3..=5)] {
        let waits = scene.run("token", arguments).code(5).stdout_eq("");
        let error = String::from_utf8_lossy(&waits.get_output().stderr).into_owned();
        assert!(error.starts_with("error: in_doubt: "), "{error}");
        let counts = scene.server.counts();
        assert!(requests.contains(&counts.token_requests), "{counts:?}");
        let why = scene.json("why", &["--json"]);
        assert_eq!((scene.state(), &why["state"]), ("in_doubt".into(), &Value::from("in_doubt")));
    }
    let before = scene.server.counts().token_requests;
    scene.server.calm();
    scene.run("token", &[]).success();
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (before + 1, 1, 0));
    assert_eq!(scene.state(), "signed_in");
}

#[test]
fn a_throttle_of_a_second_is_waited_for_if_there_is_time() {
    let scene = Scene::signed_in();
    scene.server.next(When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(1)));
    scene.run("token", &[]).success();
    assert_eq!(scene.server.counts().token_requests, 2);

    let scene = Scene::signed_in();
    scene.server.next(When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(600)));
    // Far less than the command was willing to wait, or the test would not end in time.
    scene.run("token", &["--timeout", "5m"]).code(5).stdout_eq("");
    assert_eq!(scene.server.counts().token_requests, 1);
}

#[test]
fn within_a_grace_of_thirty_seconds_a_gateways_time_out_costs_no_session() {
    let scene = Scene::signed_in();
    scene.server.rules(|rules| rules.rotation = Rotation::Grace(Duration::from_secs(30)));
    scene.server.next(When::After, Fault::status(504).html());
    scene.run("token", &[]).success();
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (2, 2, 0));
    assert_eq!(scene.state(), "signed_in");
}

/// Google never rotates, so a lost answer leaves nothing in doubt.
#[test]
fn a_provider_that_never_rotates_leaves_no_doubt() {
    let scene = Scene::new();
    scene.server.rules(|rules| rules.rotation = Rotation::None);
    scene.import_with(&scene.login(), &["--provider", "google"]).success();
    scene.server.next(When::After, Fault::status(502).html());
    scene.run("token", &["--fail-fast"]).code(5).stdout_eq("");
    assert_eq!(scene.state(), "expired");
    scene.run("token", &[]).success();
    assert_eq!(scene.server.counts().token_requests, 2);
}

/// A command that is stopped (Ctrl-Z) before its answer arrives reads it when it goes on.
#[test]
fn a_stopped_command_reads_the_answer_that_has_arrived() {
    let scene = Scene::signed_in();
    let gate = Gate::closed();
    scene.server.next(When::After, Fault::hold(&gate));
    let asking = scene.ask(&["--timeout", "2s"]);
    scene.runtime.block_on(gate.reached(1));
    signal(&asking, Signal::STOP);
    gate.open();
    scene.runtime.block_on(scene.server.until(|counts| counts.concurrent == 0));
    // Longer than the command was willing to wait.
    std::thread::sleep(Duration::from_secs(3));
    signal(&asking, Signal::CONT);
    let told = asking.wait_with_output().unwrap();
    // Whether the command still prints the token or has run out of time, the token is stored.
    let stored = stdout(&scene.run("token", &[]).success());
    match told.status.code() {
        Some(0) => assert_eq!(String::from_utf8(told.stdout).unwrap(), stored),
        code => assert_eq!((code, &*told.stdout), (Some(5), &b""[..])),
    }
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (1, 1, 0));
    assert_eq!(scene.state(), "signed_in");
}

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

impl Scene {
    /// Starts a `token` command.
    fn ask(&self, arguments: &[&str]) -> Child {
        Process::new(cargo_bin!("tokenkeeper"))
            .args(["token", &self.server.resource(), "--home"])
            .arg(self.home.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}
