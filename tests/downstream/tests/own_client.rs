//! A host with an HTTP client of its own, behind a proxy that compresses answers although requests ask for `identity`.
//!
//! tokenkeeper decodes such answers if its feature `decompression` is on. This package does not turn it on. The tests run in both
//! builds: without the feature if this package is tested alone (`.ci/run` does so), and with it in a test of the whole workspace.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use brotli_decompressor::Decompressor;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderValue, Response, header};
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, MaybeSent, NotSent, decode};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AuthRuntime, AuthSession, Login, Reason, SessionSpec, TokenOptions, stores};
use tokenkeeper_testkit::http_contract::{CHECKS, Harness, Verdict};

/// A host's own client, as a harness for the HTTP contract too.
#[derive(Clone, Debug)]
struct Own {
    http: reqwest::Client,
    /// Whether it decodes answers. Otherwise it returns them as they arrived.
    decodes: bool,
}

impl Own {
    fn new(decodes: bool) -> Self {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = builder.retry(reqwest::retry::never()).no_proxy().build().unwrap();
        Self { http, decodes }
    }

    async fn exchange(&self, exchange: Exchange) -> Result<Response<Body>, reqwest::Error> {
        let request = exchange.request.map(|body| body.as_bytes().to_vec());
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(exchange.timeout);
        let mut answer = self.http.execute(request).await?;
        let mut whole = Response::new(());
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        let body = answer.bytes().await?;
        Ok(whole.map(|()| Body::new(body)))
    }
}

#[async_trait]
impl HttpClient for Own {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let max_answer = exchange.max_answer;
        let answer = self.exchange(exchange).await.map_err(|error| match error {
            error if error.is_connect() => HttpError::NotSent(NotSent::Unreachable),
            error if error.is_timeout() => HttpError::MaybeSent(MaybeSent::TimedOut),
            _ => HttpError::MaybeSent(MaybeSent::Broken),
        })?;
        if !self.decodes {
            return Ok(answer);
        }
        decoded(answer, max_answer).map_err(HttpError::MaybeSent)
    }
}

impl Harness for Own {
    fn client(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.clone())
    }
}

/// An answer without the encoding that its header names.
fn decoded(mut answer: Response<Body>, max_answer: usize) -> Result<Response<Body>, MaybeSent> {
    let encoding = answer.headers_mut().remove(header::CONTENT_ENCODING);
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    let body = answer.body().as_bytes();
    let decoder: Box<dyn Read + '_> = match encoding.as_ref().map(HeaderValue::as_bytes) {
        Some(b"gzip") => Box::new(GzDecoder::new(body)),
        // A zlib header is divisible by 31. Some servers leave it out.
        Some(b"deflate") if matches!(body, [a, b, ..] if u16::from_be_bytes([*a, *b]).is_multiple_of(31)) => {
            Box::new(ZlibDecoder::new(body))
        }
        Some(b"deflate") => Box::new(DeflateDecoder::new(body)),
        Some(b"br") => Box::new(Decompressor::new(body, 4096)),
        _ => return Ok(answer),
    };
    let most = u64::try_from(max_answer).unwrap_or(u64::MAX).saturating_add(1);
    let mut plain = Body::default();
    io::copy(&mut decoder.take(most), &mut plain).map_err(|_| MaybeSent::Broken)?;
    if plain.as_bytes().len() > max_answer {
        return Err(MaybeSent::TooLarge);
    }
    Ok(answer.map(|_| plain))
}

fn gzip(body: &str) -> Response<Body> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let mut answer = Response::new(Body::new(encoder.finish().unwrap()));
    answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

/// Whether tokenkeeper is built with its feature `decompression`.
fn tokenkeeper_decodes() -> bool {
    decode(gzip("{}"), 2).unwrap().body().as_bytes() == b"{}"
}

async fn verdict(client: Own) -> Verdict {
    let check = CHECKS.iter().find(|check| check.name() == "a_compressed_answer_can_be_decoded").unwrap();
    check.run(&client).await
}

#[tokio::test]
async fn a_client_that_decodes_keeps_the_contract_in_every_build() {
    verdict(Own::new(true)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_decode_is_told_of_the_feature() {
    let verdict = verdict(Own::new(false)).await;
    if tokenkeeper_decodes() {
        verdict.unwrap();
    } else {
        let breach = verdict.unwrap_err().to_string();
        assert!(breach.contains("`decompression`") && breach.contains("decode answers in the client"), "{breach}");
    }
}

/// Answers token requests through a proxy, which compresses until it is mended.
#[derive(Debug, Default)]
struct Compressing {
    is_mended: Mutex<bool>,
}

const TOKENS: &str = r#"{"access_token":"at-1","refresh_token":"rt-2","expires_in":3600}"#;

#[async_trait]
impl HttpClient for Compressing {
    async fn send(&self, _: Exchange) -> Result<Response<Body>, HttpError> {
        let is_mended = *self.is_mended.lock().unwrap();
        Ok(if is_mended { Response::new(Body::new(TOKENS)) } else { gzip(TOKENS) })
    }
}

async fn session(http: Arc<Compressing>) -> (AuthRuntime, AuthSession) {
    let runtime = AuthRuntime::builder(stores::memory::open().unwrap()).http(http).spawn().await.unwrap();
    let session = runtime.session(SessionSpec::mcp("https://mcp.example.com/mcp").unwrap());
    let client = Client::public("host");
    let issuer = IssuerSettings::new("https://as.example.com", "https://as.example.com/token", client).unwrap();
    session.install(Login::at(issuer).refresh_token("rt-1")).await.unwrap();
    (runtime, session)
}

/// The log of a host.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Without the feature, the outcome of the refresh is in doubt. No login is lost without a word, because the log names the
/// remedy, and the session goes on with the next answer that can be read.
#[tokio::test]
async fn a_compressed_answer_that_cannot_be_read_leaves_a_doubt_and_a_warning() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let http = Arc::new(Compressing::default());
    let (_runtime, session) = session(Arc::clone(&http)).await;
    let first = session.token_with(TokenOptions { fail_fast: true, ..TokenOptions::default() }).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let warns = text.contains("WARN") && text.contains("`decompression`") && text.contains("encoding=\"gzip\"");
    if tokenkeeper_decodes() {
        assert_eq!(first.unwrap().token().expose(), "at-1");
        assert!(!warns, "{text}");
    } else {
        let error = first.unwrap_err();
        assert_eq!(error.reason(), Reason::InDoubt);
        assert!(!error.is_login_required());
        assert!(warns, "{text}");
        *http.is_mended.lock().unwrap() = true;
        assert_eq!(session.token().await.unwrap().token().expose(), "at-1");
    }
}
