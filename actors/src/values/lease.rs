//! The lease, which is an access token in the form that callers get.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::identity::ServerIdentity;
use super::lifetime::Validity;
use super::lineage::Generation;
use super::secret::{AccessToken, DpopKey};

/// An access token with its properties. Cheap to clone. Clones share one token, which is wiped when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Lease(Arc<Issued>);

/// The content that the clones of a lease share.
struct Issued {
    parts: LeaseParts,
    /// The session that handed the lease out first.
    session: OnceLock<ServerIdentity>,
}

/// The parts of a [`Lease`].
#[derive(Debug)]
pub struct LeaseParts {
    /// The token itself.
    pub token: AccessToken,
    /// How the token is presented.
    pub kind: TokenKind,
    /// The generation of the token within its identity. An invalidation refers to it.
    pub generation: Generation,
    /// The scopes that were granted, if the server named them.
    pub scopes: Scopes,
    /// Its lifetime.
    pub validity: Validity,
    /// The cause for which the token was minted.
    pub cause: Cause,
    /// The key that its proofs of possession are signed with (RFC 9449), if it is bound to one.
    pub proof_key: Option<DpopKey>,
}

impl Lease {
    /// A lease made of `parts`.
    pub fn new(parts: LeaseParts) -> Self {
        Self(Arc::new(Issued { parts, session: OnceLock::new() }))
    }

    /// The identity whose session handed the lease out. `None` if it was not handed out yet.
    pub fn session(&self) -> Option<&ServerIdentity> {
        self.0.session.get()
    }

    /// Notes that the session of `identity` hands the lease out. The lease belongs to the first session that does.
    #[cfg(feature = "runtime")]
    pub(crate) fn belongs_to(&self, identity: &ServerIdentity) {
        self.0.session.get_or_init(|| identity.clone());
    }

    /// The token itself.
    pub fn token(&self) -> &AccessToken {
        &self.0.parts.token
    }

    /// How the token is presented, by RFC 6750 or RFC 9449.
    pub fn kind(&self) -> TokenKind {
        self.0.parts.kind
    }

    /// The generation of the token within its identity.
    pub fn generation(&self) -> Generation {
        self.0.parts.generation
    }

    /// The scopes that were granted.
    pub fn scopes(&self) -> &Scopes {
        &self.0.parts.scopes
    }

    /// Its lifetime.
    pub fn validity(&self) -> Validity {
        self.0.parts.validity
    }

    /// The key that its proofs of possession are signed with (RFC 9449), if it is bound to one.
    pub fn proof_key(&self) -> Option<&DpopKey> {
        self.0.parts.proof_key.as_ref()
    }

    /// The cause for which the token was minted.
    pub fn cause(&self) -> Cause {
        self.0.parts.cause
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("generation", &format_args!("{}", self.0.parts.generation))
            .field("kind", &self.0.parts.kind)
            .field("validity", &self.0.parts.validity)
            .field("cause", &self.0.parts.cause)
            .finish_non_exhaustive()
    }
}

/// Two leases are equal when they name the same token.
impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self.0.parts.generation == other.0.parts.generation
    }
}

impl Eq for Lease {}

/// How an access token is presented (`token_type`, RFC 6749 section 7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `Authorization: Bearer` (RFC 6750).
    #[default]
    Bearer,
    /// `Authorization: DPoP` with a proof for each request (RFC 9449). Such a token is never presented as a bearer token.
    Dpop,
}

/// The cause for which a token was obtained. It is kept in the record, so that siblings know it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A person signed in, or a credential was imported.
    #[default]
    Login,
    /// There was no usable token, because there never was one or it had expired.
    Expiry,
    /// The token was about to expire.
    Early,
    /// The refresh token was about to expire because of inactivity.
    KeepAlive,
    /// The resource refused the previous token. A second refusal soon after does not cause another refresh.
    Refusal,
    /// The caller forced a refresh.
    Force,
}

/// A set of scopes, kept in the order and spelling the server gave (RFC 6749 section 3.3: case-sensitive, unordered).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Arc<[String]>);

impl Scopes {
    /// These scopes, in this order.
    pub fn new(scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(scopes.into_iter().map(Into::into).collect())
    }

    /// These scopes, followed by the scopes of `others` that are not among them.
    #[must_use]
    pub fn union(&self, others: &Scopes) -> Self {
        let new = others.iter().filter(|scope| !self.iter().any(|known| known == *scope));
        Self::new(self.iter().chain(new))
    }

    /// Whether each of these scopes is among `others`.
    pub fn are_within(&self, others: &Scopes) -> bool {
        self.iter().all(|scope| others.iter().any(|known| known == scope))
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the set is empty. In a request, the server's default then applies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::lineage::Epoch;
    use super::super::time::Moment;
    use super::*;

    fn lease(number: u64, token: &str) -> Lease {
        Lease::new(LeaseParts {
            token: AccessToken::new(token),
            kind: TokenKind::Dpop,
            generation: Generation::stored(Epoch::new(1), number),
            scopes: Scopes::new(["a", "b"]),
            validity: Validity::new(Moment::default(), None),
            cause: Cause::Early,
            proof_key: Some(DpopKey::new("dk-secret")),
        })
    }

    #[test]
    fn a_lease_is_its_generation_and_shows_no_token() {
        assert_eq!(lease(3, "x"), lease(3, "y"));
        assert_ne!(lease(3, "x"), lease(4, "x"));
        let shown = format!("{:?}", lease(3, "at-secret"));
        assert!(shown.contains("1.3") && shown.contains("Dpop") && !shown.contains("-secret"), "{shown}");
    }

    #[test]
    fn its_parts_can_be_read() {
        let lease = lease(3, "at");
        assert_eq!(lease.token().expose(), "at");
        assert_eq!((lease.kind(), lease.cause()), (TokenKind::Dpop, Cause::Early));
        assert_eq!(lease.scopes().iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!lease.scopes().is_empty() && Scopes::default().is_empty());
        assert_eq!(lease.validity().lifetime(), None);
        assert_eq!(lease.proof_key().map(DpopKey::expose), Some("dk-secret"));
    }
}
