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
//!
//! # How a connection stands before its request
//!
//! [`ahead`] is a connector layer. [`HttpClient::connect`] runs a request whose gate is shut. The layer puts its connection
//! aside and fails it, so that nothing is sent. The later request is an ordinary one, with a gate of its own, to which the
//! layer hands that connection instead of a new one. At that moment it reads from the connection. An end or any byte means
//! that the peer has closed it, or does not speak HTTP. The request then fails while its gate has not been passed, and is
//! `NotSent`. A connection that the peer closes later than that is lost like any other.
//!
//! # How an answer could be lost although it arrived, and the countermeasures
//!
//! - **A time-out that fires late** comes before the bytes that wait in the socket. [`Timeout`] replaces reqwest's.
//! - **A body that breaks off** after its JSON object, or after the tokens in it, is an error in hyper. [`read`] looks at
//!   the bytes first.
//! - **A header line that is not HTTP** is an error in hyper, and so is a 101st header. Its switches for responses are
//!   on: invalid lines are skipped, folded lines and blanks before the colon are accepted, and so are a thousand headers.
//!   hyper bounds a head at about 400 KiB.
//! - **A compressed body** is returned as it arrived. [`decode`](super::decode()) is called above the port.
//!
//! hyper returns no body of some messages, and these answers are lost: a NUL or a bare CR in a header, a status line
//! that it cannot parse, a length that is no number or contradicts another, and a body without chunks whose header
//! announces chunks.
//!
//! A dead peer is noticed within half a minute, however long the time-out is, because the kernel probes the connection
//! while no answer comes.

mod ahead;
mod gate;
mod timeout;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, ClientBuilder, redirect, retry};

use self::ahead::{Ahead, Standing};
use self::gate::{Gate, OnceBody, Passage};
use self::timeout::{Timeout, alarm, before};
use super::{
    Body, Departure, Exchange, HttpClient, HttpConnection, HttpError, MaybeSent, NotSent, is_answer, is_whole_object,
};

/// The connect time-out of [`ReqwestClient::new`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Ten years, set in place of reqwest's own time-outs, which would fire without a look at the socket.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The pause within a body after which the bytes so far are examined for a whole JSON object.
const PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of bytes that are reserved for an announced length.
const MAX_RESERVED: usize = 64 * 1024;

/// The addresses of `localhost`. Port 0 stands for the port of the request.
const LOOPBACK: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// The maximum number of headers of an answer. hyper's default is 100.
const MAX_HEADERS: usize = 1_000;

/// The silence on a connection after which the kernel probes its peer.
const PROBE_AFTER: Duration = Duration::from_secs(10);

/// The interval between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// The number of unanswered probes after which the peer is dead.
const MAX_PROBES: u32 = 4;

