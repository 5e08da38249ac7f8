//! The HTML of the pages that a person sees, and the headers that protect them.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::clients::Barred;
use crate::text::escaped;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--ground:#f3f4f6;--line:#d0d7de;--go:#1a5fb4;\
--on:#fff;--warn:#8a4600}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9ba4ae;--paper:#1e2227;--ground:#14171a;--line:#3a4149;\
--go:#78aeed;--on:#10151b;--warn:#f5b971}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem 1rem;\
background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:30rem;background:var(--paper);border:1px solid var(--line);border-radius:.75rem;padding:1.75rem}\
h1{font-size:1.3rem;line-height:1.3;margin:0 0 1rem}p{margin:0 0 1rem}dl{margin:0 0 1.25rem}\
dt{color:var(--soft);font-size:.875rem}dd{margin:0 0 .75rem;overflow-wrap:anywhere}\
.note{color:var(--soft);font-size:.875rem}.warn{color:var(--warn)}\
form{display:flex;gap:.75rem;flex-wrap:wrap}button{flex:1 1 8rem;font:inherit;padding:.6rem 1rem;border-radius:.5rem;\
border:1px solid var(--line);background:transparent;color:inherit;cursor:pointer}\
button.go{background:var(--go);border-color:var(--go);color:var(--on);font-weight:600}\
button:focus-visible{outline:3px solid var(--go);outline-offset:2px}";

/// A page. `body` is HTML, whose texts are escaped.
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    let mut answer = Response::new(Body::from(html));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    guard(answer)
}

/// A page with the trouble and its remedy.
pub(super) fn trouble(status: StatusCode, title: &str, advice: &str) -> Response {
    page(status, title, &format!("<p>{}</p>", escaped(advice)))
}

/// A page about an app that the host does not admit. The app gets no answer, because a person must not be sent
/// to its address.
pub(super) fn barred(why: Barred) -> Response {
    match why {
        Barred::Refused => trouble(
            StatusCode::FORBIDDEN,
            "This app is not allowed here",
            "The gateway's operator does not accept it. If you need it, ask the operator to allow it.",
        ),
        Barred::Unavailable(_) => trouble(
            StatusCode::SERVICE_UNAVAILABLE,
            "This sign-in cannot begin",
            "The gateway cannot check the app now. Try again in a minute.",
        ),
    }
}

/// A page about a request that cannot be served, with a link back to the app, which the person may follow.
pub(super) fn leave(destination: &str, url: &str, why: &str) -> Response {
    let (url, destination, why) = (escaped(url), escaped(destination), escaped(why));
    let body = format!(
        "<p>The app's request cannot be served ({why}).</p>\
         <p><a href=\"{url}\" rel=\"noreferrer\">Go back to {destination}</a>, if you came from there.</p>"
    );
    page(StatusCode::BAD_REQUEST, "This sign-in cannot begin", &body)
}

/// A redirect with 303, so that it can also be the answer to a form.
pub(super) fn redirect(url: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(url) else {
        return trouble(
            StatusCode::BAD_REQUEST,
            "This sign-in cannot go on",
            "The app's address cannot be used. Start the sign-in again in the app.",
        );
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    answer.headers_mut().insert(LOCATION, location);
    guard(answer)
}

/// Adds headers that keep a page out of frames, caches and referrers. `form-action` is not among the directives, because browsers
/// apply it to the redirects after a form, and these lead to addresses of upstreams and clients. No page contains a form that
/// the gateway did not write.
fn guard(mut answer: Response) -> Response {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'");
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The origin of the gateway's own forms is still sent, and is checked.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
