//! The HTTP port, over which token requests reach an authorization server.
//!
//! A host that has its own HTTP client implements [`HttpClient`] over it. With the feature `reqwest`, [`ReqwestClient`]
//! is ready to use. `tokenkeeper-testkit` holds the contract as a test suite for any implementation.
//!
//! The port is for requests that must not be repeated. It therefore has no redirects, no retries, no cookies and no
//! authentication of its own. Its errors state whether the server may have seen the request.

mod body;
mod decode;
mod departure;
mod pair;
pub(crate) mod reach;
#[cfg(feature = "reqwest")]
mod redirects;
#[cfg(feature = "reqwest")]
mod reqwest;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
pub use tokenkeeper_actors::law::profile::NotSent;

pub use body::Body;
pub use decode::{decode, is_answer, is_whole_object};
pub use departure::Departure;
pub use reach::{Reach, UnsafeUrl};
#[cfg(feature = "reqwest")]
pub use redirects::redirects;
#[cfg(feature = "reqwest")]
pub use reqwest::{Egress, ReqwestBuildError, ReqwestClient};

/// The default limit for an answer's body, 1 MiB. The largest legitimate answers have some tens of KiB.
pub const DEFAULT_ANSWER_MOST: usize = 1024 * 1024;

/// Sends one HTTP request, at most once, and reads the whole answer.
///
/// All flights share one client. The trait is object safe.
#[async_trait]
pub trait HttpClient: fmt::Debug + Send + Sync + 'static {
    /// Sends `exchange.request` and reads its answer. Any status is an answer.
    ///
    /// - **Once.** The request arrives at most once. The client follows no redirect, retries in no layer, uses no
    ///   connection whose loss might send a second copy, and answers no authentication challenge.
    /// - **Unchanged.** Method, URI, headers and body are sent as given, the body with a `Content-Length`. An
    ///   implementation adds the headers that HTTP needs, and no cookies. It connects to the request's own host with the
    ///   given scheme. Plain `http` never uses a proxy. For `localhost` it connects to a loopback address, even if the name
    ///   resolves to another one.
    /// - **Within reach.** If the client [enforces](HttpClient::enforces_reach) the reach, it connects only to addresses within
    ///   [`Exchange::reach`].
    /// - **In time.** [`Departure::may_leave`] must be checked immediately before the first byte of the request leaves,
    ///   after the connection is established. If it returns `false`, nothing leaves. The future resolves within
    ///   [`Exchange::timeout`] of that moment, or at most a second later, even if the peer writes slowly. In that second the
    ///   implementation reads the bytes that arrived before. If the timer fires late, because the process was stopped or its
    ///   runtime was starved, an answer that is already in the socket is not lost.
    /// - **Bounded.** At most [`Exchange::max_answer`] bytes of the answer's body are kept. The implementation also bounds
    ///   the headers, including informational answers (1xx) before them, and lets other tasks run while it reads.
    /// - **Complete.** A body is complete when a whole JSON object has arrived ([`is_whole_object`]), even if the
    ///   connection breaks or the time-out passes before its framing ends. If the body breaks off before that, and the bytes
    ///   so far can be used as an answer ([`is_answer`]), they are returned as the body, unchanged. This is so when both tokens
    ///   of an answer with status 200 have arrived. The caller notices from the JSON that it breaks off. An invalid header
    ///   line is skipped, and more than 100 headers are read.
    /// - **Decoded.** Requests ask for `identity`, but some proxies compress nevertheless (gzip, deflate, brotli). With the
    ///   feature `decompression`, a compressed body may be returned as it arrived, with its `Content-Encoding`, because the
    ///   caller [decodes](decode()) it. Without the feature, the client decodes it and removes the header. An answer that stays
    ///   compressed is not read. If it brought new tokens they are lost, and a strict server ends the session when the old
    ///   refresh token comes back.
    ///
    /// # Errors
    ///
    /// Returns [`HttpError::NotSent`] only if the server cannot have processed the request. Either the connection was never
    /// established (with [`NotSent::Untrusted`] if the client knows that TLS failed, and with [`NotSent::Forbidden`] if the
    /// address is out of reach), or no byte of the request's body has left or will leave. A request without a body counts as
    /// possibly sent once its connection is established. Everything else is [`HttpError::MaybeSent`], including a time-out, a
    /// reset, and a body that breaks off before it can be used. A status is not an error.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the answer. The server may have received the request nevertheless. Flights never drop it.
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError>;

    /// Connects to the host of `uri`, with its scheme and within `reach`, for one request that may follow, and sends nothing. A
    /// flight connects before it writes its mark, so that a server that cannot be reached costs no write.
    ///
    /// A client that cannot connect in advance returns `None`, which is the default. The request is then sent by
    /// [`send`](HttpClient::send).
    ///
    /// # Errors
    ///
    /// [`NotSent::Unreachable`] if no connection could be established, [`NotSent::Unbuildable`] if the client cannot send a
    /// request to `uri`, and [`NotSent::Forbidden`] if its address is out of reach.
    ///
    /// # Cancellation
    ///
    /// Dropping the future, or the connection, closes the connection.
    async fn connect(&self, _uri: &http::Uri, _reach: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        Ok(None)
    }

    /// Whether this client enforces [`Exchange::reach`]. URLs that a server names are fetched only over a client that does. The
    /// default is `false`.
    ///
    /// For [`Reach::Public`] and [`Reach::PublicOrLoopback`], such a client checks the URL with [`Reach::permits`], which
    /// checks address literals. It resolves a name once, refuses the request if any of the addresses is not public, and
    /// connects to those addresses without a second look-up. It uses no proxy of the environment. A proxy that the host names
    /// in its code may resolve names in the client's place, as the host's egress guard.
    fn enforces_reach(&self) -> bool {
        false
    }
}

