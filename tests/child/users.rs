//! Processes of other users. Needs root, because only root starts them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokenkeeper::child::HandOff;
use tokio::process::Command;

use super::{Scene, within};

/// Connects, and prints the answer, or the word of the error.
const PROGRAM: &str = r#"
const host = require("node:net").createConnection(process.env.TOKENKEEPER_SOCKET);
host.on("error", (error) => console.log(JSON.stringify({ refused: error.code })));
host.write(JSON.stringify({ child: process.env.TOKENKEEPER_CHILD }) + "\n");
host.pipe(process.stdout);
"#;

/// Asks for a token in a process that `wrapper` starts, which may run as another user, and returns the answer.
async fn answer(scene: &Scene, wrapper: &[&str], is_open: bool) -> Value {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(["node", "-e", PROGRAM]).stdin(Stdio::null());
    let _grant = scene.session.hand_to(&mut command, HandOff::Socket).unwrap();
    let socket = command.as_std().get_envs().find(|(name, _)| *name == "TOKENKEEPER_SOCKET").unwrap().1.unwrap();
    if is_open {
        // As if the permissions had been lost.
        let socket = Path::new(socket);
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o711)).unwrap();
    }
    let output = within("the process", command.output()).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn runs(program: &[&str]) -> bool {
    let output = std::process::Command::new(program[0]).args(&program[1..]).arg("node").arg("--version").output();
    let runs = output.is_ok_and(|output| output.status.success());
    if !runs {
        println!("skipped: {program:?} does not run here");
    }
    runs
}

const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[tokio::test]
async fn a_process_of_another_user_gets_no_token() {
    if !runs(&NOBODY) {
        return;
    }
    let scene = Scene::signed_in().await;
    assert_eq!(answer(&scene, &NOBODY, false).await["refused"], "EACCES", "it does not reach the socket");
    let answered = answer(&scene, &NOBODY, true).await;
    assert_eq!(answered["error"], "other_user", "{answered}");
    assert!(answered.get("access_token").is_none());
    let answered = answer(&scene, &["env"], true).await;
    assert!(answered["access_token"].is_string(), "the user of the host gets one: {answered}");
}

#[tokio::test]
async fn in_a_user_namespace_the_user_outside_counts() {
    // Root inside is the host's user outside.
    let inside = ["unshare", "--user", "--map-root-user", "--net"];
    // Root inside is another user outside.
    let other = [&NOBODY[..], &["unshare", "--user", "--map-root-user", "--net"]].concat();
    let scene = Scene::signed_in().await;
    if runs(&inside) {
        let answered = answer(&scene, &inside, false).await;
        assert!(answered["access_token"].is_string(), "{answered}");
    }
    if runs(&other) {
        assert_eq!(answer(&scene, &other, false).await["refused"], "EACCES");
        assert_eq!(answer(&scene, &other, true).await["error"], "other_user");
    }
}
