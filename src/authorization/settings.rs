//! How a host's logins are made.

use std::fmt;
use std::sync::Arc;

use tokenkeeper_actors::values::ServerIdentity;

use crate::Dpop;
use crate::discovery::{Discovery, DiscoveryError};
use crate::registration::Clients;

/// The host's configuration of the discovery.
type Configure = Arc<dyn Fn(Discovery) -> Result<Discovery, DiscoveryError> + Send + Sync>;

/// How the logins of a runtime are made: as which clients, with which metadata, and with which parameters.
///
/// The default registers a client where the authorization server allows it (RFC 7591), finds all metadata by discovery, and
/// adds no parameters.
///
/// ```no_run
/// # #[cfg(all(feature = "memory", feature = "reqwest"))]
/// # async fn host() -> Result<(), Box<dyn std::error::Error>> {
/// use tokenkeeper::issuers::Client;
/// use tokenkeeper::registration::Clients;
/// use tokenkeeper::{AuthRuntime, LoginSettings, stores};
///
/// let clients = Clients::default().pre_registered(
///     "https://as.example.com",
///     Client::public("our-host"),
///     ["http://127.0.0.1/callback"],
/// );
/// let settings = LoginSettings::default().clients(clients);
/// let auth = AuthRuntime::builder(stores::memory::open()?).login(settings).spawn().await?;
/// # drop(auth);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct LoginSettings {
    clients: Clients,
    discovery: Option<Configure>,
    parameters: Vec<(String, String)>,
    hints_account: bool,
    dpop: Dpop,
}

impl LoginSettings {
    /// The clients that logins use. Default: one is registered at each server that allows it.
    #[must_use]
    pub fn clients(self, clients: Clients) -> Self {
        Self { clients, ..self }
    }

    /// Configures where metadata is found, and which deviations are accepted, by the settings of [`Discovery`]. An error ends
    /// the building of the runtime. Default: metadata is found by discovery alone, and no deviation is accepted.
    #[must_use]
    pub fn discovery(
        self,
        configure: impl Fn(Discovery) -> Result<Discovery, DiscoveryError> + Send + Sync + 'static,
    ) -> Self {
        Self { discovery: Some(Arc::new(configure)), ..self }
    }

    /// A further parameter of every authorization request, such as `access_type`. It never replaces a parameter that the
    /// request has already. Default: none.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Sends the session's account label as `login_hint` (OpenID Connect Core section 3.1.2.1), if it contains an `@`. The
    /// server may then offer that account first. Default: no label leaves the host.
    #[must_use]
    pub fn hint_account(self) -> Self {
        Self { hints_account: true, ..self }
    }

    /// Whether logins ask for tokens that are bound to a key of the session (DPoP, RFC 9449). A session may be
    /// [opened](crate::SessionSpec::dpop) with another setting. Default: [`Dpop::Off`].
    #[must_use]
    pub fn dpop(self, dpop: Dpop) -> Self {
        Self { dpop, ..self }
    }

    pub(super) fn default_dpop(&self) -> Dpop {
        self.dpop
    }

    pub(super) fn configure(&self, discovery: Discovery) -> Result<Discovery, DiscoveryError> {
        match &self.discovery {
            Some(configure) => configure(discovery),
            None => Ok(discovery),
        }
    }

    pub(super) fn all_clients(&self) -> &Clients {
        &self.clients
    }

    pub(super) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    pub(super) fn hint<'a>(&self, identity: &'a ServerIdentity) -> Option<&'a str> {
        Some(identity.account().as_str()).filter(|label| self.hints_account && label.contains('@'))
    }
}

impl fmt::Debug for LoginSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A parameter's value may be a secret.
        let parameters: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("LoginSettings")
            .field("clients", &self.clients)
            .field("parameters", &parameters)
            .field("hints_account", &self.hints_account)
            .field("dpop", &self.dpop)
            .finish_non_exhaustive()
    }
}
