//! The machine grant, which describes how a session obtains its tokens without a login of a person.

use std::fmt;

use tokenkeeper_actors::values::record::{Binding, Client as RegisteredClient};
use tokenkeeper_actors::values::{AccessToken, Scopes, ServerIdentity};

use super::command::ExecCommand;
use super::kinds::Kind;
use super::subject::{SubjectToken, TokenType};
use crate::grant::{ID_JAG, Wanted, may_receive_secrets};
use crate::issuers::Client;
use crate::{LoginError, SourceName};

/// The way in which a session obtains its tokens without a login of a person at its server.
///
/// It is plain data. [`plan`](Self::plan) is the form in which a session and its record carry it. `Debug` shows no
/// credential.
#[derive(Clone, PartialEq)]
pub struct MachineGrant {
    pub(super) kind: Kind,
    /// The client at the session's authorization server.
    pub(super) client: RegisteredClient,
    pub(super) scopes: Scopes,
    /// The authorization server, if it is not discovered.
    pub(super) server: Option<NamedServer>,
    /// The issuer that a discovery must find.
    pub(super) issuer: Option<String>,
    /// Whether requests name the session's MCP server (RFC 8707).
    pub(super) sends_resource: bool,
    /// Further parameters of the token request.
    pub(super) parameters: Vec<(String, String)>,
    /// Whether the tokens are bound to a key of the session.
    pub(super) binds: bool,
}

/// An authorization server that the host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedServer {
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
}

impl MachineGrant {
    fn of(kind: Kind, client: Client) -> Self {
        let (scopes, parameters) = (Scopes::default(), Vec::new());
        let (client, server, issuer) = (client.into(), None, None);
        Self { kind, client, scopes, server, issuer, sends_resource: true, parameters, binds: false }
    }

    /// Client credentials (RFC 6749 section 4.4). The client must be a confidential one that is registered already.
    pub fn client_credentials(client: Client) -> Self {
        Self::of(Kind::ClientCredentials, client)
    }

    /// A JWT bearer grant (RFC 7523 section 2.1) with a workload's own token, such as a projected token of Kubernetes. No
    /// client authenticates, unless [`client`](Self::client) names one.
    pub fn jwt_bearer(assertion: SubjectToken) -> Self {
        Self::of(Kind::JwtBearer(assertion), Client::public(""))
    }

    /// A token exchange (RFC 8693) of `subject`, which is a token of this type. If the expiry of the subject is known, the
    /// session's token never outlives it.
    pub fn token_exchange(subject: SubjectToken, kind: TokenType) -> Self {
        Self::of(Kind::TokenExchange { subject: (subject, kind), actor: None, audience: None }, Client::public(""))
    }

    /// Enterprise-managed authorization, in which the identity provider issues an assertion (ID-JAG) for the MCP server's
    /// authorization server. `idp` is the session at the identity provider, and `client` is registered at that authorization
    /// server.
    pub fn enterprise(idp: ServerIdentity, client: Client) -> Self {
        Self::of(Kind::Enterprise { idp }, client)
    }

    /// The token that a command prints.
    pub fn command(command: ExecCommand) -> Self {
        Self::of(Kind::Command(command), Client::public(""))
    }

    /// A token that never changes, such as a personal access token. It is used until the server refuses it.
    pub fn static_token(token: impl Into<AccessToken>) -> Self {
        Self::of(Kind::Static(token.into()), Client::public(""))
    }

    /// The same grant with this client, which authenticates by its own method. Default: the client that the grant was made
    /// with, or none.
    #[must_use]
    pub fn client(self, client: Client) -> Self {
        Self { client: client.into(), ..self }
    }

