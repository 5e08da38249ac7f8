//! The ID token of an answer (OpenID Connect Core section 12.2), which is the token of a session at an identity provider.

use std::time::Duration;

use serde::Deserialize;
use tokenkeeper_actors::law::profile::Tokens;
use tokenkeeper_actors::values::record::Grant;
use tokenkeeper_actors::values::{AccessToken, Moment, Validity};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::answer::{expired_before, jwt_lifetime};

/// The maximum length of an ID token, in bytes.
pub(crate) const MAX_ID_TOKEN: usize = 64 * 1024;

/// The member of an answer that holds the ID token.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Answer {
    #[serde(default)]
    id_token: Option<String>,
}

/// Puts the ID token of `answer` in the place of the access token, which no session at an identity provider needs.
///
/// A server need not send an ID token with a refresh. In that case the stored ID token is kept as long as it is valid.
/// Otherwise an expired token takes the place of the access token, so that the refresh token of the answer is still stored.
pub(super) fn replace_access(tokens: &mut Tokens, answer: &[u8], grant: &Grant, now: Moment) {
    let asked = tokens.validity.anchored();
    let named = serde_json::from_slice::<Answer>(answer).ok().and_then(|mut answer| answer.id_token.take());
    let named = named.filter(|token| token.len() <= MAX_ID_TOKEN).map(AccessToken::new);
    (tokens.access, tokens.validity) = match (named.filter(AccessToken::is_well_formed), &grant.access) {
        (Some(token), _) => {
            let lifetime = jwt_lifetime(token.expose(), asked.wall);
            (token, Validity::new(asked, lifetime))
        }
        (None, Some(kept)) if kept.validity.outlasts(Duration::ZERO, &now) => (kept.token.clone(), kept.validity),
        (None, _) => (AccessToken::new(""), expired_before(asked)),
    };
}
