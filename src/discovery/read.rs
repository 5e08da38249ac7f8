//! Checks metadata documents. The functions are pure: from the bytes and the question, they compute a document or an error.

use std::slice;

use tokenkeeper_actors::values::{ResourceUri, Scopes};
use url::Url;

use super::documents::{AuthorizationServer, ProtectedResource};
use super::error::DiscoveryError;
use super::json::Object;
use crate::grant::may_receive_secrets;
use crate::http::Reach;

/// The maximum number of authorization servers that are read of a resource.
const MAX_SERVERS: usize = 16;

/// The maximum number of items that are read of any other list.
const MAX_ITEMS: usize = 256;

/// The maximum length of an issuer, in bytes.
const MAX_ISSUER: usize = 2 * 1024;

/// The maximum length of a scope or a method, in bytes.
const MAX_WORD: usize = 256;

/// The list of algorithms for proofs, in the metadata of authorization servers and of resources (RFC 9449 section 5.1, RFC
/// 9728 section 2).
const DPOP_ALGORITHMS: &str = "dpop_signing_alg_values_supported";

/// The maximum length of the name for people, in bytes.
const MAX_NAME: usize = 1024;

/// Reads the metadata of `resource` (RFC 9728 section 2) from the bytes of the document. [`Discovery`](super::Discovery) does
/// this with each document. This function is for programs that fetch or test documents themselves.
///
/// # Errors
///
/// [`DiscoveryError::Unreadable`] and [`DiscoveryError::ResourceMismatch`].
pub fn read_protected_resource(bytes: &[u8], resource: &ResourceUri) -> Result<ProtectedResource, DiscoveryError> {
    protected_resource(bytes, slice::from_ref(resource))
}

/// Reads the metadata of the authorization server `issuer` (RFC 8414 section 2, OpenID Connect Discovery section 3), found at
/// `document_url`, from the bytes of the document. Each endpoint must be within `reach`.
///
/// # Errors
///
/// [`DiscoveryError::Unreadable`], [`DiscoveryError::IssuerMismatch`] and [`DiscoveryError::UnsafeAddress`].
pub fn read_authorization_server(
    bytes: &[u8],
    issuer: &str,
    document_url: &Url,
    reach: Reach,
) -> Result<AuthorizationServer, DiscoveryError> {
    let expected = ExpectedIssuer { issuer: Some(issuer), aliases: Vec::new() };
    authorization_server(bytes, &expected, document_url, reach)
}

/// Reads a resource's metadata. It may name one of `identifiers` (section 3.3), which are the
/// resource and the identifier that the URL was built from.
///
/// Two spellings of one canonical URI are equal, because the specification's own canonical form differs from that of the URL
/// parser in the slash of a bare host. The query may be absent in the document, as in the `resource` parameter. The
/// identifier is kept as it was published.
pub(crate) fn protected_resource(
    bytes: &[u8],
    identifiers: &[ResourceUri],
) -> Result<ProtectedResource, DiscoveryError> {
    let object = Object::of(bytes)?;
    let resource = object.required_text("resource")?;
    let named = ResourceUri::parse(resource).map_err(|_| DiscoveryError::ResourceMismatch)?;
    let is_named = |identifier: &ResourceUri| named == *identifier || named.as_str() == identifier.without_query();
    if !identifiers.iter().any(is_named) {
        return Err(DiscoveryError::ResourceMismatch);
    }
    // A single string in place of the list would silently be no server.
    if object.is_no_array("authorization_servers")? {
        return Err(DiscoveryError::Unreadable { member: Some("authorization_servers") });
    }
    let servers = object.texts("authorization_servers", MAX_SERVERS, MAX_ISSUER)?;
    Ok(ProtectedResource {
        resource: resource.to_owned(),
        authorization_servers: servers.unwrap_or_default(),
        scopes: scopes(&object)?,
        name: object.text("resource_name")?.filter(|name| name.len() <= MAX_NAME).map(str::to_owned),
        dpop_algorithms: object.texts(DPOP_ALGORITHMS, MAX_ITEMS, MAX_WORD)?,
        requires_dpop: object.is_true("dpop_bound_access_tokens_required")?,
    })
}

