//! The token file of a child grant, whose session is kept warm.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::runtime::{SessionState, StateWatch};
use tokio::sync::watch;

use super::folder::Folder;
use crate::{AuthSession, Generation, Lease, ProofError, Reason, TokenError, TokenKind, TokenOptions, Validity};

/// The maximum remaining lifetime at which a token is replaced. This is earlier than the early window of the default policy,
/// in which callers of the session begin a refresh.
const LEAD: Duration = Duration::from_secs(600);

/// The time-out of one attempt to get a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The minimum pause after a token, so that a server whose tokens expire at once is not asked in a loop.
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// The shortest and the longest pause after a failure. No sleep is longer than a minute, because the computer may be
/// suspended (law 14).
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The state of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// No attempt has ended yet.
    Pending,
    /// The file was written, or the hand-off has no file.
    Written,
    /// The session has no token that could be written.
    NoToken(TokenError),
    /// The token needs a proof of possession, for which the child has no key.
    BoundToken,
    /// The file system refuses the file.
    Unwritable(io::ErrorKind),
}

impl FileState {
    /// The state as the result of the first attempt.
    pub(super) fn result(&self) -> io::Result<()> {
        match self {
            Self::Pending | Self::Written => Ok(()),
            Self::NoToken(error) => Err(io::Error::other(error.clone())),
            Self::BoundToken => Err(io::Error::other(ProofError::KeyKept)),
            Self::Unwritable(kind) => Err((*kind).into()),
        }
    }
}

/// Keeps a usable token in the file, until the future is dropped or the runtime of the session ends. While there is no such
/// token, the file is removed.
pub(super) async fn keep(session: AuthSession, folder: Arc<Folder>, state: watch::Sender<FileState>) {
    let mut keeper = Keeper { watch: session.watch(), session, folder, written: None, noticed: None };
    loop {
        let lead = keeper.written.as_ref().map_or(Duration::ZERO, |lease| lead(&lease.validity()));
        let options = TokenOptions { timeout: keeper.timeout(), min_lifetime: lead, ..TokenOptions::default() };
        let result = keeper.session.token_with(options).await;
        let has_ended = result.as_ref().is_err_and(|error| error.reason() == Reason::ShuttingDown);
        let (next, pause) = keeper.take(result).await;
        state.send_if_modified(|state| std::mem::replace(state, next.clone()) != next);
        if has_ended || !keeper.wait(pause).await {
            break;
        }
    }
    keeper.write(None).await.ok();
}

/// The state of [`keep`].
struct Keeper {
    session: AuthSession,
    watch: StateWatch,
    folder: Arc<Folder>,
    /// The lease whose token is in the file.
    written: Option<Lease>,
    /// The generation that the session served when it was last found to serve another token than the one in the file. `None`
    /// while the two are the same, and `Some(None)` if the session served no token.
    noticed: Option<Option<Generation>>,
}

impl Keeper {
    /// Updates the file. Returns its state, and the time after which it needs another update, unless the session changes
    /// before.
    async fn take(&mut self, result: Result<Lease, TokenError>) -> (FileState, Duration) {
        let written = match result {
            Ok(lease) if lease.kind() != TokenKind::Bearer => {
                self.write(None).await.ok();
                return (FileState::BoundToken, PAUSES.1);
            }
            Ok(lease) if self.written.as_ref() == Some(&lease) => Ok(()),
            Ok(lease) => self.write(Some(lease)).await,
            Err(error) => {
                let pause = error.retry_after().unwrap_or(PAUSES.0).clamp(PAUSES.0, PAUSES.1);
                if self.is_served() {
                    // After a failed refresh, a valid token stays in the file.
                    return (FileState::Written, pause.min(self.remaining(Duration::ZERO)).max(MIN_PAUSE));
                }
                self.write(None).await.ok();
                return (FileState::NoToken(error), pause);
            }
        };
        match written {
            Ok(()) => {
                let lead = self.written.as_ref().map_or(Duration::ZERO, |lease| lead(&lease.validity()));
                (FileState::Written, self.remaining(lead).max(MIN_PAUSE))
            }
            Err(error) => (FileState::Unwritable(error.kind()), PAUSES.0),
        }
    }

    /// Whether the token in the file is the one that the session serves to callers, and has not expired.
    fn is_served(&mut self) -> bool {
        let served = generation(&self.watch.now());
        let written = self.written.as_ref().map(Lease::generation);
        written.is_some() && written == served && !self.remaining(Duration::ZERO).is_zero()
    }

    /// The time until the remaining lifetime of the token in the file is `lead`. If the lifetime is not known, it is the
    /// longest pause.
    fn remaining(&self, lead: Duration) -> Duration {
        let now = self.session.engine.now();
        let left = self.written.as_ref().and_then(|lease| lease.validity().remaining(&now));
        left.map_or(PAUSES.1, |left| left.saturating_sub(lead))
    }

    /// The time-out of an attempt. It passes no later than the token in the file expires, so that an expired token is removed.
    fn timeout(&self) -> Duration {
        let left = self.written.as_ref().map(|_| self.remaining(Duration::ZERO).max(MIN_PAUSE));
        left.map_or(TOKEN_TIMEOUT, |left| left.min(TOKEN_TIMEOUT))
    }

    /// Writes the token of `lease` into the file, or removes the file.
    async fn write(&mut self, lease: Option<Lease>) -> io::Result<()> {
        let folder = self.folder.clone();
        let token = lease.as_ref().map(|lease| lease.token().clone());
        #[expect(clippy::disallowed_methods, reason = "a short write, which no decision waits for")]
        let write = tokio::task::spawn_blocking(move || folder.write(token.as_ref()));
        write.await.map_err(io::Error::other)??;
        self.written = lease;
        Ok(())
    }

    /// Whether the session serves another token than the one in the file, or none. Each such token is reported once, because
    /// a state may arrive later than the lease that it belongs to.
    fn has_news(&mut self) -> bool {
        let served = generation(&self.watch.now());
        if served == self.written.as_ref().map(Lease::generation) {
            self.noticed = None;
            return false;
        }
        self.noticed.replace(served) != Some(served)
    }

    /// Waits for `pause`, or until the session serves another token than the one in the file. Returns `false` when the
    /// session has ended.
    async fn wait(&mut self, pause: Duration) -> bool {
        if self.has_news() {
            return true;
        }
        let changed = async {
            while self.watch.next().await.is_some() {
                if self.has_news() {
                    return true;
                }
            }
            false
        };
        // One millisecond is added, so that the token is certainly due after the wait.
        let pause = pause.min(PAUSES.1) + Duration::from_millis(1);
        #[expect(
            clippy::disallowed_methods,
            reason = "the wait is a minute at most, and both clocks are read after it"
        )]
        let end = tokio::time::timeout(pause, changed).await;
        end.unwrap_or(true)
    }
}

fn generation(state: &SessionState) -> Option<Generation> {
    state.lease.map(|(generation, _)| generation)
}

/// The remaining lifetime at which a token is replaced. It is at most half of the lifetime, so that the token is replaced before
/// its early window, which is at most a quarter of the lifetime (law 14).
fn lead(validity: &Validity) -> Duration {
    validity.lifetime().map_or(Duration::ZERO, |lifetime| LEAD.min(lifetime / 2))
}
