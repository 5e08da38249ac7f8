//! Cancelled callers, deadlines, a store that is down and faults that pass, for the tokens of a command.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokenkeeper::machine::{ExecCommand, MachineGrant};
use tokenkeeper::{AuthSession, Reason, TokenOptions};

use super::host::{Host, crowd, token};
use super::within;

/// A session whose token comes from a script, with a folder for what the script notes.
struct Scene {
    host: Host,
    session: AuthSession,
    folder: tempfile::TempDir,
}

impl Scene {
    /// `script` finds the folder in `$1`. Each run is noted.
    async fn new(script: &str) -> Self {
        let (host, folder) = (Host::new().await, tempfile::tempdir().unwrap());
        let script = format!("cd \"$1\"; echo run >> runs; {script}");
        let command = ExecCommand::new("sh").argument("-c").argument(script).argument("sh");
        let command = command.argument(folder.path().to_str().unwrap());
        let session = host.session(0, &MachineGrant::command(command));
        Self { host, session, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }

    /// A pipe that a command can wait at.
    fn pipe(folder: &Path, name: &str) -> PathBuf {
        let pipe = folder.join(name);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        pipe
    }
}

/// Writes to a pipe when it has begun, and prints the text that the test writes to another one.
const WAITS: &str = "echo begun > begun; cat go";

/// Waits at a pipe, in a thread of its own.
async fn read(pipe: PathBuf) {
    let read = tokio::task::spawn_blocking(move || fs::read_to_string(pipe).unwrap());
    assert_eq!(within("the command's start", read).await.unwrap(), "begun\n");
}

async fn write(pipe: PathBuf, text: &'static str) {
    let written = tokio::task::spawn_blocking(move || fs::write(pipe, text).unwrap());
    within("the command's read", written).await.unwrap();
}

#[tokio::test]
async fn a_run_outlives_its_callers() {
    let scene = Scene::new(WAITS).await;
    let (begun, go) = (Scene::pipe(scene.folder.path(), "begun"), Scene::pipe(scene.folder.path(), "go"));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let session = scene.session.clone();
            tokio::spawn(async move { session.token().await })
        })
        .collect();
    read(begun).await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    write(go, "token-1").await;
    assert_eq!(token(&scene.session).await.unwrap(), "token-1");
    assert_eq!(scene.runs(), 1, "the token of the cancelled callers is there");
    assert!(within("a shutdown", scene.host.auth.shutdown(Duration::from_secs(5))).await.is_clean());
}

#[tokio::test]
async fn a_caller_has_its_answer_by_its_deadline_while_a_command_runs() {
    let scene = Scene::new(WAITS).await;
    let (begun, go) = (Scene::pipe(scene.folder.path(), "begun"), Scene::pipe(scene.folder.path(), "go"));
    let patient = tokio::spawn({
        let session = scene.session.clone();
        async move { token(&session).await }
    });
    read(begun).await;
    let options = TokenOptions { timeout: Duration::from_millis(50), ..TokenOptions::default() };
    let error = within("an answer", scene.session.token_with(options)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlinePassed);
    write(go, "token-1").await;
    assert_eq!(within("a patient caller", patient).await.unwrap().unwrap(), "token-1");
    assert_eq!(scene.runs(), 1);
}

#[tokio::test]
async fn a_crowd_shares_a_failed_run_and_later_callers_run_the_command_again() {
    let scene = Scene::new("n=$(wc -l < runs); [ $n -gt 2 ] && printf 'token-%s' $n").await;
    for runs in 1..=2 {
        let answers = crowd(std::slice::from_ref(&scene.session), 50).await;
        for error in answers.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.reason(), Reason::SubjectUnavailable);
            assert!(error.is_transient() && error.retry_after().is_some());
        }
        assert_eq!(scene.runs(), runs, "a command that fails is not run again while callers wait");
        // The backoff of this host is a millisecond.
        scene.host.clock.pass(Duration::from_secs(1));
    }
    assert_eq!(token(&scene.session).await.unwrap(), "token-3");
}

#[tokio::test]
async fn with_the_store_down_a_command_runs_once_for_all() {
    let scene = Scene::new("printf '{\"token\":\"token-%s\",\"expires_in\":3600}' $(wc -l < runs)").await;
    assert_eq!(token(&scene.session).await.unwrap(), "token-1");
    scene.host.expire();
    scene.host.store.set_down(true);
    let answers = crowd(std::slice::from_ref(&scene.session), 100).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|lease| lease.token().expose() == "token-2")));
    assert_eq!(scene.runs(), 2);
    scene.host.store.set_down(false);
    scene.host.expire();
    assert_eq!(token(&scene.session).await.unwrap(), "token-3");
    let stored = scene.host.grant(scene.session.identity()).await.access.unwrap();
    assert_eq!(stored.token.expose(), "token-3");
}
