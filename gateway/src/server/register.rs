//! The registration endpoint (RFC 7591).

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::credentials::{RETRY, json, json_error, try_later};
use crate::clients::{Barred, ClientFacts, Occasion, RegistrationError, register as registered};
use crate::gateway::Gateway;

pub(super) async fn register(State(gateway): State<Gateway>, body: Bytes) -> Response {
    let clients = &gateway.0.clients;
    match registered(&gateway.0.seal, &clients.apps, &body, gateway.0.now()) {
        Ok((answer, client)) => match clients.judge(&ClientFacts::from(&client), Occasion::Registration).await {
            Ok(()) => json(StatusCode::CREATED, &answer),
            Err(Barred::Refused) => json_error(
                StatusCode::BAD_REQUEST,
                "invalid_client_metadata",
                "this client is not accepted here: ask the gateway's operator to allow it",
            ),
            Err(Barred::Unavailable(pause)) => {
                try_later(pause.unwrap_or(RETRY), "clients cannot be judged now: try again")
            }
        },
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
