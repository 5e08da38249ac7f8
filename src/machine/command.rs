//! A command that prints a token.

mod running;

use std::fmt;
use std::process::Command;
use std::time::Duration;

use zeroize::Zeroizing;

/// The default time-out for a command's output, and for its end after that.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A command that prints a token, alone or in a JSON object. It may be a credential plugin of Kubernetes (`ExecCredential`).
///
/// The program is started directly, without a shell and without input. Its error output is dropped. It must print at most
/// 64 KiB and end with success. If it prints more, or takes longer than its time-out, it is killed with all processes of its
/// group.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecCommand {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

impl ExecCommand {
    /// The program at this path, or with this name in the `PATH` of the host.
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), timeout: TIMEOUT }
    }

    /// The same command with a further argument, which is passed unchanged.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The same command with a further environment variable, in addition to those of the host.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The same command with this time-out for its output, and the same time again for its end. Default: 30 s. In a token
    /// request, the time that is left for the request is the maximum.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The command in words, without its arguments, which may be secrets.
    pub(super) fn name(&self) -> String {
        format!("the command {}", self.program)
    }

    /// Runs the command and returns its output, or `None` if it fails in any way. Blocks the thread.
    pub(super) fn output(&self, timeout: Duration) -> Option<Zeroizing<Vec<u8>>> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        running::output(command, self.timeout.min(timeout))
    }
}

/// `Debug` leaves out arguments and variables, because they may be secrets.
impl fmt::Debug for ExecCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecCommand").field("program", &self.program).finish_non_exhaustive()
    }
}
