//! A table of providers, with the known differences of their token endpoints.
//!
//! A provider is a vendor whose authorization servers behave alike, such as `github`. [`ALL`] has one row for each
//! provider that was looked at, also where the default fits, so that it is not unknown. A row states how token requests are written (the
//! dialect) and where its profile differs from the [default profile](default_profile), with the source of these facts.
//!
//! A row applies to the sessions whose records name its provider
//! ([`IssuerSettings::provider`](super::IssuerSettings::provider)). A record that names an unknown provider gets the
//! strictest profile (law 10).
//!
//! A host can replace a row. The host in this example wants no refresh token in doubt presented again at GitHub.
//!
//! ```no_run
//! # #[cfg(all(feature = "memory", feature = "reqwest"))]
//! # async fn host() -> Result<(), Box<dyn std::error::Error>> {
//! use tokenkeeper::engine::law::profile::Reuse;
//! use tokenkeeper::issuers::providers;
//! use tokenkeeper::{AuthRuntime, ProviderName, stores};
//!
//! let github = providers::named("github").expect("it has a row");
//! let mut profile = github.profile();
//! profile.reuse = Reuse::EndsMore;
//! let builder = AuthRuntime::builder(stores::memory::open()?);
//! let auth = builder.provider(ProviderName::new("github")?, profile, github.dialect).spawn().await?;
//! # Ok(())
//! # }
//! ```

mod facts;
mod rows;

use tokenkeeper_actors::law::profile::Profiles;
use tokenkeeper_actors::values::ProviderName;
use url::Url;

pub use facts::{ProviderFacts, default_profile};
pub use rows::ALL;

/// The row of the provider with this name, if there is one.
pub fn named(name: &str) -> Option<&'static ProviderFacts> {
    ALL.iter().find(|facts| facts.name == name)
}

/// The provider of the issuer with this identifier, if a row names its host. Logins whose issuer was discovered use it, so that
/// the profile of a provider applies from the first login on.
pub fn of_issuer(issuer: &str) -> Option<ProviderName> {
    let url = Url::parse(issuer).ok().filter(|url| url.scheme() == "https" && url.port().is_none())?;
    let host = url.host_str()?;
    let is_of = |facts: &ProviderFacts| {
        facts.hosts.iter().any(|of| if of.starts_with('.') { host.ends_with(of) } else { host == *of })
    };
    rows_by_name().find(|(_, facts)| is_of(facts)).map(|(name, _)| name)
}

/// The profiles of all rows, by name. The [default profile](default_profile) applies where a record names no provider.
pub fn profiles() -> Profiles {
    let profiles = Profiles::new(default_profile());
    rows_by_name().fold(profiles, |profiles, (name, facts)| profiles.with(name, facts.profile()))
}

/// All rows, each with its name as a [`ProviderName`].
pub(crate) fn rows_by_name() -> impl Iterator<Item = (ProviderName, &'static ProviderFacts)> {
    // No row is left out. A test checks that every name is valid.
    ALL.iter().filter_map(|facts| Some((ProviderName::new(facts.name).ok()?, facts)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokenkeeper_actors::law::profile::Reuse;

    use super::*;

    #[test]
    fn rows_are_sorted_unique_and_cited() {
        for (index, facts) in ALL.iter().enumerate() {
            assert!(!facts.citation.is_empty(), "{}", facts.name);
            assert!(index == 0 || ALL[index - 1].name < facts.name, "{}", facts.name);
        }
    }

    #[test]
    fn every_name_is_valid() {
        assert_eq!(rows_by_name().count(), ALL.len());
        assert!(named("unknown").is_none());
    }

    #[test]
    fn an_issuer_has_the_provider_of_its_host() {
        let of = |issuer: &str| of_issuer(issuer).map(|name| name.as_str().to_owned());
        assert_eq!(of("https://mcp.notion.com"), Some("notion".to_owned()));
        assert_eq!(of("https://accounts.google.com/"), Some("google".to_owned()));
        assert_eq!(of("https://acme.okta.com/oauth2/default"), Some("okta".to_owned()));
        for other in [
            "https://notion.com.evil.example",
            "https://evil-okta.com",
            "https://okta.com",
            "http://mcp.notion.com",
            "https://mcp.notion.com:8443",
            "mcp.notion.com",
            "https://as.example.com",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn invalid_grant_ends_the_grant_at_every_provider() {
        for facts in ALL {
            assert!(facts.profile().dead_words.iter().any(|word| word == "invalid_grant"), "{}", facts.name);
        }
    }

    #[test]
    fn no_code_has_two_meanings() {
        let profiles = ALL.iter().map(|facts| (facts.name, facts.profile())).chain([("", default_profile())]);
        for (name, profile) in profiles {
            let mut words = [profile.dead_words, profile.client_words, profile.unspent_words].concat();
            let count = words.len();
            words.sort();
            words.dedup();
            assert_eq!(words.len(), count, "{name}: a word is there twice");
        }
    }

    #[test]
    fn a_profile_has_the_differences_of_its_row() {
        let zoho = named("zoho").unwrap().profile();
        assert!(!zoho.rotates);
        assert!(zoho.dead_words.contains(&"invalid_code".to_owned()));
        assert!(zoho.unspent_words.contains(&"access_denied".to_owned()));
        assert_eq!(named("workos").unwrap().profile().grace, Some(Duration::from_secs(30)));
        assert_eq!(named("notion").unwrap().profile().reuse, Reuse::EndsMore);
        let plan = tokenkeeper_actors::values::RenewalPlan::default();
        assert_eq!(profiles().of(&plan), default_profile());
    }
}
