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

/// The maximum number of connections that are served at a time. Others wait in the kernel's queue. A child that opens many
/// thus delays only itself, and the host's open files are bounded.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// The maximum length of a request in bytes, with its line end.
pub(super) const MAX_LINE: usize = 4096;

/// The maximum number of leases that are remembered, so that the child can report them as refused. Usually only the newest is
/// in use.
const MAX_HANDED: usize = 8;

/// The time-out for the line of a request.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time-out of a child's request for a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The time-out for writing the answer. The answer fits into the socket's buffer, so a child that does not read delays nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted, because the process has too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the connections until the future is dropped.
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
    /// The leases that the child got last and may report as refused, without repetitions, and with the latest at the end.
    handed: Mutex<VecDeque<Lease>>,
}

impl Host {
    /// Serves one connection. Errors of the connection are ignored, because the child has then closed it.
    async fn connection(self: Arc<Self>, mut stream: UnixStream) {
        // The line is read before any refusal, because a program that is refused while it writes does not read the answer.
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

    /// The answer to the line of a request.
    async fn answer(&self, line: &[u8]) -> Answer {
        let Some(ask) = Ask::read(line) else { return Answer::BadRequest };
        if !self.capability.is(&ask.capability) {
            return Answer::UnknownChild;
        }
        let lease = within(TOKEN_TIMEOUT, self.lease(ask)).await;
        lease.unwrap_or_else(|| Err(values::TokenError::new(Reason::DeadlinePassed).into())).into()
    }

    /// The lease for a request, after the refusal that it may report.
    async fn lease(&self, ask: Ask) -> Result<Lease, TokenError> {
        if let Some(refused) = ask.refused.and_then(|refused| self.refused(&refused)) {
            // The host knows neither the operation nor the challenge of the child's request. Constant keys serve as well,
            // so that the refusal of a token that was just obtained because of a refusal is recognised (law 11).
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

    /// The lease that the child reports. A lease that is not remembered was replaced long ago, so its refusal changes nothing.
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

/// Whether the process that has connected belonged to this process's effective user at that time.
fn is_of_our_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// Reads up to the line end, or until the child has closed its side. The error is `InvalidData` for a line that is too long,
/// and `UnexpectedEof` if nothing arrives.
async fn read_line(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    // The buffer does not grow, because growing would leave copies of the capability behind.
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

/// The result of `work`, or `None` after `span`.
#[expect(
    clippy::disallowed_methods,
    reason = "the time-out bounds a child's connection, and a refresh that it caused goes on"
)]
async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(span, work).await.ok()
}

#[expect(clippy::disallowed_methods, reason = "no decision depends on the pause, and a suspend makes no difference")]
fn pause(span: Duration) -> impl Future<Output = ()> {
    tokio::time::sleep(span)
}

#[expect(clippy::disallowed_methods, reason = "the `JoinSet` ends the task when the grant is dropped")]
fn begin(connections: &mut JoinSet<()>, connection: impl Future<Output = ()> + Send + 'static) {
    connections.spawn(connection);
}
