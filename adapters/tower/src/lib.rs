//! OAuth sessions for any HTTP client, as a [`tower`](https://docs.rs/tower) layer.
//!
//! [`SessionLayer`] wraps a service of HTTP requests. Each request gets an access token of one [`AuthSession`], and a refused
//! token is replaced and the request sent again. However many requests meet an expired or refused token at once, the session
//! makes one token request.
//!
//! ```
//! use http::{Request, Response};
//! use tokenkeeper::AuthSession;
//! use tokenkeeper_tower::{SendError, SessionLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! /// `client` is any HTTP client that is a service: hyper-util's, reqwest's, or one of your own.
//! async fn ping<C>(session: AuthSession, client: C) -> Result<Response<String>, SendError<C::Error>>
//! where
//!     C: Service<Request<String>, Response = Response<String>> + Clone + Send + 'static,
//!     C::Future: Send,
//! {
//!     let client = ServiceBuilder::new().layer(SessionLayer::new(session)).service(client);
//!     let request = Request::post("https://mcp.example.com/mcp").body("{}".to_owned()).expect("a request");
//!     client.oneshot(request).await
//! }
//! ```
//!
//! With the feature `reqwest` it works over `reqwest::Client` and `reqwest::Request`, and `execute` sends one request
//! without a service.
//!
//! # Rules
//!
//! - **Destination.** A token is sent only to the session's own server, to its path or below it (law 13). A request to another
//!   URL is refused, or sent without a token ([`Elsewhere`]).
//! - **Redirects.** The inner client must not follow redirects by itself, because the layer does not see them. Build a reqwest
//!   client with `tokenkeeper::http::redirects`, which follows 307 and 308 within the server. A layer that follows redirects
//!   must be *around* this one, so that each new URL is checked.
//! - **Authorization.** A request that has an `Authorization` header is sent unchanged, and the caller gets any answer.
//! - **Refusals.** After a 401 the token is replaced and the request sent again. A request is sent three times at most. The
//!   refused answer is dropped before that. For a request that cannot be copied ([`Resend`]), the caller gets the 401, and the
//!   next request has another token. If no other token helps, the error has the reason
//!   ([`ResourceRefuses`](tokenkeeper::Reason::ResourceRefuses) if the server refuses fresh tokens, too).
//! - **Scopes.** A refusal with `insufficient_scope` is the error [`SendError::step_up`], and never a refresh.
//! - **Logins.** A session that has never signed in sends without a token, because only a 401 shows that a server wants a
//!   login. A session that was logged out, or whose grant has ended, returns an error and sends nothing.
//! - **Other answers** go to the caller, with any status.
//! - **Readiness.** The layer calls the instance that was ready, and waits for it again before each further attempt. While a
//!   request waits for a token it keeps that instance, with the permit of a concurrency limit if there is one.
//! - **Cancellation.** Every future may be dropped at any time. A refresh that has begun goes on, and its result is stored.
//!
//! Put time-outs around this layer as you like. The time that a request waits for tokens is bounded by
//! [`SessionLayer::patience`].
//!
//! # Cost
//!
//! A request with a token at hand takes no lock, no message and no task. The future is not boxed, and nothing is allocated
//! but the copy of the request, the header's text and the place in the header map. The README has measurements.

mod error;
mod future;
mod layer;
#[cfg(feature = "reqwest")]
mod over_reqwest;
mod request;
mod verdicts;

pub use error::SendError;
pub use future::SessionFuture;
pub use layer::{Elsewhere, SessionLayer, SessionService};
#[cfg(feature = "reqwest")]
pub use over_reqwest::execute;
pub use request::{Incoming, Outgoing, Resend};

#[cfg(doc)]
use tokenkeeper::AuthSession;

/// The code in the README compiles.
#[cfg(all(doctest, feature = "reqwest"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
