//! Tokens for child processes and sandboxes, over a Unix socket or a file (feature `child`, Unix).
//!
//! [`AuthSession::hand_to`] prepares a command whose process, and all processes that it starts, may ask for the session's
//! access token. No refresh token leaves the host. `docs/children.md` describes the protocol and has clients for Python and
//! TypeScript.
//!
//! ```no_run
//! # async fn example(session: tokenkeeper::AuthSession) -> std::io::Result<()> {
//! use tokenkeeper::child::HandOff;
//!
//! let mut server = tokio::process::Command::new("npx");
//! server.args(["-y", "some-mcp-server"]);
//! let grant = session.hand_to(&mut server, HandOff::Socket)?;
//! server.spawn()?.wait().await?;
//! drop(grant); // From now on the process gets no tokens.
//! # Ok(())
//! # }
//! ```

mod ask;
mod capability;
mod file;
mod folder;
mod serving;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{AuthSession, ServerIdentity};

use capability::Capability;
use file::FileState;
use folder::Folder;

/// The variable with the path of the socket.
pub const SOCKET_VARIABLE: &str = "TOKENKEEPER_SOCKET";

/// The variable with the capability, which each request over the socket repeats.
pub const CAPABILITY_VARIABLE: &str = "TOKENKEEPER_CHILD";

/// The variable with the path of the token file.
pub const FILE_VARIABLE: &str = "TOKENKEEPER_TOKEN_FILE";

/// The way in which a child process gets tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandOff {
    /// The child asks over a Unix socket. It gets a usable token, and may report one that was refused.
    Socket,
    /// The child reads a file that contains only the token. A child cannot report a refusal in this way, so it is meant for
    /// programs that can do nothing else.
    File,
    /// Both.
    SocketAndFile,
}

impl HandOff {
    fn has_socket(self) -> bool {
        matches!(self, Self::Socket | Self::SocketAndFile)
    }

    fn has_file(self) -> bool {
        matches!(self, Self::File | Self::SocketAndFile)
    }
}

/// The right of one child process, and of the processes that it starts, to the access tokens of one session. It is called a child
/// grant.
///
/// Dropping it ends the right. The socket and the token file are removed, and a child that asks later finds no socket. Tokens
/// that the child has already stay valid until they expire.
#[derive(Debug)]
#[must_use = "dropping it ends the child's right to tokens"]
pub struct ChildGrant {
    identity: ServerIdentity,
    folder: Arc<Folder>,
    file: watch::Receiver<FileState>,
    /// Dropping the set ends the tasks.
    _tasks: JoinSet<()>,
}

impl ChildGrant {
    /// The identity of the session whose tokens the child gets.
    pub fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    /// Waits until the token file was written for the first time. A host that hands off a file waits for it before it starts
    /// the child. Returns at once for a hand-off without a file.
    ///
    /// # Errors
    ///
    /// The [`TokenError`](crate::TokenError) of the first attempt, inside an [`io::Error`], if the session has no token.
    /// Further attempts follow as long as the grant lives, so the file may appear later. Otherwise the error of the file
    /// system.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn file_written(&self) -> io::Result<()> {
        let mut file = self.file.clone();
        match file.wait_for(|state| *state != FileState::Pending).await.as_deref() {
            Ok(state) => state.result(),
            Err(_) => Err(io::Error::other("the runtime of the hand-off has ended")),
        }
    }
}

impl Drop for ChildGrant {
    fn drop(&mut self) {
        self.folder.remove();
    }
}

impl AuthSession {
    /// Lets the process that `command` starts, and all processes below it, have this session's access tokens as long as the
    /// returned [`ChildGrant`] and the tokio runtime live.
    ///
    /// It only sets environment variables of `command`, so that it works below wrappers such as `npx`. They are
    /// [`SOCKET_VARIABLE`] and [`CAPABILITY_VARIABLE`] for a socket and [`FILE_VARIABLE`] for a file. Those that do not belong
    /// to `how` are removed, so that the child never inherits the hand-off of this process itself. Socket and file are in a
    /// separate folder with mode 0700, below `XDG_RUNTIME_DIR` or below the temporary folder.
    ///
    /// Each grant has a capability of 256 random bits, which is bound to this session. The socket answers only processes of
    /// this process's effective user, so the child must not change its user. Do not print `command` with `Debug` afterwards,
    /// because `Debug` of std shows the variables of a command, and with them the capability.
    ///
    /// With a file, the session is refreshed before the token's early window, whether or not the child uses it.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] if no folder or socket can be made, or if there is no randomness or no tokio runtime. `command` is then
    /// unchanged.
    ///
    /// # Panics
    ///
    /// In a tokio runtime without its I/O and time drivers.
    pub fn hand_to(&self, command: &mut Command, how: HandOff) -> io::Result<ChildGrant> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let (folder, listener) = Folder::with_socket(how.has_socket())?;
        let folder = Arc::new(folder);
        let (state, file) = watch::channel(FileState::Pending);
        let capability = Capability::draw()?;
        let mut tasks = JoinSet::new();
        for variable in [SOCKET_VARIABLE, CAPABILITY_VARIABLE, FILE_VARIABLE] {
            command.env_remove(variable);
        }
        if let Some(listener) = listener {
            command.env(SOCKET_VARIABLE, folder.socket()).env(CAPABILITY_VARIABLE, capability.expose());
            spawn(&mut tasks, serving::serve(listener, self.clone(), capability));
        }
        if how.has_file() {
            command.env(FILE_VARIABLE, folder.token());
            spawn(&mut tasks, file::keep(self.clone(), folder.clone(), state));
        } else {
            state.send_replace(FileState::Written);
        }
        spawn(&mut tasks, sweep(folder.parent().to_owned()));
        Ok(ChildGrant { identity: self.identity().clone(), folder, file, _tasks: tasks })
    }
}

/// Removes the folders of hosts that were killed.
async fn sweep(parent: impl AsRef<Path> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "the task removes files, and no decision waits for it")]
    let _ = tokio::task::spawn_blocking(move || folder::sweep(parent.as_ref())).await;
}

#[expect(clippy::disallowed_methods, reason = "the `JoinSet` ends the task when the grant is dropped")]
fn spawn(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(task);
}

#[cfg(test)]
mod tests;
