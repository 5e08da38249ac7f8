//! The store contract can fail. Each of these stores has one planted fault, and the checks find it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod broken;
mod support;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use broken::{BrokenHarness, Fault};
use support::Leased;
use tokenkeeper_testkit::store_contract::{CHECKS, Harness, Report, examine, run_all};

/// Each fault, and the check that must find it. Other checks may find it too.
const FOUND_BY: &[(Fault, &str)] = &[
    (Fault::MakesRecordsUp, "nothing_is_there_at_first"),
    (Fault::RevisionStartsAtZero, "a_login_begins_with_epoch_1_revision_1_and_number_1"),
    (Fault::LosesTheDpopKey, "a_record_comes_back_whole"),
    (Fault::LosesSignsBeyondAscii, "a_record_comes_back_whole"),
    (Fault::LosesTheMark, "a_record_comes_back_whole"),
    (Fault::RevisionSkips, "each_write_moves_the_revision_by_one"),
    (Fault::RefusalMovesTheRevision, "each_write_moves_the_revision_by_one"),
    (Fault::ListForgetsTombstones, "every_identity_with_a_record_is_listed_once"),
    (Fault::ListRepeats, "every_identity_with_a_record_is_listed_once"),
    (Fault::FoldsCase, "identities_are_told_apart"),
    (Fault::ForgetsWhenClosed, "what_was_written_outlives_its_handle"),
    (Fault::KeyForEachHandle, "all_processes_have_one_digest_key"),
    (Fault::ShowsASecret, "a_store_shows_no_secret"),
    (Fault::CachesReads, "a_repeated_commit_conflicts_and_shows_the_committed_record"),
    (Fault::MarkComparesNothing, "a_mark_compares_the_whole_version"),
    (Fault::MarkComparesTheEpochOnly, "a_mark_compares_the_whole_version"),
    (Fault::ReadsThenWrites, "of_many_marks_at_once_one_is_written"),
    (Fault::ReadsThenWrites, "of_many_commits_for_one_refresh_token_one_is_written"),
    (Fault::ReadsThenWrites, "of_many_logouts_at_once_one_is_written"),
    (Fault::WithdrawsOnlyWhatIsThere, "a_withdrawal_restores_what_was_there_and_fences_the_mark"),
    (Fault::WithdrawsAnyMark, "a_withdrawal_leaves_another_flights_mark_alone"),
    (Fault::ForgetsWhatIsSpent, "a_spent_mark_says_so_to_everybody"),
    (Fault::CommitComparesTheRevision, "a_commit_goes_by_epoch_and_token_and_not_by_revision"),
    (Fault::CommitIgnoresTheToken, "a_commit_for_another_refresh_token_conflicts"),
    (Fault::CommitIgnoresTheNumber, "a_commit_that_brings_no_newer_number_conflicts"),
    (Fault::RepeatedCommitApplies, "a_repeated_commit_conflicts_and_shows_the_committed_record"),
    (Fault::ConflictShowsNothing, "a_repeated_commit_conflicts_and_shows_the_committed_record"),
    (Fault::OmittedTokenIsNone, "a_commit_without_a_refresh_token_keeps_the_old_one"),
    (Fault::CommitIgnoresTheSubject, "a_commit_for_another_subject_conflicts"),
    (Fault::NeedsALogin, "a_repeatable_source_makes_its_record_with_its_first_commit"),
    (Fault::InstallsTheDead, "a_refused_refresh_token_is_not_installed_again"),
    (Fault::InstallsTheDead, "a_replaced_refresh_token_is_not_installed_again"),
    (Fault::InstallsTheMarked, "a_marked_refresh_token_is_not_installed_again"),
    (Fault::LosesWhyItIsParked, "a_parked_grant_is_kept_until_a_login_replaces_it"),
    (Fault::LosesThePlan, "a_record_comes_back_whole"),
    (Fault::LosesThePlan, "a_configuration_changes_the_plan_and_nothing_else"),
    (Fault::ConfigureIgnoresTheEpoch, "a_configuration_changes_the_plan_and_nothing_else"),
    (Fault::TombstoneRestartsTheRevision, "a_logout_leaves_a_tombstone_that_counts_on"),
    (Fault::LogoutDeletesTheRecord, "a_logout_leaves_a_tombstone_that_counts_on"),
    (Fault::LogoutOfNobodyIsNothing, "a_logout_before_the_first_record_leaves_a_tombstone"),
    (Fault::ClearIgnoresTheEpoch, "a_logout_of_an_older_epoch_deletes_nothing"),
    (Fault::CommitRevivesATombstone, "nothing_but_a_login_revives_a_tombstone"),
    (Fault::CommitComparesNothing, "a_late_commit_leaves_a_newer_login_alone"),
    (Fault::CommitIgnoresTheEpoch, "a_late_commit_is_refused_even_where_the_refresh_token_is_the_same"),
    (Fault::LogoutForgetsTheDead, "dead_refresh_tokens_are_remembered_through_logout_and_login"),
    (Fault::GivesClaimsItMustNot, "a_store_without_claims_says_so"),
    (Fault::ClaimIsNotExclusive, "a_claim_has_one_holder"),
    (Fault::ClaimIsOfOneProcess, "a_claim_has_one_holder"),
    (Fault::ClaimIsTooShort, "a_claim_has_one_holder"),
    (Fault::ClaimLooksThenTakes, "of_many_claims_at_once_one_is_granted"),
    (Fault::ClaimKnowsNoEpoch, "another_epoch_is_no_hindrance"),
    (Fault::ClaimKnowsNoIdentity, "another_identity_is_no_hindrance"),
    (Fault::ClaimKnowsNoScope, "spending_and_login_do_not_hinder_each_other"),
    (Fault::HolderHindersItself, "the_holder_that_asks_again_has_its_claim"),
    (Fault::EndIsIgnored, "an_ended_claim_is_free_and_its_holder_gone"),
    (Fault::PredecessorsAlwaysLive, "an_ended_claim_is_free_and_its_holder_gone"),
    (Fault::AbandonedIsKept, "an_abandoned_claim_is_free_and_its_mark_stays"),
    (Fault::AbandonedTakesItsMark, "an_abandoned_claim_is_free_and_its_mark_stays"),
    (Fault::RenewalIsAlwaysGranted, "a_held_claim_is_renewed_and_an_ended_one_is_lost"),
    (Fault::RenewalIsTooShort, "a_held_claim_is_renewed_and_an_ended_one_is_lost"),
    (Fault::EndsByName, "ending_what_another_holds_changes_nothing"),
    (Fault::EndsByName, "the_late_end_of_a_lost_claim_frees_nobody_elses"),
    (Fault::WriteEndsTheClaim, "writing_ends_no_claim"),
    (Fault::PredecessorsNeverLive, "a_lost_claim_goes_to_the_next_who_is_told"),
    (Fault::RenewalIsAlwaysGranted, "a_lost_claim_goes_to_the_next_who_is_told"),
    (Fault::TellsTheNextOnly, "who_lost_a_claim_may_live_until_it_ends_it_late"),
    (Fault::LossIsNeverSettled, "who_lost_a_claim_may_live_until_it_ends_it_late"),
    (Fault::LossIsNeverSettled, "a_commit_settles_a_lost_claim_and_no_other_write_does"),
    (Fault::AnyWriteSettlesALoss, "a_commit_settles_a_lost_claim_and_no_other_write_does"),
    (Fault::CommitNeedsTheClaim, "what_a_lost_claim_brought_is_still_stored"),
    (Fault::PredecessorsAlwaysLive, "a_new_epoch_knows_no_lost_claims"),
    (Fault::DeathKeepsTheClaim, "a_dead_process_frees_its_claim_and_leaves_its_mark"),
    (Fault::ReservesForAll, "a_refresh_token_is_reserved_for_one_identity"),
    (Fault::NamesTheWrongHolder, "a_refresh_token_is_reserved_for_one_identity"),
    (Fault::ReserveLooksThenTakes, "of_many_that_reserve_one_token_one_gets_it"),
    (Fault::ReservationForgetsTheRecord, "a_reservation_outlasts_ten_minutes_while_the_token_is_held"),
    (Fault::ReservationForgetsTheRecord, "a_reservation_moves_with_a_commit"),
    (Fault::ReservationNeverEnds, "a_reservation_moves_with_a_commit"),
    (Fault::ReservationNeverEnds, "a_logout_frees_the_reservation"),
    (Fault::ReservationNeverEnds, "a_reservation_without_an_install_lapses_after_ten_minutes"),
    (Fault::ReservationIsTooShort, "a_reservation_without_an_install_lapses_after_ten_minutes"),
    (Fault::LoginIsTakenTwice, "a_pending_login_is_taken_once_and_whole"),
    (Fault::LoginIsCutShort, "a_pending_login_is_taken_once_and_whole"),
    (Fault::LoginLooksThenTakes, "of_many_that_take_a_login_one_gets_it"),
    (Fault::ExpiredLoginIsFound, "an_expired_login_is_not_found"),
    (Fault::AnyKeyFindsALogin, "pending_logins_are_told_apart"),
    (Fault::LoginForgetsItsEpoch, "a_pending_login_is_taken_once_and_whole"),
    (Fault::LookTakesTheLogin, "a_look_at_a_pending_login_leaves_it"),
    (Fault::LookShowsExpiredLogin, "a_look_at_a_pending_login_leaves_it"),
    (Fault::LoginsAreListedTwice, "pending_logins_are_listed_until_they_are_taken_or_end"),
    (Fault::ExpiredLoginIsListed, "pending_logins_are_listed_until_they_are_taken_or_end"),
    (Fault::LoginsAreNotDropped, "the_pending_logins_of_one_identity_are_dropped"),
    (Fault::RemovalIsNothing, "a_removal_leaves_nothing_of_its_identity"),
    (Fault::RemovalKeepsTheJournal, "a_removal_leaves_nothing_of_its_identity"),
    (Fault::RemovalKeepsTheLogins, "a_removal_leaves_nothing_of_its_identity"),
    (Fault::RemovalTakesAll, "a_removal_leaves_nothing_of_its_identity"),
    (Fault::RemovalComparesNothing, "only_the_tombstone_that_was_read_is_removed"),
    (Fault::RemovalIgnoresTheVersion, "only_the_tombstone_that_was_read_is_removed"),
    (Fault::RemovalShowsNothing, "only_the_tombstone_that_was_read_is_removed"),
    (Fault::RemovedIsRevived, "nothing_late_lands_after_a_removal"),
    (Fault::RemovalReadsThenRemoves, "a_login_beside_a_removal_is_kept"),
    (Fault::RemovalIsNoNews, "a_watch_tells_of_a_removal"),
    (Fault::EntryIsClaimedTwice, "an_issuers_entry_is_claimed_by_one_holder"),
    (Fault::EntriesShareAClaim, "an_issuers_entry_is_claimed_by_one_holder"),
    (Fault::EntryStaysClaimed, "an_issuers_entry_is_claimed_by_one_holder"),
    (Fault::AllLoginsAreDropped, "the_pending_logins_of_one_identity_are_dropped"),
    (Fault::MakesEntriesUp, "nothing_is_kept_of_an_issuer_at_first"),
    (Fault::EntryComparesNothing, "nothing_is_kept_of_an_issuer_at_first"),
    (Fault::EntryLosesItsManagement, "an_issuers_entry_comes_back_whole"),
    (Fault::EntryTakesStaleForUnknown, "an_issuers_entry_comes_back_whole"),
    (Fault::EntryLosesSignsBeyondAscii, "an_issuers_entry_comes_back_whole"),
    (Fault::CooldownLosesItsBoot, "an_issuers_entry_comes_back_whole"),
    (Fault::EntryIsOfOneProcess, "an_issuers_entry_is_created_once"),
    (Fault::EntryIsCreatedTwice, "an_issuers_entry_is_created_once"),
    (Fault::EntryConflictShowsNothing, "an_issuers_entry_is_created_once"),
    (Fault::EntryComparesNothing, "an_issuers_entry_changes_only_at_its_revision"),
    (Fault::EntryRefusalMovesTheRevision, "an_issuers_entry_changes_only_at_its_revision"),
    (Fault::EntryReadsThenWrites, "of_many_that_write_an_issuers_entry_one_does"),
    (Fault::RemovalForgetsTheRevision, "a_removed_entry_counts_on"),
    (Fault::CreatesOverARemovedEntry, "a_removed_entry_counts_on"),
    (Fault::EntryKnowsNoIssuer, "issuers_and_their_entries_are_told_apart"),
    (Fault::EntryKnowsNoName, "issuers_and_their_entries_are_told_apart"),
    (Fault::EntryKnowsNoKind, "issuers_and_their_entries_are_told_apart"),
    (Fault::EntryFoldsCase, "issuers_and_their_entries_are_told_apart"),
    (Fault::EntryListForgetsRemoved, "every_issuers_entry_is_listed_once"),
    (Fault::EntryListRepeats, "every_issuers_entry_is_listed_once"),
    (Fault::IssuersAreListedAsIdentities, "every_issuers_entry_is_listed_once"),
    (Fault::ForgetsWhenClosed, "an_issuers_entry_outlives_its_handle"),
    (Fault::EntryIsNoNews, "a_watch_tells_of_issuers_entries"),
    (Fault::EntryRemovalIsNoNews, "a_watch_tells_of_issuers_entries"),
    (Fault::EntryNewsComesFirst, "a_watch_tells_of_issuers_entries"),
    (Fault::ShowsAClientSecret, "an_issuers_entry_shows_no_secret"),
    (Fault::WatchIsSilent, "a_watch_tells_of_a_siblings_writes"),
    (Fault::WatchHearsItselfOnly, "a_watch_tells_of_a_siblings_writes"),
    (Fault::WatchHearsOthersOnly, "a_watch_tells_of_its_own_processs_writes"),
    (Fault::LogoutIsNoNews, "a_watch_tells_of_every_kind_of_write"),
    (Fault::NewsComesFirst, "news_does_not_come_before_its_write"),
    (Fault::BrokenOffWaitEndsTheWatch, "waiting_for_news_may_be_broken_off"),
    (Fault::LossIsNotTold, "a_watch_says_when_it_has_lost_news"),
    (Fault::JournalIsReversed, "a_journal_gives_the_newest_lines_oldest_first"),
    (Fault::JournalKeepsTheOldest, "a_journal_is_bounded"),
    (Fault::JournalIsUnbounded, "a_journal_is_bounded"),
    (Fault::JournalIsShared, "journals_are_told_apart"),
];

