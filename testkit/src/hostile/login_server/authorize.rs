//! The authorization endpoint (RFC 6749 section 4.1.1, RFC 7636, RFC 9207), its consent page, and pushed requests (RFC
//! 9126).

use std::collections::BTreeMap;
use std::time::Duration;

use form_urlencoded::Serializer;
use serde_json::json;

use super::documents;
use super::flaw::Flaw;
use super::grants::Code;
use super::incoming::{Incoming, unique};
use super::pages;
use super::settings::Consent;
use super::site::Site;
use super::tally::present;
use crate::hostile::authority::{Authority, Refusal};
use crate::hostile::reply::Reply;

/// The lifetime of a pushed request.
const PUSHED_LIFETIME: Duration = Duration::from_secs(60);

/// A valid authorization request.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) client: String,
    pub(super) redirect: String,
    pub(super) state: Option<String>,
    /// The `code_challenge`, by S256.
    pub(super) challenge: String,
    pub(super) scope: String,
    pub(super) resource: Option<String>,
    pub(super) nonce: Option<String>,
}

/// A pushed request.
pub(super) struct Pushed {
    ordinal: usize,
    parameters: BTreeMap<String, String>,
    expires: Duration,
    used: bool,
}

/// Why an authorization request is refused.
enum Problem {
    /// The redirect address cannot be trusted. The person sees a page, and the client gets no callback.
    NoCallback(&'static str),
    /// The client gets an error.
    Callback { redirect: String, state: Option<String>, error: &'static str, text: &'static str },
}

pub(super) fn authorize(site: &mut Site, authority: &mut Authority, incoming: &Incoming<'_>, now: Duration) -> Reply {
    let asked = resolve(site, incoming, now).and_then(|parameters| {
        if site.has(Flaw::ClientUnknownAtPage) {
            return Err(Problem::NoCallback("unknown client"));
        }
        check(site, authority, &parameters)
    });
    match asked {
        Err(problem) => refuse(site, problem),
        Ok(asked) => match site.consent() {
            Consent::Allow => allow(site, authority, asked, now),
            Consent::Deny => deny(site, &asked),
            Consent::Fails(error) => {
                let Asked { redirect, state, .. } = asked;
                refuse(site, Problem::Callback { redirect, state, error, text: "this server cannot answer now" })
            }
            Consent::Page => {
                let ticket = authority.draw("ticket");
                let page = pages::consent(&asked, &ticket);
                site.open.insert(ticket, asked);
                site.tally.counts.pages += 1;
                page
            }
        },
    }
}

/// The answer to the consent page.
pub(super) fn decide(site: &mut Site, authority: &mut Authority, incoming: &Incoming<'_>, now: Duration) -> Reply {
    let parameters = unique(incoming.form()).unwrap_or_default();
    let ticket = parameters.get("ticket").map_or("", String::as_str);
    let Some(asked) = site.open.remove(ticket) else { return pages::problem("this page was answered already") };
    match parameters.get("answer").map(String::as_str) {
        Some("allow") => allow(site, authority, asked, now),
        _ => deny(site, &asked),
    }
}

/// A pushed authorization request.
pub(super) fn push(site: &mut Site, authority: &mut Authority, incoming: &Incoming<'_>, now: Duration) -> Reply {
    let client = match incoming.client_form().map_err(Refusal::from) {
        Ok(form) => match authority.authenticate(&form.client) {
            Ok(_) => form.client.id,
            Err(refusal) => return Reply::refusal(refusal),
        },
        Err(refusal) => return Reply::refusal(refusal),
    };
    let error = |error: &str, text: &str| {
        Reply::json(400, &json!({ "error": error, "error_description": site.description(text) }))
    };
    let Some(mut parameters) = unique(incoming.form()) else { return error("invalid_request", "repeated parameter") };
    parameters.insert("client_id".to_owned(), client);
    // A secret is the client's authentication, and no part of the request (RFC 9126 section 2.1).
    parameters.remove("client_secret");
    if parameters.contains_key("request_uri") {
        return error("invalid_request", "a pushed request has no request_uri");
    }
    match check(site, authority, &parameters) {
        Err(Problem::NoCallback(text)) => return error("invalid_request", text),
        Err(Problem::Callback { error: word, text, .. }) => return error(word, text),
        Ok(_) => {}
    }
    let uri = format!("urn:ietf:params:oauth:request_uri:{}", authority.draw("request"));
    let expires = now.saturating_add(PUSHED_LIFETIME);
    site.pushed.insert(uri.clone(), Pushed { ordinal: site.pushed.len(), parameters, expires, used: false });
    let body = json!({ "request_uri": uri, "expires_in": PUSHED_LIFETIME.as_secs() });
    Reply::json(201, &body).with("cache-control", "no-store")
}

/// The parameters of a request, those of a pushed one included.
fn resolve(site: &mut Site, incoming: &Incoming<'_>, now: Duration) -> Result<BTreeMap<String, String>, Problem> {
    let parameters = unique(incoming.query()).ok_or(Problem::NoCallback("repeated parameter"))?;
    let Some(uri) = parameters.get("request_uri") else {
        if site.settings.requires_par {
            let (redirect, state) = (parameters.get("redirect_uri"), parameters.get("state").cloned());
            let exact = site.has(Flaw::ExactRedirectPort);
            let known = parameters.get("client_id").and_then(|id| site.clients.get(id));
            return Err(match (redirect, known) {
                (Some(redirect), Some(known)) if known.allows(redirect, exact) => Problem::Callback {
                    redirect: redirect.clone(),
                    state,
                    error: "invalid_request",
                    text: "requests must be pushed",
                },
                _ => Problem::NoCallback("requests must be pushed"),
            });
        }
        return Ok(parameters);
    };
    let pushed = site.pushed.get_mut(uri);
    present(&mut site.tally.counts.request_uris, pushed.as_ref().map(|pushed| format!("request-{}", pushed.ordinal)));
    let pushed = pushed.ok_or(Problem::NoCallback("unknown request_uri"))?;
    if parameters.get("client_id") != pushed.parameters.get("client_id") {
        return Err(Problem::NoCallback("another client's request_uri"));
    }
    if std::mem::replace(&mut pushed.used, true) {
        return Err(Problem::NoCallback("used request_uri"));
    }
    if now >= pushed.expires {
        return Err(Problem::NoCallback("expired request_uri"));
    }
    Ok(pushed.parameters.clone())
}

fn check(site: &Site, authority: &Authority, parameters: &BTreeMap<String, String>) -> Result<Asked, Problem> {
    let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
    let client = parameter("client_id");
    let known = site.clients.get(client).ok_or(Problem::NoCallback("unknown client"))?;
    let redirect = parameter("redirect_uri");
    if !known.allows(redirect, site.has(Flaw::ExactRedirectPort)) {
        return Err(Problem::NoCallback("redirect_uri is not registered"));
    }
    let state = parameters.get("state").cloned();
    let problem =
        |error, text| Err(Problem::Callback { redirect: redirect.to_owned(), state: state.clone(), error, text });
    if parameter("response_type") != "code" {
        return problem("unsupported_response_type", "response_type must be code");
    }
    let challenge = parameter("code_challenge");
    // A digest of 32 bytes has 43 characters in base64url.
    if parameter("code_challenge_method") != "S256" || challenge.len() != 43 {
        return problem("invalid_request", "PKCE with S256 is required");
    }
    let resource = parameters.get("resource").cloned();
    let is_known = resource.as_deref().is_some_and(|resource| site.knows_resource(resource));
    if authority.rules.checks_resource && !is_known {
        return problem("invalid_target", "resource is missing or unknown");
    }
    let Some(scope) = site.granted(parameter("scope")) else {
        return problem("invalid_scope", "unknown scope");
    };
    Ok(Asked {
        client: client.to_owned(),
        redirect: redirect.to_owned(),
        challenge: challenge.to_owned(),
        scope,
        resource,
        nonce: parameters.get("nonce").cloned(),
        state,
    })
}

fn allow(site: &mut Site, authority: &mut Authority, asked: Asked, now: Duration) -> Reply {
    let subject = site.person();
    if site.has(Flaw::EndsOldGrants) {
        site.grants.end_all(authority, &asked.client, &subject);
    }
    let value = authority.draw("code");
    let reply = call_back(site, &asked.redirect, asked.state.as_deref(), &[("code", &value)]);
    let ordinal = site.codes.len();
    site.codes.insert(value, Code::new(ordinal, asked, subject, now));
    site.tally.counts.allowed += 1;
    reply
}

fn deny(site: &mut Site, asked: &Asked) -> Reply {
    site.tally.counts.declined += 1;
    let text = site.description("the person declined");
    let parameters = [("error", "access_denied"), ("error_description", &*text)];
    call_back(site, &asked.redirect, asked.state.as_deref(), &parameters)
}

fn refuse(site: &mut Site, problem: Problem) -> Reply {
    match problem {
        Problem::NoCallback(text) => {
            site.tally.refused("no_callback");
            pages::problem(text)
        }
        Problem::Callback { redirect, state, error, text } => {
            site.tally.refused(error);
            let text = site.description(text);
            call_back(site, &redirect, state.as_deref(), &[("error", error), ("error_description", &text)])
        }
    }
}

/// A redirect to the client, with `state` and `iss` (RFC 9207 section 2).
fn call_back(site: &Site, redirect: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> Reply {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parameters);
    match state {
        Some(_) if site.has(Flaw::StateForged) => query.append_pair("state", "forged"),
        Some(state) => query.append_pair("state", state),
        None => &mut query,
    };
    if let Some(iss) = documents::iss(site) {
        query.append_pair("iss", &iss);
    }
    let separator = if redirect.contains('?') { '&' } else { '?' };
    Reply::empty(302)
        .with("location", format!("{redirect}{separator}{}", query.finish()))
        .with("cache-control", "no-store")
}
