//! The waits of a stream of events that cannot be opened now.

use std::time::Duration;

use tokenkeeper::{AuthSession, Generation, StepUp};

use crate::SessionError;

/// The first pause after a transient error. Pauses double up to the greatest.
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// The greatest pause, unless the error asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The waits of one stream.
///
/// A stream waits here, because rmcp gives up a stream for ever if it is refused when it is opened. After other errors, rmcp
/// tries again at growing intervals without a limit.
pub(crate) struct Wait<'s> {
    session: &'s AuthSession,
    /// `None` before the first wait.
    pause: Option<Duration>,
}

impl<'s> Wait<'s> {
    pub(crate) fn new(session: &'s AuthSession) -> Self {
        Self { session, pause: None }
    }

    /// Waits until the cause of `error` may have passed. Returns `false` if it cannot pass, or the runtime ends.
    pub(crate) async fn until_passed(&mut self, error: &SessionError) -> bool {
        if error.is_transient() {
            let pause = self.next_pause();
            sleep(error.retry_after().map_or(pause, |span| span.max(pause))).await;
            return true;
        }
        let has_login = match error.step_up() {
            Some(step_up) => self.newer_token(step_up).await,
            // If the runtime's tree is down for a moment, the wait goes on.
            None if error.is_login_required() => match self.session.signed_in().await {
                Ok(()) => true,
                Err(error) => error.is_transient(),
            },
            None => false,
        };
        // The first attempt after a login is made at once. Later ones follow after pauses, in case the server refuses every
        // login.
        let pause = if self.pause.is_none() { Duration::ZERO } else { self.next_pause() };
        self.pause.get_or_insert(MIN_PAUSE);
        if has_login {
            sleep(pause).await;
        }
        has_login
    }

    /// Waits for a token that is newer than the one that lacks scopes, or for a login. Returns `false` if the runtime was
    /// dropped. After a shutdown without a drop, the wait ends with its transport.
    async fn newer_token(&self, step_up: &StepUp) -> bool {
        let mut watch = self.session.watch();
        let mut state = watch.now();
        let login = state.signed_in;
        let is_older = |generation: Generation| !generation.supersedes(&step_up.refused());
        while state.signed_in == login && state.lease.is_none_or(|(generation, _)| is_older(generation)) {
            match watch.next().await {
                Some(next) => state = next,
                None => return false,
            }
        }
        true
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause.unwrap_or(MIN_PAUSE);
        self.pause = Some((pause * 2).min(MAX_PAUSE));
        pause
    }
}

#[expect(clippy::disallowed_methods, reason = "the stream may be dropped at any time, and no sleep is long")]
async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}
