//! The authorization of one attempt.

use std::fmt;
use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderValue};

use crate::proof::BoundLease;
use crate::{AccessToken, Lease, TokenKind};

/// The authorization of one attempt of a request, for its [`Destination`](crate::Destination) alone.
///
/// `Debug` shows nothing of the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Authorization {
    lease: Lease,
    /// The proofs of a token that is bound to a key.
    bound: Option<Arc<BoundLease>>,
}

impl Authorization {
    pub(super) fn new(lease: Lease, bound: Option<Arc<BoundLease>>) -> Self {
        Self { lease, bound }
    }

    /// Puts the authorization into a request's headers, in place of any that is there. It is `Authorization: Bearer` (RFC 6750
    /// section 2.1), or `Authorization: DPoP` with the header `DPoP` (RFC 9449 section 7.1). The values are marked as sensitive,
    /// so that HTTP clients neither show nor index them.
    ///
    /// Each call makes a new proof, because a server takes each once. It is made for the method and the destination of the
    /// attempt.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some(bound) = &self.bound {
            return bound.apply(headers);
        }
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

    /// The token, for clients that take it apart from the headers. `None` if it is no bearer token. Its request then takes both
    /// headers of [`apply`](Self::apply).
    #[inline]
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
