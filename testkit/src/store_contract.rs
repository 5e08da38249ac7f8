//! The store contract, a set of checks that every [`TokenStore`] must pass. Run them over this project's stores or
//! your own.
//!
//! A store consists of one atomic step around [`apply`](tokenkeeper_actors::law::ledger::apply), exclusive claims, and
//! store events. Each check tests one property of these. Where the ledger decides, the check compares the store with
//! the ledger. Where many callers may ask at once, the check runs them concurrently. Where a holder must lose its
//! claim or die, the [`Harness`] makes it happen.
//!
//! Run them on tokio's multi-threaded runtime. On a single thread, tasks take turns only at awaits, so a race that
//! needs two threads is not found.

mod kit;
mod verdict;

pub mod claims;
pub mod epochs;
pub mod issuers;
pub mod journal;
pub mod logins;
pub mod losses;
pub mod marks;
pub mod news;
pub mod records;
pub mod removal;
pub mod reservations;
pub mod tokens;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use async_trait::async_trait;
use tokenkeeper_actors::ports::store::{Claim, Predecessor, TokenStore};
use tokenkeeper_actors::values::ServerIdentity;

use crate::contract::timed;
pub use crate::contract::{Breach, Outcome, Report, Verdict};

/// Makes the stores under test. Its methods, and those of [`Place`], are part of a test and may panic.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Makes an empty place, such as a new directory, schema or key prefix. Each check uses one of its own, and
    /// several checks may run at the same time.
    async fn place(&self) -> Box<dyn Place>;

    /// Whether the store grants claims. Default: it does. A store that does not must always answer
    /// [`Unsupported`](tokenkeeper_actors::ports::store::ClaimAnswer::Unsupported), and a check tests that.
    fn gives_claims(&self) -> bool {
        true
    }

    /// The maximal number of lines that the store keeps of one identity's journal. Default 1,000. The checks write one
    /// more.
    fn journal_bound(&self) -> usize {
        1_000
    }

    /// The time within which a watch must get its events. Default 5 s. A check waits that long only if an event does
    /// not come.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// A place that holds records. It keeps them as long as it lives, with or without an open handle.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens a handle on the place, as another process would. Handles share only the place.
    async fn open(&self) -> Arc<dyn TokenStore>;

    /// Makes the holder of `claim` lose it without ending it, for example by letting its lease run out. Other claims
    /// may be lost with it.
    ///
    /// Returns the predecessor that the next holder must see, or `None` where claims cannot be lost this way (kernel
    /// locks). Default: `None`.
    async fn lose_claim(&self, _identity: &ServerIdentity, _claim: &Claim) -> Option<Predecessor> {
        None
    }

    /// Kills the process that has `handle` without ending its claims, and lets enough time pass to free them. `handle`
    /// is the only handle of its process, and nothing else refers to it.
    ///
    /// Returns the predecessor that the next holder of its claims must see, or `None` if the harness cannot do this.
    /// Default: `None`.
    async fn kill(&self, handle: Arc<dyn TokenStore>) -> Option<Predecessor> {
        drop(handle);
        None
    }

    /// Makes every open watch miss events, by cutting its connection or overflowing it.
    ///
    /// Returns whether it did. Default: `false`.
    async fn lose_news(&self) -> bool {
        false
    }
}

/// One check of the contract.
#[derive(Clone, Copy)]
pub struct Check {
    name: &'static str,
    run: for<'a> fn(&'a dyn Harness) -> Run<'a>,
}

type Run<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

impl Check {
    /// The property, as a sentence in snake case. It is the name of the check's function.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the check in a place of its own. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The [`Breach`] that the check found. Taking more than a minute is a breach too. Dropping the future abandons
    /// the check.
    pub async fn run(&self, harness: &dyn Harness) -> Verdict {
        timed((self.run)(harness)).await
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Runs all checks, one after another. Panics with a readable report if the store broke the contract.
///
/// # Panics
///
/// When a check found a breach. The message names each such check and its breach.
pub async fn run_all(harness: &dyn Harness) {
    examine(harness).await.assert_kept();
}

/// Runs all checks, one after another.
pub async fn examine(harness: &dyn Harness) -> Report {
    let mut findings = Vec::with_capacity(CHECKS.len());
    for check in CHECKS {
        findings.push((check.name, check.run(harness).await));
    }
    Report::new("store", findings)
}

macro_rules! checks {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Check { name: stringify!($name), run: |harness| Box::pin($module::$name(harness)) }),+),+]
    };
}

