//! A session on a virtual clock, as a story. Each step is one event, and returns its effects in words.
//!
//! The store uses the real ledger, so that versions, epochs and numbers are the real ones. Both clocks stand still
//! until a test moves them. After each step the [`Audit`] checks the contract of the session.

mod audit;
mod looks;
mod store;
mod story;
mod voyage;
#[path = "../../common/witness.rs"]
mod witness;
mod words;
mod world;

pub(crate) use audit::Audit;
pub(crate) use store::{ISSUER, Marks, Store, binding, digests, login};
pub(crate) use story::{Question, Story};
pub(crate) use voyage::{Answer, Voyage};
pub(crate) use witness::{Witness, base64};
pub(crate) use words::Told;

use std::time::Duration;

use tokenkeeper_actors::law::session::{Birth, Policy};
use tokenkeeper_actors::values::{
    AccessToken, BootId, Cause, ElapsedTime, Epoch, FlightId, Generation, Jitter, Lease, LeaseParts, Moment, Nonce,
    Now, RenewalPlan, SourceName, TokenKind, Validity, WallTime,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The default policy, under which callers learn of the first failure.
pub(crate) fn once() -> Policy {
    Policy { max_attempts: 1, ..Policy::default() }
}

pub(crate) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The generation of a stored token.
pub(crate) fn generation(epoch: u64, number: u64) -> Generation {
    Generation::stored(Epoch::new(epoch), number)
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::new(number)
}

/// The plan of an identity whose source needs no login.
pub(crate) fn repeatable() -> RenewalPlan {
    RenewalPlan::repeatable(SourceName::default())
}

/// The start of every story, some time after the boot and the epoch of the wall clock.
pub(crate) fn beginning() -> Moment {
    Moment {
        wall: WallTime::from_millis(1_800_000_000_000),
        elapsed: ElapsedTime::from_millis(10_000_000),
        boot: BootId(1),
    }
}

pub(crate) fn now(moment: Moment, jitter: u16) -> Now {
    Now { moment, jitter: Jitter::new(jitter) }
}

/// The random values for an actor.
pub(crate) fn birth(incarnation: u128) -> Birth {
    Birth { nonce: Nonce(0xabc), flights: FlightId(1_000 * (incarnation + 1)) }
}

/// A lease that no store holds.
pub(crate) fn unsaved(generation: Generation, validity: Validity, cause: Cause) -> Lease {
    Lease::new(LeaseParts {
        token: AccessToken::new("at-unsaved"),
        kind: TokenKind::Bearer,
        generation,
        scopes: Default::default(),
        validity,
        cause,
        proof_key: None,
    })
}
