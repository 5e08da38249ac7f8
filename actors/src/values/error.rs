//! The errors that callers see. They carry a [`Reason`] and times, never a secret and never text from a server.

use std::fmt;
use std::time::Duration;

use super::lineage::Version;
use super::reason::Reason;

/// The error of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl TokenError {
    /// The error for `reason`, without a time for another try.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }

    /// The same error, with the time after which another try makes sense.
    #[must_use]
    pub const fn with_retry_after(self, span: Duration) -> Self {
        Self { retry_after: Some(span), ..self }
    }

    /// The reason, from the fixed vocabulary.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The time after which another try makes sense, counted from when the error was returned. `None` when it is not
    /// known.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether only a new login helps.
    pub const fn is_login_required(&self) -> bool {
        self.reason.is_login_required()
    }

    /// Whether a later try may succeed.
    pub const fn is_transient(&self) -> bool {
        self.reason.is_transient()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.advice())?;
        match self.retry_after {
            Some(span) => write!(f, " (in {} s)", span.as_secs().max(1)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TokenError {}

/// The kind of a store's error, in as much detail as the state machines need. The store itself logs its error with file
/// names and causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// The operation failed, and changed nothing.
    #[error("the store failed")]
    Failed,
    /// The operation did not finish in time. Whether it took effect is not known.
    #[error("the store did not answer in time")]
    TimedOut,
    /// The record exists and cannot be read. It is damaged, or sealed with another key. A login replaces it.
    #[error("the stored record cannot be read")]
    Unreadable,
    /// The record is of a newer format. It is never overwritten.
    #[error("a later version of this program wrote the stored record: update this program")]
    Newer,
    /// Another process is using this part of the store and has not finished. Nothing was changed.
    #[error("another process is using the store and has not finished: try again")]
    Busy,
    /// The store's disk is full. Nothing was changed.
    #[error("there is no room where the store lies: free some")]
    Full,
    /// The store may not be read or written, or is read-only. Nothing was changed.
    #[error("the store may not be used: check its permissions, and that it is writable")]
    Denied,
    /// The store's folder or server is gone. Nothing was changed.
    #[error("the place where the store lies is gone: bring it back")]
    Gone,
}

/// The reason why a login could not be installed. Nothing was changed, unless
/// [`StoreTrouble`](InstallError::StoreTrouble) reports that the store timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Another identity holds this refresh token. If two identities used one refresh token, the server would take that
    /// for a reuse and revoke it.
    #[error("another session already owns this refresh token; sign in separately for this one")]
    HeldElsewhere,
    /// This refresh token is being presented, or may have been spent.
    #[error("this refresh token is in use or may be used up; sign in to get a new one")]
    Marked,
    /// The server refused this refresh token, which ended the grant of this session.
    #[error("the authorization server refused this refresh token; sign in to get a new one")]
    Refused,
    /// A refresh of this session has replaced this refresh token with a newer one.
    #[error("this session has already replaced this refresh token with a newer one; sign in to replace the session")]
    Replaced,
    /// This refresh token is dead. It is unknown whether it was replaced, refused or spent.
    #[error("this refresh token was replaced or refused, or may be used up; sign in to get a new one")]
    Dead,
    /// Another login or a logout came first. This login was not stored.
    #[error("another login or a logout came first; sign in again if it should be replaced")]
    Superseded,
    /// The person who signed in is not the one who is signed in here.
    #[error("another user signed in than the one of this session; sign in as the same user, or log out first")]
    OtherSubject,
    /// The store could not be written.
    #[error("the login could not be stored: {0}")]
    StoreTrouble(StoreFault),
    /// Another login of this identity is being stored by this session.
    #[error("another login is being stored; try again")]
    Busy,
    /// The runtime is shutting down.
    #[error("the session runtime is shutting down")]
    ShuttingDown,
}

/// The reason why a logout did not complete as requested. After [`NotDurable`](LogoutError::NotDurable) this process
/// still stops serving. After the others nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogoutError {
    /// The store could not be written. This process stops serving and keeps trying, but the next process may find the
    /// credential again.
    #[error("logged out in this process only: the store cannot be written ({0})")]
    NotDurable(StoreFault),
    /// A newer login was installed meanwhile. It was left in place.
    #[error("a newer login (version {}.{}) was left in place", .0.epoch.number(), .0.revision.number())]
    Superseded(Version),
    /// Another login or logout of this identity is being stored by this session.
    #[error("another login or logout is being stored; try again")]
    Busy,
}

/// The reason why an identity's renewal plan was not changed. Nothing was changed, unless
/// [`StoreTrouble`](ConfigureError::StoreTrouble) reports that the store timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// There is no grant to configure. No login was installed, or the identity was logged out.
    #[error("nobody is signed in here: sign in, and give the renewal plan with the login")]
    NotSignedIn,
    /// The refresh token is being presented, or is in doubt. Until that is over, the plan's source and spending cannot
    /// change.
    #[error("the refresh token is being used, or in doubt: try again when the refresh is over, or sign in again")]
    Marked,
    /// A login or logout came first. Its record was left unchanged.
    #[error("a newer login or logout came first: look at the session, then configure it again")]
    Superseded,
    /// The store could not be read or written.
    #[error("the renewal plan could not be stored: {0}")]
    StoreTrouble(StoreFault),
    /// A login, logout or another configuration of this identity is being stored by this session.
    #[error("another login, logout or configuration is being stored; try again")]
    Busy,
    /// The runtime is shutting down.
    #[error("the session runtime is shutting down")]
    ShuttingDown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_error_says_what_to_do_and_when() {
        let error = TokenError::new(Reason::Throttled).with_retry_after(Duration::from_millis(61_500));
        assert_eq!(error.to_string(), "the authorization server limits requests: try again later (in 61 s)");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(61_500)));
        assert!(error.is_transient() && !error.is_login_required());
        let error = TokenError::new(Reason::GrantEnded);
        assert_eq!(error.reason(), Reason::GrantEnded);
        assert_eq!(error.retry_after(), None);
        assert!(!error.is_transient() && error.is_login_required());
        assert_eq!(error.to_string(), Reason::GrantEnded.advice());
    }
}
