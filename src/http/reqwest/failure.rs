//! The errors of an attempt to send a request.

use std::error::Error;
use std::io;

use super::guard::OutOfReach;
use crate::http::{MaybeSent, NotSent, UnsafeUrl};

/// The reason why an attempt failed. It does not state whether bytes had left.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No usable answer came in time and within its maximum length.
    #[error(transparent)]
    Lost(MaybeSent),
    /// The URI cannot be read as a URL.
    #[error("no URL: {0}")]
    NoUrl(url::ParseError),
    #[error("no request is sent to this URL: {0}")]
    Unsafe(UnsafeUrl),
    /// reqwest established no connection.
    #[error("no connection: {}", causes(.0))]
    Reqwest(reqwest::Error),
    #[error("the connection was closed before the request")]
    Closed,
    /// HTTP on the connection failed.
    #[error("{}", causes(.0))]
    Hyper(hyper::Error),
}

impl Failure {
    /// The report for an attempt whose bytes have not left. Only a secure connection can fail because of TLS.
    pub(super) fn before_sending(&self, is_secure: bool) -> NotSent {
        match self {
            Self::NoUrl(_) => NotSent::Unbuildable,
            Self::Unsafe(_) => NotSent::Forbidden,
            Self::Reqwest(error) if error.is_builder() => NotSent::Unbuildable,
            Self::Reqwest(error) if is_out_of_reach(error) => NotSent::Forbidden,
            Self::Reqwest(error) if is_secure && is_of_tls(error) => NotSent::Untrusted,
            _ => NotSent::Unreachable,
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // The URL may have a secret query.
        Self::Reqwest(error.without_url())
    }
}

/// Whether a connection was not established because the name has an address that is out of reach.
fn is_out_of_reach(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.any(|cause| cause.is::<OutOfReach>())
}

/// Whether a connection was not established because TLS failed. rustls reports [`io::ErrorKind::InvalidData`] within
/// other I/O errors. The errors of other libraries have types that are not known here, so their text decides.
fn is_of_tls(error: &reqwest::Error) -> bool {
    let is_invalid = |cause: &(dyn Error + 'static)| {
        let mut layers = std::iter::successors(cause.downcast_ref::<io::Error>(), |error| {
            let error: &io::Error = error;
            error.get_ref()?.downcast_ref()
        });
        layers.any(|error| error.kind() == io::ErrorKind::InvalidData)
    };
    let names_tls = |cause: &(dyn Error + 'static)| {
        let text = cause.to_string().to_ascii_lowercase();
        ["certificate", "handshake", "ssl"].iter().any(|word| text.contains(word))
    };
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    error.is_connect() && causes.any(|cause| is_invalid(cause) || names_tls(cause))
}

/// An error and its causes, in one line.
fn causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
