//! How fresh a user context must be, and how long a caller waits for it.

use std::time::Duration;

/// The longest time for which a user context is kept, with any options.
pub(crate) const MAX_KEPT: Duration = Duration::from_secs(60 * 60);

/// The options of a request for a user context. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserOptions {
    /// The maximum age of a context that was fetched before (5 minutes). Each context is renewed at an age of its own between
    /// nine tenths of this and this, so that sessions which began together do not ask together. Zero asks the provider, unless
    /// a request to it is under way. Contexts are kept for an hour at most.
    pub max_age: Duration,
    /// How much older than [`max_age`](Self::max_age) the context may be that is returned if the provider cannot be asked
    /// (none). It never holds for another login or person, nor if a login is required.
    pub stale_if_error: Duration,
    /// The time that the caller is willing to wait (30 s). After that it gets
    /// [`DeadlinePassed`](crate::user::UserError::DeadlinePassed). The request to the provider goes on.
    pub timeout: Duration,
}

impl Default for UserOptions {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(5 * 60), stale_if_error: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

impl UserOptions {
    /// How long a context serves callers with these options, in trouble.
    pub(crate) fn usable_for(&self) -> Duration {
        self.max_age.saturating_add(self.stale_if_error).min(MAX_KEPT)
    }
}
