//! Connections that are established ahead of their request.
//!
//! reqwest connects and sends a request in one call. [`establish`] starts a request only to get its connection. The connector
//! layer [`Ahead`] puts the connection aside and then fails the request, so that reqwest never sends anything. `Ahead` is the
//! outermost layer, so its connections are complete, with TLS and through the host's proxies and layers.
//!
//! The connection is passed in a task-local variable, because a layer does not know for which request it connects. The
//! client calls its connector in the task of the request, since it keeps no idle connections.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBuf, Write};
use hyper_util::client::legacy::connect::Connection;
use tower_layer::Layer;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    /// The place for the connection of the request that this tokio task makes.
    static ASIDE: Aside;
}

/// The place in which a connection is put aside.
#[derive(Clone, Default)]
struct Aside(Arc<Mutex<Option<Box<dyn Stream>>>>);

impl Aside {
    fn put(&self, connection: impl Stream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(connection));
    }

    fn take(&self) -> Option<Box<dyn Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection of any type.
pub(super) trait Stream: Read + Write + Unpin + Send + 'static {}

impl<T: Read + Write + Unpin + Send + 'static> Stream for T {}

/// A connection on which nothing was sent.
pub(super) struct UnusedConnection(Box<dyn Stream>);

impl fmt::Debug for UnusedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnusedConnection")
    }
}

impl UnusedConnection {
    /// Returns the connection if it is open and nothing has arrived on it. A peer that sends bytes before a request is closing
    /// the connection, or does not speak HTTP.
    pub(super) async fn still_open(mut self) -> Option<Self> {
        // Lets the tokio runtime notice that the peer has closed the connection.
        tokio::task::yield_now().await;
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0).poll_read(&mut cx, buffer.unfilled()).is_pending().then_some(self)
    }

    pub(super) fn into_inner(self) -> Box<dyn Stream> {
        self.0
    }
}

/// Returns the connection that `request` would have been sent over, or its error. The request is not sent.
pub(super) async fn establish<T, E>(
    request: impl Future<Output = Result<T, E>>,
) -> Result<UnusedConnection, Option<E>> {
    let aside = Aside::default();
    let failure = ASIDE.scope(aside.clone(), request).await.err();
    aside.take().map(UnusedConnection).ok_or(failure)
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
    S::Response: Stream + Connection,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let aside = ASIDE.try_with(Aside::clone);
        let connection = self.0.call(request);
        Box::pin(async move {
            let (aside, connection) = (aside?, connection.await?);
            // The host's TLS configuration may offer HTTP/2, although this client does not.
            if connection.connected().is_negotiated_h2() {
                return Err(BoxError::from(SpeaksHttp2));
            }
            // Without TLS, reqwest hands out a connection to the proxy, which would read the request.
            if connection.connected().is_proxied() {
                return Err(BoxError::from(EndsAtProxy));
            }
            aside.put(connection);
            Err(BoxError::from(PutAside))
        })
    }
}

/// The error of a request that only establishes a connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection was put aside")]
struct PutAside;

/// The error for a connection over which the server expects HTTP/2.
#[derive(Debug, thiserror::Error)]
#[error("the server chose HTTP/2, which this client does not speak; offer it only HTTP/1.1")]
struct SpeaksHttp2;

/// The error for a connection that ends at the proxy, which would read the request.
#[derive(Debug, thiserror::Error)]
#[error("the proxy gave no tunnel to the server; enable one of reqwest's TLS features")]
struct EndsAtProxy;
