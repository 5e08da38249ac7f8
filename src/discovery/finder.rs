//! Fetches and checks the metadata of one resource or one authorization server.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use tokenkeeper_actors::values::ResourceUri;
use url::Url;

use super::documents::{AuthorizationServer, ProtectedResource};
use super::error::DiscoveryError;
use super::fetch::{Fetcher, Query};
use super::lookup::{FetchOrder, Found};
use super::lookups::Find;
use super::read::{self, ExpectedIssuer};
use super::well_known::{self, DefaultEndpoints};
use crate::http::Reach;

/// The time for which it is remembered that a server has no metadata.
const DEFAULTS_FOR: Duration = Duration::from_secs(60 * 60);

/// Fetches documents, by the settings of the host.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    pub(crate) fetcher: Fetcher,
    /// For each issuer, the other issuers that its document may name.
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    /// The reach of all URLs, if the host sets it.
    pub(crate) reach: Option<Reach>,
}

impl Finder {
    /// The reach of the URLs that the servers of `resource` name.
    pub(crate) fn reach_for(&self, resource: &ResourceUri) -> Reach {
        self.reach.unwrap_or_else(|| Reach::beside(resource))
    }

    /// The reach of a resource itself and of the documents at its origin. It is unlimited by default, because the person
    /// named the resource.
    pub(crate) fn reach_of_resource(&self) -> Reach {
        self.reach.unwrap_or(Reach::Any)
    }

    /// The other issuers that the document of the issuer `listed` may name.
    pub(crate) fn aliases_of(&self, listed: &str) -> impl Iterator<Item = &str> {
        self.aliases.get(listed).into_iter().flatten().map(String::as_str)
    }

    /// Fetches a document and reads it. If the version in memory is current (304), it is not read again.
    async fn document<T>(
        &self,
        query: Query<'_>,
        order: &FetchOrder<T>,
        read: impl FnOnce(&[u8]) -> Result<T, DiscoveryError>,
    ) -> Result<Found<T>, DiscoveryError> {
        let kept = order.kept.as_ref();
        let query = Query { kept: kept.and_then(|kept| kept.validator.as_ref()), ..query };
        let fetched = self.fetcher.get(query).await?;
        let value = match (fetched.document, kept) {
            (Some(document), _) => Arc::new(read(document.as_bytes())?),
            (None, Some(kept)) => Arc::clone(&kept.value),
            (None, None) => return Err(DiscoveryError::Unreadable { member: None }),
        };
        let (validator, fresh_until, may_be_stored) = (fetched.validator, fetched.fresh_until, fetched.may_be_stored);
        Ok(Found { value, validator, fresh_until, may_be_stored })
    }

    /// The metadata that a challenge names (RFC 9728 section 5.1).
    async fn named_resource(
        &self,
        resource: &ResourceUri,
        named: &str,
        order: &FetchOrder<ProtectedResource>,
    ) -> Result<Found<ProtectedResource>, DiscoveryError> {
        const MEMBER: &str = "resource_metadata";
        let unsafe_address = DiscoveryError::UnsafeAddress { member: MEMBER };
        // The URL parser repairs some text silently. A URL that a server names must be exact.
        ResourceUri::parse(named).map_err(|_| unsafe_address)?;
        let url = Url::parse(named).map_err(|_| unsafe_address)?;
        // If the challenge names one of the well-known places, the document there may also name the identifier that the URL
        // of that place was built from.
        let mut identifiers = vec![resource.clone()];
        let place = well_known::resource_places(resource).into_iter().find(|place| place.url == url);
        identifiers.extend(place.and_then(|place| ResourceUri::parse(&place.identifier).ok()));
        let reach = self.reach_for(resource);
        let query = Query { url: &url, reach, redirected: reach, member: MEMBER, kept: None };
        let found = self.document(query, order, |bytes| read::protected_resource(bytes, &identifiers)).await;
        found.map_err(|error| match error {
            DiscoveryError::NotFound { status } => DiscoveryError::NamedNotFound { status },
            error => error,
        })
    }

