//! The key in a mock keychain, and without a keychain. (nextest runs each test in a process of its own, so each has
//! its own mock.)
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::sync::Mutex;

use keyring_core::mock::{Cred, Store};
use keyring_core::{CredentialStore, Entry, Error};
use support::{Ground, install, token, who};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_store_file::{FileError, FileStore, KeySource, Trouble};

/// All tests of a process share one default keychain.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn open(ground: &Ground) -> Result<FileStore, FileError> {
    FileStore::builder(ground.home()).key(KeySource::Keychain).open()
}

fn items(store: &CredentialStore) -> Vec<Entry> {
    store.search(&[("service", "tokenkeeper")].into()).unwrap()
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "nothing else runs")]
async fn a_home_has_one_item_that_is_read_when_it_is_opened() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let keychain = Store::new().unwrap();
    keyring_core::set_default_store(keychain.clone());
    let ground = Ground::new();
    let store = open(&ground).unwrap();
    install(&store, &who(), "rt-1").await;
    assert!(!ground.home().join("key").exists());
    let item = items(&*keychain).pop().unwrap();
    assert_eq!(item.get_secret().unwrap().len(), 32);

    // The keychain is locked now. Open handles go on, and no other home is opened or tried.
    let fail_with = |error| item.as_any().downcast_ref::<Cred>().unwrap().set_error(error);
    fail_with(Error::NoStorageAccess("locked".into()));
    install(&store, &who(), "rt-2").await;
    let error = open(&ground).unwrap_err();
    assert_eq!(error.trouble(), &Trouble::KeyLocked);
    assert!(error.to_string().contains("unlock it"), "{error}");
    fail_with(Error::PlatformFailure("gone".into()));
    assert_eq!(open(&ground).unwrap_err().trouble(), &Trouble::NoKeychain);
    let with_a_file = FileStore::open(ground.home()).unwrap_err();
    assert_eq!(with_a_file.trouble(), &Trouble::KeyElsewhere("in the keychain"));
    assert_eq!(token(open(&ground).unwrap().load(&who()).await.unwrap()).as_deref(), Some("rt-2"));
    assert_eq!(items(&*keychain).len(), 1);

    // Another home has another item.
    let other = Ground::new();
    drop(open(&other).unwrap());
    assert_eq!(items(&*keychain).len(), 2);

    // A lost key is not replaced.
    item.delete_credential().unwrap();
    assert_eq!(open(&ground).unwrap_err().trouble(), &Trouble::KeyMissing);
    item.set_secret(&[0; 32]).unwrap();
    assert_eq!(open(&ground).unwrap_err().trouble(), &Trouble::WrongKey);
    keyring_core::unset_default_store();
}

#[test]
#[cfg(not(target_vendor = "apple"))]
fn where_no_keychain_can_be_reached_no_home_is_begun() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() {
        return;
    }
    let ground = Ground::new();
    let error = open(&ground).unwrap_err();
    assert_eq!(error.trouble(), &Trouble::NoKeychain);
    assert!(!ground.home().join("home").exists() && !ground.home().join("key").exists());
    // The failure decided nothing. The home may still be made with another source of the key.
    drop(FileStore::open(ground.home()).unwrap());
    assert_eq!(fs::read(ground.home().join("key")).unwrap().len(), 32);
}
