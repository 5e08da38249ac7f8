use ed25519_dalek::Verifier as _;

use super::*;

/// The example of RFC 8037 appendix A.1.
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"key-1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// The example of RFC 7515 appendix A.3.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

fn statement() -> Statement<'static> {
    Statement {
        client_id: "robot",
        issuer: "https://as.example.com",
        token_endpoint: "https://as.example.com/token",
        now: WallTime::from_millis(1_700_000_000_999),
        id: 7,
    }
}

/// The header, the claims, and the rest of an assertion.
fn parts(assertion: &str) -> (serde_json::Value, serde_json::Value, String, Vec<u8>) {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims), signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[test]
fn an_assertion_states_who_the_client_is() {
    let assertion = ClientKey::from_jwk(ED25519).unwrap().assertion(&statement()).unwrap();
    let (header, claims, signed, signature) = parts(&assertion);
    assert_eq!(header, serde_json::json!({ "alg": "EdDSA", "typ": "JWT", "kid": "key-1" }));
    let wanted = serde_json::json!({
        "iss": "robot", "sub": "robot", "aud": "https://as.example.com", "iat": 1_700_000_000, "exp": 1_700_000_120,
        "jti": "00000000000000000000000000000007",
    });
    assert_eq!(claims, wanted);
    let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let public = ed25519_dalek::VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    assert!(public.verify(signed.as_bytes(), &signature).is_ok());
}

#[test]
fn a_p256_key_signs_as_es256() {
    let assertion = ClientKey::from_jwk(P256).unwrap().key_id("k").assertion(&statement()).unwrap();
    let (header, _, signed, signature) = parts(&assertion);
    assert_eq!((&header["alg"], &header["kid"]), (&"ES256".into(), &"k".into()));
    let d = URL_SAFE_NO_PAD.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap();
    let public = p256::ecdsa::VerifyingKey::from(&p256::ecdsa::SigningKey::from_slice(&d).unwrap());
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    assert!(p256::ecdsa::signature::Verifier::verify(&public, signed.as_bytes(), &signature).is_ok());
}

#[test]
fn the_audience_is_the_issuer_unless_the_host_says_otherwise() {
    let audience = |audience| {
        let key = ClientKey::from_jwk(P256).unwrap().audience(audience);
        let opened = ClientKey::open(&key.sealed()).unwrap();
        parts(&opened.assertion(&statement()).unwrap()).1["aud"].as_str().unwrap().to_owned()
    };
    assert_eq!(audience(AssertionAudience::Issuer), "https://as.example.com");
    assert_eq!(audience(AssertionAudience::TokenEndpoint), "https://as.example.com/token");
    assert_eq!(audience(AssertionAudience::Named("https://other.example".to_owned())), "https://other.example");
}

#[test]
fn a_stored_key_is_the_same_key() {
    for jwk in [ED25519, P256] {
        let key = ClientKey::from_jwk(jwk).unwrap();
        let opened = ClientKey::open(&key.sealed()).unwrap();
        assert_eq!((opened.sealed(), &opened.key_id), (key.sealed(), &key.key_id));
        assert!(!key.sealed().expose().contains('\\'));
    }
}

#[test]
fn a_key_of_pem_signs_like_the_same_key_of_a_jwk() {
    use p256::pkcs8::EncodePrivateKey as _;
    let d = URL_SAFE_NO_PAD.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap();
    let pem = p256::SecretKey::from_slice(&d).unwrap().to_pkcs8_pem(p256::pkcs8::LineEnding::LF).unwrap();
    let assertion = |key: ClientKey| key.assertion(&statement()).unwrap();
    assert_eq!(assertion(ClientKey::from_pem(&pem).unwrap()), assertion(ClientKey::from_jwk(P256).unwrap()));
    // RFC 8410 section 10.3.
    let ed25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    assert_eq!(parts(&assertion(ClientKey::from_pem(ed25519).unwrap())).0["alg"], "EdDSA");
}

#[test]
fn other_text_is_no_key_and_is_not_repeated() {
    let public = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for text in ["", "{}", public, &ED25519.replace("Ed25519", "X25519"), &P256.replace("jpsQ", "jp")] {
        assert!(ClientKey::from_jwk(text).is_err(), "{text}");
    }
    for text in ["", "hush", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let error = ClientKey::from_pem(text).unwrap_err();
        assert!(!error.to_string().contains("AAAA") && !error.to_string().contains("hush"), "{error}");
    }
    let key = ClientKey::from_jwk(P256).unwrap();
    assert!(!format!("{key:?} {:?}", key.sealed()).contains("jpsQ"));
}
