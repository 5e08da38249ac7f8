//! The texts that the gateway signs: tokens, codes, client identifiers, cookies and forms.
//!
//! Each text carries its content and a MAC over it (HMAC-SHA-256). It is not encrypted. So the gateway needs to remember
//! neither tokens nor registrations. A copy of its store holds nothing that can be presented, and a guessed text costs no
//! look-up.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The length of a MAC in bytes.
const MAC: usize = 32;

/// The maximum length of a text that is read, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// The key of a gateway, 256 random bits. It can be used to sign in as any user, so that it must be kept like a private key.
///
/// All replicas of a gateway share it. `Debug` does not show it, and it is wiped when dropped.
#[derive(Clone)]
pub struct GatewayKey(Zeroizing<[u8; 32]>);

impl GatewayKey {
    /// Wraps a key that the host keeps in its secret store.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Draws a new key. Everything that was signed under another key is refused, so that a gateway which draws its key at each
    /// start signs its clients out at each start.
    ///
    /// # Errors
    ///
    /// If the operating system gives no randomness.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self::new(draw()?))
    }
}

impl fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayKey(…)")
    }
}

/// The operating system gave no randomness, so that nothing can be signed or issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random numbers: check that /dev/urandom or its equivalent can be read")]
pub struct NoRandomness(#[source] getrandom::Error);

/// Random bytes of the operating system.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that draws randomness")]
pub(crate) fn draw<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// The use of a signed text. A text of one use is refused for each other use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Access,
    Refresh,
    Code,
    Client,
    ClientSecret,
    /// The hidden field of the consent form.
    Form,
    /// The hidden field of the form with which a login begins.
    LoginForm,
    /// The cookie of a login that is under way.
    Flow,
    /// The cookie of a browser whose person is known.
    Person,
    /// The identifier of an MCP session, bound to its subject.
    McpSession,
    /// The key of a remembered consent.
    Consent,
}

impl Use {
    /// The text with which the input of the MAC begins.
    fn word(self) -> &'static str {
        match self {
            Self::Access => "access token",
            Self::Refresh => "refresh token",
            Self::Code => "code",
            Self::Client => "client",
            Self::ClientSecret => "client secret",
            Self::Form => "form",
            Self::LoginForm => "login form",
            Self::Flow => "flow",
            Self::Person => "person",
            Self::McpSession => "mcp session",
            Self::Consent => "consent",
        }
    }
}

/// The gateway's keys. The first one signs, and a text that any of them has signed is accepted.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    keys: Vec<GatewayKey>,
}

impl Seal {
    pub(crate) fn new(current: GatewayKey, previous: Vec<GatewayKey>) -> Self {
        let mut keys = vec![current];
        keys.extend(previous);
        Self { keys }
    }

    /// `bytes` with their MAC, as text for URLs and headers.
    pub(crate) fn sign(&self, purpose: Use, bytes: &[u8]) -> String {
        let mut whole = bytes.to_vec();
        whole.extend(mac(&self.keys[0], purpose, bytes).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(whole)
    }

    /// The bytes of a text that [`sign`](Self::sign) made for this purpose under one of the keys. `None` for any other text.
    pub(crate) fn verify(&self, purpose: Use, text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let tag = bytes.split_off(bytes.len().checked_sub(MAC)?);
        let is_ours = |key: &GatewayKey| mac(key, purpose, &bytes).verify_slice(&tag).is_ok();
        self.keys.iter().any(is_ours).then_some(bytes)
    }

    /// Signs a value as JSON.
    pub(crate) fn seal<T: Serialize>(&self, purpose: Use, value: &T) -> String {
        // The types that are signed here serialize without errors. If one did not, `open` would refuse the empty text.
        serde_json::to_vec(value).map_or_else(|_| String::new(), |bytes| self.sign(purpose, &bytes))
    }

    /// The value of a text that [`seal`](Self::seal) made for this purpose. `None` for any other text.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: Use, text: &str) -> Option<T> {
        serde_json::from_slice(&self.verify(purpose, text)?).ok()
    }

    /// A keyed digest (HMAC-SHA-256) of `parts` under the first key. It cannot be computed without the key.
    pub(crate) fn digest(&self, purpose: Use, parts: &[&str]) -> [u8; 32] {
        digest(&self.keys[0], purpose, parts)
    }

    /// The digests of `parts` under all keys, in the order of the keys.
    pub(crate) fn digests(&self, purpose: Use, parts: &[&str]) -> impl Iterator<Item = [u8; 32]> {
        self.keys.iter().map(move |key| digest(key, purpose, parts))
    }
}

fn digest(key: &GatewayKey, purpose: Use, parts: &[&str]) -> [u8; 32] {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    mac(key, purpose, &bytes).finalize().into_bytes().into()
}

/// The MAC over a purpose and bytes. No purpose contains a zero byte, so that no two pairs have the same input.
fn mac(key: &GatewayKey, purpose: Use, bytes: &[u8]) -> Hmac<Sha256> {
    // HMAC pads a shorter key with zeros to its block (RFC 2104 section 2).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(&*key.0);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    mac.update(purpose.word().as_bytes());
    mac.update(&[0]);
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(first: u8, others: &[u8]) -> Seal {
        Seal::new(GatewayKey::new([first; 32]), others.iter().map(|key| GatewayKey::new([*key; 32])).collect())
    }

    #[test]
    fn a_text_is_accepted_for_its_own_use_and_under_its_own_key_alone() {
        let text = seal(1, &[]).sign(Use::Access, b"what it says");
        assert_eq!(seal(1, &[]).verify(Use::Access, &text).as_deref(), Some(&b"what it says"[..]));
        assert_eq!(seal(1, &[]).verify(Use::Refresh, &text), None);
        assert_eq!(seal(2, &[]).verify(Use::Access, &text), None);
        assert!(seal(2, &[1]).verify(Use::Access, &text).is_some(), "a previous key is accepted");
    }

    #[test]
    fn no_text_with_one_byte_changed_is_accepted() {
        let (seal, text) = (seal(1, &[]), seal(1, &[]).sign(Use::Code, &[7; 16]));
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            // The last character carries spare bits, so that it may spell the same bytes.
            assert!(seal.verify(Use::Code, &other).is_none() || other == text, "{place}");
        }
        for odd in ["", "AAAA", "not base64!", &"A".repeat(MAX_TEXT + 4)] {
            assert_eq!(seal.verify(Use::Code, odd), None);
        }
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        assert_eq!(format!("{:?}", seal(7, &[8])), "Seal { keys: [GatewayKey(…), GatewayKey(…)] }");
    }

    #[test]
    fn parts_of_a_digest_do_not_run_into_each_other() {
        let seal = seal(1, &[]);
        assert_ne!(seal.digest(Use::Consent, &["ab", "c"]), seal.digest(Use::Consent, &["a", "bc"]));
    }
}
