//! A gateway's store with one planted fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokenkeeper_actors::values::WallTime;
use tokenkeeper_gateway::store::{Entry, Expiring, GatewayStore, Key, Person, Revision, StoreTrouble, Stored, Swapped};
use tokenkeeper_testkit::gateway_contract::{Harness, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    MakesEntriesUp,
    LosesAPersonsFamilies,
    LosesSignsBeyondAscii,
    KnowsNoKinds,
    FoldsCase,
    CutsFamilyIds,
    KeepsWhatIsRemoved,
    RemovesAll,
    ForgetsWhenRestarted,
    RevivesWhenRestarted,
    ComparesNothing,
    ComparesRemovalsWithNothing,
    CreatesOverAnEntry,
    MovesWhenRefused,
    RevisionIsOfTheEntry,
    RevisionsBeginAnewWhenRestarted,
    NeverExpires,
    ExpiresLate,
    ExpiredEntryCanBeChanged,
    ExpiredEntryTakesThePlace,
    KeepsTheFirstEnd,
    LooksThenWrites,
    AllWritesAreOne,
    ReplicaHasItsOwn,
    DropLosesTheEntry,
    IsNeverFull,
    FullRefusesAll,
    FullRefusesOtherKinds,
    ExpiredEntriesFillIt,
    RemovedEntriesFillIt,
}

/// A place, whose handles are clones of it.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    fault: Option<Fault>,
    max_persons: Option<usize>,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Clone, Debug, Default)]
struct Entries {
    by_key: BTreeMap<Key, Held>,
    removed: BTreeMap<Key, Held>,
    last_revision: u64,
    ever: usize,
    writes_under_way: usize,
}

#[derive(Clone, Debug)]
struct Held {
    entry: Entry,
    expires: WallTime,
    revision: Revision,
}

#[derive(Debug)]
pub(crate) struct FaultyHarness(pub(crate) Option<Fault>);

#[async_trait]
impl Harness for FaultyHarness {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(Faulty { fault: self.0, max_persons: None, entries: Arc::default() })
    }

    async fn small_place(&self, persons: usize) -> Option<Box<dyn Place>> {
        Some(Box::new(Faulty { fault: self.0, max_persons: Some(persons), entries: Arc::default() }))
    }
}

#[async_trait]
impl Place for Faulty {
    async fn open(&self) -> Arc<dyn GatewayStore> {
        let entries = match self.has(Fault::ReplicaHasItsOwn) {
            true => Arc::default(),
            false => Arc::clone(&self.entries),
        };
        Arc::new(Self { entries, ..self.clone() })
    }

    async fn restart(&self) -> Option<Arc<dyn GatewayStore>> {
        self.end();
        Some(self.open().await)
    }
}

#[async_trait]
impl GatewayStore for Faulty {
    async fn load(&self, key: &Key, now: WallTime) -> Result<Option<Stored>, StoreTrouble> {
        let key = self.key(key);
        let entries = self.entries();
        let held = entries.by_key.get(&key).filter(|held| !self.has_expired(held, now));
        if held.is_none() && self.has(Fault::MakesEntriesUp) {
            return Ok(Some(Stored { entry: Entry::Consent, revision: Revision(0) }));
        }
        Ok(held.map(|held| Stored { entry: held.entry.clone(), revision: held.revision }))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Revision>,
        next: Option<Expiring>,
        now: WallTime,
    ) -> Result<Swapped, StoreTrouble> {
        let key = self.key(key);
        if self.has(Fault::LooksThenWrites) {
            if self.entries().judge(self, &key, expected, next.is_some(), now) != Swapped::Done {
                return Ok(Swapped::Moved);
            }
            tokio::task::yield_now().await;
            self.entries().write(self, &key, next);
            return Ok(Swapped::Done);
        }
        if self.has(Fault::AllWritesAreOne) {
            self.entries().writes_under_way += 1;
            tokio::task::yield_now().await;
            let others = std::mem::take(&mut self.entries().writes_under_way);
            if others != 1 {
                return Ok(Swapped::Moved);
            }
        }
        let judged = self.entries().judge(self, &key, expected, next.is_some(), now);
        if judged != Swapped::Done {
            if self.has(Fault::MovesWhenRefused) {
                self.entries().touch(&key);
            }
            return Ok(judged);
        }
        if self.has(Fault::DropLosesTheEntry) {
            let before = self.entries().by_key.remove(&key);
            tokio::task::yield_now().await;
            self.entries().by_key.extend(before.map(|held| (key.clone(), held)));
        }
        let mut entries = self.entries();
        // Judged again, because a fault above may have let others in between.
        let judged = entries.judge(self, &key, expected, next.is_some(), now);
        if judged == Swapped::Done {
            entries.write(self, &key, next);
        }
        Ok(judged)
    }
}

