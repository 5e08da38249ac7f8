//! Discovery of the authorization server of an MCP server (RFC 9728, RFC 8414, OpenID Connect Discovery).
//!
//! [`Discovery`] leads from the URL of an MCP server, and its [`Challenge`] if there is one, to a checked
//! [`AuthorizationServer`]. Documents are kept in memory for as long as HTTP allows. Callers that ask for the same document
//! at the same time share one request.

mod caching;
mod challenge;
mod documents;
mod error;
mod fetch;
mod finder;
mod json;
mod lookup;
mod lookups;
mod probe;
mod read;
#[cfg(test)]
mod scripted;
mod untrusted;
mod well_known;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::spawner::Spawner;
use tokenkeeper_actors::system::HostSpawner;
use tokenkeeper_actors::values::ResourceUri;
use url::Url;

use crate::http::{HttpClient, Reach};
use crate::keyed::Ports;
use fetch::Fetcher;
use finder::{Finder, ServerKey, ServerPlace};
use lookups::Lookups;

pub use challenge::Challenge;
pub use documents::{AuthorizationServer, Discovered, ProtectedResource};
pub use error::DiscoveryError;
pub use lookup::Freshness;
pub use probe::Probe;
pub use read::{read_authorization_server, read_protected_resource};

/// The maximum number of authorization servers of a resource that are tried.
const MAX_TRIED: usize = 4;

/// Finds authorization servers. Cheap to clone, and clones share what they have found.
///
/// The methods that return `Self` are settings. Apply them before the first look-up.
///
/// # Safety of the requests
///
/// A server names most of the URLs here, and may name one inside the network of this machine. By default they must be `https`
/// and lead to public addresses. If the MCP server itself is on this machine's loopback, its URLs may lead there too, by
/// plain `http` as well. Documents at the MCP server's own origin may be anywhere, because the person named it. Redirects are
/// followed three times at most, from `https` to `https` only, and each is checked. No request carries a token.
#[derive(Clone)]
pub struct Discovery {
    finder: Arc<Finder>,
    spawner: Option<Arc<dyn Spawner>>,
    /// The metadata URLs that the host named.
    metadata_urls: BTreeMap<ResourceUri, String>,
    /// The servers that the host described.
    configured: BTreeMap<ResourceUri, AuthorizationServer>,
    resources: Arc<Lookups<ResourceUri, ProtectedResource>>,
    servers: Arc<Lookups<ServerKey, AuthorizationServer>>,
}

