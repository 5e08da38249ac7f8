//! The parts of a runtime with which the users of its sessions are fetched.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::values::record::Grant;
use tokenkeeper_actors::values::{ServerIdentity, Target};
use url::{Origin, Url};

use super::error::UserError;
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
    /// Determines the addresses that a plan's requests may connect to.
    pub(crate) refresh: RefreshGrant,
    /// The table of providers, whose rows may have mappings.
    pub(crate) providers: Providers,
    /// The mappings of the host, by the provider.
    pub(crate) mappings: BTreeMap<ProviderName, UserMapping>,
    /// The mapping of sessions whose provider has no mapping.
    pub(crate) fallback: UserMapping,
}

impl UserProviders {
    /// The mapping of a session's provider.
    ///
    /// # Errors
    ///
    /// [`UserError::NotDescribed`] if no mapping is possible.
    pub(super) fn mapping(&self, identity: &ServerIdentity, grant: &Grant) -> Result<UserMapping, UserError> {
        let of_target = match identity.target() {
            Target::Api { provider } => ProviderName::new(provider.as_str().to_owned()).ok(),
            _ => None,
        };
        let provider = grant.renewal.provider.as_ref().or(of_target.as_ref());
        let own = provider.and_then(|provider| self.mappings.get(provider).cloned());
        let of_row = || self.providers.of(provider).and_then(|facts| facts.user.clone());
        let built_in = || {
            let mapping = UserMapping::of_provider(provider?.as_str())?;
            (!mapping.names_a_url() || is_of_vendor(provider?, grant)).then_some(mapping)
        };
        let is_impossible =
            || provider.is_some_and(|name| UserMapping::is_impossible_at(name.as_str()) && is_of_vendor(name, grant));
        match own.or_else(of_row).or_else(built_in) {
            Some(mapping) => Ok(mapping),
            None if self.fallback == UserMapping::openid() && is_impossible() => Err(UserError::NotDescribed),
            None => Ok(self.fallback.clone()),
        }
    }
}

/// Whether the vendor's own server issued the session's tokens. A server of another operator may have the vendor's name for its
/// dialect, for example a self-hosted one, and its tokens do not go to the vendor (law 13).
fn is_of_vendor(provider: &ProviderName, grant: &Grant) -> bool {
    // A file may have given the provider's row other endpoints, so only the built-in table is read.
    let vendor = Providers::builtin();
    let endpoint = vendor.of(Some(provider)).and_then(|facts| facts.endpoints.token.as_deref());
    endpoint.and_then(origin).is_some_and(|vendor| origin(&grant.binding.token_endpoint) == Some(vendor))
}

/// The origin of a URL with a host.
fn origin(url: &str) -> Option<Origin> {
    Url::parse(url).ok().map(|url| url.origin()).filter(Origin::is_tuple)
}
