//! Checks the home while workers use it. Removes leftovers of dead processes ([`FileStore::sweep`]), reads every record
//! and journal, and runs the commands `status` and `why`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::stores::file::FileStore;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Invocation;
use crate::clock::pause;

/// A command that takes longer than this counts as hung.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after each read of the home.
const READ_PAUSE: Duration = Duration::from_millis(20);
/// How many journal lines a read asks for.
const HISTORY: usize = 20;

/// A look, which is one check of the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A separate process has run `status` or `why`.
    Command,
    /// This process has swept and read the home.
    Read,
}

/// Checks the home again and again.
pub(super) struct Prober {
    store: FileStore,
    home: PathBuf,
    /// The URL of the MCP server.
    server: String,
    tokenkeeper: Option<Invocation>,
    next_subcommand: Subcommand,
    commands: JoinSet<Result<(), String>>,
    reads: JoinSet<Result<(), String>>,
}

#[derive(Clone, Copy)]
enum Subcommand {
    Status,
    Why,
}

impl Prober {
    /// A prober of the home. `tokenkeeper` is the command to run on the home; without it, the prober only reads.
    pub(super) fn new(store: FileStore, home: &Path, server: &str, tokenkeeper: Option<Invocation>) -> Self {
        let (home, server) = (home.to_owned(), server.to_owned());
        let (commands, reads) = (JoinSet::new(), JoinSet::new());
        Self { store, home, server, tokenkeeper, next_subcommand: Subcommand::Status, commands, reads }
    }

    /// Starts `status` or `why` by turns, unless the last command still runs.
    pub(super) fn start_command(&mut self) {
        let Some(tokenkeeper) = self.tokenkeeper.as_ref().filter(|_| self.commands.is_empty()) else { return };
        let subcommand = self.next_subcommand;
        self.next_subcommand = match subcommand {
            Subcommand::Status => Subcommand::Why,
            Subcommand::Why => Subcommand::Status,
        };
        let mut command = tokenkeeper.command();
        command.arg("--home").arg(&self.home);
        match subcommand {
            Subcommand::Status => command.arg("status"),
            Subcommand::Why => command.arg("why").arg(&self.server),
        };
        // The key that seals a soak's home is in a file.
        command.arg("--json").args(["--key", "file"]);
        #[expect(clippy::disallowed_methods, reason = "the task is owned by this JoinSet")]
        self.commands.spawn(run(subcommand, command));
    }

    /// Starts a read, unless the last one still runs.
    fn start_read(&mut self) {
        if self.reads.is_empty() {
            let store = self.store.clone();
            #[expect(clippy::disallowed_methods, reason = "the task is owned by this JoinSet")]
            self.reads.spawn(async move {
                let result = read(&store).await;
                pause(READ_PAUSE).await;
                result
            });
        }
    }

    /// Waits for the next look to finish. The error says what was wrong. Safe to drop.
    pub(super) async fn next_look(&mut self) -> (Look, Result<(), String>) {
        self.start_read();
        let (look, result) = tokio::select! {
            Some(done) = self.commands.join_next() => (Look::Command, done),
            Some(done) = self.reads.join_next() => (Look::Read, done),
            // Never reached, because a read always runs here.
            else => std::future::pending().await,
        };
        (look, result.unwrap_or_else(|panicked| Err(panicked.to_string())))
    }
}

async fn run(subcommand: Subcommand, mut command: Command) -> Result<(), String> {
    // In a process group of its own, so that Ctrl-C reaches only the parent, which ends its processes itself.
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    #[expect(
        clippy::disallowed_methods,
        reason = "a hung command is reported as a failure, and dropping it loses no token request"
    )]
    let output = timeout(COMMAND_TIMEOUT, command.output()).await;
    subcommand.judge(output.unwrap_or_else(|_| Err(io::Error::other("it does not end"))))
}

/// Removes leftovers of dead processes, and reads every record and journal.
async fn read(store: &FileStore) -> Result<(), String> {
    let words = |error: tokenkeeper::stores::file::FileError| error.to_string();
    store.sweep().await.map_err(words)?;
    for identity in store.list().await.map_err(|fault| fault.to_string())? {
        store.inspect(&identity).await.map_err(words)?.ok_or_else(|| format!("no record of {identity}"))?;
        store.history(&identity, HISTORY).await.map_err(words)?;
    }
    Ok(())
}

impl Subcommand {
    /// Checks that the command succeeded and showed a session whose record it could read.
    fn judge(self, output: io::Result<Output>) -> Result<(), String> {
        // A soak's home has one identity, so `status` lists one session.
        let (name, state) = match self {
            Self::Status => ("status", "/sessions/0/state"),
            Self::Why => ("why", "/state"),
        };
        let Output { status, stdout, stderr } = output.map_err(|error| format!("{name}: {error}"))?;
        let shown: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        // `why` reports a lost record as `never_signed_in`. `status` then lists no session.
        let has_record = shown["reason"] != "never_signed_in";
        match shown.pointer(state).and_then(Value::as_str) {
            Some(state) if status.success() && has_record && state != "unreadable" => Ok(()),
            state => Err(format!("{name}: {status}, {state:?}, {}", String::from_utf8_lossy(&stderr).trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn only_a_session_that_is_shown_and_can_be_read_is_good() {
        let ended = |code: i32, stdout: &str| {
            let (stdout, stderr) = (stdout.into(), "no\n".into());
            Ok(Output { status: ExitStatus::from_raw(code << 8), stdout, stderr })
        };
        let status = r#"{"sessions":[{"state":"signed_in"}]}"#;
        let why = r#"{"state":"login_required","reason":"grant_ended"}"#;
        assert_eq!(Subcommand::Status.judge(ended(0, status)), Ok(()));
        assert_eq!(Subcommand::Why.judge(ended(0, why)), Ok(()));
        for (subcommand, output) in [
            (Subcommand::Status, ended(6, status)),
            (Subcommand::Status, ended(0, r#"{"sessions":[]}"#)),
            (Subcommand::Status, ended(0, r#"{"sessions":[{"state":"unreadable"}]}"#)),
            (Subcommand::Why, ended(0, "")),
            (Subcommand::Why, ended(0, r#"{"state":"login_required","reason":"never_signed_in"}"#)),
            (Subcommand::Why, Err(io::Error::other("no"))),
        ] {
            let wrong = subcommand.judge(output).unwrap_err();
            assert!(wrong.starts_with("status: ") || wrong.starts_with("why: "), "{wrong}");
            assert!(wrong.ends_with("no"), "{wrong}");
        }
    }
}