/// A connection for one request, on which nothing was sent yet. Dropping it closes the connection.
#[async_trait]
pub trait HttpConnection: fmt::Debug + Send + 'static {
    /// Sends `exchange.request` over this connection and reads its answer, as [`HttpClient::send`] does. The time-out counts
    /// from the first byte sent, and not from the time at which the connection was established.
    ///
    /// A request to another host, port or scheme, or with another reach, is not sent over this connection. It is sent over a
    /// new connection.
    ///
    /// # Errors
    ///
    /// Those of [`HttpClient::send`]. A connection that the peer closed before the request is [`HttpError::NotSent`].
    async fn send(self: Box<Self>, exchange: Exchange) -> Result<http::Response<Body>, HttpError>;
}

/// One request with its limits.
#[derive(Debug)]
pub struct Exchange {
    /// The request. Its URI is absolute. A header that carries a secret is marked
    /// [sensitive](http::HeaderValue::set_sensitive).
    pub request: http::Request<Body>,
    /// The time-out, from the first byte sent to the last byte read. It may be several minutes long, so an implementation
    /// should notice a dead peer earlier by other means (TCP keep-alive).
    pub timeout: Duration,
    /// The maximum length of the answer's body in bytes, as it arrives. A longer body is [`MaybeSent::TooLarge`].
    pub max_answer: usize,
    /// The deadline for sending the request.
    pub departure: Departure,
    /// The addresses that the client may connect to.
    pub reach: Reach,
}

/// The reason why there is no answer. It reveals nothing about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The server cannot have processed the request.
    #[error("the request was not sent: {}", not_sent(.0))]
    NotSent(NotSent),
    /// The server may have processed the request.
    #[error("the request may have been sent, and no complete answer came: {0}")]
    MaybeSent(MaybeSent),
}

/// The reason why no complete answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaybeSent {
    /// The time-out passed.
    #[error("it took too long")]
    TimedOut,
    /// The connection broke, or the peer did not speak HTTP.
    #[error("the connection broke")]
    Broken,
    /// The body or the headers of the answer are longer than allowed.
    #[error("the answer is too large")]
    TooLarge,
}

fn not_sent(why: &NotSent) -> &'static str {
    match why {
        NotSent::Unreachable => "no connection could be established",
        NotSent::Untrusted => "no secure connection could be established",
        NotSent::TooLate => "the time to send it by had passed",
        NotSent::Unbuildable => "it could not be built",
        NotSent::Forbidden => "the address that it leads to is not allowed",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_text_of_its_own() {
        let not_sent =
            [NotSent::Unreachable, NotSent::Untrusted, NotSent::TooLate, NotSent::Unbuildable, NotSent::Forbidden];
        let maybe_sent = [MaybeSent::TimedOut, MaybeSent::Broken, MaybeSent::TooLarge];
        let errors = not_sent.map(HttpError::NotSent).into_iter().chain(maybe_sent.map(HttpError::MaybeSent));
        let texts: BTreeSet<String> = errors.map(|error| error.to_string()).collect();
        assert_eq!(texts.len(), not_sent.len() + maybe_sent.len(), "{texts:?}");
        assert!(
            HttpError::NotSent(NotSent::Untrusted).to_string().ends_with("no secure connection could be established")
        );
    }
}
