//! The way in which a session gets its next token, according to its record.

use std::fmt;

use tokenkeeper::engine::values::record::{Record, Spending};

/// The words for the sources of the runtime, by their names in records.
const WORDS: [(&str, &str); 9] = [
    ("refresh_token", "refresh token"),
    ("client_credentials", "client credentials"),
    ("jwt_bearer", "workload token"),
    ("token_exchange", "token exchange"),
    ("id_jag", "identity provider"),
    ("exec", "command"),
    ("static_token", "nothing"),
    ("idp_session", "refresh token"),
    ("idp_refresh_token", "refresh token"),
];

/// The way in which a session gets its next token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    source: String,
    /// Whether the tokens are bound to a key of the session (DPoP).
    is_bound: bool,
}

impl Renewal {
    /// The renewal of a session with this record. `None` if only a login brings another token.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let grant = record.grant()?;
        let is_renewed = record.held().is_some() || grant.renewal.spending == Spending::Repeatable;
        let (source, is_bound) = (grant.renewal.source.to_string(), grant.dpop_key.is_some());
        is_renewed.then_some(Self { source, is_bound })
    }

    /// The name of the source, for programs.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the tokens are bound to a key of the session.
    pub(crate) fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Whether this is not a refresh token without a key, which is the usual case.
    pub(crate) fn is_unusual(&self) -> bool {
        self.source != "refresh_token" || self.is_bound
    }
}

/// The words for people.
impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A source of another program is shown by its name.
        let words = WORDS.into_iter().find(|(name, _)| *name == self.source).map(|(_, words)| words);
        f.write_str(words.unwrap_or(&self.source))?;
        if self.is_bound { f.write_str(" with a key") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tokenkeeper::machine;

    use super::*;

    #[test]
    fn each_source_of_the_runtime_has_words() {
        for source in machine::sources() {
            assert!(WORDS.iter().any(|(name, _)| *name == source.as_str()), "{source}");
        }
        let of = |source: &str, is_bound| Renewal { source: source.to_owned(), is_bound };
        assert_eq!(of("client_credentials", true).to_string(), "client credentials with a key");
        assert_eq!(of("of-a-host", false).to_string(), "of-a-host");
        assert!(!of("refresh_token", false).is_unusual() && of("refresh_token", true).is_unusual());
    }
}
