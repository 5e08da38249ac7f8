//! A home is made in an empty folder, with a key of its own. The last trouble is that of a caller's request.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::{Ground, install, moment, who};
use tokenkeeper_actors::ports::store::{EventKind, JournalLine, TokenStore};
use tokenkeeper_store_file::FileStore;

/// A folder may come with a key file, from a copied template or from a program that wants to know the key.
#[test]
fn a_new_home_never_uses_a_key_that_was_there_before() {
    let ground = Ground::new();
    fs::create_dir(ground.home()).unwrap();
    fs::set_permissions(ground.home(), Permissions::from_mode(0o700)).unwrap();
    let key = ground.home().join("key");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    drop(FileStore::open(ground.home()).unwrap());
    let made = fs::read(&key).unwrap();
    assert_eq!(made.len(), 32);
    assert_ne!(made, [7; 32]);
    drop(FileStore::open(ground.home()).unwrap());
    assert_eq!(fs::read(&key).unwrap(), made, "it keeps the key it was made with");
}

/// The root of an ext4 volume holds `lost+found`. A volume is a usual home in a container.
#[test]
fn the_root_of_a_volume_is_an_empty_folder() {
    let ground = Ground::new();
    fs::create_dir_all(ground.home().join("lost+found")).unwrap();
    drop(FileStore::open(ground.home()).unwrap());
    drop(FileStore::open(ground.home()).unwrap());
    assert!(ground.home().join("lost+found").exists());
}

/// A failed request is often followed by a line in the journal, which fails for the same reason in another file.
#[tokio::test]
async fn a_line_that_could_not_be_noted_does_not_hide_the_last_trouble() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    let record = ground.home().join("records").join(ground.name(&who()));
    fs::write(&record, "damaged").unwrap();
    assert!(store.load(&who()).await.is_err());
    fs::remove_dir_all(ground.home().join("journal")).unwrap();
    fs::write(ground.home().join("journal"), "").unwrap();
    let line = JournalLine { at: moment(1), flight: None, kind: EventKind::Refreshed, reason: None };
    assert!(store.note(&who(), line).await.is_err());
    assert_eq!(store.last_trouble().unwrap().path(), record);
}

/// The host tells the user where the damaged record lies.
#[tokio::test]
async fn a_handle_names_the_damaged_records_that_its_logins_put_aside() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    assert!(store.put_aside().is_empty());
    fs::write(ground.record(&who()), "cut off").unwrap();
    install(&store, &who(), "rt-2").await;
    let [aside] = &store.put_aside()[..] else { panic!("{:?}", store.put_aside()) };
    assert_eq!((aside.parent(), fs::read(aside).unwrap()), (ground.record(&who()).parent(), b"cut off".to_vec()));
    assert!(ground.open().put_aside().is_empty(), "another handle");
}
