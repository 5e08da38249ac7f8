//! A store that cannot be written for a while. The commands write again until it can, and lose no token meanwhile.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test of processes")]

mod scene;

use std::fs::{self, File, OpenOptions};
use std::process::{Child, Command as Process, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use snapbox::cmd::cargo_bin;
use tokenkeeper_testkit::hostile::{Fault, Gate, When};

use scene::Scene;

/// Longer than the store waits for the lock of a record, so that a write fails at least once.
const LONG: Duration = Duration::from_secs(4);

impl Scene {
    /// Locks the session's record, as a process that has stopped in a write does.
    fn lock(&self) -> File {
        let mut locks = fs::read_dir(self.home.path().join("locks")).unwrap().map(|file| file.unwrap().path());
        let lock = File::open(locks.find(|path| path.extension().is_some_and(|end| end == "commit")).unwrap()).unwrap();
        lock.lock().unwrap();
        lock
    }

    /// Starts a `token` command whose answer arrives when the record is locked.
    fn ask(&self, stdout: Stdio) -> (Child, File) {
        let gate = Gate::closed();
        self.server.next(When::After, Fault::hold(&gate));
        let asking = Process::new(cargo_bin!("tokenkeeper"))
            .args(["token", &self.server.resource(), "--home"])
            .arg(self.home.path())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.runtime.block_on(gate.reached(1));
        let lock = self.lock();
        gate.open();
        self.runtime.block_on(self.server.until(|counts| counts.concurrent == 0));
        (asking, lock)
    }

    /// Asserts that the new token was stored.
    fn has_stored(&self, told: &Output) {
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(!said.contains("login"), "{said}");
        assert_eq!(self.state(), "signed_in", "{said}");
        self.run("token", &[]).success();
        let counts = self.server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.replays), (1, 1, 0), "{said}");
    }
}

#[test]
fn an_interrupted_refresh_is_saved_when_the_record_is_free_again() {
    let scene = Scene::signed_in();
    let (asking, lock) = scene.ask(Stdio::piped());
    kill_process(Pid::from_child(&asking), Signal::INT).unwrap();
    // Two attempts to write would have failed by then.
    std::thread::sleep(2 * LONG);
    drop(lock);
    let told = asking.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    scene.has_stored(&told);
}

#[test]
fn a_token_that_cannot_be_printed_is_saved_all_the_same() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let scene = Scene::signed_in();
    let (asking, lock) = scene.ask(full.into());
    std::thread::sleep(LONG);
    drop(lock);
    let told = asking.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    scene.has_stored(&told);
}

#[test]
fn a_limit_on_file_sizes_is_met_before_the_token_is_presented() {
    let scene = Scene::signed_in();
    let told = Process::new("sh")
        .args(["-c", "ulimit -f 1 && exec \"$@\"", "sh"])
        .arg(cargo_bin!("tokenkeeper"))
        .args(["token", &scene.server.resource(), "--fail-fast", "--home"])
        .arg(scene.home.path())
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(6), "{told:?}");
    assert_eq!(scene.server.counts().token_requests, 0);
    assert_eq!(scene.state(), "expired");
    scene.run("token", &[]).success();
}

#[test]
fn a_logout_and_a_login_are_written_when_the_record_is_free_again() {
    let scene = Scene::signed_in();
    let wait = |lock: File| {
        std::thread::spawn(move || {
            std::thread::sleep(LONG);
            drop(lock);
        })
    };
    let waiting = wait(scene.lock());
    scene.import(&scene.login()).success();
    waiting.join().unwrap();
    assert_eq!(scene.state(), "expired", "it has no access token yet");

    let waiting = wait(scene.lock());
    scene.run("logout", &[]).success();
    waiting.join().unwrap();
    assert_eq!(scene.state(), "logged_out");
    assert_eq!(scene.server.counts().token_requests, 0);
}
