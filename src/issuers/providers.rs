//! Known differences of providers' token endpoints, as data.
//!
//! A row holds only known differences from the standard. Everything else is the strict default. A row applies to the
//! sessions whose records name its provider ([`IssuerSettings::provider`](super::IssuerSettings::provider)). A host can
//! replace a row:
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

use std::time::Duration;

use tokenkeeper_actors::law::profile::{Profile, Profiles, Reuse};
use tokenkeeper_actors::values::ProviderName;

use super::dialect::{Dialect, ScopeOnRefresh};
use crate::grant::BodyFormat;

/// The known differences of one provider's token endpoint.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProviderFacts {
    /// The provider's name in lower case, as records and hosts write it.
    pub name: &'static str,
    /// The form of a request that it accepts.
    pub dialect: Dialect,
    /// Its own error codes for a dead refresh token, besides `invalid_grant`.
    pub dead_words: &'static [&'static str],
    /// The cost of presenting a refresh token again that was consumed.
    pub reuse: Reuse,
    /// How long a consumed refresh token may be presented again without harm, if the provider says so.
    pub grace: Option<Duration>,
    /// Whether the provider ever replaces a refresh token.
    pub rotates: bool,
    /// The source of these facts.
    pub why: &'static str,
}

impl ProviderFacts {
    /// The default profile with the differences of this provider.
    pub fn profile(&self) -> Profile {
        let Self { reuse, grace, rotates, .. } = *self;
        let mut profile = Profile { reuse, grace, rotates, ..Profile::default() };
        profile.dead_words.extend(self.dead_words.iter().map(|word| (*word).to_owned()));
        profile
    }
}

/// The row of the provider with this name.
pub fn named(name: &str) -> Option<&'static ProviderFacts> {
    ALL.iter().find(|facts| facts.name == name)
}

/// The profiles of all rows, by name. The strict default applies where a record names no provider.
pub fn profiles() -> Profiles {
    names().fold(Profiles::default(), |profiles, (name, facts)| profiles.with(name, facts.profile()))
}

/// All rows with their names.
pub(crate) fn names() -> impl Iterator<Item = (ProviderName, &'static ProviderFacts)> {
    ALL.iter().filter_map(|facts| Some((ProviderName::new(facts.name).ok()?, facts)))
}

const STANDARD: ProviderFacts = ProviderFacts {
    name: "",
    dialect: Dialect { body: BodyFormat::Form, scope: ScopeOnRefresh::Omit },
    dead_words: &[],
    reuse: Reuse::EndsLineage,
    grace: None,
    rotates: true,
    why: "",
};

/// All rows.
pub static ALL: &[ProviderFacts] = &[
    ProviderFacts {
        name: "atlassian",
        dialect: Dialect { body: BodyFormat::Json, ..STANDARD.dialect },
        why: "developer.atlassian.com, OAuth 2.0 (3LO): the token endpoint takes a JSON body; a dead token is 403 with \
              `invalid_grant`. Its MCP server was seen to say `unauthorized_client` (openai/codex#27165), which \
              elsewhere is a word about the client: it is left in doubt.",
        ..STANDARD
    },
    ProviderFacts {
        name: "entra",
        dialect: Dialect { scope: ScopeOnRefresh::Granted, ..STANDARD.dialect },
        why: "Microsoft identity platform: a refresh names the scopes it is for (geelen/mcp-remote#357).",
        ..STANDARD
    },
    ProviderFacts {
        name: "github",
        dead_words: &["bad_refresh_token"],
        why: "docs.github.com, refreshing user access tokens: errors come inside HTTP 200, and this is the one for a \
              refresh token that is wrong or expired.",
        ..STANDARD
    },
    ProviderFacts {
        name: "google",
        rotates: false,
        why: "developers.google.com, OAuth 2.0: a refresh does not rotate the refresh token, so presenting it again \
              harms nothing.",
        ..STANDARD
    },
    ProviderFacts {
        name: "keycloak",
        why: "keycloak.org, server administration: `invalid_grant` for a session that has ended; rotation is the \
              realm's choice, so the strict default holds.",
        ..STANDARD
    },
    ProviderFacts {
        name: "linear",
        grace: Some(Duration::from_secs(30 * 60)),
        why: "linear.app developer documentation, as cited in anthropics/claude-code#85236: a replaced refresh token \
              may be presented again for 30 minutes.",
        ..STANDARD
    },
    ProviderFacts {
        name: "notion",
        reuse: Reuse::EndsMore,
        why: "makenotion/notion-cookbook#1: each refresh rotates, and a replay ends the whole grant, on every device.",
        ..STANDARD
    },
    ProviderFacts {
        name: "salesforce",
        why: "help.salesforce.com, OAuth 2.0 refresh token flow: no `expires_in` (nango#327), so lifetimes are unknown or \
              a JWT's; rotation is the organisation's choice (jsforce#1656), so the strict default holds.",
        ..STANDARD
    },
    ProviderFacts {
        name: "slack",
        dead_words: &["invalid_refresh_token"],
        why: "docs.slack.dev, token rotation: errors come inside HTTP 200 with `ok: false`, and this is the one for a \
              refresh token that is wrong.",
        ..STANDARD
    },
    ProviderFacts {
        name: "supabase",
        dead_words: &["refresh_token_not_found"],
        why: "supabase/auth#2829: errors are in `error_code`, and this is the one for a refresh token that is gone.",
        ..STANDARD
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_reason() {
        for (index, facts) in ALL.iter().enumerate() {
            assert!(!facts.why.is_empty(), "{}", facts.name);
            assert!(index == 0 || ALL[index - 1].name < facts.name, "{}", facts.name);
            assert!(facts.profile().dead_words.iter().any(|word| word == "invalid_grant"), "{}", facts.name);
        }
        assert_eq!(names().count(), ALL.len());
        assert!(named("nobody").is_none());
    }
}
