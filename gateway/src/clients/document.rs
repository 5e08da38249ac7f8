//! Client ID metadata documents, whose URL is the client's identifier (draft-ietf-oauth-client-id-metadata-document). This file
//! fetches and reads them, and `kept` remembers the results.
//!
//! A document is read when a sign-in begins. While it cannot be fetched, the last good document is used for up to a day, unless
//! its server delivers a newer one that cannot be used. The token endpoint needs no document.

mod kept;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, Reach, decode};
use tokio::sync::Semaphore;
use url::Url;

use self::kept::{Kept, Outcome};
use super::{AuthMethod, Client, redirect};
use crate::text::plain_name;

/// The maximum size of a document in bytes. The draft names 5 KiB.
const MAX_DOCUMENT: usize = 8 * 1024;

/// The maximum length of a document's URL in bytes.
const MAX_URL: usize = 512;

/// The time-out of a request for a document.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a document is used before it is fetched again.
const FRESH: Duration = Duration::from_secs(600);

/// How long the last good document is used while it cannot be fetched again.
const LAST_GOOD: Duration = Duration::from_secs(24 * 3600);

/// How long a document that could not be fetched or used is not fetched again.
const FAILURE: Duration = Duration::from_secs(30);

/// The maximum number of documents that are kept.
const MAX_KEPT: usize = 1024;

/// The maximum number of documents of one host that are kept.
const MAX_KEPT_OF_HOST: usize = 32;

/// The maximum number of requests at a time, so that the gateway cannot be used to flood other hosts.
const MAX_REQUESTS: usize = 16;

/// The maximum number of requests to one host at a time, so that a slow one leaves room for the others.
const MAX_REQUESTS_OF_HOST: usize = 2;

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Why a client's document cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentError {
    /// The gateway does not fetch a document at this URL.
    Url,
    /// The document could not be fetched, or something else was in its place. It may be there later.
    Unreachable,
    /// The document names another URL than its own, or describes a client that the gateway cannot serve.
    Unusable,
    /// Too many documents were being fetched for too long.
    Busy,
}

/// Fetches documents, and keeps them.
#[derive(Debug)]
pub(crate) struct Documents {
    /// `None` for a gateway that takes no documents.
    http: Option<Arc<dyn HttpClient>>,
    /// The addresses that the requests may go to.
    reach: Reach,
    kept: Mutex<Kept>,
    /// Limits the requests at a time, to all hosts together.
    requests: Semaphore,
}

/// The members of a document that the gateway uses.
#[derive(Deserialize)]
struct Document {
    client_id: String,
    #[serde(default)]
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    client_secret: Option<Value>,
}

impl Documents {
    pub(crate) fn new(http: Option<Arc<dyn HttpClient>>, reach: Reach) -> Self {
        Self { http, reach, kept: Mutex::default(), requests: Semaphore::new(MAX_REQUESTS) }
    }

    /// The client of the document at `id`. A document is fetched at most every ten minutes, by one request for all sign-ins that
    /// need it. `apps` are the schemes of [`Clients::apps`](super::Clients::apps).
    pub(super) async fn client(&self, id: &str, apps: &[String], now: WallTime) -> Outcome {
        let url = self.checked(id)?;
        let host = url.host_str().unwrap_or_default();
        let shared = match self.kept().ask(id, host, now) {
            Ok(answer) => return answer,
            Err(shared) => shared,
        };
        let outcome = shared.get_or_init(|| self.in_turn(&url, host, id, apps)).await.clone();
        self.kept().settle(id, &shared, outcome, now)
    }

    /// Whether `id` can be the URL of a client's document. The document is not fetched.
    pub(super) fn accepts(&self, id: &str) -> bool {
        self.http.is_some() && self.checked(id).is_ok()
    }

    /// Checks the URL (section 3 of the draft).
    fn checked(&self, id: &str) -> Result<Url, DocumentError> {
        let url = Url::parse(id).map_err(|_| DocumentError::Url)?;
        let is_plain = id.len() <= MAX_URL && url.as_str() == id && url.path() != "/" && url.fragment().is_none();
        if !is_plain || self.reach.permits(&url).is_err() {
            return Err(DocumentError::Url);
        }
        Ok(url)
    }

    /// Fetches the document when it is its turn, first among those of its host and then among all.
    #[expect(clippy::disallowed_methods, reason = "a wait before the request, which spends nothing")]
    async fn in_turn(&self, url: &Url, host: &str, id: &str, apps: &[String]) -> Outcome {
        let gate = self.kept().gate(host);
        let turn = async { Some((gate.acquire().await.ok()?, self.requests.acquire().await.ok()?)) };
        let Ok(Some(_permits)) = tokio::time::timeout(TURN, turn).await else { return Err(DocumentError::Busy) };
        self.fetch(url, id, apps).await.map(Arc::new)
    }

    /// Fetches the document, and reads it.
    async fn fetch(&self, url: &Url, id: &str, apps: &[String]) -> Result<Client, DocumentError> {
        let Some(http) = self.http.as_ref().filter(|http| http.enforces_reach()) else {
            return Err(DocumentError::Url);
        };
        let mut request = Request::new(Body::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.as_str().parse().map_err(|_| DocumentError::Url)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (departure, reach) = (Departure::at_any_time(), self.reach);
        let exchange = Exchange { request, timeout: TIMEOUT, max_answer: MAX_DOCUMENT, departure, reach };
        let answer = http.send(exchange).await.map_err(|_| DocumentError::Unreachable)?;
        let answer = decode(answer, MAX_DOCUMENT).map_err(|_| DocumentError::Unreachable)?;
        // No redirect is followed, because the identifier is the address of the document itself. Any status but 200, and a page
        // in the place of the document, counts as a passing fault of the document's server or of a proxy in front of it.
        if answer.status() != StatusCode::OK {
            return Err(DocumentError::Unreachable);
        }
        let document: Value =
            serde_json::from_slice(answer.body().as_bytes()).map_err(|_| DocumentError::Unreachable)?;
        if document.get("client_id").is_none() {
            return Err(DocumentError::Unreachable);
        }
        read(id, document, apps).ok_or(DocumentError::Unusable)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client that a document describes. `None` if the document cannot be used.
fn read(id: &str, document: Value, apps: &[String]) -> Option<Client> {
    let document: Document = serde_json::from_value(document).ok()?;
    // A document is public, so that a secret in it protects nothing.
    if document.client_id != id || document.client_secret.is_some() {
        return None;
    }
    let methods = document.token_endpoint_auth_methods_supported;
    let takes_none = match (&methods, document.token_endpoint_auth_method.as_deref()) {
        (Some(methods), _) => methods.iter().any(|method| method == "none"),
        (None, method) => method.is_none_or(|method| method == "none"),
    };
    let redirects = document.redirect_uris;
    let are_redirects =
        !redirects.is_empty() && redirects.iter().all(|redirect| redirect::is_acceptable(redirect, apps));
    if !takes_none || !are_redirects {
        return None;
    }
    let grants = document.grant_types;
    let refreshes = grants.is_none_or(|grants| grants.iter().any(|grant| grant == "refresh_token"));
    let name = document.client_name.as_deref().and_then(plain_name);
    Some(Client { id: id.to_owned(), name, redirects, auth: AuthMethod::None, refreshes })
}

#[cfg(test)]
mod tests;
