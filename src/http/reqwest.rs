//! The HTTP port over reqwest 0.13.
//!
//! reqwest makes the connections, through the host's proxies, resolver, TLS and connector layers ([`ahead`]). The request
//! goes through hyper's own HTTP/1 connection ([`conversation`]), in the future of the exchange.
//!
//! # How requests could be sent twice, and the countermeasures
//!
//! These are found in the sources of reqwest 0.13.5, hyper-util 0.1.21 and hyper 1.12:
//!
//! - **reqwest retries protocol NACKs** (HTTP/2 `REFUSED_STREAM`, `GOAWAY`), and hyper-util's client resends a request that a
//!   reused connection returned. No request is sent through either. `retry::never()` also keeps reqwest from connecting again.
//! - **Every request has its own connection.** A session sends a token request about once an hour. A kept-alive connection
//!   would save little, and the server could close it while the request is on its way.
//! - **HTTP/2 is off** (`http1_only()`). One request on one connection needs no multiplexing, and its head would leave
//!   before its body is polled.
//! - **There is no second copy**, in case a layer resends nevertheless. The body is a stream that yields its bytes once
//!   ([`OnceBody`]). A connection that gets the request back after the bytes were taken has nothing to send.
//!
//! # How "not sent" is known
//!
//! The kind of the error does not show whether bytes have left. It only shows where the error surfaced. The body decides
//! it. hyper's HTTP/1 dispatcher writes the head into a buffer, polls the body for its bytes, and flushes both after that.
//! If the body returns an error instead, the connection ends with nothing flushed. As long as the bytes have not been
//! taken, nothing has left. After a failed attempt the [`Gate`] is shut, so that no leftover task can take them later. The
//! deadline is checked in the same place, which is the last step before the first byte can leave.
//!
//! # How a connection is opened before its request
//!
//! [`HttpClient::connect`] establishes a connection and keeps it. The later request first reads from it. An end or any byte
//! means that the peer has closed it, or does not speak HTTP. The request then fails before it has passed its gate, and is
//! reported as `NotSent`. If the peer closes the connection later, the request is lost as on any other connection.
//!
//! # How a peer could occupy the host's threads, and the countermeasures
//!
//! hyper skips any number of informational answers (1xx), and reads as long as bytes are ready. [`bounded`] counts the bytes.
//! Other tasks run after every 64 KiB. A head may have 512 KiB, including the informational answers before it. A body may take
//! eight bytes on the wire for each byte of its maximum length.
//!
//! # How an answer could be lost although it arrived, and the countermeasures
//!
//! - **A time-out that fires late** comes before the bytes that wait in the socket. [`Timeout`] reads the socket first.
//! - **A body that breaks off** after its JSON object, or after the tokens in it, is an error in hyper.
//!   [`Conversation::exchange`] examines the bytes that came first.
//! - **A header line that is not HTTP** is an error in hyper, and so is a 101st header. hyper's switches for lenient
//!   responses are on: invalid lines are skipped, folded lines and blanks before the colon are accepted, and so are a
//!   thousand headers. hyper bounds a head at about 400 KiB.
//! - **A compressed body** is returned as it arrived. [`decode`](super::decode()) is called above the port.
//!
//! hyper returns no body of some messages, and these answers are lost: a NUL or a bare CR in a header, a status line
//! that it cannot parse, a length that is no number or contradicts another, and a body without chunks whose header
//! announces chunks.
//!
//! # How a server could name an address in the host's network, and the countermeasures
//!
//! A request whose [`Reach`] is limited goes through a separate client. Address literals are checked before the request, since
//! reqwest asks no resolver for them. The [`guard`] checks the addresses of names, and reqwest connects to those. That client
//! uses no proxy of the environment, which would resolve names itself. Requests to the loopback go through the client for plain
//! `http`. No request follows a redirect, because reqwest itself sends no request.
//!
//! A dead peer is noticed within half a minute, however long the time-out is, because the kernel probes the connection
//! while no answer comes.

mod ahead;
mod bounded;
mod conversation;
mod egress;
mod failure;
mod gate;
mod guard;
mod timeout;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use http_body::Body as _;
use reqwest::{Client, ClientBuilder, retry};
use url::Url;

use self::ahead::{Ahead, UnusedConnection};
use self::conversation::Conversation;
use self::failure::Failure;
use self::gate::{Gate, OnceBody, Passage};
use self::timeout::{NEVER, Timeout};
use super::reach::is_loopback;
use super::{Body, Exchange, HttpClient, HttpConnection, HttpError, MaybeSent, NotSent, Reach};

pub use self::egress::Egress;

/// The connect time-out of [`ReqwestClient::new`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The user agent, unless the host chooses another.
const AGENT: &str = concat!("tokenkeeper/", env!("CARGO_PKG_VERSION"));

/// The addresses of `localhost`. Port 0 stands for the port of the request.
const LOOPBACK: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// The silence on a connection after which the kernel probes its peer.
const PROBE_AFTER: Duration = Duration::from_secs(10);

