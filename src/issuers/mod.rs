//! Authorization servers: where each is reached, as which client, and how it differs from the standard.
//!
//! [`IssuerSettings`] is all that a login needs to know of one server. [`providers`] lists the servers whose
//! differences are known, each with its profile (what an answer means for the refresh token) and its dialect (how a
//! request is written). A login stores the provider's name in the session's record, so every process that opens the
//! session later treats the server in the same way.

mod client;
mod dialect;
pub mod providers;

use tokenkeeper_actors::values::record::{Binding, Issuer};

pub use client::Client;
pub(crate) use client::{auth_method_name, auth_method_of};
pub use dialect::{Dialect, ResourceOnRefresh, RevocationForm, ScopeOnRefresh};

use crate::grant::may_receive_secrets;
use crate::{LoginError, ProviderName, RenewalPlan, ResourceUri};

/// One authorization server, as a host is registered there.
///
/// ```
/// use tokenkeeper::issuers::{Client, IssuerSettings};
///
/// let client = Client::secret_basic("our-host", "its secret");
/// let notion = IssuerSettings::new("https://mcp.notion.com", "https://mcp.notion.com/token", client)?
///     .revocation_endpoint("https://mcp.notion.com/revoke")?
///     .provider("notion")?;
/// # drop(notion);
/// # Ok::<(), tokenkeeper::LoginError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    issuer: String,
    client: Client,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    resource: Resource,
    renewal: RenewalPlan,
}

/// The `resource` parameter of token requests (RFC 8707).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Resource {
    /// The canonical URI of the session's MCP server, without its query.
    #[default]
    OfSession,
    /// This text.
    Named(String),
    /// The parameter is not sent.
    None,
}

impl IssuerSettings {
    /// The server with the issuer identifier `issuer` (RFC 8414 section 2), whose tokens are requested at
    /// `token_endpoint` as `client`.
    ///
    /// # Errors
    ///
    /// [`LoginError::Endpoint`] if a URL is neither `https` nor `http` on loopback, carries credentials or a fragment, or
    /// is not exact ([`ResourceUri::parse`]).
    pub fn new(
        issuer: impl Into<String>,
        token_endpoint: impl Into<String>,
        client: Client,
    ) -> Result<Self, LoginError> {
        Ok(Self {
            issuer: checked(issuer, "issuer")?,
            client,
            token_endpoint: checked(token_endpoint, "token endpoint")?,
            revocation_endpoint: None,
            resource: Resource::default(),
            renewal: RenewalPlan::default(),
        })
    }

    /// The same server, with a revocation endpoint at `url` (RFC 7009). Default: none, so no token is revoked there.
    ///
    /// # Errors
    ///
    /// [`LoginError::Endpoint`], as for [`new`](Self::new).
    pub fn revocation_endpoint(self, url: impl Into<String>) -> Result<Self, LoginError> {
        Ok(Self { revocation_endpoint: Some(checked(url, "revocation endpoint")?), ..self })
    }

    /// The same server, with this `resource` in every token request (RFC 8707), sent exactly as given. Default: the
    /// canonical URI of the session's MCP server without its query, because a query may hold a key that is meant for the
    /// resource alone. If the resource's metadata names a URI with a query (RFC 9728 section 2, `resource`), give that
    /// whole URI.
    #[must_use]
    pub fn resource(self, resource: impl Into<String>) -> Self {
        Self { resource: Resource::Named(resource.into()), ..self }
    }

    /// The same server, whose token requests have no `resource`, because it does not know the parameter or refuses it.
    #[must_use]
    pub fn without_resource(self) -> Self {
        Self { resource: Resource::None, ..self }
    }

    /// The same server under the profile and dialect of this provider, whose name is looked up in the runtime's table
    /// ([`providers`]). Default: the [default profile](providers::default_profile) and the standard's dialect. A runtime
    /// that does not know the name presents no refresh token a second time after a lost answer, because a second use may
    /// end more than one session there.
    ///
    /// # Errors
    ///
    /// [`LoginError::Provider`] if no provider can have this name.
    pub fn provider(mut self, name: &str) -> Result<Self, LoginError> {
        self.renewal.provider = Some(ProviderName::new(name.to_owned()).map_err(|_| LoginError::Provider)?);
        Ok(self)
    }

    /// The same server, as an identity provider. The session's lease is then the ID token, and a refresh brings the next one
    /// ([`machine`](crate::machine)). Default: the lease is the access token.
    #[must_use]
    pub fn identity_provider(mut self) -> Self {
        self.renewal.source = crate::machine::idp_session();
        self
    }

    /// The same server, as an identity provider that takes its refresh token as the subject of an exchange, in place of an ID
    /// token. Each exchange spends the refresh token like a refresh, and the server may replace it. The session makes no other
    /// use of the refresh token, so the session's own lease is of no use to a host. Default: the lease is the access token.
    #[must_use]
    pub fn identity_provider_without_id_token(mut self) -> Self {
        self.renewal.source = crate::machine::idp_refresh_token();
        self
    }

    /// Whether the session's lease is the ID token.
    pub(crate) fn is_identity_provider(&self) -> bool {
        self.renewal.source == crate::machine::idp_session()
    }

    /// The same server, where a refresh token whose answer was lost is never presented again. The session then asks for a
    /// login. Default: the provider's profile decides. Without a provider, such a token is presented again.
    #[must_use]
    pub fn never_replay(mut self) -> Self {
        self.renewal.never_replay = true;
        self
    }

    /// The same server, whose URLs the MCP server has named. Requests to these URLs connect only to addresses that a login by
    /// discovery would connect to. Default: the host or the person has named the URLs, and their addresses are not restricted.
    #[must_use]
    pub fn server_named(mut self) -> Self {
        self.renewal.server_named = true;
        self
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The binding and the renewal plan of a login at this server, for a session with the MCP server `server`.
    pub(crate) fn bind(self, server: Option<&ResourceUri>) -> (Binding, RenewalPlan) {
        let resource = match self.resource {
            Resource::OfSession => server.map(|server| server.without_query().to_owned()),
            Resource::Named(resource) => Some(resource),
            Resource::None => None,
        };
        let binding = Binding {
            issuer: Issuer(self.issuer),
            client: self.client.into(),
            token_endpoint: self.token_endpoint,
            revocation_endpoint: self.revocation_endpoint,
            resource,
        };
        (binding, self.renewal)
    }
}

/// Converts bindings that a store or the testkit already holds.
impl From<Binding> for IssuerSettings {
    fn from(binding: Binding) -> Self {
        Self {
            issuer: binding.issuer.0,
            client: binding.client.into(),
            token_endpoint: binding.token_endpoint,
            revocation_endpoint: binding.revocation_endpoint,
            resource: binding.resource.map_or_else(Resource::default, Resource::Named),
            renewal: RenewalPlan::default(),
        }
    }
}

/// The URL `url`, if secrets may be sent to it. `member` names it in the error.
fn checked(url: impl Into<String>, member: &'static str) -> Result<String, LoginError> {
    let url = url.into();
    if may_receive_secrets(&url) { Ok(url) } else { Err(LoginError::Endpoint { member }) }
}
