//! A table of providers, with the known differences of their authorization servers. It is data, and a host or a person
//! can add to it.
//!
//! A provider is a vendor whose authorization servers behave alike, such as `github`. [`Providers::builtin`] has one row
//! for each provider that was examined. A provider that behaves by the default has a row too, because an unknown provider
//! is treated more strictly. A row states how token requests are written (the [dialect](super::Dialect)) and where the
//! provider's profile differs from the [default profile](default_profile), with the source of these facts. The standard is the
//! behaviour that the RFCs define.
//!
//! A row applies to the sessions whose records name its provider
//! ([`IssuerSettings::provider`](super::IssuerSettings::provider)). A login whose issuer was discovered takes the provider of
//! its host ([`Providers::of_issuer`]). A record that names an unknown provider gets the strictest profile (law 10).
//!
//! # The format
//!
//! The built-in table is JSON, and a file of the same format is laid over it. An entry for a provider of the table changes
//! only the members that the entry contains, and `null` resets a member to the standard (RFC 7396). An entry of another
//! name adds a provider. Such a provider begins with the behaviour of the one that it `extends`, or with the standard if it
//! extends none. `docs/providers.md` in the repository lists the members.
//!
//! The host in this example forbids that a refresh token in doubt is presented to GitHub again, and adds a Keycloak of its
//! own.
//!
//! ```
//! use tokenkeeper::engine::law::profile::Reuse;
//! use tokenkeeper::issuers::providers::Providers;
//!
//! let providers = Providers::from_json(
//!     r#"{
//!         "version": 1,
//!         "providers": {
//!             "github": { "refresh_token": { "reuse": "ends_more" } },
//!             "our-keycloak": { "extends": "keycloak", "hosts": ["sso.example.com"] }
//!         }
//!     }"#,
//! )?;
//! assert_eq!(providers.named("github").expect("it has a row").refresh_token.reuse, Reuse::EndsMore);
//! let ours = providers.of_issuer("https://sso.example.com/realms/staff").expect("it has a row");
//! assert_eq!(ours.as_str(), "our-keycloak");
//! # Ok::<(), tokenkeeper::issuers::providers::ProvidersError>(())
//! ```
//!
//! [`RuntimeBuilder::providers`](crate::RuntimeBuilder::providers) takes the table.

pub(super) mod check;
mod error;
mod facts;
mod layer;
#[cfg(test)]
mod tests;
mod words;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use tokenkeeper_actors::law::profile::Profiles;
use tokenkeeper_actors::values::ProviderName;
use url::Url;

use self::layer::Rows;
use super::{Dialect, RevocationForm};

pub use error::ProvidersError;
pub use facts::{AuthorizationFacts, EndpointFacts, ErrorFacts, ProviderFacts, RefreshTokenFacts, ScopeSeparator};
pub use words::default_profile;

/// The built-in table, in the format of a file.
const BUILTIN: &str = include_str!("providers/builtin.json");

/// The built-in table, read once. If it could not be read, no provider would be known. A test reads it too, so that a fault
/// is found before a release.
static BUILTIN_ROWS: LazyLock<Providers> = LazyLock::new(|| {
    let rows = layer::lay(&Rows::new(), BUILTIN);
    Providers { rows: Arc::new(rows.unwrap_or_default()) }
});

/// The largest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A table of providers. Cheap to clone. The default is the [built-in](Self::builtin) one.
#[derive(Clone, Debug, PartialEq)]
pub struct Providers {
    rows: Arc<Rows>,
}

impl Default for Providers {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Providers {
    /// The built-in table.
    pub fn builtin() -> Self {
        BUILTIN_ROWS.clone()
    }

    /// The built-in table with the one in `json` laid over it.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`], with the line, the column and the member, if the text is not of [the format](self#the-format).
    pub fn from_json(json: &str) -> Result<Self, ProvidersError> {
        Self::builtin().with_json(json)
    }

    /// This table with the one in `json` laid over it.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    pub fn with_json(self, json: &str) -> Result<Self, ProvidersError> {
        Ok(Self { rows: Arc::new(layer::lay(&self.rows, json)?) })
    }

    /// This table with the one in the file laid over it. The file is read now, and never again.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`] with the path, if the file cannot be read, is larger than 1 MiB, or is not of
    /// [the format](self#the-format).
    pub fn with_file(self, path: impl AsRef<Path>) -> Result<Self, ProvidersError> {
        let path = path.as_ref();
        read(path).and_then(|json| self.with_json(&json)).map_err(|error| error.of_file(path.to_owned()))
    }

    /// This table with one provider more, or with another row for a provider that it has.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`] if the facts break a rule of [the format](self#the-format).
    pub fn with(self, name: ProviderName, facts: ProviderFacts) -> Result<Self, ProvidersError> {
        Ok(Self { rows: Arc::new(layer::put(&self.rows, name, facts)?) })
    }

    /// The row of the provider with this name, if there is one.
    pub fn named(&self, name: &str) -> Option<&ProviderFacts> {
        let name = ProviderName::new(name.to_owned()).ok()?;
        self.rows.get(&name)
    }

    /// All rows, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ProviderName, &ProviderFacts)> {
        self.rows.iter()
    }

    /// The provider of the issuer with this identifier, if a row names its host. A login whose issuer was discovered finds
    /// its provider in this way, so the provider's profile applies from the first login on. A row with the host itself wins
    /// over a row with a domain above it, and a longer domain wins over a shorter one.
    pub fn of_issuer(&self, issuer: &str) -> Option<ProviderName> {
        let url = Url::parse(issuer).ok().filter(|url| url.scheme() == "https" && url.port().is_none())?;
        let host = url.host_str()?;
        let covers = |of: &str| if of.starts_with('.') { host.ends_with(of) } else { host == of };
        let hosts = self.iter().flat_map(|(name, facts)| facts.hosts.iter().map(move |of| (name, of)));
        let nearest = hosts.filter(|(_, of)| covers(of)).max_by_key(|(_, of)| (!of.starts_with('.'), of.len()));
        nearest.map(|(name, _)| name.clone())
    }

    /// The profiles of all rows, by name. The [default profile](default_profile) applies where a record names no provider.
    pub fn profiles(&self) -> Profiles {
        let profiles = Profiles::new(default_profile());
        self.iter().fold(profiles, |profiles, (name, facts)| profiles.with(name.clone(), facts.profile()))
    }

    /// The row of the provider of a grant, if there is one.
    pub(crate) fn of(&self, name: Option<&ProviderName>) -> Option<&ProviderFacts> {
        self.rows.get(name?)
    }

    /// The dialect of a provider, or the standard's.
    pub(crate) fn dialect(&self, name: Option<&ProviderName>) -> Dialect {
        self.of(name).map(|facts| facts.token_request.clone()).unwrap_or_default()
    }

    /// The form of revocations at the provider, or the standard's.
    pub(crate) fn revocation(&self, name: Option<&ProviderName>) -> RevocationForm {
        self.of(name).map(|facts| facts.revocation).unwrap_or_default()
    }
}

fn read(path: &Path) -> Result<String, ProvidersError> {
    let fault = |message: String| ProvidersError::file(message);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fault("it is larger than 1 MiB: give a file with providers".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| fault("it is not UTF-8: store it as UTF-8".to_owned()))
}
