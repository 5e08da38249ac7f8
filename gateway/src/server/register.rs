//! Registration (RFC 7591).

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::credentials::{json, json_error};
use crate::clients::{RegistrationError, register as registered};
use crate::gateway::Gateway;

pub(super) async fn register(State(gateway): State<Gateway>, body: Bytes) -> Response {
    match registered(&gateway.0.seal, &gateway.0.clients.apps, &body, gateway.0.now()) {
        Ok(answer) => json(StatusCode::CREATED, &answer),
        Err(RegistrationError::Redirect) => json_error(
            StatusCode::BAD_REQUEST,
            "invalid_redirect_uri",
            "redirect_uris must be one to eight addresses of https, of http on loopback, or of an app's own scheme, with a dot in it",
        ),
        Err(RegistrationError::Metadata(why)) => json_error(StatusCode::BAD_REQUEST, "invalid_client_metadata", why),
        Err(RegistrationError::NoRandomness(error)) => {
            tracing::error!(%error, "no client was registered");
            json_error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the gateway has no randomness")
        }
    }
}
