//! Dynamic registration (RFC 7591) and its management (RFC 7592).

use serde_json::{Value, json};
use tokenkeeper_actors::values::ClientSecret;
use tokenkeeper_actors::values::record::{Client, ClientAuth};

use super::flaw::Flaw;
use super::incoming::Incoming;
use super::site::Site;
use crate::hostile::authority::Authority;
use crate::hostile::clock::unix_seconds;
use crate::hostile::reply::Reply;

/// A client that may ask for authorizations. No `Debug`, because it holds a secret.
pub(super) struct Known {
    redirects: Vec<String>,
    /// The registration access token and the answer to the registration. `None` for clients of the test.
    dynamic: Option<(String, Value)>,
}

impl Known {
    /// A client that the test itself has registered.
    pub(super) fn pre_registered(redirects: Vec<String>) -> Self {
        Self { redirects, dynamic: None }
    }

    pub(super) fn is_dynamic(&self) -> bool {
        self.dynamic.is_some()
    }

    /// Whether it was registered for refresh tokens (RFC 7591 section 2).
    pub(super) fn may_refresh(&self) -> bool {
        let Some((_, metadata)) = &self.dynamic else { return true };
        metadata["grant_types"].as_array().is_some_and(|types| types.iter().any(|name| name == "refresh_token"))
    }

    /// Whether a redirect address is one of its own. Addresses are equal character for character, except that the port
    /// of a loopback address may differ (RFC 8252 section 7.3), unless `exact`.
    pub(super) fn allows(&self, redirect: &str, exact: bool) -> bool {
        self.redirects.iter().any(|own| {
            own == redirect || (!exact && loopback_parts(own).is_some_and(|own| Some(own) == loopback_parts(redirect)))
        })
    }
}

/// The name of an authentication method. `None` for one that this server cannot check.
pub(super) fn method_name(auth: ClientAuth) -> Option<&'static str> {
    match auth {
        ClientAuth::None => Some("none"),
        ClientAuth::Basic => Some("client_secret_basic"),
        ClientAuth::Post => Some("client_secret_post"),
        ClientAuth::PrivateKeyJwt => None,
    }
}

/// The host and path of a loopback address with an IP literal.
fn loopback_parts(redirect: &str) -> Option<(&str, &str)> {
    parts_at(redirect, &["127.0.0.1", "[::1]"])
}

/// The host and path of an address at one of these hosts, over plain HTTP.
fn parts_at<'a>(redirect: &'a str, hosts: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let rest = redirect.strip_prefix("http://")?;
    let host = hosts.iter().copied().find(|host| rest.starts_with(host))?;
    let rest = &rest[host.len()..];
    let (port, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    is_port.then_some((host, path))
}

