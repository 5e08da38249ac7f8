//! Fetches metadata documents, within the limits that hold for a URL that a server named.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tokenkeeper_actors::law::profile::NotSent;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::ElapsedTime;
use url::Url;

use super::caching::Caching;
use super::error::DiscoveryError;
use super::untrusted::shown_url;
use crate::http::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent, Reach, decode};

/// The maximum length of a document in bytes, as it arrives and decoded.
pub(crate) const MAX_DOCUMENT: usize = 64 * 1024;

/// The time for a document, redirects and connections included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Fetches documents by GET.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether URLs that servers name are fetched even if the client does not [enforce](HttpClient::enforces_reach) the
    /// reach.
    pub(crate) trusts_client: bool,
}

/// The document to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// Its URL.
    pub(crate) url: &'a Url,
    /// The reach of this URL.
    pub(crate) reach: Reach,
    /// The reach of the URLs at other origins to which this URL is redirected, because a server names those.
    pub(crate) redirected: Reach,
    /// The member, parameter or header that named the URL, for errors.
    pub(crate) member: &'static str,
    /// The version of the document in memory, for revalidation.
    pub(crate) kept: Option<&'a Validator>,
}

/// Names a version of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator {
    /// The URL that answered, after redirects. The tag belongs to it alone.
    url: Url,
    tag: String,
}

/// The answer to a query.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The bytes of the document, or `None` if the version that is kept is current (304).
    pub(crate) document: Option<Body>,
    pub(crate) validator: Option<Validator>,
    /// The time until which the document is fresh.
    pub(crate) fresh_until: ElapsedTime,
    pub(crate) may_be_stored: bool,
}

/// The next step after an answer.
enum Step {
    Done(Fetched),
    Redirected(Url),
}

impl Fetcher {
    /// Fetches a document. Nothing that identifies a person or a session is sent.
    ///
    /// Dropping the future abandons the request.
    pub(crate) async fn get(&self, query: Query<'_>) -> Result<Fetched, DiscoveryError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a GET of metadata may be dropped at any time, and no state machine drives it"
        )]
        let fetched = tokio::time::timeout(TIMEOUT, self.follow(query)).await;
        fetched.unwrap_or(Err(DiscoveryError::Unreachable))
    }

    async fn follow(&self, query: Query<'_>) -> Result<Fetched, DiscoveryError> {
        let sent = self.clock.now().elapsed;
        let (mut url, mut reach, mut member) = (query.url.clone(), query.reach, query.member);
        for _ in 0..=MAX_REDIRECTS {
            self.check(&url, reach, member)?;
            let kept = query.kept.filter(|kept| kept.url == url);
            let answer = self.exchange(&url, reach, member, kept).await?;
            tracing::debug!(url = %shown_url(url.as_str()), status = answer.status().as_u16(), "metadata was asked for");
            match self.step(answer, &url, kept, sent)? {
                Step::Done(fetched) => return Ok(fetched),
                Step::Redirected(target) => {
                    // A redirect within the origin stays at the same server, so the reach stays too.
                    reach = if target.origin() == url.origin() { reach } else { query.redirected };
                    (url, member) = (target, "Location");
                }
            }
        }
        Err(DiscoveryError::TooManyRedirects)
    }

    /// Makes sure that a request to `url` may be sent within `reach`, over this client.
    pub(crate) fn check(&self, url: &Url, reach: Reach, member: &'static str) -> Result<(), DiscoveryError> {
        if !is_permitted(url, reach) {
            tracing::debug!(url = %shown_url(url.as_str()), member, "no request is sent to an unsafe URL");
            return Err(DiscoveryError::UnsafeAddress { member });
        }
        let is_enforced = reach == Reach::Any || self.trusts_client || self.http.enforces_reach();
        if is_enforced { Ok(()) } else { Err(DiscoveryError::ReachNotEnforced) }
    }

    async fn exchange(
        &self,
        url: &Url,
        reach: Reach,
        member: &'static str,
        kept: Option<&Validator>,
    ) -> Result<Response<Body>, DiscoveryError> {
        let unsafe_address = DiscoveryError::UnsafeAddress { member };
        let mut request = Request::new(Body::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.as_str().parse().map_err(|_| unsafe_address)?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(tag) = kept.and_then(|kept| HeaderValue::from_str(&kept.tag).ok()) {
            headers.insert(header::IF_NONE_MATCH, tag);
        }
        let departure = Departure::at_any_time();
        let exchange = Exchange { request, timeout: TIMEOUT, max_answer: MAX_DOCUMENT, departure, reach };
        let answer = self.http.send(exchange).await.map_err(|error| of_transport(error, member))?;
        decode(answer, MAX_DOCUMENT).map_err(|_| DiscoveryError::TooLarge)
    }

    fn step(
        &self,
        answer: Response<Body>,
        url: &Url,
        kept: Option<&Validator>,
        sent: ElapsedTime,
    ) -> Result<Step, DiscoveryError> {
        let status = answer.status();
        let caching = Caching::of(answer.headers(), self.clock.now().wall);
        let fetched = |document, tag: Option<String>| {
            let validator = tag.map(|tag| Validator { url: url.clone(), tag });
            let fresh_until = sent.after(caching.fresh_for);
            Ok(Step::Done(Fetched { document, validator, fresh_until, may_be_stored: caching.may_be_stored }))
        };
        match status {
            StatusCode::OK => fetched(Some(answer.into_body()), caching.tag.clone()),
            StatusCode::NOT_MODIFIED if kept.is_some() => {
                // A 304 may leave the tag out (RFC 9110 section 15.4.5).
                fetched(None, caching.tag.clone().or_else(|| kept.map(|kept| kept.tag.clone())))
            }
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => target(&answer, url).map(Step::Redirected),
            _ => Err(of_status(status)),
        }
    }
}

