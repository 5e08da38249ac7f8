//! The metadata documents, after every check that makes them usable.

use tokenkeeper_actors::values::Scopes;

use super::error::DiscoveryError;

/// The metadata of a protected resource (RFC 9728 section 2). Its `resource` has been compared with the URL that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtectedResource {
    /// The resource identifier, exactly as it was published. Token requests carry it unchanged (RFC 8707).
    pub resource: String,
    /// The issuers of the authorization servers, in the order of the document. Empty if the document lists none.
    pub authorization_servers: Vec<String>,
    /// The scopes the resource names, or `None` if it names none.
    pub scopes: Option<Scopes>,
    /// The name for people, if the document has one. Untrusted text.
    pub name: Option<String>,
    /// `dpop_signing_alg_values_supported`, or `None` if the document has no such list.
    pub dpop_algorithms: Option<Vec<String>>,
    /// Whether the resource accepts only tokens that are bound to a key (`dpop_bound_access_tokens_required`).
    pub requires_dpop: bool,
}

impl ProtectedResource {
    /// A resource that publishes no metadata, with the one authorization server `issuer`.
    pub fn unpublished(resource: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            authorization_servers: vec![issuer.into()],
            scopes: None,
            name: None,
            dpop_algorithms: None,
            requires_dpop: false,
        }
    }
}

/// The metadata of an authorization server (RFC 8414 section 2, OpenID Connect Discovery section 3). Its `issuer` has been
/// compared with the one that was asked, and each endpoint is a URL that may be used (law 24).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizationServer {
    /// The issuer identifier, byte by byte.
    pub issuer: String,
    /// The URL of the document, or `None` if the endpoints were configured or guessed (2025-03-26).
    pub document_url: Option<String>,
    /// The authorization endpoint.
    pub authorization_endpoint: Option<String>,
    /// The token endpoint.
    pub token_endpoint: String,
    /// The registration endpoint (RFC 7591).
    pub registration_endpoint: Option<String>,
    /// The revocation endpoint (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// The endpoint for pushed authorization requests (RFC 9126).
    pub pushed_endpoint: Option<String>,
    /// Whether the server takes pushed authorization requests only.
    pub requires_pushed: bool,
    /// The device authorization endpoint (RFC 8628).
    pub device_endpoint: Option<String>,
    /// The userinfo endpoint (OpenID Connect Discovery section 3). `None` also for one that is not safe, because a login does
    /// not need it.
    pub userinfo_endpoint: Option<String>,
    /// The scopes the server names, or `None` if it names none.
    pub scopes: Option<Scopes>,
    /// `token_endpoint_auth_methods_supported`, or `None` if the document has no such list. The default of RFC 8414 is then
    /// `client_secret_basic`.
    pub auth_methods: Option<Vec<String>>,
    /// `code_challenge_methods_supported`, or `None` if the document has no such list.
    pub challenge_methods: Option<Vec<String>>,
    /// Whether the server names itself in authorization responses (RFC 9207).
    pub names_issuer_in_response: bool,
    /// Whether the server accepts a client ID metadata document.
    pub accepts_metadata_documents: bool,
    /// `dpop_signing_alg_values_supported` (RFC 9449 section 5.1), or `None` if the document has no such list.
    pub dpop_algorithms: Option<Vec<String>>,
}

impl AuthorizationServer {
    /// A server that publishes no metadata, with the issuer identifier `issuer` and this token endpoint. The other members
    /// are absent, and the caller sets those that it knows.
    pub fn unpublished(issuer: impl Into<String>, token_endpoint: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            document_url: None,
            authorization_endpoint: None,
            token_endpoint: token_endpoint.into(),
            registration_endpoint: None,
            revocation_endpoint: None,
            pushed_endpoint: None,
            requires_pushed: false,
            device_endpoint: None,
            userinfo_endpoint: None,
            scopes: None,
            auth_methods: None,
            challenge_methods: None,
            names_issuer_in_response: false,
            accepts_metadata_documents: false,
            dpop_algorithms: None,
        }
    }

    /// Whether a code may be asked for with PKCE and S256 (MCP authorization, "Authorization Code Protection").
    ///
    /// A published document must state it. Where there is no document, because the host configured the endpoints or the
    /// server follows 2025-03-26 without metadata, nothing can be checked. The client uses S256 in any case, and that
    /// revision requires the server to support it.
    pub fn supports_pkce(&self) -> bool {
        match &self.challenge_methods {
            Some(methods) => methods.iter().any(|method| method == "S256"),
            None => self.document_url.is_none(),
        }
    }

    /// Makes sure that a code may be asked for with PKCE. Discovery itself accepts a server without PKCE, because the
    /// device flow has no code that could be stolen. Call this before a code is asked for.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::NoPkce`] unless the server [supports PKCE](Self::supports_pkce).
    pub fn require_pkce(&self) -> Result<(), DiscoveryError> {
        if self.supports_pkce() { Ok(()) } else { Err(DiscoveryError::NoPkce) }
    }
}

/// The result of a discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// The resource, or a stand-in for one that publishes no metadata.
    pub resource: ProtectedResource,
    /// The authorization server that was chosen among the servers that the resource lists.
    pub server: AuthorizationServer,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MCP authorization, "Authorization Code Protection": without the list, or without S256 in it, a client must refuse.
    #[test]
    fn a_document_must_offer_s256() {
        let mut server = AuthorizationServer::unpublished("https://as.example", "https://as.example/token");
        assert!(server.supports_pkce(), "nothing can be checked without a document");
        server.document_url = Some("https://as.example/.well-known/oauth-authorization-server".to_owned());
        let mut offers = |methods: Option<&[&str]>| {
            server.challenge_methods = methods.map(|list| list.iter().map(|method| (*method).to_owned()).collect());
            server.require_pkce()
        };
        assert_eq!(offers(Some(&["plain", "S256"])), Ok(()));
        for methods in [None, Some(&[] as &[&str]), Some(&["plain"]), Some(&["s256"])] {
            assert_eq!(offers(methods), Err(DiscoveryError::NoPkce));
        }
        server.document_url = None;
        server.challenge_methods = Some(vec!["plain".to_owned()]);
        assert!(!server.supports_pkce(), "the host states that there is no S256");
    }
}
