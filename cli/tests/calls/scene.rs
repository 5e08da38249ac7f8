//! A strict authorization server, an MCP server behind its tokens, and a home.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokenkeeper_testkit::mcp::{AnswerForm, McpResource, McpSettings, Wires};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::client::{command, home, within};

/// Both wires, each with both forms of answers.
pub(crate) const WIRES: [(Wires, AnswerForm); 4] = [
    (Wires::Only2025, AnswerForm::Json),
    (Wires::Only2025, AnswerForm::Sse),
    (Wires::Only2026, AnswerForm::Json),
    (Wires::Only2026, AnswerForm::Sse),
];

pub(crate) struct CallScene {
    pub(crate) server: HostileAs,
    pub(crate) resource: McpResource,
    pub(crate) home: TempDir,
}

/// The output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) out: String,
    pub(crate) notes: String,
    pub(crate) code: i32,
}

impl CallScene {
    /// A scene whose home has a login, with an access token that has expired.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut McpSettings)) -> Self {
        let scene = Self::signed_out(change).await;
        let grant = scene.grant_for(&scene.resource.uri());
        import(&scene.home, &scene.resource.uri(), &grant).await;
        scene
    }

    /// A scene on this wire.
    pub(crate) async fn on(wires: Wires, answers: AnswerForm) -> Self {
        Self::with(|settings| {
            settings.wires = wires;
            settings.answers = answers;
        })
        .await
    }

    pub(crate) async fn signed_out(change: impl FnOnce(&mut McpSettings)) -> Self {
        let server = HostileAs::start().await.unwrap();
        let resource = McpResource::start_with(server.verifier(), change).await.unwrap();
        Self { server, resource, home: home() }
    }

    pub(crate) fn grant_for(&self, resource: &str) -> Grant {
        self.server.grant_for(&self.server.register(ClientAuth::None), resource, "tools:read")
    }

    /// Runs `call`.
    pub(crate) async fn call(&self, arguments: &[&str]) -> Printed {
        self.run("call", arguments).await
    }

    /// Runs a command on the server's session.
    pub(crate) async fn run(&self, name: &str, arguments: &[&str]) -> Printed {
        printed(self.start(name, arguments)).await
    }

    /// Starts a command on the server's session.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> Child {
        spawn(command(&self.home, &[&[name, &self.resource.uri()], arguments].concat()))
    }

    /// The token requests, rotations and replays.
    pub(crate) fn spent(&self) -> (u64, u64, u64) {
        let counts = self.server.counts();
        (counts.token_requests, counts.rotations, counts.replays)
    }
}

impl Printed {
    /// The lines of `--json`.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line of the only call, and the totals.
    pub(crate) fn only(&self) -> (Value, Value) {
        let [call, totals] = <[Value; 2]>::try_from(self.lines()).unwrap();
        (call, totals)
    }

    /// The last line of `--json`.
    pub(crate) fn totals(&self) -> Value {
        self.lines().pop().unwrap()
    }
}

pub(crate) fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

/// Waits for the end of a command.
pub(crate) async fn printed(child: Child) -> Printed {
    within("the end of a command", printed_late(child)).await
}

/// Waits for the end of a command, however long it takes.
pub(crate) async fn printed_late(child: Child) -> Printed {
    let output = child.wait_with_output().await.unwrap();
    Printed {
        out: String::from_utf8(output.stdout).unwrap(),
        notes: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Stores a login in a home, as another process does.
pub(crate) async fn import(home: &TempDir, server: &str, grant: &Grant) {
    let login = json!({
        "server": server,
        "issuer": grant.binding.issuer.0,
        "token_endpoint": grant.binding.token_endpoint,
        "client_id": grant.binding.client.id,
        "scope": grant.scope,
        "refresh_token": grant.refresh_token.expose(),
    });
    let mut import = command(home, &["import"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(login.to_string().as_bytes()).await.unwrap();
    assert!(import.wait().await.unwrap().success());
}
