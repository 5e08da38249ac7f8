//! The bound on the logins that operations cause, and the scopes that were declined a short time ago (law 22).

use std::collections::BTreeMap;
use std::time::Duration;

use super::OperationKey;
use crate::values::{ElapsedTime, Epoch, Scopes};

/// The maximum number of logins that one operation may cause in [`MEMORY`]. A login that a person asks for resets the count.
const MAX_LOGINS: u32 = 3;

/// How long a login for an operation, or a declined scope, is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// The maximum number of operations, and of declined scopes, that are remembered. Beyond it, the oldest is forgotten.
const MAX_REMEMBERED: usize = 64;

/// The logins that operations have caused. They are remembered beyond the epochs that these logins began, and forgotten
/// when a person asks for a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elevations {
    operations: BTreeMap<OperationKey, OperationLogins>,
    declined: BTreeMap<String, ElapsedTime>,
    /// The epoch that the last such login began, and the operation it was for. It matters only while the lease of that epoch is
    /// young.
    last: Option<(Epoch, OperationKey)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OperationLogins {
    count: u32,
    /// The end of the count. It is set by the first login, and the others do not extend it.
    until: ElapsedTime,
}

impl Elevations {
    /// Counts a login for `operation`.
    ///
    /// # Errors
    ///
    /// Returns how long no other login may begin for it, if too many have begun already.
    pub(super) fn count(&mut self, operation: OperationKey, now: ElapsedTime) -> Result<(), Duration> {
        self.forget_old(now);
        let first = OperationLogins { count: 0, until: now.after(MEMORY) };
        let logins = self.operations.entry(operation).or_insert(first);
        if logins.count >= MAX_LOGINS {
            return Err(logins.until.since(now));
        }
        logins.count += 1;
        if self.operations.len() > MAX_REMEMBERED {
            let oldest = self.operations.iter().min_by_key(|(_, logins)| logins.until).map(|(key, _)| *key);
            oldest.and_then(|key| self.operations.remove(&key));
        }
        Ok(())
    }

    /// Notes that a login for `operation` has begun `epoch`.
    pub(super) fn login_installed(&mut self, epoch: Epoch, operation: OperationKey) {
        self.last = Some((epoch, operation));
    }

    /// Whether the lease of `epoch` is that of a login for `operation`.
    pub(super) fn was_for(&self, epoch: Epoch, operation: OperationKey) -> bool {
        self.last == Some((epoch, operation))
    }

    /// Notes that a person declined these scopes.
    pub(super) fn declined(&mut self, scopes: &Scopes, now: ElapsedTime) {
        self.declined.extend(scopes.iter().map(|scope| (scope.to_owned(), now.after(MEMORY))));
        while self.declined.len() > MAX_REMEMBERED {
            let oldest = self.declined.iter().min_by_key(|(_, until)| **until).map(|(scope, _)| scope.clone());
            oldest.and_then(|scope| self.declined.remove(&scope));
        }
    }

    /// How long a scope among `scopes` is remembered as declined; `None` if none is.
    pub(super) fn declined_for(&mut self, scopes: &Scopes, now: ElapsedTime) -> Option<Duration> {
        self.forget_old(now);
        scopes.iter().filter_map(|scope| self.declined.get(scope)).map(|until| until.since(now)).max()
    }

    /// The part that still matters at `now`.
    pub(super) fn current(&self, now: ElapsedTime) -> Self {
        let mut current = self.clone();
        current.forget_old(now);
        if current.operations.is_empty() {
            current.last = None;
        }
        current
    }

    /// Whether `is_over` holds for every remembered time. The test may ask for more than that the time has passed. The last
    /// login has no time, and does not count.
    #[cfg(feature = "runtime")]
    pub(crate) fn are_over(&self, is_over: impl Fn(ElapsedTime) -> bool) -> bool {
        let mut ends = self.operations.values().map(|logins| logins.until).chain(self.declined.values().copied());
        ends.all(is_over)
    }

    /// Forgets everything, because a person asks for a login.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn forget_old(&mut self, now: ElapsedTime) {
        self.operations.retain(|_, logins| logins.until > now);
        self.declined.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: ElapsedTime = ElapsedTime::from_millis(5);

    #[test]
    fn an_operation_gets_three_logins_in_ten_minutes() {
        let mut elevations = Elevations::default();
        let (one, other) = (OperationKey(1), OperationKey(2));
        for _ in 0..3 {
            assert_eq!(elevations.count(one, NOW), Ok(()));
        }
        let later = NOW.after(Duration::from_secs(500));
        assert_eq!(elevations.count(one, later), Err(Duration::from_secs(100)));
        assert_eq!(elevations.count(other, later), Ok(()));
        assert_eq!(elevations.clone().count(one, NOW.after(MEMORY)), Ok(()));
        elevations.forget();
        assert_eq!(elevations.count(one, later), Ok(()));
    }

    #[test]
    fn declined_scopes_are_remembered_one_by_one() {
        let mut elevations = Elevations::default();
        elevations.declined(&Scopes::new(["a", "b"]), NOW);
        let later = NOW.after(Duration::from_secs(60));
        assert_eq!(elevations.declined_for(&Scopes::new(["b", "c"]), later), Some(Duration::from_secs(540)));
        assert_eq!(elevations.declined_for(&Scopes::new(["c"]), later), None);
        assert_eq!(elevations.declined_for(&Scopes::new(["a"]), NOW.after(MEMORY)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut elevations = Elevations::default();
        for number in 0..200 {
            let now = ElapsedTime::from_millis(number);
            assert_eq!(elevations.count(OperationKey(number), now), Ok(()));
            elevations.declined(&Scopes::new([format!("s{number}")]), now);
        }
        assert_eq!((elevations.operations.len(), elevations.declined.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        assert!(elevations.declined_for(&Scopes::new(["s199"]), ElapsedTime::from_millis(200)).is_some());
    }

    #[test]
    fn the_login_of_an_operation_is_known_by_its_epoch() {
        let mut elevations = Elevations::default();
        elevations.login_installed(Epoch::new(2), OperationKey(1));
        assert!(elevations.was_for(Epoch::new(2), OperationKey(1)));
        assert!(
            !elevations.was_for(Epoch::new(3), OperationKey(1)) && !elevations.was_for(Epoch::new(2), OperationKey(2))
        );
    }
}