impl Discovery {
    /// Discovers over `http`. Lifetimes are counted on `clock`.
    ///
    /// A client that does not [enforce](HttpClient::enforces_reach) the reach of a request fetches only URLs that the host or
    /// the person named. Others are [`DiscoveryError::ReachNotEnforced`].
    pub fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let fetcher = Fetcher { http, clock, trusts_client: false };
        Self {
            finder: Arc::new(Finder { fetcher, aliases: BTreeMap::new(), reach: None }),
            spawner: None,
            metadata_urls: BTreeMap::new(),
            configured: BTreeMap::new(),
            resources: Arc::default(),
            servers: Arc::default(),
        }
    }

    /// Runs the look-ups on `spawner`. Default: the tokio runtime of the caller.
    #[must_use]
    pub fn spawner(mut self, spawner: Arc<dyn Spawner>) -> Self {
        self.spawner = Some(spawner);
        self
    }

    /// Accepts metadata of the issuer `listed` that names the issuer `documented`. By default the two must be identical (RFC
    /// 8414 section 3.3), and some known servers differ by a slash. The `iss` of an authorization response is compared with
    /// `documented`.
    #[must_use]
    pub fn issuer_alias(mut self, listed: impl Into<String>, documented: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.finder).aliases.entry(listed.into()).or_default().push(documented.into());
        self
    }

    /// Sets the reach of all URLs except those that the host names. Default: it follows from the resource, as the type's
    /// documentation describes. [`Reach::Any`] is for a host whose authorization servers are in a private network.
    /// [`Reach::Public`] is for a host that serves strangers, who may name an MCP server inside its network.
    #[must_use]
    pub fn reach(mut self, reach: Reach) -> Self {
        Arc::make_mut(&mut self.finder).reach = Some(reach);
        self
    }

    /// Allows a client that does not [enforce](HttpClient::enforces_reach) the reach to fetch URLs that servers name. Only
    /// the text of such a URL is then checked, and its host name may lead anywhere. This is for a host whose network is
    /// guarded in another way.
    #[must_use]
    pub fn allow_unenforced_reach(mut self) -> Self {
        Arc::make_mut(&mut self.finder).fetcher.trusts_client = true;
        self
    }

    /// Uses the authorization server metadata at `url` for `resource`, which publishes none. The host vouches for the
    /// document, so its issuer and its endpoints may be anywhere.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::UnsafeAddress`] unless `url` is an exact `https` URL, or `http` on loopback.
    pub fn metadata_url(mut self, resource: ResourceUri, url: &str) -> Result<Self, DiscoveryError> {
        if !crate::grant::may_receive_secrets(url) {
            return Err(DiscoveryError::UnsafeAddress { member: "metadata_url" });
        }
        self.metadata_urls.insert(resource, url.to_owned());
        Ok(self)
    }

    /// Uses `server` for `resource`, and requests no metadata.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::UnsafeAddress`] unless the issuer and each endpoint are exact `https` URLs, or `http` on loopback.
    pub fn configured_server(
        mut self,
        resource: ResourceUri,
        server: AuthorizationServer,
    ) -> Result<Self, DiscoveryError> {
        let urls = [
            ("issuer", Some(&server.issuer)),
            ("token_endpoint", Some(&server.token_endpoint)),
            ("authorization_endpoint", server.authorization_endpoint.as_ref()),
            ("registration_endpoint", server.registration_endpoint.as_ref()),
            ("revocation_endpoint", server.revocation_endpoint.as_ref()),
            ("pushed_authorization_request_endpoint", server.pushed_endpoint.as_ref()),
            ("device_authorization_endpoint", server.device_endpoint.as_ref()),
        ];
        for (member, url) in urls {
            if url.is_some_and(|url| !crate::grant::may_receive_secrets(url)) {
                return Err(DiscoveryError::UnsafeAddress { member });
            }
        }
        self.configured.insert(resource, server);
        Ok(self)
    }

    /// The reach of the URLs that the servers of `resource` name. Later requests to them, for tokens and registrations, have
    /// the same reach.
    pub fn reach_for(&self, resource: &ResourceUri) -> Reach {
        if self.configured.contains_key(resource) || self.metadata_urls.contains_key(resource) {
            return Reach::Any;
        }
        self.finder.reach_for(resource)
    }

    /// The reach that the host has set.
    pub(crate) fn reach_setting(&self) -> Option<Reach> {
        self.finder.reach
    }

    /// Sends one request without a token to `resource`, which shows whether the resource wants a login.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::Unreachable`] or [`DiscoveryError::Untrusted`] if there is no answer, which includes an event stream
    /// that does not end, and [`DiscoveryError::UnsafeAddress`] for plain `http` to another machine.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the request.
    pub async fn probe(&self, resource: &ResourceUri) -> Result<Probe, DiscoveryError> {
        probe::probe(&self.finder.fetcher, resource, self.finder.reach_of_resource()).await
    }

    /// Finds the metadata of `resource`, at the URL that `challenge` names, else at its well-known places (RFC 9728 section 3
    /// and section 5). If the challenge names another URL than that of the document in memory, the document is requested
    /// anew. Challenges cause at most one request a minute.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::NotFound`] if it publishes none, as servers of 2025-03-26 do, and the other variants for a document
    /// that cannot be had or used. A failure is remembered for 30 s, and then longer.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The request goes on for other callers.
    pub async fn resource(
        &self,
        resource: &ResourceUri,
        challenge: Option<&Challenge>,
        freshness: Freshness,
    ) -> Result<Arc<ProtectedResource>, DiscoveryError> {
        let named = challenge.and_then(Challenge::resource_metadata).map(str::to_owned);
        self.resources.ask(&self.finder, &self.ports()?, resource.clone(), named, freshness).await
    }

    /// Finds the metadata of the authorization server `issuer` (RFC 8414 section 3, OpenID Connect Discovery section 4). Its
    /// URLs must be within `reach`.
    ///
    /// # Errors
    ///
    /// A [`DiscoveryError`] for a document that cannot be had or used. A failure is remembered for 30 s, and then longer.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The request goes on for other callers.
    pub async fn server(&self, issuer: &str, reach: Reach) -> Result<Arc<AuthorizationServer>, DiscoveryError> {
        self.server_at(ServerPlace::Issuer(issuer.to_owned()), reach, Freshness::Cached).await
    }

    /// The authorization server `issuer` of a session. `resource` is the session's target if that is an MCP server. A
    /// server that the host has described takes precedence.
    pub(crate) async fn server_of(
        &self,
        resource: Option<&ResourceUri>,
        issuer: &str,
        reach: Reach,
    ) -> Result<Arc<AuthorizationServer>, DiscoveryError> {
        if let Some(server) = resource.and_then(|resource| self.configured.get(resource))
            && server.issuer == issuer
        {
            return Ok(Arc::new(server.clone()));
        }
        if let Some(url) = resource.and_then(|resource| self.metadata_urls.get(resource)) {
            let server = self.server_at(ServerPlace::Document(url.clone()), Reach::Any, Freshness::Cached).await?;
            if server.issuer == issuer {
                return Ok(server);
            }
        }
        self.server(issuer, reach).await
    }

    /// The userinfo endpoint of a session's server. RFC 8414 defines no such member. If the metadata lacks it, it is looked
    /// up in the issuer's OpenID configuration.
    pub(crate) async fn userinfo_of(
        &self,
        resource: Option<&ResourceUri>,
        issuer: &str,
        reach: Reach,
    ) -> Result<Option<String>, DiscoveryError> {
        let server = self.server_of(resource, issuer, reach).await?;
        if server.userinfo_endpoint.is_some() {
            return Ok(server.userinfo_endpoint.clone());
        }
        match self.server_at(ServerPlace::OpenId(issuer.to_owned()), reach, Freshness::Cached).await {
            Ok(openid) => Ok(openid.userinfo_endpoint.clone()),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Like [`server`](Self::server), but ignores a remembered failure and requests the document again.
    pub(crate) async fn server_anew(
        &self,
        issuer: &str,
        reach: Reach,
    ) -> Result<Arc<AuthorizationServer>, DiscoveryError> {
        self.server_at(ServerPlace::Issuer(issuer.to_owned()), reach, Freshness::RetryFailure).await
    }

    /// Finds the authorization server of `resource`.
    ///
    /// `bound_issuer`, to which a session is bound, is chosen as long as the resource lists it, and no other one is tried then
    /// (law 13). Otherwise the first listed server that works is chosen, of at most four.
    ///
    /// A resource without metadata is taken for a server of 2025-03-26. Its authorization server is at its own origin, with
    /// metadata or, if there is none (404), with the default endpoints `/authorize`, `/token` and `/register` (that revision,
    /// "Fallbacks for Servers without Metadata Discovery").
    ///
    /// # Errors
    ///
    /// Those of [`resource`](Self::resource), [`DiscoveryError::NoAuthorizationServer`] if the resource lists none, and the
    /// error of the first server if none works.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The requests go on for other callers.
    pub async fn authorization_server(
        &self,
        resource: &ResourceUri,
        challenge: Option<&Challenge>,
        bound_issuer: Option<&str>,
        freshness: Freshness,
    ) -> Result<Discovered, DiscoveryError> {
        if let Some(server) = self.configured.get(resource) {
            return Ok(unpublished(resource, server.clone()));
        }
        if let Some(url) = self.metadata_urls.get(resource) {
            let server = self.server_at(ServerPlace::Document(url.clone()), Reach::Any, freshness).await?;
            return Ok(unpublished(resource, Arc::unwrap_or_clone(server)));
        }
        let reach = self.reach_for(resource);
        let published = match self.resource(resource, challenge, freshness).await {
            Ok(published) => published,
            Err(DiscoveryError::NotFound { .. }) => {
                let origin = Url::parse(resource.as_str()).map(|url| well_known::origin(&url));
                let origin = origin.map_err(|_| DiscoveryError::UnsafeAddress { member: "resource" })?;
                let server = self.server_at(ServerPlace::Origin(origin), reach, freshness).await?;
                return Ok(unpublished(resource, Arc::unwrap_or_clone(server)));
            }
            Err(error) => return Err(error),
        };
        let server = self.choose(&published.authorization_servers, bound_issuer, reach, freshness).await?;
        Ok(Discovered { resource: Arc::unwrap_or_clone(published), server: Arc::unwrap_or_clone(server) })
    }

    /// The issuers that `published` lists, with the names under which the host accepts them.
    pub(crate) fn issuers_of(&self, published: &ProtectedResource) -> Vec<String> {
        let named = |listed: &String| {
            let aliases = self.finder.aliases_of(listed).map(str::to_owned);
            std::iter::once(listed.clone()).chain(aliases).collect::<Vec<_>>()
        };
        published.authorization_servers.iter().flat_map(named).collect()
    }

    async fn choose(
        &self,
        listed: &[String],
        bound_issuer: Option<&str>,
        reach: Reach,
        freshness: Freshness,
    ) -> Result<Arc<AuthorizationServer>, DiscoveryError> {
        let is_bound = |issuer: &&String| {
            bound_issuer.is_some_and(|bound| {
                issuer.as_str() == bound || self.finder.aliases_of(issuer).any(|alias| alias == bound)
            })
        };
        if let Some(bound) = listed.iter().find(is_bound) {
            return self.server_at(ServerPlace::Issuer(bound.clone()), reach, freshness).await;
        }
        let mut first_error = DiscoveryError::NoAuthorizationServer;
        for (place, issuer) in listed.iter().take(MAX_TRIED).enumerate() {
            match self.server_at(ServerPlace::Issuer(issuer.clone()), reach, freshness).await {
                Ok(server) => return Ok(server),
                Err(error) if place == 0 => first_error = error,
                Err(_) => {}
            }
        }
        Err(first_error)
    }

    /// Notes a challenge of `resource` to a request with a token that was believed to be valid. If it names metadata, the
    /// document in memory may have changed (RFC 9728 section 5.2), and the next caller causes its revalidation. That happens
    /// at most once a minute, because some servers name other metadata with each answer.
    pub fn noted_challenge(&self, resource: &ResourceUri, challenge: &Challenge) {
        if let Some(named) = challenge.resource_metadata() {
            self.resources.note(resource, named.to_owned());
        }
    }

    /// Notes that an endpoint of the authorization server `issuer` is gone, so that its metadata may have changed. The
    /// next caller causes its revalidation.
    pub(crate) fn doubted_server(&self, issuer: &str) {
        self.servers.doubt(|key| match &key.place {
            ServerPlace::Issuer(listed) | ServerPlace::OpenId(listed) => {
                listed == issuer || self.finder.aliases_of(listed).any(|alias| alias == issuer)
            }
            ServerPlace::Origin(origin) => origin == issuer,
            ServerPlace::Document(_) => true,
        });
    }

    async fn server_at(
        &self,
        place: ServerPlace,
        reach: Reach,
        freshness: Freshness,
    ) -> Result<Arc<AuthorizationServer>, DiscoveryError> {
        self.servers.ask(&self.finder, &self.ports()?, ServerKey { place, reach }, None, freshness).await
    }

    fn ports(&self) -> Result<Ports, DiscoveryError> {
        let spawner = match &self.spawner {
            Some(spawner) => Arc::clone(spawner),
            None => Arc::new(HostSpawner::current().map_err(|_| DiscoveryError::Aborted)?),
        };
        Ok(Ports { clock: Arc::clone(&self.finder.fetcher.clock), spawner })
    }
}

/// The result for a resource that publishes no metadata. Token requests still name the resource.
fn unpublished(resource: &ResourceUri, server: AuthorizationServer) -> Discovered {
    let resource = ProtectedResource::unpublished(resource.without_query(), server.issuer.clone());
    Discovered { resource, server }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resources, servers, .. } = self;
        f.debug_struct("Discovery").field("resources", resources).field("servers", servers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
