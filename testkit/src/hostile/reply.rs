//! Answers before their delivery.

use bytes::Bytes;
use serde_json::json;

use super::authority::{Issued, Refusal};
use super::clock::http_date;
use super::fault::{Body, Fault, PAGE, Value};

/// Status, headers and body. No `Debug`, because it may hold tokens.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into(), ..Self::empty(status) }.with("content-type", "application/json")
    }

    /// A page like those of proxies.
    pub(super) fn page(status: u16) -> Self {
        Self { body: Bytes::from_static(PAGE.as_bytes()), ..Self::empty(status) }.with("content-type", "text/html")
    }

    /// A successful answer (RFC 6749 section 5.1).
    pub(super) fn tokens(issued: &Issued) -> Self {
        let mut body = json!({ "access_token": issued.access, "token_type": "Bearer" });
        if let Some(seconds) = issued.expires_in {
            body["expires_in"] = seconds.into();
        }
        if let Some(refresh) = &issued.refresh {
            body["refresh_token"] = refresh.as_str().into();
        }
        if !issued.scope.is_empty() {
            body["scope"] = issued.scope.as_str().into();
        }
        if let Some(id_token) = &issued.id_token {
            body["id_token"] = id_token.as_str().into();
        }
        Self::json(200, &body).with("cache-control", "no-store")
    }

    /// An error answer (RFC 6749 section 5.2).
    pub(super) fn refusal(refusal: Refusal) -> Self {
        let reply = Self::json(refusal.status(), &json!({ "error": refusal.word() })).with("cache-control", "no-store");
        match refusal {
            Refusal::Client { basic: true } => reply.with("www-authenticate", "Basic realm=\"token\""),
            _ => reply,
        }
    }

    /// Adds a header, or replaces the one of that name.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name, value.into()));
        self
    }

    /// Applies a fault's changes.
    pub(super) fn changed(mut self, fault: &Fault, issued: Option<&Issued>, origin: &str) -> Self {
        self.status = fault.status.unwrap_or(self.status);
        if let Some(body) = &fault.body {
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            self.body = match body {
                Body::Template(template) => filled(template, issued, origin).into(),
                Body::Filler(bytes) => vec![b' '; *bytes].into(),
            };
        }
        for (name, value) in &fault.headers {
            let value = match value {
                Value::Template(template) => filled(template, issued, origin),
                Value::DateAhead(ahead) => http_date(*ahead),
            };
            self = self.with(name, value);
        }
        self
    }
}

/// A challenge (RFC 6750 section 3, RFC 9728 section 5.1). It has an error only if a token was presented.
pub(super) fn challenge(origin: &str, path: &str, presented: bool) -> Reply {
    let path = path.split('?').next().unwrap_or_default();
    let mut challenge = format!("Bearer resource_metadata=\"{origin}/.well-known/oauth-protected-resource{path}\"");
    if presented {
        challenge.push_str(", error=\"invalid_token\"");
    }
    Reply::empty(401).with("www-authenticate", challenge)
}

/// Metadata documents (RFC 8414 for the server, RFC 9728 for its resources).
pub(super) fn metadata(path: &str, origin: &str) -> Reply {
    let resource = path.strip_prefix("/.well-known/oauth-protected-resource");
    if path == "/.well-known/oauth-authorization-server" {
        let body = json!({
            "issuer": origin,
            "token_endpoint": format!("{origin}/token"),
            "revocation_endpoint": format!("{origin}/revoke"),
            "grant_types_supported": ["refresh_token", "client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        });
        Reply::json(200, &body)
    } else if let Some(resource) = resource.filter(|path| *path == "/mcp" || path.starts_with("/mcp/")) {
        let body = json!({ "resource": format!("{origin}{resource}"), "authorization_servers": [origin] });
        Reply::json(200, &body)
    } else {
        Reply::empty(404)
    }
}

fn filled(template: &str, issued: Option<&Issued>, origin: &str) -> String {
    let seconds = issued.and_then(|issued| issued.expires_in).map(|seconds| seconds.to_string());
    template
        .replace("{access_token}", issued.map_or("", |issued| &issued.access))
        .replace("{refresh_token}", issued.and_then(|issued| issued.refresh.as_deref()).unwrap_or_default())
        .replace("{expires_in}", &seconds.unwrap_or_default())
        .replace("{scope}", issued.map_or("", |issued| &issued.scope))
        .replace("{origin}", origin)
}
