//! Keyed digests. A refresh token is compared and remembered by its digest, so that the token itself need not be kept.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::secret::RefreshToken;

/// The key of a store's digests (HMAC-SHA-256). All processes that share a store share its key. Without the key, a
/// digest does not reveal its token.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// The key made of these 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `token` under this key.
    pub fn digest(&self, token: &RefreshToken) -> KeyedDigest {
        // HMAC pads a short key with zeros to the block size of its hash. The padding here makes the key exactly that
        // long, so the length cannot be rejected.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&self.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        mac.update(token.expose().as_bytes());
        KeyedDigest(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

/// A refresh token's digest under a store's [`DigestKey`]. It is not a secret, but `Debug` shows only the first four bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedDigest([u8; 32]);

impl KeyedDigest {
    /// The digest with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "KeyedDigest({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_the_token_and_on_the_key() {
        let (one, other) = (DigestKey::new([1; 32]), DigestKey::new([2; 32]));
        let token = RefreshToken::new("rt-1");
        assert_eq!(one.digest(&token), one.digest(&RefreshToken::new("rt-1")));
        assert_ne!(one.digest(&token), one.digest(&RefreshToken::new("rt-2")));
        assert_ne!(one.digest(&token), other.digest(&token));
        assert_eq!(KeyedDigest::from_bytes(*one.digest(&token).as_bytes()), one.digest(&token));
    }

    #[test]
    fn it_is_hmac_sha256() {
        // RFC 4231 test case 2 has a short key; zero-padded to 32 bytes it is the same HMAC key.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let digest = DigestKey::new(key).digest(&RefreshToken::new("what do ya want for nothing?"));
        assert_eq!(digest.as_bytes()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(format!("{digest:?}"), "KeyedDigest(5bdcc146…)");
        assert_eq!(format!("{:?}", DigestKey::new(key)), "DigestKey(…)");
    }
}
