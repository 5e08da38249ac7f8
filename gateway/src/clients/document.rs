//! Client ID metadata documents, whose URL is the client's identifier (draft-ietf-oauth-client-id-metadata-document).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, Reach, decode};
use tokio::sync::Semaphore;
use url::Url;

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

/// How long a document is used beyond that while it cannot be fetched.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How long a document that cannot be used is not fetched again.
const FAILURE: Duration = Duration::from_secs(30);

/// The maximum number of documents that are kept. The oldest makes room.
const MAX_KEPT: usize = 1024;

/// The maximum number of requests at a time, so that strangers cannot use the gateway to flood others.
const MAX_REQUESTS: usize = 16;

/// Why a client's document cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentError {
    /// Its URL is none that is fetched.
    Url,
    /// It could not be fetched. It may be there later.
    Unreachable,
    /// It does not describe a client of its own URL that can be served.
    Unusable,
    /// Too many documents are being fetched.
    Busy,
}

/// The documents that were fetched.
#[derive(Debug)]
pub(crate) struct Documents {
    /// `None` for a gateway that takes no documents.
    http: Option<Arc<dyn HttpClient>>,
    reach: Reach,
    kept: Mutex<BTreeMap<String, Kept>>,
    requests: Semaphore,
}

#[derive(Clone, Debug)]
struct Kept {
    client: Result<Arc<Client>, DocumentError>,
    until: WallTime,
}

#[derive(Deserialize)]
struct Document {
    client_id: String,
    #[serde(default)]
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    client_secret: Option<serde_json::Value>,
}

impl Documents {
    pub(crate) fn new(http: Option<Arc<dyn HttpClient>>, reach: Reach) -> Self {
        Self { http, reach, kept: Mutex::default(), requests: Semaphore::new(MAX_REQUESTS) }
    }

    /// The client of the document at `id`. A document is fetched at most every ten minutes.
    pub(super) async fn client(&self, id: &str, now: WallTime) -> Result<Arc<Client>, DocumentError> {
        let url = self.checked(id)?;
        let known = self.kept().get(id).cloned();
        if let Some(kept) = known.as_ref().filter(|kept| now < kept.until) {
            return kept.client.clone();
        }
        // A client that is known goes on while its server is down, or while strangers keep the gateway busy.
        let stale = known.and_then(|kept| kept.client.ok());
        let Ok(_permit) = self.requests.try_acquire() else { return stale.ok_or(DocumentError::Busy) };
        let client = match (self.fetch(&url, id).await.map(Arc::new), stale) {
            (Err(DocumentError::Unreachable), Some(stale)) => return Ok(stale),
            (client, _) => client,
        };
        let until = now.after(if client.is_ok() { FRESH } else { FAILURE });
        let mut kept = self.kept();
        kept.retain(|_, kept| now < if kept.client.is_ok() { kept.until.after(STALE) } else { kept.until });
        while kept.len() >= MAX_KEPT {
            let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.until).map(|(id, _)| id.clone()) else { break };
            kept.remove(&oldest);
        }
        kept.insert(id.to_owned(), Kept { client: client.clone(), until });
        client
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

    async fn fetch(&self, url: &Url, id: &str) -> Result<Client, DocumentError> {
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
        let answer = decode(answer, MAX_DOCUMENT).map_err(|_| DocumentError::Unusable)?;
        match answer.status() {
            StatusCode::OK => read(id, answer.body().as_bytes()).ok_or(DocumentError::Unusable),
            status if status.is_server_error() => Err(DocumentError::Unreachable),
            // No redirect is followed, because the identifier is the address of the document itself.
            _ => Err(DocumentError::Unusable),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client that a document describes.
fn read(id: &str, document: &[u8]) -> Option<Client> {
    let document: Document = serde_json::from_slice(document).ok()?;
    // A secret in a public document is none.
    if document.client_id != id || document.client_secret.is_some() {
        return None;
    }
    let methods = document.token_endpoint_auth_methods_supported;
    let takes_none = match (&methods, document.token_endpoint_auth_method.as_deref()) {
        (Some(methods), _) => methods.iter().any(|method| method == "none"),
        (None, method) => method.is_none_or(|method| method == "none"),
    };
    let redirects = document.redirect_uris;
    let are_redirects = !redirects.is_empty() && redirects.iter().all(|redirect| redirect::is_acceptable(redirect));
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
