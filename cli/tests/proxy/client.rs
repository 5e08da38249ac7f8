//! The client's side of a proxy, which is a child process.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// How long a test waits for anything.
const WAIT: Duration = Duration::from_secs(30);

/// The result of `work`, which must come in time.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, work).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// A proxy and its client.
pub(crate) struct ProxyClient {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Option<BufReader<ChildStdout>>,
    notes: JoinHandle<String>,
    _home: Option<TempDir>,
}

/// A folder for a home.
pub(crate) fn home() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    home
}

/// The command on this home.
pub(crate) fn command(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenkeeper"));
    command.arg("--home").arg(home.path()).args(arguments);
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"] {
        command.env_remove(name);
    }
    command
}

impl ProxyClient {
    /// A proxy for a server at which no person has signed in.
    pub(crate) fn start(url: &str) -> Self {
        Self::with(url, &[])
    }

    pub(crate) fn with(url: &str, arguments: &[&str]) -> Self {
        let home = home();
        let mut proxy = Self::of(command(&home, &[&["proxy", url], arguments].concat()));
        proxy._home = Some(home);
        proxy
    }

    pub(crate) fn of(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut notes = child.stderr.take().unwrap();
        let notes = tokio::spawn(async move {
            let mut text = String::new();
            notes.read_to_string(&mut text).await.unwrap();
            text
        });
        let output = child.stdout.take().map(BufReader::new);
        Self { input: child.stdin.take(), output, child, notes, _home: None }
    }

    /// Writes a line.
    pub(crate) async fn send(&mut self, line: impl AsRef<[u8]>) {
        let line = [line.as_ref(), b"\n"].concat();
        within("a write", self.input.as_mut().unwrap().write_all(&line)).await.unwrap();
    }

    /// Reads a line. Empty at the end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        within("a line", self.output.as_mut().unwrap().read_until(b'\n', &mut line)).await.unwrap();
        String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned()
    }

    /// Reads a message.
    pub(crate) async fn message(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?} is no message"))
    }

    /// Reads messages until the answer to the request with this identifier.
    pub(crate) async fn answer(&mut self, id: &Value) -> Value {
        loop {
            let message = self.message().await;
            if message["id"] == *id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Sends a request, and reads its answer.
    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        self.send(request.to_string()).await;
        self.answer(&request["id"]).await
    }

    /// Closes standard input, and returns the rest of the output, the exit code and the notes.
    pub(crate) async fn end(mut self) -> (Vec<Value>, i32, String) {
        drop(self.input.take());
        self.ended().await
    }

    /// Waits for the end.
    pub(crate) async fn ended(self) -> (Vec<Value>, i32, String) {
        let (rest, code, notes) = self.rest().await;
        (rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), code, notes)
    }

    /// Closes standard input, and returns the rest of the output as its lines are.
    #[allow(dead_code, reason = "the tests of hosts take it")]
    pub(crate) async fn end_with_lines(mut self) -> (Vec<Vec<u8>>, i32, String) {
        drop(self.input.take());
        let (rest, code, notes) = self.rest().await;
        (rest.lines().map(|line| line.as_bytes().to_vec()).collect(), code, notes)
    }

    async fn rest(mut self) -> (String, i32, String) {
        let mut rest = String::new();
        if let Some(output) = &mut self.output {
            within("the end of the output", output.read_to_string(&mut rest)).await.unwrap();
        }
        let status: ExitStatus = within("the end", self.child.wait()).await.unwrap();
        let notes = within("the notes", &mut self.notes).await.unwrap();
        (rest, status.code().unwrap_or(-1), notes)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

/// The `initialize` of a client.
pub(crate) fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } })
}

pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

pub(crate) fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
}

/// The same request on the wire of 2026-07-28.
pub(crate) fn modern(mut request: Value) -> Value {
    request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    request["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "test", "version": "1" });
    request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    request
}
