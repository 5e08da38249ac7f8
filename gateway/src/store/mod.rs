//! The store of a gateway, with families of tokens, persons, and remembered consents, for which a person is not asked again.
//!
//! No entry holds a token, a code or a secret, and upstream tokens are never in this store. Registrations of clients and logins
//! that are under way are not stored, because signed texts carry them (identifiers of clients, and cookies).

#[cfg(all(unix, feature = "file"))]
mod file;
mod memory;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokenkeeper::engine::values::WallTime;

use crate::law::{Family, FamilyId};

#[cfg(all(unix, feature = "file"))]
pub use file::{FileGatewayStore, OpenError};
pub use memory::{Bounds, Counts, MemoryGatewayStore};

/// Keeps the entries of a gateway. Each change is a comparison and a write in one step.
///
/// All replicas of a gateway share one store. Object safe. `gateway_contract` of `tokenkeeper-testkit` tests an implementation.
#[async_trait]
pub trait GatewayStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the entry at `key`, unless it has expired.
    ///
    /// # Errors
    ///
    /// If the store cannot be read now.
    async fn load(&self, key: &Key, now: WallTime) -> Result<Option<Stored>, StoreTrouble>;

    /// Replaces the entry at `key` by `next` if its revision is `expected`. `None` as `expected` means that there is no entry,
    /// or an expired one. `None` as `next` removes the entry. The new entry has a revision that no earlier entry at this key
    /// had.
    ///
    /// # Errors
    ///
    /// If the store cannot be written now. The change may have been made all the same.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The change is then made as a whole or not at all.
    async fn swap(
        &self,
        key: &Key,
        expected: Option<Revision>,
        next: Option<Expiring>,
        now: WallTime,
    ) -> Result<Swapped, StoreTrouble>;
}

/// The key of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Key {
    /// A family of tokens.
    Family(FamilyId),
    /// A person, by subject.
    Person(String),
    /// A consent, by a digest of everything that was allowed.
    Consent(String),
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Entry {
    /// A family of tokens.
    Family(Family),
    /// A person.
    Person(Person),
    /// A remembered consent, which its key describes.
    Consent,
}

/// A person who signed in through an upstream provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The account of the person's session at the first upstream ([`SessionSpec::account`](tokenkeeper::SessionSpec::account)).
    /// At the other upstreams, the account is the subject.
    pub account: String,
    /// The account before the last sign-in, which calls that are under way may still use. `None` if there is none.
    #[serde(default)]
    pub former: Option<String>,
    /// When the person was signed out last, in milliseconds of wall time. Cookies, codes and tokens that began until then are
    /// refused.
    #[serde(default)]
    pub signed_out: Option<u64>,
    /// The families of the person. Some of them may have ended. Their number is bounded.
    #[serde(default)]
    pub families: Vec<FamilyId>,
}

impl Person {
    /// Whether something of this person that began at `began`, in milliseconds of wall time, was ended by a sign-out.
    pub(crate) fn has_ended(&self, began: u64) -> bool {
        self.signed_out.is_some_and(|at| began <= at)
    }
}

/// An entry with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// The entry.
    pub entry: Entry,
    /// The time from which the entry counts as absent.
    pub expires: WallTime,
}

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The entry.
    pub entry: Entry,
    /// Its revision, for [`GatewayStore::swap`].
    pub revision: Revision,
}

/// The revision of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swapped {
    /// The change was made.
    Done,
    /// The entry has another revision. Nothing was changed.
    Moved,
    /// The store has no room for a further entry of this kind. Nothing was changed.
    Full,
}

/// The store cannot be read or written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway's store cannot be read or written: check that it runs and can be reached")]
pub struct StoreTrouble;
