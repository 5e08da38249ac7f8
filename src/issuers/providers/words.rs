//! The error codes that have one meaning at every server, and the default profile, which knows them.

use tokenkeeper_actors::law::profile::Profile;

/// Error codes that servers use only for a dead refresh token, besides `invalid_grant`, which [`Profile::default`] has.
/// Each code names the refresh token and its state. A token request presents only one refresh token, so the code can mean
/// no other.
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
/// `InvalidGrantException` as `invalid_grant`. It reports an error description that says only that the refresh token is
/// invalid as `invalid_refresh_token`, and a description that says only that the client is not accepted as
/// `invalid_client`.
pub fn default_profile() -> Profile {
    let mut profile = Profile::default();
    extend(&mut profile.dead_words, &DEAD_EVERYWHERE);
    extend(&mut profile.client_words, &CLIENT_EVERYWHERE);
    profile
}

pub(super) fn extend(words: &mut Vec<String>, others: &[impl AsRef<str>]) {
    words.extend(others.iter().map(|word| word.as_ref().to_owned()));
}
