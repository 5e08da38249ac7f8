//! One request, authorized by the session, and its answer.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::{AuthSession, CallError, Destination, Generation, Next, OperationKey};
use url::Url;

use super::MAX_MESSAGE;
use super::cookies::Cookies;
use super::sse::EventParser;
use crate::failure::Failure;
use crate::when;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("tokenkeeper/", env!("CARGO_PKG_VERSION")));

/// The time-out of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that an idle connection is kept for the next request. Many servers close theirs after 5 s, and a request on a
/// connection that is being closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The silence on a connection after which the kernel probes its peer, and the interval between two probes.
const PROBES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Sends requests to one MCP server. Each request is authorized by a [`Call`](tokenkeeper::Call) of the session.
///
/// No request is sent twice, unless the call asks for that after a refusal. `Debug` shows no header.
pub(crate) struct McpWire {
    client: reqwest::Client,
    session: AuthSession,
    destination: Destination,
    /// The headers that the person has named.
    headers: HeaderMap,
    cookies: Cookies,
    /// The maximum time that a request waits for tokens. `None` for the default of a session's calls.
    patience: Option<Duration>,
}

/// A request to the server.
#[derive(Clone, Debug)]
pub(crate) struct McpRequest {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) operation: OperationKey,
}

/// The record of how a request was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendRecord {
    /// The number of times that the request was sent.
    pub(crate) attempts: u32,
    /// The generation of the token with which the request was sent last. `None` if it was sent without one.
    pub(crate) generation: Option<Generation>,
}

/// The reason why a request has no answer.
#[derive(Debug)]
pub(crate) enum NotAnswered {
    /// The session has no authorization for the request, or the server accepts none. The request was not executed.
    Call(Box<CallError>),
    /// No connection could be established. Nothing was sent.
    NotSent { is_secure: bool },
    /// The connection broke after the request may have left.
    MaybeSent,
}

/// The reason why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFailure {
    /// The connection broke.
    Broken,
    /// The body, or an event in it, is longer than [`MAX_MESSAGE`].
    TooLarge,
}

/// The head of an answer, and its body as it arrives. Dropping it closes the connection unless the body has ended.
#[derive(Debug)]
pub(crate) struct McpAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    response: reqwest::Response,
}

/// The events of an answer, as they arrive.
#[derive(Debug)]
pub(crate) struct AnswerEvents {
    response: reqwest::Response,
    parser: EventParser,
    waiting: VecDeque<Vec<u8>>,
}

