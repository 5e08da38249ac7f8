//! The reasons why there is no user context.

use std::time::Duration;

use crate::discovery::DiscoveryError;
use crate::{ProofError, Reason, Scopes, TokenError};

/// The reason why there is no user context. It holds no text of a server and no token.
///
/// After such an error the session still has its tokens. Tokens that a refresh within the fetch obtained are stored and served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The session has no token to ask with.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is bound to a key (DPoP), and there is no proof that the provider accepts.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The session does not belong to a runtime with an HTTP client. A session of the testkit is an example.
    #[error("the session belongs to no runtime that could ask a provider: open it with AuthRuntime::session")]
    NoRuntime,
    /// The metadata of the issuer names no userinfo endpoint that may receive the token, and no mapping names one.
    #[error(
        "the issuer's metadata names no userinfo endpoint: give the provider a mapping with its own requests \
         (RuntimeBuilder::user_mapping)"
    )]
    NoEndpoint,
    /// The provider describes its users to no access token, and the host has no mapping for it.
    #[error(
        "the provider has no address that describes its users to an access token: give it a mapping with requests to your own \
         service (RuntimeBuilder::user_mapping), or do without the user"
    )]
    NotDescribed,
    /// The metadata of the issuer cannot be obtained.
    #[error("the userinfo endpoint is not known: {0}")]
    Discovery(DiscoveryError),
    /// The provider has refused the session's token, and a refreshed one as well (401).
    #[error(
        "the provider does not accept the session's token for its user, not even a refreshed one: sign in with the scope \
         openid, or give the provider a mapping that its tokens are good for"
    )]
    Refused,
    /// The token lacks scopes for the user (403).
    #[error(
        "the token is not allowed to read the user: sign in with the scopes that the provider wants for it, such as openid"
    )]
    ScopeMissing {
        /// The scopes that the provider named. Empty if it named none.
        scopes: Scopes,
    },
    /// The answer is about another subject than the session's login (OpenID Connect Core section 5.3.2). It was dropped.
    #[error("the provider's answer is about another person than the one who signed in, and was dropped: sign in again")]
    SubjectMismatch,
    /// The answer has no subject at the places that the mapping names.
    #[error("the provider's answer names no subject: check the mapping's field `subject`")]
    NoSubject,
    /// The answer is no JSON document that the mapping can be applied to. That includes a redirect, which is never followed.
    #[error("the provider's answer (status {status}) cannot be read: check the address in the mapping")]
    Unreadable {
        /// Its HTTP status.
        status: u16,
    },
    /// The answer is a signed or encrypted JWT, whose signature is not verified here. No claim in it is used.
    #[error(
        "the provider's answer is a JWT (application/jwt), which is not read: register the client without \
         userinfo_signed_response_alg and userinfo_encrypted_response_alg, or give the provider another mapping"
    )]
    Signed,
    /// The answer is longer than 64 KiB.
    #[error("the provider's answer is longer than 64 KiB: give the provider a mapping with requests that ask for less")]
    TooLarge,
    /// The provider could not be reached, or its answer was lost.
    #[error("the provider could not be reached for the user: check the network, and try again")]
    Unreachable,
    /// A secure connection to the provider could not be established.
    #[error(
        "no secure connection to the provider could be established: check the certificates that this program trusts"
    )]
    Untrusted,
    /// The address that the mapping or the server names may not be asked, because the requests of this session may not connect to
    /// it, or because it is plain http.
    #[error("the address for the user may not receive a token: it must be https, and public if a server named it")]
    UnsafeAddress,
    /// The provider has trouble, or asks for a pause.
    #[error("the provider cannot answer for the user now (status {status}): try again later")]
    ServerTrouble {
        /// The HTTP status, or the status that stands for the provider's own error.
        status: u16,
        /// The pause that it asked for.
        retry_after: Option<Duration>,
    },
    /// The provider's own error within a successful answer, such as Slack's `ok: false`.
    #[error("the provider refuses to describe the user in its answer: check the session's scopes at the provider")]
    ErrorInAnswer,
    /// The session's record cannot be read, or its login could not be stored yet. The tokens of such a login are served
    /// meanwhile (law 21), but the record states where the person is described.
    #[error("the session's record cannot be read, or its login could not be stored yet: check the credential store")]
    StoreTrouble,
    /// A login or a logout came in between at each attempt.
    #[error("the session's login changed while the user was asked for: ask again")]
    Superseded,
    /// The caller's time-out has passed. The request goes on for the next caller.
    #[error("the user was not known in time: ask again")]
    DeadlinePassed,
    /// Too many callers wait for this session's user.
    #[error("too many callers wait for the user of this session: ask again later")]
    TooManyWaiters,
    /// The tokio runtime has ended, or the fetch broke off.
    #[error("the request for the user broke off: ask again")]
    Aborted,
}

impl UserError {
    /// Returns `true` if only a new login helps.
    pub fn is_login_required(&self) -> bool {
        match self {
            Self::Token(error) => error.is_login_required(),
            Self::Proof(error) => matches!(error, ProofError::NoKey | ProofError::NotBound),
            Self::ScopeMissing { .. } | Self::SubjectMismatch => true,
            _ => false,
        }
    }

    /// Returns `true` if asking again later may help without any action of a person or the host.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Token(error) => error.is_transient(),
            Self::Discovery(error) => error.is_transient(),
            Self::Unreachable
            | Self::Untrusted
            | Self::ServerTrouble { .. }
            | Self::StoreTrouble
            | Self::Superseded
            | Self::DeadlinePassed
            | Self::TooManyWaiters
            | Self::Aborted => true,
            _ => false,
        }
    }

    /// The time after which asking again makes sense, counted from when the error was returned. `None` if it is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Token(error) => error.retry_after(),
            Self::ServerTrouble { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The session's own reason, if it has no token.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Token(error) => Some(error.reason()),
            _ => None,
        }
    }
}
