//! The client registration that a host uses at an authorization server.

use std::time::SystemTime;

use tokenkeeper_actors::values::record::{self, ClientAuth};

use crate::ClientSecret;
#[cfg(feature = "assertions")]
use crate::grant::ClientKey;

/// A client registration at one authorization server (RFC 6749 section 2).
///
/// How the client authenticates at the token endpoint is part of the registration. Other methods are never tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client(record::Client);

impl Client {
    /// A public client, which sends its identifier and no secret (`token_endpoint_auth_method` `none`).
    pub fn public(id: impl Into<String>) -> Self {
        Self::with(id, None, ClientAuth::None)
    }

    /// A confidential client that authenticates by HTTP Basic (`client_secret_basic`).
    pub fn secret_basic(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self::with(id, Some(secret.into()), ClientAuth::Basic)
    }

    /// A confidential client that sends its secret in the body (`client_secret_post`).
    pub fn secret_post(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self::with(id, Some(secret.into()), ClientAuth::Post)
    }

    /// A confidential client that signs an assertion with its private key for each request (`private_key_jwt`, RFC 7523
    /// section 2.2). Feature `assertions`.
    #[cfg(feature = "assertions")]
    pub fn private_key_jwt(id: impl Into<String>, key: &ClientKey) -> Self {
        // The record keeps the private key in the place of the secret.
        Self::with(id, Some(key.sealed()), ClientAuth::PrivateKeyJwt)
    }

    /// The same client, whose secret expires at `time` (`client_secret_expires_at`, RFC 7591 section 3.2.1). Default: it
    /// does not expire.
    #[must_use]
    pub fn secret_expires_at(mut self, time: SystemTime) -> Self {
        self.0.secret_expires_at = Some(time.into());
        self
    }

    /// The client identifier.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    fn with(id: impl Into<String>, secret: Option<ClientSecret>, auth: ClientAuth) -> Self {
        Self(record::Client { id: id.into(), secret, auth, secret_expires_at: None })
    }
}

/// The registered name of an authentication method (RFC 7591 section 2).
pub(crate) fn auth_method_name(auth: ClientAuth) -> &'static str {
    match auth {
        ClientAuth::None => "none",
        ClientAuth::Basic => "client_secret_basic",
        ClientAuth::Post => "client_secret_post",
        ClientAuth::PrivateKeyJwt => "private_key_jwt",
    }
}

/// The authentication method with this name.
pub(crate) fn auth_method_of(word: &str) -> Option<ClientAuth> {
    let all = [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post, ClientAuth::PrivateKeyJwt];
    all.into_iter().find(|auth| auth_method_name(*auth) == word)
}

impl From<Client> for record::Client {
    fn from(client: Client) -> Self {
        client.0
    }
}

/// Converts registrations that a store or the testkit already holds.
impl From<record::Client> for Client {
    fn from(client: record::Client) -> Self {
        Self(client)
    }
}
