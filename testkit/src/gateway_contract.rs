//! The contract of a gateway's store, a set of checks that every [`GatewayStore`] must pass. Run them over this project's
//! stores or your own.
//!
//! A store compares and writes in one step. Each check tests one property of that step, alone or with many callers at once.
//! Run them on tokio's multi-threaded runtime. On a single thread, tasks take turns only at awaits, so a race that needs two
//! threads is not found.
//!
//! ```
//! use std::sync::Arc;
//!
//! use tokenkeeper_gateway::store::{Bounds, GatewayStore, MemoryGatewayStore};
//! use tokenkeeper_testkit::gateway_contract::{Harness, Place, async_trait, run_all};
//!
//! struct Mine;
//! struct InMemory(MemoryGatewayStore);
//!
//! #[async_trait]
//! impl Harness for Mine {
//!     async fn place(&self) -> Box<dyn Place> {
//!         Box::new(InMemory(MemoryGatewayStore::default()))
//!     }
//!
//!     async fn small_place(&self, persons: usize) -> Option<Box<dyn Place>> {
//!         let mut bounds = Bounds::default();
//!         bounds.max_persons = persons;
//!         Some(Box::new(InMemory(MemoryGatewayStore::new(bounds))))
//!     }
//! }
//!
//! #[async_trait]
//! impl Place for InMemory {
//!     async fn open(&self) -> Arc<dyn GatewayStore> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
//! run_all(&Mine).await; // panics with a report that names each rule broken
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

mod kit;

pub mod bounds;
pub mod entries;
pub mod expiry;
pub mod races;
pub mod revisions;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

pub use async_trait::async_trait;
use tokenkeeper_gateway::store::GatewayStore;

use crate::contract::timed;
pub use crate::contract::{Breach, Outcome, Report, Verdict};

/// Makes the stores under test. Its methods, and those of [`Place`], are part of a test and may panic.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Makes an empty place, such as a new folder, schema or key prefix. Each check uses one of its own, and several checks
    /// may run at the same time.
    async fn place(&self) -> Box<dyn Place>;

    /// Makes an empty place with room for this number of persons, and for more consents than that.
    ///
    /// Returns `None` for a store without bounds of its own. Default: `None`.
    async fn small_place(&self, _persons: usize) -> Option<Box<dyn Place>> {
        None
    }
}

/// A place that holds entries. It keeps them as long as it lives, with or without an open handle.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens a handle on the place, as another replica would.
    async fn open(&self) -> Arc<dyn GatewayStore>;

    /// Ends every handle, as the end of all replicas does, and opens one again. The check has dropped its handles.
    ///
    /// Returns `None` if the entries end with the process. Default: `None`.
    async fn restart(&self) -> Option<Arc<dyn GatewayStore>> {
        None
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
    Report::new("gateway's store", findings)
}

macro_rules! checks {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Check { name: stringify!($name), run: |harness| Box::pin($module::$name(harness)) }),+),+]
    };
}

/// Every check of the contract. Use it for a test that runs each check by its name, or leaves one out for a reason.
pub static CHECKS: &[Check] = checks! {
    entries: nothing_is_there_at_first, each_kind_of_entry_comes_back_whole, keys_are_told_apart,
        a_removed_entry_is_absent, what_was_written_outlives_its_process;
    revisions: a_change_needs_the_present_revision, a_new_entry_needs_the_absence_of_one, a_refused_change_changes_nothing,
        a_revision_never_comes_back, a_revision_never_comes_back_after_a_restart;
    expiry: an_entry_is_absent_from_its_end_on, an_expired_entry_makes_room_for_a_new_one, the_newest_end_counts;
    races: of_many_new_entries_at_once_one_is_made, of_many_replacements_at_once_one_is_made,
        of_a_removal_and_a_replacement_at_once_one_is_made, changes_of_many_keys_at_once_are_all_made,
        replicas_see_each_others_changes, a_change_that_is_dropped_is_made_or_not_made;
    bounds: a_full_store_refuses_further_entries_alone, a_removal_and_an_end_make_room;
};
