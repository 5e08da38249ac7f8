//! Arbitrary answers of a registration endpoint. The first byte is the status, the rest is the body.
//!
//! A client that a straightforward reader finds must be read, and nothing else may pass for one. Texts that are shown must be
//! plain.
#![no_main]

use http::{Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tokenkeeper::engine::values::is_plain;
use tokenkeeper::http::Body;
use tokenkeeper::registration::{RegistrationAnswer, read_registration};

const MEMBERS: [&str; 12] = [
    "client_id",
    "client_secret",
    "client_secret_expires_at",
    "token_endpoint_auth_method",
    "redirect_uris",
    "grant_types",
    "scope",
    "application_type",
    "registration_access_token",
    "registration_client_uri",
    "error",
    "error_description",
];

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let status = [200, 201, 201, 204, 302, 400, 401, 500][usize::from(first % 8)];
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    let due = straightforward(body);
    match read_registration(&answer) {
        RegistrationAnswer::Registered(client) => {
            assert!(matches!(status, 200 | 201));
            assert!(is_sendable(&client.client_id));
            assert!(client.client_secret.as_ref().is_none_or(|secret| is_sendable(secret.expose())));
            if let Some((id, secret)) = due {
                assert_eq!(client.client_id, id);
                assert_eq!(client.client_secret.map(|secret| secret.expose().to_owned()), secret);
            }
        }
        RegistrationAnswer::Refused(refusal) => {
            assert!(!matches!(status, 200 | 201) && refusal.status == status);
            assert!(refusal.error.is_none_or(|word| (1..=64).contains(&word.len()) && word.is_ascii()));
            let is_shown = |text: String| text.chars().all(|c| is_plain(c) || c == '…') && text.chars().count() <= 200;
            assert!(refusal.description.is_none_or(is_shown));
        }
        RegistrationAnswer::Unreadable => assert!(matches!(status, 200 | 201) && due.is_none()),
        other => panic!("{other:?}"),
    }
});

/// The identifier and the secret, if a plain reading of the object finds sendable ones and no member occurs twice.
fn straightforward(body: &[u8]) -> Option<(String, Option<String>)> {
    let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    // An object with a member twice is unreadable, and this reader does not see that.
    let text = String::from_utf8_lossy(body);
    if text.contains('\\') || MEMBERS.iter().any(|name| text.matches(&format!("\"{name}\"")).count() > 1) {
        return None;
    }
    let id = object.get("client_id")?.as_str()?.to_owned();
    let secret = match object.get("client_secret") {
        Some(Value::String(secret)) if !secret.is_empty() => Some(secret.clone()),
        _ => None,
    };
    let usable = id.len() <= 2_048 && is_sendable(&id) && secret.as_deref().is_none_or(is_sendable);
    usable.then_some((id, secret))
}

fn is_sendable(text: &str) -> bool {
    !text.trim().is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}
