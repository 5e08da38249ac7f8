//! The requests to the registration endpoint and to the client configuration endpoint.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tokenkeeper_actors::values::WallTime;
use tokenkeeper_actors::values::issuer::RegistrationManagement;
use url::Url;
use zeroize::Zeroizing;

use super::answer::{ClientInformation, Refusal, RegistrationAnswer, read_registration};
use super::choice::Registering;
use super::draft::{Draft, MAX_REQUESTS};
use super::error::RegistrationError;
use crate::grant::{may_receive_secrets, retry_after};
use crate::http::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent, NotSent, Reach, decode};

/// The time-out of one request to a registration endpoint.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum length of a registration endpoint's answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Whether a request that carries secrets may go to a URL that a server named.
pub(super) fn may_use(url: &str, reach: Reach) -> bool {
    may_receive_secrets(url) && Url::parse(url).is_ok_and(|url| reach.permits(&url).is_ok())
}

/// Registers a client (RFC 7591 section 3), with at most [`MAX_REQUESTS`] requests. Returns the answer and the request that
/// it answers.
pub(super) async fn register(
    http: &Arc<dyn HttpClient>,
    registering: &Registering,
    reach: Reach,
    now: impl Fn() -> WallTime,
) -> Result<(ClientInformation, Draft), RegistrationError> {
    let Registering { endpoint, draft } = registering;
    let mut draft = draft.clone();
    let mut sent = 0;
    loop {
        let body = Body::new(draft.body().ok_or(RegistrationError::UnusableRedirect)?);
        let mut request = request(Method::POST, endpoint, reach, body).ok_or(RegistrationError::UnsafeAddress)?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        sent += 1;
        let answer = send(http, request, reach).await?;
        let refusal = match read_registration(&answer) {
            RegistrationAnswer::Registered(information) => return Ok((*information, draft)),
            RegistrationAnswer::Unreadable => return Err(RegistrationError::Unreadable),
            RegistrationAnswer::Refused(refusal) => refusal,
        };
        match draft.after(&refusal) {
            Some(next) if sent < MAX_REQUESTS => draft = next,
            Some(_) | None => return Err(refused(refusal, pause(&answer, now()))),
        }
    }
}

/// Reads a registration (RFC 7592 section 2.1). `None` if the server does not know the client any more, or gives no usable
/// answer.
pub(super) async fn read(
    http: &Arc<dyn HttpClient>,
    management: &RegistrationManagement,
    reach: Reach,
) -> Option<ClientInformation> {
    let mut request = request(Method::GET, &management.uri, reach, Body::default())?;
    let value = Zeroizing::new(format!("Bearer {}", management.token.expose()));
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    let answer = send(http, request, reach).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    match read_registration(&answer) {
        RegistrationAnswer::Registered(information) => Some(*information),
        RegistrationAnswer::Refused(_) | RegistrationAnswer::Unreadable => None,
    }
}

/// A request for JSON, or `None` if no request with secrets may go to `url`.
fn request(method: Method, url: &str, reach: Reach, body: Body) -> Option<Request<Body>> {
    if !may_use(url, reach) {
        return None;
    }
    let uri: Uri = Url::parse(url).ok()?.as_str().parse().ok()?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(request)
}

/// Sends a request once, and returns its answer with the body decoded.
async fn send(
    http: &Arc<dyn HttpClient>,
    request: Request<Body>,
    reach: Reach,
) -> Result<Response<Body>, RegistrationError> {
    let exchange = Exchange {
        request,
        timeout: REQUEST_TIMEOUT,
        max_answer: MAX_ANSWER,
        departure: Departure::at_any_time(),
        reach,
    };
    let answer = http.send(exchange).await.and_then(|answer| decode(answer, MAX_ANSWER).map_err(HttpError::MaybeSent));
    answer.map_err(|error| match error {
        HttpError::NotSent(NotSent::Forbidden) => RegistrationError::UnsafeAddress,
        HttpError::NotSent(_) => RegistrationError::Unreachable,
        HttpError::MaybeSent(MaybeSent::TooLarge) => RegistrationError::Unreadable,
        HttpError::MaybeSent(MaybeSent::TimedOut | MaybeSent::Broken) => {
            RegistrationError::ServerTrouble { status: None, retry_after: None }
        }
    })
}

/// The error for a refusal, whose status may mean that the server has trouble.
fn refused(refusal: Refusal, retry_after: Option<Duration>) -> RegistrationError {
    match refusal.status {
        408 | 425 | 429 | 500.. => RegistrationError::ServerTrouble { status: Some(refusal.status), retry_after },
        status => RegistrationError::Refused { status, error: refusal.error, description: refusal.description },
    }
}

/// The pause that the answer asks for (`Retry-After`).
fn pause(answer: &Response<Body>, now: WallTime) -> Option<Duration> {
    retry_after(answer.headers().get_all(header::RETRY_AFTER), now)
}