/// The issuers that a document may name.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedIssuer<'a> {
    /// The identifier that the URL was built from. `None` accepts any, because the host named the document's URL.
    pub(crate) issuer: Option<&'a str>,
    /// Other spellings that the host allows for this issuer.
    pub(crate) aliases: Vec<&'a str>,
}

impl ExpectedIssuer<'_> {
    /// Compares code point by code point, without any normalization (RFC 8414 section 3.3 and section 4).
    fn is(&self, documented: &str) -> bool {
        self.issuer.is_none_or(|issuer| issuer == documented) || self.aliases.contains(&documented)
    }
}

/// Reads an authorization server's metadata.
///
/// A member of the wrong type is unreadable if it is needed, and else counts as absent. An unsafe endpoint makes the
/// document unusable even if the endpoint is optional, because a document with such a URL is an attack or a mistake. Only
/// an unsafe userinfo endpoint counts as absent.
pub(crate) fn authorization_server(
    bytes: &[u8],
    expected: &ExpectedIssuer<'_>,
    document_url: &Url,
    reach: Reach,
) -> Result<AuthorizationServer, DiscoveryError> {
    let object = Object::of(bytes)?;
    let issuer = object.required_text("issuer")?;
    if !expected.is(issuer) {
        return Err(DiscoveryError::IssuerMismatch);
    }
    if issuer.len() > MAX_ISSUER || issuer_url(issuer).is_none() {
        return Err(DiscoveryError::UnsafeAddress { member: "issuer" });
    }
    let endpoint = |member: &'static str| {
        let url = object.text(member)?;
        url.map(|url| safe(url, reach, member)).transpose()
    };
    object.required_text("token_endpoint")?;
    let token_endpoint = endpoint("token_endpoint")?;
    Ok(AuthorizationServer {
        issuer: issuer.to_owned(),
        document_url: Some(document_url.as_str().to_owned()),
        authorization_endpoint: endpoint("authorization_endpoint")?,
        token_endpoint: token_endpoint.unwrap_or_default(),
        registration_endpoint: endpoint("registration_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        pushed_endpoint: endpoint("pushed_authorization_request_endpoint")?,
        requires_pushed: object.is_true("require_pushed_authorization_requests")?,
        device_endpoint: endpoint("device_authorization_endpoint")?,
        userinfo_endpoint: endpoint("userinfo_endpoint").ok().flatten(),
        scopes: scopes(&object)?,
        auth_methods: object.texts("token_endpoint_auth_methods_supported", MAX_ITEMS, MAX_WORD)?,
        challenge_methods: object.texts("code_challenge_methods_supported", MAX_ITEMS, MAX_WORD)?,
        names_issuer_in_response: object.is_true("authorization_response_iss_parameter_supported")?,
        accepts_metadata_documents: object.is_true("client_id_metadata_document_supported")?,
        dpop_algorithms: object.texts(DPOP_ALGORITHMS, MAX_ITEMS, MAX_WORD)?,
    })
}

/// The URL of an issuer, if it has the form of one: `https`, or `http` on loopback, without a query, a fragment or
/// credentials (RFC 8414 section 2), and exact.
pub(crate) fn issuer_url(issuer: &str) -> Option<Url> {
    if may_receive_secrets(issuer) && !issuer.contains('?') { Url::parse(issuer).ok() } else { None }
}

/// The URL `text` if a request to it may be sent and may carry secrets.
fn safe(text: &str, reach: Reach, member: &'static str) -> Result<String, DiscoveryError> {
    let url = Url::parse(text).ok().filter(|url| may_receive_secrets(text) && reach.permits(url).is_ok());
    url.map(|_| text.to_owned()).ok_or(DiscoveryError::UnsafeAddress { member })
}

/// The scopes that may be sent (RFC 6749 section 3.3), or `None` if there is none.
fn scopes(object: &Object) -> Result<Option<Scopes>, DiscoveryError> {
    let allowed = |scope: &String| scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    let scopes = object.texts("scopes_supported", MAX_ITEMS, MAX_WORD)?;
    let scopes = scopes.map(|scopes| Scopes::new(scopes.into_iter().filter(allowed)));
    Ok(scopes.filter(|scopes| !scopes.is_empty()))
}

#[cfg(test)]
mod tests;
