//! The page of consent, at which a person allows an MCP client to use the gateway, or declines.
//!
//! At an upstream, a gateway is one OAuth client, whichever of its own clients the person signs in with. An upstream at which
//! the person has allowed the gateway once may answer without a page, so that the person would never learn which client gets the
//! code (the confused deputy). The gateway therefore asks for each client itself, before the person is sent to the upstream, and
//! no cookie of a login is set before the person's answer.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::authorize::AuthorizationRequest;
use super::flow::{self, Goal};
use super::forms::{self, Form};
use super::{CONSENT, codes, pages};
use crate::clients::is_on_the_machine;
use crate::gateway::Gateway;
use crate::seal::Use;
use crate::text::escaped;

/// The content of the form's hidden field.
#[derive(Serialize, Deserialize)]
struct Asked {
    request: AuthorizationRequest,
    /// The name that the client gave itself.
    name: Option<String>,
    /// The subject whose consent is asked for, if the browser's person was known.
    person: Option<String>,
}

/// Shows the request to the person.
pub(super) async fn page(
    gateway: &Gateway,
    headers: &HeaderMap,
    request: AuthorizationRequest,
    name: Option<String>,
    person: Option<String>,
) -> Response {
    let asked = Asked { request, name, person };
    let Ok(form) = Form::new(gateway, headers, Use::Form, &asked) else {
        return asked.request.refused(&gateway.0.issuer, "server_error", "the gateway has no randomness");
    };
    let label = match &asked.person {
        Some(subject) => flow::label_of(gateway, subject).await,
        None => None,
    };
    let html = html(gateway, &asked, label.as_deref(), &form.hidden);
    form.on(pages::page(StatusCode::OK, &heading(&asked.request, asked.name.as_deref()), &html))
}

/// Takes the person's answer.
pub(super) async fn consent(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    let (asked, params) = match forms::read::<Asked>(&gateway, &headers, Use::Form, &body) {
        Ok(read) => read,
        Err(advice) => return pages::trouble(StatusCode::BAD_REQUEST, "This answer was not taken", advice),
    };
    let person = flow::person_of(&gateway, &headers).await;
    // The browser's person has changed since the page was shown, for example in another tab. The page is shown to the new
    // person, because a consent counts only for the person who gave it.
    if params.get("answer") == Some("allow") && person != asked.person {
        return page(&gateway, &headers, asked.request, asked.name, person).await;
    }
    let request = asked.request;
    match (params.get("answer"), person) {
        (Some("allow"), Some(subject)) if flow::is_signed_in(&gateway, &subject).await => {
            codes::remember(&gateway, &subject, &request).await;
            codes::issue(&gateway, &subject, &request).await
        }
        // The person is not known, has to sign in again, or wants to be another one. The code follows the login.
        (Some("allow" | "another"), _) => flow::begin(&gateway, &headers, 0, None, Goal::Code(request)).await,
        _ => request.refused(&gateway.0.issuer, "access_denied", "the person declined"),
    }
}

fn heading(request: &AuthorizationRequest, name: Option<&str>) -> String {
    match (name, host_of(&request.client)) {
        (Some(name), _) => format!("Allow “{name}” to act for you?"),
        (None, Some(host)) => format!("Allow the app of {host} to act for you?"),
        (None, None) => "Allow an app without a name to act for you?".to_owned(),
    }
}

fn html(gateway: &Gateway, asked: &Asked, label: Option<&str>, form: &str) -> String {
    let (request, name) = (&asked.request, asked.name.as_deref());
    let mut rows = String::new();
    let mut row = |term: &str, text: &str| {
        rows.push_str(&format!("<dt>{term}</dt><dd>{}</dd>", escaped(text)));
    };
    row("It will use", &format!("{} ({})", gateway.0.name, request.resource));
    if !request.scopes.is_empty() {
        row("It may", &request.scopes.join(", "));
    }
    let labels: Vec<_> = gateway.0.upstreams.iter().map(|upstream| upstream.label.as_str()).collect();
    row("With your accounts at", &labels.join(", "));
    if let Some(label) = label {
        row("You are signed in as", label);
    }
    match host_of(&request.client) {
        Some(host) => row("The app is described by", &host),
        None => row("The app's name", name.unwrap_or("none given")),
    }
    row("The answer goes to", &destination(&request.redirect));
    let warning = if is_on_the_machine(&request.redirect) {
        "<p class=\"note warn\">The answer goes to a program on this device. Allow it only if you have just started the \
         sign-in yourself.</p>"
    } else {
        "<p class=\"note\">The app chose its name itself. Check the address above.</p>"
    };
    let another = if asked.person.is_some() {
        "<button name=\"answer\" value=\"another\">Use another account</button>"
    } else {
        ""
    };
    format!(
        "<dl>{rows}</dl>{warning}<form method=\"post\" action=\"{CONSENT}\">\
         <input type=\"hidden\" name=\"form\" value=\"{form}\">\
         <button name=\"answer\" value=\"deny\">Cancel</button>{another}\
         <button class=\"go\" name=\"answer\" value=\"allow\">Allow</button></form>"
    )
}

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok().filter(|url| url.scheme() == "https").and_then(|url| url.host_str().map(str::to_owned))
}

/// Where a code goes, as far as a person can judge it.
pub(super) fn destination(redirect: &str) -> String {
    match (host_of(redirect), redirect.split_once(':')) {
        (Some(host), _) => host,
        (None, Some(("http", _))) | (None, None) => "a program on this device".to_owned(),
        (None, Some((scheme, _))) => format!("the app that opens {scheme} addresses on this device"),
    }
}
