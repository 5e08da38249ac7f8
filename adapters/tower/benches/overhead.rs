//! The cost of the layer, beside a host that puts one static token into each request. Prints the tables of the README.
//!
//! The contestants of a row send in turns, in all orders, so that other load on the machine affects all of them. The control
//! compares the static token with itself, in the same turns. An argument sets the number of turns at the fast server.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark that cannot go on says so and ends")]
#![allow(clippy::disallowed_methods, reason = "a benchmark owns its threads, and measures with a watch of its own")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AuthRuntime, AuthSession, Login, SessionSpec, stores};
use tokenkeeper_tower::{SessionLayer, SessionService};
use tower::{Layer, Service, ServiceExt};

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"q":"x"}}}"#;

/// Requests of a sample, for the layer alone.
const REQUESTS: u32 = 2_000;
const SAMPLES: usize = 200;

/// Turns at the fast server, unless an argument says otherwise. The slow server gets a sixth of them.
const TURNS: usize = 6_000;

fn main() {
    let turns = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(TURNS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    runtime.block_on(async {
        alone().await;
        println!("\n| server | static token, p50 | control: static / static | layer / static |\n|---|---|---|---|");
        beside("a bare socket on loopback, the fastest there is", serve(Duration::ZERO), turns).await;
        beside("hyper on loopback", serve_with_hyper(), turns).await;
        beside("loopback, answers after 5 ms", serve(Duration::from_millis(5)), turns / 6).await;
    });
}

/// A session at `url` that is signed in, and its token as a header.
async fn signed_in(url: &str) -> (AuthRuntime, AuthSession, HeaderValue) {
    let token = "a".repeat(600);
    let auth = AuthRuntime::builder(stores::memory::open().expect("a store")).spawn().await.expect("a runtime");
    let session = auth.session(SessionSpec::mcp(url).expect("a URL"));
    let issuer =
        IssuerSettings::new("https://as.example.com", "https://as.example.com/token", Client::public("client"));
    let login = Login::at(issuer.expect("an issuer")).refresh_token("refresh");
    let login = login.access_token(token.as_str(), Some(Duration::from_secs(86_400)));
    session.install(login).await.expect("installed");
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).expect("a header");
    header.set_sensitive(true);
    (auth, session, header)
}

/// The headers of an MCP client.
fn headers() -> HeaderMap {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", "0123456789abcdef0123456789abcdef"),
    ];
    headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

// --- the layer alone ----------------------------------------------------------------------------------------------------

/// A service that answers at once and does nothing.
#[derive(Clone)]
struct Nothing;

impl Service<Request<&'static str>> for Nothing {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<&'static str>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(())))
    }
}

async fn alone() {
    let url = "https://mcp.example.com/mcp";
    let (auth, session, token) = signed_in(url).await;
    let mut request = Request::post(url).body(BODY).expect("a request");
    *request.headers_mut() = headers();
    let mut once = SessionLayer::once(session.clone()).layer(Nothing);
    let mut layered: SessionService<Nothing, Request<&'static str>> = SessionLayer::new(session).layer(Nothing);

    let [mut inner, mut fixed, mut own, mut copy, mut layer] = [const { Vec::new() }; 5];
    for _ in 0..SAMPLES {
        inner.push(sample(&mut Nothing, || request.clone()).await);
        fixed.push(sample(&mut Nothing, || with_header(request.clone(), token.clone())).await);
        own.push(sample(&mut once, || request.clone()).await);
        layer.push(sample(&mut layered, || request.clone()).await);
        copy.push(sample(&mut Nothing, || (black_box(request.clone()), request.clone()).1).await);
    }
    println!("\n| in front of a service that does nothing | ns |\n|---|---|");
    let inner = line("the service alone, with a new request each", inner, 0.0);
    line("a static token more", fixed, inner);
    line("a copy of the request more", copy, inner);
    line("`SessionLayer::once` more, which makes no copy", own, inner);
    line("`SessionLayer::new` more", layer, inner);
    println!("\nThe future of the layer has {} bytes.", size_of_val(&layered.call(request)));
    drop(auth.shutdown(Duration::from_secs(1)).await);
}

