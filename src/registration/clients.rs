//! The clients that a host can use at authorization servers.

use std::fmt;

use tokenkeeper_actors::values::record::ClientAuth;

use crate::issuers::{Client, auth_method_name};
use crate::{ResourceUri, Scopes};

/// The clients that a host's logins may use, in the order in which they are tried at an authorization server.
///
/// 1. The client that the server's operator registered for the host ([`pre_registered`](Self::pre_registered)). It belongs
///    to one issuer, and no other issuer ever sees it.
/// 2. The client ID metadata document ([`metadata_document`](Self::metadata_document)), if the server accepts such
///    documents. It is the same client at every server.
/// 3. Dynamic registration (RFC 7591), if the server has a registration endpoint. The store keeps the registration, so that
///    all processes on the store register once.
///
/// Default: dynamic registration only, under the name `tokenkeeper`.
///
/// ```
/// use tokenkeeper::issuers::Client;
/// use tokenkeeper::registration::{Clients, DynamicClient};
///
/// let clients = Clients::default()
///     .pre_registered("https://as.example.com", Client::public("our-host"), ["http://127.0.0.1/callback"])
///     .dynamic(DynamicClient::named("Our Host").client_uri("https://host.example.com"));
/// # drop(clients);
/// ```
#[derive(Clone, Debug)]
pub struct Clients {
    pub(super) pre_registered: Vec<PreRegistered>,
    pub(super) document: Option<MetadataDocument>,
    pub(super) dynamic: Option<DynamicClient>,
    pub(super) sharing: Sharing,
}

/// A client that an issuer's operator registered.
#[derive(Clone, Debug)]
pub(super) struct PreRegistered {
    pub(super) issuer: String,
    pub(super) client: Client,
    pub(super) redirect_uris: Vec<String>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            pre_registered: Vec::new(),
            document: None,
            dynamic: Some(DynamicClient::default()),
            sharing: Sharing::default(),
        }
    }
}

impl Clients {
    /// The same clients, and this one for `issuer`, which replaces an earlier one for it. The issuer is compared byte by
    /// byte.
    ///
    /// `redirect_uris` are the redirect addresses that were registered with it. Empty if the host does not know them, and
    /// then every address is tried. A loopback address by IP literal stands for all ports (RFC 8252 section 7.3), and any
    /// other one for itself.
    #[must_use]
    pub fn pre_registered(
        mut self,
        issuer: impl Into<String>,
        client: Client,
        redirect_uris: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let issuer = issuer.into();
        self.pre_registered.retain(|known| known.issuer != issuer);
        let redirect_uris = redirect_uris.into_iter().map(Into::into).collect();
        self.pre_registered.push(PreRegistered { issuer, client, redirect_uris });
        self
    }

    /// The same clients, with this client ID metadata document. Default: none.
    #[must_use]
    pub fn metadata_document(self, document: MetadataDocument) -> Self {
        Self { document: Some(document), ..self }
    }

    /// The same clients, with dynamic registrations made for `client`.
    #[must_use]
    pub fn dynamic(self, client: DynamicClient) -> Self {
        Self { dynamic: Some(client), ..self }
    }

    /// The same clients, without dynamic registration.
    #[must_use]
    pub fn without_dynamic(self) -> Self {
        Self { dynamic: None, ..self }
    }

    /// The same clients, whose dynamic registrations are shared in this way. Default: [`Sharing::PerResource`].
    #[must_use]
    pub fn sharing(self, sharing: Sharing) -> Self {
        Self { sharing, ..self }
    }
}

/// Which logins share one dynamic registration. The accounts of one MCP server always do, unless their redirect addresses
/// differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// One registration for each MCP server. Some authorization servers end a person's other grants of a client when the
    /// person signs in again, so a shared client would sign one MCP server out when the person signs in to another.
    #[default]
    PerResource,
    /// One registration for each issuer.
    PerIssuer,
}

/// The metadata of the client that is registered dynamically (RFC 7591 section 2). The parts that a login decides, such as
/// the redirect address, are added to each request.
///
/// A change of these settings leads to a new registration. Grants keep the client with which they were obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicClient {
    pub(super) client_name: String,
    pub(super) client_uri: Option<String>,
    pub(super) scope: Option<Scopes>,
    pub(super) software_id: Option<String>,
    pub(super) software_version: Option<String>,
}

impl Default for DynamicClient {
    fn default() -> Self {
        Self::named("tokenkeeper")
    }
}

impl DynamicClient {
    /// A client that people see under this name (`client_name`).
    pub fn named(client_name: impl Into<String>) -> Self {
        Self {
            client_name: client_name.into(),
            client_uri: None,
            scope: None,
            software_id: None,
            software_version: None,
        }
    }

    /// The same client, with a page about it (`client_uri`). Default: none.
    #[must_use]
    pub fn client_uri(self, uri: impl Into<String>) -> Self {
        Self { client_uri: Some(uri.into()), ..self }
    }

    /// The same client, registered for these scopes (`scope`). Default: not sent, and the server chooses.
    #[must_use]
    pub fn scope(self, scopes: Scopes) -> Self {
        Self { scope: Some(scopes), ..self }
    }

    /// The same client, with the identifier of its software (`software_id`), the same in all installations. Default: none.
    #[must_use]
    pub fn software_id(self, id: impl Into<String>) -> Self {
        Self { software_id: Some(id.into()), ..self }
    }

    /// The same client, with the version of its software (`software_version`). Each version registers anew. Default: none.
    #[must_use]
    pub fn software_version(self, version: impl Into<String>) -> Self {
        Self { software_version: Some(version.into()), ..self }
    }
}

