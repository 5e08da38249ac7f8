//! A strict authorization server, a home, and the command run on both.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use tempfile::TempDir;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokio::runtime::Runtime;

/// A server, a grant of it, and a home.
pub(crate) struct Scene {
    pub(crate) server: HostileAs,
    pub(crate) grant: Grant,
    pub(crate) home: TempDir,
    /// The runtime that the server runs on.
    pub(crate) runtime: Runtime,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(HostileAs::start()).unwrap();
        let grant = server.grant_to(&server.register(ClientAuth::None));
        let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // A person's home usually exists already.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { server, grant, home, runtime }
    }

    /// A scene with a stored login.
    pub(crate) fn signed_in() -> Self {
        let scene = Self::new();
        scene.import(&scene.login()).success();
        scene
    }

    pub(crate) fn login(&self) -> Value {
        json!({
            "server": self.server.resource(),
            "issuer": self.grant.binding.issuer.0,
            "token_endpoint": self.grant.binding.token_endpoint,
            "client_id": self.grant.binding.client.id,
            "scope": self.grant.scope,
            "refresh_token": self.grant.refresh_token.expose(),
        })
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(self.home.path()).args(arguments)
    }

    /// Runs a command on the server's session.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> OutputAssert {
        self.command(&[command, &self.server.resource()]).args(arguments).assert()
    }

    pub(crate) fn import(&self, login: &Value) -> OutputAssert {
        self.import_with(login, &[])
    }

    pub(crate) fn import_with(&self, login: &Value, arguments: &[&str]) -> OutputAssert {
        self.command(&["import"]).args(arguments).stdin(login.to_string()).assert()
    }

    pub(crate) fn json(&self, command: &str, arguments: &[&str]) -> Value {
        let asserted = self.run(command, arguments).success();
        serde_json::from_slice(&asserted.get_output().stdout).unwrap()
    }

    pub(crate) fn state(&self) -> Value {
        let asserted = self.command(&["status", "--all", "--json"]).assert().success();
        let status: Value = serde_json::from_slice(&asserted.get_output().stdout).unwrap();
        status["sessions"][0]["state"].clone()
    }
}

pub(crate) fn stdout(asserted: &OutputAssert) -> String {
    String::from_utf8(asserted.get_output().stdout.clone()).unwrap()
}
