//! A disk that fills up or is made read-only. The old record stays, and a token that the server has issued is stored.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Ground, applied, commit, digest, identity, install, login, mark, may_skip, moment, open, token, who};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{Reservation, TokenStore};
use tokenkeeper_actors::values::{AccessToken, StoreFault};
use tokenkeeper_store_file::{FileStore, Trouble};

/// A small file system in memory, mounted for a test.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        fs::create_dir(at).unwrap();
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), c"size=256k,mode=0755").ok()?;
        Some(Self(at.to_owned()))
    }

    /// Writes until the disk is full. The returned file takes up the room until it is freed.
    fn fill(&self) -> File {
        let mut filler = File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        filler
    }

    /// The files of records whose names end in `suffix`.
    fn records(&self, suffix: &str) -> usize {
        let files = fs::read_dir(self.0.join("home/records")).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(suffix)).count()
    }

    fn make_read_only(&self, read_only: bool) {
        use rustix::mount::{MountFlags, mount_remount};
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.0, flags, "size=256k").unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_or_read_only_disk_leaves_what_was_there_until_there_is_room() {
    let ground = Ground::new();
    let Some(disk) = Disk::mount(&ground.0.path().join("disk")) else { return may_skip("a small disk") };
    let home = disk.0.join("home");
    let store = open(&home);
    install(&store, &who(), "rt-1").await;
    let filler = disk.fill();
    assert_eq!(store.change(&who(), login(&store, "rt-2").await).await, Err(StoreFault::Full));
    let error = store.last_trouble().unwrap().to_string();
    assert!(error.starts_with(home.to_str().unwrap()) && error.contains("free some"), "{error}");
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-1"));
    assert_eq!(disk.records(".new"), 0);
    filler.set_len(0).unwrap();
    drop(filler);
    install(&store, &who(), "rt-2").await;
    // A token that could not be written has no holder.
    let answer = store.reserve(&identity("home"), digest(&store, "rt-1").await, moment(0)).await;
    assert_eq!(answer, Ok(Reservation::Reserved));

    disk.make_read_only(true);
    assert_eq!(store.change(&who(), login(&store, "rt-3").await).await, Err(StoreFault::Denied));
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-2"));
    assert_eq!(open(&home).list().await, Ok(vec![who()]));
    disk.make_read_only(false);
    install(&store, &who(), "rt-3").await;
}

#[tokio::test]
async fn a_disk_that_fills_up_after_the_mark_takes_the_successor_and_a_full_one_takes_no_mark() {
    let ground = Ground::new();
    let Some(disk) = Disk::mount(&ground.0.path().join("disk")) else { return may_skip("a small disk") };
    let store = open(&disk.0.join("home"));
    let record = install(&store, &who(), "rt-1").await;
    let marked = applied(store.change(&who(), mark(&store, record.version(), "rt-1", 1, 2).await).await.unwrap());
    let filler = disk.fill();
    let renewed = applied(store.change(&who(), commit(&store, marked.epoch, "rt-1", "rt-2", 2).await).await.unwrap());
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-2"));
    let answer = store.change(&who(), mark(&store, renewed.version(), "rt-2", 3, 3).await).await;
    assert_eq!(answer, Err(StoreFault::Full), "there is no room for a successor");
    assert_eq!(store.load(&who()).await.unwrap().unwrap().held().unwrap().mark, None);
    filler.set_len(0).unwrap();
    applied(store.change(&who(), mark(&store, renewed.version(), "rt-2", 3, 3).await).await.unwrap());
    let _filler = disk.fill();
    // Every other end of a presentation has that room too.
    let ended = Change::End { epoch: renewed.epoch, sent: digest(&store, "rt-2").await };
    applied(store.change(&who(), ended).await.unwrap());
    assert_eq!(disk.records(".room"), 0);
}

