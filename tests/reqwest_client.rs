//! The client over reqwest distinguishes the stages between "connected" and "sent".
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::{ElapsedTime, Moment};
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, HttpError, NotSent, Reach, ReqwestClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, Service};

use within::within;

/// A clock that stands until it is moved.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Moment {
        Moment { elapsed: ElapsedTime::from_millis(self.0.load(Ordering::SeqCst)), ..Moment::default() }
    }
}

/// The event between the end of connecting and the handover of the connection.
#[derive(Clone)]
struct Then<F>(F);

#[derive(Clone)]
struct Connecting<S, F>(S, F);

impl<S, F: Clone> Layer<S> for Then<F> {
    type Service = Connecting<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Connecting(inner, self.0.clone())
    }
}

impl<S, F, R> Service<R> for Connecting<S, F>
where
    S: Service<R, Error = BoxError>,
    S::Response: Send,
    S::Future: Send + 'static,
    F: Fn() -> io::Result<()> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (connection, then) = (self.0.call(request), self.1.clone());
        Box::pin(async move {
            let connection = connection.await?;
            then()?;
            Ok(connection)
        })
    }
}

/// A connector whose connections are never established.
#[derive(Clone)]
struct Stuck;

impl<S> Layer<S> for Stuck {
    type Service = NeverConnected<S>;

    fn layer(&self, inner: S) -> Self::Service {
        NeverConnected(inner)
    }
}

#[derive(Clone)]
struct NeverConnected<S>(S);

impl<S: Service<R>, R> Service<R> for NeverConnected<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::future::Pending<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, _: R) -> Self::Future {
        std::future::pending()
    }
}

/// The result of a client with this layer for a request that may leave until 5, and the bytes that arrived.
async fn send(
    clock: &Hand,
    then: impl Fn() -> io::Result<()> + Clone + Send + Sync + 'static,
) -> (HttpError, Vec<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut request = Request::new(Body::new("refresh_token=rt"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let exchange = Exchange {
        request,
        timeout: Duration::from_secs(20),
        max_answer: 1_000,
        departure: Departure::by(Arc::new(clock.clone()), ElapsedTime::from_millis(5)),
        reach: Reach::Any,
    };
    let client = ReqwestClient::with(|| reqwest::Client::builder().connector_layer(Then(then.clone()))).unwrap();
    let error = within("the end of an exchange", client.send(exchange)).await.unwrap_err();
    drop(client);

    // Connections are accepted in order, so those of the client come before this one.
    let last = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut arrived = Vec::new();
    loop {
        let (mut stream, peer) = within("a connection", listener.accept()).await.unwrap();
        if peer == last.local_addr().unwrap() {
            return (error, arrived);
        }
        let mut bytes = Vec::new();
        // Until its end, which a client that gave up on it has brought about.
        drop(within("the end of a connection", stream.read_to_end(&mut bytes)).await);
        arrived.push(bytes);
    }
}

#[tokio::test]
async fn the_clock_is_asked_when_the_connection_stands() {
    let clock = Hand::default();
    let slow = clock.clone();
    let (error, arrived) = send(&clock, move || {
        slow.0.store(6, Ordering::SeqCst);
        Ok(())
    })
    .await;
    assert_eq!(error, HttpError::NotSent(NotSent::TooLate));
    assert_eq!(arrived, [b""], "one connection, and not a byte");
}

/// A TLS handshake fails. In reqwest the connector fails after TCP has connected.
#[tokio::test]
async fn a_connection_that_fails_while_it_is_made_sends_nothing() {
    let (error, arrived) = send(&Hand::default(), || Err(io::ErrorKind::InvalidData.into())).await;
    assert_eq!(error, HttpError::NotSent(NotSent::Unreachable));
    assert_eq!(arrived, [b""]);
}

/// The time-out covers connecting too. A host may have set no connect time-out.
#[tokio::test]
async fn a_request_that_is_still_connecting_at_its_time_out_is_not_sent() {
    let client = ReqwestClient::with(|| reqwest::Client::builder().connector_layer(Stuck)).unwrap();
    let mut request = Request::new(Body::new("refresh_token=rt"));
    *request.uri_mut() = "http://127.0.0.1:1/token".parse().unwrap();
    let timeout = Duration::from_millis(50);
    let exchange =
        Exchange { request, timeout, max_answer: 1_000, departure: Departure::at_any_time(), reach: Reach::Any };
    let error = within("the end of an exchange", client.send(exchange)).await.unwrap_err();
    assert_eq!(error, HttpError::NotSent(NotSent::Unreachable));
}

/// A host without a TLS feature gets an error at its first `https` request, and nothing has left.
#[tokio::test]
async fn what_cannot_be_asked_is_said_not_to_have_been_sent() {
    let client = ReqwestClient::new().unwrap();
    for (uri, why) in [
        ("ftp://127.0.0.1/token", NotSent::Unbuildable),
        ("https://127.0.0.1:1/token", NotSent::Unreachable),
        ("/token", NotSent::Unbuildable),
    ] {
        let mut request = Request::new(Body::new("refresh_token=rt"));
        *request.uri_mut() = uri.parse().unwrap();
        let exchange = Exchange {
            request,
            timeout: Duration::from_secs(20),
            max_answer: 1_000,
            departure: Departure::at_any_time(),
            reach: Reach::Any,
        };
        let error = within("the end of an exchange", client.send(exchange)).await.unwrap_err();
        assert_eq!(error, HttpError::NotSent(why), "{uri}");
    }
}

/// Resolves every name to an address where no server is.
#[derive(Debug)]
struct Elsewhere;

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new([SocketAddr::from(([127, 9, 9, 9], 0))].into_iter());
        Box::pin(async { Ok(addresses) })
    }
}

