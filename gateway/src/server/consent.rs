//! The page of consent.
//!
//! A gateway is one client of its upstream, for all of its own clients. An upstream that has allowed it once may answer without
//! a page, so that the person would never learn which client gets the code (the confused deputy). The gateway therefore asks for
//! each client itself, before the person is sent to the upstream, and no cookie of a login is set before the answer.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ORIGIN, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokenkeeper::engine::values::WallTime;
use url::Url;

use super::authorize::AuthorizationRequest;
use super::cookies::Cookies;
use super::flow::{self, Goal};
use super::params::Params;
use super::{CONSENT, codes, pages};
use crate::clients::is_on_the_machine;
use crate::gateway::Gateway;
use crate::seal::{Use, draw};
use crate::text::escaped;

/// The cookie that ties forms to the browser in which they were shown.
const BROWSER: &str = "browser";

/// How long a form can be answered.
const FORM_LIFETIME: Duration = Duration::from_secs(600);

/// How long the cookie of a browser lasts.
const BROWSER_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The hidden field of the form.
#[derive(Serialize, Deserialize)]
struct Form {
    request: AuthorizationRequest,
    /// The digest of the browser's cookie.
    browser: String,
    expires: u64,
}

/// Shows the request to the person.
pub(super) fn page(
    gateway: &Gateway,
    headers: &HeaderMap,
    request: &AuthorizationRequest,
    name: Option<&str>,
    is_known: bool,
) -> Response {
    let cookies = Cookies::of(&gateway.0.issuer);
    let (browser, fresh) = match cookies.get(headers, BROWSER) {
        Some(browser) if browser.len() >= 32 => (browser.to_owned(), None),
        _ => match draw::<32>() {
            Ok(secret) => {
                let browser = URL_SAFE_NO_PAD.encode(secret);
                let cookie = cookies.set(BROWSER, &browser, BROWSER_LIFETIME);
                (browser, cookie)
            }
            Err(_) => return request.refused(&gateway.0.issuer, "server_error", "the gateway has no randomness"),
        },
    };
    let expires = gateway.0.now().after(FORM_LIFETIME).as_millis();
    let form = Form { request: request.clone(), browser: digest(&browser), expires };
    let html = html(gateway, request, name, &gateway.0.seal.seal(Use::Form, &form), is_known);
    let mut answer = pages::page(StatusCode::OK, &heading(request, name), &html);
    if let Some(cookie) = fresh {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// Takes the person's answer.
pub(super) async fn consent(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    let stop = |advice| pages::trouble(StatusCode::BAD_REQUEST, "This answer was not taken", advice);
    if !is_own(&gateway, &headers) {
        return stop("It came from another page than the gateway's own. Start the sign-in again in the app.");
    }
    let params = Params::of_form(&headers, &body);
    let Some(params) = params else { return stop("The form is damaged. Start the sign-in again in the app.") };
    let form = params.get("form").and_then(|text| gateway.0.seal.open::<Form>(Use::Form, text));
    let Some(Form { request, browser, expires }) = form else {
        return stop("The form is damaged. Start the sign-in again in the app.");
    };
    let held = Cookies::of(&gateway.0.issuer).get(&headers, BROWSER);
    if held.map(digest).as_deref() != Some(&browser) {
        return stop(
            "The form was shown in another browser, or cookies are off. Allow cookies, and start again in the app.",
        );
    }
    if gateway.0.now() >= WallTime::from_millis(expires) {
        return stop("The page was open for too long. Start the sign-in again in the app.");
    }
    let person = flow::person_of(&gateway, &headers);
    match (params.get("answer"), person) {
        (Some("allow"), Some(subject)) if flow::is_signed_in(&gateway, &subject).await => {
            codes::remember(&gateway, &subject, &request).await;
            codes::issue(&gateway, &subject, &request).await
        }
        (Some("allow" | "another"), _) => flow::begin(&gateway, &headers, 0, None, Goal::Code(request)).await,
        _ => request.refused(&gateway.0.issuer, "access_denied", "the person declined"),
    }
}

/// Whether a browser sent the form from the gateway's own page. Browsers of today send at least one of the two headers.
fn is_own(gateway: &Gateway, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = headers.get(ORIGIN).is_none_or(|origin| origin == gateway.0.issuer.as_str());
    site && origin
}

fn digest(browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(browser.as_bytes()))
}

fn heading(request: &AuthorizationRequest, name: Option<&str>) -> String {
    match (name, host_of(&request.client)) {
        (Some(name), _) => format!("Allow “{name}” to act for you?"),
        (None, Some(host)) => format!("Allow the app of {host} to act for you?"),
        (None, None) => "Allow an app without a name to act for you?".to_owned(),
    }
}

fn html(gateway: &Gateway, request: &AuthorizationRequest, name: Option<&str>, form: &str, is_known: bool) -> String {
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
    let another = if is_known { "<button name=\"answer\" value=\"another\">Use another account</button>" } else { "" };
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
fn destination(redirect: &str) -> String {
    match (host_of(redirect), redirect.split_once(':')) {
        (Some(host), _) => host,
        (None, Some(("http", _))) | (None, None) => "a program on this device".to_owned(),
        (None, Some((scheme, _))) => format!("the app that opens {scheme} addresses on this device"),
    }
}
