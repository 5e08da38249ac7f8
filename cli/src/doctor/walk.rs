//! The walk from the first request to the metadata of the authorization servers. Each request is made by [`Discovery`], so
//! it is the same request that a login sends.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, header};
use serde_json::Value;
use tokenkeeper::ResourceUri;
use tokenkeeper::discovery::{AuthorizationServer, Discovery, DiscoveryError, Freshness, Probe, ProtectedResource};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, HttpError, Reach};

use super::environment::Environment;
use super::network::{self, Cause};
use super::recorder::{Recorder, Seen, Sent};

/// The maximum number of authorization servers that are examined. It is the limit of discovery.
const MAX_SERVERS: usize = 4;

/// The longest answer of a trial request at a token endpoint, and its time-out.
const MAX_ANSWER: usize = 64 * 1024;
const TRIAL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// A look-up with the cause of its last failure.
#[derive(Debug)]
pub(super) struct Looked<T> {
    pub(super) result: Result<T, DiscoveryError>,
    pub(super) sent: Vec<Sent>,
    /// The cause of the last request's failure, if it had to be searched for.
    pub(super) cause: Option<Cause>,
}

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) reach: Reach,
    pub(super) probe: Looked<Probe>,
    /// The metadata that the challenge names.
    pub(super) named: Option<Looked<Arc<ProtectedResource>>>,
    /// The metadata at the well-known places. They are tried if the challenge names no metadata, or none that can be used.
    pub(super) well_known: Option<Looked<Arc<ProtectedResource>>>,
    /// All issuers that the resource lists.
    pub(super) listed: Vec<String>,
    /// The authorization servers that were examined.
    pub(super) servers: Vec<WalkedServer>,
}

/// An authorization server.
#[derive(Debug)]
pub(super) struct WalkedServer {
    pub(super) by: NamedBy,
    pub(super) looked: Looked<Arc<AuthorizationServer>>,
}

/// The origin of an authorization server's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// The MCP server lists this issuer.
    Resource(String),
    /// No metadata names a server. The MCP server publishes none, like servers of 2025-03-26, so its own origin is used.
    Origin,
    /// The person names the URL of the metadata.
    Person,
}

impl WalkedServer {
    /// The issuer that the MCP server lists.
    pub(super) fn listed(&self) -> Option<&str> {
        match &self.by {
            NamedBy::Resource(issuer) => Some(issuer),
            NamedBy::Origin | NamedBy::Person => None,
        }
    }

    /// The issuer that the server names, if a login would use it.
    pub(super) fn usable(&self) -> Option<&str> {
        self.looked.result.as_ref().ok().map(|server| server.issuer.as_str())
    }
}

/// Makes the requests through one recording client.
#[derive(Debug)]
pub(super) struct Walker {
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    environment: Environment,
}

impl Walker {
    pub(super) fn new(recorder: Arc<Recorder>, clock: Arc<dyn Clock>, environment: Environment) -> Self {
        Self { recorder, clock, environment }
    }

    /// A discovery that remembers nothing.
    fn discovery(&self) -> Discovery {
        Discovery::new(Arc::clone(&self.recorder) as Arc<dyn HttpClient>, Arc::clone(&self.clock))
    }

