//! The requests and answers that the layer understands.

use std::fmt;

use http::{HeaderMap, Method, StatusCode};

/// A request that the layer can put a token into. Implemented for [`http::Request`] with any body, and for
/// `reqwest::Request` (feature `reqwest`).
pub trait Outgoing: Send + 'static {
    /// The method.
    fn method(&self) -> &Method;

    /// The absolute URL to which the request is sent, exactly as it is sent. This text decides whether the request may carry a
    /// token. A request without an absolute URL never carries one.
    fn url(&self) -> impl fmt::Display + '_;

    /// The headers.
    fn headers(&self) -> &HeaderMap;

    /// The headers, into which the token is put.
    fn headers_mut(&mut self) -> &mut HeaderMap;
}

/// A request that can be copied, so that it can be sent again after its token was refused. Implemented for
/// [`http::Request`] whose body is `Clone`, and for `reqwest::Request` (feature `reqwest`).
///
/// A copy must be the same request. For a body whose clones share one stream, use [`SessionLayer::once`] or
/// [`SessionLayer::resend`].
///
/// [`SessionLayer::once`]: crate::SessionLayer::once
/// [`SessionLayer::resend`]: crate::SessionLayer::resend
pub trait Resend: Outgoing + Sized {
    /// A copy of the request. `None` if it cannot be copied, for example because its body is a stream. Called before the token
    /// is put into the request.
    fn again(&self) -> Option<Self>;
}

/// An answer from which the layer can read a refusal. Implemented for [`http::Response`], and for `reqwest::Response`
/// (feature `reqwest`).
pub trait Incoming: Send + 'static {
    /// The status.
    fn status(&self) -> StatusCode;

    /// The headers.
    fn headers(&self) -> &HeaderMap;
}

impl<B: Send + 'static> Outgoing for http::Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn url(&self) -> impl fmt::Display + '_ {
        self.uri()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

impl<B: Clone + Send + 'static> Resend for http::Request<B> {
    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<B: Send + 'static> Incoming for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

#[cfg(feature = "reqwest")]
impl Outgoing for reqwest::Request {
    fn method(&self) -> &Method {
        self.method()
    }

    fn url(&self) -> impl fmt::Display + '_ {
        self.url().as_str()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

#[cfg(feature = "reqwest")]
impl Resend for reqwest::Request {
    fn again(&self) -> Option<Self> {
        self.try_clone()
    }
}

#[cfg(feature = "reqwest")]
impl Incoming for reqwest::Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}
