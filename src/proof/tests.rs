//! Proofs, checked by another implementation of the signature (ring) and by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::{AccessToken, DpopKey, Moment, WallTime};

use super::{ClockSkew, HtTarget, ProofError, ProofKey, Proofs, Proven, Role};

/// A clock that stands still.
#[derive(Debug)]
struct At(u64);

impl Clock for At {
    fn now(&self) -> Moment {
        Moment { wall: WallTime::from_millis(self.0), ..Moment::default() }
    }
}

fn proofs_at(millis: u64) -> Proofs {
    Proofs::new(Arc::new(At(millis)), Entropy::new().unwrap())
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// Header and claims of a proof whose signature is good.
fn verified(proof: &HeaderValue) -> (Value, Value) {
    assert!(proof.is_sensitive());
    let text = proof.to_str().unwrap();
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
    let member = |name: &str| decoded(header["jwk"][name].as_str().unwrap());
    let point = [vec![4], member("x"), member("y")].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &decoded(signature)).unwrap();
    (header, serde_json::from_slice(&decoded(claims)).unwrap())
}

fn key() -> ProofKey {
    ProofKey::open(&ProofKey::draw().unwrap()).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

proptest! {
    #[test]
    fn every_proof_is_of_its_request_and_signed_by_its_key(
        path in "(/[a-zA-Z0-9._~-]{0,12}){0,4}",
        query in "[a-zA-Z0-9=&]{0,20}",
        method in prop::sample::select(vec![Method::POST, Method::GET, Method::DELETE, Method::OPTIONS]),
        token in prop::option::of("[!-~]{1,200}"),
        nonce in prop::option::of("[!#-\\[\\]-~]{1,200}"),
        seconds in 0_u64..=4_000_000_000,
    ) {
        let (proofs, key) = (proofs_at(seconds * 1_000 + 999), key());
        let url = format!("https://mcp.example.com{path}");
        let target = HtTarget::of(&format!("{url}?{query}#part")).unwrap();
        let token = token.map(AccessToken::new);
        if let Some(nonce) = &nonce {
            proofs.heard_nonce(Role::Resource, &target, &headers(&[("dpop-nonce", nonce)]));
        }
        let proven = Proven { role: Role::Resource, method: &method, target: &target, token: token.as_ref(), nonce: None };
        let (one, two) = (proofs.proof(&key, proven).unwrap(), proofs.proof(&key, proven).unwrap());
        let ((header, claims), (_, again)) = (verified(&one), verified(&two));
        prop_assert_eq!(&header["typ"], "dpop+jwt");
        prop_assert_eq!(&header["alg"], "ES256");
        prop_assert_eq!(header["jwk"].as_object().unwrap().keys().collect::<Vec<_>>(), ["crv", "kty", "x", "y"]);
        let thumbprint = Sha256::digest(header["jwk"].to_string());
        prop_assert_eq!(key.thumbprint(), URL_SAFE_NO_PAD.encode(thumbprint));
        prop_assert_ne!(&claims["jti"], &again["jti"]);
        let digest = token.map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose())));
        let htu = if path.is_empty() { format!("{url}/") } else { url::Url::parse(&url).unwrap().to_string() };
        let mut expected = json!({ "jti": claims["jti"], "htm": method.as_str(), "htu": htu, "iat": seconds });
        expected.as_object_mut().unwrap().extend(digest.map(|digest| ("ath".to_owned(), digest.into())));
        expected.as_object_mut().unwrap().extend(nonce.map(|nonce| ("nonce".to_owned(), nonce.into())));
        prop_assert_eq!(claims, expected);
    }
}

