//! The errors of this crate's public types.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::{runtime, values};

use crate::discovery::DiscoveryError;
use crate::user::UserMappingError;
use crate::{InstallError, LoginUrl, Reason, StoreFault};

/// The reason why a session has no token for a caller.
///
/// The error is opaque. It carries a [`Reason`] from a fixed vocabulary and the time after which trying again makes
/// sense. It holds no secret and no text of a server. `Display` says in one sentence what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct TokenError {
    error: values::TokenError,
    interaction: Option<Arc<LoginUrl>>,
}

impl TokenError {
    /// The reason. Its name ([`Reason::as_str`]) is stable and may be logged, counted and matched on.
    pub fn reason(&self) -> Reason {
        self.error.reason()
    }

    /// Returns `true` if only a new login helps.
    pub fn is_login_required(&self) -> bool {
        self.error.is_login_required()
    }

    /// Returns `true` if trying again later may help without any action of a person or the host.
    pub fn is_transient(&self) -> bool {
        self.error.is_transient()
    }

    /// The time after which trying again makes sense, counted from when the error was returned. `None` if it is not
    /// known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.error.retry_after()
    }

    /// The page that a person has to open before the session gets a token, if the token endpoint has named one with its refusal
    /// (`interaction_required` and the like). The reason is [`SignOnRequired`](Reason::SignOnRequired) then. It is an `https`
    /// URL in printable ASCII. The host shows it, with the server's name, and never opens it unasked. The library does neither.
    ///
    /// A server has chosen the page, and only grants without a login have one ([`machine`](crate::machine)). `None` in a
    /// process that has not made the request itself.
    pub fn interaction_url(&self) -> Option<&LoginUrl> {
        self.interaction.as_deref()
    }

    /// The same error, with the page that a person has to open.
    pub(crate) fn with_interaction(self, interaction: Option<Arc<LoginUrl>>) -> Self {
        Self { interaction, ..self }
    }
}

impl From<values::TokenError> for TokenError {
    fn from(error: values::TokenError) -> Self {
        Self { error, interaction: None }
    }
}

/// The reason why a runtime could not be built or started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No HTTP client was given, and there is no default one.
    #[error("there is no HTTP client: give one with RuntimeBuilder::http, or turn on the feature `reqwest`")]
    NoHttpClient,
    /// The default HTTP client could not be built.
    #[error("the HTTP client could not be built: {0}")]
    HttpClient(String),
    /// The host's configuration of the discovery is not acceptable.
    #[error("the discovery is not configured: {0}")]
    Discovery(String),
    /// A mapping of users cannot be used.
    #[error("a mapping of users cannot be used: {0}")]
    UserMapping(UserMappingError),
    /// The store cannot be used.
    #[error("the credential store cannot be used ({0}): check that it exists and may be read and written")]
    Store(StoreFault),
    /// The runtime could not be started, because there is no tokio runtime or no randomness, it runs already, or it was
    /// shut down.
    #[error("{0}")]
    NotStarted(String),
}

impl From<runtime::BuildError> for BuildError {
    fn from(error: runtime::BuildError) -> Self {
        match error {
            runtime::BuildError::Store(fault) => Self::Store(fault),
            error => Self::NotStarted(error.to_string()),
        }
    }
}

/// The reason why a login was not stored. Nothing was changed, unless the store timed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// A URL of the issuer's settings must not receive secrets.
    #[error("the {member} is no https URL (or http on loopback) that stands alone: secrets are not sent there")]
    Endpoint {
        /// Which URL: `issuer`, `token endpoint` or `revocation endpoint`.
        member: &'static str,
    },
    /// The name is not one that a provider can have.
    #[error(
        "the provider's name must be 1 to 64 lower-case letters and digits, with single hyphens or underscores between them, and \
         begin with a letter"
    )]
    Provider,
    /// A token is empty, or has characters that no token may have (RFC 6749 appendix A).
    #[error(
        "the {member} is empty, or contains a line end or another character that no token has: copy the token whole, and \
         nothing beside it"
    )]
    MalformedToken {
        /// Which token: `access token` or `refresh token`.
        member: &'static str,
    },
    /// The login carries neither a refresh token nor an access token.
    #[error("the login carries no token: give a refresh token, an access token, or both")]
    NoToken,
    /// The tokens are to be bound to a key (DPoP), and this program can make no key.
    #[error("no key can be made for the session's tokens (DPoP): build the program with the feature `dpop`")]
    NoProofs,
    /// No authorization server was found for a grant without a login of a person.
    #[error(transparent)]
    Discovery(DiscoveryError),
    /// The session did not accept the login.
    #[error(transparent)]
    Refused(#[from] InstallError),
}
