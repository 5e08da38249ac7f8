//! The errors of a login that gets no client.

use std::time::Duration;

use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::issuer::RegistrationOrigin;

use super::clients::origin_words;
use crate::LoginReason;

/// The reason why a login has no client at an authorization server. It holds no secret. Texts of the server in it are bounded,
/// and contain no characters that act on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// No client is configured for this server, and it registers none that the host could use.
    #[error(
        "there is no client for the authorization server {issuer}, and it does not register one by itself: register a \
         client with its operator, and configure its identifier for this issuer{}",
        others(.configured)
    )]
    NoClient {
        /// The issuer.
        issuer: String,
        /// The issuers for which a client is configured. None of their clients is used here.
        configured: Vec<String>,
    },
    /// The redirect address of the login does not belong to the client.
    #[error(
        "the redirect address {redirect} does not belong to {}: use one of {listed}, or add this one there", origin_words(*.origin)
    )]
    RedirectNotListed {
        /// The kind of client.
        origin: RegistrationOrigin,
        /// The redirect address of the login.
        redirect: String,
        /// The addresses of the client, separated by commas.
        listed: String,
    },
    /// The server and the client have no authentication method in common that this version can use.
    #[error(
        "{} and the authorization server have no usable authentication method in common (the server lists {listed}): \
         configure a pre-registered client with a secret",
        origin_words(*.origin)
    )]
    NoSharedMethod {
        /// The kind of client.
        origin: RegistrationOrigin,
        /// The methods that the server lists, separated by commas.
        listed: String,
    },
    /// The secret of the pre-registered client has ended.
    #[error(
        "the secret of the client that is configured for {issuer} has expired: get a new one from the server's operator"
    )]
    SecretExpired {
        /// The issuer.
        issuer: String,
    },
    /// The redirect address of the login is neither `https` nor `http` on loopback.
    #[error("the redirect address is neither https nor http on this machine's loopback, or too long: use another one")]
    UnusableRedirect,
    /// The registration endpoint must not be used.
    #[error(
        "the registration endpoint that the authorization server names must not be used: it has to be a public https URL"
    )]
    UnsafeAddress,
    /// The server refused to register a client.
    #[error("the authorization server refused to register a client (status {status}{}{}): register one with its operator, and configure it",
        told(", error ", .error), told(", ", .description))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error code.
        error: Option<String>,
        /// The server's description, shortened and cleaned.
        description: Option<String>,
    },
    /// The server registered a client with which the login is not possible.
    #[error("the authorization server registered a client {0}: register one with its operator, and configure it")]
    Unfit(Unfit),
    /// The answer cannot be read.
    #[error(
        "the answer of the registration endpoint is no client information, or too large: try again, or configure a client"
    )]
    Unreadable,
    /// The registration endpoint could not be reached.
    #[error(
        "the registration endpoint of the authorization server could not be reached: check the network, and try again"
    )]
    Unreachable,
    /// The server has trouble, or asks to wait.
    #[error("the registration endpoint of the authorization server has trouble{}: try again later", of_status(.status))]
    ServerTrouble {
        /// The HTTP status, or `None` if the answer was lost.
        status: Option<u16>,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
    /// The store cannot be used.
    #[error("the store of client registrations cannot be used ({0})")]
    Store(StoreFault),
    /// The registration was aborted inside this process, by a defect or a dropped runtime.
    #[error("the registration was aborted inside this process: try again")]
    Aborted,
}

/// The reason why a client that a server registered cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The redirect address is not among the registered ones.
    #[error("without the redirect address of this login")]
    Redirect,
    /// The grant type of the login is not among the registered ones.
    #[error("that may not use the grant type of this login")]
    GrantType,
    /// The registered authentication method cannot be used.
    #[error("with an authentication method that this version does not support")]
    Method,
    /// The registered authentication method needs a secret, and there is none.
    #[error("whose authentication method needs a secret, and sent none")]
    Secret,
}

