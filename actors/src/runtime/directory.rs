//! The directory of a runtime's slots.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{self, fence};
use std::sync::{Arc, Mutex};

use super::slot::Slot;
use crate::sync::lock;
use crate::values::ServerIdentity;

/// The number of slots that are checked while the lock is held once.
const CHUNK: usize = 1_000;

/// The slots of a runtime, by their identities.
///
/// All references to a slot come from here, or are copies of such references. A slot to which only the directory refers
/// cannot get another reference while the directory is locked.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<BTreeSet<Entry>>);

impl Directory {
    /// Returns the slot of `identity`, and whether it is new. Calls `make` if there is none.
    pub(crate) fn open(&self, identity: &ServerIdentity, make: impl FnOnce() -> Slot) -> (Arc<Slot>, bool) {
        let mut slots = lock(&self.0);
        if let Some(Entry(slot)) = slots.get(identity) {
            return (Arc::clone(slot), false);
        }
        let slot = Arc::new(make());
        slots.insert(Entry(Arc::clone(&slot)));
        (slot, true)
    }

    pub(crate) fn find(&self, identity: &ServerIdentity) -> Option<Arc<Slot>> {
        lock(&self.0).get(identity).map(|Entry(slot)| Arc::clone(slot))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        lock(&self.0).iter().map(|Entry(slot)| Arc::clone(slot)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Checks a thousand slots after the identity `after`, or the first thousand. Removes those that are blank and to
    /// which nothing else refers. Returns the last checked identity, if there may be more.
    ///
    /// A handle, an actor, a flight, a parked request and a message to the supervisor are references.
    pub(crate) fn remove(
        &self,
        after: Option<&ServerIdentity>,
        is_blank: impl Fn(&Slot) -> bool,
    ) -> Option<ServerIdentity> {
        let (blank, last) = {
            let mut slots = lock(&self.0);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let chunk: Vec<&Entry> = slots.range::<ServerIdentity, _>((from, Bound::Unbounded)).take(CHUNK).collect();
            let last = chunk.last().filter(|_| chunk.len() == CHUNK).map(|Entry(slot)| slot.identity.clone());
            let is_unused = |slot: &Arc<Slot>| {
                let is_alone = Arc::strong_count(slot) == 1;
                // Orders the following reads after all that was done through the references that are gone.
                fence(atomic::Ordering::Acquire);
                is_alone && is_blank(slot)
            };
            let unused = chunk.into_iter().filter(|Entry(slot)| is_unused(slot));
            let unused: Vec<ServerIdentity> = unused.map(|Entry(slot)| slot.identity.clone()).collect();
            let blank: Vec<Entry> = unused.iter().filter_map(|identity| slots.take(identity)).collect();
            (blank, last)
        };
        // The slots are dropped after the lock is released, because dropping them takes time.
        drop(blank);
        last
    }
}

/// A slot, ordered by its identity.
#[derive(Debug)]
struct Entry(Arc<Slot>);

impl Borrow<ServerIdentity> for Entry {
    fn borrow(&self) -> &ServerIdentity {
        &self.0.identity
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity == other.0.identity
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.identity.cmp(&other.0.identity)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test's own threads")]
pub(crate) mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use async_trait::async_trait;

    use super::*;
    use crate::law::flight::{Revocation, Spending, TokenRequest};
    use crate::law::profile::{Evidence, NotSent};
    use crate::ports::source::{NotRevoked, TokenSource};
    use crate::runtime::core::Core;
    use crate::runtime::plan::{Plan, Settings};
    use crate::runtime::slot::Router;
    use crate::values::{Account, DigestKey, Target};

    #[derive(Debug)]
    pub(crate) struct NoSource;

    #[async_trait]
    impl TokenSource for NoSource {
        fn spending(&self) -> Spending {
            Spending::default()
        }

        async fn request(&self, _identity: &ServerIdentity, _request: TokenRequest) -> Evidence {
            Evidence::NotSent(NotSent::Unbuildable)
        }

        async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> Result<(), NotRevoked> {
            Err(NotRevoked::NotOffered)
        }
    }

    /// Makes slots.
    pub(crate) fn maker() -> impl Fn(&ServerIdentity) -> Slot + Send + Sync {
        let plan = Arc::new(Plan::new(Settings::new(Arc::new(NoSource)), DigestKey::new([0; 32])));
        let core: Weak<dyn Router> = Weak::<Core>::new();
        let router = Arc::new(core);
        move |identity| Slot::new(identity.clone(), Arc::clone(&plan), Arc::clone(&router))
    }

    pub(crate) fn identity(number: usize) -> ServerIdentity {
        let account = Account::new(format!("account-{number:05}")).unwrap();
        ServerIdentity::new(account, Target::mcp("https://mcp.example.com/mcp").unwrap())
    }

    fn remove_all(directory: &Directory, is_blank: impl Fn(&Slot) -> bool) {
        let mut after = directory.remove(None, &is_blank);
        while let Some(identity) = after {
            after = directory.remove(Some(&identity), &is_blank);
        }
    }

    #[test]
    fn the_blank_ones_among_many_are_removed() {
        let (directory, make) = (Directory::default(), maker());
        for number in 0..2_500 {
            directory.open(&identity(number), || make(&identity(number)));
        }
        let held: Vec<Arc<Slot>> =
            (0..2_500).step_by(100).map(|number| directory.find(&identity(number)).unwrap()).collect();
        let kept = [identity(7), identity(999), identity(1_001), identity(2_499)];
        remove_all(&directory, |slot| !kept.contains(&slot.identity));
        assert_eq!(directory.len(), held.len() + kept.len());
        drop(held);
        remove_all(&directory, |slot| !kept.contains(&slot.identity));
        assert_eq!(directory.all().iter().map(|slot| slot.identity.clone()).collect::<Vec<_>>(), kept);
        remove_all(&directory, |_| true);
        assert_eq!(directory.len(), 0);
    }

    #[test]
    fn a_slot_to_which_something_refers_is_the_one_in_the_directory() {
        let (directory, make) = (Directory::default(), maker());
        let (ends, made) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let removed = || made.load(atomic::Ordering::Relaxed) > 1;
                        for _ in (0..20_000_000).take_while(|turn| *turn < 20_000 || !removed()) {
                            let (slot, is_new) = directory.open(&identity(1), || make(&identity(1)));
                            made.fetch_add(usize::from(is_new), atomic::Ordering::Relaxed);
                            let found =
                                directory.find(&identity(1)).expect("the slot is held, so it stays in the directory");
                            assert!(Arc::ptr_eq(&slot, &found), "one slot for an identity");
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !ends.load(atomic::Ordering::Relaxed) {
                    remove_all(&directory, |_| true);
                }
            });
            openers.into_iter().for_each(|opener| opener.join().unwrap());
            ends.store(true, atomic::Ordering::Relaxed);
        });
        assert!(made.into_inner() > 1, "the slot was removed while other threads opened it");
        remove_all(&directory, |_| true);
        assert_eq!(directory.len(), 0);
    }
}