impl McpWire {
    /// A wire of `session` to its server, with these `headers` in each request.
    pub(crate) fn new(session: AuthSession, headers: HeaderMap) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(io::Error::other(error.to_string()));
        let server = session.identity().resource().cloned();
        let server = server.ok_or_else(|| Failure::Usage("the session is with no MCP server".to_owned()))?;
        let destination = session.destination(server.as_str()).map_err(|error| failed(&error))?;
        let url = Url::parse(server.as_str()).map_err(|error| failed(&error))?;
        let clock = SystemClock::new().map_err(io::Error::other)?;
        let client = reqwest::Client::builder()
            .redirect(tokenkeeper::http::redirects(&server))
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(PROBES.0)
            .tcp_keepalive_interval(PROBES.1);
        let client = if url.scheme() == "http" { plain(client) } else { client };
        let client = client.build().map_err(|error| failed(&error.without_url()))?;
        let cookies = Cookies::new(url.path(), clock.now().wall);
        Ok(Self { client, session, destination, headers, cookies, patience: None })
    }

    /// The same wire, whose requests wait for tokens for at most `span`.
    pub(crate) fn patience(self, span: Duration) -> Self {
        Self { patience: Some(span), ..self }
    }

    pub(crate) fn session(&self) -> &AuthSession {
        &self.session
    }

    /// Whether the server is reached over TLS.
    fn is_secure(&self) -> bool {
        self.destination.url().starts_with("https:")
    }

    /// Sends a request, and returns its answer, which may have any status. A refused token is replaced, and the request is then sent
    /// again. `has_left` is set while the server may have the request and has not refused it.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the connection. The request may have been executed. A refresh goes on.
    pub(crate) async fn send(&self, request: &McpRequest, has_left: &AtomicBool) -> Result<McpAnswer, NotAnswered> {
        self.send_recorded(request, has_left, &mut SendRecord::default()).await
    }

    /// Like [`send`](Self::send), and notes in `record` how many times the request was sent, and with which token.
    ///
    /// # Cancellation
    ///
    /// As [`send`](Self::send).
    pub(crate) async fn send_recorded(
        &self,
        request: &McpRequest,
        has_left: &AtomicBool,
        record: &mut SendRecord,
    ) -> Result<McpAnswer, NotAnswered> {
        let mut call = self.session.call(request.operation);
        if let Some(span) = self.patience {
            call = call.patience(span);
        }
        loop {
            let mut headers = self.headers.clone();
            headers.entry(USER_AGENT).or_insert(AGENT);
            headers.extend(request.headers.clone());
            self.cookies.add_to(&mut headers);
            if let Some(authorization) = call.authorize(&self.destination, &request.method).await? {
                authorization.apply(&mut headers);
            }
            let sent = self.client.request(request.method.clone(), self.destination.url()).headers(headers);
            let sent = if request.body.is_empty() { sent } else { sent.body(request.body.clone()) };
            has_left.store(true, Ordering::Relaxed);
            record.attempts += 1;
            record.generation = call.generation();
            let mut response = sent.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
                true => NotAnswered::NotSent { is_secure: self.is_secure() },
                false => NotAnswered::MaybeSent,
            })?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            self.cookies.keep_from(&headers);
            if status == StatusCode::UNAUTHORIZED {
                // The server has refused the request, so it was not executed. It waits for another token.
                has_left.store(false, Ordering::Relaxed);
            }
            match call.next(status, &headers).await? {
                Next::Again => {}
                Next::Done => return Ok(McpAnswer { status, headers, response }),
            }
        }
    }
}

impl McpAnswer {
    /// Whether the body is a stream of events.
    pub(crate) fn has_events(&self) -> bool {
        let media_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
    }

    /// The pause that the server asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }

    /// Reads the whole body.
    pub(crate) async fn body(mut self) -> Result<Vec<u8>, BodyFailure> {
        let mut body = Vec::new();
        while let Some(chunk) = self.response.chunk().await.map_err(|_| BodyFailure::Broken)? {
            if body.len() + chunk.len() > MAX_MESSAGE {
                return Err(BodyFailure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The body as it arrives, for another HTTP message.
    pub(crate) fn into_body(self) -> reqwest::Body {
        self.response.into()
    }

    pub(crate) fn events(self) -> AnswerEvents {
        AnswerEvents { response: self.response, parser: EventParser::default(), waiting: VecDeque::new() }
    }
}

impl AnswerEvents {
    /// The data of the next event. `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, BodyFailure> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.response.chunk().await.map_err(|_| BodyFailure::Broken)? else { return Ok(None) };
            self.waiting.extend(self.parser.feed(&chunk).map_err(|_| BodyFailure::TooLarge)?);
        }
    }

    /// The identifier of the last event that has ended. It covers events that [`next`](Self::next) has not returned yet.
    pub(crate) fn last_id(&self) -> Option<&[u8]> {
        self.parser.last_id()
    }

    /// The pause before a reconnection that the server asked for.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}

/// The client for plain HTTP. It uses no proxy, which could read the tokens, and does not load the system's certificates.
fn plain(client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    #[cfg(feature = "tls")]
    let client = client.tls_certs_only([]);
    client.no_proxy()
}

/// The time of a `Retry-After` header (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = SystemClock::new().ok()?.now().wall;
    Some(when::read_mail(text)?.since(now))
}

impl From<CallError> for NotAnswered {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

impl std::fmt::Debug for McpWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("session", &self.session).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_in_both_notations() {
        let read =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]));
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert!(read("Wed, 09 Jun 2100 10:18:14 GMT") > Some(Duration::from_secs(3600)));
        assert_eq!((read("soon"), retry_after(&HeaderMap::new())), (None, None));
    }
}
