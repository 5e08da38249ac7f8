//! The errors of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Misdirected;
use crate::discovery::Challenge;
use crate::{
    AuthSession, Generation, Lease, LoginCause, LoginMethod, LoginProgress, LoginWish, OperationKey, ProofError,
    Scopes, SignInError, TokenError,
};

/// The reason why a request is not sent, or not sent again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no token, or the server accepts none.
    #[error("{error}")]
    Token {
        /// The reason, with the time for another attempt.
        error: TokenError,
        /// The challenge of the server's last refusal, if it sent one. A login asks for its scopes.
        challenge: Option<Arc<Challenge>>,
    },
    /// The token lacks scopes, which a login for more of them may bring. A refresh does not help.
    #[error(transparent)]
    StepUp(#[from] StepUp),
    /// The request would carry the token to a URL that it is not meant for.
    #[error(transparent)]
    Misdirected(#[from] Misdirected),
    /// The token is bound to a key (DPoP, RFC 9449), and there is no proof of possession that the server accepts. Such a token
    /// is never presented as a bearer token.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl CallError {
    /// Returns `true` if only a new login helps. Returns `false` for a [`StepUp`], which is a login for more scopes.
    pub fn is_login_required(&self) -> bool {
        matches!(self, Self::Proof(ProofError::NoKey | ProofError::NotBound))
            || self.token_error().is_some_and(TokenError::is_login_required)
    }

    /// Returns `true` if the same call may succeed later without any action of a person or the host.
    pub fn is_transient(&self) -> bool {
        self.token_error().is_some_and(TokenError::is_transient)
    }

    /// The time after which trying again makes sense, counted from when the error was returned. `None` if it is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.token_error().and_then(TokenError::retry_after)
    }

    /// The server's challenge, for the scopes of a login. It is untrusted text.
    pub fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Token { challenge, .. } => challenge.as_deref(),
            Self::StepUp(step_up) => Some(step_up.challenge()),
            Self::Misdirected(_) | Self::Proof(_) => None,
        }
    }

    /// The session's own error, if it has no token.
    pub fn token_error(&self) -> Option<&TokenError> {
        match self {
            Self::Token { error, .. } => Some(error),
            Self::StepUp(_) | Self::Misdirected(_) | Self::Proof(_) => None,
        }
    }
}

/// A server's demand for scopes that the token lacks (`insufficient_scope`, RFC 6750 section 3.1), with everything that a
/// login for them needs.
///
/// It holds no token. `Display` names none of the scopes, because the server chose them.
///
/// A host with one person begins the login and shows it, takes the browser's answer, and makes the call again:
///
/// ```
/// # #[cfg(feature = "loopback")]
/// # mod host {
/// use std::error::Error;
/// use std::time::Duration;
///
/// use tokenkeeper::callback::{LoopbackListener, LoopbackOptions, Outcome};
/// use tokenkeeper::{AuthSession, LoginMethod, LoginProgress, OfferedPrompt, StepUp};
///
/// async fn ask(session: &AuthSession, step_up: &StepUp, show: fn(&OfferedPrompt)) -> Result<(), Box<dyn Error>> {
///     let timeout = Duration::from_secs(615); // a little longer than a prompt lives
///     let listener = LoopbackListener::bind(LoopbackOptions::default()).await?;
///     let method = LoginMethod::Redirect(listener.redirect_uri().to_owned());
///     match step_up.begin(method, timeout).await? {
///         LoginProgress::Offered { attempt, key, offer, is_first } => {
///             if is_first {
///                 show(&offer.prompt); // otherwise another caller has shown it
///             }
///             let keys = [key];
///             tokio::select! {
///                 received = listener.next(&keys) => {
///                     let result = session.complete_login(received.callback().clone(), timeout).await;
///                     received.respond(Outcome::of(result)).await;
///                     result?;
///                 }
///                 ended = session.login_done(attempt, timeout) => drop(ended?),
///             }
///         }
///         LoginProgress::Elsewhere { attempt } => drop(session.login_done(attempt, timeout).await?),
///         LoginProgress::SignedIn | LoginProgress::Cancelled => {}
///     }
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, thiserror::Error)]
#[error("the token lacks scopes that the server requires for this operation: a login for them is needed (step-up)")]
pub struct StepUp {
    session: AuthSession,
    refused: Generation,
    operation: OperationKey,
    challenge: Arc<Challenge>,
    /// Further scopes that the host knows to be needed.
    further: Scopes,
}

impl StepUp {
    pub(super) fn new(session: AuthSession, lease: &Lease, operation: OperationKey, challenge: Challenge) -> Self {
        let (refused, challenge) = (lease.generation(), Arc::new(challenge));
        Self { session, refused, operation, challenge, further: Scopes::default() }
    }

    /// Asks for these scopes, too. A challenge may name no scopes. The challenges of the MCP SDK for Python are an example.
    /// Without further scopes, the login would ask the person only for the scopes that the session has already.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &Scopes) -> Self {
        self.further = self.further.union(scopes);
        self
    }

    /// The scopes that the login asks for in addition to those of the session. They come from the server's challenge and from
    /// [`with_scopes`](Self::with_scopes). Empty if there are none.
    pub fn scopes(&self) -> Scopes {
        self.challenge.scopes().unwrap_or_default().union(&self.further)
    }

    /// The generation of the lease that lacks the scopes.
    pub fn refused(&self) -> Generation {
        self.refused
    }

    /// The operation that was refused.
    pub fn operation(&self) -> OperationKey {
        self.operation
    }

    /// The server's challenge. It is untrusted text.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// Begins the login for these scopes, as [`AuthSession::step_up`] does. The same call is made again after it.
    ///
    /// # Errors
    ///
    /// As [`AuthSession::step_up`].
    ///
    /// # Cancellation
    ///
    /// As [`AuthSession::step_up`].
    pub async fn begin(&self, method: LoginMethod, timeout: Duration) -> Result<LoginProgress, SignInError> {
        let wish = LoginWish { scopes: self.scopes(), method, same_subject: true, extends: true };
        let cause = LoginCause::Operation { refused: Some(self.refused), operation: self.operation };
        self.session.begin_login(wish, cause, timeout).await
    }
}

impl fmt::Debug for StepUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepUp")
            .field("identity", self.session.identity())
            .field("operation", &self.operation)
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}
