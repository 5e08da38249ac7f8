//! The metadata documents, after every check that makes them usable.

use tokenkeeper_actors::values::Scopes;

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
}
