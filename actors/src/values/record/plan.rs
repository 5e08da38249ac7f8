//! The renewal plan. It names the source that renews a grant, and the provider whose profile applies.

use std::borrow::Cow;
use std::fmt;

use super::super::secret::SourceSettings;

/// The way in which an identity's tokens are renewed. A login stores it with the grant. It is changed only by
/// [`Change::Configure`](crate::law::ledger::Change::Configure) or the next login.
///
/// The default is the refresh grant at an unknown provider, under the runtime's own profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenewalPlan {
    /// The source that makes the token requests, by its name in the runtime.
    pub source: SourceName,
    /// Whether a request consumes a token. It must agree with
    /// [`TokenSource::spending`](crate::ports::source::TokenSource::spending).
    pub spending: Spending,
    /// The provider whose profile and dialect apply, or `None` for the runtime's own profile.
    pub provider: Option<ProviderName>,
    /// Whether a refresh token in doubt is never presented again, even if the profile allows it.
    pub never_replay: bool,
    /// Whether a server named the endpoints, so that requests may go only to public addresses, or to the loopback if
    /// the session's own server is there (law 24). `false` if the host named them.
    pub server_named: bool,
    /// The source's own settings for the identity, if it has any. With them, the record alone suffices to renew it.
    pub settings: Option<SourceSettings>,
}

impl RenewalPlan {
    /// The plan of an identity whose tokens `source` mints without a refresh token.
    pub fn repeatable(source: SourceName) -> Self {
        Self { source, spending: Spending::Repeatable, ..Self::default() }
    }

    /// The plan of a refresh grant at `provider`.
    pub fn at(provider: ProviderName) -> Self {
        Self { provider: Some(provider), ..Self::default() }
    }
}

/// Whether a source's request consumes a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Spending {
    /// A request consumes a refresh token that the server may rotate. The token is claimed, marked and presented once.
    #[default]
    SingleUse,
    /// A request consumes nothing (client credentials, JWT bearer, a command). No mark is written for it, and it mints
    /// without a claim while the store is down.
    Repeatable,
}

/// The longest name of a source or a provider, in bytes.
const MAX_NAME: usize = 64;

/// The error for an unusable name. A name has 1 to 64 bytes and consists of words in `a-z` and `0-9`, joined by single
/// `_` or `-`. The first word begins with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {MAX_NAME} characters: lower-case letters and digits, with single _ or - between them")]
pub struct NameError;

/// Whether `name` follows the grammar that [`NameError`] states.
fn is_name(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split(['_', '-']).all(word)
}

/// Defines a type of names.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Cow<'static, str>);

        impl $type {
            /// Makes a name of 1 to 64 bytes. It consists of words in `a-z` and `0-9`, joined by single `_` or `-`.
            /// The first word begins with a letter.
            ///
            /// # Errors
            ///
            /// [`NameError`] for any other name.
            pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Self, NameError> {
                let name = name.into();
                if is_name(&name) { Ok(Self(name)) } else { Err(NameError) }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a token source in its runtime. The default is `refresh_token`, the refresh grant.
    SourceName
}

name! {
    /// The name of a provider whose token endpoint differs from the standard.
    ProviderName
}

impl SourceName {
    /// The name of the refresh grant's source, which is the default.
    pub const REFRESH_TOKEN: Self = Self(Cow::Borrowed("refresh_token"));
}

impl Default for SourceName {
    fn default() -> Self {
        Self::REFRESH_TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_words() {
        let longest = "a".repeat(MAX_NAME);
        for name in ["refresh_token", "a", "notion", "client-credentials", "jwt_bearer-2", "x509", &longest] {
            assert_eq!(SourceName::new(name.to_owned()).map(|name| name.to_string()).as_deref(), Ok(name));
            assert_eq!(ProviderName::new(name.to_owned()).map(|name| name.as_str().to_owned()).as_deref(), Ok(name));
        }
        let too_long = "a".repeat(MAX_NAME + 1);
        for name in ["", "A", "9a", "_a", "a_", "a__b", "a-_b", "-", "a b", "a.b", "a/b", "é", "a\n", &too_long] {
            assert_eq!(SourceName::new(name.to_owned()), Err(NameError), "{name:?}");
            assert_eq!(ProviderName::new(name.to_owned()), Err(NameError), "{name:?}");
        }
    }

    #[test]
    fn the_default_plan_is_the_refresh_grant_at_no_provider() {
        let plan = RenewalPlan::default();
        assert_eq!(plan.source.as_str(), "refresh_token");
        assert_eq!((plan.spending, plan.provider, plan.never_replay), (Spending::SingleUse, None, false));
        assert_eq!(SourceName::new("refresh_token"), Ok(SourceName::default()));
    }
}
