//! The server of grants without a person, a place for a home, and the command run on both.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;
use snapbox::cmd::cargo_bin;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::server::Server;

pub(crate) struct Scene {
    pub(crate) server: Arc<Server>,
    pub(crate) home: Home,
}

/// A home, and the runtime that the test's servers run on.
pub(crate) struct Home {
    dir: TempDir,
    pub(crate) runtime: Runtime,
}

/// The output of a command.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The output of a command that did not fail.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), runtime: Runtime::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file with this text, whose path is an argument.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command, in a folder of its own and without a browser.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin!("tokenkeeper"));
        command.arg("--home").arg(self.path("home")).args(arguments).stdin(Stdio::null());
        for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().unwrap())
    }

    /// A command that reads this.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = self.command(arguments);
        let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.as_ref().unwrap().write_all(input.as_bytes()).unwrap();
        Done::of(child.wait_with_output().unwrap())
    }

    /// The access token of a new process.
    pub(crate) fn token(&self, server: &str) -> String {
        self.run(&["token", server]).good().trim().to_owned()
    }

    /// The first session that `status` shows, or null.
    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "--json"]).json().pointer_mut("/sessions/0").map(Value::take).unwrap_or_default()
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let server = Arc::new(home.runtime.block_on(Server::start()));
        Self { server, home }
    }

    /// A login at a server without a person.
    pub(crate) fn login(&self, server: usize, arguments: &[&str]) -> Done {
        self.home.run(&[&["login", &self.server.resource(server)], arguments].concat())
    }

    pub(crate) fn token(&self, server: usize) -> String {
        self.home.token(&self.server.resource(server))
    }

    /// A token of a request that begins now.
    pub(crate) fn renewed(&self, server: usize) -> Done {
        self.home.run(&["token", &self.server.resource(server), "--refresh"])
    }
}
