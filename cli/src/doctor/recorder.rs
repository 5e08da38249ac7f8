//! An HTTP client that records each exchange, so that a look-up can be shown request by request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method, Response, StatusCode};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, decode};

/// The maximum number of bytes of an answer that are judged. It is the limit of discovery.
pub(super) const MAX_DOCUMENT: usize = 64 * 1024;

/// A request that was sent, and its answer.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) took: Duration,
    pub(super) outcome: Result<Received, HttpError>,
}

impl Sent {
    /// The answer, if one came.
    pub(super) fn answer(&self) -> Option<&Received> {
        self.outcome.as_ref().ok()
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Received {
    /// The first value of a header, as far as it is text.
    pub(super) fn header(&self, name: http::HeaderName) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The body as a JSON object.
    pub(super) fn object(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        let bytes = self.body.as_bytes();
        serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).ok()
    }
}

/// The result of a piece of work, and the requests that it sent.
#[derive(Debug)]
pub(super) struct Seen<T> {
    pub(super) result: T,
    pub(super) sent: Vec<Sent>,
}

/// Records each exchange over another client.
#[derive(Debug)]
pub(super) struct Recorder {
    client: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    /// The longest time-out of a request.
    timeout: Duration,
    log: Mutex<Vec<Sent>>,
}

impl Recorder {
    pub(super) fn new(client: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self { client, clock, timeout, log: Mutex::default() }
    }

    /// Waits for `work`, and returns its result with the requests that were sent meanwhile.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>) -> Seen<T> {
        self.log().clear();
        let result = work.await;
        let sent = std::mem::take(&mut *self.log());
        Seen { result, sent }
    }

    fn log(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Recorder {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let exchange = Exchange { timeout: exchange.timeout.min(self.timeout), ..exchange };
        let (method, url) = (exchange.request.method().clone(), exchange.request.uri().to_string());
        let begun = self.clock.now().elapsed;
        let outcome = self.client.send(exchange).await;
        let took = self.clock.now().elapsed.since(begun);
        let recorded = match &outcome {
            Ok(answer) => Ok(received(answer.clone())),
            Err(error) => Err(*error),
        };
        self.log().push(Sent { method, url, took, outcome: recorded });
        outcome
    }

    fn enforces_reach(&self) -> bool {
        self.client.enforces_reach()
    }
}

fn received(answer: Response<Body>) -> Received {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = decode(answer, MAX_DOCUMENT).map(Response::into_body).unwrap_or_default();
    Received { status, headers, body }
}
