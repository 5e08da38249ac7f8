//! Logins to a provider's API, which is no MCP resource. The provider's row has what metadata has elsewhere, and the client is one
//! that the provider's operator registered.

use std::sync::Arc;

use tokenkeeper_actors::values::{LoginReason, Provider, Scopes, ServerIdentity, Target};

use crate::discovery::{Discovered, Discovery, ProtectedResource};
use crate::http::Reach;
use crate::issuers::providers::{ProviderFacts, Providers};

/// The provider, if `identity` is with the API of one.
pub(super) fn provider(identity: &ServerIdentity) -> Option<&Provider> {
    match identity.target() {
        Target::Api { provider } => Some(provider),
        _ => None,
    }
}

/// Finds the authorization server of a provider. Its endpoints are those of its row, or else those of its issuer's metadata. The
/// host or the person has named them, so they may be anywhere.
pub(super) async fn discover(
    providers: &Providers,
    discovery: &Discovery,
    provider: &Provider,
) -> Result<(Discovered, Reach), LoginReason> {
    let reach = discovery.reach_setting().unwrap_or(Reach::Any);
    let facts = providers.named(provider.as_str());
    let server = match facts.and_then(ProviderFacts::authorization_server) {
        Some(server) => server,
        None => {
            let Some(issuer) = facts.and_then(|facts| facts.issuer.as_deref()) else {
                let provider = provider.as_str();
                tracing::info!(
                    provider,
                    "no row has the endpoints or the issuer of this provider, so that no login begins"
                );
                return Err(LoginReason::NoAuthorizationServer);
            };
            let found = discovery.server_anew(issuer, reach).await.map_err(|error| {
                tracing::info!(issuer, %error, "the authorization server of the provider cannot be used");
                error.reason()
            })?;
            Arc::unwrap_or_clone(found)
        }
    };
    // There is no resource. Nothing of this one is sent.
    let resource = ProtectedResource::unpublished(server.issuer.clone(), server.issuer.clone());
    Ok((Discovered { resource, server }, reach))
}

/// The scopes of a login, with those without which the API's provider issues no refresh token.
pub(super) fn scopes(identity: &ServerIdentity, facts: Option<&ProviderFacts>, scopes: Scopes) -> Scopes {
    let Some(facts) = facts.filter(|_| provider(identity).is_some()) else { return scopes };
    let is_missing = |scope: &&String| scopes.iter().all(|asked| asked != scope.as_str());
    let more: Vec<_> = facts.authorization.scopes.iter().filter(is_missing).map(String::as_str).collect();
    Scopes::new(scopes.iter().chain(more))
}

/// How a provider wants the authorization request.
pub(super) struct RequestForm<'a> {
    /// The parameter and the separator of the scopes.
    pub(super) scope: (&'a str, &'a str),
    /// Further parameters. Those of the host come first, and none comes twice.
    pub(super) parameters: Vec<(String, String)>,
}

impl<'a> RequestForm<'a> {
    /// The form of a request to the provider with these facts, and with the parameters of the host. The scopes of an MCP server
    /// are written by the standard.
    pub(super) fn of(identity: &ServerIdentity, facts: Option<&'a ProviderFacts>, host: &[(String, String)]) -> Self {
        let mut parameters = host.to_vec();
        let Some(facts) = facts else { return Self { scope: STANDARD, parameters } };
        let authorization = &facts.authorization;
        let is_free = |name: &str| host.iter().all(|(taken, _)| taken != name);
        let own = authorization.parameters.iter().filter(|(name, _)| is_free(name));
        parameters.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        let scope = match provider(identity) {
            Some(_) => {
                (authorization.scope_parameter.as_deref().unwrap_or("scope"), authorization.scope_separator.as_str())
            }
            None => STANDARD,
        };
        Self { scope, parameters }
    }
}

/// The parameter and the separator of RFC 6749 section 3.3.
const STANDARD: (&str, &str) = ("scope", " ");
