//! The key of a home, and the keys derived from it.

use std::fmt;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokenkeeper_actors::values::DigestKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{FileError, Trouble};
use crate::folder::{Durability, Folder, is_private};

/// The key of a home, 32 unguessable bytes. It is never displayed, and it is wiped when dropped.
/// Two keys are compared in constant time.
#[derive(Clone, Eq, Zeroize, ZeroizeOnDrop)]
pub struct StoreKey([u8; 32]);

impl PartialEq for StoreKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl StoreKey {
    /// Makes a key of these bytes. They must be random. Derive a key from a password with a slow function first.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new key from the operating system's randomness.
    pub(crate) fn generate() -> Option<Self> {
        let mut key = Self([0; 32]);
        fill(&mut key.0).then_some(key)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    #[cfg(feature = "keychain")]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Derives a key for one purpose in one home. Different homes have different keys, even if they share a master key.
    fn derive(&self, purpose: &str, home: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac(&self.0, [b"tokenkeeper file store\0", purpose.as_bytes(), b"\0", home]))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

/// The keys derived from a home's key.
pub(crate) struct Keys {
    /// Seals files and keys.
    pub(crate) cipher: XChaCha20Poly1305,
    /// Digests refresh tokens.
    pub(crate) digest: DigestKey,
    /// Names the files of issuers' entries by keyed digests.
    entries: Zeroizing<[u8; 32]>,
    /// Names the files of identities by keyed digests.
    identities: Zeroizing<[u8; 32]>,
    /// A check value that only the right key produces. It reveals nothing about the key.
    pub(crate) check: [u8; 16],
}

impl Keys {
    pub(crate) fn new(key: &StoreKey, home: &[u8]) -> Self {
        let mut check = [0; 16];
        check.copy_from_slice(&key.derive("check", home)[..16]);
        Self {
            cipher: XChaCha20Poly1305::new((&*key.derive("seal", home)).into()),
            digest: DigestKey::new(*key.derive("digest", home)),
            entries: key.derive("names", home),
            identities: key.derive("identities", home),
            check,
        }
    }

    /// A keyed digest of an entry's key. Without the key of the home, no guess of it can be checked against the digest.
    pub(crate) fn entry(&self, key: &str) -> [u8; 32] {
        mac(&self.entries, [key.as_bytes()])
    }

    /// A keyed digest of an identity's key, like [`entry`](Self::entry).
    pub(crate) fn identity(&self, key: &str) -> [u8; 32] {
        mac(&self.identities, [key.as_bytes()])
    }
}

/// HMAC-SHA-256 over the concatenated `parts`.
fn mac<'a>(key: &[u8; 32], parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    // HMAC pads a short key with zeros to the block size of its hash. The padding is done here, so that the constructor for
    // keys of this exact length can be used, which cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    parts.into_iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The name of the key file in a home.
const FILE: &str = "key";

/// Reads the key from its file. Returns `None` where there is none.
pub(crate) fn read_file(root: &Folder) -> Result<Option<StoreKey>, FileError> {
    let Some(stat) = root.stat(FILE)? else { return Ok(None) };
    if !is_private(&stat) {
        return Err(root.error(Trouble::Exposed, FILE));
    }
    let Some(bytes) = root.read(FILE, 32)? else { return Ok(None) };
    StoreKey::from_slice(&bytes).map(Some).ok_or_else(|| root.error(Trouble::Damaged, FILE))
}

pub(crate) fn write_file(root: &Folder, key: &StoreKey) -> Result<(), FileError> {
    root.replace(FILE, &key.0, Durability::Durable)
}

/// Fills `bytes` with randomness. Returns whether it succeeded.
#[expect(clippy::disallowed_methods, reason = "keys and nonces come from the operating system only")]
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_and_each_home_has_a_key_of_its_own() {
        let key = StoreKey::new([7; 32]);
        let keys = [key.derive("seal", b"1"), key.derive("digest", b"1"), key.derive("seal", b"2")];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && *keys[0] != [7; 32]);
        assert_eq!(key.derive("seal", b"1"), keys[0]);
        assert_eq!(format!("{key:?}"), "StoreKey(…)");
        assert_eq!(key, StoreKey::new([7; 32]));
        let mut last = [7; 32];
        last[31] = 8;
        assert_ne!(key, StoreKey::new(last));
        let (one, other) = (Keys::new(&key, b"1"), Keys::new(&key, b"2"));
        assert_eq!(one.entry("a"), Keys::new(&key, b"1").entry("a"));
        assert!(one.entry("a") != one.entry("b") && one.entry("a") != other.entry("a"));
        assert_eq!(one.identity("a"), Keys::new(&key, b"1").identity("a"));
        assert!(one.identity("a") != one.entry("a") && one.identity("a") != other.identity("a"));
    }
}
