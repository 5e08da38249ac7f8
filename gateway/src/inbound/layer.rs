//! The layer in front of a resource, which checks the inbound tokens of its requests.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, StatusCode};
use tokenkeeper::ResourceUri;
use tower_layer::Layer;
use tower_service::Service;

use super::answers::Challenge;
use super::mcp_session::Owner;
use super::upstreams::Inbound;
use crate::build_error::BuildError;
use crate::gateway::{Gateway, count};
use crate::law::{AccessToken, Grant};
use crate::server::{RETRY, json_error, metadata_of, strip_cookies, try_later};

/// Admits requests with a token of the gateway to a resource, and gives each one its [`Inbound`] sender.
///
/// A request without a token, or with one that is not accepted, is answered with 401 and a challenge that leads to a new one.
/// All other errors have another status, so that no client signs in for nothing.
///
/// # Concurrency
///
/// Shared by all requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GatewayLayer(Arc<Guard>);

/// The settings of a layer.
#[derive(Debug)]
struct Guard {
    gateway: Gateway,
    resource: ResourceUri,
    challenge: Challenge,
    /// The scopes that each inbound token must have.
    scopes: Vec<String>,
    /// The names of the upstreams at which the person's session must have a token.
    required: Vec<String>,
    /// Whether the layer signs the identifiers of MCP sessions.
    binds_sessions: bool,
    /// Whether the layer adds the person's user context to each request.
    gives_user: bool,
}

impl GatewayLayer {
    pub(crate) fn new(gateway: Gateway, resource: ResourceUri) -> Self {
        let metadata = metadata_of(&gateway.0.issuer, &resource);
        let challenge = Challenge { metadata, scopes: gateway.0.scopes.clone() };
        let (scopes, required) = (Vec::new(), Vec::new());
        Self(Arc::new(Guard {
            gateway,
            resource,
            challenge,
            scopes,
            required,
            binds_sessions: true,
            gives_user: false,
        }))
    }

    /// The same layer, which requires these scopes of each token, and names them in challenges. Default: no scope is required,
    /// and challenges name all scopes of the gateway.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoSuchScope`] for a scope that is none of the gateway's, because no token would ever have it.
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, BuildError> {
        let scopes: Vec<String> = scopes.into_iter().map(Into::into).collect();
        let known = &self.0.gateway.0.scopes;
        if let Some(name) = scopes.iter().find(|scope| !known.contains(scope)) {
            return Err(BuildError::NoSuchScope {
                name: name.clone(),
                known: listed(known.iter().map(String::as_str)),
            });
        }
        Ok(self.with(|guard| {
            guard.challenge.scopes.clone_from(&scopes);
            guard.scopes = scopes;
        }))
    }

    /// The same layer, which admits a request only if the person's session at this upstream has a token. Otherwise the request
    /// is answered with the [trouble](super::UpstreamTrouble). Default: a handler asks for the upstreams that it needs.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoSuchUpstream`] for a name that is none of the gateway's upstreams.
    pub fn requires(self, upstream: impl Into<String>) -> Result<Self, BuildError> {
        let (name, gateway) = (upstream.into(), &self.0.gateway.0);
        if gateway.upstream(&name).is_none() {
            let known = listed(gateway.upstreams.iter().map(|upstream| upstream.name.as_str()));
            return Err(BuildError::NoSuchUpstream { name, known });
        }
        Ok(self.with(|guard| guard.required.push(name)))
    }

    /// The same layer, which leaves `Mcp-Session-Id` as it is. It is for a server that checks itself that each MCP session
    /// belongs to one subject. Default: the layer signs the identifiers, and makes this check for the server.
    #[must_use]
    pub fn leaves_sessions(self) -> Self {
        self.with(|guard| guard.binds_sessions = false)
    }

    /// The same layer, which puts the [`UserContext`](tokenkeeper::user::UserContext) of the first upstream into the extensions
    /// of each request. If the upstream names no person now, the request is answered with the
    /// [trouble](super::UpstreamTrouble). Default: a handler asks for the users that it needs
    /// ([`UpstreamSession::user`](super::UpstreamSession::user)).
    #[must_use]
    pub fn gives_user(self) -> Self {
        self.with(|guard| guard.gives_user = true)
    }

