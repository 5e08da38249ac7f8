//! The laws, as checks on the ground truth: what the server saw, what the store held, and what callers were told.
//!
//! Nothing here asks a machine what it thinks. What an answer on the wire means, what may replace what in the store,
//! and which answers a caller may get are worked out anew from DESIGN's words, so that a mistake in the machines, in
//! the ledger or in the profile shows.

pub(crate) mod answers;
mod ending;
mod flights;
pub(crate) mod known;
mod sessions;
mod spending;
pub(crate) mod truth;
mod writes;

use std::time::Duration;

use tokenkeeper_actors::law::profile::{Evidence, Profile};

use crate::server::Verdict;

/// No sleep is longer than a minute (law 14).
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// An answer of the store that came within this time was not given up on.
pub(crate) const STORE_PATIENCE: crate::Millis = 4_900;

/// What an actor waits for a store operation of its own, at the least, before it calls that trouble.
pub(crate) const PATIENCE_WITH_STORE: crate::Millis = 1_500;

/// Law 10's table, from the profile's plain data.
pub(crate) fn judge(profile: &Profile, evidence: &Evidence) -> Verdict {
    let refused = match evidence {
        Evidence::NotSent(_) => return Verdict::Unspent,
        Evidence::Tokens(_) => return Verdict::Usable,
        Evidence::Lost(_) => return Verdict::Doubt,
        Evidence::Refused(refused) => refused,
    };
    let word = refused.error.as_deref().unwrap_or_default();
    let complete = refused.status < 500 && refused.status != 429;
    if refused.status == 429 || profile.unspent_statuses.contains(&refused.status) {
        Verdict::Unspent
    } else if complete && profile.dead_words.iter().any(|dead| dead == word) {
        Verdict::Dead
    } else if (400..500).contains(&refused.status) && word == "use_dpop_nonce" {
        Verdict::NonceWanted
    } else if complete && word == "invalid_client" {
        Verdict::ClientRejected
    } else {
        Verdict::Doubt
    }
}
