//! Removed identities leave no file, whichever other process looks on, and the index does not grow with them.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use support::{Ground, applied, given_key, granted, identity, install, moment, who};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{
    ClaimEnding, ClaimScope, EventKind, JournalLine, Removal, StoreEvent, TokenStore,
};
use tokenkeeper_actors::values::{Epoch, FlightId, ServerIdentity, StoreFault, Version};
use tokenkeeper_store_file::{FileStore, Watching};

/// The paths below `folder`.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => drop(found.insert(entry.path().display().to_string())),
        }
    }
    found
}

/// Signs in and out, and returns the version of the tombstone.
async fn signed_out(store: &FileStore, who: &ServerIdentity, token: &str) -> Version {
    let epoch = install(store, who, token).await.epoch;
    let line = JournalLine { at: moment(1), flight: None, kind: EventKind::LoggedIn, reason: None };
    store.note(who, line).await.unwrap();
    applied(store.change(who, Change::Clear { epoch }).await.unwrap()).version()
}

#[tokio::test]
async fn a_removed_identity_leaves_no_file_and_its_name_is_free() {
    let ground = Ground::new();
    let store = ground.open();
    let version = signed_out(&store, &identity("first"), "rt-0").await;
    assert_eq!(store.remove(&identity("first"), version).await.unwrap(), Removal::Done);
    let before = files(&ground.home());

    let version = signed_out(&store, &who(), "rt-1").await;
    assert!(store.set_name("work", &who()).await.unwrap());
    for scope in [ClaimScope::Spend(Epoch::new(1)), ClaimScope::Spend(version.epoch), ClaimScope::Login] {
        let claim = granted(store.claim(&who(), scope, FlightId(1), Duration::from_secs(9)).await.unwrap());
        store.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
    }
    assert_eq!(store.remove(&who(), version).await.unwrap(), Removal::Done);
    let after = files(&ground.home());
    let left: Vec<&String> = after.difference(&before).filter(|file| !file.ends_with("/names")).collect();
    // The lock for writing the short names, which all identities share.
    assert!(left.iter().all(|file| file.ends_with("/locks/names")), "{left:?}");
    assert_eq!(store.names().await.unwrap().len(), 0);
    let again = install(&ground.open(), &who(), "rt-1").await;
    assert_eq!(again.epoch, Epoch::new(1));
}

#[tokio::test]
async fn a_process_that_dies_within_a_removal_leaves_the_tombstone_and_it_is_removed_later() {
    let ground = Ground::new();
    let store = ground.open();
    let version = signed_out(&store, &who(), "rt-1").await;
    // A folder in place of the journal stops the removal before the record is gone.
    let journals = ground.home().join("journal");
    let journal = fs::read_dir(&journals).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    assert_eq!(store.remove(&who(), version).await.unwrap_err(), StoreFault::Failed);
    assert_eq!(ground.open().load(&who()).await.unwrap().unwrap().version(), version);
    fs::remove_dir(&journal).unwrap();
    assert_eq!(ground.open().remove(&who(), version).await.unwrap(), Removal::Done);
    assert_eq!(ground.open().list().await.unwrap(), []);
}

#[tokio::test]
async fn a_removal_waits_for_the_process_that_writes_the_record() {
    let ground = Ground::new();
    let store = ground.open();
    let version = signed_out(&store, &who(), "rt-1").await;
    let locks = ground.home().join("locks");
    let commit = fs::read_dir(&locks).unwrap().map(|entry| entry.unwrap().path());
    let commit = commit.into_iter().find(|path| path.extension().is_some_and(|end| end == "commit")).unwrap();
    let writing = fs::File::open(&commit).unwrap();
    writing.lock().unwrap();
    assert_eq!(store.remove(&who(), version).await.unwrap_err(), StoreFault::Busy);
    assert!(store.load(&who()).await.unwrap().is_some());
    drop(writing);
    assert_eq!(store.remove(&who(), version).await.unwrap(), Removal::Done);
    assert!(!commit.exists());
}

#[tokio::test]
async fn another_process_learns_which_record_was_removed() {
    let ground = Ground::new();
    let store = ground.open();
    for watching in [Watching::System, Watching::Polling] {
        let other = FileStore::builder(ground.home()).key(given_key()).watching(watching).open().unwrap();
        let version = signed_out(&store, &who(), "rt-1").await;
        let mut watch = other.watch().await.unwrap();
        assert_eq!(store.remove(&who(), version).await.unwrap(), Removal::Done);
        assert_eq!(watch.next().await, StoreEvent::Changed(who()));
        assert_eq!(other.load(&who()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_index_shrinks_when_most_of_its_lines_are_of_removed_identities() {
    let ground = Ground::new();
    let (store, other) = (ground.open(), ground.open());
    install(&store, &who(), "rt-kept").await;
    let size = || fs::metadata(ground.home().join("index")).unwrap().len();
    let mut largest = 0;
    for number in 0..500 {
        let account = format!("login-{number}");
        let version = signed_out(&store, &identity(&account), &format!("rt-{number}")).await;
        assert_eq!(store.remove(&identity(&account), version).await.unwrap(), Removal::Done);
        largest = largest.max(size());
        if number % 100 == 0 {
            assert_eq!(other.list().await.unwrap(), [who()]);
        }
    }
    assert!(largest <= 70_000, "{largest}");
    install(&other, &identity("late"), "rt-late").await;
    let listed: BTreeSet<String> = store.list().await.unwrap().iter().map(ServerIdentity::key).collect();
    assert_eq!(listed, BTreeSet::from([who().key(), identity("late").key()]));
    assert_eq!(other.list().await.unwrap().len(), 2);
}