    /// Examines everything that can be reached, even after a problem that would end a login. `metadata_url` is the URL of the
    /// authorization server's metadata, if the person names it. The metadata of the MCP server is then not requested. `bound`
    /// is the issuer of a stored session, which is examined at any position of the list.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] if no request may be sent to `metadata_url`.
    pub(super) async fn walk(
        &self,
        resource: &ResourceUri,
        metadata_url: Option<&str>,
        bound: Option<&str>,
    ) -> Result<Walked, DiscoveryError> {
        let mut discovery = self.discovery();
        if let Some(url) = metadata_url {
            discovery = discovery.metadata_url(resource.clone(), url)?;
        }
        let reach = discovery.reach_for(resource);
        let probe = self.look(Reach::Any, discovery.probe(resource)).await;
        // A server that was reached may have metadata, even if it sends no answer to this request.
        let is_reachable = probe.sent.first().is_some_and(|sent| !matches!(sent.outcome, Err(HttpError::NotSent(_))));
        let (mut named, mut well_known, mut listed, mut servers) = (None, None, Vec::new(), Vec::new());
        if metadata_url.is_some() {
            servers = self.unlisted(&discovery, resource, NamedBy::Person).await;
        } else if is_reachable {
            let challenge = probe.result.as_ref().ok().and_then(Probe::challenge);
            if challenge.and_then(|challenge| challenge.resource_metadata()).is_some() {
                named = Some(self.look(reach, discovery.resource(resource, challenge, Freshness::Now)).await);
            }
            let lookups = self.discovery();
            let mut published = named.as_ref().and_then(issuers);
            if named.as_ref().is_none_or(|named| named.result.is_err()) {
                let found = self.look(Reach::Any, lookups.resource(resource, None, Freshness::Now)).await;
                published = issuers(&found).or(published);
                well_known = Some(found);
            }
            servers = match &published {
                Some(listed) => self.servers(listed, bound, reach).await,
                None => self.unlisted(&lookups, resource, NamedBy::Origin).await,
            };
            listed = published.unwrap_or_default();
        }
        Ok(Walked { reach, probe, named, well_known, listed, servers })
    }

    async fn servers(&self, listed: &[String], bound: Option<&str>, reach: Reach) -> Vec<WalkedServer> {
        let mut servers = Vec::new();
        let is_looked_at = |(place, issuer): &(usize, &String)| *place < MAX_SERVERS || bound == Some(issuer.as_str());
        for (_, issuer) in listed.iter().enumerate().filter(is_looked_at) {
            let discovery = self.discovery();
            let looked = self.look(reach, discovery.server(issuer, reach)).await;
            servers.push(WalkedServer { by: NamedBy::Resource(issuer.clone()), looked });
        }
        servers
    }

    /// Examines the authorization server of a resource without metadata. `discovery` remembers the absence, or the metadata was
    /// not requested.
    async fn unlisted(&self, discovery: &Discovery, resource: &ResourceUri, by: NamedBy) -> Vec<WalkedServer> {
        let found = discovery.authorization_server(resource, None, None, Freshness::Cached);
        let looked = self.look(Reach::Any, found).await;
        // Discovery tries the origin only if the metadata is absent. After another failure it sends nothing.
        if looked.sent.is_empty() {
            return Vec::new();
        }
        let result = looked.result.map(|found| Arc::new(found.server));
        vec![WalkedServer { by, looked: Looked { result, sent: looked.sent, cause: looked.cause } }]
    }

    async fn look<T>(&self, reach: Reach, work: impl Future<Output = Result<T, DiscoveryError>>) -> Looked<T> {
        let Seen { result, sent } = self.recorder.watch(work).await;
        let cause = match sent.last() {
            Some(Sent { url, outcome: Err(error), .. }) => network::cause(*error, url, reach, &self.environment).await,
            _ => None,
        };
        Looked { result, sent, cause }
    }

    /// Sends a request without a grant, a client or a secret to a token endpoint, which gets no token.
    pub(super) async fn try_token_endpoint(&self, endpoint: &str, reach: Reach) -> Option<Looked<()>> {
        let mut request = Request::new(Body::new(""));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.parse().ok()?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let (timeout, departure) = (TRIAL_TIMEOUT, Departure::at_any_time());
        let exchange = Exchange { request, timeout, max_answer: MAX_ANSWER, departure, reach };
        let sending = async {
            let answer: Result<_, HttpError> = self.recorder.send(exchange).await;
            answer.map(drop).map_err(|_| DiscoveryError::Unreachable)
        };
        Some(self.look(reach, sending).await)
    }
}

/// The issuers that a resource lists, even in a document that a login would not use.
fn issuers(looked: &Looked<Arc<ProtectedResource>>) -> Option<Vec<String>> {
    if let Ok(published) = &looked.result {
        return Some(published.authorization_servers.clone());
    }
    let object = looked.sent.iter().rev().find_map(|sent| sent.answer()?.object())?;
    let servers = object.get("authorization_servers")?.as_array()?;
    Some(servers.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
