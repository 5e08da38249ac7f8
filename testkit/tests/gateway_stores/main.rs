//! The contract of a gateway's store can fail. Each of these stores has one planted fault, and the checks find it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod faulty;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use faulty::{Fault, FaultyHarness};
use tokenkeeper_gateway::store::{Bounds, GatewayStore, MemoryGatewayStore};
use tokenkeeper_testkit::gateway_contract::{CHECKS, Harness, Place, examine, run_all};

/// Each fault, and the check that must find it. Other checks may find it too.
const FOUND_BY: &[(Fault, &str)] = &[
    (Fault::MakesEntriesUp, "nothing_is_there_at_first"),
    (Fault::ComparesNothing, "nothing_is_there_at_first"),
    (Fault::LosesAPersonsFamilies, "each_kind_of_entry_comes_back_whole"),
    (Fault::LosesSignsBeyondAscii, "each_kind_of_entry_comes_back_whole"),
    (Fault::KnowsNoKinds, "keys_are_told_apart"),
    (Fault::FoldsCase, "keys_are_told_apart"),
    (Fault::CutsFamilyIds, "keys_are_told_apart"),
    (Fault::KeepsWhatIsRemoved, "a_removed_entry_is_absent"),
    (Fault::RemovesAll, "a_removed_entry_is_absent"),
    (Fault::ForgetsWhenRestarted, "what_was_written_outlives_its_process"),
    (Fault::RevivesWhenRestarted, "what_was_written_outlives_its_process"),
    (Fault::ComparesNothing, "a_change_needs_the_present_revision"),
    (Fault::ComparesRemovalsWithNothing, "a_change_needs_the_present_revision"),
    (Fault::CreatesOverAnEntry, "a_new_entry_needs_the_absence_of_one"),
    (Fault::MovesWhenRefused, "a_refused_change_changes_nothing"),
    (Fault::RevisionIsOfTheEntry, "a_revision_never_comes_back"),
    (Fault::RevisionsBeginAnewWhenRestarted, "a_revision_never_comes_back_after_a_restart"),
    (Fault::NeverExpires, "an_entry_is_absent_from_its_end_on"),
    (Fault::ExpiresLate, "an_entry_is_absent_from_its_end_on"),
    (Fault::ExpiredEntryCanBeChanged, "an_entry_is_absent_from_its_end_on"),
    (Fault::ExpiredEntryTakesThePlace, "an_expired_entry_makes_room_for_a_new_one"),
    (Fault::KeepsTheFirstEnd, "the_newest_end_counts"),
    (Fault::LooksThenWrites, "of_many_new_entries_at_once_one_is_made"),
    (Fault::LooksThenWrites, "of_many_replacements_at_once_one_is_made"),
    (Fault::LooksThenWrites, "of_a_removal_and_a_replacement_at_once_one_is_made"),
    (Fault::AllWritesAreOne, "changes_of_many_keys_at_once_are_all_made"),
    (Fault::ReplicaHasItsOwn, "replicas_see_each_others_changes"),
    (Fault::DropLosesTheEntry, "a_change_that_is_dropped_is_made_or_not_made"),
    (Fault::IsNeverFull, "a_full_store_refuses_further_entries_alone"),
    (Fault::FullRefusesAll, "a_full_store_refuses_further_entries_alone"),
    (Fault::FullRefusesOtherKinds, "a_full_store_refuses_further_entries_alone"),
    (Fault::ExpiredEntriesFillIt, "a_removal_and_an_end_make_room"),
    (Fault::RemovedEntriesFillIt, "a_removal_and_an_end_make_room"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_fault_is_found_and_each_check_finds_one() {
    let mut missed = Vec::new();
    for (fault, check) in FOUND_BY {
        let due = CHECKS.iter().find(|known| known.name() == *check).unwrap();
        if due.run(&FaultyHarness(Some(*fault))).await.is_ok() {
            missed.push(format!("{check} does not find {fault:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let finders: BTreeSet<&str> = FOUND_BY.iter().map(|(_, check)| *check).collect();
    let all: BTreeSet<&str> = CHECKS.iter().map(|check| check.name()).collect();
    assert_eq!(all, finders, "a check that finds no planted fault proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_fault_the_same_store_passes() {
    let report = examine(&FaultyHarness(None)).await;
    assert_eq!((report.failed().count(), report.not_shown().count()), (0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a task is where a panic can be looked at")]
async fn the_report_names_each_failed_check_and_why() {
    let outcome = tokio::spawn(async { run_all(&FaultyHarness(Some(Fault::CreatesOverAnEntry))).await }).await;
    let panic = outcome.unwrap_err().into_panic();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("the gateway's store breaks its contract in "), "{message}");
    let line =
        "- a_new_entry_needs_the_absence_of_one: the answer to a change from the revision None is Done, and not Moved";
    assert!(message.contains(line), "{message}");
    assert!(!message.contains("keys_are_told_apart"), "{message}");
}

/// The gateway's store in memory.
#[derive(Debug)]
struct Memory;

#[derive(Debug)]
struct InMemory(MemoryGatewayStore);

#[async_trait]
impl Harness for Memory {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(InMemory(MemoryGatewayStore::default()))
    }

    async fn small_place(&self, persons: usize) -> Option<Box<dyn Place>> {
        let mut bounds = Bounds::default();
        bounds.max_persons = persons;
        Some(Box::new(InMemory(MemoryGatewayStore::new(bounds))))
    }
}

#[async_trait]
impl Place for InMemory {
    async fn open(&self) -> Arc<dyn GatewayStore> {
        Arc::new(self.0.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_keeps_the_contract_and_ends_with_its_process() {
    let report = examine(&Memory).await;
    assert_eq!(report.failed().count(), 0, "{report}");
    let not_shown: Vec<_> = report.not_shown().map(|(name, _)| name).collect();
    assert_eq!(not_shown, ["what_was_written_outlives_its_process", "a_revision_never_comes_back_after_a_restart"]);
}
