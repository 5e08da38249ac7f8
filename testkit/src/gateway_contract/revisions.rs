//! Revisions, by which changes are compared.

use tokenkeeper_gateway::store::{Key, Revision, Swapped};

use super::entries::IN_MEMORY;
use super::kit::{Breach, Handle, KEPT, NOW, at, ensure, person, same};
use super::{Harness, Verdict};

/// An entry is replaced or removed from its present revision alone.
pub async fn a_change_needs_the_present_revision(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = key();
    let first = store.put(&key, None, person("a")).await?;
    let second = store.put(&key, Some(first), person("b")).await?;
    store.moved(&key, Some(first), Some(person("c"))).await?;
    store.moved(&key, Some(first), None).await?;
    store.moved(&key, Some(Revision(second.0.wrapping_add(1))), Some(person("c"))).await?;
    store.put(&key, Some(second), person("c")).await?;
    KEPT
}

/// A new entry is made where none is, and never in the place of another.
pub async fn a_new_entry_needs_the_absence_of_one(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = key();
    let revision = store.put(&key, None, person("a")).await?;
    store.moved(&key, None, Some(person("b"))).await?;
    store.moved(&key, None, None).await?;
    store.holds(&key, person("a"), revision).await?;
    KEPT
}

/// A change that is refused leaves the entry and its revision as they were.
pub async fn a_refused_change_changes_nothing(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = key();
    let stale = store.put(&key, None, person("a")).await?;
    let revision = store.put(&key, Some(stale), person("b")).await?;
    for next in [Some(person("c")), None] {
        store.moved(&key, Some(stale), next).await?;
        store.holds(&key, person("b"), revision).await?;
    }
    store.put(&key, Some(revision), person("d")).await?;
    KEPT
}

/// No two entries of a key have one revision, also where they are equal, or one was removed or has expired in between.
/// Otherwise a slow replica would replace an entry that it never read.
pub async fn a_revision_never_comes_back(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = key();
    let mut seen = vec![store.put(&key, None, person("a")).await?];
    for _ in 0..3 {
        let last = seen.last().copied();
        seen.push(store.put(&key, last, person("a")).await?);
    }
    for _ in 0..3 {
        let last = seen.last().copied();
        same("the answer to a removal", store.swap(&key, last, None).await?, Swapped::Done)?;
        seen.push(store.put(&key, None, person("a")).await?);
    }
    let last = seen.last().copied();
    seen.push(store.put_until(&key, last, person("a"), NOW + 1).await?);
    let next = tokenkeeper_gateway::store::Expiring { entry: person("a"), expires: at(NOW + 10) };
    let renewed = store.0.swap(&key, None, Some(next), at(NOW + 1)).await?;
    same("the answer to a new entry after the end of another", renewed, Swapped::Done)?;
    seen.push(store.load(&key).await?.ok_or_else(|| Breach::new("a new entry is not there"))?.revision);
    distinct(seen)?;
    KEPT
}

/// A restart begins no revisions anew, not even those of entries that were removed before.
pub async fn a_revision_never_comes_back_after_a_restart(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let mut store = Handle(place.open().await);
    let key = key();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let revision = store.put(&key, None, person("a")).await?;
        seen.push(revision);
        same("the answer to a removal", store.swap(&key, Some(revision), None).await?, Swapped::Done)?;
        drop(store);
        let Some(again) = place.restart().await else { return IN_MEMORY };
        store = Handle(again);
    }
    distinct(seen)?;
    KEPT
}

fn distinct(mut seen: Vec<Revision>) -> Result<(), Breach> {
    let shown = format!("{seen:?}");
    let all = seen.len();
    seen.sort();
    seen.dedup();
    ensure(seen.len() == all, || format!("a revision came back among {shown}"))
}

fn key() -> Key {
    Key::Person("u-1".to_owned())
}