impl RegistrationError {
    /// The reason in the vocabulary of logins.
    pub fn reason(&self) -> LoginReason {
        match self {
            Self::NoClient { .. } | Self::RedirectNotListed { .. } | Self::NoSharedMethod { .. } => {
                LoginReason::NoClient
            }
            Self::SecretExpired { .. } => LoginReason::ClientRejected,
            Self::UnusableRedirect => LoginReason::MethodUnsupported,
            Self::UnsafeAddress => LoginReason::UnsafeAddress,
            Self::Refused { .. } | Self::Unfit(_) => LoginReason::RegistrationRefused,
            Self::Unreachable => LoginReason::Unreachable,
            Self::Unreadable | Self::ServerTrouble { .. } => LoginReason::ServerTrouble,
            Self::Store(_) => LoginReason::StoreTrouble,
            Self::Aborted => LoginReason::Aborted,
        }
    }

    /// The pause that the server asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ServerTrouble { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<StoreFault> for RegistrationError {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
    }
}

/// The end of the sentence about a server without a client, with the issuers that have a configured client.
fn others(configured: &[String]) -> String {
    if configured.is_empty() {
        return String::new();
    }
    format!(" (clients are configured for {} alone; an issuer is compared byte by byte)", configured.join(", "))
}

/// `text` after `before`, or nothing if there is no text.
fn told(before: &str, text: &Option<String>) -> String {
    text.as_ref().map(|text| format!("{before}{text}")).unwrap_or_default()
}

/// The status in parentheses, or nothing if the answer was lost.
fn of_status(status: &Option<u16>) -> String {
    status.map(|status| format!(" (status {status})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_reason_and_says_what_to_do() {
        let origin = RegistrationOrigin::MetadataDocument;
        let cases = [
            (
                RegistrationError::NoClient {
                    issuer: "https://a.example".into(),
                    configured: vec!["https://b.example".into()],
                },
                LoginReason::NoClient,
                "clients are configured for https://b.example alone",
            ),
            (
                RegistrationError::RedirectNotListed {
                    origin,
                    redirect: "http://127.0.0.1:1/".into(),
                    listed: "x".into(),
                },
                LoginReason::NoClient,
                "does not belong to the client ID metadata document",
            ),
            (
                RegistrationError::NoSharedMethod { origin, listed: "private_key_jwt".into() },
                LoginReason::NoClient,
                "private_key_jwt",
            ),
            (
                RegistrationError::SecretExpired { issuer: "https://a.example".into() },
                LoginReason::ClientRejected,
                "get a new one",
            ),
            (RegistrationError::UnusableRedirect, LoginReason::MethodUnsupported, "use another one"),
            (RegistrationError::UnsafeAddress, LoginReason::UnsafeAddress, "public https"),
            (
                RegistrationError::Refused {
                    status: 400,
                    error: Some("invalid_client_metadata".into()),
                    description: Some("no".into()),
                },
                LoginReason::RegistrationRefused,
                "(status 400, error invalid_client_metadata, no)",
            ),
            (RegistrationError::Unfit(Unfit::Redirect), LoginReason::RegistrationRefused, "redirect address"),
            (RegistrationError::Unreadable, LoginReason::ServerTrouble, "too large"),
            (RegistrationError::Unreachable, LoginReason::Unreachable, "check the network"),
            (
                RegistrationError::ServerTrouble { status: Some(503), retry_after: Some(Duration::from_secs(7)) },
                LoginReason::ServerTrouble,
                "(status 503)",
            ),
            (RegistrationError::from(StoreFault::Full), LoginReason::StoreTrouble, "free some"),
            (RegistrationError::Aborted, LoginReason::Aborted, "try again"),
        ];
        for (error, reason, part) in cases {
            assert_eq!(error.reason(), reason, "{error:?}");
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.retry_after().is_some(), matches!(error, RegistrationError::ServerTrouble { .. }));
        }
        let alone = RegistrationError::NoClient { issuer: "https://a.example".into(), configured: vec![] };
        assert!(!alone.to_string().contains("alone"), "{alone}");
    }
}