/// The answer of a server at 127.0.0.1 to one request by this client for `host`.
async fn answered_at_loopback(client: &ReqwestClient, host: &str) -> Result<u16, HttpError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut request = Request::new(Body::new("refresh_token=rt-hush"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://{host}:{}/token", listener.local_addr().unwrap().port()).parse().unwrap();
    let (timeout, departure) = (Duration::from_secs(20), Departure::at_any_time());
    let answer = client.send(Exchange { request, timeout, max_answer: 1_000, departure, reach: Reach::Any });
    let serve = async {
        let (mut stream, _) = listener.accept().await?;
        let mut request = Vec::new();
        while !request.ends_with(b"rt-hush") {
            stream.read_buf(&mut request).await?;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"a\":\"at-hush\"}").await?;
        stream.read(&mut [0]).await
    };
    tokio::pin!(answer);
    let answer = within("the end of an exchange", async {
        tokio::select! {
            answer = &mut answer => answer,
            _ = serve => answer.await,
        }
    });
    answer.await.map(|answer| answer.status().as_u16())
}

/// The token would leave this machine in clear, if a hosts file or a resolver names another address.
#[tokio::test]
async fn localhost_is_the_loopback_whatever_the_name_resolves_to() {
    let elsewhere = || reqwest::Client::builder().dns_resolver(Arc::new(Elsewhere));
    let client = ReqwestClient::with(elsewhere).unwrap();
    assert_eq!(answered_at_loopback(&client, "localhost").await, Ok(200));
    assert_eq!(answered_at_loopback(&client, "LOCALHOST").await, Ok(200));
    let pinned = || elsewhere().resolve("localhost", SocketAddr::from(([127, 9, 9, 9], 0)));
    let client = ReqwestClient::with(pinned).unwrap();
    assert_eq!(answered_at_loopback(&client, "localhost").await, Ok(200));
}

/// Keeps every line that is logged.
struct Lines(Mutex<String>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push_str(&format!("{}: {}\n", record.target(), record.args()));
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn no_log_of_a_hosts_client_shows_a_secret() {
    static LINES: Lines = Lines(Mutex::new(String::new()));
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let client = ReqwestClient::with(|| reqwest::Client::builder().connection_verbose(true)).unwrap();
    assert_eq!(answered_at_loopback(&client, "localhost").await, Ok(200));
    let lines = LINES.0.lock().unwrap();
    assert!(!lines.contains("hush"), "{lines}");
}

/// A token request that may leave at any time.
fn token_request(uri: http::Uri) -> Exchange {
    let mut request = Request::new(Body::new("refresh_token=rt"));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
    let timeout = Duration::from_secs(20);
    Exchange { request, timeout, max_answer: 1_000, departure: Departure::at_any_time(), reach: Reach::Any }
}

/// The connect time-out covers connecting, and not the time for which a connection is kept for its request. A layer of the
/// host sees one connection.
#[tokio::test]
async fn a_connection_is_kept_for_longer_than_it_may_take() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let uri: http::Uri = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    let layer = Then(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let host = || reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).connector_layer(layer.clone());
    let client = ReqwestClient::with(host).unwrap();
    let connection = within("a connection", client.connect(&uri)).await.unwrap().expect("it connects ahead");
    let (mut stream, _) = listener.accept().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let answers = async {
        let mut received = Vec::new();
        while !received.ends_with(b"refresh_token=rt") {
            stream.read_buf(&mut received).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    };
    let (answer, ()) =
        within("an exchange", async { tokio::join!(connection.send(token_request(uri)), answers) }).await;
    assert_eq!(answer.unwrap().body().as_bytes(), b"{}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// A server that speaks before it is asked ends the connection. Some send a 408 to an idle client before they close.
#[tokio::test]
async fn a_connection_on_which_the_server_has_spoken_is_not_used() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let uri: http::Uri = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let client = ReqwestClient::new().unwrap();
    let connection = within("a connection", client.connect(&uri)).await.unwrap().expect("it connects ahead");
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let error = within("the end of an exchange", connection.send(token_request(uri))).await.unwrap_err();
    assert_eq!(error, HttpError::NotSent(NotSent::Unreachable));
    let mut received = Vec::new();
    // The client resets a connection whose bytes it has not read.
    drop(within("the end of the connection", stream.read_to_end(&mut received)).await);
    assert_eq!(received, b"");
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_reported_as_such() {
    let client = ReqwestClient::new().unwrap();
    for (uri, why) in [
        ("ftp://127.0.0.1/token", NotSent::Unbuildable),
        ("https://127.0.0.1:1/token", NotSent::Unreachable),
        ("/token", NotSent::Unbuildable),
    ] {
        let outcome = within("the end of an attempt", client.connect(&uri.parse().unwrap())).await;
        assert_eq!(outcome.err(), Some(why), "{uri}");
    }
}

/// A connector that fails with an error of its own, as one with TLS does.
#[derive(Clone)]
struct Failing<F>(F);

impl<S, F: Clone> Layer<S> for Failing<F> {
    type Service = Refused<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Refused(inner, self.0.clone())
    }
}

#[derive(Clone)]
struct Refused<S, F>(S, F);

impl<S, F, R> Service<R> for Refused<S, F>
where
    S: Service<R, Error = BoxError>,
    F: Fn() -> io::Error,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = std::future::Ready<Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, _: R) -> Self::Future {
        std::future::ready(Err((self.1)().into()))
    }
}

#[tokio::test]
async fn a_tls_failure_is_told_apart_from_a_server_that_cannot_be_reached() {
    use NotSent::{Unreachable, Untrusted};
    use io::ErrorKind::{ConnectionRefused, InvalidData, Other};
    for (secure, kind, text, why) in [
        (true, InvalidData, "a record", Untrusted),
        (true, Other, "invalid peer Certificate", Untrusted),
        (true, Other, "the handshake failed", Untrusted),
        (true, Other, "SSL", Untrusted),
        (true, ConnectionRefused, "refused", Unreachable),
        (false, InvalidData, "a record", Unreachable),
    ] {
        // rustls puts its error into an I/O error, and that into another.
        let error = move || io::Error::other(io::Error::new(kind, text));
        let host = || reqwest::Client::builder().connector_layer(Failing(error));
        let client = ReqwestClient::with(host).unwrap();
        let uri: http::Uri =
            if secure { "https://127.0.0.1:1/token" } else { "http://127.0.0.1:1/token" }.parse().unwrap();
        let ahead = within("the end of an attempt", client.connect(&uri)).await;
        assert_eq!(ahead.err(), Some(why), "{text}");
        let sent = within("the end of an exchange", client.send(token_request(uri))).await;
        assert_eq!(sent.err(), Some(HttpError::NotSent(why)), "{text}");
    }
}

/// The head of the request that a client with these headers sends.
async fn head(client: &ReqwestClient, uri: impl FnOnce(SocketAddr) -> String, own: &[(&'static str, &str)]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut exchange = token_request(uri(listener.local_addr().unwrap()).parse().unwrap());
    for (name, value) in own {
        exchange.request.headers_mut().append(*name, value.parse().unwrap());
    }
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"refresh_token=rt") {
            stream.read_buf(&mut received).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        // The end of the connection, which follows the answer.
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        String::from_utf8(received).unwrap().to_ascii_lowercase()
    };
    let (answer, head) = within("an exchange", async { tokio::join!(client.send(exchange), serve) }).await;
    assert_eq!(answer.unwrap().status(), 200);
    head
}

#[tokio::test]
async fn a_hosts_headers_are_sent_with_each_request_that_has_none_of_the_name() {
    let here = |to: SocketAddr| format!("http://{to}/token?a=b");
    let agent = format!("user-agent: tokenkeeper/{}\r\n", env!("CARGO_PKG_VERSION"));
    let client = ReqwestClient::new().unwrap();
    let sent = head(&client, here, &[]).await;
    assert!(sent.starts_with("post /token?a=b http/1.1\r\n") && sent.contains(&agent), "{sent}");
    let sent = head(&client, here, &[("user-agent", "own")]).await;
    assert!(sent.contains("user-agent: own\r\n") && !sent.contains(&agent), "{sent}");

    let mut headers = http::HeaderMap::new();
    headers.append("user-agent", "host/1".parse().unwrap());
    headers.append("x-key", "key-hush".parse().unwrap());
    headers.append("x-key", "second".parse().unwrap());
    let client = ReqwestClient::with(reqwest::Client::builder).unwrap().headers(headers);
    let sent = head(&client, here, &[]).await;
    assert!(sent.contains("user-agent: host/1\r\n") && !sent.contains(&agent), "{sent}");
    assert!(sent.contains("x-key: key-hush\r\nx-key: second\r\n"), "{sent}");
    let sent = head(&client, here, &[("x-key", "own")]).await;
    assert!(sent.contains("x-key: own\r\n") && !sent.contains("key-hush"), "{sent}");
    assert!(!format!("{client:?}").contains("hush"));
}

#[tokio::test]
async fn a_request_names_its_host_and_a_path() {
    let client = ReqwestClient::new().unwrap();
    let sent = head(&client, |to| format!("http://LocalHost:{}", to.port()), &[]).await;
    assert!(sent.starts_with("post / http/1.1\r\n") && sent.contains("host: localhost:"), "{sent}");
    let sent = head(&client, |to| format!("http://{to}/token"), &[("host", "other.example")]).await;
    assert!(sent.contains("host: other.example\r\n") && sent.matches("host:").count() == 1, "{sent}");
}
