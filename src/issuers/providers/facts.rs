//! The facts about one provider, and the profile of its issuers, which is made from them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tokenkeeper_actors::law::profile::{Profile, Reuse};

use super::check;
use super::words::{default_profile, extend};
use crate::issuers::dialect::Dialect;

/// The differences of one provider's token endpoint from the [default profile](default_profile) and the standard. The default
/// has none.
///
/// The members are those of the [format](super#the-format), under the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct ProviderFacts {
    /// The provider whose behaviour an entry begins with, while its table is read.
    #[serde(skip_serializing)]
    pub(crate) extends: Option<String>,
    /// Where these facts are documented or were observed.
    #[serde(deserialize_with = "check::source")]
    pub source: String,
    /// The hosts of its issuers. One with a dot in front stands for every host below it. Empty where tenants choose their
    /// own.
    #[serde(deserialize_with = "check::hosts")]
    pub hosts: Vec<String>,
    /// How token requests to it are written.
    #[serde(deserialize_with = "check::or_standard")]
    pub token_request: Dialect,
    /// Its own error codes and statuses.
    #[serde(deserialize_with = "check::or_standard")]
    pub errors: ErrorFacts,
    /// The fate of a refresh token that was presented.
    #[serde(deserialize_with = "check::or_standard")]
    pub refresh_token: RefreshTokenFacts,
}

/// The error codes and statuses of one provider, besides those of the [default profile](default_profile).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct ErrorFacts {
    /// The codes for a dead refresh token.
    #[serde(deserialize_with = "check::words")]
    pub dead: Vec<String>,
    /// The codes for a client that it does not accept.
    #[serde(deserialize_with = "check::words")]
    pub client: Vec<String>,
    /// The codes for a request that it did not process, so that the refresh token stays unused.
    #[serde(deserialize_with = "check::words")]
    pub unspent: Vec<String>,
    /// The HTTP statuses, besides 429, for a request that it did not process.
    #[serde(deserialize_with = "check::statuses")]
    pub unspent_statuses: Vec<u16>,
}

/// The fate of a presented refresh token at one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct RefreshTokenFacts {
    /// Whether issuing a new refresh token invalidates the old one. `false` if the provider issues no new one, and also
    /// if the old one stays valid beside it.
    #[serde(deserialize_with = "check::or_standard")]
    pub rotates: bool,
    /// The tokens that the provider revokes when a refresh token that was used already is presented again.
    #[serde(serialize_with = "ReuseWord::serialize", deserialize_with = "reuse")]
    pub reuse: Reuse,
    /// How long after its first presentation a used refresh token may be presented again without harm. `None` if that is
    /// unknown.
    #[serde(rename = "grace_seconds", with = "check::seconds")]
    pub grace: Option<Duration>,
}

impl Default for RefreshTokenFacts {
    fn default() -> Self {
        let Profile { rotates, reuse, grace, .. } = Profile::default();
        Self { rotates, reuse, grace }
    }
}

/// The words for [`Reuse`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Reuse", rename_all = "snake_case")]
enum ReuseWord {
    EndsLineage,
    EndsMore,
}

fn reuse<'de, D: Deserializer<'de>>(from: D) -> Result<Reuse, D::Error> {
    #[derive(Deserialize)]
    struct Written(#[serde(with = "ReuseWord")] Reuse);
    Ok(Option::<Written>::deserialize(from)?.map(|Written(reuse)| reuse).unwrap_or_default())
}

impl ProviderFacts {
    /// The [default profile](default_profile) with the differences of this provider.
    pub fn profile(&self) -> Profile {
        let RefreshTokenFacts { rotates, reuse, grace } = self.refresh_token;
        let mut profile = Profile { reuse, grace, rotates, ..default_profile() };
        extend(&mut profile.dead_words, &self.errors.dead);
        extend(&mut profile.client_words, &self.errors.client);
        extend(&mut profile.unspent_words, &self.errors.unspent);
        profile.unspent_statuses.extend(&self.errors.unspent_statuses);
        profile
    }

    /// Whether the members agree with each other, or why they do not.
    pub(super) fn agree(&self) -> Result<(), String> {
        let Profile { dead_words, client_words, unspent_words, .. } = self.profile();
        let is_elsewhere = |word: &&String| unspent_words.contains(word) || client_words.contains(word);
        let in_two = dead_words.iter().find(is_elsewhere);
        match in_two.or_else(|| client_words.iter().find(|word| unspent_words.contains(word))) {
            Some(word) => Err(format!(
                "the error code {word} has two meanings, of which one may be the one that it has at every server: list it once"
            )),
            None => Ok(()),
        }
    }

    /// These facts for another provider that behaves alike. The places and the source are those of this provider alone.
    pub(super) fn behaviour(self) -> Self {
        Self { source: String::new(), hosts: Vec::new(), ..self }
    }
}
