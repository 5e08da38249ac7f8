//! The key that a session's proofs are signed with (DPoP), and its signatures (ES256).

use tokenkeeper_actors::values::{AccessToken, DpopKey};

/// The claims of a proof (RFC 9449 section 4.2).
pub(super) struct Claims<'a> {
    pub(super) jti: &'a str,
    pub(super) htm: &'a str,
    pub(super) htu: &'a str,
    pub(super) iat: u64,
    /// The token whose SHA-256 hash the proof contains.
    pub(super) ath: Option<&'a AccessToken>,
    pub(super) nonce: Option<&'a str>,
}

#[cfg(feature = "dpop")]
pub(crate) use signing::ProofKey;

/// A build without the feature `dpop` has no keys.
#[cfg(not(feature = "dpop"))]
#[derive(Debug)]
pub(crate) enum ProofKey {}

#[cfg(not(feature = "dpop"))]
impl ProofKey {
    pub(crate) const IS_SUPPORTED: bool = false;

    pub(crate) fn draw() -> Option<DpopKey> {
        None
    }

    pub(crate) fn open(_: &DpopKey) -> Option<Self> {
        None
    }

    pub(crate) fn thumbprint(&self) -> String {
        match *self {}
    }

    pub(super) fn sign(&self, claims: &Claims<'_>) -> Option<String> {
        let Claims { jti, htm, htu, iat, ath, nonce } = *claims;
        // Without this, the fields would count as never read in this build.
        let _never_signed = (jti, htm, htu, iat, ath, nonce);
        match *self {}
    }
}

#[cfg(feature = "dpop")]
mod signing {
    use std::fmt;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use p256::SecretKey;
    use p256::ecdsa::signature::Signer as _;
    use p256::ecdsa::{Signature, SigningKey};
    use p256::pkcs8::DecodePrivateKey as _;
    use serde::{Deserialize, Serialize};
    use sha2::{Digest, Sha256};
    use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

    use super::{Claims, DpopKey};

    /// The maximum number of draws. One draw in 2^32 gives a number that is no key of the curve.
    const MAX_DRAWS: u32 = 8;

    /// A key that proofs are signed with, on the curve P-256. `Debug` shows no part of it.
    #[derive(Clone)]
    pub(crate) struct ProofKey {
        key: SigningKey,
        x: String,
        y: String,
        /// The header of all proofs, encoded.
        header: String,
    }

    /// A private key as a JWK (RFC 7518 section 6.2), without `x` and `y`, which are computed from `d`. A record keeps a key
    /// that was drawn here in this form.
    #[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
    struct Jwk {
        kty: String,
        crv: String,
        d: String,
    }

    #[derive(Serialize)]
    struct PublicJwk<'a> {
        // In the order of RFC 7638 section 3.2, so that its hash is the thumbprint.
        crv: &'a str,
        kty: &'a str,
        x: &'a str,
        y: &'a str,
    }

    #[derive(Serialize)]
    struct Header<'a> {
        typ: &'a str,
        alg: &'a str,
        jwk: PublicJwk<'a>,
    }

    #[derive(Serialize)]
    struct Body<'a> {
        jti: &'a str,
        htm: &'a str,
        htu: &'a str,
        iat: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ath: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a str>,
    }

    impl ProofKey {
        pub(crate) const IS_SUPPORTED: bool = true;

        /// A new key as a JWK. `None` if the operating system gives no randomness, or if no draw was a key of the curve.
        #[expect(clippy::disallowed_methods, reason = "a key is a secret, and comes from the operating system")]
        pub(crate) fn draw() -> Option<DpopKey> {
            for _ in 0..MAX_DRAWS {
                let mut bytes = Zeroizing::new([0; 32]);
                getrandom::fill(&mut *bytes).ok()?;
                if SecretKey::from_slice(&*bytes).is_ok() {
                    let d = URL_SAFE_NO_PAD.encode(&bytes[..]);
                    let jwk = Jwk { kty: "EC".to_owned(), crv: "P-256".to_owned(), d };
                    return serde_json::to_string(&jwk).ok().map(DpopKey::new);
                }
            }
            None
        }

        /// Reads a private key, which is a JWK or PEM (PKCS #8). `None` if `stored` is neither, or is no key of the curve
        /// P-256.
        pub(crate) fn open(stored: &DpopKey) -> Option<Self> {
            let text = stored.expose();
            let secret = if text.trim_start().starts_with("-----") {
                SecretKey::from_pkcs8_pem(text).ok()?
            } else {
                let jwk: Jwk = serde_json::from_str(text).ok()?;
                if (jwk.kty.as_str(), jwk.crv.as_str()) != ("EC", "P-256") {
                    return None;
                }
                SecretKey::from_slice(&Zeroizing::new(URL_SAFE_NO_PAD.decode(&jwk.d).ok()?)).ok()?
            };
            let key = SigningKey::from(secret);
            let point = key.verifying_key().to_sec1_point(false);
            let (x, y) = (URL_SAFE_NO_PAD.encode(point.x()?), URL_SAFE_NO_PAD.encode(point.y()?));
            let jwk = PublicJwk { crv: "P-256", kty: "EC", x: &x, y: &y };
            let header = serde_json::to_vec(&Header { typ: "dpop+jwt", alg: "ES256", jwk }).ok()?;
            let header = URL_SAFE_NO_PAD.encode(header);
            Some(Self { key, x, y, header })
        }

        /// The thumbprint of the public key (RFC 7638), which names it in requests and tokens.
        pub(crate) fn thumbprint(&self) -> String {
            let jwk = serde_json::to_vec(&self.public()).unwrap_or_default();
            URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
        }

        /// A signed proof. `None` if the claims cannot be written as JSON, which does not happen with these types.
        pub(in crate::proof) fn sign(&self, claims: &Claims<'_>) -> Option<String> {
            let Claims { jti, htm, htu, iat, ath, nonce } = *claims;
            let ath = ath.map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose().as_bytes())));
            let body = serde_json::to_vec(&Body { jti, htm, htu, iat, ath, nonce }).ok()?;
            let mut proof = [self.header.as_str(), &URL_SAFE_NO_PAD.encode(body)].join(".");
            let signature: Signature = self.key.sign(proof.as_bytes());
            proof.push('.');
            URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut proof);
            Some(proof)
        }

        fn public(&self) -> PublicJwk<'_> {
            PublicJwk { crv: "P-256", kty: "EC", x: &self.x, y: &self.y }
        }
    }

    impl fmt::Debug for ProofKey {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("ProofKey").finish_non_exhaustive()
        }
    }
}