/// The target of a redirect. A redirect from `https` to `http` is an error.
fn target(answer: &Response<Body>, url: &Url) -> Result<Url, DiscoveryError> {
    let unsafe_address = DiscoveryError::UnsafeAddress { member: "Location" };
    let location =
        answer.headers().get(header::LOCATION).ok_or(DiscoveryError::Unreadable { member: Some("Location") })?;
    let mut target = url.join(location.to_str().map_err(|_| unsafe_address)?).map_err(|_| unsafe_address)?;
    target.set_fragment(None);
    let is_downgraded = url.scheme() == "https" && target.scheme() != "https";
    if is_downgraded { Err(unsafe_address) } else { Ok(target) }
}

/// Whether a request may be sent to `url`. Plain `http` is allowed to loopback only, and the reach must include it.
fn is_permitted(url: &Url, reach: Reach) -> bool {
    let is_encrypted = url.scheme() == "https" || Reach::PublicOrLoopback.permits(url).is_ok();
    is_encrypted && reach.permits(url).is_ok()
}

/// The meaning of a status that brings no document.
fn of_status(status: StatusCode) -> DiscoveryError {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            DiscoveryError::ServerTrouble { status: status.as_u16() }
        }
        _ if status.is_server_error() => DiscoveryError::ServerTrouble { status: status.as_u16() },
        // Some servers demand a token, or another method, wherever they have no document.
        _ if status.is_client_error() => DiscoveryError::NotFound { status: status.as_u16() },
        _ => DiscoveryError::Unreadable { member: None },
    }
}

/// The meaning of a request without an answer.
pub(crate) fn of_transport(error: HttpError, member: &'static str) -> DiscoveryError {
    match error {
        HttpError::NotSent(NotSent::Forbidden | NotSent::Unbuildable) => DiscoveryError::UnsafeAddress { member },
        HttpError::NotSent(NotSent::Untrusted) => DiscoveryError::Untrusted,
        HttpError::MaybeSent(MaybeSent::TooLarge) => DiscoveryError::TooLarge,
        HttpError::NotSent(_) | HttpError::MaybeSent(_) => DiscoveryError::Unreachable,
    }
}

#[cfg(test)]
mod tests;
