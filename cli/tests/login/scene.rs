//! A login server, a place for a home, and the command run on both.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use snapbox::cmd::cargo_bin;
use tempfile::TempDir;
use tokenkeeper_testkit::login_server::{Browser, LoginServer, LoginServerBuilder, Visit};
use tokio::runtime::Runtime;

/// How long a test waits for a browser. The commands themselves end after their `--timeout`.
const WAIT: Duration = Duration::from_secs(60);

/// The variables that tell of a browser, or of none.
const SURROUNDINGS: [&str; 8] = [
    "BROWSER",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "WSL_DISTRO_NAME",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
    "container",
];

pub(crate) struct Scene {
    pub(crate) server: LoginServer,
    dir: TempDir,
    /// The runtime that the server runs on.
    pub(crate) runtime: Runtime,
}

impl Scene {
    /// A scene whose server names the person who signs in.
    pub(crate) fn new() -> Self {
        Self::with(LoginServer::builder().scopes(["openid", "tools:call", "tools:read"]))
    }

    /// A scene with this server, and without a home.
    pub(crate) fn with(builder: LoginServerBuilder) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(builder.start()).unwrap();
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { server, dir, runtime }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command in a place without a browser.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin!("tokenkeeper"));
        command.arg("--home").arg(self.path("home")).args(arguments).stdin(Stdio::null());
        for name in SURROUNDINGS {
            command.env_remove(name);
        }
        command
    }

    /// A login at the server.
    pub(crate) fn login(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["login", &self.server.resource_url()]);
        if !arguments.contains(&"--timeout") {
            command.args(["--timeout", "50s"]);
        }
        command.args(arguments);
        command
    }

    /// Begins a login that prints its events.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Login {
        Login::of(self.login(arguments).arg("--json"))
    }

    /// Signs in by a page without a browser, and returns the last event.
    pub(crate) fn sign_in(&self, arguments: &[&str]) -> Value {
        let mut login = self.begin(&[arguments, &["--no-browser"]].concat());
        let page = self.complete(&login.prompt()).page;
        let ended = login.end();
        assert_eq!(ended.code, 0, "{} {page}", ended.err);
        ended.last()
    }

    /// Opens the page of a prompt, answers as the person does, and follows the way back.
    pub(crate) fn complete(&self, prompt: &Value) -> Visit {
        self.runtime.block_on(Browser::complete(prompt["url"].as_str().unwrap())).unwrap()
    }

    /// Opens the page of a prompt, and returns the address that the browser ends at.
    pub(crate) fn callback(&self, prompt: &Value) -> String {
        let visit = self.runtime.block_on(Browser::open(prompt["url"].as_str().unwrap())).unwrap();
        visit.callback.unwrap()
    }

    /// Runs a command on the server's session.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(&[command, &self.server.resource_url()]).args(arguments).output().unwrap()
    }

    /// The object that a command on the server's session prints.
    pub(crate) fn json(&self, command: &str, arguments: &[&str]) -> Value {
        let output = self.run(command, &[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The stored token.
    pub(crate) fn token(&self) -> String {
        self.json("token", &[])["access_token"].as_str().unwrap().to_owned()
    }
}

/// A login that runs.
pub(crate) struct Login {
    pub(crate) child: Child,
    pub(crate) keyboard: Option<ChildStdin>,
    out: Lines<BufReader<ChildStdout>>,
    err: BufReader<ChildStderr>,
    told: String,
}

/// A login that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn last(&self) -> Value {
        self.events.last().unwrap().clone()
    }

    /// The exit code, and the reason of a login that failed.
    pub(crate) fn failed(&self) -> (i32, String) {
        let last = self.last();
        assert_eq!(last["event"], "failed", "{last}");
        (self.code, last["reason"].as_str().unwrap().to_owned())
    }
}

impl Login {
    pub(crate) fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap());
        Self { keyboard: child.stdin.take(), child, out, err, told: String::new() }
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Value {
        match self.out.next() {
            Some(line) => serde_json::from_str(&line.unwrap()).unwrap(),
            None => {
                self.err.read_to_string(&mut self.told).unwrap();
                panic!("the login has ended: {}", self.told)
            }
        }
    }

    /// The next event, in which a person is asked.
    pub(crate) fn prompt(&mut self) -> Value {
        let event = self.event();
        assert_eq!(event["event"], "prompt", "{event}");
        event
    }

    /// Reads standard error up to a line that contains `words`.
    pub(crate) fn tells(&mut self, words: &str) {
        let mut line = String::new();
        while self.err.read_line(&mut line).unwrap() > 0 {
            self.told.push_str(&line);
            if line.contains(words) {
                return;
            }
            line.clear();
        }
        panic!("`{words}` is missing in {}", self.told);
    }

    /// The output of a login without events.
    pub(crate) fn output(mut self) -> Output {
        let mut lines = String::new();
        for line in self.out.by_ref() {
            lines.push_str(&line.unwrap());
            lines.push('\n');
        }
        self.err.read_to_string(&mut self.told).unwrap();
        Output { status: self.child.wait().unwrap(), stdout: lines.into_bytes(), stderr: self.told.into_bytes() }
    }

    pub(crate) fn types(&mut self, line: &str) {
        writeln!(self.keyboard.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let events = self.out.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        self.err.read_to_string(&mut self.told).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        Ended { code, events, err: self.told }
    }
}

/// A program that takes the place of a browser. It passes its arguments on to the test.
pub(crate) struct Opener {
    pub(crate) program: PathBuf,
    fifo: PathBuf,
}

impl Opener {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let (program, fifo) = (dir.join(name), dir.join(format!("{name}.fifo")));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let quoted = fifo.display().to_string().replace('\'', "'\\''");
        fs::write(&program, format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{quoted}'\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { program, fifo }
    }

    /// Waits until it is run, and returns its arguments.
    pub(crate) fn opened(&self) -> Vec<String> {
        let (sender, receiver) = mpsc::channel();
        let fifo = self.fifo.clone();
        std::thread::spawn(move || sender.send(fs::read_to_string(fifo).unwrap()));
        let arguments = receiver.recv_timeout(WAIT).unwrap();
        arguments.lines().map(str::to_owned).collect()
    }
}
