//! Losses of a home in use, such as a folder, a file, a permission or a journal. Operations that do not need the lost
//! part succeed, and the others fail with an error that names it.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Ground, applied, commit, digest, identity, install, login, mark, moment, token, who};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{EventKind, JournalLine, Reservation, StoreEvent, TokenStore};
use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_store_file::{FileStore, Trouble};

#[tokio::test]
async fn a_token_that_was_just_obtained_is_stored_even_where_nobody_can_note_who_holds_it() {
    let ground = Ground::new();
    let store = ground.open();
    let record = install(&store, &who(), "rt-1").await;
    applied(store.change(&who(), mark(&store, record.version(), "rt-1", 1, 2).await).await.unwrap());
    let mut in_the_way = Vec::new();
    for token in ["rt-2", "rt-3"] {
        let digest = digest(&store, token).await;
        let note: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        in_the_way.push(ground.home().join("held").join(note));
    }
    in_the_way.iter().for_each(|note| fs::create_dir(note).unwrap());
    applied(store.change(&who(), commit(&store, record.epoch, "rt-1", "rt-2", 2).await).await.unwrap());
    assert_eq!(token(store.load(&who()).await.unwrap()).unwrap(), "rt-2");
    // A login can be repeated, so this one fails.
    assert_eq!(store.change(&who(), login(&store, "rt-3").await).await.unwrap_err(), StoreFault::Failed);
    // A missing hint is found as soon as hints can be written.
    in_the_way.iter().for_each(|note| fs::remove_dir(note).unwrap());
    let reserved = store.reserve(&identity("home"), digest(&store, "rt-2").await, moment(30)).await.unwrap();
    assert_eq!(reserved, Reservation::HeldBy(who()));
}

#[tokio::test]
async fn a_home_that_lost_its_own_file_is_not_one_in_which_nobody_ever_signed_in() {
    let ground = Ground::new();
    install(&ground.open(), &who(), "rt-1").await;
    let about = ground.home().join("home");
    fs::remove_file(&about).unwrap();
    let error = FileStore::builder(ground.home()).existing().open().unwrap_err();
    assert_eq!((error.trouble(), error.path()), (&Trouble::Missing, &*about));
}

