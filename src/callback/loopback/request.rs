//! Checks a request to the listener, which any program on this machine and any web page can send.

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::Callback;
use crate::callback;

/// The header of a request for a page that the browser may show later (the Fetch standard, `Sec-Purpose`).
const PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// The address at which the listener expects the browser.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) port: u16,
    pub(super) path: String,
}

/// The decision about a request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// An answer to a login. Its key is not compared yet.
    Answer(Callback),
    /// A request without a query, for example after a reload.
    NoAnswer,
    /// A request with a query that is no answer.
    Unreadable,
    /// A request that consumes nothing and gets this status.
    Harmless(StatusCode),
}

/// Decides about a request. Only a GET of the path, with the `Host` of this listener, can bring an answer.
pub(super) fn decide(request: &Parts, site: &Site) -> Verdict {
    if !is_ours(request, site.port) {
        // A web page whose own host name resolves to loopback sends such a request (DNS rebinding).
        return Verdict::Harmless(StatusCode::MISDIRECTED_REQUEST);
    }
    let is_callback = request.uri.path() == site.path;
    match request.method {
        Method::GET if !is_callback => Verdict::Harmless(StatusCode::NOT_FOUND),
        // The browser only prefetches the page, and the person has not opened it. The browser sends the request again when
        // the person does.
        Method::GET if is_prefetch(&request.headers) => Verdict::Harmless(StatusCode::SERVICE_UNAVAILABLE),
        Method::GET => match request.uri.query().filter(|query| !query.is_empty()) {
            None => Verdict::NoAnswer,
            Some(query) => callback::read(query).map_or(Verdict::Unreadable, Verdict::Answer),
        },
        Method::HEAD if is_callback => Verdict::Harmless(StatusCode::OK),
        Method::HEAD => Verdict::Harmless(StatusCode::NOT_FOUND),
        // This is a CORS preflight of a web page that wants to fetch the answer's page. The response does not permit the
        // fetch.
        Method::OPTIONS => Verdict::Harmless(StatusCode::NO_CONTENT),
        _ => Verdict::Harmless(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Whether the request has exactly one `Host`, and that names this listener by a name of the loopback and the listener's
/// port.
fn is_ours(request: &Parts, port: u16) -> bool {
    let is_ours = |authority: &str| {
        let (host, given) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()),
            _ => (authority, Some(80)),
        };
        given == Some(port) && ["127.0.0.1", "[::1]", "localhost"].iter().any(|name| host.eq_ignore_ascii_case(name))
    };
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    second.is_none()
        && first.and_then(|host| host.to_str().ok()).is_some_and(is_ours)
        && request.uri.authority().is_none_or(|authority| is_ours(authority.as_str()))
}

/// Whether the browser fetches the page in advance, before the person opens it.
fn is_prefetch(headers: &HeaderMap) -> bool {
    headers.get(PURPOSE).is_some_and(|purpose| purpose.as_bytes().starts_with(b"prefetch"))
}
