//! Helper functions for the checks.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, header};
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent, Reach};

use super::Finding;
use super::server::{Log, Server};
use crate::contract::{Breach, ensure, within};

pub(super) type Outcome = Result<Response<Body>, HttpError>;

/// The time-out of a call whose time-out is not under test.
pub(super) const AMPLE: Duration = Duration::from_secs(20);

/// The time-out of a call whose time-out is under test.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// After this much time past its time-out, a call counts as hanging. It is long enough for the busiest machine.
const GRACE: Duration = Duration::from_secs(10);

/// The body of every request. It contains a refresh token.
pub(super) const BODY: &str = "grant_type=refresh_token&refresh_token=rt-hush-1";

/// The limit of an answer's body in [`get`].
pub(super) const MOST: usize = 1_000;

/// A token request to `uri`.
pub(super) fn exchange(uri: &str) -> Result<Exchange, Breach> {
    let mut request = Request::new(Body::new(BODY));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.parse().map_err(|error| Breach::new(format!("{uri}: {error}")))?;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut authorization = HeaderValue::from_static("Basic aHVzaC0yOmh1c2gtMg==");
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    let departure = Departure::at_any_time();
    Ok(Exchange { request, timeout: AMPLE, max_answer: 1024 * 1024, departure, reach: Reach::Any })
}

/// A request without a body, within `reach`.
pub(super) fn get(uri: &str, reach: Reach) -> Result<Exchange, Breach> {
    let mut request = Request::new(Body::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri.parse().map_err(|error| Breach::new(format!("{uri}: {error}")))?;
    Ok(Exchange { request, timeout: AMPLE, max_answer: MOST, departure: Departure::at_any_time(), reach })
}

/// Sends one token request to `server`.
pub(super) async fn call(client: &Arc<dyn HttpClient>, server: &Server) -> Result<Outcome, Breach> {
    Ok(client.send(exchange(&server.uri("/token"))?).await)
}

/// Sends one token request with `timeout` and `max_answer`. Returns a breach if it does not end in time.
pub(super) async fn call_within(
    client: &Arc<dyn HttpClient>,
    server: &Server,
    timeout: Duration,
    max_answer: usize,
) -> Result<Outcome, Breach> {
    in_time(timeout, client.send(Exchange { timeout, max_answer, ..exchange(&server.uri("/token"))? })).await
}

/// The outcome of a call with this time-out. Returns a breach if it does not end in time.
pub(super) async fn in_time(timeout: Duration, call: impl Future<Output = Outcome>) -> Result<Outcome, Breach> {
    let hangs = || Breach::new(format!("a call that may take {timeout:?} was not over {GRACE:?} after that"));
    within(timeout + GRACE, call).await.ok_or_else(hangs)
}

/// An answer with this status and body, with a `Content-Length`.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(super) fn ok() -> Vec<u8> {
    answer("200 OK", "Content-Type: application/json\r\n", r#"{"access_token":"at"}"#)
}

/// Returns a breach unless `outcome` is an answer with this status.
pub(super) fn answered(outcome: &Outcome, status: u16) -> Finding {
    let right = outcome.as_ref().is_ok_and(|answer| answer.status().as_u16() == status);
    ensure(right, || format!("a server answered with {status}, and the client says {}", shown(outcome)))
}

/// Returns a breach unless `outcome` is [`HttpError::MaybeSent`].
pub(super) fn maybe_sent(outcome: &Outcome, what: &str) -> Finding {
    let right = matches!(outcome, Err(HttpError::MaybeSent(_)));
    ensure(right, || format!("{what}: it may have been sent, and the client says {}", shown(outcome)))
}

/// Returns a breach unless `outcome` is [`HttpError::MaybeSent`] with the reason `why`.
pub(super) fn maybe_sent_and(outcome: &Outcome, why: MaybeSent, what: &str) -> Finding {
    let right = matches!(outcome, Err(HttpError::MaybeSent(said)) if *said == why);
    ensure(right, || format!("{what}: that is {why:?}, and the client says {}", shown(outcome)))
}

/// Returns a breach unless exactly one complete request arrived.
pub(super) fn arrived_once(log: &Log) -> Finding {
    arrived(log, 1)
}

/// Returns a breach unless exactly `due` complete requests arrived.
pub(super) fn arrived(log: &Log, due: usize) -> Finding {
    ensure(log.arrivals.len() == due && log.fragments == 0, || {
        format!("{} requests and {} parts of one arrived, and not {due}", log.arrivals.len(), log.fragments)
    })
}

/// The outcome of a call as text, without the body.
pub(super) fn shown(outcome: &Outcome) -> String {
    format!("{:?}", outcome.as_ref().map(Response::status))
}

/// No loopback port is available, so the check cannot run.
impl From<std::io::Error> for Breach {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("a server could not be started: {error}"))
    }
}