async fn findings(fault: Option<Fault>) -> Report {
    examine(&BrokenHarness(fault)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_fault_is_found_and_each_check_finds_one() {
    let mut failed: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut missed = Vec::new();
    for (fault, check) in FOUND_BY {
        let found = match failed.entry(format!("{fault:?}")) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(findings(Some(*fault)).await.failed().map(|(name, _)| name).collect()),
        };
        if !found.contains(check) {
            missed.push(format!("{check} does not find {fault:?}; it is found by {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));

    let finders: BTreeSet<&str> = FOUND_BY.iter().map(|(_, check)| *check).collect();
    let all: BTreeSet<&str> = CHECKS.iter().map(|check| check.name()).collect();
    assert_eq!(all, finders, "a check that finds no planted fault proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_fault_the_same_store_passes() {
    let report = findings(None).await;
    assert_eq!(report.failed().count(), 0, "{report}");
    assert_eq!(report.not_shown().count(), 1, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_says_it_gives_no_claims_passes() {
    let report = findings(Some(Fault::HonestlyGivesNoClaims)).await;
    assert_eq!(report.failed().count(), 0, "{report}");
    assert_eq!(report.not_shown().count(), 19, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a task is where a panic can be looked at")]
async fn the_report_names_each_failed_check_and_why() {
    let outcome = tokio::spawn(async { run_all(&BrokenHarness(Some(Fault::LoginIsTakenTwice))).await }).await;
    let panic = outcome.unwrap_err().into_panic();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("the store breaks its contract in "), "{message}");
    assert!(
        message.contains("- a_pending_login_is_taken_once_and_whole: a pending login was taken twice"),
        "{message}"
    );
    assert!(!message.contains("an_expired_login_is_not_found"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_check_can_be_run_alone() {
    let check = CHECKS.iter().find(|check| check.name() == "a_claim_has_one_holder").unwrap();
    check.run(&Leased).await.unwrap();
    let harness: &dyn Harness = &BrokenHarness(Some(Fault::ClaimIsNotExclusive));
    let breach = check.run(harness).await.unwrap_err();
    assert!(breach.to_string().contains("the answer to a second claim is Granted("), "{breach}");
}