/// A client ID metadata document, which the host publishes at an `https` URL. The URL is the client identifier
/// (draft-ietf-oauth-client-id-metadata-document).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataDocument {
    pub(super) url: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) auth_methods: Vec<String>,
}

impl MetadataDocument {
    /// The document at `url`, which is sent as the client identifier exactly as it stands here. The document must contain
    /// the same text as `client_id`. A query is allowed and not advised.
    ///
    /// `redirect_uris` are the addresses that the document lists. A loopback address by IP literal stands for all ports (RFC
    /// 8252 section 7.3), and any other one for itself.
    ///
    /// # Errors
    ///
    /// [`DocumentUrlError`] if the URL cannot be a client identifier.
    pub fn new(
        url: impl Into<String>,
        redirect_uris: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, DocumentUrlError> {
        let url = url.into();
        check(&url)?;
        let redirect_uris = redirect_uris.into_iter().map(Into::into).collect();
        Ok(Self { url, redirect_uris, auth_methods: vec![auth_method_name(ClientAuth::None).to_owned()] })
    }

    /// The same document, which lists these authentication methods (`token_endpoint_auth_method`). Default: `none`, which is
    /// the only one of such a client that this version can use.
    #[must_use]
    pub fn auth_methods(self, methods: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { auth_methods: methods.into_iter().map(Into::into).collect(), ..self }
    }

    /// The URL, which is the client identifier.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The reason why a URL cannot be the client identifier of a metadata document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentUrlError {
    /// It is no `https` URL, or carries a user name, a fragment, white space or other characters that no URL has.
    #[error("the document's URL is no exact https URL: write it whole, without user name, fragment and white space")]
    NotHttps,
    /// It has no path.
    #[error("the document's URL has no path: put the document at a path, for example /client.json")]
    NoPath,
    /// A path segment is `.` or `..`.
    #[error("the document's URL has a dot segment (/./ or /../) in its path: write the path without it")]
    DotSegment,
}

fn check(url: &str) -> Result<(), DocumentUrlError> {
    let exact = ResourceUri::parse(url).map_err(|_| DocumentUrlError::NotHttps)?;
    // The identifier is compared byte by byte everywhere, so the scheme is read from the text itself.
    let rest = url.strip_prefix("https://").filter(|_| exact.is_https()).ok_or(DocumentUrlError::NotHttps)?;
    let (before_query, _) = rest.split_once('?').unwrap_or((rest, ""));
    let (_, path) = before_query.split_once('/').ok_or(DocumentUrlError::NoPath)?;
    if path.is_empty() {
        return Err(DocumentUrlError::NoPath);
    }
    let is_dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(is_dots) { Err(DocumentUrlError::DotSegment) } else { Ok(()) }
}

/// The authentication methods that a dynamically registered client can use, the preferred one first. `private_key_jwt` is not
/// among them, because such a client has no key to sign with.
pub(super) const OUR_METHODS: [ClientAuth; 3] = [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post];

/// Writes the kind of a client for people.
pub(super) fn origin_words(origin: tokenkeeper_actors::values::issuer::RegistrationOrigin) -> impl fmt::Display {
    use tokenkeeper_actors::values::issuer::RegistrationOrigin;
    match origin {
        RegistrationOrigin::PreRegistered => "the pre-registered client",
        RegistrationOrigin::MetadataDocument => "the client ID metadata document",
        RegistrationOrigin::Dynamic => "the registered client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(url: &str) -> Result<MetadataDocument, DocumentUrlError> {
        MetadataDocument::new(url, ["http://127.0.0.1/callback"])
    }

    #[test]
    fn the_url_of_a_document_is_an_exact_https_url_with_a_path() {
        for good in [
            "https://host.example.com/client.json",
            "https://host.example.com:8443/a/b",
            "https://host.example.com/client?v=1",
            "https://host.example.com/..client",
            "https://host.example.com/a//b",
        ] {
            assert_eq!(document(good).unwrap().url(), good);
        }
        for bad in [
            "",
            "host.example.com/client.json",
            "http://host.example.com/client.json",
            "http://127.0.0.1/client.json",
            "HTTPS://host.example.com/client.json",
            "https://user@host.example.com/client.json",
            "https://user:pass@host.example.com/client.json",
            "https://host.example.com/client.json#a",
            "https://host.example.com/cli ent.json",
            "https://host.example.com\\client.json",
            "https:///client.json",
            "data:,client",
        ] {
            assert_eq!(document(bad), Err(DocumentUrlError::NotHttps), "{bad}");
        }
        for bare in ["https://host.example.com", "https://host.example.com/", "https://host.example.com/?client"] {
            assert_eq!(document(bare), Err(DocumentUrlError::NoPath), "{bare}");
        }
        for dots in ["/./client", "/a/../client", "/..", "/a/.", "/%2e/client", "/a/%2E%2e/b", "/.%2e/b"] {
            let url = format!("https://host.example.com{dots}");
            assert_eq!(document(&url), Err(DocumentUrlError::DotSegment), "{url}");
        }
    }

    #[test]
    fn a_later_client_of_an_issuer_replaces_the_earlier_one() {
        let none: [&str; 0] = [];
        let clients = Clients::default()
            .pre_registered("https://a.example", Client::public("one"), none)
            .pre_registered("https://a.example/", Client::public("two"), none)
            .pre_registered("https://a.example", Client::public("three"), none);
        let known: Vec<_> = clients.pre_registered.iter().map(|known| known.client.id()).collect();
        assert_eq!(known, ["two", "three"]);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let clients = Clients::default().pre_registered(
            "https://a.example",
            Client::secret_basic("host", "its-s3cret"),
            ["https://host.example/callback"],
        );
        assert!(!format!("{clients:?}").contains("s3cret"));
    }
}
