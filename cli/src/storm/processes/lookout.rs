//! Looks at the home as people do meanwhile: with `status` and `why`, each a process of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A look that takes longer has hung.
const LONGEST: Duration = Duration::from_secs(20);

/// Looks again and again, with one command and the other by turns.
pub(super) struct Lookout {
    home: PathBuf,
    /// The MCP server, as the home knows it.
    server: String,
    next: Look,
    under_way: JoinSet<Result<(), String>>,
}

#[derive(Clone, Copy)]
enum Look {
    Status,
    Why,
}

impl Lookout {
    pub(super) fn new(home: &Path, server: &str) -> Self {
        Self { home: home.to_owned(), server: server.to_owned(), next: Look::Status, under_way: JoinSet::new() }
    }

    /// Begins to look, unless the last look is still under way.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if !self.under_way.is_empty() {
            return Ok(());
        }
        let look = self.next;
        self.next = match look {
            Look::Status => Look::Why,
            Look::Why => Look::Status,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--home").arg(&self.home);
        match look {
            Look::Status => command.arg("status"),
            Look::Why => command.arg("why").arg(&self.server),
        };
        // The storm's homes have their key in a file, whatever this user's have. Ctrl-C is for the parent, which sees to
        // the rest.
        command.arg("--json").args(["--key", "file"]).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        #[expect(clippy::disallowed_methods, reason = "ends with its command, which does not last, and with this")]
        self.under_way.spawn(async move {
            let late = |_| Err(io::Error::other("it does not end"));
            look.judge(timeout(LONGEST, command.output()).await.unwrap_or_else(late))
        });
        Ok(())
    }

    /// What the look under way has come to: nothing, or what was wrong. Safe to drop.
    pub(super) async fn seen(&mut self) -> Result<(), String> {
        match self.under_way.join_next().await {
            Some(seen) => seen.unwrap_or_else(|broken| Err(broken.to_string())),
            None => std::future::pending().await,
        }
    }
}

impl Look {
    /// Whether it went well, and showed a session that could be read.
    fn judge(self, output: io::Result<Output>) -> Result<(), String> {
        let (name, state) = match self {
            Look::Status => ("status", "/sessions/0/state"),
            Look::Why => ("why", "/state"),
        };
        let Output { status, stdout, stderr } = output.map_err(|error| format!("{name}: {error}"))?;
        let shown: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        let is_known = shown["reason"] != "never_signed_in";
        match shown.pointer(state).and_then(Value::as_str) {
            Some(state) if status.success() && is_known && state != "unreadable" => Ok(()),
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
        assert_eq!(Look::Status.judge(ended(0, status)), Ok(()));
        assert_eq!(Look::Why.judge(ended(0, why)), Ok(()));
        for (look, output) in [
            (Look::Status, ended(6, status)),
            (Look::Status, ended(0, r#"{"sessions":[]}"#)),
            (Look::Status, ended(0, r#"{"sessions":[{"state":"unreadable"}]}"#)),
            (Look::Why, ended(0, "")),
            (Look::Why, ended(0, r#"{"state":"login_required","reason":"never_signed_in"}"#)),
            (Look::Why, Err(io::Error::other("no"))),
        ] {
            let wrong = look.judge(output).unwrap_err();
            assert!(wrong.starts_with("status: ") || wrong.starts_with("why: "), "{wrong}");
            assert!(wrong.ends_with("no"), "{wrong}");
        }
    }
}
