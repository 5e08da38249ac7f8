//! The first request to a resource, without a token, which shows whether the resource wants a login.

use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, StatusCode};
use tokenkeeper_actors::values::ResourceUri;
use url::Url;

use super::challenge::Challenge;
use super::error::DiscoveryError;
use super::fetch::{Fetcher, MAX_DOCUMENT, of_transport};
use crate::http::{Body, Departure, Exchange, Reach};

/// The time-out of the request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The time-out of the request that ends an MCP session which the first request began.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The `initialize` request of the MCP revision 2025-11-25.
///
/// No request is valid in both this revision and 2026-07-28. The later one has no `initialize`, and its requests would need
/// an MCP session in the older revision. A server that wants a login answers 401 before it reads the request, so its
/// revision does not matter. The request is therefore the one that most servers understand. A server of 2026-07-28 that
/// wants no login refuses it with 400, which is [`Probe::Unclear`].
const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"#,
    r#""clientInfo":{"name":"tokenkeeper","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);

/// The answer of a resource to a request without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// The resource answered. The resource wants no login for this request, and no login is begun before it answers 401.
    Open,
    /// The resource wants a token (401), with these challenges. There may be none.
    Challenged(Vec<Challenge>),
    /// The answer shows neither of these, for example 403, 404, a redirect, or a server's trouble.
    Unclear {
        /// The status.
        status: StatusCode,
        /// The challenges, which usually come with a 401 only.
        challenges: Vec<Challenge>,
    },
}

impl Probe {
    /// The challenge [to discover with](Challenge::for_discovery).
    pub fn challenge(&self) -> Option<&Challenge> {
        let challenges = match self {
            Self::Open => return None,
            Self::Challenged(challenges) | Self::Unclear { challenges, .. } => challenges,
        };
        Challenge::for_discovery(challenges)
    }
}

/// Sends the request. A redirect is not followed.
pub(crate) async fn probe(fetcher: &Fetcher, resource: &ResourceUri, reach: Reach) -> Result<Probe, DiscoveryError> {
    let unsafe_address = DiscoveryError::UnsafeAddress { member: "resource" };
    let url = Url::parse(resource.as_str()).map_err(|_| unsafe_address)?;
    fetcher.check(&url, reach, "resource")?;
    let uri: http::Uri = resource.as_str().parse().map_err(|_| unsafe_address)?;
    let exchange = |request, timeout| Exchange {
        request,
        timeout,
        max_answer: MAX_DOCUMENT,
        departure: Departure::at_any_time(),
        reach,
    };
    let mut request = Request::new(Body::new(INITIALIZE));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    let answer =
        fetcher.http.send(exchange(request, TIMEOUT)).await.map_err(|error| of_transport(error, "resource"))?;

    let (status, challenges) = (answer.status(), Challenge::parse(answer.headers()));
    tracing::debug!(resource = %resource, status = status.as_u16(), ?challenges, "the resource was asked without a token");
    if status == StatusCode::UNAUTHORIZED {
        return Ok(Probe::Challenged(challenges));
    }
    if !status.is_success() {
        return Ok(Probe::Unclear { status, challenges });
    }
    if let Some(id) = answer.headers().get(SESSION_ID) {
        // The MCP session will not be used. Whether the server ends it now or later does not matter here.
        let mut request = Request::new(Body::default());
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = uri;
        let mut id = id.clone();
        id.set_sensitive(true);
        request.headers_mut().insert(SESSION_ID, id);
        let _ = fetcher.http.send(exchange(request, CLOSING_TIMEOUT)).await;
    }
    Ok(Probe::Open)
}

#[cfg(test)]
mod tests;
