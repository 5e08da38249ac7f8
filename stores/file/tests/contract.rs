//! The file store keeps the store contract.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper_actors::ports::store::{Predecessor, TokenStore};
use tokenkeeper_store_file::{FileStore, KeySource, StoreKey, Watching};
use tokenkeeper_testkit::store_contract::{CHECKS, Harness, Place, examine};

#[derive(Clone, Default)]
struct Files {
    key: KeySource,
    watching: Watching,
}

struct Folder {
    files: Files,
    dir: tempfile::TempDir,
}

#[async_trait]
impl Harness for Files {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(Folder { files: self.clone(), dir: tempfile::tempdir().unwrap() })
    }

    fn journal_bound(&self) -> usize {
        FileStore::JOURNAL_KEPT
    }
}

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn TokenStore> {
        let builder = FileStore::builder(self.dir.path().join("home"));
        let builder = builder.key(self.files.key.clone()).watching(self.files.watching);
        Arc::new(builder.open().unwrap())
    }

    async fn kill(&self, handle: Arc<dyn TokenStore>) -> Option<Predecessor> {
        drop(handle);
        Some(Predecessor::Gone)
    }
}

async fn keeps_the_contract(files: Files) {
    let report = examine(&files).await;
    assert_eq!(report.failed().count(), 0, "{report}");
    let not_shown: BTreeSet<_> = report.not_shown().map(|(name, _)| name).collect();
    assert_eq!(
        not_shown,
        BTreeSet::from([
            "a_store_without_claims_says_so",
            "a_lost_claim_goes_to_the_next_who_is_told",
            "the_late_end_of_a_lost_claim_frees_nobody_elses",
            "who_lost_a_claim_may_live_until_it_ends_it_late",
            "a_commit_settles_a_lost_claim_and_no_other_write_does",
            "what_a_lost_claim_brought_is_still_stored",
            "a_new_epoch_knows_no_lost_claims",
            "a_watch_says_when_it_has_lost_news",
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_its_key_in_a_file_it_keeps_the_contract() {
    keeps_the_contract(Files::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_hosts_key_and_without_the_systems_watch_it_keeps_the_contract() {
    let key = KeySource::Given(StoreKey::new([7; 32]));
    keeps_the_contract(Files { key, watching: Watching::Polling }).await;
}

#[tokio::test]
async fn one_thread_is_enough() {
    for check in CHECKS.iter().filter(|check| check.name().starts_with("of_many")) {
        check.run(&Files::default()).await.unwrap();
    }
}