impl Faulty {
    /// The end of all replicas.
    fn end(&self) {
        let mut entries = self.entries();
        if self.has(Fault::ForgetsWhenRestarted) {
            entries.by_key.clear();
        }
        if self.has(Fault::RevivesWhenRestarted) {
            let removed = std::mem::take(&mut entries.removed);
            entries.by_key.extend(removed);
        }
        if self.has(Fault::RevisionsBeginAnewWhenRestarted) {
            entries.last_revision = entries.by_key.values().map(|held| held.revision.0).max().unwrap_or(0);
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key under which an entry is kept.
    fn key(&self, key: &Key) -> Key {
        match key {
            Key::Consent(text) if self.has(Fault::KnowsNoKinds) => Key::Person(text.clone()),
            Key::Person(text) if self.has(Fault::FoldsCase) => Key::Person(text.to_lowercase()),
            Key::Family(id) if self.has(Fault::CutsFamilyIds) => {
                Key::Family(tokenkeeper_gateway::FamilyId(id.0 & u128::from(u64::MAX)))
            }
            key => key.clone(),
        }
    }

    fn has_expired(&self, held: &Held, now: WallTime) -> bool {
        match self.fault {
            Some(Fault::NeverExpires) => false,
            Some(Fault::ExpiresLate) => held.expires < now,
            _ => held.expires <= now,
        }
    }

    /// The entry as the store keeps it.
    fn kept(&self, entry: Entry) -> Entry {
        match entry {
            Entry::Person(person) if self.has(Fault::LosesAPersonsFamilies) => {
                Entry::Person(Person { families: Vec::new(), ..person })
            }
            Entry::Person(person) if self.has(Fault::LosesSignsBeyondAscii) => {
                let account = person.account.chars().filter(char::is_ascii).collect();
                Entry::Person(Person { account, ..person })
            }
            entry => entry,
        }
    }
}

impl Entries {
    fn judge(&self, store: &Faulty, key: &Key, expected: Option<Revision>, makes: bool, now: WallTime) -> Swapped {
        let hides = !store.has(Fault::ExpiredEntryTakesThePlace) && !store.has(Fault::ExpiredEntryCanBeChanged);
        let held = self.by_key.get(key).filter(|held| !hides || !store.has_expired(held, now));
        let expired = held.is_some_and(|held| store.has_expired(held, now));
        let present = held.map(|held| held.revision);
        let may = store.has(Fault::ComparesNothing)
            || (!makes && store.has(Fault::ComparesRemovalsWithNothing) && present.is_some())
            || (expected.is_none() && store.has(Fault::CreatesOverAnEntry))
            || (expected.is_none() && expired && store.has(Fault::ExpiredEntryCanBeChanged))
            || present == expected;
        let is_full = makes && !self.has_room(store, key, now);
        match (may, is_full) {
            (_, true) if store.has(Fault::FullRefusesAll) => Swapped::Full,
            (false, _) => Swapped::Moved,
            (true, true) if expected.is_none() => Swapped::Full,
            (true, _) => Swapped::Done,
        }
    }

    fn has_room(&self, store: &Faulty, key: &Key, now: WallTime) -> bool {
        let Some(max) = store.max_persons.filter(|_| !store.has(Fault::IsNeverFull)) else { return true };
        let counts = |key: &Key| matches!(key, Key::Person(_));
        if !counts(key) && !store.has(Fault::FullRefusesOtherKinds) {
            return true;
        }
        let is_alive = |held: &Held| store.has(Fault::ExpiredEntriesFillIt) || !store.has_expired(held, now);
        let alive = self.by_key.iter().filter(|(key, held)| counts(key) && is_alive(held)).count();
        let taken = if store.has(Fault::RemovedEntriesFillIt) { self.ever } else { alive };
        taken < max
    }

    fn write(&mut self, store: &Faulty, key: &Key, next: Option<Expiring>) {
        let before = self.by_key.get(key).cloned();
        let Some(Expiring { entry, expires }) = next else {
            if store.has(Fault::RemovesAll) {
                self.by_key.clear();
            }
            if !store.has(Fault::KeepsWhatIsRemoved) {
                self.by_key.remove(key);
            }
            self.removed.extend(before.map(|held| (key.clone(), held)));
            return;
        };
        self.last_revision += 1;
        self.ever += usize::from(before.is_none() && matches!(key, Key::Person(_)));
        let revision = match before.as_ref().map(|held| held.revision) {
            present if store.has(Fault::RevisionIsOfTheEntry) => Revision(present.map_or(1, |present| present.0 + 1)),
            _ => Revision(self.last_revision),
        };
        let expires = match before {
            Some(before) if store.has(Fault::KeepsTheFirstEnd) => before.expires,
            _ => expires,
        };
        self.by_key.insert(key.clone(), Held { entry: store.kept(entry), expires, revision });
    }

    /// Gives an entry another revision without a change.
    fn touch(&mut self, key: &Key) {
        self.last_revision += 1;
        if let Some(held) = self.by_key.get_mut(key) {
            held.revision = Revision(self.last_revision);
        }
    }
}
