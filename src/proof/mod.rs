//! Proofs of possession (DPoP, RFC 9449): a key for each session, a proof for each request, and the nonces and clocks of the
//! servers that check them.

mod error;
mod key;
mod keys;
mod party;
mod prover;
mod setting;
#[cfg(test)]
#[cfg(feature = "dpop")]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::{AccessToken, DpopKey};
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

use crate::grant::server_time;
use key::Claims;
use keys::OpenKeys;
use party::{Known, Party};

pub use error::{ClockSkew, ProofError};
pub(crate) use key::ProofKey;
pub(crate) use party::{HtTarget, Nonce, Role};
pub(crate) use prover::{BoundLease, Prover};
pub(crate) use setting::Announced;
pub use setting::Dpop;

/// The header of a proof (section 4.1).
pub(crate) const PROOF: HeaderName = HeaderName::from_static("dpop");

/// The error code of a server that wants a nonce (sections 8 and 9).
pub(crate) const WANTS_NONCE: &str = "use_dpop_nonce";

/// The error code of a server that refuses a proof (section 5 and section 7.1).
pub(crate) const PROOF_REFUSED: &str = "invalid_dpop_proof";

/// The maximum number of servers that are remembered. When it is reached, all are forgotten. A forgotten server costs one more
/// challenge.
const MAX_PARTIES: usize = 1024;

/// Makes the proofs of a runtime, and remembers the nonces and the clocks of servers. Clones share them.
///
/// The nonces and the clocks are not stored. A new process gets nonces again.
#[derive(Clone)]
pub(crate) struct Proofs(Arc<Shared>);

/// The state that all clones share.
struct Shared {
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    keys: OpenKeys,
    /// The nonce and the clock of each server.
    known: Mutex<BTreeMap<Party, Known>>,
}

/// The request that a proof is made for.
#[derive(Clone, Copy)]
pub(crate) struct Proven<'a> {
    pub(crate) role: Role,
    pub(crate) method: &'a Method,
    pub(crate) target: &'a HtTarget,
    /// The access token that the request carries.
    pub(crate) token: Option<&'a AccessToken>,
    /// The nonce of a challenge to this request. Without one, the latest nonce of the server is used.
    pub(crate) nonce: Option<&'a Nonce>,
}

impl Proofs {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Entropy) -> Self {
        let keys = OpenKeys::new(&entropy);
        Self(Arc::new(Shared { clock, entropy, keys, known: Mutex::default() }))
    }

    /// The proof for one send of a request, with a new identifier. `None` if the claims cannot be written as JSON, or the proof
    /// cannot be a header, which does not occur.
    pub(crate) fn proof(&self, key: &ProofKey, proven: Proven<'_>) -> Option<HeaderValue> {
        let Proven { role, method, target, token, nonce } = proven;
        let known = self.known().get(&target.party(role)).cloned().unwrap_or_default();
        let nonce = nonce.or(known.nonce.as_ref());
        let identifier = format!("{:032x}", self.0.entropy.identifier());
        let issued = self.0.clock.now().wall.as_millis() / 1_000;
        let proof = Zeroizing::new(key.sign(&Claims {
            jti: &identifier,
            htm: method.as_str(),
            htu: target.htu(),
            iat: issued.saturating_add_signed(known.skew.map_or(0, ClockSkew::seconds)),
            ath: token,
            nonce: nonce.map(Nonce::as_str),
        })?);
        let mut value = HeaderValue::from_str(&proof).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The key of a session, ready for use. It is parsed once and then remembered. `None` if it cannot be used.
    pub(crate) fn key(&self, stored: &DpopKey) -> Option<Arc<ProofKey>> {
        self.0.keys.open(stored)
    }

    /// The proof header of a request to the token endpoint `endpoint`. `None` if the key cannot be used, or `endpoint` is no
    /// URL that a proof can name.
    pub(crate) fn for_token_endpoint(&self, endpoint: &str, key: &DpopKey) -> Option<HeaderValue> {
        let (key, target) = (self.key(key)?, HtTarget::of(endpoint)?);
        let role = Role::Authorization;
        self.proof(&key, Proven { role, method: &Method::POST, target: &target, token: None, nonce: None })
    }

    /// Remembers the nonce of an answer (section 8.2), and returns it. An answer without one changes nothing.
    pub(crate) fn heard_nonce(&self, role: Role, target: &HtTarget, headers: &HeaderMap) -> Option<Nonce> {
        let nonce = Nonce::of(headers)?;
        self.change(role, target, |known| {
            if known.nonce.as_ref() != Some(&nonce) {
                known.nonce = Some(nonce.clone());
            }
            known.heard += 1;
        });
        Some(nonce)
    }

    /// Compares the clock of this machine with the `Date` of an answer. The caller makes sure that the answer does not come
    /// from a cache. Later proofs for this server are dated by its clock. Returns whether this changes their date noticeably.
    pub(crate) fn heard_date(&self, role: Role, target: &HtTarget, headers: &HeaderMap) -> bool {
        let Some(theirs) = server_time(headers) else { return false };
        let skew = ClockSkew::between(self.0.clock.now().wall, theirs);
        let mut changes = false;
        self.change(role, target, |known| {
            changes = ClockSkew::differ(known.skew, skew);
            known.skew = skew;
        });
        if let (true, Some(skew)) = (changes, skew) {
            tracing::warn!(server = target.origin(), %skew, "proofs of possession are dated by the server's clock");
        }
        changes
    }

    /// The difference between the server's clock and this machine's at the last answer whose `Date` was used. `None` if the
    /// difference is too small for a correction, or is not known.
    pub(crate) fn skew(&self, role: Role, target: &HtTarget) -> Option<ClockSkew> {
        self.known().get(&target.party(role)).and_then(|known| known.skew)
    }

    /// The number of nonces that the server has sent.
    pub(crate) fn nonces_heard(&self, role: Role, target: &HtTarget) -> u64 {
        self.known().get(&target.party(role)).map_or(0, |known| known.heard)
    }

    /// Waits until no other call is asking this resource for a nonce. No other call asks while the guard is held.
    pub(crate) async fn asking(&self, target: &HtTarget) -> OwnedMutexGuard<()> {
        let mut asking = Arc::default();
        self.change(Role::Resource, target, |known| asking = Arc::clone(&known.asking));
        asking.lock_owned().await
    }

    fn change(&self, role: Role, target: &HtTarget, change: impl FnOnce(&mut Known)) {
        let (mut known, party) = (self.known(), target.party(role));
        if known.len() >= MAX_PARTIES && !known.contains_key(&party) {
            known.clear();
        }
        change(known.entry(party).or_default());
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Party, Known>> {
        // The map is consistent between two statements, so a panic of another thread does no harm.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").finish_non_exhaustive()
    }
}
