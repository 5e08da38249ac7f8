//! A command that prints a token.

mod running;

use std::fmt;
use std::process::Command;
use std::time::Duration;

use zeroize::Zeroizing;

/// The default time that a command has to print, and to end after that.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A command that prints a token, alone or in a JSON object. It may be a credential plugin of Kubernetes (`ExecCredential`).
///
/// The program is started directly, without a shell, with no input, and with its error output dropped. It prints at most
/// 64 KiB, and ends with success. When it takes longer than its time-out, or
/// prints more, it is killed with all processes of its group.
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

    /// The same command with a further argument, which is passed on as it is.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The same command with a further variable of its environment, beside those of the host.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The same command, which has this long to print, and as long again to end. Default: 30 s. A token request has at most its
    /// own time-out.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The command without its arguments, which may be secrets, in words.
    pub(super) fn name(&self) -> String {
        format!("the command {}", self.program)
    }

    /// Runs the command and returns its output. `None` if it fails in any way. Blocks.
    pub(super) fn output(&self, timeout: Duration) -> Option<Zeroizing<Vec<u8>>> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        running::output(command, self.timeout.min(timeout))
    }
}

/// Arguments and variables may be secrets.
impl fmt::Debug for ExecCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecCommand").field("program", &self.program).finish_non_exhaustive()
    }
}
