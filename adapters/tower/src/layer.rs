//! The layer, and its service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokenkeeper::{AuthSession, Call, Misdirected, OperationKey};
use tower_layer::Layer;
use tower_service::Service;

use crate::future::{Again, Sending, SessionFuture};
use crate::verdicts::Verdicts;
use crate::{Incoming, Outgoing, Resend, SendError};

/// The hook that names a request's operation.
type Operation<R> = Arc<dyn Fn(&R) -> Option<OperationKey> + Send + Sync>;

/// A [`Layer`] that sends requests of type `R` with a session's tokens.
///
/// See the [crate](crate) for the rules. Cheap to clone. Clones, and the services that they make, share the remembered checks
/// of URLs.
pub struct SessionLayer<R> {
    session: AuthSession,
    elsewhere: Elsewhere,
    again: Again<R>,
    operation: Option<Operation<R>>,
    patience: Option<Duration>,
    min_lifetime: Duration,
    verdicts: Arc<Verdicts>,
}

/// The treatment of a request that goes to another server than the session's, or to another path of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Elsewhere {
    /// The request is refused with [`Misdirected`], and nothing is sent. If all requests of a host go to one server, this
    /// reveals a wrong URL.
    #[default]
    Refused,
    /// The request is sent unchanged, without a token, and the caller gets any answer. This is for clients that also send
    /// requests to other servers. A request without an absolute URL is still refused.
    Bare,
}

impl<R: Resend> SessionLayer<R> {
    /// A layer that sends a request again after its token was refused, if the request [can be copied](Resend::again).
    pub fn new(session: AuthSession) -> Self {
        Self::with(session, Arc::new(R::again))
    }
}

impl<R: Outgoing> SessionLayer<R> {
    /// A layer that sends every request once. It works for requests with any body.
    ///
    /// The caller gets a 401 as the answer. The refusal is also reported to the session, so if the caller repeats the request,
    /// it gets another token.
    pub fn once(session: AuthSession) -> Self {
        Self::with(session, Arc::new(|_| None))
    }

    fn with(session: AuthSession, again: Again<R>) -> Self {
        Self {
            session,
            elsewhere: Elsewhere::default(),
            again,
            operation: None,
            patience: None,
            min_lifetime: Duration::ZERO,
            verdicts: Arc::default(),
        }
    }

    /// The same layer, which copies requests with `again` instead of [`Resend::again`]. `again` is called before the token is
    /// put into the request. If it returns `None`, the request is sent only once.
    ///
    /// ```
    /// use tokenkeeper_tower::SessionLayer;
    ///
    /// /// A body that some other crate defines, and that is not `Clone`.
    /// enum Body { Text(String), Stream(std::fs::File) }
    ///
    /// fn layer(session: tokenkeeper::AuthSession) -> SessionLayer<http::Request<Body>> {
    ///     SessionLayer::once(session).resend(|request: &http::Request<Body>| {
    ///         let Body::Text(text) = request.body() else { return None };
    ///         let mut again = http::Request::new(Body::Text(text.clone()));
    ///         *again.method_mut() = request.method().clone();
    ///         *again.uri_mut() = request.uri().clone();
    ///         *again.headers_mut() = request.headers().clone();
    ///         Some(again)
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn resend(self, again: impl Fn(&R) -> Option<R> + Send + Sync + 'static) -> Self {
        Self { again: Arc::new(again), ..self }
    }

    /// The same layer, with this treatment of requests to other servers or paths. Default: [`Elsewhere::Refused`].
    #[must_use]
    pub fn elsewhere(self, elsewhere: Elsewhere) -> Self {
        Self { elsewhere, ..self }
    }