    /// A layer with changed settings. This one's settings stay, because clones share them.
    fn with(self, change: impl FnOnce(&mut Guard)) -> Self {
        let Guard { gateway, resource, challenge, scopes, required, binds_sessions, gives_user } = &*self.0;
        let mut guard = Guard {
            gateway: gateway.clone(),
            resource: resource.clone(),
            challenge: challenge.clone(),
            scopes: scopes.clone(),
            required: required.clone(),
            binds_sessions: *binds_sessions,
            gives_user: *gives_user,
        };
        change(&mut guard);
        Self(Arc::new(guard))
    }
}

impl Guard {
    /// The sender of a request. An error is the answer to the request.
    async fn admit(&self, headers: &HeaderMap) -> Result<Inbound, Response> {
        let Some(token) = bearer(headers) else {
            count(&self.gateway.0.counters.refused);
            return Err(self.challenge.missing());
        };
        let (grant, account) = self.resolve(token).await?;
        if self.scopes.iter().any(|scope| !grant.scopes.contains(scope)) {
            return Err(self.challenge.narrow());
        }
        let inbound = Inbound::new(self.gateway.clone(), grant, account);
        for upstream in &self.required {
            let ready = match inbound.upstream(upstream) {
                Ok(session) => session.token().await.map(drop),
                Err(trouble) => Err(trouble),
            };
            ready.map_err(IntoResponse::into_response)?;
        }
        Ok(inbound)
    }

    /// The grant of a token, and the account of its person at the first upstream. An error is the answer to the request.
    async fn resolve(&self, token: &str) -> Result<(Grant, String), Response> {
        let inner = &self.gateway.0;
        let dead = || {
            count(&inner.counters.refused);
            self.challenge.dead()
        };
        let busy = |_| try_later(RETRY, "the gateway's store does not answer: try again");
        let now = inner.now();
        let token = AccessToken::read(&inner.seal, token).filter(|token| now < token.expires).ok_or_else(dead)?;
        let admitted = inner.families.admitted(token.family, token.number, self.resource.as_str(), now);
        let (grant, person) = admitted.await.map_err(busy)?.ok_or_else(dead)?;
        Ok((grant, person.account))
    }

    /// The owner of the MCP sessions of this sender at this layer's resource.
    fn owner(&self, inbound: &Inbound) -> Owner {
        Owner {
            issuer: inbound.issuer().to_owned(),
            resource: self.resource.as_str().to_owned(),
            subject: inbound.subject().to_owned(),
        }
    }
}

impl<S> Layer<S> for GatewayLayer {
    type Service = GatewayService<S>;

    fn layer(&self, inner: S) -> GatewayService<S> {
        GatewayService { inner, guard: Arc::clone(&self.0) }
    }
}

/// The service of a [`GatewayLayer`].
#[derive(Clone)]
pub struct GatewayService<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl<S> fmt::Debug for GatewayService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayService").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for GatewayService<S>
where
    S: Service<Request<B>, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that is ready (`poll_ready`) must be the one that is called, and the clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            let inbound = match guard.admit(request.headers()).await {
                Ok(inbound) => inbound,
                Err(answer) => return Ok(answer),
            };
            // The inbound token is meant for the gateway alone. The resource must not get it.
            request.headers_mut().remove(AUTHORIZATION);
            // The resource must not get the cookies of the gateway's pages either.
            strip_cookies(&guard.gateway.0.issuer, request.headers_mut());
            let owner = guard.binds_sessions.then(|| guard.owner(&inbound));
            if owner.as_ref().is_some_and(|owner| !owner.unwrap(&guard.gateway.0.seal, request.headers_mut())) {
                // After a 404, clients begin a new MCP session without signing in.
                return Ok(json_error(StatusCode::NOT_FOUND, "unknown_session", "there is no such session of yours"));
            }
            if guard.gives_user {
                let user = match inbound.first() {
                    Ok(session) => session.user().await,
                    Err(trouble) => Err(trouble),
                };
                match user {
                    Ok(user) => drop(request.extensions_mut().insert(user)),
                    Err(trouble) => return Ok(trouble.into_response()),
                }
            }
            request.extensions_mut().insert(inbound);
            let mut answer = inner.call(request).await?.into_response();
            if let Some(owner) = owner {
                owner.wrap(&guard.gateway.0.seal, answer.headers_mut());
            }
            Ok(answer)
        })
    }
}

/// The names, for an error.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "none".to_owned() } else { names }
}

/// The token of the `Authorization` header. `None` without such a header, with several, or with another scheme than `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
