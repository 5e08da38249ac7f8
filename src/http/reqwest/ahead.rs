//! Connections that stand before their request.
//!
//! reqwest connects for a request and sends it in one call. A connector layer takes that call apart. [`Ahead`] is the
//! outermost layer, so that it sees whole connections, with TLS and through the host's proxies and layers. It acts for the
//! [`Errand`] in whose scope a request runs:
//!
//! - [`establish`]: it puts the connection aside and fails. The request that asked for it is never sent.
//! - [`over`]: it returns the connection that was put aside, instead of a new one.
//! - Any other request gets a new connection.
//!
//! The connect time-out of the client covers the first of these and not the time for which a connection is kept.
//!
//! The errand is local to the task, because reqwest gives a layer nothing that tells requests apart. The client calls its
//! connector in the task of the request, since it keeps no idle connections.

use std::any::Any;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBuf};
use tower_layer::Layer;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    /// The connector's task for the request that this tokio task makes.
    static ERRAND: Errand;
}

#[derive(Clone)]
enum Errand {
    /// Put the connection aside.
    Establish(Aside),
    /// Use the connection that was put aside.
    Use(Aside),
}

/// The place of a connection that was put aside.
#[derive(Clone, Default)]
struct Aside(Arc<Mutex<Option<Box<dyn Idle>>>>);

impl Aside {
    fn put(&self, connection: impl Idle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(connection));
    }

    fn take(&self) -> Option<Box<dyn Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection on which nothing was sent.
pub(super) struct Standing(Box<dyn Idle>);

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

/// Returns the connection that `request` would have been sent over, or its error. The request is not sent.
pub(super) async fn establish<T, E>(request: impl Future<Output = Result<T, E>>) -> Result<Standing, Option<E>> {
    let aside = Aside::default();
    let failure = ERRAND.scope(Errand::Establish(aside.clone()), request).await.err();
    aside.take().map(Standing).ok_or(failure)
}

/// Runs `request` over the connection that stands, if it is still open. The request fails otherwise.
pub(super) async fn over<T>(standing: Standing, request: impl Future<Output = T>) -> T {
    // A turn for the runtime to notice that the peer has closed the connection.
    tokio::task::yield_now().await;
    let aside = Aside(Arc::new(Mutex::new(Some(standing.0))));
    ERRAND.scope(Errand::Use(aside), request).await
}

/// A connection of any type, on which nothing was sent.
trait Idle: Send + 'static {
    /// Whether it is open and nothing has arrived. A peer that sends anything before a request ends the connection, or does
    /// not speak HTTP.
    fn is_open(&mut self) -> bool;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Read + Unpin + Send + 'static> Idle for T {
    fn is_open(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut cx, buffer.unfilled()).is_pending()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The connector layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead;

impl<S> Layer<S> for Ahead {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Connector(inner)
    }
}

/// The service of [`Ahead`].
#[derive(Clone, Debug)]
pub(super) struct Connector<S>(S);

impl<S, R> Service<R> for Connector<S>
where
    S: Service<R, Error = BoxError>,
    S::Response: Read + Unpin + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match ERRAND.try_with(Errand::clone) {
            Ok(Errand::Establish(aside)) => {
                let connection = self.0.call(request);
                Box::pin(async move {
                    aside.put(connection.await?);
                    Err(BoxError::from(PutAside))
                })
            }
            Ok(Errand::Use(aside)) => {
                let open = aside.take().and_then(|mut connection| connection.is_open().then_some(connection));
                let connection = open.and_then(|connection| connection.into_any().downcast().ok());
                Box::pin(ready(connection.map(|connection| *connection).ok_or_else(|| BoxError::from(Closed))))
            }
            Err(_) => Box::pin(self.0.call(request)),
        }
    }
}

/// The error of a request that only establishes a connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection was put aside")]
struct PutAside;

/// The peer closed the connection before the request.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed before the request")]
struct Closed;
