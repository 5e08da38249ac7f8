//! The authentication of clients at the token and revocation endpoints, and the JSON answers of all endpoints.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use url::form_urlencoded;

use super::params::Params;
use crate::clients::AuthMethod;
use crate::gateway::Gateway;

/// The pause that a client is asked to make after trouble that passes.
pub(crate) const RETRY: Duration = Duration::from_secs(2);

/// A JSON answer, which is never cached.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let mut answer = Response::new(Body::from(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An error (RFC 6749 section 5.2).
pub(crate) fn json_error(status: StatusCode, error: &str, description: &str) -> Response {
    json(status, &serde_json::json!({ "error": error, "error_description": description }))
}

/// The answer to a request that may succeed later.
pub(crate) fn try_later(retry_after: Duration, description: &str) -> Response {
    let mut answer = json_error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
    // A pause is named in whole seconds, and at least one.
    let seconds = retry_after.as_millis().div_ceil(1000).max(1);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    answer
}

/// The form of a request, and the identifier of the client that sent it. An error is the answer to the request.
#[expect(clippy::result_large_err, reason = "the answer itself, which is sent as it is")]
pub(super) fn asked(gateway: &Gateway, headers: &HeaderMap, body: &Bytes) -> Result<(Params, String), Response> {
    let form = Params::of_form(headers, body)
        .ok_or_else(|| malformed("the body is not application/x-www-form-urlencoded, or a parameter occurs twice"))?;
    let client = client_of(gateway, headers, &form)?;
    Ok((form, client))
}

/// The answer to a request that the endpoint cannot read.
pub(super) fn malformed(why: &str) -> Response {
    json_error(StatusCode::BAD_REQUEST, "invalid_request", why)
}

/// The identifier of the client that sent a request, by its credentials (RFC 6749 section 2.3). An error is the answer to the
/// request.
#[expect(clippy::result_large_err, reason = "the answer itself, which is sent as it is")]
fn client_of(gateway: &Gateway, headers: &HeaderMap, form: &Params) -> Result<String, Response> {
    let unauthenticated = |basic: bool| {
        let advice = "the client is not known here, or its secret is wrong: register it again";
        let mut answer = json_error(StatusCode::UNAUTHORIZED, "invalid_client", advice);
        if basic {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"gateway\""));
        }
        answer
    };
    let basic = headers.get(AUTHORIZATION);
    let (method, id, secret) = match (basic, form.get("client_id"), form.get("client_secret")) {
        (Some(_), _, Some(_)) => return Err(malformed("the client authenticates in two ways")),
        (Some(header), id, None) => {
            let (user, secret) = read_basic(header).ok_or_else(|| unauthenticated(true))?;
            if id.is_some_and(|id| id != user) {
                return Err(malformed("client_id differs from the client that authenticates"));
            }
            (AuthMethod::Basic, user, Some(secret))
        }
        (None, Some(id), Some(secret)) => (AuthMethod::Post, id.to_owned(), Some(secret.to_owned())),
        (None, Some(id), None) => (AuthMethod::None, id.to_owned(), None),
        (None, None, _) => return Err(unauthenticated(false)),
    };
    match gateway.0.clients.authenticates(&gateway.0.seal, &id, method, secret.as_deref()) {
        true => Ok(id),
        false => Err(unauthenticated(basic.is_some())),
    }
}

/// The identifier and secret of a `Basic` header, each form-encoded in itself (RFC 6749 section 2.3.1). `None` if
/// the header is of another scheme, or is malformed.
fn read_basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |text: &str| {
        form_urlencoded::parse([b"v=", text.as_bytes()].concat().as_slice()).next().map(|(_, value)| value.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?))
}
