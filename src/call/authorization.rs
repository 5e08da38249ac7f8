//! The authorization of one attempt.

use std::fmt;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderValue};

use crate::{AccessToken, Lease, TokenKind};

/// The authorization of one attempt of a request, for its [`Destination`](crate::Destination) alone.
///
/// `Debug` shows nothing of the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Authorization {
    lease: Lease,
}

impl Authorization {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease }
    }

    /// Puts the authorization into a request's headers (RFC 6750 section 2.1), in place of any that is there. The value is
    /// marked as sensitive, so that HTTP clients neither show nor index it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let token = self.lease.token().expose();
        let mut text = String::with_capacity("Bearer ".len() + token.len());
        text.push_str("Bearer ");
        text.push_str(token);
        match HeaderValue::try_from(text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            // No session serves a token that cannot stand in a header. One of a caller's own must not go in its place.
            Err(_) => drop(headers.remove(AUTHORIZATION)),
        }
    }

    /// The token, for clients that take it apart from the headers. `None` if it is no bearer token.
    pub fn bearer(&self) -> Option<&AccessToken> {
        (self.lease.kind() == TokenKind::Bearer).then(|| self.lease.token())
    }

    /// The lease that the attempt is sent with.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").finish_non_exhaustive()
    }
}
