//! The token endpoint.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokenkeeper::ResourceUri;

use super::credentials::{RETRY, asked, json, json_error, malformed, try_later};
use crate::clients::{Barred, Occasion};
use crate::families::FamilyError;
use crate::gateway::{Gateway, count};
use crate::law::{AccessToken, FamilyId, Grant, Issue, Question, RefreshToken, Refusal};

pub(super) async fn token(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    let (form, client) = match asked(&gateway, &headers, &body) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    match gateway.0.clients.judge_id(&gateway.0.seal, &client, None, Occasion::Tokens).await {
        Ok(()) => {}
        Err(Barred::Refused) => {
            let why = "this client is not accepted here any more: ask the gateway's operator to allow it";
            return json_error(StatusCode::BAD_REQUEST, "unauthorized_client", why);
        }
        Err(Barred::Unavailable(pause)) => {
            return try_later(pause.unwrap_or(RETRY), "clients cannot be judged now: try again");
        }
    }
    let resource = match form.get("resource").map(ResourceUri::parse).transpose() {
        Ok(resource) => resource,
        Err(_) => return json_error(StatusCode::BAD_REQUEST, "invalid_target", "the resource is not a URL"),
    };
    let (client, resource) = (client.as_str(), resource.as_ref().map(ResourceUri::as_str));
    let scopes = form.words("scope");
    let seal = &gateway.0.seal;
    let (family, question) = match form.get("grant_type") {
        Some("authorization_code") => {
            let (Some(code), Some(verifier)) = (form.get("code"), form.get("code_verifier")) else {
                return malformed("code and code_verifier are required");
            };
            let redirect = form.get("redirect_uri");
            (FamilyId::of_code(seal, code), Question::Redeem { client, redirect, verifier, resource })
        }
        Some("refresh_token") => {
            let Some(token) = form.get("refresh_token") else { return malformed("refresh_token is required") };
            let token = RefreshToken::read(seal, token);
            // Without a family the question is not asked, and the number does not matter.
            let number = token.map_or(0, |token| token.number);
            (token.map(|token| token.family), Question::Refresh { client, number, resource, scopes: &scopes })
        }
        Some(_) => return json_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", "use one of the metadata's"),
        None => return malformed("grant_type is required"),
    };
    let answer = match family {
        Some(family) => gateway.0.families.ask(family, question, gateway.0.now()).await.map(|issued| (family, issued)),
        None => Err(FamilyError::Ended),
    };
    match answer {
        Ok((family, (issue, grant))) => {
            noted(&gateway, question, &issue);
            issued(&gateway, family, &issue, &grant)
        }
        Err(error) => refused(&gateway, error),
    }
}

/// Counts a successful token request.
fn noted(gateway: &Gateway, question: Question<'_>, issue: &Issue) {
    let counters = &gateway.0.counters;
    count(match question {
        Question::Redeem { .. } => &counters.redeemed,
        _ if issue.repeated => &counters.repeated,
        _ => &counters.rotated,
    });
}

/// The answer with tokens.
fn issued(gateway: &Gateway, family: FamilyId, issue: &Issue, grant: &Grant) -> Response {
    let Issue { number, expires, lifetime, .. } = *issue;
    let mut answer = json!({
        "access_token": AccessToken { family, number, expires }.text(&gateway.0.seal),
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
        "scope": grant.scopes.join(" "),
    });
    if grant.refreshable {
        answer["refresh_token"] = json!(RefreshToken { family, number }.text(&gateway.0.seal));
    }
    json(StatusCode::OK, &answer)
}

/// The answer with an error.
fn refused(gateway: &Gateway, error: FamilyError) -> Response {
    let (error, why) = match error {
        FamilyError::Trouble => return try_later(RETRY, "the gateway's store does not answer: try again"),
        FamilyError::Full => return try_later(RETRY, "the gateway's store is full: try again later"),
        FamilyError::Ended => ("invalid_grant", "it has expired, was replaced, revoked or never issued: sign in again"),
        FamilyError::Refused(refusal) => match refusal {
            Refusal::Replayed => {
                count(&gateway.0.counters.replayed);
                tracing::warn!("a code or refresh token was presented again, and its family ended");
                ("invalid_grant", "it was used before, so that all tokens of this sign-in have ended: sign in again")
            }
            Refusal::OtherResource => ("invalid_target", "the resource is not the one that was allowed"),
            Refusal::MoreScopes => ("invalid_scope", "a scope was not allowed: ask the person for it"),
            Refusal::NotRefreshable => ("unauthorized_client", "the client registered without refresh_token"),
            Refusal::NotYours | Refusal::Expired | Refusal::Revoked => {
                ("invalid_grant", "it is not this client's, does not fit the request, or has expired: sign in again")
            }
        },
    };
    json_error(StatusCode::BAD_REQUEST, error, why)
}
