//! The steps of a script, each the result of one token request.

use std::time::Duration;

use tokenkeeper_actors::law::flight::Outcome;
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Refused, Tokens, Trouble};
use tokenkeeper_actors::values::{AccessToken, Moment, Reason, RefreshToken, Scopes, TokenKind, Validity};

/// The default lifetime of a token.
const HOUR: Duration = Duration::from_secs(3600);

/// The result of one token request, a [`Token`] or a [`Failure`].
#[derive(Clone, Debug)]
pub struct Step {
    what: What,
    takes: Duration,
}

#[derive(Clone, Debug)]
enum What {
    Token(Token),
    Failure(Failure),
}

/// A step that returns an access token. Made by [`token`].
///
/// ```
/// use std::time::Duration;
/// use tokenkeeper_testkit::scripted::{ScriptedSession, token};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let script = ScriptedSession::new().then(token("at-1").expires_in(Duration::from_secs(60)).scopes(["tools:read"]));
/// let lease = script.session().token().await?;
/// assert_eq!(lease.validity().lifetime(), Some(Duration::from_secs(60)));
/// assert_eq!(lease.scopes().iter().collect::<Vec<_>>(), ["tools:read"]);
/// # Ok::<(), tokenkeeper::TokenError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Token {
    access: AccessToken,
    kind: TokenKind,
    lifetime: Option<Duration>,
    scopes: Option<Scopes>,
    saved: bool,
    takes: Duration,
}

/// A step that returns an error. Made by [`failure`] or [`login_required`].
///
/// ```
/// use std::time::Duration;
/// use tokenkeeper_actors::values::Reason;
/// use tokenkeeper_testkit::scripted::{ScriptedSession, failure};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let minute = Duration::from_secs(60);
/// let script = ScriptedSession::new().then(failure(Reason::Throttled).retry_after(minute));
/// let error = script.session().token().await.unwrap_err();
/// assert_eq!((error.reason(), error.retry_after()), (Reason::Throttled, Some(minute)));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    reason: Reason,
    retry_after: Option<Duration>,
    takes: Duration,
}

/// Returns the access token `access` at once. It is a bearer token that lives for an hour, has no scopes of its own,
/// and is saved.
pub fn token(access: impl Into<String>) -> Token {
    Token {
        access: AccessToken::new(access),
        kind: TokenKind::Bearer,
        lifetime: Some(HOUR),
        scopes: None,
        saved: true,
        takes: Duration::ZERO,
    }
}

/// The authorization server ends the grant (`invalid_grant`). Callers get [`Reason::GrantEnded`] until the next login.
pub fn login_required() -> Failure {
    failure(Reason::GrantEnded)
}

/// Returns an error with this `reason`, at once.
///
/// If an answer of a token endpoint has that meaning, that answer is simulated, and the law draws its conclusions. A
/// rate limit leaves the refresh token alone, for example, and a lost answer puts it in doubt. Any other reason is only
/// returned to callers.
pub const fn failure(reason: Reason) -> Failure {
    Failure { reason, retry_after: None, takes: Duration::ZERO }
}

impl Token {
    /// Sets the lifetime, counted from the begin of the request. Default 1 h. Zero means *unknown*, as everywhere.
    ///
    /// In the last part of its life, at most a quarter, a caller still gets the token and triggers the next request.
    #[must_use]
    pub fn expires_in(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// Makes the lifetime unknown. The token is used until it is refused.
    #[must_use]
    pub fn without_expiry(self) -> Self {
        Self { lifetime: None, ..self }
    }

    /// Sets the granted scopes. Default: the previous ones, initially none.
    #[must_use]
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scopes: Some(Scopes::new(scopes)), ..self }
    }

    /// Binds the token to a key (RFC 9449). It is presented as `DPoP`, never as `Bearer`.
    #[must_use]
    pub fn dpop(self) -> Self {
        Self { kind: TokenKind::Dpop, ..self }
    }

    /// Lets the store [break](super::ScriptedSession::store_breaks) during the request, so that the token cannot be
    /// saved. It is served while it is good. Then callers get [`Reason::StoreTrouble`].
    #[must_use]
    pub fn unsaved(self) -> Self {
        Self { saved: false, ..self }
    }

    /// Sets the duration of the request, for which callers wait. Default: none.
    #[must_use]
    pub fn takes(self, span: Duration) -> Self {
        Self { takes: span, ..self }
    }
}

impl Failure {
    /// Sets the server's `Retry-After`. Default: none. Callers get at least this delay.
    #[must_use]
    pub const fn retry_after(self, span: Duration) -> Self {
        Self { retry_after: Some(span), ..self }
    }

    /// Sets the duration of the request, for which callers wait. Default: none.
    #[must_use]
    pub const fn takes(self, span: Duration) -> Self {
        Self { takes: span, ..self }
    }
}

impl From<Token> for Step {
    fn from(token: Token) -> Self {
        Self { takes: token.takes, what: What::Token(token) }
    }
}

impl From<Failure> for Step {
    fn from(failure: Failure) -> Self {
        Self { takes: failure.takes, what: What::Failure(failure) }
    }
}

impl Step {
    pub(super) fn takes(&self) -> Duration {
        self.takes
    }

    /// Whether the store breaks before the token can be saved.
    pub(super) fn breaks_store(&self) -> bool {
        matches!(&self.what, What::Token(token) if !token.saved)
    }

    /// The outcome for callers, if no answer of a token endpoint has this meaning.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let What::Failure(failure) = self.what else { return None };
        let Failure { reason, retry_after, .. } = failure;
        match failure.evidence() {
            Some(_) => None,
            None if reason.is_login_required() => Some(Outcome::LoginRequired(reason)),
            None => Some(Outcome::Failed(Trouble { reason, retry_after })),
        }
    }

    /// The evidence of a token request that begins at `now` and would return `refresh`.
    pub(super) fn evidence(&self, refresh: RefreshToken, now: Moment) -> Evidence {
        match &self.what {
            What::Token(token) => Evidence::Tokens(Box::new(Tokens {
                access: token.access.clone(),
                kind: token.kind,
                validity: Validity::new(now, token.lifetime),
                refresh: Some(refresh),
                granted: token.scopes.clone(),
                subject: None,
                binding: None,
            })),
            What::Failure(failure) => failure.evidence().unwrap_or(Evidence::NotSent(NotSent::Unbuildable)),
        }
    }
}

impl Failure {
    /// The wire evidence with this meaning, under the strict profile.
    fn evidence(self) -> Option<Evidence> {
        let refused = |status, error: Option<&str>| {
            let error = error.map(str::to_owned);
            Some(Evidence::Refused(Refused { status, error, retry_after: self.retry_after }))
        };
        match self.reason {
            Reason::GrantEnded => refused(400, Some("invalid_grant")),
            Reason::ClientRejected => refused(401, Some("invalid_client")),
            Reason::Throttled => refused(429, None),
            Reason::Unreachable => Some(Evidence::NotSent(NotSent::Unreachable)),
            Reason::Untrusted => Some(Evidence::NotSent(NotSent::Untrusted)),
            Reason::RequestRefused => Some(Evidence::NotSent(NotSent::Unbuildable)),
            Reason::InDoubt => Some(Evidence::Lost(Lost::Broken)),
            _ => None,
        }
    }
}
