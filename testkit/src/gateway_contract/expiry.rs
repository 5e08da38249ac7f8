//! The ends of entries.

use tokenkeeper_gateway::store::{Expiring, Key, Swapped};

use super::kit::{Breach, END, Handle, KEPT, NOW, at, person, same};
use super::{Harness, Verdict};

/// An entry is there until its end, and from then on there is none, for reads and for changes.
pub async fn an_entry_is_absent_from_its_end_on(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let (key, other) = (key(), Key::Consent("later".to_owned()));
    let revision = store.put(&key, None, person("a")).await?;
    store.put_until(&other, None, person("b"), END + 1).await?;
    let before = store.0.load(&key, at(END - 1)).await?.map(|stored| stored.entry);
    same("an entry just before its end", before, Some(person("a")))?;
    for now in [END, END + 1, u64::MAX] {
        same("an entry from its end on", store.0.load(&key, at(now)).await?, None)?;
    }
    let next = Some(Expiring { entry: person("c"), expires: at(END + 100) });
    let replaced = store.0.swap(&key, Some(revision), next, at(END)).await?;
    same("the answer to a change of an expired entry", replaced, Swapped::Moved)?;
    let removed = store.0.swap(&key, Some(revision), None, at(END)).await?;
    same("the answer to the removal of an expired entry", removed, Swapped::Moved)?;
    let kept = store.0.load(&other, at(END)).await?.map(|stored| stored.entry);
    same("an entry that ends later", kept, Some(person("b")))?;
    KEPT
}

/// In the place of an expired entry a new one is made as where none was.
pub async fn an_expired_entry_makes_room_for_a_new_one(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = key();
    store.put(&key, None, person("a")).await?;
    let next = Some(Expiring { entry: person("b"), expires: at(END + 100) });
    let made = store.0.swap(&key, None, next, at(END)).await?;
    same("the answer to a new entry in the place of an expired one", made, Swapped::Done)?;
    for now in [END, END + 99] {
        let found = store.0.load(&key, at(now)).await?.map(|stored| stored.entry);
        same("a new entry in the place of an expired one", found, Some(person("b")))?;
    }
    same("the new entry at its end", store.0.load(&key, at(END + 100)).await?, None)?;
    KEPT
}

/// A replacement has its own end, earlier or later than that of the entry before.
pub async fn the_newest_end_counts(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = key();
    let first = store.put_until(&key, None, person("a"), NOW + 10).await?;
    let later = store.put_until(&key, Some(first), person("b"), NOW + 100).await?;
    // Another change at that time, so that a store which removes expired entries then does it.
    let other = Some(Expiring { entry: person("x"), expires: at(END) });
    store.0.swap(&Key::Person("u-2".to_owned()), None, other, at(NOW + 50)).await?;
    let found = store.0.load(&key, at(NOW + 50)).await?;
    let found = found.ok_or_else(|| Breach::new("an entry ended at the end of the one before"))?;
    same("the revision of an entry past the end of the one before", found.revision, later)?;
    store.put_until(&key, Some(later), person("c"), NOW + 20).await?;
    same("an entry at its own end", store.0.load(&key, at(NOW + 20)).await?, None)?;
    KEPT
}

fn key() -> Key {
    Key::Person("u-1".to_owned())
}
