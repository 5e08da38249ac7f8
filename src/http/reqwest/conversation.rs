//! One request and its answer over one connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{Entry, HOST};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};

use super::ahead::{Stream, UnusedConnection};
use super::bounded::{Allowance, Bounded};
use super::failure::Failure;
use super::gate::OnceBody;
use super::timeout::{NEVER, Timeout, alarm, before};
use crate::http::{Body, MaybeSent, is_answer, is_whole_object};

/// The pause within a body after which the bytes so far are examined for a whole JSON object.
const PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of bytes that are reserved for an announced length.
const MAX_RESERVED: usize = 64 * 1024;

/// The maximum number of headers of an answer. hyper's default is 100.
const MAX_HEADERS: usize = 1_000;

/// The maximum number of bytes up to the end of an answer's head, the informational answers before it included.
const MAX_HEAD: usize = 512 * 1024;

/// The maximum number of bytes on the wire for each byte of a body's maximum length. A chunk of one byte takes six.
const MAX_FRAMING: usize = 8;

/// A connection that carries one request.
///
/// The connection makes progress only while the future of a method is polled. It has no task of its own, so it ends with the
/// exchange, and it reads only for as long as the time-out of the exchange (`Timeout`) lets it.
pub(super) struct Conversation {
    /// `None` after the connection has ended. The bytes that it received before are still in hyper's channels.
    connection: Option<Connection<Bounded<Box<dyn Stream>>, OnceBody>>,
    sender: SendRequest<OnceBody>,
    allowance: Arc<Allowance>,
}

impl Conversation {
    /// Begins HTTP/1 on a connection. Nothing is sent yet.
    pub(super) async fn begin(unused: UnusedConnection) -> Result<Self, hyper::Error> {
        let allowance = Allowance::new(MAX_HEAD);
        let mut builder = Builder::new();
        builder
            .ignore_invalid_headers_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .max_headers(MAX_HEADERS);
        let (sender, connection) = builder.handshake(Bounded::new(unused.into_inner(), &allowance)).await?;
        Ok(Self { connection: Some(connection), sender, allowance })
    }

    /// Sends `request` and reads its answer.
    ///
    /// A body that breaks off or exceeds the limit is complete if it contains a whole JSON object. The same holds if the end
    /// that its framing announced does not come, and only blanks or nothing arrive for a while. Later bytes could not change
    /// the answer.
    ///
    /// A body that breaks off, exceeds the limit or takes too long is also returned if both tokens in it have arrived.
    pub(super) async fn exchange(
        &mut self,
        request: Request<OnceBody>,
        max_answer: usize,
        timeout: &mut Timeout,
    ) -> Result<Response<Body>, Failure> {
        let head = self.sender.send_request(request);
        let answer = timeout.first(drive(&mut self.connection, head)).await;
        let answer = answer.ok_or(Failure::Lost(MaybeSent::TimedOut))?.map_err(|error| self.failure(error))?;
        self.allowance.reset(max_answer.saturating_mul(MAX_FRAMING).saturating_add(MAX_HEAD));
        let (parts, mut incoming) = answer.into_parts();

        let length = incoming.size_hint().exact().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let mut body = Body::with_capacity(length.min(max_answer).min(MAX_RESERVED));
        let mut quiet = alarm(PAUSE);
        loop {
            let chunk = drive(&mut self.connection, chunk(&mut incoming));
            let failure = match timeout.first(before(&mut quiet, chunk)).await {
                Some(Some(Ok(Some(chunk)))) => {
                    let room = max_answer - body.as_bytes().len();
                    body.extend(&chunk[..chunk.len().min(room)]);
                    if chunk.len() <= room {
                        // Blanks do not count as progress, because they may follow a whole object without end.
                        if !chunk.iter().all(u8::is_ascii_whitespace) {
                            quiet = alarm(PAUSE);
                        }
                        continue;
                    }
                    Some(Failure::Lost(MaybeSent::TooLarge))
                }
                Some(Some(Ok(None))) => break,
                Some(Some(Err(error))) => Some(self.failure(error)),
                Some(None) => None,
                None => Some(Failure::Lost(MaybeSent::TimedOut)),
            };
            match failure {
                None if is_whole_object(&parts.headers, body.as_bytes(), max_answer) => break,
                // No whole object has arrived. The bytes are examined again only after further bytes that are not blank.
                None => quiet = alarm(NEVER),
                Some(_) if is_answer(parts.status, &parts.headers, body.as_bytes(), max_answer) => break,
                Some(failure) => return Err(failure),
            }
        }
        Ok(Response::from_parts(parts, body))
    }

    /// Ends the connection, with TLS's `close_notify` if it can be written at once.
    pub(super) async fn end(self) {
        let Self { mut connection, sender, .. } = self;
        drop(sender);
        drive(&mut connection, std::future::ready(())).await;
    }

    /// The failure for an error of hyper, which may have come from an exceeded allowance.
    fn failure(&self, error: hyper::Error) -> Failure {
        if self.allowance.is_exceeded() { Failure::Lost(MaybeSent::TooLarge) } else { Failure::Hyper(error) }
    }
}

/// Waits for `step`, and drives the connection meanwhile.
async fn drive<T>(
    connection: &mut Option<Connection<Bounded<Box<dyn Stream>>, OnceBody>>,
    step: impl Future<Output = T>,
) -> T {
    let mut step = pin!(step);
    poll_fn(|cx| {
        // An error of the connection is ignored here, because `step` reports it too.
        if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
            *connection = None;
        }
        step.as_mut().poll(cx)
    })
    .await
}

/// The next bytes of a body, or `None` at its end.
async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.transpose()?.map(http_body::Frame::into_data) {
            Some(Ok(data)) => return Ok(Some(data)),
            // Trailers are skipped.
            Some(Err(_)) => {}
            None => return Ok(None),
        }
    }
}

/// Prepares a request for a connection to its host. A header of `defaults` is added unless the request has one of that name.
pub(super) fn address<B>(request: &mut Request<B>, defaults: &HeaderMap) {
    let uri = std::mem::take(request.uri_mut());
    let headers = request.headers_mut();
    if let Some(host) = host(&uri) {
        headers.entry(HOST).or_insert(host);
    }
    for name in defaults.keys() {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            let mut values = defaults.get_all(name).iter().cloned();
            if let Some(first) = values.next() {
                let mut entry = vacant.insert_entry(first);
                values.for_each(|value| entry.append(value));
            }
        }
    }
    let path = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
}

/// The value of the header `Host` for a request to `uri`. A default port is left out.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = uri.host()?;
    match uri.port_u16().filter(|port| *port != default) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}
