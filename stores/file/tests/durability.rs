//! The order of the steps that make a change durable, as a trace of the system calls shows it.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Ground, Process, install, login, may_skip, open, role, say, token, who};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_store_file::FileStore;

/// The child's part. On its own it is no test.
#[tokio::test]
async fn child() {
    let Some((role, home)) = role() else { return };
    match role.as_str() {
        "writer" => drop(install(&open(&home), &who(), "rt-1").await),
        "doubter" => {
            let store = open(&home);
            let answer = store.change(&who(), login(&store, "rt-2").await).await;
            say(format!("{answer:?} {:?}", store.last_trouble().unwrap().trouble()));
        }
        "maker" => drop(FileStore::open(&home).unwrap()),
        other => panic!("{other}"),
    }
    say("done");
}

/// Starts a child under `strace` with these options. Its trace is in the file `trace`. Returns `None` where there is no
/// `strace`.
fn start(ground: &Ground, role: &str, options: &[&str]) -> Option<Process> {
    let log = ground.0.path().join("trace");
    let tried = Command::new("strace").args(["-f", "-o"]).arg(&log).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        may_skip("a trace of system calls");
        return None;
    }
    Some(Process::start_with(role, &ground.home(), |child| {
        let mut traced = Command::new("strace");
        traced.arg("-f").args(options).arg("-o").arg(&log).arg(child.get_program()).args(child.get_args());
        traced.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
        *child = traced;
    }))
}

/// Runs a child and returns its calls that write, sync or rename a file, with the paths of open files.
fn trace(ground: &Ground, role: &str) -> Option<Vec<String>> {
    let calls = "trace=write,fsync,renameat,renameat2";
    let mut traced = start(ground, role, &["-y", "-s", "0", "-e", calls])?;
    traced.expect("done");
    assert_eq!(traced.hear(), None);
    Some(fs::read_to_string(ground.0.path().join("trace")).unwrap().lines().map(str::to_owned).collect())
}

/// The place of the only call that is `call` and names all of `parts`. A call that another thread interrupts is on two
/// lines, of which the first has the arguments.
fn place(calls: &[String], call: &str, parts: &[&str]) -> usize {
    let is_it = |line: &String| {
        line.contains(&format!(" {call}"))
            && parts.iter().all(|part| line.contains(part))
            && !line.contains(" resumed>")
    };
    let places: Vec<usize> = calls.iter().enumerate().filter(|(_, line)| is_it(line)).map(|(place, _)| place).collect();
    let [place] = places[..] else { panic!("{} calls {call} {parts:?} in {calls:#?}", places.len()) };
    place
}

/// Asserts that the file `name` of `folder` was written, synced, renamed, and the folder synced, in this order.
fn assert_durable(calls: &[String], folder: &Path, name: &str) {
    let folder = folder.to_str().unwrap();
    let unfinished = format!("{folder}/{name}.");
    let written = place(calls, "write(", &[&unfinished]);
    let synced = place(calls, "fsync(", &[&unfinished]);
    let renamed = place(calls, "renameat", &[&format!("<{folder}>, \"{name}."), &format!("<{folder}>, \"{name}\"")]);
    assert!(written < synced && synced < renamed, "{written}, {synced}, {renamed}: {calls:#?}");
    let folder_synced = |line: &String| line.contains(" fsync(") && line.contains(&format!("<{folder}>"));
    assert!(calls[renamed..].iter().any(folder_synced), "{folder} after {renamed}: {calls:#?}");
}

#[test]
fn a_record_is_synced_before_its_rename_and_its_folder_after_it() {
    let ground = Ground::new();
    drop(ground.open());
    let Some(calls) = trace(&ground, "writer") else { return };
    assert_durable(&calls, &ground.home().join("records"), &ground.name(&who()));
}

#[test]
fn a_home_is_synced_before_its_rename_and_its_folder_after_it() {
    let ground = Ground::new();
    let Some(calls) = trace(&ground, "maker") else { return };
    assert_durable(&calls, &ground.home(), "key");
    assert_durable(&calls, &ground.home(), "home");
    // The folder of the home itself, in the folder that holds it.
    let parent = format!("<{}>", ground.0.path().to_str().unwrap());
    let made = place(&calls, "fsync(", &[&parent]);
    assert!(made < place(&calls, "fsync(", &["/key."]), "{calls:#?}");
}

#[tokio::test]
async fn a_replaced_record_whose_folder_cannot_be_synced_may_have_changed() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    let records = ground.home().join("records");
    let options = ["-P", records.to_str().unwrap(), "-e", "inject=fsync:error=EIO"];
    let Some(mut doubter) = start(&ground, "doubter", &options) else { return };
    doubter.expect("Err(TimedOut) Unsure");
    doubter.expect("done");
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-2"));
}
