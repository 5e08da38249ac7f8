//! The client registration that a host uses at an authorization server.

use std::time::SystemTime;

use tokenkeeper_actors::values::record::{self, ClientAuth};

use crate::ClientSecret;

/// A client registration at one authorization server (RFC 6749 section 2).
///
/// How the client authenticates at the token endpoint is part of the registration and never probed.
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

    /// The same client, whose secret ends at `time` (`client_secret_expires_at`, RFC 7591 section 3.2.1). Default: it
    /// does not end.
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

impl From<Client> for record::Client {
    fn from(client: Client) -> Self {
        client.0
    }
}

/// For registrations that a store or the testkit already holds.
impl From<record::Client> for Client {
    fn from(client: record::Client) -> Self {
        Self(client)
    }
}