    /// The metadata of an issuer, at the first of its places that has it.
    async fn issuer(
        &self,
        issuer: &str,
        places: fn(&Url) -> Vec<Url>,
        reach: Reach,
        order: &FetchOrder<AuthorizationServer>,
    ) -> Result<Found<AuthorizationServer>, DiscoveryError> {
        const MEMBER: &str = "authorization_servers";
        let url = read::issuer_url(issuer).ok_or(DiscoveryError::UnsafeAddress { member: MEMBER })?;
        let expected = ExpectedIssuer { issuer: Some(issuer), aliases: self.aliases_of(issuer).collect() };
        let mut failures = Failures::default();
        for url in places(&url) {
            let query = Query { url: &url, reach, redirected: reach, member: MEMBER, kept: None };
            let read = |bytes: &[u8]| read::authorization_server(bytes, &expected, &url, reach);
            match self.document(query, order, read).await {
                Ok(found) => return Ok(found),
                Err(error) => failures.note(error)?,
            }
        }
        Err(failures.into_error())
    }

    /// The metadata at the origin of a server of 2025-03-26, or the default endpoints if there is no metadata.
    async fn origin(
        &self,
        origin: &str,
        reach: Reach,
        order: &FetchOrder<AuthorizationServer>,
    ) -> Result<Found<AuthorizationServer>, DiscoveryError> {
        const MEMBER: &str = "resource";
        let unsafe_address = DiscoveryError::UnsafeAddress { member: MEMBER };
        let base = Url::parse(origin).map_err(|_| unsafe_address)?;
        let url = well_known::issuer_places(&base).into_iter().next().ok_or(unsafe_address)?;
        // No document has named the issuer, so the origin is accepted in both spellings, with and without a slash.
        let with_slash = [origin, "/"].concat();
        let expected = ExpectedIssuer { issuer: Some(origin), aliases: vec![&with_slash] };
        let own = self.reach_of_resource();
        let query = Query { url: &url, reach: own, redirected: reach, member: MEMBER, kept: None };
        let read = |bytes: &[u8]| read::authorization_server(bytes, &expected, &url, reach);
        match self.document(query, order, read).await {
            Err(DiscoveryError::NotFound { status }) if status == StatusCode::NOT_FOUND.as_u16() => {}
            result => return result,
        }
        let endpoints = DefaultEndpoints::at(&base);
        let mut server = AuthorizationServer::unpublished(origin, endpoints.token);
        server.authorization_endpoint = Some(endpoints.authorization);
        server.registration_endpoint = Some(endpoints.registration);
        let fresh_until = self.fetcher.clock.now().elapsed.after(DEFAULTS_FOR);
        Ok(Found { value: Arc::new(server), validator: None, fresh_until, may_be_stored: true })
    }

    /// The metadata at a URL that the host named. The host vouches for the document, so it may name any issuer.
    async fn configured(
        &self,
        url: &str,
        order: &FetchOrder<AuthorizationServer>,
    ) -> Result<Found<AuthorizationServer>, DiscoveryError> {
        const MEMBER: &str = "metadata_url";
        let url = Url::parse(url).map_err(|_| DiscoveryError::UnsafeAddress { member: MEMBER })?;
        let expected = ExpectedIssuer { issuer: None, aliases: Vec::new() };
        let query = Query { url: &url, reach: Reach::Any, redirected: Reach::Any, member: MEMBER, kept: None };
        self.document(query, order, |bytes| read::authorization_server(bytes, &expected, &url, Reach::Any)).await
    }
}

#[async_trait]
impl Find<ResourceUri> for Finder {
    type Value = ProtectedResource;

