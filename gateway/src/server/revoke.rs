//! The revocation endpoint (RFC 7009).

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::credentials::{RETRY, asked, malformed, try_later};
use crate::families::FamilyError;
use crate::gateway::{Gateway, count};
use crate::law::{AccessToken, Question, RefreshToken, Refusal};

/// Revokes a token. The upstream session stays as it is, because the person's other clients use it.
pub(super) async fn revoke(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    let (form, client) = match asked(&gateway, &headers, &body) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let Some(token) = form.get("token") else { return malformed("token is required") };
    let seal = &gateway.0.seal;
    let refresh = RefreshToken::read(seal, token).map(|token| (token.family, token.number));
    let presented = refresh.or_else(|| AccessToken::read(seal, token).map(|token| (token.family, token.number)));
    // A text that is no token of this gateway is answered like a revoked token (section 2.2).
    let Some((family, number)) = presented else { return Response::new(Body::empty()) };
    let question = Question::Revoke { client: &client, number };
    match gateway.0.families.ask(family, question, gateway.0.now()).await {
        Err(FamilyError::Trouble | FamilyError::Full) => {
            try_later(RETRY, "the gateway's store does not answer: try again")
        }
        Err(FamilyError::Refused(Refusal::NotYours)) => malformed("the token was issued to another client"),
        Err(FamilyError::Refused(Refusal::Revoked)) => {
            count(&gateway.0.counters.revoked);
            Response::new(Body::empty())
        }
        Ok(_) | Err(_) => Response::new(Body::empty()),
    }
}