    /// The same layer, with `operation` as the function that names a request's operation. Refusals that no refresh cures are
    /// remembered by operation (law 11), so a host that knows the tools of its requests can keep the tools apart. `None`
    /// selects the default, which is the method with the URL's path.
    ///
    /// ```
    /// use tokenkeeper::OperationKey;
    /// use tokenkeeper_tower::SessionLayer;
    ///
    /// # fn layer(session: tokenkeeper::AuthSession) -> SessionLayer<http::Request<String>> {
    /// // The MCP protocol of 2026 names method and tool in headers.
    /// SessionLayer::new(session).operation(|request: &http::Request<String>| {
    ///     let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    ///     Some(OperationKey::of(&format!("{} {}", text("mcp-method")?, text("mcp-name").unwrap_or_default())))
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn operation(self, operation: impl Fn(&R) -> Option<OperationKey> + Send + Sync + 'static) -> Self {
        Self { operation: Some(Arc::new(operation)), ..self }
    }

    /// The same layer, whose requests wait for tokens for at most `span` each, all attempts together ([`Call::patience`]).
    /// Default: 30 s.
    #[must_use]
    pub fn patience(self, span: Duration) -> Self {
        Self { patience: Some(span), ..self }
    }

    /// The same layer, whose tokens live at least `span` longer when they are sent ([`Call::min_lifetime`]). Default: no
    /// limit.
    #[must_use]
    pub fn min_lifetime(self, span: Duration) -> Self {
        Self { min_lifetime: span, ..self }
    }

    fn call(&self, operation: OperationKey) -> Call {
        let call = self.session.call(operation).min_lifetime(self.min_lifetime);
        match self.patience {
            Some(span) => call.patience(span),
            None => call,
        }
    }
}

impl<R> Clone for SessionLayer<R> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            elsewhere: self.elsewhere,
            again: Arc::clone(&self.again),
            operation: self.operation.clone(),
            patience: self.patience,
            min_lifetime: self.min_lifetime,
            verdicts: Arc::clone(&self.verdicts),
        }
    }
}

impl<R> fmt::Debug for SessionLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("identity", self.session.identity())
            .field("elsewhere", &self.elsewhere)
            .finish_non_exhaustive()
    }
}

impl<S, R> Layer<S> for SessionLayer<R> {
    type Service = SessionService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, layer: Arc::new(self.clone()) }
    }
}

/// The [`Service`] of a [`SessionLayer`], which sends requests of type `R` through the service `S`.
///
/// It is ready when the inner service is ready, and calls the instance that was ready. Further attempts of a request wait until
/// that instance is ready again. An inner service is therefore never called without being ready.
pub struct SessionService<S, R> {
    inner: S,
    layer: Arc<SessionLayer<R>>,
}

impl<S, R> SessionService<S, R> {
    /// The inner service.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The inner service, without the layer.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R> Service<R> for SessionService<S, R>
where
    S: Service<R> + Clone + Send + 'static,
    S::Response: Incoming,
    S::Future: Send,
    R: Outgoing,
{
    type Response = S::Response;
    type Error = SendError<S::Error>;
    type Future = SessionFuture<S, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(SendError::Inner)
    }

    /// Sends `request`, with a token if it needs one.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the attempt that is under way. A refresh that has begun goes on, and a refusal that was
    /// received is noted.
    fn call(&mut self, request: R) -> Self::Future {
        // The instance that was polled ready must be called. Its clone, which may not be ready yet, takes its place.
        let inner = self.inner.clone();
        let mut service = mem::replace(&mut self.inner, inner);
        if request.headers().contains_key(AUTHORIZATION) {
            return SessionFuture::untouched(service.call(request));
        }
        let layer = &*self.layer;
        let (destination, by_path) = layer.verdicts.of(&layer.session, &request);
        let to = match destination {
            Ok(to) => to,
            Err(Misdirected::OtherOrigin { .. } | Misdirected::OtherPath { .. })
                if layer.elsewhere == Elsewhere::Bare =>
            {
                return SessionFuture::untouched(service.call(request));
            }
            Err(error) => return SessionFuture::failed(error.into()),
        };
        let named = layer.operation.as_ref().and_then(|operation| operation(&request));
        let call = layer.call(named.unwrap_or(by_path));
        Sending::new(service, call, to, Arc::clone(&layer.again)).begin(request)
    }
}

impl<S: Clone, R> Clone for SessionService<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for SessionService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}
