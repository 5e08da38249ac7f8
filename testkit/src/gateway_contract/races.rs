//! Many callers at once, in one process and in several.

use std::task::{Context, Waker};

use tokenkeeper_gateway::store::{Entry, Key, Revision, StoreTrouble, Swapped};

use super::kit::{Breach, CONTENDERS, Handle, KEPT, ROUNDS, at_once, ensure, one_winner, person, same};
use super::{Harness, Place, Verdict};

/// Of many that make an entry where none is, one does, and its entry is the one that is stored.
pub async fn of_many_new_entries_at_once_one_is_made(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let handles = handles(&*place).await;
    for round in 0..ROUNDS {
        let key = Key::Person(format!("u-{round}"));
        race(&handles, &key, None).await?;
    }
    KEPT
}

/// Of many that replace an entry which all of them read, one does, so that of many refreshes one rotates the token.
pub async fn of_many_replacements_at_once_one_is_made(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let handles = handles(&*place).await;
    let key = Key::Person("u-1".to_owned());
    let mut present = handles[0].put(&key, None, person("first")).await?;
    for _ in 0..ROUNDS {
        present = race(&handles, &key, Some(present)).await?;
    }
    KEPT
}

/// Of removals and replacements of one entry, one is made, and nothing is brought back that was removed.
pub async fn of_a_removal_and_a_replacement_at_once_one_is_made(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let handles = handles(&*place).await;
    for round in 0..ROUNDS {
        let key = Key::Person(format!("u-{round}"));
        let present = handles[0].put(&key, None, person("first")).await?;
        let next = |place: usize| place.is_multiple_of(2).then(|| person(place.to_string()));
        let results = at_once(contenders(&handles, &key, Some(present), next)).await?;
        let winner = one_winner(&results)?;
        let found = handles[0].load(&key).await?.map(|stored| stored.entry);
        same("what is stored after a race", found, next(winner))?;
    }
    KEPT
}

/// Changes of different keys do not hinder each other.
pub async fn changes_of_many_keys_at_once_are_all_made(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let handles = handles(&*place).await;
    let keys: Vec<_> = (0..4 * CONTENDERS).map(|number| Key::Consent(format!("k-{number}"))).collect();
    let changes = keys.iter().enumerate().map(|(number, key)| {
        let (store, key) = (handles[number % handles.len()].clone(), key.clone());
        async move { store.swap(&key, None, Some(Entry::Consent)).await }
    });
    let results = at_once(changes).await?;
    ensure(results.iter().all(|result| *result == Swapped::Done), || {
        format!("changes of different keys were refused: {results:?}")
    })?;
    for key in &keys {
        let found = handles[0].load(key).await?.map(|stored| stored.entry);
        same("an entry that was made beside others", found, Some(Entry::Consent))?;
    }
    KEPT
}

/// A change that has been answered is seen by every replica from then on.
pub async fn replicas_see_each_others_changes(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let (one, other) = (Handle(place.open().await), Handle(place.open().await));
    let key = Key::Person("u-1".to_owned());
    same("an entry before it is made", other.load(&key).await?, None)?;
    let first = one.put(&key, None, person("a")).await?;
    other.holds(&key, person("a"), first).await?;
    let second = other.put(&key, Some(first), person("b")).await?;
    one.holds(&key, person("b"), second).await?;
    one.moved(&key, Some(first), Some(person("c"))).await?;
    same("the answer to a removal", one.swap(&key, Some(second), None).await?, Swapped::Done)?;
    same("an entry that another replica has removed", other.load(&key).await?, None)?;
    KEPT
}

/// A change whose caller goes away leaves the entry as it was or as it was to be, and the next change is made as ever.
pub async fn a_change_that_is_dropped_is_made_or_not_made(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    for round in 0..4 * ROUNDS {
        let key = Key::Person(format!("u-{round}"));
        let before = store.put(&key, None, person("before")).await?;
        begin_and_drop(&store, &key, before, round).await;
        let mut made = false;
        // The dropped change may be made while this one is under way, which moves the entry once.
        for _ in 0..2 {
            let stored = store.load(&key).await?.ok_or_else(|| Breach::new("a dropped change removed the entry"))?;
            ensure([person("before"), person("dropped")].contains(&stored.entry), || {
                format!("a dropped change left {:?}", stored.entry)
            })?;
            if store.swap(&key, Some(stored.revision), Some(person("after"))).await? == Swapped::Done {
                made = true;
                break;
            }
        }
        ensure(made, || "no change was made after one that was dropped".to_owned())?;
        let found = store.load(&key).await?.map(|stored| stored.entry);
        same("what is stored after a dropped change and a further one", found, Some(person("after")))?;
    }
    KEPT
}

/// Polls a change `times` times, without waiting for it, and drops it.
async fn begin_and_drop(store: &Handle, key: &Key, present: Revision, times: usize) {
    let mut change = Box::pin(store.swap(key, Some(present), Some(person("dropped"))));
    for _ in 0..times {
        if change.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
}

/// Two handles, as two replicas have them.
async fn handles(place: &dyn Place) -> [Handle; 2] {
    [Handle(place.open().await), Handle(place.open().await)]
}

/// Lets contenders store different entries from one revision. Returns the revision of the one that is stored.
async fn race(handles: &[Handle; 2], key: &Key, present: Option<Revision>) -> Result<Revision, Breach> {
    let results = at_once(contenders(handles, key, present, |place| Some(person(place.to_string())))).await?;
    let winner = one_winner(&results)?;
    let stored = handles[0].load(key).await?.ok_or_else(|| Breach::new("the entry of a race is not there"))?;
    same("what is stored after a race", stored.entry, person(winner.to_string()))?;
    handles[1].holds(key, person(winner.to_string()), stored.revision).await?;
    Ok(stored.revision)
}

fn contenders(
    handles: &[Handle; 2],
    key: &Key,
    present: Option<Revision>,
    next: impl Fn(usize) -> Option<Entry>,
) -> Vec<impl Future<Output = Result<Swapped, StoreTrouble>> + Send + 'static> {
    let contender = |place: usize| {
        let (store, key, next) = (handles[place % 2].clone(), key.clone(), next(place));
        async move { store.swap(&key, present, next).await }
    };
    (0..CONTENDERS).map(contender).collect()
}
