//! The laws, as checks on the ground truth. The checks use the requests at the server, the records in the store and
//! the answers to callers.
//!
//! No check asks a machine for its own view. The meaning of an answer on the wire, the changes that the store may make
//! and the answers that a caller may get are worked out again from DESIGN's words. So a mistake in the machines, in
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

/// A store answer within this time arrived before the operation timed out.
pub(crate) const STORE_PATIENCE: crate::Millis = 4_900;

/// The minimum time that an actor waits for its own store operation before it reports trouble.
pub(crate) const PATIENCE_WITH_STORE: crate::Millis = 1_500;

/// Applies law 10's table to the profile's plain data.
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
