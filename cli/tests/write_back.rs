//! `tokenkeeper run --write-back`: each refresh token is also written elsewhere, before it is used.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test of processes")]

mod scene;

use std::fs;
use std::path::PathBuf;
use std::process::{Command as Process, Output, Stdio};

use serde_json::json;
use snapbox::cmd::cargo_bin;

use scene::Scene;

/// Asks for a token after its predecessor was refused, so that each call is a refresh.
const RENEW: &str = "renew() { \"$TOKENKEEPER\" token --from-socket --rejected \
    \"$(\"$TOKENKEEPER\" token --from-socket --json | sed -n 's/.*\"generation\": *\"\\([^\"]*\\)\".*/\\1/p')\"; }\n";

impl Scene {
    fn file(&self, name: &str) -> PathBuf {
        self.home.path().parent().unwrap().join(format!("{}-{name}", self.home.path().file_name().unwrap().display()))
    }

    /// Runs the script with this command for the write-back. `$OUT` and `$GO` are files in both.
    fn with_write_back(&self, command: &str, script: &str) -> Output {
        Process::new(cargo_bin!("tokenkeeper"))
            .arg("--home")
            .arg(self.home.path())
            .args([
                "run",
                "--write-back",
                command,
                &self.server.resource(),
                "--",
                "sh",
                "-c",
                &format!("{RENEW}{script}"),
            ])
            .env("TOKENKEEPER", cargo_bin!("tokenkeeper"))
            .env("OUT", self.file("out"))
            .env("GO", self.file("go"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The tokens that the command was given, one a line.
    fn written(&self) -> Vec<String> {
        let written = fs::read_to_string(self.file("out")).unwrap_or_default();
        written.lines().map(str::to_owned).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for name in ["out", "go"] {
            fs::remove_file(self.file(name)).ok();
        }
    }
}

/// Appends a line, which a write of this length does at once.
const APPEND: &str = "token=$(cat); echo \"$token\" >> \"$OUT\"";

#[test]
fn each_refresh_token_is_written_once_and_the_last_one_is_alive() {
    let scene = Scene::signed_in();
    let output = scene.with_write_back(APPEND, "renew");
    assert!(output.status.success(), "{output:?}");
    let written = scene.written();
    assert_eq!(written.len(), 3, "the first one, and one of each of two refreshes: {output:?}");
    assert_eq!(written[0], scene.grant.refresh_token.expose());
    assert_eq!(output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 1);
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (2, 2, 0));
    // Another machine goes on from the place outside.
    let other = Scene::new();
    let mut login = scene.login();
    login["refresh_token"] = json!(written[2]);
    other.import(&login).success();
    other.command(&["token", &scene.server.resource()]).assert().success();
    assert_eq!(scene.server.counts().replays, 0);
}

#[test]
fn a_command_that_does_not_work_is_found_before_anything_is_spent() {
    let scene = Scene::signed_in();
    let commands = ["exit 1", "/nowhere/at/all", "exec <&-; exit 1"];
    for command in commands {
        let output = scene.with_write_back(command, "echo started");
        assert_eq!((output.status.code(), &*output.stdout), (Some(6), &b""[..]), "{command}: {output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("note: --write-back has failed") && told.contains("error: --write-back"), "{told}");
        assert!(!told.contains(scene.grant.refresh_token.expose()));
    }
    assert_eq!(scene.server.counts().token_requests, 0);
    assert_eq!(scene.state(), "expired");
}

#[test]
fn a_token_that_was_not_written_is_not_presented_and_the_command_fails() {
    let scene = Scene::signed_in();
    // It takes the first token only.
    let command = format!("if [ -e \"$OUT\" ]; then exit 1; fi; {APPEND}");
    let output = scene.with_write_back(&command, "\"$TOKENKEEPER\" token --from-socket && renew; echo \"code $?\"");
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "the token of the first refresh, and the failure of the second: {output:?}");
    assert_eq!(lines[1], "code 5");
    assert!(stderr.contains("error: store_trouble: "), "{stderr}");
    assert!(stderr.contains("only in this home"), "{stderr}");
    assert_eq!(scene.written().len(), 1);
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (1, 0));
    // The home has it, and goes on without the option.
    scene.run("token", &["--refresh"]).success();
    assert_eq!(scene.server.counts().token_requests, 2);
}

#[test]
fn a_slow_command_delays_no_answer_and_holds_back_the_next_refresh() {
    let scene = Scene::signed_in();
    // The second token waits until the program has its access token.
    let command = format!("if [ -e \"$OUT\" ]; then until [ -e \"$GO\" ]; do sleep 0.02; done; fi; {APPEND}");
    let script = "\"$TOKENKEEPER\" token --from-socket && wc -l < \"$OUT\" && touch \"$GO\" && renew";
    let output = scene.with_write_back(&command, script);
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout.lines().nth(1).map(str::trim), Some("1"), "the answer came before the write: {stdout}");
    assert_eq!(scene.written().len(), 3);
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (2, 0));
}
