//! The error of a request.

use std::error::Error;
use std::time::Duration;

use tokenkeeper::{CallError, StepUp};

/// The reason why a request has no answer for its caller.
///
/// `Display` and [`source`](Error::source) are those of the inner error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<E> {
    /// The session has no token that the server accepts, or its tokens must not be sent to the request's URL.
    #[error(transparent)]
    Call(CallError),
    /// The inner service failed.
    #[error(transparent)]
    Inner(E),
}

impl<E> SendError<E> {
    /// The error of the session. `None` if the inner service failed.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            Self::Inner(_) => None,
        }
    }

    /// The error of the inner service. `None` if this is an error of the session.
    pub fn inner(&self) -> Option<&E> {
        match self {
            Self::Call(_) => None,
            Self::Inner(error) => Some(error),
        }
    }

    /// The demand for scopes that the token lacks, with everything that a login for them needs.
    pub fn step_up(&self) -> Option<&StepUp> {
        match self {
            Self::Call(CallError::StepUp(step_up)) => Some(step_up),
            Self::Call(_) | Self::Inner(_) => None,
        }
    }

    /// Returns `true` if only a new login helps ([`CallError::is_login_required`]).
    pub fn is_login_required(&self) -> bool {
        self.call().is_some_and(CallError::is_login_required)
    }

    /// Returns `true` if the session may have a token later without any action of a person or the host
    /// ([`CallError::is_transient`]). Returns `false` for every error of the inner service.
    pub fn is_transient(&self) -> bool {
        self.call().is_some_and(CallError::is_transient)
    }

    /// The time after which trying again makes sense, counted from when the error was returned ([`CallError::retry_after`]).
    /// `None` if it is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.call().and_then(CallError::retry_after)
    }

    /// The inner error in a box, for services with boxed errors. `downcast_ref` finds a [`CallError`] in it.
    ///
    /// ```
    /// use tokenkeeper::{CallError, Misdirected};
    /// use tokenkeeper_tower::SendError;
    ///
    /// let error: SendError<std::io::Error> = SendError::Call(CallError::Misdirected(Misdirected::NoUrl));
    /// let boxed = error.boxed();
    /// assert!(boxed.downcast_ref::<CallError>().is_some_and(|error| !error.is_login_required()));
    /// ```
    pub fn boxed(self) -> Box<dyn Error + Send + Sync>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        match self {
            Self::Call(error) => error.into(),
            Self::Inner(error) => error.into(),
        }
    }
}

impl<E> From<CallError> for SendError<E> {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