#[tokio::test]
async fn what_another_process_wrote_down_is_not_written_down_again() {
    let ground = Ground::new();
    install(&ground.open(), &who(), "rt-1").await;
    let (listening, writing) = (ground.open(), ground.open());
    let mut watch = listening.watch().await.unwrap();
    install(&writing, &who(), "rt-2").await;
    assert_eq!(watch.next().await, StoreEvent::Changed(who()));
    assert_eq!(fs::read_to_string(ground.home().join("index")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_home_that_moved_into_another_folder_is_found_there() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    // The folders are the same, but their parent is not.
    let new = ground.0.path().join("new");
    fs::create_dir(&new).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(ground.home()).unwrap().map(Result::unwrap) {
        fs::rename(entry.path(), new.join(entry.file_name())).unwrap();
    }
    fs::remove_dir(ground.home()).unwrap();
    fs::rename(&new, ground.home()).unwrap();
    assert_eq!(store.list().await.unwrap(), [who()]);
    install(&store, &identity("home"), "rt-2").await;
    assert_eq!(ground.open().list().await.unwrap().len(), 2);
}

#[test]
fn a_link_with_a_slash_behind_it_is_a_link() {
    let ground = Ground::new();
    drop(ground.open());
    let link = ground.0.path().join("link");
    std::os::unix::fs::symlink(ground.home(), &link).unwrap();
    for tail in ["", "/", "/."] {
        let path = format!("{}{tail}", link.display());
        assert_eq!(FileStore::open(path).unwrap_err().trouble(), &Trouble::Link, "{tail}");
    }
}

#[tokio::test]
async fn a_reservation_of_a_far_future_waits_for_nobody() {
    let ground = Ground::new();
    let store = ground.open();
    let token = digest(&store, "rt-1").await;
    store.reserve(&identity("home"), token, moment(100_000)).await.unwrap();
    // A clock that is set back by a moment ends no reservation. A clock that was years ahead does.
    let early = store.reserve(&who(), token, moment(99_990)).await.unwrap();
    assert_eq!(early, Reservation::HeldBy(identity("home")));
    assert_eq!(store.reserve(&who(), token, moment(0)).await.unwrap(), Reservation::Reserved);
}

#[tokio::test]
async fn a_forgotten_session_loses_its_journal_and_keeps_its_numbers() {
    let ground = Ground::new();
    let store = ground.open();
    assert!(!store.forget(&who()).await.unwrap(), "there never was one");
    let record = install(&store, &who(), "rt-1").await;
    let line = JournalLine { at: moment(1), flight: None, kind: EventKind::LoggedIn, reason: None };
    store.note(&who(), line.clone()).await.unwrap();
    assert!(!store.forget(&who()).await.unwrap(), "a session that is there is not forgotten");
    assert_eq!(store.journal(&who(), 9).await.unwrap(), std::slice::from_ref(&line));

    applied(store.change(&who(), Change::Clear { epoch: record.epoch }).await.unwrap());
    let tombstone = store.load(&who()).await.unwrap();
    assert!(store.forget(&who()).await.unwrap());
    assert!(store.forget(&who()).await.unwrap(), "once more changes nothing");
    assert_eq!(store.journal(&who(), 9).await.unwrap(), []);
    assert_eq!(store.load(&who()).await.unwrap(), tombstone);
    assert_eq!(store.list().await.unwrap(), [who()]);
    let next = install(&ground.open(), &who(), "rt-2").await;
    assert_eq!((next.epoch, next.number), (record.epoch.next().next(), record.number + 2));
    store.note(&who(), line.clone()).await.unwrap();
    assert_eq!(store.journal(&who(), 9).await.unwrap(), [line]);
}

#[tokio::test]
async fn a_session_has_one_name_and_a_name_one_session() {
    let ground = Ground::new();
    let store = ground.open();
    let names = async || ground.open().names().await.map(|names| names.into_iter().collect::<Vec<_>>());
    assert_eq!(names().await.unwrap(), []);
    assert!(!store.remove_name(&who()).await.unwrap());
    assert!(store.set_name("mine", &who()).await.unwrap());
    assert!(!store.set_name("mine", &identity("home")).await.unwrap(), "it is taken");
    assert!(store.set_name("mine", &who()).await.unwrap(), "it is its own");
    assert!(store.set_name("other", &who()).await.unwrap());
    assert!(store.set_name("mine", &identity("home")).await.unwrap(), "it is free again");
    assert_eq!(names().await.unwrap(), [("mine".to_owned(), identity("home")), ("other".to_owned(), who())]);
    assert!(store.remove_name(&who()).await.unwrap());
    assert_eq!(names().await.unwrap(), [("mine".to_owned(), identity("home"))]);
    // A damaged file is not overwritten, and is no hindrance elsewhere.
    let file = ground.home().join("names");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[1..]).unwrap();
    assert_eq!(names().await.unwrap_err().trouble(), &Trouble::Damaged);
    assert_eq!(store.set_name("new", &who()).await.unwrap_err().path(), file);
    assert_eq!(fs::read(&file).unwrap(), whole[1..]);
    install(&store, &who(), "rt-1").await;
}

#[tokio::test]
async fn a_sweep_leaves_what_is_being_written() {
    let ground = Ground::new();
    let store = ground.open();
    fs::create_dir(ground.home().join("issuers")).unwrap();
    fs::set_permissions(ground.home().join("issuers"), fs::Permissions::from_mode(0o700)).unwrap();
    let name = ground.name(&who());
    let places = [
        ("records", format!("{name}.commit")),
        ("journal", format!("{name}.journal")),
        ("held", "held".to_owned()),
        ("logins", "logins".to_owned()),
        ("issuers", "issuers".to_owned()),
        ("", "names".to_owned()),
        ("", "home".to_owned()),
    ];
    for (folder, lock) in places {
        let name = if folder.is_empty() { &lock } else { &name };
        let file = ground.home().join(folder).join(format!("{name}.0123456789abcdef.new"));
        fs::write(&file, "half").unwrap();
        // Its writer holds this lock.
        let lock = fs::File::create(ground.lock(&lock)).unwrap();
        lock.lock().unwrap();
        assert_eq!(store.sweep().await.unwrap().unfinished, 0, "{folder}");
        assert!(file.exists(), "{folder}");
        drop(lock);
        assert_eq!(store.sweep().await.unwrap().unfinished, 1, "{folder}");
        assert!(!file.exists(), "{folder}");
    }
}
