//! A refresh that does not help is not repeated (law 11).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::values::{Cause, ElapsedTime, Lease, Moment};

/// Names an operation at the resource, as the host sees fit: a digest of the method and tool, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey(pub u64);

/// Names the challenge that came with a refusal: a digest of its meaning. A changed challenge is a new question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChallengeKey(pub u64);

/// The operations that a resource refuses even with a token minted for the refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Futility(BTreeMap<(OperationKey, ChallengeKey), Hopeless>);

/// How often refreshing did not help, and until when it is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hopeless {
    times: u32,
    until: ElapsedTime,
}

/// A lease minted for a refusal is young for this long, or for half its lifetime where that is less.
const YOUTH: Duration = Duration::from_secs(30);

/// The first pause before another refresh is tried for an operation; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(30);

/// Operations remembered. Beyond that the one whose pause ends first is forgotten.
const REMEMBERED: usize = 64;

impl Futility {
    /// How long refreshing is known not to help this operation with this challenge; `None` where it may.
    pub(super) fn pause(&self, key: (OperationKey, ChallengeKey), now: ElapsedTime) -> Option<Duration> {
        let left = self.0.get(&key)?.until.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether a refusal of `lease` at `now` shows that refreshing does not help: it was minted because of a refusal,
    /// by us or by a sibling, and is still young.
    pub(super) fn shows_in(lease: &Lease, now: &Moment) -> bool {
        let validity = lease.validity();
        let youth = validity.lifetime().map_or(YOUTH, |lifetime| YOUTH.min(lifetime / 2));
        let minted = validity.anchored();
        let age = now.elapsed_since(&minted).unwrap_or_else(|| now.wall.since(minted.wall));
        lease.cause() == Cause::Refusal && age < youth
    }

    /// Remembers that refreshing did not help, and for how long it is not tried again.
    pub(super) fn remember(&mut self, key: (OperationKey, ChallengeKey), most: Duration, now: ElapsedTime) -> Duration {
        let times = self.0.get(&key).map_or(0, |hopeless| hopeless.times);
        let pause = PAUSE_FIRST.saturating_mul(1 << times.min(16)).min(most);
        self.0.insert(key, Hopeless { times: times + 1, until: now.after(pause) });
        if self.0.len() > REMEMBERED
            && let Some(first) = self.0.iter().min_by_key(|(_, hopeless)| hopeless.until).map(|(key, _)| *key)
        {
            self.0.remove(&first);
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{AccessToken, BootId, Epoch, Generation, LeaseParts, Scopes, TokenKind, Validity, WallTime};

    fn lease(cause: Cause, lifetime: Option<u64>) -> Lease {
        Lease::new(LeaseParts {
            token: AccessToken::new("at"),
            kind: TokenKind::Bearer,
            generation: Generation::stored(Epoch::new(1), 1),
            scopes: Scopes::default(),
            validity: Validity::new(Moment::default(), lifetime.map(Duration::from_secs)),
            cause,
            proof_key: None,
        })
    }

    fn at(seconds: u64) -> Moment {
        let elapsed = ElapsedTime::from_millis(seconds * 1_000);
        Moment { elapsed, wall: WallTime::from_millis(seconds * 1_000), boot: BootId(0) }
    }

    #[test]
    fn only_a_young_lease_minted_for_a_refusal_shows_futility() {
        assert!(Futility::shows_in(&lease(Cause::Refusal, Some(3_600)), &at(29)));
        assert!(!Futility::shows_in(&lease(Cause::Refusal, Some(3_600)), &at(30)));
        assert!(Futility::shows_in(&lease(Cause::Refusal, Some(20)), &at(9)));
        assert!(!Futility::shows_in(&lease(Cause::Refusal, Some(20)), &at(10)));
        assert!(Futility::shows_in(&lease(Cause::Refusal, None), &at(29)));
        assert!(!Futility::shows_in(&lease(Cause::Expiry, Some(3_600)), &at(1)));
        // By a sibling on another host, the wall clock says how young it is.
        assert!(Futility::shows_in(&lease(Cause::Refusal, None), &Moment { boot: BootId(7), ..at(29) }));
        assert!(!Futility::shows_in(&lease(Cause::Refusal, None), &Moment { boot: BootId(7), ..at(30) }));
    }

    #[test]
    fn pauses_double_up_to_the_most_and_each_operation_has_its_own() {
        let (key, other) = ((OperationKey(1), ChallengeKey(1)), (OperationKey(1), ChallengeKey(2)));
        let mut futility = Futility::default();
        let most = Duration::from_secs(100);
        let now = ElapsedTime::from_millis(5);
        for expected in [30, 60, 100, 100] {
            assert_eq!(futility.remember(key, most, now), Duration::from_secs(expected));
        }
        assert_eq!(futility.pause(key, now), Some(most));
        assert_eq!(futility.pause(key, now.after(most)), None);
        assert_eq!(futility.pause(other, now), None);
    }

    #[test]
    fn memory_is_bounded_and_forgets_what_ends_first() {
        let mut futility = Futility::default();
        for operation in 0..100 {
            let now = ElapsedTime::from_millis(operation);
            futility.remember((OperationKey(operation), ChallengeKey(0)), YOUTH, now);
        }
        assert_eq!(futility.0.len(), REMEMBERED);
        assert!(futility.pause((OperationKey(99), ChallengeKey(0)), ElapsedTime::from_millis(100)).is_some());
        assert!(futility.pause((OperationKey(0), ChallengeKey(0)), ElapsedTime::from_millis(100)).is_none());
    }
}
