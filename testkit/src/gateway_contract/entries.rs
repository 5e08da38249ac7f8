//! Entries, which are written whole, read whole, kept and told apart.

use tokenkeeper_gateway::store::{Entry, Key, Person, Revision, Swapped};
use tokenkeeper_gateway::{Family, FamilyId, Grant, Phase};

use super::kit::{Handle, KEPT, person, same};
use super::{Harness, Outcome, Verdict};

/// An empty place has no entry. The absence of one is no revision, and may be removed.
pub async fn nothing_is_there_at_first(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let key = Key::Person("u-1".to_owned());
    same("the entry of an unknown key", store.load(&key).await?, None)?;
    for number in [0, 1, u64::MAX] {
        store.moved(&key, Some(Revision(number)), Some(person("a"))).await?;
        store.moved(&key, Some(Revision(number)), None).await?;
    }
    same("the removal of nothing", store.swap(&key, None, None).await?, Swapped::Done)?;
    same("the entry of an unknown key", store.load(&key).await?, None)?;
    KEPT
}

/// Every field of an entry is stored and read back exactly, in every shape an entry can take.
pub async fn each_kind_of_entry_comes_back_whole(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    for (key, entry) in shapes() {
        let revision = store.put(&key, None, entry.clone()).await?;
        store.holds(&key, entry, revision).await?;
    }
    for (key, entry) in shapes() {
        let found = store.load(&key).await?.map(|stored| stored.entry);
        same("an entry after others were stored", found, Some(entry))?;
    }
    KEPT
}

/// Keys that look alike are different keys, whichever kind they are.
pub async fn keys_are_told_apart(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let texts = ["a", "A", "a ", "a/b", "a:b", "a\0b", "a%2Fb", "á", "a\u{301}", "*", ""];
    let mut keys: Vec<Key> = texts.map(|text| Key::Person(text.to_owned())).to_vec();
    keys.extend(texts.map(|text| Key::Consent(text.to_owned())));
    keys.extend([0, 1, 0x10, 1 << 64, u128::MAX].map(|number| Key::Family(FamilyId(number))));
    keys.extend([Key::Person("1".to_owned()), Key::Consent("1".to_owned())]);
    let mut written = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        same("the entry of a key that is not used yet", store.load(key).await?, None)?;
        let entry = person(place.to_string());
        written.push((store.put(key, None, entry.clone()).await?, entry));
    }
    for (key, (revision, entry)) in keys.iter().zip(written) {
        store.holds(key, entry, revision).await?;
    }
    KEPT
}

/// A removal leaves nothing, and others' entries stay.
pub async fn a_removed_entry_is_absent(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let (key, other) = (Key::Person("u-1".to_owned()), Key::Person("u-2".to_owned()));
    let revision = store.put(&key, None, person("a")).await?;
    let kept = store.put(&other, None, person("b")).await?;
    same("the answer to a removal", store.swap(&key, Some(revision), None).await?, Swapped::Done)?;
    same("a removed entry", store.load(&key).await?, None)?;
    store.moved(&key, Some(revision), None).await?;
    store.holds(&other, person("b"), kept).await?;
    store.put(&key, None, person("c")).await?;
    KEPT
}

/// Entries outlive the process that wrote them, with their revisions, and what was removed stays away.
pub async fn what_was_written_outlives_its_process(harness: &dyn Harness) -> Verdict {
    let place = harness.place().await;
    let store = Handle(place.open().await);
    let mut written = Vec::new();
    for (key, entry) in shapes() {
        let revision = store.put(&key, None, entry.clone()).await?;
        written.push((key, entry, revision));
    }
    let gone = Key::Person("gone".to_owned());
    let revision = store.put(&gone, None, person("a")).await?;
    same("the answer to a removal", store.swap(&gone, Some(revision), None).await?, Swapped::Done)?;
    drop(store);
    let Some(store) = place.restart().await.map(Handle) else { return IN_MEMORY };
    for (key, entry, revision) in written {
        store.holds(&key, entry, revision).await?;
    }
    same("a removed entry after a restart", store.load(&gone).await?, None)?;
    KEPT
}

pub(super) const IN_MEMORY: Verdict = Ok(Outcome::NotShown("the entries end with the process"));

/// Entries of every shape, with keys of their kinds.
fn shapes() -> Vec<(Key, Entry)> {
    let grant = Grant {
        client: "https://client.example/metadata.json?a=1&b=“ü”".to_owned(),
        subject: "u-\u{1F511}\\\"\n".to_owned(),
        resource: "https://gateway.example/mcp".to_owned(),
        scopes: vec!["read".to_owned(), "write:all".to_owned()],
        refreshable: true,
    };
    let bare = Grant {
        client: String::new(),
        subject: String::new(),
        resource: String::new(),
        scopes: Vec::new(),
        refreshable: false,
    };
    let offered = Phase::Offered { challenge: "c".repeat(43), redirect: "our-app.example:/back?x=ä".to_owned() };
    let live = Phase::Live { number: u32::MAX, rotated: u64::MAX, floor: 7 };
    let person = |account: &str, signed_out: Option<u64>, families: &[u128]| {
        let families = families.iter().map(|number| FamilyId(*number)).collect();
        // A person with a sign-out has a former account, and the other one has none.
        let former = signed_out.map(|_| [account, "-before"].concat());
        Entry::Person(Person { account: account.to_owned(), former, signed_out, families })
    };
    let many: Vec<u128> = (0..100).map(|number| u128::MAX - number).collect();
    vec![
        (family(u128::MAX), Entry::Family(Family { grant: grant.clone(), began: u64::MAX, phase: offered })),
        (family(0), Entry::Family(Family { grant, began: 0, phase: live.clone() })),
        (family(1 << 100), Entry::Family(Family { grant: bare, began: 1, phase: live })),
        (Key::Person("u-1".to_owned()), person("login-\u{FFFD}", Some(u64::MAX), &many)),
        (Key::Person("u-2".to_owned()), person("", None, &[])),
        (Key::Consent("k".repeat(64)), Entry::Consent),
    ]
}

fn family(number: u128) -> Key {
    Key::Family(FamilyId(number))
}
