//! The laws, as checks on the ground truth. The checks use the requests at the server, the records in the store and
//! the answers to callers.
//!
//! No check asks a machine for its own view. The meaning of an answer on the wire, the changes that the store may make
//! and the answers that a caller may get are worked out again from DESIGN's words. So a mistake in the machines, in
//! the ledger or in the profile shows.

pub(crate) mod answers;
mod connections;
mod doors;
mod ending;
mod flights;
pub(crate) mod known;
mod logins;
mod patience;
mod prompts;
mod sessions;
mod spending;
pub(crate) mod survival;
pub(crate) mod truth;
mod writes;

use std::time::Duration;

use tokenkeeper_actors::law::profile::{Evidence, Profile};

use crate::server::Verdict;

/// No sleep is longer than a minute (law 14).
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A store answer within this time arrived before the operation timed out.
pub(crate) const STORE_PATIENCE: crate::Millis = 4_900;

/// The minimum time that an actor waits for its own store operation before it reports trouble.
pub(crate) const PATIENCE_WITH_STORE: crate::Millis = 1_500;

/// The longest pause over which a flight holds a claim, and between two attempts that callers wait for, unless the
/// server asks for a longer one (laws 8 and 10).
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The first of the pauses that double (law 8).
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The token requests that one cohort may cause (law 8).
pub(crate) const ATTEMPTS: u32 = 8;

/// The pause after so many attempts, without jitter.
pub(crate) fn pause_after(attempts: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// Applies law 10's table to the profile's plain data.
pub(crate) fn judge(profile: &Profile, evidence: &Evidence) -> Verdict {
    // Where no refresh token is ever replaced, none can be spent.
    let doubt = if profile.rotates { Verdict::Doubt } else { Verdict::Unspent };
    let refused = match evidence {
        Evidence::NotSent(_) | Evidence::Unavailable(_) => return Verdict::Unspent,
        Evidence::Tokens(_) => return Verdict::Usable,
        Evidence::Lost(_) => return doubt,
        Evidence::Refused(refused) => refused,
    };
    let word = refused.error.as_deref().unwrap_or_default();
    let complete = refused.status < 500 && refused.status != 429;
    let unspent = profile.unspent_words.iter().any(|unspent| unspent == word);
    if refused.status == 429 || profile.unspent_statuses.contains(&refused.status) || unspent {
        Verdict::Unspent
    } else if complete && profile.dead_words.iter().any(|dead| dead == word) {
        Verdict::Dead
    } else if (400..500).contains(&refused.status) && word == "use_dpop_nonce" {
        Verdict::NonceWanted
    } else if complete && profile.client_words.iter().any(|client| client == word) {
        Verdict::ClientRejected
    } else {
        doubt
    }
}