/// The key of RFC 9449 section 4.1, with the thumbprint of section 6.1.
#[test]
fn the_thumbprint_is_the_one_of_the_rfc() {
    let jwk = r#"{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","d":"0g5vAEKzugrXaRbgKG0Tj2qJ5lMP4Bezds1_sTybkfk"}"#;
    // The RFC publishes no private key, so this one is another. The public members of the JWK are ignored.
    assert_ne!(ProofKey::open(&DpopKey::new(jwk)).unwrap().thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    let public = r#"{"crv":"P-256","kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(public)), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn a_key_is_kept_and_shown_nowhere() {
    let stored = ProofKey::draw().unwrap();
    let (key, again) = (ProofKey::open(&stored).unwrap(), ProofKey::open(&stored).unwrap());
    assert_eq!(key.thumbprint(), again.thumbprint());
    assert_eq!(format!("{key:?}"), "ProofKey { .. }");
    let all: BTreeSet<_> = (0..16).map(|_| self::key().thumbprint()).collect();
    assert_eq!(all.len(), 16);
    let jwk: Value = serde_json::from_str(stored.expose()).unwrap();
    assert_eq!(jwk.as_object().unwrap().keys().collect::<Vec<_>>(), ["crv", "d", "kty"]);
}

#[test]
fn a_text_that_is_no_key_is_none() {
    let zero = format!(r#"{{"kty":"EC","crv":"P-256","d":"{}"}}"#, URL_SAFE_NO_PAD.encode([0; 32]));
    let other = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
    let public = r#"{"kty":"EC","crv":"P-256","x":"a","y":"b"}"#;
    for text in ["", "{}", "key", public, &zero, other, "-----BEGIN PRIVATE KEY-----"] {
        assert!(ProofKey::open(&DpopKey::new(text)).is_none(), "{text}");
    }
}

#[test]
fn nonces_of_two_parts_and_of_two_servers_are_kept_apart() {
    let (proofs, key) = (proofs_at(0), key());
    let (one, two) = (HtTarget::of("https://a.example/token").unwrap(), HtTarget::of("https://b.example/").unwrap());
    for (role, target, nonce) in [
        (Role::Authorization, &one, "a-server"),
        (Role::Resource, &one, "a-resource"),
        (Role::Resource, &two, "b-resource"),
    ] {
        assert!(proofs.heard_nonce(role, target, &headers(&[("dpop-nonce", nonce)])).is_some());
    }
    let nonce_of = |role, url: &str| {
        let target = HtTarget::of(url).unwrap();
        let proven = Proven { role, method: &Method::POST, target: &target, token: None, nonce: None };
        verified(&proofs.proof(&key, proven).unwrap()).1["nonce"].clone()
    };
    assert_eq!(nonce_of(Role::Authorization, "https://a.example/other"), "a-server");
    assert_eq!(nonce_of(Role::Resource, "https://a.example/mcp"), "a-resource");
    assert_eq!(nonce_of(Role::Resource, "https://b.example/mcp"), "b-resource");
    assert_eq!(nonce_of(Role::Authorization, "https://b.example/mcp"), Value::Null);
    assert_eq!(nonce_of(Role::Resource, "https://a.example:8443/mcp"), Value::Null);
    for odd in ["", "a b", "a\"b", "a\\b", &"n".repeat(2_049)] {
        assert_eq!(proofs.heard_nonce(Role::Resource, &two, &headers(&[("dpop-nonce", odd)])), None, "{odd}");
    }
    assert_eq!(nonce_of(Role::Resource, "https://b.example/mcp"), "b-resource");
}

#[test]
fn proofs_are_dated_by_the_clock_of_their_server() {
    let target = HtTarget::of("https://a.example/token").unwrap();
    let (proofs, key) = (proofs_at(784_111_777_000), key());
    let hears = |date: &str| proofs.heard_date(Role::Authorization, &target, &headers(&[("date", date)]));
    let dated = || {
        let (role, method) = (Role::Authorization, &Method::POST);
        let proven = Proven { role, method, target: &target, token: None, nonce: None };
        verified(&proofs.proof(&key, proven).unwrap()).1["iat"].as_u64().unwrap() - 784_111_777
    };
    assert!(!hears("Sun, 06 Nov 1994 08:49:42 GMT"), "a difference of five seconds is not corrected");
    assert!(!hears("yesterday"));
    assert_eq!((dated(), proofs.skew(Role::Authorization, &target)), (0, None));
    assert!(hears("Sun, 06 Nov 1994 08:59:37 GMT"));
    assert!(!hears("Sun, 06 Nov 1994 08:59:38 GMT"));
    assert_eq!((dated(), proofs.skew(Role::Authorization, &target).unwrap().seconds()), (601, 601));
    assert_eq!(proofs.skew(Role::Resource, &target), None);
    assert!(hears("Sun, 06 Nov 1994 08:49:38 GMT"));
    assert_eq!(dated(), 0);
}

#[test]
fn errors_name_the_difference_between_the_clocks() {
    let skew = |ours, theirs| ClockSkew::between(WallTime::from_millis(ours), WallTime::from_millis(theirs));
    assert_eq!(skew(0, 600_000).unwrap().to_string(), "this machine's clock is 600 s behind the server's");
    assert_eq!(skew(600_000, 0).unwrap().to_string(), "this machine's clock is 600 s ahead of the server's");
    let refused = ProofError::Refused { skew: skew(0, 600_000) }.to_string();
    assert!(
        refused.ends_with(
            "(DPoP), and this machine's clock is 600 s behind the server's: correct the clock that is wrong"
        )
    );
}

#[test]
fn a_url_with_a_user_or_without_a_host_has_no_proof() {
    for url in ["https://user@a.example/mcp", "data:text/plain,x", "mcp", ""] {
        assert_eq!(HtTarget::of(url), None, "{url}");
    }
    let normal = HtTarget::of("HTTPS://A.example:443/a/../mcp?x=1").unwrap();
    assert_eq!((normal.htu(), normal.origin()), ("https://a.example/mcp", "https://a.example"));
}
