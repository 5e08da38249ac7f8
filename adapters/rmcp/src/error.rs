//! The errors of a session inside those of rmcp.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::service::ClientInitializeError;
use rmcp::transport::streamable_http_client::{AuthRequiredError, InsufficientScopeError, StreamableHttpError};
use tokenkeeper::discovery::Challenge;
use tokenkeeper::{CallError, Reason, StepUp};

/// The reason why the session did not send a request, or did not send it again.
///
/// It is inside the [`StreamableHttpError::Io`] of the request, and [`session_error`] finds it there. Its
/// [`source`](Error::source) is rmcp's [`AuthRequiredError`] where a login is required and rmcp's
/// [`InsufficientScopeError`] for a [`StepUp`], so that rmcp's own predicates on its errors hold. The text of their
/// challenge is the server's, and is empty if the server sent none.
///
/// Neither `Debug` nor `Display` shows a token. `Display` repeats no text of the server.
#[derive(Clone)]
pub struct SessionError {
    error: CallError,
    source: Option<Arc<Source>>,
}

/// The error of rmcp that has the same meaning.
enum Source {
    AuthRequired(AuthRequiredError),
    InsufficientScope(InsufficientScopeError),
}

impl SessionError {
    /// `challenge` is the value of the last refusal's `WWW-Authenticate` header, if rmcp kept it.
    pub(crate) fn new(error: CallError, challenge: Option<String>) -> Self {
        let challenge = challenge.unwrap_or_default();
        let source = match &error {
            CallError::StepUp(step_up) => {
                let scopes = step_up.scopes();
                let required = (!scopes.is_empty()).then(|| scopes.iter().collect::<Vec<_>>().join(" "));
                Some(Source::InsufficientScope(InsufficientScopeError::new(challenge, required)))
            }
            error if error.is_login_required() => Some(Source::AuthRequired(AuthRequiredError::new(challenge))),
            _ => None,
        };
        Self { error, source: source.map(Arc::new) }
    }

    /// The error of the call.
    pub fn call_error(&self) -> &CallError {
        &self.error
    }

    /// The reason from tokenkeeper's fixed vocabulary. `None` if the session was not asked for a token, or has one that cannot
    /// be used for the request.
    pub fn reason(&self) -> Option<Reason> {
        self.error.token_error().map(tokenkeeper::TokenError::reason)
    }

    /// Returns `true` if only a new login helps. Returns `false` for a [`StepUp`], which is a login for more scopes.
    pub fn is_login_required(&self) -> bool {
        self.error.is_login_required()
    }

    /// Returns `true` if the same request may succeed later without any action of a person or the host.
    pub fn is_transient(&self) -> bool {
        self.error.is_transient()
    }

    /// The time after which trying again makes sense, counted from when the error was returned. `None` if it is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.error.retry_after()
    }

    /// The server's challenge, for the scopes of a login. It is untrusted text. `None` if there was none.
    pub fn challenge(&self) -> Option<&Challenge> {
        self.error.challenge()
    }

    /// The server's demand for more scopes, if that is the reason. It begins the login for them.
    pub fn step_up(&self) -> Option<&StepUp> {
        match &self.error {
            CallError::StepUp(step_up) => Some(step_up),
            _ => None,
        }
    }

    /// The error in the form that rmcp's transport accepts. It is never `AuthRequired`, which ends a standing stream for ever.
    pub(crate) fn into_rmcp<E: Error + Send + Sync + 'static>(self) -> StreamableHttpError<E> {
        StreamableHttpError::Io(io::Error::other(self))
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionError").field(&self.error).finish()
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &**self.source.as_ref()? {
            Source::AuthRequired(error) => Some(error),
            Source::InsufficientScope(error) => Some(error),
        }
    }
}

/// Returns the session's error inside `error`, which may be any error that rmcp returns or that a host wraps around one.
///
/// `None` means that the request failed for another reason.
///
/// ```
/// # fn handle(error: rmcp::ServiceError) {
/// match tokenkeeper_rmcp::session_error(&error) {
///     Some(session) if session.is_login_required() => { /* begin a login */ }
///     Some(session) if session.is_transient() => { /* try again after session.retry_after() */ }
///     Some(_) | None => { /* show it */ }
/// }
/// # }
/// ```
pub fn session_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e SessionError> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<SessionError>() {
            return Some(found);
        }
        next = below(current);
    }
    None
}

/// The error inside `error`. Two types in the chain do not return the error that they hold as their source.
fn below<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    // The source of an I/O error is the one of the error that it holds.
    if let Some(held) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return Some(held);
    }
    match error.downcast_ref::<ClientInitializeError>() {
        Some(ClientInitializeError::TransportError { error, .. }) => Some(error),
        Some(ClientInitializeError::LegacyFallbackFailed { fallback, .. }) => Some(&**fallback),
        _ => error.source(),
    }
}
