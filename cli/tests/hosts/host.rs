//! A host program that drives the proxy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use crate::client::{home, within};
use crate::rigs::{Program, python_of};

/// The SDK that a host is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    TypeScript,
    Python,
}

/// A running host.
pub(crate) struct Host {
    child: Child,
    tasks: Option<ChildStdin>,
    results: Lines<BufReader<ChildStdout>>,
}

impl Sdk {
    /// The program, on a machine that has its interpreter.
    fn command(self) -> Option<Command> {
        let (mut command, folder, main) = match self {
            Self::TypeScript => (Command::new("node"), Program::McpHosts.prepared()?, "host.mjs"),
            Self::Python => {
                // Its packages are those of the server in Python.
                let folder = Program::McpPython.prepared()?;
                (Command::new(python_of(&folder)), folder.parent().unwrap().join("mcp-hosts"), "host.py")
            }
        };
        command.arg(folder.join(main));
        Some(command)
    }
}

impl Host {
    /// Starts a host that runs `tokenkeeper` with these arguments on this home. `None` without the interpreter.
    pub(crate) fn start(sdk: Sdk, mode: &str, home: &Path, browser: &Path, arguments: &[&str]) -> Option<Self> {
        let mut command = sdk.command()?;
        command.arg(env!("CARGO_BIN_EXE_tokenkeeper")).args(arguments);
        command.env("TOKENKEEPER_HOME", home).env("BROWSER", browser).env("HOST_MODE", mode);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let results = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { tasks: child.stdin.take(), child, results })
    }

    /// Begins a task.
    pub(crate) async fn begin(&mut self, task: Value) {
        let line = format!("{task}\n");
        within("a task", self.tasks.as_mut().unwrap().write_all(line.as_bytes())).await.unwrap();
    }

    /// The result of the task that was begun first.
    pub(crate) async fn result(&mut self) -> Value {
        let line = within("a result", self.results.next_line()).await.unwrap();
        serde_json::from_str(&line.unwrap_or_else(|| panic!("the host has ended"))).unwrap()
    }

    /// Does a task that succeeds.
    pub(crate) async fn done(&mut self, task: Value) -> Value {
        self.begin(task.clone()).await;
        let result = self.result().await;
        assert!(result.get("error").is_none(), "{task}: {result}");
        result["done"].clone()
    }

    /// Calls the tool `echo`.
    pub(crate) async fn call(&mut self, text: &str) {
        assert_eq!(self.done(json!(["call", text])).await, text);
    }

    /// Ends the session, and the host.
    pub(crate) async fn end(mut self) {
        self.done(json!(["close"])).await;
        drop(self.tasks.take());
        assert!(within("the end of the host", self.child.wait()).await.unwrap().success());
    }
}

/// A program in the place of a browser. It hands the first address that it opens to the test.
pub(crate) fn browser() -> (TempDir, std::path::PathBuf, oneshot::Receiver<String>) {
    let folder = home();
    let (program, pages) = (folder.path().join("browser"), folder.path().join("pages"));
    assert!(std::process::Command::new("mkfifo").arg(&pages).status().unwrap().success());
    fs::write(&program, format!("#!/bin/sh\nprintf '%s\\n' \"$1\" > '{}'\n", pages.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (opened, page) = oneshot::channel();
    std::thread::spawn(move || opened.send(fs::read_to_string(pages).unwrap()));
    (folder, program, page)
}
