//! Operations for which a refresh does not help (law 11).

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::values::{Cause, ElapsedTime, ExponentialBackoff, Lease, Moment};

/// Names an operation at the resource. The host chooses it, for example a digest of the method and tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey(pub u64);

impl OperationKey {
    /// The key of the operation with this name, for example `tools/call search`. It is the same in every process and version.
    pub fn of(name: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Names the challenge that came with a refusal, by a digest of its meaning. If the challenge is another one, a refresh
/// may help again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChallengeKey(pub u64);

/// The operations that a resource refuses even with a token minted for the refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Futility(BTreeMap<(OperationKey, ChallengeKey), FutileOperation>);

/// How many times a refresh did not help, and when one may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FutileOperation {
    times: u32,
    until: ElapsedTime,
}

/// A lease minted for a refusal is young for this long, or for half its lifetime if that is less.
const YOUTH: Duration = Duration::from_secs(30);

/// The first pause before another refresh is tried for an operation.
const INITIAL_PAUSE: Duration = Duration::from_secs(30);

/// The maximum number of operations that are remembered. Beyond it, the operation whose pause ends first is forgotten.
const MAX_OPERATIONS: usize = 64;

impl Futility {
    /// How long a refresh is known not to help this operation with this challenge; `None` if it may help.
    pub(super) fn pause(&self, key: (OperationKey, ChallengeKey), now: ElapsedTime) -> Option<Duration> {
        let left = self.0.get(&key)?.until.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether a refusal of `lease` at `now` shows that a refresh does not help. That is so if the lease was minted
    /// because of a refusal, by this process or a sibling, and is still young.
    pub(super) fn shows_in(lease: &Lease, now: &Moment) -> bool {
        lease.cause() == Cause::Refusal && Self::is_young(lease, now)
    }

    /// Whether `lease` was minted a short time ago.
    pub(super) fn is_young(lease: &Lease, now: &Moment) -> bool {
        let validity = lease.validity();
        let youth = validity.lifetime().map_or(YOUTH, |lifetime| YOUTH.min(lifetime / 2));
        let minted = validity.anchored();
        let age = now.elapsed_since(&minted).unwrap_or_else(|| now.wall.since(minted.wall));
        age < youth
    }

    /// Remembers that a refresh did not help. Returns the pause until the next one, which is at most `max`.
    pub(super) fn remember(&mut self, key: (OperationKey, ChallengeKey), max: Duration, now: ElapsedTime) -> Duration {
        let times = self.0.get(&key).map_or(0, |entry| entry.times).saturating_add(1);
        let pause = ExponentialBackoff::new(INITIAL_PAUSE, max).pause(times);
        self.0.insert(key, FutileOperation { times, until: now.after(pause) });
        if self.0.len() > MAX_OPERATIONS
            && let Some(first) = self.0.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| *key)
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
    fn an_operations_key_is_the_beginning_of_its_names_digest() {
        // `printf 'tools/call search' | sha256sum`
        assert_eq!(OperationKey::of("tools/call search"), OperationKey(0x7998_d3bb_0c3b_4445));
        assert_ne!(OperationKey::of("tools/call search"), OperationKey::of("tools/call find"));
    }

    #[test]
    fn only_a_young_lease_minted_for_a_refusal_shows_futility() {
        assert!(Futility::shows_in(&lease(Cause::Refusal, Some(3_600)), &at(29)));
        assert!(!Futility::shows_in(&lease(Cause::Refusal, Some(3_600)), &at(30)));
        assert!(Futility::shows_in(&lease(Cause::Refusal, Some(20)), &at(9)));
        assert!(!Futility::shows_in(&lease(Cause::Refusal, Some(20)), &at(10)));
        assert!(Futility::shows_in(&lease(Cause::Refusal, None), &at(29)));
        assert!(!Futility::shows_in(&lease(Cause::Expiry, Some(3_600)), &at(1)));
        // The age of a sibling's lease from another host is taken from the wall clock.
        assert!(Futility::shows_in(&lease(Cause::Refusal, None), &Moment { boot: BootId(7), ..at(29) }));
        assert!(!Futility::shows_in(&lease(Cause::Refusal, None), &Moment { boot: BootId(7), ..at(30) }));
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_each_operation_has_its_own() {
        let (key, other) = ((OperationKey(1), ChallengeKey(1)), (OperationKey(1), ChallengeKey(2)));
        let mut futility = Futility::default();
        let max = Duration::from_secs(100);
        let now = ElapsedTime::from_millis(5);
        for expected in [30, 60, 100, 100] {
            assert_eq!(futility.remember(key, max, now), Duration::from_secs(expected));
        }
        assert_eq!(futility.pause(key, now), Some(max));
        assert_eq!(futility.pause(key, now.after(max)), None);
        assert_eq!(futility.pause(other, now), None);
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_operation_whose_pause_ends_first() {
        let mut futility = Futility::default();
        for operation in 0..100 {
            let now = ElapsedTime::from_millis(operation);
            futility.remember((OperationKey(operation), ChallengeKey(0)), YOUTH, now);
        }
        assert_eq!(futility.0.len(), MAX_OPERATIONS);
        assert!(futility.pause((OperationKey(99), ChallengeKey(0)), ElapsedTime::from_millis(100)).is_some());
        assert!(futility.pause((OperationKey(0), ChallengeKey(0)), ElapsedTime::from_millis(100)).is_none());
    }
}