/// Every check of the contract. Use it for a test that runs each check by its name, or leaves one out for a reason.
pub static CHECKS: &[Check] = checks! {
    records: nothing_is_there_at_first, a_login_begins_with_epoch_1_revision_1_and_number_1, a_record_comes_back_whole,
        each_write_moves_the_revision_by_one, every_identity_with_a_record_is_listed_once, identities_are_told_apart,
        what_was_written_outlives_its_handle, all_processes_have_one_digest_key, a_store_shows_no_secret;
    marks: a_mark_compares_the_whole_version, of_many_marks_at_once_one_is_written,
        a_withdrawal_restores_what_was_there_and_fences_the_mark, a_withdrawal_leaves_another_flights_mark_alone,
        a_spent_mark_says_so_to_everybody;
    tokens: a_commit_goes_by_epoch_and_token_and_not_by_revision, a_commit_for_another_refresh_token_conflicts,
        a_commit_that_brings_no_newer_number_conflicts, a_repeated_commit_conflicts_and_shows_the_committed_record,
        a_commit_without_a_refresh_token_keeps_the_old_one, a_commit_for_another_subject_conflicts,
        of_many_commits_for_one_refresh_token_one_is_written,
        a_repeatable_source_makes_its_record_with_its_first_commit, a_refused_refresh_token_is_not_installed_again,
        a_replaced_refresh_token_is_not_installed_again, a_marked_refresh_token_is_not_installed_again,
        a_parked_grant_is_kept_until_a_login_replaces_it, a_configuration_changes_the_plan_and_nothing_else;
    epochs: a_logout_leaves_a_tombstone_that_counts_on, a_logout_of_an_older_epoch_deletes_nothing,
        a_logout_before_the_first_record_leaves_a_tombstone, of_many_logouts_at_once_one_is_written,
        nothing_but_a_login_revives_a_tombstone,
        a_late_commit_leaves_a_newer_login_alone, a_late_commit_is_refused_even_where_the_refresh_token_is_the_same,
        dead_refresh_tokens_are_remembered_through_logout_and_login;
    claims: a_store_without_claims_says_so, a_claim_has_one_holder, of_many_claims_at_once_one_is_granted,
        another_epoch_is_no_hindrance, another_identity_is_no_hindrance, spending_and_login_do_not_hinder_each_other,
        the_holder_that_asks_again_has_its_claim, an_ended_claim_is_free_and_its_holder_gone,
        an_abandoned_claim_is_free_and_its_mark_stays, a_held_claim_is_renewed_and_an_ended_one_is_lost,
        ending_what_another_holds_changes_nothing, writing_ends_no_claim;
    losses: a_lost_claim_goes_to_the_next_who_is_told, the_late_end_of_a_lost_claim_frees_nobody_elses,
        who_lost_a_claim_may_live_until_it_ends_it_late, a_commit_settles_a_lost_claim_and_no_other_write_does,
        what_a_lost_claim_brought_is_still_stored, a_new_epoch_knows_no_lost_claims,
        a_dead_process_frees_its_claim_and_leaves_its_mark;
    reservations: a_refresh_token_is_reserved_for_one_identity, of_many_that_reserve_one_token_one_gets_it,
        a_reservation_outlasts_ten_minutes_while_the_token_is_held, a_reservation_moves_with_a_commit,
        a_logout_frees_the_reservation, a_reservation_without_an_install_lapses_after_ten_minutes;
    logins: a_pending_login_is_taken_once_and_whole, of_many_that_take_a_login_one_gets_it,
        an_expired_login_is_not_found, pending_logins_are_told_apart, a_look_at_a_pending_login_leaves_it,
        pending_logins_are_listed_until_they_are_taken_or_end, the_pending_logins_of_one_identity_are_dropped;
    removal: a_removal_leaves_nothing_of_its_identity, only_the_tombstone_that_was_read_is_removed,
        nothing_late_lands_after_a_removal, a_login_beside_a_removal_is_kept, a_watch_tells_of_a_removal;
    issuers: nothing_is_kept_of_an_issuer_at_first, an_issuers_entry_is_claimed_by_one_holder, an_issuers_entry_comes_back_whole, an_issuers_entry_is_created_once,
        an_issuers_entry_changes_only_at_its_revision, of_many_that_write_an_issuers_entry_one_does,
        a_removed_entry_counts_on, issuers_and_their_entries_are_told_apart, every_issuers_entry_is_listed_once,
        an_issuers_entry_outlives_its_handle, a_watch_tells_of_issuers_entries, an_issuers_entry_shows_no_secret;
    news: a_watch_tells_of_a_siblings_writes, a_watch_tells_of_its_own_processs_writes,
        a_watch_tells_of_every_kind_of_write, news_does_not_come_before_its_write, waiting_for_news_may_be_broken_off,
        a_watch_says_when_it_has_lost_news;
    journal: a_journal_gives_the_newest_lines_oldest_first, a_journal_is_bounded, journals_are_told_apart;
};
