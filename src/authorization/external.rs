//! Logins to a provider's API, which is no MCP resource. The provider's row in the table of providers states the facts
//! that metadata states for other servers. The client is one that was registered with the provider's operator beforehand.

use std::sync::Arc;

use tokenkeeper_actors::values::{LoginReason, Provider, Scopes, ServerIdentity, Target};

use crate::discovery::{Discovered, Discovery, ProtectedResource};
use crate::http::Reach;
use crate::issuers::providers::{ProviderFacts, Providers};

/// The provider of the API that `identity` names. `None` for any other target.
pub(super) fn provider(identity: &ServerIdentity) -> Option<&Provider> {
    match identity.target() {
        Target::Api { provider } => Some(provider),
        _ => None,
    }
}

/// Finds the authorization server of a provider. The endpoints are those of the provider's row, or else those of its issuer's
/// metadata. The host or the person has named the provider, so its endpoints may be anywhere.
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
    // An API has no resource metadata. This stand-in fills its place, and none of it is sent.
    let resource = ProtectedResource::unpublished(server.issuer.clone(), server.issuer.clone());
    Ok((Discovered { resource, server }, reach))
}

/// The scopes of a login. For an API, they include the scopes without which its provider issues no refresh token.
pub(super) fn scopes(identity: &ServerIdentity, facts: Option<&ProviderFacts>, scopes: Scopes) -> Scopes {
    let Some(facts) = facts.filter(|_| provider(identity).is_some()) else { return scopes };
    let is_missing = |scope: &&String| scopes.iter().all(|asked| asked != scope.as_str());
    let more: Vec<_> = facts.authorization.scopes.iter().filter(is_missing).map(String::as_str).collect();
    Scopes::new(scopes.iter().chain(more))
}

/// The form in which a provider wants the authorization request.
pub(super) struct RequestForm<'a> {
    /// The parameter and the separator of the scopes.
    pub(super) scope: (&'a str, &'a str),
    /// Further parameters. Those of the host come first, and no name comes twice.
    pub(super) parameters: Vec<(String, String)>,
}

impl<'a> RequestForm<'a> {
    /// The form of a request to the provider with these facts, and with the parameters of the host. The scopes for an MCP
    /// server are always written as the standard has them.
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
