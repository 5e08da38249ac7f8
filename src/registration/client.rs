//! The request for a client, and the client that it gets.

use tokenkeeper_actors::values::ServerIdentity;
use tokenkeeper_actors::values::issuer::{IssuerKey, RegistrationOrigin};
use tokenkeeper_actors::values::record::Client;

use crate::discovery::AuthorizationServer;
use crate::http::Reach;

/// A login that wants a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The authorization server.
    pub(crate) server: &'a AuthorizationServer,
    /// The identity that signs in.
    pub(crate) identity: &'a ServerIdentity,
    /// The redirect address with its port, or `None` for a device login.
    pub(crate) redirect: Option<&'a str>,
    /// The addresses that endpoints may lead to.
    pub(crate) reach: Reach,
}

/// A client for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    /// The client.
    pub(crate) client: Client,
    /// The redirect address that the login must use. It may be the wanted one under another name of the loopback
    /// (`localhost` for `127.0.0.1`), on the same port. `None` for a device login.
    pub(crate) redirect_uri: Option<String>,
    /// How the client was registered.
    pub(crate) origin: RegistrationOrigin,
    /// The key of the stored registration. `None` for a client that the host has configured, and not registered dynamically.
    pub(crate) key: Option<IssuerKey>,
    /// Whether this is the dynamic registration of an earlier login, which the server may have forgotten.
    pub(crate) is_reused: bool,
}
