//! Servers in a script, for tests without sockets, and a clock that follows tokio's paused time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{ElapsedTime, Moment, WallTime};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Discovery;
use super::fetch::Fetcher;
use crate::http::{Body, Exchange, HttpClient, HttpError, Reach};

/// The answer at one URL.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    result: Result<StatusCode, HttpError>,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether the answer never comes.
    hangs: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        let result = Ok(StatusCode::from_u16(status).unwrap());
        Self { result, headers: HeaderMap::new(), body: Vec::new(), hangs: false }
    }

    pub(crate) fn json(document: &Value) -> Self {
        Self::status(200).body(document.to_string())
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    pub(crate) fn error(error: HttpError) -> Self {
        Self { result: Err(error), ..Self::status(200) }
    }

    pub(crate) fn hanging() -> Self {
        Self { hangs: true, ..Self::status(200) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) reach: Reach,
}

/// Servers with set answers. Any other URL has status 404.
#[derive(Debug)]
pub(crate) struct Servers {
    replies: Mutex<BTreeMap<String, Reply>>,
    sent: Mutex<Vec<Sent>>,
    /// Each answer waits for a permit of this semaphore.
    gate: Semaphore,
    enforces: bool,
}

impl Servers {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(true, Semaphore::MAX_PERMITS)
    }

    /// A client that does not enforce the reach.
    pub(crate) fn careless() -> Arc<Self> {
        Self::with(false, Semaphore::MAX_PERMITS)
    }

    /// Servers that send no answer before [`open`](Self::open).
    pub(crate) fn closed() -> Arc<Self> {
        Self::with(true, 0)
    }

    fn with(enforces: bool, permits: usize) -> Arc<Self> {
        let (replies, sent) = (Mutex::default(), Mutex::default());
        Arc::new(Self { replies, sent, gate: Semaphore::new(permits), enforces })
    }

    /// Lets this many answers come.
    pub(crate) fn open(&self, answers: usize) {
        self.gate.add_permits(answers);
    }

    pub(crate) fn on(&self, url: &str, reply: Reply) -> &Self {
        self.replies.lock().unwrap().insert(url.to_owned(), reply);
        self
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// The URLs that were asked for since the last call.
    pub(crate) fn take_urls(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap()).into_iter().map(|sent| sent.url).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.sent.lock().unwrap().len()
    }
}

#[async_trait]
impl HttpClient for Servers {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let (parts, body) = exchange.request.into_parts();
        let url = parts.uri.to_string();
        let body = String::from_utf8(body.as_bytes().to_vec()).unwrap();
        let sent = Sent { method: parts.method, url: url.clone(), headers: parts.headers, body, reach: exchange.reach };
        self.sent.lock().unwrap().push(sent);
        // Other requests may come in between, as with a socket.
        tokio::task::yield_now().await;
        self.gate.acquire().await.unwrap().forget();
        let reply = self.replies.lock().unwrap().get(&url).cloned().unwrap_or_else(|| Reply::status(404));
        if reply.hangs {
            std::future::pending::<()>().await;
        }
        let mut answer = Response::new(Body::new(reply.body));
        *answer.status_mut() = reply.result?;
        *answer.headers_mut() = reply.headers;
        Ok(answer)
    }

    fn enforces_reach(&self) -> bool {
        self.enforces
    }
}

/// Shows tokio's time.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused in these tests")]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    #[expect(clippy::disallowed_methods, reason = "tokio's time is paused in these tests")]
    fn now(&self) -> Moment {
        let passed = u64::try_from(self.0.elapsed().as_millis()).unwrap();
        Moment {
            wall: WallTime::from_millis(1_767_225_600_000 + passed),
            elapsed: ElapsedTime::from_millis(500_000 + passed),
            ..Moment::default()
        }
    }
}

pub(crate) fn fetcher(servers: &Arc<Servers>) -> Fetcher {
    Fetcher { http: Arc::clone(servers) as Arc<dyn HttpClient>, clock: TokioClock::new(), trusts_client: false }
}

pub(crate) fn discovery(servers: &Arc<Servers>) -> Discovery {
    Discovery::new(Arc::clone(servers) as Arc<dyn HttpClient>, TokioClock::new())
}

/// A resource's metadata.
pub(crate) fn prm(resource: &str, servers: &[&str]) -> Reply {
    Reply::json(&json!({ "resource": resource, "authorization_servers": servers }))
}

/// The metadata of an authorization server whose endpoints are below its issuer.
pub(crate) fn metadata(issuer: &str) -> Reply {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    Reply::json(&json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "code_challenge_methods_supported": ["S256"],
    }))
}
