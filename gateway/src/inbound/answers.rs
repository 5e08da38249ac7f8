//! The answers to inbound requests that do not reach the resource.

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

use super::upstreams::UpstreamTrouble;
use crate::server::{json, json_error, try_later};

/// The content of the `WWW-Authenticate` header of a resource (RFC 6750 section 3, RFC 9728 section 5.1).
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    /// The URL of the resource's metadata.
    pub(super) metadata: String,
    pub(super) scopes: Vec<String>,
}

impl Challenge {
    /// The answer to a request without a token.
    pub(super) fn missing(&self) -> Response {
        let error = json_error(StatusCode::UNAUTHORIZED, "unauthorized", "a token is required: sign in");
        self.on(error, None)
    }

    /// The answer to a request whose token is not accepted any more. Clients then refresh the token, or sign in.
    pub(super) fn dead(&self) -> Response {
        let why = "the token has expired, was revoked or is for another resource: refresh it, or sign in";
        self.on(json_error(StatusCode::UNAUTHORIZED, "invalid_token", why), Some("invalid_token"))
    }

    /// The answer to a request whose token lacks scopes.
    pub(super) fn narrow(&self) -> Response {
        let why = "the token lacks a scope: ask the person for it";
        self.on(json_error(StatusCode::FORBIDDEN, "insufficient_scope", why), Some("insufficient_scope"))
    }

    /// Adds the challenge to an answer.
    fn on(&self, mut answer: Response, error: Option<&str>) -> Response {
        let mut challenge = format!("Bearer resource_metadata=\"{}\"", self.metadata);
        if let Some(error) = error {
            challenge.push_str(&format!(", error=\"{error}\""));
        }
        if !self.scopes.is_empty() {
            challenge.push_str(&format!(", scope=\"{}\"", self.scopes.join(" ")));
        }
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

/// As an answer, trouble that passes is 503 with `Retry-After`, and a missing login is 403 with the URL of the page at which
/// the person signs in. An upstream that gives no token is 502, and an unknown one is 500. The answer is never 401, because a
/// new inbound token would not help.
impl IntoResponse for UpstreamTrouble {
    fn into_response(self) -> Response {
        match self {
            Self::Unavailable { retry_after, upstream, .. } => {
                try_later(retry_after, &format!("{upstream} cannot be used now: try again later"))
            }
            Self::LoginRequired { upstream, login_page, .. } => json(
                StatusCode::FORBIDDEN,
                &serde_json::json!({
                    "error": "interaction_required",
                    "error_description": format!("the person has to sign in to {upstream} again, at interaction_url"),
                    "interaction_url": login_page,
                }),
            ),
            Self::Refused { upstream, .. } => json(
                StatusCode::BAD_GATEWAY,
                &serde_json::json!({
                    "error": "upstream_refused",
                    "error_description": format!("{upstream} gives no token: tell the gateway's operator"),
                }),
            ),
            Self::Unknown => json_error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "there is no such upstream"),
        }
    }
}