/// The interval between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// The number of unanswered probes after which the peer is dead.
const MAX_PROBES: u32 = 4;

/// The maximum time that the request's bytes may stay unacknowledged. Linux also ends its probes after this time.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// [`HttpClient`] over reqwest.
///
/// A connection on which no answer comes is probed (TCP keep-alive), so that a dead peer is noticed within half a minute.
///
/// The client chooses no TLS provider. `https` works if the host enables one of reqwest's own TLS features in its own
/// manifest. Cheap to clone.
#[derive(Clone)]
pub struct ReqwestClient {
    /// The client for `https`, through the host's proxies.
    secure: Client,
    /// The client for plain `http`, which is meant for loopback. It never uses a proxy, which could read the tokens.
    /// `localhost` always means the loopback, even if the name resolves to another address.
    plain: Client,
    /// The client for public addresses only, over the host's [`Egress`].
    guarded: Client,
    /// The headers of every request that has none of the same name.
    headers: HeaderMap,
}

/// A [`ReqwestClient`] could not be built, because reqwest found no TLS provider or could not read the system's
/// configuration.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be built")]
pub struct ReqwestBuildError(#[source] reqwest::Error);

impl ReqwestClient {
    /// A client with reqwest's defaults, a connect time-out of 10 s, and `tokenkeeper/<version>` as its user agent. It enforces
    /// the [`Reach`] of each request, and reaches servers by [`Egress::Direct`].
    ///
    /// # Errors
    ///
    /// [`ReqwestBuildError`] when reqwest cannot be set up.
    ///
    /// # Panics
    ///
    /// reqwest itself panics with its feature `rustls-no-provider` where the process has installed no provider.
    pub fn new() -> Result<Self, ReqwestBuildError> {
        Self::with(|| Client::builder().user_agent(AGENT).connect_timeout(CONNECT_TIMEOUT))
    }

    /// A client that connects as the host configures it (TLS, roots, proxies, resolver, connector layers and connect time-out).
    ///
    /// It takes a builder and not a [`Client`], because a client does not reveal whether it repeats requests. It takes
    /// a closure, called three times, because plain `http` gets a client without proxies, and so do requests with a [`Reach`]
    /// other than [`Any`](Reach::Any). Those requests connect by [`Egress::Direct`], or by the way that
    /// [`with_egress`](ReqwestClient::with_egress) chooses. The builder's resolver and proxies have no effect for them. Its
    /// fixed addresses of names ([`resolve`](ClientBuilder::resolve)), Unix sockets and connector layers have an effect,
    /// without a check, because the host's own code sets them.
    ///
    /// With reqwest's feature `rustls`, servers are verified against the certificates of the operating system, and on Unix
    /// systems other than Apple's and Android these are read when the client is built, from `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// alone if the environment has one of them. A company's own root is added in code with `tls_certs_merge` (not on Apple's
    /// systems and Android), and a client certificate is set with `identity`.
    ///
    /// The builder is used only to make connections. Its settings for requests and answers, such as redirects, retries,
    /// cookies, compression and HTTP versions, have no effect. Its default headers and its user agent are not sent to
    /// servers, because reqwest does not reveal them. [`headers`](ReqwestClient::headers) takes them instead. TCP keep-alive,
    /// verbose connections, pooling, and time-outs other than that of connecting are overridden.
    ///
    /// # Errors
    ///
    /// [`ReqwestBuildError`] when reqwest cannot be set up with this configuration.
    pub fn with(configure: impl Fn() -> ClientBuilder) -> Result<Self, ReqwestBuildError> {
        Self::with_egress(configure, Egress::Direct)
    }

    /// The client of [`with`](ReqwestClient::with), with this way to servers that other servers name.
    ///
    /// # Errors
    ///
    /// [`ReqwestBuildError`] when reqwest cannot be set up with this configuration, or cannot use the proxy.
    pub fn with_egress(configure: impl Fn() -> ClientBuilder, egress: Egress) -> Result<Self, ReqwestBuildError> {
        let build = |builder: ClientBuilder| once(builder).build().map_err(ReqwestBuildError);
        let plain = configure().no_proxy().resolve_to_addrs("localhost", &LOOPBACK);
        let guarded = egress.apply(configure()).map_err(ReqwestBuildError)?;
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
        Ok(Self { secure: build(configure())?, plain: build(plain)?, guarded: build(guarded)?, headers })
    }

    /// Sends these headers with every request that has none of the same name. A user agent replaces
    /// `tokenkeeper/<version>`. Headers of an earlier call remain, unless one of the same name replaces them.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The reqwest client that connects to the host of `url` within `reach`. An error if the URL is out of reach.
    fn client(&self, url: &Url, reach: Reach) -> Result<&Client, Failure> {
        if reach == Reach::Any {
            return Ok(if url.scheme() == "http" { &self.plain } else { &self.secure });
        }
        reach.permits(url).map_err(Failure::Unsafe)?;
        // `Reach::permits` accepts a loopback address only for `PublicOrLoopback`.
        let is_local = url.host().is_some_and(|host| is_loopback(&host));
        Ok(if is_local { &self.plain } else { &self.guarded })
    }

    /// Connects to the host of `uri`.
    async fn establish(&self, uri: &http::Uri, reach: Reach) -> Result<UnusedConnection, Failure> {
        // The URL is parsed once, so that the connection is made to the URL that was checked.
        let url = Url::parse(&uri.to_string()).map_err(Failure::NoUrl)?;
        let client = self.client(&url, reach)?;
        let mut request = reqwest::Request::new(reqwest::Method::GET, url);
        *request.timeout_mut() = Some(NEVER);
        let connection = ahead::establish(client.execute(request)).await;
        connection.map_err(|error| error.map_or(Failure::Closed, Failure::from))
    }

    /// Sends the request of `exchange` over the connection, or over a new one.
    async fn run(
        &self,
        unused: Option<UnusedConnection>,
        exchange: Exchange,
    ) -> Result<http::Response<Body>, HttpError> {
        // If the request is too late already, no connection is made.
        if !exchange.departure.may_leave() {
            return Err(HttpError::NotSent(NotSent::TooLate));
        }
        let is_secure = exchange.request.uri().scheme() == Some(&Scheme::HTTPS);
        let gate = Arc::new(Gate::new(exchange.departure.clone()));
        self.exchange(unused, exchange, &gate).await.map_err(|failure| {
            tracing::debug!(%failure, "a request failed");
            match (gate.shut(), failure) {
                (Passage::Left, Failure::Lost(why)) => HttpError::MaybeSent(why),
                // This includes a peer whose death the kernel's probes have detected.
                (Passage::Left, _) => HttpError::MaybeSent(MaybeSent::Broken),
                (Passage::TooLate, _) => HttpError::NotSent(NotSent::TooLate),
                (Passage::Shut, failure) => HttpError::NotSent(failure.before_sending(is_secure)),
            }
        })
    }

    async fn exchange(
        &self,
        unused: Option<UnusedConnection>,
        exchange: Exchange,
        gate: &Arc<Gate>,
    ) -> Result<http::Response<Body>, Failure> {
        let Exchange { mut request, timeout, max_answer, reach, .. } = exchange;
        let mut timeout = Timeout::new(timeout, gate);
        let unused = match unused {
            Some(unused) => unused.still_open().await.ok_or(Failure::Closed)?,
            None => {
                let connection = timeout.first(self.establish(request.uri(), reach)).await;
                connection.ok_or(Failure::Lost(MaybeSent::TimedOut))??
            }
        };
        conversation::address(&mut request, &self.headers);
        let request = request.map(|body| OnceBody::new(body, Arc::clone(gate)));
        let mut conversation = Conversation::begin(unused).await.map_err(Failure::Hyper)?;
        if request.body().is_end_stream() && !gate.pass() {
            return Err(Failure::Closed);
        }
        let answer = conversation.exchange(request, max_answer, &mut timeout).await?;
        conversation.end().await;
        Ok(answer)
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A header's value may be a secret.
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("ReqwestClient").field("headers", &headers).finish_non_exhaustive()
    }
}

/// Configures the client so that a request makes one HTTP/1 connection, whose bytes are not logged. The module
/// documentation gives the reasons.
fn once(builder: ClientBuilder) -> ClientBuilder {
    let builder = builder
        .retry(retry::never())
        .pool_max_idle_per_host(0)
        .http1_only()
        // A verbose connection would log the bytes of requests and answers, tokens included.
        .connection_verbose(false)
        .read_timeout(NEVER)
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
        self.run(None, exchange).await
    }

    async fn connect(&self, uri: &http::Uri, reach: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        match self.establish(uri, reach).await {
            Ok(unused) => {
                let (client, to) = (self.clone(), uri.clone());
                Ok(Some(Box::new(ReqwestConnection { client, to, reach, unused })))
            }
            Err(failure) => {
                tracing::debug!(%failure, "no connection was established");
                Err(failure.before_sending(uri.scheme() == Some(&Scheme::HTTPS)))
            }
        }
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

/// A connection of a [`ReqwestClient`] for one request.
#[derive(Debug)]
struct ReqwestConnection {
    client: ReqwestClient,
    /// The URI for which the connection was established.
    to: http::Uri,
    /// The reach within which the connection was established.
    reach: Reach,
    unused: UnusedConnection,
}

#[async_trait]
impl HttpConnection for ReqwestConnection {
    async fn send(self: Box<Self>, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let Self { client, to, reach, unused } = *self;
        let uri = exchange.request.uri();
        let is_for_it = (uri.scheme(), uri.authority(), exchange.reach) == (to.scheme(), to.authority(), reach);
        client.run(is_for_it.then_some(unused), exchange).await
    }
}
