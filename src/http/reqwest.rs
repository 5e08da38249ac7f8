//! The HTTP port over reqwest 0.13.
//!
//! # How requests could be sent twice, and the countermeasures
//!
//! Found in the sources of reqwest 0.13.5, hyper-util 0.1.21 and hyper 1.12:
//!
//! - **reqwest retries protocol NACKs** (HTTP/2 `REFUSED_STREAM`, `GOAWAY`) by default. `retry::never()` turns that
//!   off. `redirect::Policy::none()` turns off redirects that keep the method and body (307, 308).
//! - **hyper-util resends a request that a reused connection returned.** Its legacy client has
//!   `retry_canceled_requests` on, and reqwest has no switch for it. A pooled connection that turns out to be closed
//!   returns the request, which goes out on another connection. hyper returns it only if it had not begun to write it,
//!   but that is a judgement about a race in code outside this crate. `pool_max_idle_per_host(0)` turns the pool off.
//!   Every request then has its own connection, and hyper-util does not resend a request that a fresh connection
//!   returned. A token request comes once an hour. The saving of a kept-alive connection is not worth a race.
//! - **HTTP/2 is off** (`http1_only()`). One request on one connection needs no multiplexing, and its head would leave
//!   before its body is polled.
//! - **There is no second copy**, in case a layer above or below resends nevertheless. The body is a stream that yields
//!   its bytes once ([`OnceBody`]). reqwest and tower cannot clone it, and a connection that gets the request back
//!   after the bytes were taken has nothing to send.
//!
//! # How "not sent" is known
//!
//! The kind of the error does not decide it, because it only shows where the error surfaced. A connection that closes
//! before it gets the request and one that breaks within the answer both give `request` errors. The body decides it.
//! hyper's HTTP/1 dispatcher writes the head into a buffer, polls the body for its bytes, and flushes both after that.
//! If the body returns an error instead, the connection ends with nothing flushed. As long as the bytes have not been
//! taken, nothing has left. After a failed attempt the [`Gate`] is shut, so that no leftover task can take them later.
//! The deadline is checked in the same place, which is the last step before the first byte can leave.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::{Client, ClientBuilder, redirect, retry};

use super::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent, NotSent};

/// The connect time-out of [`ReqwestClient::new`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// [`HttpClient`] over reqwest.
///
/// It chooses no TLS provider. `https` works if the host enables one of reqwest's own TLS features in its own manifest.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReqwestClient {
    /// For `https`, through the host's proxies.
    secure: Client,
    /// For plain `http`, which is for loopback. It never goes through a proxy, which would read the tokens.
    plain: Client,
}

/// A [`ReqwestClient`] could not be built, because reqwest found no TLS provider or could not read the system's
/// configuration.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be built")]
pub struct ReqwestBuildError(#[source] reqwest::Error);

impl ReqwestClient {
    /// A client with reqwest's defaults, a connect time-out of 10 s, and `tokenkeeper/<version>` as its user agent.
    ///
    /// # Errors
    ///
    /// [`ReqwestBuildError`] when reqwest cannot be set up.
    ///
    /// # Panics
    ///
    /// reqwest itself panics with its feature `rustls-no-provider` where the process has installed no provider.
    pub fn new() -> Result<Self, ReqwestBuildError> {
        Self::with(|| {
            let agent = concat!("tokenkeeper/", env!("CARGO_PKG_VERSION"));
            Client::builder().user_agent(agent).connect_timeout(CONNECT_TIMEOUT)
        })
    }

    /// A client configured by the host (TLS, roots, proxies, resolver, user agent and connect time-out).
    ///
    /// It takes a builder and not a [`Client`], because a client does not reveal whether it repeats requests. It takes
    /// a closure, called twice, because plain `http` gets a client without proxies.
    ///
    /// The builder's settings for redirects, retries, pooling, HTTP versions, referers and compression are overridden.
    /// A cookie store is not, because reqwest can remove it only with its feature `cookies`. Do not configure one.
    ///
    /// # Errors
    ///
    /// [`ReqwestBuildError`] when reqwest cannot be set up with this configuration.
    pub fn with(configure: impl Fn() -> ClientBuilder) -> Result<Self, ReqwestBuildError> {
        let build = |builder: ClientBuilder| once(builder).build().map_err(ReqwestBuildError);
        Ok(Self { secure: build(configure())?, plain: build(configure().no_proxy())? })
    }

    async fn exchange(&self, exchange: Exchange, gate: &Arc<Gate>) -> Result<http::Response<Body>, Failure> {
        let Exchange { request, timeout, max_answer, .. } = exchange;
        let client = if request.uri().scheme() == Some(&http::uri::Scheme::HTTP) { &self.plain } else { &self.secure };
        let body = |body| reqwest::Body::wrap(OnceBody::new(body, Arc::clone(gate)));
        let mut request = reqwest::Request::try_from(request.map(body)).map_err(Failure::from)?;
        *request.timeout_mut() = Some(timeout);
        let mut answer = client.execute(request).await?;
        let length = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        if length > max_answer {
            return Err(Failure::Lost(MaybeSent::TooLarge));
        }
        let mut body = Body::with_capacity(length);
        while let Some(chunk) = answer.chunk().await? {
            if chunk.len() > max_answer - body.as_bytes().len() {
                return Err(Failure::Lost(MaybeSent::TooLarge));
            }
            body.extend(&chunk);
        }
        let mut whole = http::Response::new(body);
        *whole.status_mut() = answer.status();
        *whole.version_mut() = answer.version();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(whole)
    }
}

/// Allows one connection and no second attempt. The module documentation gives the reasons.
fn once(builder: ClientBuilder) -> ClientBuilder {
    builder
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .pool_max_idle_per_host(0)
        .http1_only()
        .referer(false)
        // The limit applies to the bytes read, not to their decompressed size.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let gate = Arc::new(Gate::new(exchange.departure.clone(), exchange.request.body()));
        // A late request needs no connection.
        if !exchange.departure.may_leave() {
            return Err(HttpError::NotSent(NotSent::TooLate));
        }
        self.exchange(exchange, &gate).await.map_err(|failure| {
            tracing::debug!(%failure, "a request failed");
            match (gate.shut(), failure) {
                (Passage::Left, Failure::Lost(why)) => HttpError::MaybeSent(why),
                (Passage::Left, Failure::Reqwest(error)) if error.is_timeout() => {
                    HttpError::MaybeSent(MaybeSent::TimedOut)
                }
                (Passage::Left, Failure::Reqwest(_)) => HttpError::MaybeSent(MaybeSent::Broken),
                (Passage::TooLate, _) => HttpError::NotSent(NotSent::TooLate),
                (Passage::Shut, Failure::Reqwest(error)) if error.is_builder() => {
                    HttpError::NotSent(NotSent::Unbuildable)
                }
                (Passage::Shut, _) => HttpError::NotSent(NotSent::Unreachable),
            }
        })
    }
}