/// How long the request's bytes may stay unacknowledged. Linux also ends its probes after this time.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// [`HttpClient`] over reqwest.
///
/// A connection on which no answer comes is probed (TCP keep-alive), so that a dead peer is noticed within half a minute.
///
/// It chooses no TLS provider. `https` works if the host enables one of reqwest's own TLS features in its own manifest.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReqwestClient {
    /// For `https`, through the host's proxies.
    secure: Client,
    /// For plain `http`, which is for loopback. It never goes through a proxy, which would read the tokens, and
    /// `localhost` is the loopback there, even if the name resolves to another address.
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
    /// The builder's settings for redirects, retries, pooling, HTTP versions, referers, compression, tolerance towards
    /// headers, TCP keep-alive, verbose connections, and time-outs other than that of connecting are overridden. A cookie
    /// store is not, because reqwest can remove it only with its feature `cookies`. Do not configure one.
    ///
    /// # Errors
    ///
    /// [`ReqwestBuildError`] when reqwest cannot be set up with this configuration.
    pub fn with(configure: impl Fn() -> ClientBuilder) -> Result<Self, ReqwestBuildError> {
        let build = |builder: ClientBuilder| once(builder).build().map_err(ReqwestBuildError);
        let plain = configure().no_proxy().resolve_to_addrs("localhost", &LOOPBACK);
        Ok(Self { secure: build(configure())?, plain: build(plain)? })
    }

    /// Runs `request`, whose bytes pass `gate`.
    async fn execute(
        &self,
        request: http::Request<Body>,
        gate: &Arc<Gate>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let client = if request.uri().scheme() == Some(&http::uri::Scheme::HTTP) { &self.plain } else { &self.secure };
        let body = |body| reqwest::Body::wrap(OnceBody::new(body, Arc::clone(gate)));
        let mut request = reqwest::Request::try_from(request.map(body))?;
        *request.timeout_mut() = Some(NEVER);
        client.execute(request).await
    }

    async fn exchange(&self, exchange: Exchange, gate: &Arc<Gate>) -> Result<http::Response<Body>, Failure> {
        let Exchange { request, timeout, max_answer, .. } = exchange;
        let execution = self.execute(request, gate);
        let mut timeout = Timeout::new(timeout, gate);
        let mut answer = timeout.first(execution).await.ok_or(Failure::Lost(MaybeSent::TimedOut))??;
        let body = read(&mut answer, max_answer, &mut timeout).await?;
        let mut whole = http::Response::new(body);
        *whole.status_mut() = answer.status();
        *whole.version_mut() = answer.version();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(whole)
    }
}

/// Reads the body of `answer`.
///
/// A body that breaks off, or exceeds the limit, is complete if its JSON object is. So is a body after which nothing more
/// comes but blanks, and not the end that its framing announced. Nothing that could still come would change the answer.
///
/// A body that breaks off, exceeds the limit or takes too long is returned too if its tokens have arrived.
async fn read(answer: &mut reqwest::Response, max_answer: usize, timeout: &mut Timeout) -> Result<Body, Failure> {
    let length = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut body = Body::with_capacity(length.min(max_answer).min(MAX_RESERVED));
    let mut quiet = alarm(PAUSE);
    loop {
        let failure = match timeout.first(before(&mut quiet, answer.chunk())).await {
            Some(Some(Ok(Some(chunk)))) => {
                let room = max_answer - body.as_bytes().len();
                body.extend(&chunk[..chunk.len().min(room)]);
                if chunk.len() <= room {
                    // Blanks after an object are no progress.
                    if !chunk.iter().all(u8::is_ascii_whitespace) {
                        quiet = alarm(PAUSE);
                    }
                    continue;
                }
                Some(Failure::Lost(MaybeSent::TooLarge))
            }
            Some(Some(Ok(None))) => return Ok(body),
            Some(Some(Err(error))) => Some(Failure::from(error)),
            Some(None) => None,
            None => Some(Failure::Lost(MaybeSent::TimedOut)),
        };
        match failure {
            None if is_whole_object(answer.headers(), body.as_bytes(), max_answer) => return Ok(body),
            // These bytes have been examined. They are examined again after more than blanks has arrived.
            None => quiet = alarm(NEVER),
            Some(_) if is_answer(answer.status(), answer.headers(), body.as_bytes(), max_answer) => return Ok(body),
            Some(failure) => return Err(failure),
        }
    }
}

