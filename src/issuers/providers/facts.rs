//! The facts about one provider, and the profile of its issuers, which is made from them.

use std::time::Duration;

use tokenkeeper_actors::law::profile::{Profile, Reuse};

use crate::issuers::dialect::Dialect;

/// The differences of one provider's token endpoint from the [default profile](default_profile) and the standard.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProviderFacts {
    /// The provider's name in lower case, as in a [`ProviderName`](tokenkeeper_actors::values::ProviderName).
    pub name: &'static str,
    /// The hosts of its issuers. One with a dot in front stands for every host below it. Empty where tenants choose their
    /// own.
    pub hosts: &'static [&'static str],
    /// How token requests to it are written.
    pub dialect: Dialect,
    /// Its own error codes for a dead refresh token, besides those of [`default_profile`].
    pub dead_words: &'static [&'static str],
    /// Its own error codes for a client that it does not accept, besides those of [`default_profile`].
    pub client_words: &'static [&'static str],
    /// Its own error codes for a request that it did not process, so that the refresh token stays unused.
    pub unspent_words: &'static [&'static str],
    /// Its HTTP status codes, besides 429, for a request that it did not process.
    pub unspent_statuses: &'static [u16],
    /// The tokens that the provider revokes when a refresh token that was used already is presented again.
    pub reuse: Reuse,
    /// How long after its first presentation a used refresh token may be presented again without harm. `None` if that is
    /// unknown.
    pub grace: Option<Duration>,
    /// Whether issuing a new refresh token invalidates the old one. `false` if the provider issues no new one, and also
    /// if the old one stays valid beside it.
    pub rotates: bool,
    /// Where these facts are documented or were observed.
    pub citation: &'static str,
}

impl ProviderFacts {
    /// The [default profile](default_profile) with the differences of this provider.
    pub fn profile(&self) -> Profile {
        let Self { reuse, grace, rotates, .. } = *self;
        let mut profile = Profile { reuse, grace, rotates, ..default_profile() };
        extend(&mut profile.dead_words, self.dead_words);
        extend(&mut profile.client_words, self.client_words);
        extend(&mut profile.unspent_words, self.unspent_words);
        profile.unspent_statuses.extend(self.unspent_statuses);
        profile
    }
}

/// Error codes that servers use only for a dead refresh token, besides `invalid_grant`, which [`Profile::default`] has.
/// Each names the refresh token and its state. A token request presents only one refresh token, so no other is meant.
///
/// `token_expired`, `invalid_token`, `expired_token`, `session_expired` and the like are not among them. Servers use
/// these for an access token, a client assertion or a device code too.
const DEAD_EVERYWHERE: [&str; 13] = [
    "invalid_refresh_token",
    "bad_refresh_token",
    "BAD_REFRESH_TOKEN",
    "INVALID_REFRESH_TOKEN",
    "expired_refresh_token",
    "revoked_refresh_token",
    "refresh_token_already_used",
    "refresh_token_expired",
    "refresh_token_invalid",
    "refresh_token_invalidated",
    "refresh_token_not_found",
    "refresh_token_reused",
    "refresh_token_revoked",
];

/// Error codes that servers use only for a client that they do not accept, besides `invalid_client`, which
/// [`Profile::default`] has. Each names the client, or a part of its credentials, as wrong.
///
/// `unauthorized_client` is not among them, because an Atlassian server answers with it to a dead refresh token
/// (openai/codex#27165).
const CLIENT_EVERYWHERE: [&str; 7] = [
    "bad_client_credentials",
    "bad_client_secret",
    "client_not_found",
    "incorrect_client_credentials",
    "invalid_client_credentials",
    "invalid_client_id",
    "invalid_client_secret",
];

/// The profile of a grant whose record names no provider, unless the host sets another. It is [`Profile::default`] with
/// the error codes that have one meaning at every server.
///
/// These codes end the grant or reject the client as surely as `invalid_grant` or `invalid_client`. Without them, a clear
/// refusal would count as an answer of unknown meaning. The refresh token would stay in doubt, and the session would never
/// ask for a login.
///
/// [`read_answer`](crate::grant::read_answer) reports other spellings of a code as the code itself, for example
/// `InvalidGrantException` as `invalid_grant`. It reports a description
/// that says only that the refresh token is invalid as `invalid_refresh_token`, and one that says only that the client is
/// not accepted as `invalid_client`.
pub fn default_profile() -> Profile {
    let mut profile = Profile::default();
    extend(&mut profile.dead_words, &DEAD_EVERYWHERE);
    extend(&mut profile.client_words, &CLIENT_EVERYWHERE);
    profile
}

fn extend(words: &mut Vec<String>, others: &[&str]) {
    words.extend(others.iter().map(|word| (*word).to_owned()));
}
