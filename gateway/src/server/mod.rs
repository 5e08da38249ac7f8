//! The authorization server towards MCP clients.
//!
//! | path | purpose |
//! |---|---|
//! | `/.well-known/oauth-protected-resource`, with the resource's path | metadata of a resource (RFC 9728) |
//! | `/.well-known/oauth-authorization-server` | metadata of the server (RFC 8414) |
//! | `POST /oauth/register` | registration (RFC 7591) |
//! | `GET /oauth/authorize` | the authorization request (RFC 6749, RFC 7636, RFC 8707), answered by the page of consent |
//! | `POST /oauth/consent` | the answer of the person |
//! | `GET /oauth/callback` | the answer of an upstream provider |
//! | `GET`, `POST /oauth/login/{upstream}` | the page at which a person signs in to an upstream, and its button |
//! | `POST /oauth/token` | tokens for codes and refresh tokens |
//! | `POST /oauth/revoke` | revocation (RFC 7009) |

mod authorize;
mod callback;
mod codes;
mod consent;
mod cookies;
mod credentials;
mod flow;
mod forms;
mod login;
mod metadata;
mod pages;
mod params;
mod register;
mod revoke;
mod token;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokenkeeper::ResourceUri;

use crate::gateway::Gateway;

pub(crate) use credentials::{RETRY, json, json_error, try_later};

const AUTHORIZE: &str = "/oauth/authorize";
const CONSENT: &str = "/oauth/consent";
const CALLBACK: &str = "/oauth/callback";
const REGISTER: &str = "/oauth/register";
const TOKEN: &str = "/oauth/token";
const REVOKE: &str = "/oauth/revoke";
pub(crate) const LOGIN: &str = "/oauth/login";
const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";
const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

/// The maximum size of a request's body in bytes.
const MAX_BODY: usize = 32 * 1024;

pub(crate) fn router(gateway: &Gateway) -> Router {
    let mut shared = Router::new()
        .route(SERVER_METADATA, get(metadata::server))
        .route(REGISTER, post(register::register))
        .route(TOKEN, post(token::token))
        .route(REVOKE, post(revoke::revoke));
    for (path, resource) in metadata::places(&gateway.0.resources) {
        shared = shared.route(&path, get(async move |gateway| metadata::resource(gateway, resource)));
    }
    Router::new()
        .route(AUTHORIZE, get(authorize::authorize))
        .route(CONSENT, post(consent::consent))
        .route(CALLBACK, get(callback::callback))
        .route(&[LOGIN, "/{upstream}"].concat(), get(login::page).post(login::begin))
        .merge(shared.layer(from_fn(for_any_origin)))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(gateway.clone())
}

/// Takes the gateway's own cookies out of a request that goes on to a resource.
pub(crate) fn strip_cookies(issuer: &str, headers: &mut HeaderMap) {
    cookies::Cookies::of(issuer).strip(headers);
}

/// The URL of the resource's metadata, for challenges.
pub(crate) fn metadata_of(issuer: &str, resource: &ResourceUri) -> String {
    [issuer, RESOURCE_METADATA, metadata::path_of(resource)].concat()
}

/// Lets the scripts of any page read the answers (CORS), as clients in browsers must. These endpoints take no cookies, so that
/// such a page gets nothing that its own server could not get.
async fn for_any_origin(request: axum::extract::Request, next: Next) -> Response {
    let mut answer = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    let allowed = "authorization, content-type, mcp-protocol-version";
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after, www-authenticate"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}
