//! The reasons why discovery finds no authorization server.

use tokenkeeper_actors::values::LoginReason;

/// The reason why there is no usable metadata. `Display` gives the problem and the remedy, and repeats nothing that a server
/// wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The metadata names another resource than the one that was asked for (RFC 9728 section 3.3).
    #[error(
        "the metadata found belongs to another resource and was not used: check the server's address, or report it to its operator"
    )]
    ResourceMismatch,
    /// The metadata names another issuer than the one that was asked for (RFC 8414 section 3.3).
    #[error(
        "the metadata names another issuer than the one asked for and was not used: report it to the operator, or allow the alias"
    )]
    IssuerMismatch,
    /// The authorization server does not state that it supports PKCE with S256.
    #[error(
        "the authorization server does not state that it supports PKCE with S256, so a code could be stolen: report it to the operator"
    )]
    NoPkce,
    /// A URL that a server named may not be used.
    #[error(
        "the URL in `{member}` may not be used, because of its scheme, its form or the address it leads to: check the server, or widen the reach if it is in your own network"
    )]
    UnsafeAddress {
        /// The member, parameter or header that holds the URL.
        member: &'static str,
    },
    /// A document is not JSON, or lacks a member that is needed, or has it twice or in another type.
    #[error("the metadata cannot be read{}: report it to the server's operator", at_member(.member))]
    Unreadable {
        /// The member, or `None` if the document is no JSON object.
        member: Option<&'static str>,
    },
    /// A document is longer than 64 KiB.
    #[error("the metadata is longer than 64 KiB and was not read: report it to the server's operator")]
    TooLarge,
    /// A document was redirected more than three times.
    #[error("the metadata was redirected too often: report it to the server's operator")]
    TooManyRedirects,
    /// The resource lists no authorization server.
    #[error("the server lists no authorization server: report it to its operator, or name the metadata yourself")]
    NoAuthorizationServer,
    /// No connection was established, or no complete answer came in time.
    #[error("the server of the metadata cannot be reached: check the network and the address, then try again")]
    Unreachable,
    /// The connection is not secure, for example because of a certificate that is not trusted.
    #[error(
        "no secure connection to the server of the metadata could be established: check its certificate and your trusted roots"
    )]
    Untrusted,
    /// The server answered that it has trouble.
    #[error("the server of the metadata answered with status {status}: try again later")]
    ServerTrouble {
        /// The status of the answer.
        status: u16,
    },
    /// There is no document at any of the places where it belongs.
    #[error(
        "there is no metadata where it belongs (status {status}): check the server's address, or name the metadata yourself"
    )]
    NotFound {
        /// The status of the last answer.
        status: u16,
    },
    /// There is no document at the URL that the challenge names. No other place is tried, because the server has decided.
    #[error(
        "there is no metadata at the URL that the server names (status {status}): report it to the operator, or name the metadata yourself"
    )]
    NamedNotFound {
        /// The status of the answer.
        status: u16,
    },
    /// The HTTP client cannot keep to public addresses ([`HttpClient`](crate::http::HttpClient)), so a server could lead it
    /// into this network.
    #[error("the HTTP client cannot keep to public addresses: use one that can, or allow it")]
    ReachNotEnforced,
    /// The look-up was dropped with its tokio runtime, or there is no tokio runtime.
    #[error("the look-up broke off inside this process: try again")]
    Aborted,
}

impl DiscoveryError {
    /// The reason in the vocabulary of logins.
    pub const fn reason(self) -> LoginReason {
        match self {
            Self::ResourceMismatch => LoginReason::ResourceMismatch,
            Self::IssuerMismatch => LoginReason::IssuerMismatch,
            Self::NoPkce => LoginReason::NoPkce,
            Self::UnsafeAddress { .. } | Self::ReachNotEnforced => LoginReason::UnsafeAddress,
            Self::Unreadable { .. } | Self::TooLarge | Self::TooManyRedirects => LoginReason::MetadataUnusable,
            Self::NoAuthorizationServer | Self::NotFound { .. } | Self::NamedNotFound { .. } => {
                LoginReason::NoAuthorizationServer
            }
            Self::Unreachable | Self::Untrusted => LoginReason::Unreachable,
            Self::ServerTrouble { .. } => LoginReason::ServerTrouble,
            Self::Aborted => LoginReason::Aborted,
        }
    }

    /// One sentence for people, with the problem and the remedy. It is the text of `Display`.
    pub fn advice(self) -> String {
        self.to_string()
    }

    /// Whether another look-up may succeed although nothing was changed.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::ServerTrouble { .. } | Self::Aborted)
    }
}

fn at_member(member: &Option<&'static str>) -> String {
    member.map_or_else(|| " as a JSON object".to_owned(), |member| format!(" at `{member}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do_and_has_a_reason() {
        let cases = [
            (DiscoveryError::ResourceMismatch, "resource_mismatch"),
            (DiscoveryError::IssuerMismatch, "issuer_mismatch"),
            (DiscoveryError::NoPkce, "no_pkce"),
            (DiscoveryError::UnsafeAddress { member: "token_endpoint" }, "unsafe_address"),
            (DiscoveryError::ReachNotEnforced, "unsafe_address"),
            (DiscoveryError::Unreadable { member: None }, "metadata_unusable"),
            (DiscoveryError::TooLarge, "metadata_unusable"),
            (DiscoveryError::TooManyRedirects, "metadata_unusable"),
            (DiscoveryError::NoAuthorizationServer, "no_authorization_server"),
            (DiscoveryError::NotFound { status: 404 }, "no_authorization_server"),
            (DiscoveryError::NamedNotFound { status: 404 }, "no_authorization_server"),
            (DiscoveryError::Unreachable, "unreachable"),
            (DiscoveryError::Untrusted, "unreachable"),
            (DiscoveryError::ServerTrouble { status: 503 }, "server_trouble"),
            (DiscoveryError::Aborted, "aborted"),
        ];
        for (error, reason) in cases {
            assert_eq!(error.reason().as_str(), reason);
            assert!(error.advice().contains(": "), "{error}");
            if error.is_transient() {
                assert!(error.reason().is_transient(), "{error}");
            }
        }
        assert!(DiscoveryError::Unreadable { member: Some("issuer") }.to_string().contains("`issuer`"));
        assert!(DiscoveryError::Unreadable { member: None }.to_string().contains("JSON object"));
        assert!(DiscoveryError::UnsafeAddress { member: "Location" }.to_string().contains("`Location`"));
    }
}
