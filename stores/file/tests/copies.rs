//! A copy of a home spends nothing while the original is in its place. A home that was moved or restored goes on.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Ground, SPEND, flight, granted, identity, install, token, who};
use tokenkeeper_actors::ports::store::{ClaimScope, TokenStore};
use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_store_file::{FileStore, Trouble};

async fn may_spend(store: &FileStore) -> Result<(), Trouble> {
    match store.claim(&who(), SPEND, flight(1), Duration::from_secs(45)).await {
        Ok(answer) => {
            store
                .end_claim(&who(), &granted(answer), tokenkeeper_actors::ports::store::ClaimEnding::Released)
                .await
                .unwrap();
            Ok(())
        }
        Err(fault) => {
            assert_eq!(fault, StoreFault::Denied);
            Err(store.last_trouble().unwrap().trouble().clone())
        }
    }
}

fn copied(ground: &Ground, name: &str) -> PathBuf {
    let copy = ground.0.path().join(name);
    let done = Command::new("cp").arg("-a").arg(ground.home()).arg(&copy).status().unwrap();
    assert!(done.success());
    copy
}

#[tokio::test]
async fn a_copy_beside_its_original_serves_and_spends_nothing() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    assert_eq!(may_spend(&store).await, Ok(()));
    let path = copied(&ground, "copy");
    let copy = support::open(&path);
    assert_eq!(token(copy.load(&who()).await.unwrap()).as_deref(), Some("rt-1"));
    let trouble = may_spend(&copy).await;
    assert_eq!(trouble, Err(Trouble::Copy(ground.home())));
    let words = copy.last_trouble().unwrap().to_string();
    assert!(words.contains("is a copy of the home in") && words.contains(&*ground.home().to_string_lossy()), "{words}");
    // A login is no presentation of a stored token.
    let login = copy.claim(&identity("new"), ClaimScope::Login, flight(2), Duration::from_secs(45)).await;
    granted(login.unwrap());
    assert_eq!(may_spend(&store).await, Ok(()), "the original goes on");
    // Once the original is gone, the copy takes its place, without being opened anew, and keeps it.
    let away = ground.0.path().join("away");
    fs::rename(ground.home(), &away).unwrap();
    assert_eq!(may_spend(&copy).await, Ok(()));
    fs::rename(&away, ground.home()).unwrap();
    assert_eq!(may_spend(&copy).await, Ok(()));
    assert_eq!(may_spend(&support::open(&path)).await, Ok(()));
}

#[tokio::test]
async fn a_home_that_was_moved_or_restored_goes_on() {
    let ground = Ground::new();
    install(&ground.open(), &who(), "rt-1").await;
    let moved = ground.0.path().join("moved");
    fs::rename(ground.home(), &moved).unwrap();
    assert_eq!(may_spend(&support::open(&moved)).await, Ok(()));
    // Another home in the old place is not the original.
    install(&ground.open(), &who(), "rt-2").await;
    let again = ground.0.path().join("again");
    fs::rename(&moved, &again).unwrap();
    assert_eq!(may_spend(&support::open(&again)).await, Ok(()));
    // A backup in the place of the home, and a home that has been put aside.
    let backup = ground.0.path().join("backup");
    assert!(Command::new("cp").arg("-a").arg(&again).arg(&backup).status().unwrap().success());
    fs::remove_dir_all(&again).unwrap();
    fs::rename(&backup, &again).unwrap();
    assert_eq!(may_spend(&support::open(&again)).await, Ok(()));
}

#[tokio::test]
async fn one_home_at_two_paths_is_no_copy() {
    let ground = Ground::new();
    install(&ground.open(), &who(), "rt-1").await;
    // A link in a parent's place, as a bind mount would be.
    let parent = ground.0.path().join("parent");
    std::os::unix::fs::symlink(ground.0.path(), &parent).unwrap();
    let about = || fs::read(ground.home().join("home")).unwrap();
    let before = about();
    for path in [parent.join("home"), ground.home()] {
        assert_eq!(may_spend(&support::open(Path::new(&path))).await, Ok(()), "{path:?}");
        assert_eq!(about(), before, "nothing is to be noted");
    }
}
