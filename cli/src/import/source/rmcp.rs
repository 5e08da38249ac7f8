//! The `StoredCredentials` of rmcp's `CredentialStore`, as JSON.
//!
//! This follows the code of rmcp 3.11. Each program that uses rmcp keeps them in a place of its own.

use serde::Deserialize;
use serde_json::Number;
use zeroize::Zeroizing;

use super::{Input, Taken, Wanted, absent};
use crate::failure::Failure;
use crate::import::bundle::{Bundle, Scope, Time};

/// `StoredCredentials`. Members that rmcp added later are optional.
#[derive(Deserialize)]
pub(super) struct Stored {
    client_id: String,
    token_response: Option<TokenResponse>,
    #[serde(default)]
    granted_scopes: Vec<String>,
    /// The time in seconds since 1970.
    token_received_at: Option<u64>,
    issuer: Option<String>,
}

/// A token response (RFC 6749 section 5.1).
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) access_token: Zeroizing<String>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    /// The lifetime in seconds.
    expires_in: Option<u64>,
    pub(super) scope: Option<String>,
}

pub(super) fn take(wanted: &Wanted<'_>) -> Result<Taken, Failure> {
    let Some(path) = wanted.path else {
        return Err(Failure::Usage(
            "name the file with the program's StoredCredentials as JSON with --path (- for standard input)".to_owned(),
        ));
    };
    let gone = || absent(format!("there is no file {}", path.display()), "name another one with --path");
    let input = Input::read(path)?.ok_or_else(gone)?;
    input.json::<Stored>("a program that uses rmcp")?.taken(input.place)
}

impl Stored {
    /// The login. The access token is taken only if its expiry is known, or if there is no refresh token.
    pub(super) fn taken(self, place: String) -> Result<Taken, Failure> {
        let Some(tokens) = self.token_response else {
            return Err(absent(format!("{place} has a client and no tokens"), "sign in with tokenkeeper login"));
        };
        let end = self.token_received_at.zip(tokens.expires_in).map(|(received, span)| received.saturating_add(span));
        let is_kept = end.is_some() || tokens.refresh_token.is_none();
        let scope = if self.granted_scopes.is_empty() {
            tokens.scope.map(Scope::Text)
        } else {
            Some(Scope::List(self.granted_scopes))
        };
        let bundle = Bundle {
            client_id: Some(self.client_id),
            scope,
            refresh_token: tokens.refresh_token,
            access_token: is_kept.then_some(tokens.access_token),
            expires_at: end.map(|end| Time::Seconds(Number::from(end))),
            ..Bundle::default()
        };
        Ok(Taken { bundle, issuer: self.issuer, place })
    }
}