fn with_header(mut request: Request<&'static str>, token: HeaderValue) -> Request<&'static str> {
    request.headers_mut().insert(AUTHORIZATION, token);
    request
}

/// The nanoseconds of one request, as one sample measured them.
async fn sample<S: Service<Request<&'static str>>>(
    service: &mut S,
    request: impl Fn() -> Request<&'static str>,
) -> f64 {
    let began = Instant::now();
    for _ in 0..REQUESTS {
        let Ok(ready) = service.ready().await else { return 0.0 };
        black_box(ready.call(request()).await.is_ok());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
}

/// Prints the median above `base`, and returns the median itself.
fn line(what: &str, mut samples: Vec<f64>, base: f64) -> f64 {
    let median = middle(&mut samples);
    println!("| {what} | {:.0} |", median - base);
    median
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// --- beside a static token -------------------------------------------------------------------------------------------------

async fn beside(what: &str, origin: String, turns: usize) {
    let url = format!("{origin}/mcp");
    let (auth, session, token) = signed_in(&url).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let layered = SessionLayer::new(session).layer(client.clone());
    let headers = headers();
    let request = || client.post(&url).headers(headers.clone()).body(BODY);
    let mut taken = [const { Vec::new() }; 3];
    for turn in 0..turns + 60 {
        // Two contestants with the static token and the layer, in each of the six orders.
        for contestant in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]][turn % 6] {
            let began = Instant::now();
            let answer = if contestant == 2 {
                layered.clone().oneshot(request().build().expect("a request")).await.expect("an answer")
            } else {
                let request = request().header(AUTHORIZATION, token.clone()).build().expect("a request");
                client.clone().oneshot(request).await.expect("an answer")
            };
            assert_eq!(answer.status(), 200);
            black_box(answer.bytes().await.expect("a body"));
            // The first turns establish the connection and fill the caches.
            if turn >= 60 {
                taken[contestant].push(began.elapsed().as_secs_f64());
            }
        }
    }
    let [first, second, layer] = &taken;
    let p50 = middle(&mut first.clone()) * 1e6;
    println!("| {what}, {turns} turns | {p50:.0} µs | {} | {} |", ratio(second, first), ratio(layer, first));
    drop(auth.shutdown(Duration::from_secs(1)).await);
}

/// The geometric mean of the ratios of two contestants of the same turns, with its 95 % bounds.
fn ratio(numerators: &[f64], denominators: &[f64]) -> String {
    let logs: Vec<f64> = numerators.iter().zip(denominators).map(|(above, below)| (above / below).ln()).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let bound = 1.96 * (variance / count).sqrt();
    format!("{:.3} [{:.3}, {:.3}]", mean.exp(), (mean - bound).exp(), (mean + bound).exp())
}

/// Starts a server on threads of its own, and returns its origin. It keeps its connections, and answers with JSON.
fn serve(pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer(connection, pause));
        }
    });
    origin
}

/// Starts a server as hosts of MCP servers run them, on a thread of its own.
fn serve_with_hyper() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    listener.set_nonblocking(true).expect("a socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((connection, _)) = listener.accept().await {
                connection.set_nodelay(true).expect("a socket");
                let answer = service_fn(|_: Request<hyper::body::Incoming>| async {
                    Response::builder().header("content-type", "application/json").body(BODY.to_owned())
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
            }
        });
    });
    origin
}

fn answer(mut connection: TcpStream, pause: Duration) -> std::io::Result<()> {
    // Otherwise the answer waits for the client's acknowledgement, for up to 40 ms.
    connection.set_nodelay(true)?;
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    let mut read = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let length = connection.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        read.extend_from_slice(&piece[..length]);
        // Every request ends with the same body.
        if read.ends_with(BODY.as_bytes()) {
            read.clear();
            thread::sleep(pause);
            connection.write_all(answer.as_bytes())?;
        }
    }
}
