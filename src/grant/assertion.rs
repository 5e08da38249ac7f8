//! Client assertions (RFC 7523 section 2.2), the signed statements by which a client authenticates with its private key.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde::{Deserialize, Serialize};
use tokenkeeper_actors::values::{ClientSecret, WallTime};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The lifetime of an assertion. An assertion is made for one request, but the clocks of the client and the server may
/// differ.
const LIFETIME: Duration = Duration::from_secs(120);

/// The private key of a client that authenticates with `private_key_jwt`. It is a key on the curve P-256 (`ES256`) or of
/// Ed25519 (`EdDSA`).
///
/// A session's record contains the key, sealed by the store, so that a restarted host needs no other copy. `Debug` shows no
/// part of it.
///
/// ```
/// use tokenkeeper::grant::ClientKey;
///
/// let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"key-1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
/// let key = ClientKey::from_jwk(jwk)?;
/// # drop(key);
/// # Ok::<(), tokenkeeper::grant::ClientKeyError>(())
/// ```
#[derive(Clone)]
pub struct ClientKey {
    key: Key,
    key_id: Option<String>,
    audience: AssertionAudience,
}

/// The `aud` of a client assertion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The issuer identifier of the authorization server, as the sole value (draft-ietf-oauth-rfc7523bis).
    #[default]
    Issuer,
    /// The URL of the token endpoint (RFC 7523 section 3, item 3), for a server that expects it.
    TokenEndpoint,
    /// This text.
    Named(String),
}

/// A text that is no usable key. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no private key that can be used: give a P-256 or Ed25519 key, as PEM that begins with BEGIN PRIVATE KEY, or as \
     a JWK with its member d"
)]
pub struct ClientKeyError;

#[derive(Clone)]
enum Key {
    P256(Box<p256::SecretKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// The members of a JWK that are read (RFC 7517, RFC 8037). The public ones follow from the private one.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Jwk {
    kty: String,
    crv: String,
    d: String,
    #[serde(default)]
    kid: Option<String>,
}

/// The form in which a record keeps the key, in place of a secret. No member needs an escape.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Sealed {
    crv: String,
    d: String,
    kid: Option<String>,
    aud: Option<String>,
    at_endpoint: bool,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
}

/// The facts of one assertion.
pub(crate) struct Statement<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) token_endpoint: &'a str,
    pub(crate) now: WallTime,
    /// A new identifier for each request.
    pub(crate) id: u128,
}

impl ClientKey {
    /// The key in this PEM text (PKCS #8, `BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// [`ClientKeyError`] if the text is no key, or the key is of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, ClientKeyError> {
        let key = match p256::SecretKey::from_pkcs8_pem(pem) {
            Ok(key) => Key::P256(Box::new(key)),
            Err(_) => {
                Key::Ed25519(Box::new(ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| ClientKeyError)?))
            }
        };
        Ok(Self { key, key_id: None, audience: AssertionAudience::default() })
    }

    /// The key in this JWK (RFC 7517), with its `kid`, if it has one.
    ///
    /// # Errors
    ///
    /// [`ClientKeyError`] if the text is no key, or the key has no private part or is of another kind.
    pub fn from_jwk(jwk: &str) -> Result<Self, ClientKeyError> {
        let jwk: Jwk = serde_json::from_str(jwk).map_err(|_| ClientKeyError)?;
        if !matches!((jwk.kty.as_str(), jwk.crv.as_str()), ("EC", "P-256") | ("OKP", "Ed25519")) {
            return Err(ClientKeyError);
        }
        let key = Key::of(&jwk.crv, &jwk.d).ok_or(ClientKeyError)?;
        Ok(Self { key, key_id: jwk.kid.clone(), audience: AssertionAudience::default() })
    }

    /// The same key under this identifier, which the header of each assertion names (`kid`). Default: the identifier in the
    /// JWK, or none.
    #[must_use]
    pub fn key_id(self, key_id: impl Into<String>) -> Self {
        Self { key_id: Some(key_id.into()), ..self }
    }

    /// The same key, whose assertions are for this audience. Default: [`AssertionAudience::Issuer`].
    #[must_use]
    pub fn audience(self, audience: AssertionAudience) -> Self {
        Self { audience, ..self }
    }

    /// The stored form.
    pub(crate) fn sealed(&self) -> ClientSecret {
        let (crv, d) = match &self.key {
            Key::P256(key) => ("P-256", encoded(&Zeroizing::new(key.to_bytes()))),
            Key::Ed25519(key) => ("Ed25519", encoded(&Zeroizing::new(key.to_bytes())[..])),
        };
        let sealed = Sealed {
            crv: crv.to_owned(),
            d: d.to_string(),
            kid: self.key_id.clone(),
            aud: match &self.audience {
                AssertionAudience::Named(audience) => Some(audience.clone()),
                AssertionAudience::Issuer | AssertionAudience::TokenEndpoint => None,
            },
            at_endpoint: self.audience == AssertionAudience::TokenEndpoint,
        };
        // The struct has only plain members, so the conversion does not fail.
        ClientSecret::new(serde_json::to_string(&sealed).unwrap_or_default())
    }

    /// The key in a stored form.
    pub(crate) fn open(secret: &ClientSecret) -> Option<Self> {
        let sealed: Sealed = serde_json::from_str(secret.expose()).ok()?;
        let audience = match (&sealed.aud, sealed.at_endpoint) {
            (Some(audience), _) => AssertionAudience::Named(audience.clone()),
            (None, true) => AssertionAudience::TokenEndpoint,
            (None, false) => AssertionAudience::Issuer,
        };
        Some(Self { key: Key::of(&sealed.crv, &sealed.d)?, key_id: sealed.kid.clone(), audience })
    }

    /// An assertion (RFC 7523 section 3) for one request.
    pub(crate) fn assertion(&self, statement: &Statement<'_>) -> Option<Zeroizing<String>> {
        let algorithm = match &self.key {
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        };
        let issued = statement.now.as_millis() / 1_000;
        let claims = Claims {
            iss: statement.client_id,
            sub: statement.client_id,
            aud: match &self.audience {
                AssertionAudience::Issuer => statement.issuer,
                AssertionAudience::TokenEndpoint => statement.token_endpoint,
                AssertionAudience::Named(audience) => audience,
            },
            iat: issued,
            exp: issued.saturating_add(LIFETIME.as_secs()),
            jti: &format!("{:032x}", statement.id),
        };
        let header = Header { alg: algorithm, typ: "JWT", kid: self.key_id.as_deref() };
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let (header, claims) = (part(serde_json::to_vec(&header).ok()?), part(serde_json::to_vec(&claims).ok()?));
        let mut assertion = Zeroizing::new([header, claims].join("."));
        let signature = match &self.key {
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::SigningKey::from(key.as_ref()).sign(assertion.as_bytes());
                URL_SAFE_NO_PAD.encode(signature.to_bytes())
            }
            Key::Ed25519(key) => URL_SAFE_NO_PAD.encode(key.sign(assertion.as_bytes()).to_bytes()),
        };
        assertion.push('.');
        assertion.push_str(&signature);
        Some(assertion)
    }
}

impl Key {
    /// The key on the curve `crv` with the private part `d`, as a JWK has them.
    fn of(crv: &str, d: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(d).ok()?);
        match crv {
            "P-256" => p256::SecretKey::from_slice(&bytes).ok().map(|key| Self::P256(Box::new(key))),
            "Ed25519" => {
                let seed = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
                Some(Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))))
            }
            _ => None,
        }
    }
}

fn encoded(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes))
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey")
            .field("key_id", &self.key_id)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
