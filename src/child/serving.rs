//! The socket of one child, which answers one line on each connection.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::ask::{Answer, Ask, Refused};
use super::capability::Capability;
use crate::{AuthSession, ChallengeKey, Lease, OperationKey, Reason, TokenError, TokenOptions};
use tokenkeeper_actors::values;

/// How many connections are served at a time. Others wait in the kernel's queue, so a child that opens many holds up itself
/// only, and the host's open files are bounded.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// The maximum length of a request in bytes, with its line end.
pub(super) const MAX_LINE: usize = 4096;

/// How many leases a child may report as refused. Only the newest is usually in use.
const MAX_HANDED: usize = 8;

/// How long the line of a request may take.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a child waits for a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the answer may take. It fits into the socket's buffer, so that a child which does not read it holds up nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted, because the process has too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the connections until it is dropped.
pub(super) async fn serve(listener: UnixListener, session: AuthSession, capability: Capability) {
    let host = Arc::new(Host { session, capability, handed: Mutex::default() });
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => begin(&mut connections, host.clone().connection(stream)),
            Err(_) => pause(PAUSE).await,
        }
    }
}

/// The host's side of one grant.
struct Host {
    session: AuthSession,
    capability: Capability,
    /// The leases that the child got last, each once and the newest answer at the end. It may report these.
    handed: Mutex<VecDeque<Lease>>,
}

impl Host {
    /// Serves one connection. Its errors are the child's, which has gone.
    async fn connection(self: Arc<Self>, mut stream: UnixStream) {
        // The line is read from each, because a program that is refused while it writes does not read the answer.
        let Some(line) = within(LINE_TIMEOUT, read_line(&mut stream)).await else { return };
        let answer = match line {
            _ if !is_of_our_user(&stream) => Answer::OtherUser,
            Ok(line) => self.answer(&line).await,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Answer::BadRequest,
            Err(_) => return,
        };
        let line = answer.line(&self.session.engine.now());
        within(ANSWER_TIMEOUT, async {
            stream.write_all(&line).await?;
            stream.shutdown().await
        })
        .await;
    }

    async fn answer(&self, line: &[u8]) -> Answer {
        let Some(ask) = Ask::read(line) else { return Answer::BadRequest };
        if !self.capability.is(&ask.capability) {
            return Answer::UnknownChild;
        }
        let lease = within(TOKEN_TIMEOUT, self.lease(ask)).await;
        lease.unwrap_or_else(|| Err(values::TokenError::new(Reason::DeadlinePassed).into())).into()
    }

    async fn lease(&self, ask: Ask) -> Result<Lease, TokenError> {
        if let Some(refused) = ask.refused.and_then(|refused| self.refused(&refused)) {
            // The host knows neither the operation nor the challenge of the child's request. Any will do, as long as a token
            // that was obtained because of a refusal is not refused for ever (law 11).
            self.session.invalidate(&refused, OperationKey(0), ChallengeKey(0)).await?;
        }
        let options = TokenOptions { timeout: TOKEN_TIMEOUT, min_lifetime: ask.min_ttl, ..TokenOptions::default() };
        let lease = self.session.token_with(options).await?;
        let mut handed = self.handed();
        handed.retain(|other| *other != lease);
        if handed.len() == MAX_HANDED {
            handed.pop_front();
        }
        handed.push_back(lease.clone());
        Ok(lease)
    }

    /// The lease that the child reports. One that is not remembered was replaced long ago, so that its refusal changes nothing.
    fn refused(&self, refused: &Refused) -> Option<Lease> {
        let handed = self.handed();
        match refused {
            Refused::Last => handed.back().cloned(),
            Refused::Generation(name) => handed.iter().find(|lease| lease.generation().to_string() == *name).cloned(),
        }
    }

    fn handed(&self) -> MutexGuard<'_, VecDeque<Lease>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process on the other side belonged to our effective user when it connected.
fn is_of_our_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// Reads up to the line end, or to the end of what the child sends. A longer line is `InvalidData`, and none at all an
/// `UnexpectedEof`.
async fn read_line(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    // It does not grow, because growing would leave copies of the capability behind.
    let mut line = Zeroizing::new(vec![0; MAX_LINE]);
    let mut length = 0;
    while length < MAX_LINE {
        let read = stream.read(&mut line[length..]).await?;
        let end = line[length..length + read].iter().position(|byte| *byte == b'\n');
        length += end.unwrap_or(read);
        if end.is_some() || read == 0 && length > 0 {
            line.truncate(length);
            return Ok(line);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[expect(clippy::disallowed_methods, reason = "it bounds a child's connection; the refresh behind it goes on")]
async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(span, work).await.ok()
}

#[expect(clippy::disallowed_methods, reason = "no decision depends on it, and a suspend makes no difference")]
fn pause(span: Duration) -> impl Future<Output = ()> {
    tokio::time::sleep(span)
}

#[expect(clippy::disallowed_methods, reason = "the set owns the task, and the grant the set")]
fn begin(connections: &mut JoinSet<()>, connection: impl Future<Output = ()> + Send + 'static) {
    connections.spawn(connection);
}
