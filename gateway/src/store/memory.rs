//! The store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokenkeeper::engine::values::WallTime;

use super::{Entry, Expiring, GatewayStore, Key, Revision, StoreTrouble, Stored, Swapped};

/// The maximum numbers of entries of each kind. A store that has the maximum number of a kind takes no further entry of it, but
/// the present ones can still be replaced. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// The maximum number of families (200,000). An entry takes about 600 bytes.
    pub max_families: usize,
    /// The maximum number of persons (100,000).
    pub max_persons: usize,
    /// The maximum number of remembered consents (200,000).
    pub max_consents: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_families: 200_000, max_persons: 100_000, max_consents: 200_000 }
    }
}

/// The store of one process, in memory. Its entries end with the process, so that all clients sign in anew after a restart.
///
/// Clones share their entries. Expired entries are removed with each write, so that no task is needed.
#[derive(Clone, Debug, Default)]
pub struct MemoryGatewayStore(Arc<Shared>);

/// The state that all clones of a store share.
#[derive(Debug, Default)]
struct Shared {
    bounds: Bounds,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: BTreeMap<Key, Held>,
    by_expiry: BTreeSet<(WallTime, Key)>,
    last_revision: u64,
    counts: Counts,
}

/// An entry as it is kept.
#[derive(Debug)]
struct Held {
    entry: Entry,
    expires: WallTime,
    revision: Revision,
}

/// The numbers of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The number of families.
    pub families: usize,
    /// The number of persons.
    pub persons: usize,
    /// The number of remembered consents.
    pub consents: usize,
}

impl MemoryGatewayStore {
    /// An empty store with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Shared { bounds, entries: Mutex::default() }))
    }

    /// The numbers of entries, including those that have expired and were not removed yet.
    pub fn counts(&self) -> Counts {
        self.entries().counts
    }

    /// Locks the entries, for a few instructions.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // After a panic the lock is used all the same, because the changes before it are complete.
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl GatewayStore for MemoryGatewayStore {
    async fn load(&self, key: &Key, now: WallTime) -> Result<Option<Stored>, StoreTrouble> {
        let entries = self.entries();
        let held = entries.by_key.get(key).filter(|held| now < held.expires);
        Ok(held.map(|held| Stored { entry: held.entry.clone(), revision: held.revision }))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Revision>,
        next: Option<Expiring>,
        now: WallTime,
    ) -> Result<Swapped, StoreTrouble> {
        let mut entries = self.entries();
        entries.remove_expired(now);
        if entries.by_key.get(key).map(|held| held.revision) != expected {
            return Ok(Swapped::Moved);
        }
        if expected.is_none() && next.is_some() && !entries.has_room(key, &self.0.bounds) {
            return Ok(Swapped::Full);
        }
        entries.remove(key);
        if let Some(Expiring { entry, expires }) = next {
            entries.insert(key, entry, expires);
        }
        Ok(Swapped::Done)
    }
}

impl Entries {
    fn remove_expired(&mut self, now: WallTime) {
        while let Some((expires, key)) = self.by_expiry.first().cloned()
            && expires <= now
        {
            self.remove(&key);
        }
    }

    fn has_room(&mut self, key: &Key, bounds: &Bounds) -> bool {
        let max = match key {
            Key::Family(_) => bounds.max_families,
            Key::Person(_) => bounds.max_persons,
            Key::Consent(_) => bounds.max_consents,
        };
        *self.counts.of(key) < max
    }

    fn remove(&mut self, key: &Key) {
        if let Some(held) = self.by_key.remove(key) {
            self.by_expiry.remove(&(held.expires, key.clone()));
            *self.counts.of(key) -= 1;
        }
    }

    fn insert(&mut self, key: &Key, entry: Entry, expires: WallTime) {
        self.last_revision += 1;
        let revision = Revision(self.last_revision);
        self.by_key.insert(key.clone(), Held { entry, expires, revision });
        self.by_expiry.insert((expires, key.clone()));
        *self.counts.of(key) += 1;
    }
}

impl Counts {
    fn of(&mut self, key: &Key) -> &mut usize {
        match key {
            Key::Family(_) => &mut self.families,
            Key::Person(_) => &mut self.persons,
            Key::Consent(_) => &mut self.consents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Person;

    fn person(account: &str, expires: u64) -> Option<Expiring> {
        let entry =
            Entry::Person(Person { account: account.to_owned(), former: None, signed_out: None, families: Vec::new() });
        Some(Expiring { entry, expires: at(expires) })
    }

    fn at(millis: u64) -> WallTime {
        WallTime::from_millis(millis)
    }

    fn key(subject: u32) -> Key {
        Key::Person(subject.to_string())
    }

    #[tokio::test]
    async fn a_change_needs_the_revision_that_it_was_made_from() {
        let store = MemoryGatewayStore::default();
        assert_eq!(store.swap(&key(1), None, person("a", 100), at(0)).await, Ok(Swapped::Done));
        assert_eq!(store.swap(&key(1), None, person("b", 100), at(0)).await, Ok(Swapped::Moved));
        let first = store.load(&key(1), at(0)).await.unwrap().unwrap();
        assert_eq!(store.swap(&key(1), Some(first.revision), person("c", 100), at(0)).await, Ok(Swapped::Done));
        assert_eq!(store.swap(&key(1), Some(first.revision), None, at(0)).await, Ok(Swapped::Moved));
        let second = store.load(&key(1), at(0)).await.unwrap().unwrap();
        assert!(second.revision > first.revision);
        assert_eq!(store.swap(&key(1), Some(second.revision), None, at(0)).await, Ok(Swapped::Done));
        assert_eq!(store.load(&key(1), at(0)).await, Ok(None));
        assert_eq!(store.counts(), Counts::default());
    }

    #[tokio::test]
    async fn a_full_store_refuses_further_entries_until_others_expire() {
        let store = MemoryGatewayStore::new(Bounds { max_persons: 2, ..Bounds::default() });
        for subject in 0..2 {
            assert_eq!(store.swap(&key(subject), None, person("a", 100), at(0)).await, Ok(Swapped::Done));
        }
        assert_eq!(store.swap(&key(2), None, person("a", 200), at(99)).await, Ok(Swapped::Full));
        let held = store.load(&key(0), at(99)).await.unwrap().unwrap();
        assert_eq!(store.swap(&key(0), Some(held.revision), person("b", 200), at(99)).await, Ok(Swapped::Done));
        assert_eq!(store.load(&key(1), at(100)).await, Ok(None), "an expired entry counts as absent");
        assert_eq!(store.swap(&key(2), None, person("a", 200), at(100)).await, Ok(Swapped::Done));
        assert_eq!(store.counts().persons, 2);
    }

    #[tokio::test]
    async fn expired_entries_do_not_pile_up() {
        let store = MemoryGatewayStore::default();
        for subject in 0..10_000 {
            let now = u64::from(subject);
            store.swap(&key(subject), None, person("a", now + 10), at(now)).await.unwrap();
            assert!(store.counts().persons <= 10);
        }
    }
}
