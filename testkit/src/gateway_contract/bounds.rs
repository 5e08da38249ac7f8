//! The bounds of a store.

use tokenkeeper_gateway::store::{Entry, Expiring, Key, Swapped};

use super::kit::{Breach, END, Handle, KEPT, at, person, same};
use super::{Harness, Outcome, Verdict};

/// The number of persons that the small places have room for.
const ROOM: usize = 3;

const UNBOUNDED: Verdict = Ok(Outcome::NotShown("the store has no bounds of its own"));

/// A full store refuses further entries of a kind. The entries that it has stay, and the gateway can read and replace them. The
/// store counts each kind apart, so that many persons, for example, leave no family without room.
pub async fn a_full_store_refuses_further_entries_alone(harness: &dyn Harness) -> Verdict {
    let Some(place) = harness.small_place(ROOM).await else { return UNBOUNDED };
    let store = Handle(place.open().await);
    fill(&store).await?;
    let further = store.swap(&key(ROOM), None, Some(person("further"))).await?;
    same("the answer to an entry too many", further, Swapped::Full)?;
    same("an entry that found no room", store.load(&key(ROOM)).await?, None)?;
    for number in 0..ROOM {
        let stored = store.load(&key(number)).await?.ok_or_else(|| Breach::new("a full store lost an entry"))?;
        same("an entry of a full store", stored.entry, person("a"))?;
        store.put(&key(number), Some(stored.revision), person("b")).await?;
        // A change from a revision that has gone has moved, and is not refused for the room.
        store.moved(&key(number), None, Some(person("c"))).await?;
    }
    store.put(&Key::Consent("k".to_owned()), None, Entry::Consent).await?;
    KEPT
}

/// A full store has room again as soon as an entry is removed or has expired.
pub async fn a_removal_and_an_end_make_room(harness: &dyn Harness) -> Verdict {
    let Some(place) = harness.small_place(ROOM).await else { return UNBOUNDED };
    let store = Handle(place.open().await);
    fill(&store).await?;
    let first = store.load(&key(0)).await?.ok_or_else(|| Breach::new("a full store lost an entry"))?;
    same("the answer to a removal", store.swap(&key(0), Some(first.revision), None).await?, Swapped::Done)?;
    store.put_until(&key(ROOM), None, person("a"), END + 100).await?;
    let further = store.swap(&key(ROOM + 1), None, Some(person("a"))).await?;
    same("the answer to an entry too many", further, Swapped::Full)?;
    // The two that were there from the beginning have expired at this time, and not before.
    for (now, due) in [(END - 1, Swapped::Full), (END, Swapped::Done)] {
        let next = Some(Expiring { entry: person("late"), expires: at(END + 100) });
        let swapped = store.0.swap(&key(ROOM + 1), None, next, at(now)).await?;
        same("the answer to an entry while others expire", swapped, due)?;
    }
    KEPT
}

async fn fill(store: &Handle) -> Result<(), Breach> {
    for number in 0..ROOM {
        store.put(&key(number), None, person("a")).await?;
    }
    Ok(())
}

fn key(number: usize) -> Key {
    Key::Person(format!("u-{number}"))
}
