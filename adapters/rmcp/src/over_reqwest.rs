//! The adapter's own reqwest client.

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Error};
use tokenkeeper::AuthSession;

use crate::SessionClient;

impl SessionClient<Client> {
    /// A client over a new reqwest client, with reqwest's defaults, which pools connections (feature `reqwest`).
    ///
    /// It follows only redirects with status 307 or 308 to the session's own server (`tokenkeeper::http::redirects`), and
    /// sends the token and the MCP session along these. It keeps no cookies. It has no time-out, because a stream of events
    /// stays open. rmcp's request options bound a call.
    ///
    /// # Errors
    ///
    /// reqwest's [`Error`] if the client cannot be built, for example without a TLS provider.
    pub fn new(session: AuthSession) -> Result<Self, Error> {
        Self::with(session, |builder| builder)
    }

    /// Like [`new`](Self::new), with a builder that `configure` changes. The redirect policy is set after `configure`.
    ///
    /// A cookie store is safe, because all requests go to one server.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with(session: AuthSession, configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Self, Error> {
        // A session without an MCP server sends nothing.
        let policy = session.identity().resource().map_or_else(Policy::none, tokenkeeper::http::redirects);
        Ok(Self::over(configure(Client::builder()).redirect(policy).build()?, session))
    }
}
