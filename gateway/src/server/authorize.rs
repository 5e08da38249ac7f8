//! The authorization endpoint, which checks a client's request, and then issues a code or shows the page of consent.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokenkeeper::ResourceUri;
use url::form_urlencoded::Serializer;

use super::params::Params;
use super::{codes, consent, flow, pages};
use crate::clients::{ClientFacts, DocumentError, Occasion, Unknown, is_loopback, is_on_the_machine};
use crate::gateway::Gateway;

/// The maximum length of a request as it travels through cookies and forms, in bytes. Browsers keep 4,096 bytes of a cookie.
const MAX_REQUEST: usize = 2400;

/// An authorization request whose parameters were checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AuthorizationRequest {
    #[serde(rename = "c")]
    pub(super) client: String,
    #[serde(rename = "u")]
    pub(super) redirect: String,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    #[serde(rename = "p")]
    pub(super) challenge: String,
    #[serde(rename = "r")]
    pub(super) resource: String,
    #[serde(rename = "w")]
    pub(super) scopes: Vec<String>,
    #[serde(rename = "f")]
    pub(super) refreshable: bool,
}

impl AuthorizationRequest {
    /// The redirect to the client with an answer, which names the issuer (RFC 9207).
    fn answer(&self, issuer: &str, parameters: &[(&str, &str)]) -> Response {
        pages::redirect(&answer_url(issuer, &self.redirect, self.state.as_deref(), parameters))
    }

    /// The answer with a code.
    pub(super) fn granted(&self, issuer: &str, code: &str) -> Response {
        self.answer(issuer, &[("code", code)])
    }

    /// The answer with an error.
    pub(super) fn refused(&self, issuer: &str, error: &str, description: &str) -> Response {
        self.answer(issuer, &[("error", error), ("error_description", description)])
    }
}

pub(super) async fn authorize(
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (request, name) = match checked(&gateway, &query.unwrap_or_default()).await {
        Ok(checked) => checked,
        Err(answer) => return answer,
    };
    let person = flow::person_of(&gateway, &headers).await;
    // Any program on the person's machine can use the identifier of another client there, so that the person is asked about
    // each request of such a client (RFC 8252 section 8.6).
    if let Some(subject) = person.as_deref()
        && !is_on_the_machine(&request.redirect)
        && codes::is_remembered(&gateway, subject, &request).await
        && flow::is_signed_in(&gateway, subject).await
    {
        return codes::issue(&gateway, subject, &request).await;
    }
    consent::page(&gateway, &headers, request, name, person).await
}

/// Checks a query, and returns its request with the client's name. An error is the answer to the browser. Until the redirect
/// address is known to be the client's, the answer is a page, and afterwards it leads to that address.
async fn checked(gateway: &Gateway, query: &str) -> Result<(AuthorizationRequest, Option<String>), Response> {
    let stop = |advice| pages::trouble(StatusCode::BAD_REQUEST, "This sign-in cannot begin", advice);
    let params =
        Params::of_query(query).ok_or_else(|| stop("The app's request has a parameter twice. Tell its maker."))?;
    let id = params.get("client_id").ok_or_else(|| stop("The app did not say who it is. Tell its maker."))?;
    let clients = &gateway.0.clients;
    let client = match clients.find(&gateway.0.seal, id, gateway.0.now()).await {
        Ok(client) => client,
        Err(Unknown::Barred(barred)) => return Err(pages::barred(barred)),
        Err(Unknown::Document(DocumentError::Unreachable | DocumentError::Busy)) => {
            let advice = "The app's own description cannot be fetched now. Try again in a minute.";
            return Err(pages::trouble(StatusCode::SERVICE_UNAVAILABLE, "This sign-in cannot begin", advice));
        }
        Err(Unknown::NotOurs | Unknown::Document(_)) => {
            return Err(stop("The app is not known here. Remove the connection in the app, and add it again."));
        }
    };
    let judged = clients.judge(&ClientFacts::from(&*client), Occasion::Authorization).await;
    judged.map_err(pages::barred)?;
    let redirect = params.get("redirect_uri").filter(|redirect| client.allows(redirect));
    let redirect = redirect.ok_or_else(|| {
        stop("The app wants the answer at an address that it has not registered. Remove the connection in the app, and add it again.")
    })?;
    let state = params.get("state");
    let refuse = |error, description| {
        let url =
            answer_url(&gateway.0.issuer, redirect, state, &[("error", error), ("error_description", description)]);
        match is_loopback(redirect) {
            true => pages::redirect(&url),
            // Anyone can register an address. A person is never sent there by a link alone (RFC 9700 section 4.11.2).
            false => pages::leave(&consent::destination(redirect), &url, description),
        }
    };
    if params.get("request").is_some() || params.get("request_uri").is_some() {
        return Err(refuse("request_not_supported", "send the parameters in the query"));
    }
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(refuse("unsupported_response_type", "only code is supported")),
        None => return Err(refuse("invalid_request", "response_type is required")),
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(refuse("invalid_request", "only response_mode=query is supported"));
    }
    let challenge = match (params.get("code_challenge"), params.get("code_challenge_method")) {
        (Some(challenge), Some("S256")) if is_challenge(challenge) => challenge,
        (Some(_), Some("S256")) => return Err(refuse("invalid_request", "code_challenge is not one of S256")),
        (Some(_), _) => return Err(refuse("invalid_request", "code_challenge_method must be S256")),
        (None, _) => return Err(refuse("invalid_request", "code_challenge is required (PKCE with S256)")),
    };
    let resource = match (params.get("resource").map(ResourceUri::parse), gateway.0.resources.as_slice()) {
        // Without a parameter, the gateway's only resource is meant. With several, the client has to name one.
        (None, [only]) => only.clone(),
        (Some(Ok(resource)), known) if known.contains(&resource) => resource,
        _ => return Err(refuse("invalid_target", "the resource is none that is protected here")),
    };
    let mut scopes = params.words("scope");
    scopes.sort();
    scopes.dedup();
    // `offline_access` asks for refresh tokens. Whether a client gets those depends on its registration alone.
    scopes.retain(|scope| scope != "offline_access");
    if scopes.iter().any(|scope| !gateway.0.scopes.contains(scope)) {
        return Err(refuse("invalid_scope", "a scope is none of scopes_supported"));
    }
    if scopes.is_empty() {
        scopes.clone_from(&gateway.0.scopes);
    }
    let request = AuthorizationRequest {
        client: client.id.clone(),
        redirect: redirect.to_owned(),
        state: state.map(str::to_owned),
        challenge: challenge.to_owned(),
        resource: resource.as_str().to_owned(),
        scopes,
        refreshable: client.refreshes,
    };
    let length = serde_json::to_vec(&request).map_or(usize::MAX, |text| text.len());
    if length > MAX_REQUEST {
        return Err(refuse("invalid_request", "the request is too long: use a shorter state"));
    }
    Ok((request, client.name.clone()))
}

/// Whether `challenge` is a SHA-256 digest in base64url (RFC 7636 section 4.2).
fn is_challenge(challenge: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    challenge.len() == 43 && challenge.bytes().all(is_digit)
}

/// The client's redirect address with the parameters of an answer. A query that the address has already is kept.
fn answer_url(issuer: &str, redirect: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parameters);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", issuer);
    let separator = if redirect.contains('?') { '&' } else { '?' };
    format!("{redirect}{separator}{}", query.finish())
}
