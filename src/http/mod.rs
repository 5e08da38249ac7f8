//! The HTTP port: how token requests reach an authorization server.
//!
//! A host that has an HTTP client of its own implements [`HttpClient`] over it; with the feature `reqwest`,
//! [`ReqwestClient`] is there already. `tokenkeeper-testkit` holds the contract as a suite that any implementation runs
//! through.
//!
//! The port is for requests that must not be repeated. So it knows no redirects, no retries, no cookies and no
//! authentication of its own, and its errors answer one question: may the server have seen the request?

mod body;
mod departure;
#[cfg(feature = "reqwest")]
mod reqwest;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
pub use tokenkeeper_actors::law::profile::NotSent;

pub use body::Body;
pub use departure::Departure;
#[cfg(feature = "reqwest")]
pub use reqwest::{ReqwestBuildError, ReqwestClient};

/// The most of an answer's body that is read, by default: 1 MiB. The largest honest answers have some tens of KiB.
pub const DEFAULT_ANSWER_MOST: usize = 1024 * 1024;

/// Sends one HTTP request, at most once, and reads the whole answer.
///
/// Shared by all flights. Object safe.
#[async_trait]
pub trait HttpClient: fmt::Debug + Send + Sync + 'static {
    /// Sends `exchange.request` and reads its answer, whatever its status.
    ///
    /// - **Once.** The request arrives at most one time: no redirect is followed, nothing is retried in any layer, no
    ///   connection is used whose loss might bring a second copy onto the wire, no answer to a challenge is tried.
    /// - **As it is.** Method, URI, headers and body go out as given, the body with a `Content-Length`; an
    ///   implementation adds what HTTP needs, and no cookies. It asks the request's own host, by the scheme given; plain
    ///   `http` never goes through a proxy.
    /// - **In time.** [`Departure::may_leave`] is asked immediately before the first byte of the request leaves, once the
    ///   connection stands; after a no, nothing leaves. The future resolves within [`Exchange::timeout`] of that moment,
    ///   however slowly the peer writes.
    /// - **Bounded.** No more than [`Exchange::max_answer`] bytes of the answer's body are kept. Its headers are bounded
    ///   too, by the implementation.
    ///
    /// # Errors
    ///
    /// [`HttpError::NotSent`] only where the server cannot have processed the request: the connection never stood, or
    /// not a byte of the request's body has left and none will. Everything else is [`HttpError::MaybeSent`], a time-out,
    /// a reset and half an answer among them. A status is no error.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up on the answer; the request may have arrived all the same. Flights never drop it.
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError>;
}

/// One request, and the bounds it goes out under.
#[derive(Debug)]
pub struct Exchange {
    /// What is sent. Its URI is absolute. A header that carries a secret is marked
    /// [sensitive](http::HeaderValue::set_sensitive).
    pub request: http::Request<Body>,
    /// How long it may take, from the first byte sent to the last one read.
    pub timeout: Duration,
    /// The most bytes the answer's body may have. One more is [`MaybeSent::TooLarge`].
    pub max_answer: usize,
    /// Until when it may leave.
    pub departure: Departure,
}

/// Why there is no answer. It tells nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The server cannot have processed the request.
    #[error("the request was not sent: {}", not_sent(.0))]
    NotSent(NotSent),
    /// The server may have processed the request.
    #[error("the request may have been sent, and no complete answer came: {0}")]
    MaybeSent(MaybeSent),
}

/// Why no complete answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaybeSent {
    /// It took longer than it may.
    #[error("it took too long")]
    TimedOut,
    /// The connection broke, or what came over it was no HTTP.
    #[error("the connection broke")]
    Broken,
    /// The answer's body is larger than it may be.
    #[error("the answer is too large")]
    TooLarge,
}

fn not_sent(why: &NotSent) -> &'static str {
    match why {
        NotSent::Unreachable => "no connection could be established",
        NotSent::TooLate => "the time to send it by had passed",
        NotSent::Unbuildable => "it could not be built",
    }
}
