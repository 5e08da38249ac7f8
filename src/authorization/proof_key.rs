//! Proof Key for Code Exchange (RFC 7636), and the `state` that ties an answer to its request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The randomness of one request, for its verifier and its `state`.
pub(super) struct Draw {
    /// The bytes of the verifier.
    pub(super) verifier: Zeroizing<[u8; 32]>,
    /// The bytes of the `state`.
    pub(super) state: [u8; 32],
}

impl Draw {
    /// Draws from the operating system. Returns `None` if that has no randomness.
    #[expect(clippy::disallowed_methods, reason = "the driver's own randomness, for secrets")]
    pub(super) fn from_system() -> Option<Self> {
        let mut draw = Self { verifier: Zeroizing::new([0; 32]), state: [0; 32] };
        getrandom::fill(&mut *draw.verifier).ok()?;
        getrandom::fill(&mut draw.state).ok()?;
        Some(draw)
    }

    /// The code verifier, 43 characters long (section 4.1).
    pub(super) fn verifier(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.verifier))
    }

    /// The `state` parameter, 43 characters long (RFC 6749 section 10.12).
    pub(super) fn state(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.state)
    }
}

/// The code challenge of `verifier` by the method `S256` (section 4.2).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn each_request_has_a_verifier_and_a_state_of_its_own() {
        let draws: Vec<Draw> = (0..64).map(|_| Draw::from_system().unwrap()).collect();
        let mut texts: Vec<String> =
            draws.iter().flat_map(|draw| [draw.verifier().to_string(), draw.state()]).collect();
        assert!(texts.iter().all(|text| text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_graphic())));
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 128);
    }
}
