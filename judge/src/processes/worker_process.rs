//! The parent's side of a worker.

use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::messages::MARKER;

/// A worker process. Dropping it kills the process.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    stdin: ChildStdin,
}

/// The messages of a worker.
#[derive(Debug)]
pub struct WorkerOutput(Lines<BufReader<ChildStdout>>);

impl WorkerProcess {
    /// Starts the process with pipes to its standard input and from its standard output.
    ///
    /// # Errors
    ///
    /// When the process cannot be started.
    pub fn start(mut command: Command) -> io::Result<(Self, WorkerOutput)> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| io::Error::other("a worker without pipes"))?;
        Ok((Self { child, stdin }, WorkerOutput(BufReader::new(stdout).lines())))
    }

    /// Sends a message as one line.
    ///
    /// # Errors
    ///
    /// When the process has ended.
    pub async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(message)? + "\n";
        self.stdin.write_all(line.as_bytes()).await
    }

    /// Sends a signal, unless the process has been waited for.
    pub fn signal(&self, signal: Signal) {
        // Until then its number is not given to another process.
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills the process (SIGKILL), and waits until it is dead.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Closes its standard input, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub async fn end(mut self) -> io::Result<ExitStatus> {
        drop(self.stdin);
        self.child.wait().await
    }
}

impl WorkerOutput {
    /// Returns the next message, or `None` when there are no more. Lines that are no message are skipped, as are
    /// messages that a kill cut off.
    ///
    /// Safe to drop.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        while let Ok(Some(line)) = self.0.next_line().await {
            let message = line.split_once(MARKER).and_then(|(_, message)| serde_json::from_str(message).ok());
            if message.is_some() {
                return message;
            }
        }
        None
    }
}
