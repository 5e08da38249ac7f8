//! The parts of a runtime with which the users of its sessions are fetched.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::values::record::Grant;
use tokenkeeper_actors::values::{ServerIdentity, Target};

use super::mapping::UserMapping;
use crate::ProviderName;
use crate::discovery::Discovery;
use crate::grant::RefreshGrant;
use crate::http::HttpClient;
use crate::issuers::providers::Providers;

/// Everything that is needed to ask the providers, for all sessions of a runtime.
#[derive(Debug)]
pub(crate) struct UserProviders {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) discovery: Discovery,
    /// Determines the reach of a plan's requests.
    pub(crate) refresh: RefreshGrant,
    /// The known providers, whose rows may have mappings.
    pub(crate) providers: Providers,
    /// The mappings of the host, by the provider.
    pub(crate) mappings: BTreeMap<ProviderName, UserMapping>,
    /// The mapping of sessions whose provider has no mapping.
    pub(crate) fallback: UserMapping,
}

impl UserProviders {
    /// The mapping of a session's provider.
    pub(crate) fn mapping(&self, identity: &ServerIdentity, grant: &Grant) -> UserMapping {
        let of_target = match identity.target() {
            Target::Api { provider } => ProviderName::new(provider.as_str().to_owned()).ok(),
            _ => None,
        };
        let provider = grant.renewal.provider.as_ref().or(of_target.as_ref());
        let own = provider.and_then(|provider| self.mappings.get(provider).cloned());
        let of_row = || self.providers.of(provider).and_then(|facts| facts.user.clone());
        let built_in = || provider.and_then(|provider| UserMapping::of_provider(provider.as_str()));
        own.or_else(of_row).or_else(built_in).unwrap_or_else(|| self.fallback.clone())
    }
}
