//! The lease: an access token as a caller gets it.

use std::fmt;

use tokenkeeper_actors::values;

use crate::{AccessToken, DpopKey, Generation, Scopes, TokenKind, Validity};

/// An access token with its generation, type, scopes and lifetime.
///
/// A lease is cheap to clone. Clones share one token, which is wiped when the last of them is dropped. A lease never
/// changes. It stays readable after the session has got a newer token, so keep the lease that a request was sent with and
/// name it in [`AuthSession::invalidate`](crate::AuthSession::invalidate) if the resource refuses it.
///
/// Two leases are equal when they name the same token. `Debug` shows everything but secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease(values::Lease);

impl Lease {
    /// The engine's lease.
    pub(crate) fn engine(&self) -> &values::Lease {
        &self.0
    }

    /// The access token. It goes to the session's resource and nowhere else (law 13).
    pub fn token(&self) -> &AccessToken {
        self.0.token()
    }

    /// How the token is presented, as a bearer token (RFC 6750) or with a proof of possession (RFC 9449).
    pub fn kind(&self) -> TokenKind {
        self.0.kind()
    }

    /// The key that proofs of possession for this token are signed with (RFC 9449 section 4.2). `None` for a bearer
    /// token.
    pub fn proof_key(&self) -> Option<&DpopKey> {
        self.0.proof_key()
    }

    /// The token's name within its identity. A newer token has a greater generation.
    pub fn generation(&self) -> Generation {
        self.0.generation()
    }

    /// The granted scopes, if the server named them (RFC 6749 section 3.3), and else empty.
    pub fn scopes(&self) -> &Scopes {
        self.0.scopes()
    }

    /// The token's lifetime, on the wall clock and on the clock of elapsed time (law 14).
    pub fn validity(&self) -> Validity {
        self.0.validity()
    }
}

impl From<values::Lease> for Lease {
    #[inline]
    fn from(lease: values::Lease) -> Self {
        Self(lease)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
