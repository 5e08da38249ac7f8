//! What checks are written with.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, header};
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent};

use super::Finding;
use super::server::{Log, Server};
use crate::contract::{Breach, ensure, within};

pub(super) type Outcome = Result<Response<Body>, HttpError>;

/// What a call may take where it is not about time.
pub(super) const AMPLE: Duration = Duration::from_secs(20);

/// What a call may take where it is.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// How long after its time-out a call that is not over is taken never to be: long enough for the busiest machine.
const GRACE: Duration = Duration::from_secs(10);

/// The body of every request: a refresh token is in it.
pub(super) const BODY: &str = "grant_type=refresh_token&refresh_token=rt-hush-1";

/// A token request to `uri`.
pub(super) fn exchange(uri: &str) -> Result<Exchange, Breach> {
    let mut request = Request::new(Body::new(BODY));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.parse().map_err(|error| Breach::new(format!("{uri}: {error}")))?;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let mut authorization = HeaderValue::from_static("Basic aHVzaC0yOmh1c2gtMg==");
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    Ok(Exchange { request, timeout: AMPLE, max_answer: 1024 * 1024, departure: Departure::at_any_time() })
}

/// Sends one token request to `server`.
pub(super) async fn call(client: &Arc<dyn HttpClient>, server: &Server) -> Result<Outcome, Breach> {
    Ok(client.send(exchange(&server.uri("/token"))?).await)
}

/// The same, with `timeout` and `max_answer`. It is over in time.
pub(super) async fn call_within(
    client: &Arc<dyn HttpClient>,
    server: &Server,
    timeout: Duration,
    max_answer: usize,
) -> Result<Outcome, Breach> {
    let call = client.send(Exchange { timeout, max_answer, ..exchange(&server.uri("/token"))? });
    let hangs = || Breach::new(format!("a call that may take {timeout:?} was not over {GRACE:?} after that"));
    within(timeout + GRACE, call).await.ok_or_else(hangs)
}

/// An answer with this status and body, whose length is told.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(super) fn ok() -> Vec<u8> {
    answer("200 OK", "Content-Type: application/json\r\n", r#"{"access_token":"at"}"#)
}

/// A breach, unless `outcome` is an answer with this status.
pub(super) fn answered(outcome: &Outcome, status: u16) -> Finding {
    let right = outcome.as_ref().is_ok_and(|answer| answer.status().as_u16() == status);
    ensure(right, || format!("a server answered with {status}, and the client says {}", shown(outcome)))
}

/// A breach, unless `outcome` says that the request may have been sent.
pub(super) fn maybe_sent(outcome: &Outcome, what: &str) -> Finding {
    let right = matches!(outcome, Err(HttpError::MaybeSent(_)));
    ensure(right, || format!("{what}: it may have been sent, and the client says {}", shown(outcome)))
}

/// A breach, unless `outcome` is that it may have been sent, and why.
pub(super) fn maybe_sent_and(outcome: &Outcome, why: MaybeSent, what: &str) -> Finding {
    let right = matches!(outcome, Err(HttpError::MaybeSent(said)) if *said == why);
    ensure(right, || format!("{what}: that is {why:?}, and the client says {}", shown(outcome)))
}

/// A breach, unless one request arrived, and whole.
pub(super) fn arrived_once(log: &Log) -> Finding {
    arrived(log, 1)
}

/// A breach, unless so many requests arrived, all of them whole.
pub(super) fn arrived(log: &Log, due: usize) -> Finding {
    ensure(log.arrivals.len() == due && log.fragments == 0, || {
        format!("{} requests and {} parts of one arrived, and not {due}", log.arrivals.len(), log.fragments)
    })
}

/// What came of a call, without its body.
pub(super) fn shown(outcome: &Outcome) -> String {
    format!("{:?}", outcome.as_ref().map(Response::status))
}

/// No port can be had on loopback: nothing can be checked.
impl From<std::io::Error> for Breach {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("a server could not be started: {error}"))
    }
}
