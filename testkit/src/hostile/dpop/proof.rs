//! One proof, read and checked (RFC 9449 section 4.3).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Why a proof is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NonceWanted,
    Replayed,
    Invalid(&'static str),
}

impl Fault {
    /// The error code.
    pub(super) fn error(self) -> &'static str {
        match self {
            Self::NonceWanted => "use_dpop_nonce",
            Self::Replayed | Self::Invalid(_) => "invalid_dpop_proof",
        }
    }
}

/// The request that a proof belongs to.
pub(super) struct Expected<'a> {
    pub(super) method: &'a str,
    /// The URL without a query.
    pub(super) url: &'a str,
    /// The access token, if the request has one.
    pub(super) token: Option<&'a str>,
}

/// A proof whose signature is good, and that belongs to its request.
pub(super) struct Proof {
    /// The thumbprint of its key (RFC 7638).
    pub(super) key: String,
    pub(super) identifier: String,
    pub(super) nonce: Option<String>,
    pub(super) issued: u64,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Value,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Proof {
    pub(super) fn read(text: &str, expected: &Expected<'_>) -> Result<Self, Fault> {
        let form = Fault::Invalid("form");
        let (signed, signature) = text.rsplit_once('.').ok_or(form)?;
        let (header, claims) = signed.split_once('.').ok_or(form)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| form);
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| form)?;
        let claims: Claims = serde_json::from_slice(&decoded(claims)?).map_err(|_| form)?;
        if header.typ != "dpop+jwt" || header.alg != "ES256" || header.jwk.get("d").is_some() {
            return Err(form);
        }
        let member = |name: &str| header.jwk[name].as_str().ok_or(form);
        let (kty, crv, x, y) = (member("kty")?, member("crv")?, member("x")?, member("y")?);
        if (kty, crv) != ("EC", "P-256") {
            return Err(form);
        }
        let point = [vec![4], decoded(x)?, decoded(y)?].concat();
        if !is_signed(&point, signed.as_bytes(), &decoded(signature)?) {
            return Err(Fault::Invalid("signature"));
        }
        if claims.htm != expected.method {
            return Err(Fault::Invalid("method"));
        }
        if claims.htu != expected.url {
            return Err(Fault::Invalid("url"));
        }
        if claims.ath != expected.token.map(digest) {
            return Err(Fault::Invalid("token"));
        }
        let key = digest(&format!("{{\"crv\":\"{crv}\",\"kty\":\"{kty}\",\"x\":\"{x}\",\"y\":\"{y}\"}}"));
        Ok(Self { key, identifier: claims.jti, nonce: claims.nonce, issued: claims.iat })
    }
}

fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

/// Whether the signature is good, by another library than the client's.
#[cfg(feature = "dpop")]
fn is_signed(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    key.verify(message, signature).is_ok()
}

#[cfg(not(feature = "dpop"))]
fn is_signed(_: &[u8], _: &[u8], _: &[u8]) -> bool {
    false
}