/// Why the attempt failed, without regard to whether bytes had left.
enum Failure {
    Lost(MaybeSent),
    Reqwest(reqwest::Error),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // The URL may have a secret query.
        Self::Reqwest(error.without_url())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Lost(why) => why.fmt(f),
            Failure::Reqwest(error) => {
                error.fmt(f)?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
        }
    }
}

/// Lets the bytes of a request pass once, or never.
#[derive(Debug)]
struct Gate {
    departure: Departure,
    passage: AtomicU8,
}

/// The state of a request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// The connection has them.
    Left,
    /// They were polled after the deadline.
    TooLate,
    /// They have not left, and never will.
    Shut,
}

impl Gate {
    const WAITING: u8 = 0;
    const LEFT: u8 = 1;
    const TOO_LATE: u8 = 2;
    const SHUT: u8 = 3;

    fn new(departure: Departure, body: &Body) -> Self {
        // The bytes of an empty body are never polled. They count as gone from the start.
        let passage = if body.as_bytes().is_empty() { Self::LEFT } else { Self::WAITING };
        Self { departure, passage: AtomicU8::new(passage) }
    }

    /// Whether the bytes may leave, now that the connection asks for them.
    fn pass(&self) -> bool {
        let to = if self.departure.may_leave() { Self::LEFT } else { Self::TOO_LATE };
        self.settle(to) == Ok(Self::WAITING) && to == Self::LEFT
    }

    /// Blocks all later passage, and returns the state so far.
    fn shut(&self) -> Passage {
        match self.settle(Self::SHUT) {
            Err(Self::LEFT) => Passage::Left,
            Err(Self::TOO_LATE) => Passage::TooLate,
            _ => Passage::Shut,
        }
    }

    fn settle(&self, to: u8) -> Result<u8, u8> {
        self.passage.compare_exchange(Self::WAITING, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// A body that yields its bytes once.
struct OnceBody {
    bytes: Option<Bytes>,
    gate: Arc<Gate>,
}

impl OnceBody {
    fn new(body: Body, gate: Arc<Gate>) -> Self {
        // Owned, so that they are wiped when the connection drops them.
        Self { bytes: Some(Bytes::from_owner(body)).filter(|bytes| !bytes.is_empty()), gate }
    }
}

/// The bytes were polled after the deadline, or after the attempt was abandoned.
#[derive(Debug, thiserror::Error)]
#[error("the request may not leave any more")]
struct MayNotLeave;

impl http_body::Body for OnceBody {
    type Data = Bytes;
    type Error = MayNotLeave;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        let frame = if self.gate.pass() { Ok(Frame::data(bytes)) } else { Err(MayNotLeave) };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests;