    /// The same grant, which asks for these scopes. Default: no scopes, so that the server decides.
    #[must_use]
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scopes: Scopes::new(scopes), ..self }
    }

    /// The same exchange on behalf of the subject by this actor (RFC 8693 section 2.1, `actor_token`). Default: none. Other
    /// grants have no actor.
    #[must_use]
    pub fn actor(mut self, token: SubjectToken, kind: TokenType) -> Self {
        if let Kind::TokenExchange { actor, .. } = &mut self.kind {
            *actor = Some((token, kind));
        }
        self
    }

    /// The same exchange for this audience (RFC 8693 section 2.1). Default: none. Other grants have no audience. An
    /// enterprise-managed authorization always uses the server's issuer as its audience.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        if let Kind::TokenExchange { audience: named, .. } = &mut self.kind {
            *named = Some(audience.into());
        }
        self
    }

    /// The same grant at the authorization server `issuer`, with token requests to `token_endpoint`. Default: the server is
    /// discovered from the session's MCP server. A session without an MCP server needs this setting.
    ///
    /// # Errors
    ///
    /// [`LoginError::Endpoint`] unless both are exact `https` URLs, or `http` on loopback.
    pub fn at(self, issuer: impl Into<String>, token_endpoint: impl Into<String>) -> Result<Self, LoginError> {
        let server = NamedServer { issuer: issuer.into(), token_endpoint: token_endpoint.into() };
        for (url, member) in [(&server.issuer, "issuer"), (&server.token_endpoint, "token endpoint")] {
            if !may_receive_secrets(url) {
                return Err(LoginError::Endpoint { member });
            }
        }
        Ok(Self { server: Some(server), ..self })
    }

    /// The same grant for the authorization server `issuer` only, whose metadata is discovered. A client belongs to one issuer
    /// (law 23), so its credentials never go to another issuer that the MCP server lists later. Default: the first issuer that
    /// is discovered.
    #[must_use]
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()), ..self }
    }

    /// The same grant, whose requests do not name the session's MCP server (RFC 8707), because its authorization server
    /// refuses the parameter. Default: they name it.
    #[must_use]
    pub fn without_resource(self) -> Self {
        Self { sends_resource: false, ..self }
    }

    /// The same grant with a further parameter of its token request. It never replaces a parameter of the request itself. For
    /// example, Entra ID wants `requested_token_use=on_behalf_of` in a JWT bearer grant. Default: none.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// The parameters of the exchange for an identity assertion authorization grant (ID-JAG) for the authorization server of
    /// `binding`, without the parameters of the subject.
    pub(super) fn id_jag(&self, binding: &Binding) -> Wanted {
        let mut wanted = vec![("requested_token_type", ID_JAG.to_owned()), ("audience", binding.issuer.0.clone())];
        wanted.extend(binding.resource.clone().map(|resource| ("resource", resource)));
        wanted.extend(self.scope().map(|scope| ("scope", scope)));
        wanted
    }

    /// The `scope` of a request, if it has one.
    pub(super) fn scope(&self) -> Option<String> {
        Some(self.scopes.iter().collect::<Vec<_>>().join(" ")).filter(|scope| !scope.is_empty())
    }

    /// The same grant, whose tokens are bound to a key of the session (DPoP, RFC 9449).
    /// [`sign_in_as`](crate::AuthSession::sign_in_as) makes and stores the key, so a session that never called it gets no
    /// token. A grant without an authorization server is not bound. Default: bearer tokens. Needs the feature `dpop`.
    #[must_use]
    pub fn dpop(self) -> Self {
        Self { binds: self.kind.has_server(), ..self }
    }

    /// Whether a key is made for the session.
    pub(crate) fn is_bound(&self) -> bool {
        self.binds
    }

    /// The scopes that the grant asks for.
    pub(crate) fn requested_scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The session whose token the grant begins with, such as the one at the identity provider. `None` for a grant that
    /// begins with something else.
    pub fn other_session(&self) -> Option<&ServerIdentity> {
        self.kind.other_session()
    }

    /// The file or the command that the grant begins with, in words for a person, such as `the file /var/run/token`. `None` for
    /// a grant that begins with something else. Arguments of the command are left out, because they may be secrets.
    pub fn origin(&self) -> Option<String> {
        self.kind.origin()
    }

    /// The name of the source that carries the grant out.
    pub fn source(&self) -> SourceName {
        self.kind.source()
    }
}

impl fmt::Debug for MachineGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineGrant")
            .field("kind", &self.kind)
            .field("client", &self.client.id)
            .field("scopes", &self.scopes)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