#[tokio::test]
async fn a_new_token_is_stored_before_its_owner_is_noted() {
    let ground = Ground::new();
    let store = ground.open();
    let record = install(&store, &who(), "rt-1").await;
    let marked = applied(store.change(&who(), mark(&store, record.version(), "rt-1", 1, 2).await).await.unwrap());
    let held = File::open(ground.lock("held")).unwrap();
    held.lock().unwrap();
    let commit = commit(&store, marked.epoch, "rt-1", "rt-2", 2).await;
    let (writer, who_writes) = (store.clone(), who());
    let writing = tokio::spawn(async move { writer.change(&who_writes, commit).await });
    while token(store.load(&who()).await.unwrap()).as_deref() != Some("rt-2") {
        assert!(!writing.is_finished(), "the write ended without the token");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!writing.is_finished(), "the owner cannot be noted yet");
    held.unlock().unwrap();
    applied(writing.await.unwrap().unwrap());
    let answer = store.reserve(&identity("home"), digest(&store, "rt-2").await, moment(0)).await;
    assert_eq!(answer, Ok(Reservation::HeldBy(who())));
}

#[tokio::test]
async fn of_tokens_that_are_larger_than_the_room_for_them_the_refresh_token_is_stored() {
    let ground = Ground::new();
    let Some(disk) = Disk::mount(&ground.0.path().join("disk")) else { return may_skip("a small disk") };
    let store = open(&disk.0.join("home"));
    let record = install(&store, &who(), "rt-1").await;
    let marked = applied(store.change(&who(), mark(&store, record.version(), "rt-1", 1, 2).await).await.unwrap());
    let filler = disk.fill();
    let Change::Commit(mut huge) = commit(&store, marked.epoch, "rt-1", "rt-2", 2).await else { panic!("a commit") };
    huge.access.token = AccessToken::new("a".repeat(60_000));
    // The caller has both.
    let renewed = applied(store.change(&who(), Change::Commit(huge)).await.unwrap());
    assert!(renewed.lease().is_some());
    let stored = store.load(&who()).await.unwrap().unwrap();
    assert_eq!((stored.lease(), stored.version()), (None, renewed.version()));
    assert_eq!(stored.held().unwrap().mark, None);
    assert_eq!(token(Some(stored)).as_deref(), Some("rt-2"));
    filler.set_len(0).unwrap();
    applied(store.change(&who(), mark(&store, renewed.version(), "rt-2", 3, 3).await).await.unwrap());
}

#[tokio::test]
async fn a_damaged_record_stays_as_it_is_where_the_login_after_it_cannot_be_written() {
    let ground = Ground::new();
    let Some(disk) = Disk::mount(&ground.0.path().join("disk")) else { return may_skip("a small disk") };
    let store = open(&disk.0.join("home"));
    install(&store, &who(), "rt-1").await;
    let record = disk.0.join("home/records").join(support::name(&disk.0.join("home"), &who()));
    fs::write(&record, "cut off").unwrap();
    let huge = login(&store, &"rt".repeat(60_000)).await;
    let refused = store.change(&who(), huge).await;
    assert_eq!(refused, Err(StoreFault::Full), "{:?}", store.last_trouble());
    assert_eq!(fs::read(&record).unwrap(), b"cut off");
    assert_eq!((disk.records(""), store.put_aside()), (1, Vec::new()));
    install(&store, &who(), "rt-2").await;
    let aside = store.put_aside();
    assert_eq!((disk.records(""), aside.len()), (2, 1));
    assert_eq!(fs::read(&aside[0]).unwrap(), b"cut off");
}

#[test]
fn a_home_that_cannot_be_made_leaves_no_folder() {
    let ground = Ground::new();
    let Some(disk) = Disk::mount(&ground.0.path().join("disk")) else { return may_skip("a small disk") };
    let home = disk.0.join("new/home");
    let filler = disk.fill();
    let error = FileStore::open(&home).unwrap_err();
    assert_eq!(error.trouble(), &Trouble::Full);
    assert!(!disk.0.join("new").exists());
    // A folder that was there before stays.
    fs::create_dir(disk.0.join("new")).unwrap();
    FileStore::open(&home).unwrap_err();
    assert!(disk.0.join("new").exists() && !home.exists());
    filler.set_len(0).unwrap();
    FileStore::open(&home).unwrap();
}
