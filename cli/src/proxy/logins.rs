//! The logins that the proxy begins by itself (`--login`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokenkeeper::AuthSession;
use tokio::sync::Notify;

use super::notes::NoteWriter;
use crate::login::BackgroundLogin;

/// How long the first request of a client waits for a login. Many clients give up after 60 s.
const HOLD: Duration = Duration::from_secs(50);

/// Begins logins, one at a time. A login of another process is joined, because a person is asked once.
#[derive(Debug, Default)]
pub(super) struct BackgroundLogins {
    /// The way to ask a person. `None` without `--login`.
    background: Option<BackgroundLogin>,
    wanted: Notify,
    is_running: AtomicBool,
    has_failed: AtomicBool,
}

impl BackgroundLogins {
    pub(super) fn new(background: Option<BackgroundLogin>) -> Self {
        Self { background, ..Self::default() }
    }

    /// Begins a login, if the person wants that at all and none is under way. After a login that did not succeed, only the first
    /// request of a client begins another one, so that no request of a running client asks a person again and again.
    pub(super) fn begin(&self, is_first: bool) {
        if self.background.is_none() || self.has_failed.load(Ordering::Relaxed) && !is_first {
            return;
        }
        if !self.is_running.swap(true, Ordering::Relaxed) {
            self.wanted.notify_one();
        }
    }

    /// Waits until the session is signed in, for at most 50 s. Returns at once without `--login`.
    pub(super) async fn signed_in(&self, session: &AuthSession) -> bool {
        if self.background.is_none() {
            return false;
        }
        #[expect(clippy::disallowed_methods, reason = "a client waits; the login goes on")]
        let waited = tokio::time::timeout(HOLD, session.signed_in()).await;
        matches!(waited, Ok(Ok(())))
    }

    /// Makes the logins that are begun.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves a login open, and other processes go on with it.
    pub(super) async fn work(&self, session: &AuthSession, notes: &NoteWriter) {
        let Some(background) = &self.background else { return };
        loop {
            self.wanted.notified().await;
            let done = background.sign_in(session).await;
            self.has_failed.store(done.is_err(), Ordering::Relaxed);
            self.is_running.store(false, Ordering::Relaxed);
            match done {
                Ok(_) => notes.note("signed in"),
                Err(error) => notes.note(&format!("not signed in: {error}")),
            }
        }
    }
}
