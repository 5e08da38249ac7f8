//! The authorization of one attempt.

use std::fmt;
use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderValue};

use crate::proof::BoundLease;
use crate::{AccessToken, Lease, TokenKind};

/// The authorization of one attempt of a request. It is valid only for the attempt's [`Destination`](crate::Destination).
///
/// `Debug` shows no part of the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Authorization {
    lease: Lease,
    /// Makes the proofs, if the token is bound to a key.
    bound: Option<Arc<BoundLease>>,
}

impl Authorization {
    pub(super) fn new(lease: Lease, bound: Option<Arc<BoundLease>>) -> Self {
        Self { lease, bound }
    }

    /// Puts the authorization into a request's headers, and replaces an authorization that is there already. It is
    /// `Authorization: Bearer` (RFC 6750 section 2.1), or `Authorization: DPoP` with the header `DPoP` (RFC 9449 section 7.1).
    /// The values are marked as sensitive, so that HTTP clients neither log them nor add them to a compression table (HPACK).
    ///
    /// For a token that is bound to a key, each call of `apply` makes a new proof, because a server accepts a proof once. The
    /// proof covers the method and the destination of the attempt.
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
            // This cannot happen, because sessions refuse tokens that fit into no header. An authorization that the caller
            // has set must not be sent instead of the session's.
            Err(_) => drop(headers.remove(AUTHORIZATION)),
        }
    }

    /// The bearer token, for HTTP clients that have a parameter for it. `None` if the token is bound to a key (DPoP) and needs
    /// both headers that [`apply`](Self::apply) sets.
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
