//! Options of a request for a user context, which are its maximum age and the caller's time-out.

use std::time::Duration;

/// The longest time for which a user context is kept, with any options.
pub(crate) const MAX_KEPT: Duration = Duration::from_secs(60 * 60);

/// The options of a request for a user context. The defaults are in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserOptions {
    /// The maximum age of a context that was fetched before (5 minutes). Each context is renewed at an age of its own between
    /// nine tenths of this value and this value, so that sessions which began together do not ask together. Zero asks the
    /// provider, unless a request to it is under way. Contexts are kept for an hour at most.
    pub max_age: Duration,
    /// If the provider cannot be asked, a context is returned that is older than [`max_age`](Self::max_age) by at most this
    /// time (none). A context of another login or person is never returned, and none is returned if a login is required.
    pub stale_if_error: Duration,
    /// The time that the caller is willing to wait (30 s). After that, the caller gets
    /// [`DeadlinePassed`](crate::user::UserError::DeadlinePassed). The request to the provider goes on.
    pub timeout: Duration,
}

impl Default for UserOptions {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(5 * 60), stale_if_error: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

impl UserOptions {
    /// The time for which a context may serve callers with these options if the provider cannot be asked.
    pub(crate) fn usable_for(&self) -> Duration {
        self.max_age.saturating_add(self.stale_if_error).min(MAX_KEPT)
    }
}
