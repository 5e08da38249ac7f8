//! A disk that hangs. The store's own threads wait for it, a bounded number of them, and none of the host's.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs::{self, File};
use std::time::Duration;

use support::{Ground, identity, install, login, token};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_store_file::Trouble;

/// The number of threads of this process that work on a disk. This process runs one test.
fn threads() -> usize {
    let tasks =
        fs::read_dir("/proc/self/task").unwrap().filter_map(|task| fs::read(task.ok()?.path().join("comm")).ok());
    tasks.filter(|name| name == b"tokenkeeper-dis\n").count()
}

/// The locks of 100 records are held elsewhere. Each writer waits for one on its thread, as for a disk that hangs.
#[test]
fn work_that_hangs_takes_32_threads_of_the_stores_own_and_what_waits_behind_it_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let ground = Ground::new();
        let store = ground.open();
        let all: Vec<_> = (0..100).map(|n| identity(&format!("account-{n}"))).collect();
        let locks = all.iter().map(|who| File::create(ground.lock(&(ground.name(who) + ".commit"))).unwrap());
        let locks: Vec<_> = locks.inspect(|lock| lock.lock().unwrap()).collect();
        let mut writers = Vec::new();
        for who in &all {
            let (store, who, change) = (store.clone(), who.clone(), login(&store, "rt-1").await);
            writers.push(tokio::spawn(async move { store.change(&who, change).await }));
        }
        for _ in 0..2_000 {
            if threads() > 32 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The one thread that the host has for blocking work is free.
        assert_eq!(tokio::task::spawn_blocking(threads).await.unwrap(), 32 + 1, "and the one that looks at the queue");
        for writer in writers {
            assert_eq!(writer.await.unwrap(), Err(StoreFault::Busy));
            assert!(threads() <= 32 + 1);
        }
        let trouble = store.last_trouble().unwrap();
        assert!(matches!(trouble.trouble(), Trouble::Busy | Trouble::Unserved), "{trouble}");
        drop(locks);
        let record = install(&store, &all[0], "rt-2").await;
        assert_eq!(token(Some(Box::new(record))).as_deref(), Some("rt-2"));
        drop(store);
        for _ in 0..3_000 {
            if threads() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} threads are left", threads());
    });
}
