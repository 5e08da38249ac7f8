//! Starts the rigs of this folder, which are servers by other authors, for tests against a real server. A test includes
//! it by `#[path = "…/tests/rigs/mod.rs"] mod rigs;`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs"
)]

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The longest that one of these may take to start, or to answer.
const LONGEST: Duration = Duration::from_secs(30);

/// A running oidc-provider rig (see its README). It ends when this is dropped.
pub struct Rig {
    /// The line that it printed when it was ready, unchanged.
    pub line: String,
    /// The same line, parsed.
    pub ready: Value,
    child: Child,
}

impl Rig {
    /// Starts a rig with these environment variables. Installs it first if that was not done yet.
    ///
    /// Returns `None`, and prints a notice on standard error, on a machine without Node. With `CI=true` it panics
    /// instead.
    pub fn start(variables: &[(&str, &str)]) -> Option<Self> {
        if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(env::var("CI").as_deref() != Ok("true"), "there is no Node here, and CI wants the rigs");
            eprintln!("SKIPPED: there is no Node here, so nothing was tried against oidc-provider");
            return None;
        }
        let folder = folder();
        install(&folder);
        let mut child = Command::new("node")
            .arg("server.mjs")
            .current_dir(&folder)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("the rig did not start: {error}: {line}"));
        Some(Self { line, ready, child })
    }

    /// Reads from an admin endpoint such as `/stats` or `/chains`.
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "")
    }

    /// Posts to an admin endpoint such as `/config`, `/delay` or `/reset`.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, &body.to_string())
    }

    /// Sends one request of HTTP/1.0, whose answer ends with its connection.
    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let admin = self.ready["admin"].as_str().unwrap().trim_start_matches("http://");
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The rig ends by itself when its standard input closes. The wait is no longer than that takes.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line that comes, read on a thread of its own, because reading blocks.
#[allow(clippy::disallowed_methods, reason = "the thread ends with what it reads from")]
fn first_line(from: impl Read + Send + 'static) -> String {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line).unwrap();
        drop(tell.send(line));
    });
    told.recv_timeout(LONGEST).expect("the rig says when it is ready")
}

/// Whichever package's test this is.
fn folder() -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let rig = |folder: &Path| folder.join("tests/rigs/oidc-provider");
    folders.map(rig).find(|rig| rig.join("server.mjs").is_file()).expect("the rig lies in this repository")
}

/// Installs the rig once, even if several tests need it at the same time.
fn install(folder: &Path) {
    let lock = File::create(folder.join(".installing")).unwrap();
    lock.lock().unwrap();
    // npm writes this file last.
    if folder.join("node_modules/.package-lock.json").is_file() {
        return;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let done =
        Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(folder).stdout(Stdio::null()).status();
    assert!(done.expect("npm comes with Node").success(), "npm ci failed in {}", folder.display());
}
