//! A copy of a home ends no session of its original.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::process::Command as Process;

use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use snapbox::str;

use scene::{Scene, stdout};

#[test]
fn a_copied_home_serves_and_refreshes_nothing_while_its_original_is_there() {
    let scene = Scene::signed_in();
    let token = stdout(&scene.run("token", &[]).success());
    let copies = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = copies.path().join("copy");
    assert!(Process::new("cp").arg("-r").arg(scene.home.path()).arg(&copy).status().unwrap().success());
    let there = |arguments: &[&str]| -> OutputAssert {
        let command = Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(&copy);
        command.args(["token", &scene.server.resource()]).args(arguments).assert()
    };
    assert_eq!(stdout(&there(&[]).success()), token);
    there(&["--refresh"]).code(3).stdout_eq("").stderr_eq(str![[r#"
error: store_trouble: the credential store cannot be used: check it, then try again (in 1 s)
  [..]/copy: it is a copy of the home in [..], and two owners of a refresh token kill it: use that one, or remove it if this one is to take its place
  tokenkeeper login gives this home a login of its own

"#]]);
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (1, 0));
    scene.run("token", &["--refresh"]).success();
    assert_eq!(scene.server.counts().replays, 0);
}
