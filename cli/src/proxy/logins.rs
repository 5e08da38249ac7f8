//! The logins that the proxy begins by itself (`--login`).

use std::pin::pin;
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
    /// Tells those who wait for a login that it has failed.
    failed: Notify,
}

impl BackgroundLogins {
    pub(super) fn new(background: Option<BackgroundLogin>) -> Self {
        Self { background, ..Self::default() }
    }

    /// Begins a login, if the person wants that at all and none is under way. After a login that did not succeed, only the first
    /// request of a client begins another one, so that no request of a running client asks a person again and again.
    pub(super) fn begin(&self, is_first: bool) {
        if self.background.is_none() || self.has_failed.load(Ordering::SeqCst) && !is_first {
            return;
        }
        if !self.is_running.swap(true, Ordering::SeqCst) {
            self.wanted.notify_one();
        }
    }

    /// Waits until the session is signed in, for at most 50 s and until the login has failed. Returns at once without `--login`.
    pub(super) async fn signed_in(&self, session: &AuthSession) -> bool {
        if self.background.is_none() {
            return false;
        }
        let mut failed = pin!(self.failed.notified());
        failed.as_mut().enable();
        if !self.is_running.load(Ordering::SeqCst) && self.has_failed.load(Ordering::SeqCst) {
            return false;
        }
        let signed_in = async {
            tokio::select! {
                signed_in = session.signed_in() => signed_in.is_ok(),
                () = failed => false,
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a client waits; the login goes on")]
        tokio::time::timeout(HOLD, signed_in).await.unwrap_or(false)
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
            self.has_failed.store(done.is_err(), Ordering::SeqCst);
            self.is_running.store(false, Ordering::SeqCst);
            match done {
                Ok(_) => notes.note("signed in"),
                Err(error) => {
                    self.failed.notify_waiters();
                    notes.note(&format!("not signed in: {error}"));
                }
            }
        }
    }
}