    async fn find(
        &self,
        resource: &ResourceUri,
        order: FetchOrder<ProtectedResource>,
    ) -> Result<Found<ProtectedResource>, DiscoveryError> {
        if let Some(named) = &order.named {
            return self.named_resource(resource, named, &order).await.map(kept_if_useful);
        }
        let (reach, redirected) = (self.reach_of_resource(), self.reach_for(resource));
        let mut failures = Failures::default();
        for place in well_known::resource_places(resource) {
            let mut identifiers = vec![resource.clone()];
            identifiers.extend(ResourceUri::parse(&place.identifier).ok());
            // The server chose the target of a redirect, and the person did not, so the redirect has a reach of its own.
            let query = Query { url: &place.url, reach, redirected, member: "resource", kept: None };
            match self.document(query, &order, |bytes| read::protected_resource(bytes, &identifiers)).await {
                Ok(found) => return Ok(kept_if_useful(found)),
                Err(error) => failures.note(error)?,
            }
        }
        Err(failures.into_error())
    }
}

/// A document that lists no authorization server is a mistake. It is not kept, so that a person who tries again gets the
/// mended one.
fn kept_if_useful(found: Found<ProtectedResource>) -> Found<ProtectedResource> {
    let may_be_stored = found.may_be_stored && !found.value.authorization_servers.is_empty();
    Found { may_be_stored, ..found }
}

/// The place of an authorization server's metadata, and the reach of the URLs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerKey {
    pub(crate) place: ServerPlace,
    pub(crate) reach: Reach,
}

/// The place of an authorization server's metadata.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ServerPlace {
    /// The well-known places of this issuer.
    Issuer(String),
    /// The well-known places of OpenID Connect for this issuer, for members that the metadata of RFC 8414 does not define.
    OpenId(String),
    /// The origin of an MCP server of 2025-03-26.
    Origin(String),
    /// This URL, which the host named.
    Document(String),
}

impl ServerKey {
    /// The value by which keys are ordered, because a reach has no order of its own.
    fn rank(&self) -> (&ServerPlace, u8) {
        let reach = match self.reach {
            Reach::Any => 0,
            Reach::Public => 1,
            Reach::PublicOrLoopback => 2,
        };
        (&self.place, reach)
    }
}

impl Ord for ServerKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for ServerKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[async_trait]
impl Find<ServerKey> for Finder {
    type Value = AuthorizationServer;

    async fn find(
        &self,
        key: &ServerKey,
        order: FetchOrder<AuthorizationServer>,
    ) -> Result<Found<AuthorizationServer>, DiscoveryError> {
        let found = match &key.place {
            ServerPlace::Issuer(issuer) => self.issuer(issuer, well_known::issuer_places, key.reach, &order).await,
            // No login uses this document, so the check for PKCE below does not apply to it.
            ServerPlace::OpenId(issuer) => {
                return self.issuer(issuer, well_known::openid_places, key.reach, &order).await;
            }
            ServerPlace::Origin(origin) => self.origin(origin, key.reach, &order).await,
            ServerPlace::Document(url) => self.configured(url, &order).await,
        };
        // A document that states no PKCE is a mistake too, and is not kept.
        found.map(|found| Found { may_be_stored: found.may_be_stored && found.value.supports_pkce(), ..found })
    }
}

/// The failures at the places of one document.
#[derive(Default)]
struct Failures(Option<DiscoveryError>);

impl Failures {
    /// Notes the failure at one place. The next place may still have the document, because some servers answer every unknown
    /// path with a page, an error or a document of another path. Each document is checked by itself, so that is safe. In the
    /// end, the first failure other than a missing document is reported.
    ///
    /// # Errors
    ///
    /// A failure that the next place on the same host would share.
    fn note(&mut self, error: DiscoveryError) -> Result<(), DiscoveryError> {
        match error {
            DiscoveryError::Unreachable
            | DiscoveryError::Untrusted
            | DiscoveryError::ReachNotEnforced
            | DiscoveryError::Aborted => return Err(error),
            DiscoveryError::NotFound { .. } if self.0.is_some() => {}
            _ if self.0.is_none_or(|known| matches!(known, DiscoveryError::NotFound { .. })) => self.0 = Some(error),
            _ => {}
        }
        Ok(())
    }

    /// The failure to report, which is that no document was found unless another was noted.
    fn into_error(self) -> DiscoveryError {
        self.0.unwrap_or(DiscoveryError::NotFound { status: StatusCode::NOT_FOUND.as_u16() })
    }
}
