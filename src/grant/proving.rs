//! Proofs of possession of token requests (RFC 9449 section 5).

use std::sync::Arc;

use http::{HeaderMap, Request};
use tokenkeeper_actors::law::profile::{Evidence, Tokens};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::{AccessToken, DpopKey, TokenKind};

use super::answer;
use crate::http::Body;
use crate::proof::{HtTarget, PROOF, Proofs, Role, WANTS_NONCE};

/// Adds proofs to the requests of a source. `None` if the system has no randomness, and then no proof can be made.
#[derive(Clone, Debug)]
pub(crate) struct TokenProofs(Option<Proofs>);

impl TokenProofs {
    /// Proofs with nonces that no other source shares.
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self(Entropy::new().ok().map(|entropy| Proofs::new(Arc::clone(clock), entropy)))
    }

    /// Adds a new proof to a request, if its grant is bound to a key. `None` if the key cannot be used.
    pub(crate) fn prove(&self, request: &mut Request<Body>, endpoint: &str, key: Option<&DpopKey>) -> Option<()> {
        let Some(key) = key else { return Some(()) };
        let proof = self.0.as_ref()?.for_token_endpoint(endpoint, key)?;
        request.headers_mut().insert(PROOF, proof);
        Some(())
    }

    /// Whether requests can be proven with this key.
    pub(super) fn can_use(&self, key: &DpopKey) -> bool {
        self.0.as_ref().is_some_and(|proofs| proofs.key(key).is_some())
    }

    /// Notes the nonce and the server's time from the answer to a request with a proof.
    pub(crate) fn learn(&self, endpoint: &str, key: Option<&DpopKey>, headers: &HeaderMap) {
        if let (Some(proofs), Some(_), Some(target)) = (&self.0, key, HtTarget::of(endpoint)) {
            proofs.heard_nonce(Role::Authorization, &target, headers);
            proofs.heard_date(Role::Authorization, &target, headers);
        }
    }
}

/// Proofs with the nonces of a runtime.
impl From<Proofs> for TokenProofs {
    fn from(proofs: Proofs) -> Self {
        Self(Some(proofs))
    }
}

/// Whether the evidence shows that the server demands a nonce. Such a server has not processed the request (section 8).
pub(super) fn wants_nonce(evidence: &Evidence) -> bool {
    matches!(evidence, Evidence::Refused(refused) if refused.error.as_deref() == Some(WANTS_NONCE))
}

/// Withholds an access token that is not bound to the key of its grant (section 5). The refresh token of the answer must not be
/// lost, because its predecessor is spent, so the access token becomes one that has expired.
pub(super) fn withhold_unbound(tokens: &mut Tokens) {
    if tokens.kind == TokenKind::Bearer && tokens.access.is_well_formed() {
        tracing::warn!("the server issued a bearer token for a grant that is bound to a key, and it is not used");
        (tokens.access, tokens.validity) = (AccessToken::new(""), answer::expired_before(tokens.validity.anchored()));
    }
}
