//! The opened keys of sessions, so that a key is not parsed again for each proof.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::DpopKey;

use super::ProofKey;

/// The maximum number of keys that are kept. When it is reached, all are forgotten. A forgotten key is opened again.
const MAX_KEYS: usize = 1024;

/// The opened keys, by salted SHA-256 hashes of their stored forms. The salt is that of this process.
pub(super) struct OpenKeys {
    salt: [u8; 16],
    opened: Mutex<BTreeMap<[u8; 32], Arc<ProofKey>>>,
}

impl OpenKeys {
    pub(super) fn new(entropy: &Entropy) -> Self {
        Self { salt: entropy.identifier().to_le_bytes(), opened: Mutex::default() }
    }

    /// The opened key. `None` if it cannot be used.
    pub(super) fn open(&self, stored: &DpopKey) -> Option<Arc<ProofKey>> {
        let name: [u8; 32] = Sha256::new().chain_update(self.salt).chain_update(stored.expose()).finalize().into();
        // The map is consistent between two statements, so a panic of another thread does no harm.
        let opened = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = opened().get(&name) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(ProofKey::open(stored)?);
        let mut opened = opened();
        if opened.len() >= MAX_KEYS {
            opened.clear();
        }
        opened.insert(name, Arc::clone(&key));
        Some(key)
    }
}

/// `Debug` shows no key.
impl fmt::Debug for OpenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "dpop")]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_opened_once_and_each_has_its_own() {
        let keys = OpenKeys::new(&Entropy::new().unwrap());
        let (one, other) = (ProofKey::draw().unwrap(), ProofKey::draw().unwrap());
        let opened = keys.open(&one).unwrap();
        assert!(Arc::ptr_eq(&opened, &keys.open(&one.clone()).unwrap()));
        assert_ne!(opened.thumbprint(), keys.open(&other).unwrap().thumbprint());
        assert!(keys.open(&DpopKey::new("no key")).is_none());
        assert_eq!(keys.opened.lock().unwrap().len(), 2);
        assert_eq!(format!("{keys:?}"), "OpenKeys { .. }");
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let keys = OpenKeys::new(&Entropy::new().unwrap());
        for _ in 0..=MAX_KEYS {
            assert!(keys.open(&ProofKey::draw().unwrap()).is_some());
        }
        assert_eq!(keys.opened.lock().unwrap().len(), 1);
    }
}