/// Allows one connection and no second attempt, and reads what arrives. The module documentation gives the reasons.
fn once(builder: ClientBuilder) -> ClientBuilder {
    let builder = builder
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .pool_max_idle_per_host(0)
        .http1_only()
        .referer(false)
        // It would log the bytes of requests and answers, tokens included.
        .connection_verbose(false)
        // The limit applies to the bytes read. `decode` has a limit of its own.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .read_timeout(NEVER)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_max_headers(MAX_HEADERS)
        .connector_layer(Ahead)
        .tcp_keepalive(PROBE_AFTER)
        .tcp_keepalive_interval(PROBE_EVERY)
        .tcp_keepalive_retries(MAX_PROBES);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
    builder
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let is_secure = exchange.request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
        let gate = Arc::new(Gate::new(exchange.departure.clone(), exchange.request.body()));
        // A request that may not leave any more needs no connection.
        if !exchange.departure.may_leave() {
            return Err(HttpError::NotSent(NotSent::TooLate));
        }
        self.exchange(exchange, &gate).await.map_err(|failure| {
            tracing::debug!(%failure, "a request failed");
            match (gate.shut(), failure) {
                (Passage::Left, Failure::Lost(why)) => HttpError::MaybeSent(why),
                // This includes a peer that the kernel's probes found dead.
                (Passage::Left, Failure::Reqwest(_)) => HttpError::MaybeSent(MaybeSent::Broken),
                (Passage::TooLate, _) => HttpError::NotSent(NotSent::TooLate),
                (Passage::Shut, Failure::Reqwest(error)) if error.is_builder() => {
                    HttpError::NotSent(NotSent::Unbuildable)
                }
                (Passage::Shut, Failure::Reqwest(error)) if is_secure && is_of_tls(&error) => {
                    HttpError::NotSent(NotSent::Untrusted)
                }
                (Passage::Shut, _) => HttpError::NotSent(NotSent::Unreachable),
            }
        })
    }

    async fn connect(&self, uri: &http::Uri) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        // A request that stays here: its bytes cannot pass the gate, even if a layer below asked for them.
        let mut request = http::Request::new(Body::new("-"));
        *request.uri_mut() = uri.clone();
        let gate = Arc::new(Gate::new(Departure::at_any_time(), request.body()));
        gate.shut();
        match ahead::establish(self.execute(request, &gate)).await {
            Ok(standing) => Ok(Some(Box::new(ReqwestConnection { client: self.clone(), to: uri.clone(), standing }))),
            Err(Some(error)) if error.is_builder() => Err(NotSent::Unbuildable),
            Err(Some(error)) if uri.scheme() == Some(&http::uri::Scheme::HTTPS) && is_of_tls(&error) => {
                tracing::debug!(failure = %Failure::from(error), "no connection was established");
                Err(NotSent::Untrusted)
            }
            Err(failure) => {
                let failure = failure.map(Failure::from);
                tracing::debug!(failure = failure.map(tracing::field::display), "no connection was established");
                Err(NotSent::Unreachable)
            }
        }
    }
}

/// A connection of a [`ReqwestClient`] for one request.
#[derive(Debug)]
struct ReqwestConnection {
    client: ReqwestClient,
    /// The URI that it was established for.
    to: http::Uri,
    standing: Standing,
}

#[async_trait]
impl HttpConnection for ReqwestConnection {
    async fn send(self: Box<Self>, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let Self { client, to, standing } = *self;
        let uri = exchange.request.uri();
        if (uri.scheme(), uri.authority()) != (to.scheme(), to.authority()) {
            return client.send(exchange).await;
        }
        ahead::over(standing, client.send(exchange)).await
    }
}

/// Whether a connection was not established because TLS failed. rustls reports [`io::ErrorKind::InvalidData`] within
/// other I/O errors. The errors of other libraries have types that are not known here, so their text decides.
fn is_of_tls(error: &reqwest::Error) -> bool {
    let is_invalid = |cause: &(dyn Error + 'static)| {
        let mut layers = std::iter::successors(cause.downcast_ref::<io::Error>(), |error| {
            let error: &io::Error = error;
            error.get_ref()?.downcast_ref()
        });
        layers.any(|error| error.kind() == io::ErrorKind::InvalidData)
    };
    let names_tls = |cause: &(dyn Error + 'static)| {
        let text = cause.to_string().to_ascii_lowercase();
        ["certificate", "handshake", "ssl"].iter().any(|word| text.contains(word))
    };
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    error.is_connect() && causes.any(|cause| is_invalid(cause) || names_tls(cause))
}

/// The reason why the attempt failed, without regard to whether bytes had left.
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