pub(super) fn register(site: &mut Site, authority: &mut Authority, incoming: &Incoming<'_>) -> Reply {
    if site.has(Flaw::NoRegistration) {
        return Reply::empty(404);
    }
    let error = |error: &str, text: &str| {
        Reply::json(400, &json!({ "error": error, "error_description": site.description(text) }))
    };
    let Some(Value::Object(asked)) = incoming.json() else {
        return error("invalid_client_metadata", "not a JSON object");
    };
    if site.has(Flaw::RegistrationRefused) {
        return error("invalid_client_metadata", "registration is closed");
    }
    let strings = |name: &str| -> Vec<String> {
        let list = asked.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let redirects = strings("redirect_uris");
    let literal = |redirect: &String| loopback_parts(redirect).is_some();
    let named = |redirect: &String| parts_at(redirect, &["localhost"]).is_some();
    let is_allowed = |redirect: &String| redirect.starts_with("https://") || named(redirect) || literal(redirect);
    // A client of device logins alone has no redirect address (RFC 7591 section 2).
    let grant_types = strings("grant_types");
    let is_device = !grant_types.is_empty() && grant_types.iter().all(|kind| kind != "authorization_code");
    if redirects.is_empty() && !is_device || !redirects.iter().all(is_allowed) {
        return error("invalid_redirect_uri", "neither https nor loopback");
    }
    if site.has(Flaw::RegistrationWantsLocalhost) && redirects.iter().any(literal) {
        return error("invalid_redirect_uri", "use localhost");
    }
    if site.has(Flaw::RegistrationWantsLiteral) && redirects.iter().any(named) {
        return error("invalid_redirect_uri", "use 127.0.0.1");
    }
    // The default of RFC 7591 section 2.
    let method = asked.get("token_endpoint_auth_method").and_then(Value::as_str).unwrap_or("client_secret_basic");
    let offered = &site.settings.auth_methods;
    let Some(auth) = offered.iter().copied().find(|auth| method_name(*auth) == Some(method)) else {
        return error("invalid_client_metadata", "unknown token_endpoint_auth_method");
    };
    let auth = match auth {
        ClientAuth::Post if site.has(Flaw::RegistrationOtherMethod) => ClientAuth::Basic,
        _ if site.has(Flaw::RegistrationOtherMethod) => ClientAuth::Post,
        auth => auth,
    };
    let client = authority.register(auth);
    let token = authority.draw("registration");
    let answer = answer(site, &client, asked, &token);
    site.clients.insert(client.id, Known { redirects, dynamic: Some((token, answer.clone())) });
    site.tally.counts.registered += 1;
    Reply::json(201, &answer).with("cache-control", "no-store")
}

/// The answer to a registration (RFC 7591 section 3.2.1), with defaults in place of missing members.
fn answer(site: &Site, client: &Client, asked: serde_json::Map<String, Value>, token: &str) -> Value {
    let mut answer = Value::Object(asked);
    answer["client_id"] = client.id.as_str().into();
    answer["client_id_issued_at"] = unix_seconds().into();
    answer["registration_access_token"] = token.into();
    answer["registration_client_uri"] = format!("{}/register/{}", site.origin, client.id).into();
    answer["token_endpoint_auth_method"] = method_name(client.auth).into();
    if let Some(secret) = client.secret.as_ref().map(ClientSecret::expose) {
        answer["client_secret"] = secret.into();
        let expires = site.settings.secret_lifetime.map_or(0, |lifetime| unix_seconds() + lifetime.as_secs());
        answer["client_secret_expires_at"] = expires.into();
    }
    if answer.get("grant_types").is_none() {
        answer["grant_types"] = json!(["authorization_code"]);
    }
    if site.has(Flaw::TerminalEscapes) {
        answer["client_name"] = site.description("Test client").into();
    }
    answer
}

/// Reads or deletes a registration.
pub(super) fn configure(site: &mut Site, authority: &mut Authority, incoming: &Incoming<'_>) -> Reply {
    let id = incoming.path().trim_start_matches("/register/").to_owned();
    let known = site.clients.get(&id).and_then(|known| known.dynamic.as_ref());
    let Some((_, answer)) = known.filter(|(token, _)| incoming.bearer() == Some(token)) else {
        // One answer for unknown clients and for wrong tokens (RFC 7592 section 2.1).
        return Reply::empty(401).with("www-authenticate", "Bearer error=\"invalid_token\"");
    };
    if incoming.method() == "GET" {
        return Reply::json(200, answer).with("cache-control", "no-store");
    }
    authority.unregister(&id);
    site.clients.remove(&id);
    site.tally.counts.deleted += 1;
    Reply::empty(204)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_an_ip_literal_may_differ() {
        let known = Known::pre_registered(
            ["http://127.0.0.1:1/cb", "http://[::1]/cb", "http://localhost:1/cb"].map(str::to_owned).into(),
        );
        for redirect in ["http://127.0.0.1:9/cb", "http://127.0.0.1/cb", "http://[::1]:9/cb", "http://localhost:1/cb"] {
            assert!(known.allows(redirect, false), "{redirect}");
        }
        for redirect in [
            "http://127.0.0.1:9/other",
            "http://localhost:9/cb",
            "http://127.0.0.1.example/cb",
            "http://127.0.0.1:x/cb",
            "",
        ] {
            assert!(!known.allows(redirect, false), "{redirect}");
        }
    }
}
