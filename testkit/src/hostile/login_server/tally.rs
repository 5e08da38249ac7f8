//! The counts of a login server, and its log of requests.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Incoming;
use crate::hostile::Counts;

/// An endpoint of a [`LoginServer`](super::LoginServer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// The protected resource, and paths below it.
    Resource,
    /// Metadata of the resource (RFC 9728), at any well-known address or at the custom one.
    ResourceMetadata,
    /// Metadata of the authorization server (RFC 8414), at any address of that form.
    ServerMetadata,
    /// Metadata of the authorization server (OpenID Connect Discovery), at any address of that form.
    OpenIdMetadata,
    /// The authorization endpoint.
    Authorization,
    /// The answer to the consent page.
    Decision,
    /// Registrations (RFC 7591).
    Registration,
    /// The address of one registration (RFC 7592).
    ClientConfiguration,
    /// Pushed authorization requests (RFC 9126).
    PushedAuthorization,
    /// Device authorizations (RFC 8628 section 3.1).
    DeviceAuthorization,
    /// The page for user codes.
    DevicePage,
    /// The token endpoint, at its current address.
    Token,
    /// The former address of a token endpoint that has moved or is gone.
    FormerToken,
    /// The revocation endpoint (RFC 7009).
    Revocation,
    /// The userinfo endpoint.
    UserInfo,
    /// The keys of ID tokens. There are none, because they are not signed.
    Keys,
    /// The target of redirects.
    Elsewhere,
    /// Any other path.
    Unknown,
}

/// The counts of a [`LoginServer`](super::LoginServer) since its start. All begin at 0 and only grow, except two of
/// [`tokens`](Self::tokens).
///
/// Presentations are counted where a request was read completely. The keys of codes, request URIs and device codes are
/// names like `code-0`, in the order of their issue. Unknown values count as `unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoginCounts {
    /// Requests by endpoint, counted when their head has arrived.
    pub requests: BTreeMap<Endpoint, u64>,
    /// Requests by path, without the query.
    pub paths: BTreeMap<String, u64>,
    /// Presentations of each authorization code at the token endpoint.
    pub codes: BTreeMap<String, u64>,
    /// Presentations of each `client_id`, at any endpoint.
    pub clients: BTreeMap<String, u64>,
    /// Presentations of each `request_uri` at the authorization endpoint.
    pub request_uris: BTreeMap<String, u64>,
    /// Presentations of each device code at the token endpoint.
    pub device_codes: BTreeMap<String, u64>,
    /// Requests for metadata that were answered with 304, because the client had the document.
    pub not_modified: u64,
    /// Pages of consent that were shown.
    pub pages: u64,
    /// Authorizations that were allowed. Each issued a code.
    pub allowed: u64,
    /// Authorizations that were declined.
    pub declined: u64,
    /// Authorization requests that were refused, by their `error`. Those that may not call back count as `no_callback`.
    pub refused: BTreeMap<String, u64>,
    /// Clients that were registered.
    pub registered: u64,
    /// Registrations that were deleted by their client.
    pub deleted: u64,
    /// Logins that obtained tokens, by a code or a device code.
    pub logins: u64,
    /// Second presentations of a code.
    pub code_replays: u64,
    /// The counts of the token, revocation and resource endpoints. Requests for codes and device codes are among
    /// [`other_grants`](Counts::other_grants).
    pub tokens: Counts,
}

impl LoginCounts {
    /// The number of requests at one endpoint.
    pub fn of(&self, endpoint: Endpoint) -> u64 {
        self.requests.get(&endpoint).copied().unwrap_or_default()
    }

    /// The number of requests at one path, without a query.
    pub fn at(&self, path: &str) -> u64 {
        self.paths.get(path).copied().unwrap_or_default()
    }
}

/// A request that was read completely. It contains no secret. Their values in the parameters are replaced by `(hidden)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The parameters of the query and of a form. The values of a repeated one are separated by spaces.
    pub parameters: BTreeMap<String, String>,
    /// A JSON body.
    pub json: Option<Value>,
    /// The scheme of `Authorization`, in lower case.
    pub scheme: Option<String>,
    /// The status of the answer. `None` before the answer, and for damaged deliveries.
    pub status: Option<u16>,
}

impl LoggedRequest {
    /// A parameter, or empty text.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The parameters whose values are secrets.
const HIDDEN: &[&str] =
    &["code", "code_verifier", "refresh_token", "client_secret", "device_code", "token", "ticket", "client_assertion"];

/// The most requests that are logged.
const LOGGED: usize = 100_000;

/// The counts and the log of one server.
#[derive(Default)]
pub(in crate::hostile) struct Tally {
    pub(super) counts: LoginCounts,
    pub(super) log: Vec<LoggedRequest>,
}

impl Tally {
    pub(in crate::hostile) fn arrived(&mut self, endpoint: Endpoint, path: &str) {
        *self.counts.requests.entry(endpoint).or_default() += 1;
        *self.counts.paths.entry(path.to_owned()).or_default() += 1;
    }

    /// Logs a request, and returns its place in the log.
    pub(in crate::hostile) fn read(&mut self, endpoint: Endpoint, incoming: &Incoming<'_>) -> Option<usize> {
        if self.log.len() == LOGGED {
            return None;
        }
        let mut parameters: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in incoming.query().chain(incoming.form()) {
            let value = if HIDDEN.contains(&&*name) { "(hidden)".to_owned() } else { value };
            let place = parameters.entry(name).or_default();
            if !place.is_empty() {
                place.push(' ');
            }
            place.push_str(&value);
        }
        if let Some(client) = parameters.get("client_id").cloned().or_else(|| incoming.basic_client()) {
            *self.counts.clients.entry(client).or_default() += 1;
        }
        self.log.push(LoggedRequest {
            endpoint,
            method: incoming.head.method.clone(),
            path: incoming.path().to_owned(),
            parameters,
            json: incoming.json(),
            scheme: incoming.scheme(),
            status: None,
        });
        Some(self.log.len() - 1)
    }

    pub(in crate::hostile) fn answered(&mut self, place: usize, status: u16) {
        if let Some(request) = self.log.get_mut(place) {
            request.status = Some(status);
        }
    }

    pub(super) fn refused(&mut self, word: &str) {
        *self.counts.refused.entry(word.to_owned()).or_default() += 1;
    }
}

/// Counts the presentation of a value that was named by [`Authority::draw`](super::Authority::draw) after its ordinal.
pub(super) fn present(counts: &mut BTreeMap<String, u64>, name: Option<String>) {
    *counts.entry(name.unwrap_or_else(|| "unknown".to_owned())).or_default() += 1;
}
