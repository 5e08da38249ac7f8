//! A registration in the store: reads, compared writes, and the claim.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::{EntryChange, EntryChanged};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, TokenStore};
use tokenkeeper_actors::values::issuer::{ClientRegistration, EntryContent, IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::{FlightId, Revision, StoreFault};

/// The time-out of one operation of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The duration of a claim. It covers the requests of a registration, and the reads and writes around them.
const CLAIM: Duration = Duration::from_secs(45);

/// The maximum number of attempts to write. After a conflict the change is decided anew.
const MAX_CONFLICTS: usize = 5;

/// The entries of registrations in a store.
#[derive(Clone, Debug)]
pub(super) struct Entries(pub(super) Arc<dyn TokenStore>);

/// The entry of a registration as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// The revision that a write must expect.
    pub(super) revision: Option<Revision>,
    /// The registration, unless there is none or it was removed.
    pub(super) registration: Option<ClientRegistration>,
}

/// The decision about a stored registration.
pub(super) enum Amendment {
    /// Leave it unchanged.
    Keep,
    /// Replace it by this one.
    Put(Box<ClientRegistration>),
    /// Remove it.
    Remove,
}

/// The answer to a request for the claim.
pub(super) enum Claimed {
    /// The caller holds the claim, and must end it.
    Held(Claim),
    /// Another caller holds the claim.
    Contended,
    /// The store has no claims, or cannot be used.
    Without,
}

impl Entries {
    pub(super) async fn load(&self, key: &IssuerKey) -> Result<Stored, StoreFault> {
        Ok(Stored::from(within(self.0.load_issuer(key)).await?))
    }

    /// Writes `registration` if the entry still has the revision `expected`. After a conflict, returns the present entry in
    /// `Ok(Err(_))`.
    pub(super) async fn put(
        &self,
        key: &IssuerKey,
        expected: Option<Revision>,
        registration: &ClientRegistration,
    ) -> Result<Result<(), Stored>, StoreFault> {
        let content = EntryContent::Registration(Box::new(registration.clone()));
        self.change(key, EntryChange::Put { expected, content }).await
    }

    /// Applies the decision of `amend` to the registration of `client_id`, and decides anew after a concurrent write. The
    /// registration of another client is left unchanged.
    pub(super) async fn amend(
        &self,
        key: &IssuerKey,
        client_id: &str,
        amend: impl Fn(&ClientRegistration) -> Amendment,
    ) -> Result<(), StoreFault> {
        let mut stored = self.load(key).await?;
        for _ in 0..MAX_CONFLICTS {
            let Stored { revision: Some(expected), registration: Some(registration) } = &stored else { return Ok(()) };
            if registration.client.id != client_id {
                return Ok(());
            }
            let change = match amend(registration) {
                Amendment::Keep => return Ok(()),
                Amendment::Put(registration) => {
                    let content = EntryContent::Registration(registration);
                    EntryChange::Put { expected: Some(*expected), content }
                }
                Amendment::Remove => EntryChange::Remove { expected: *expected, kind: key.kind.clone() },
            };
            match self.change(key, change).await? {
                Ok(()) => return Ok(()),
                Err(current) => stored = current,
            }
        }
        Err(StoreFault::Busy)
    }

    async fn change(&self, key: &IssuerKey, change: EntryChange) -> Result<Result<(), Stored>, StoreFault> {
        let mut answer = within(self.0.change_issuer(&key.issuer, change.clone())).await;
        // The write may have taken effect. The repeated write then conflicts with the entry of the first, and the caller uses
        // that entry.
        if answer == Err(StoreFault::TimedOut) {
            answer = within(self.0.change_issuer(&key.issuer, change)).await;
        }
        Ok(match answer? {
            EntryChanged::Applied(_) => Ok(()),
            EntryChanged::Conflict(current) => Err(Stored::from(current)),
        })
    }

    pub(super) async fn claim(&self, key: &IssuerKey, holder: FlightId) -> Claimed {
        match within(self.0.claim_entry(key, holder, CLAIM)).await {
            Ok(ClaimAnswer::Granted(claim)) => Claimed::Held(claim),
            Ok(ClaimAnswer::Contended) | Err(StoreFault::Busy) => Claimed::Contended,
            Ok(ClaimAnswer::Unsupported) => Claimed::Without,
            Err(fault) => {
                // The claim may have been granted nevertheless.
                if fault == StoreFault::TimedOut {
                    let (scope, predecessor) = (ClaimScope::Entry, Predecessor::MayLive);
                    self.end(key, &Claim { holder, scope, remaining: None, predecessor }).await;
                }
                Claimed::Without
            }
        }
    }

    /// Ends a claim. A fault is ignored. The claim then runs out, or ends with the process, and the wait of other callers is
    /// bounded.
    pub(super) async fn end(&self, key: &IssuerKey, claim: &Claim) {
        let _ = within(self.0.end_entry_claim(key, claim)).await;
    }

    /// The keys of the stored entries. None if the store cannot be used.
    pub(super) async fn keys(&self) -> Vec<IssuerKey> {
        within(self.0.list_issuers()).await.unwrap_or_default()
    }
}

impl From<Option<Box<IssuerEntry>>> for Stored {
    fn from(entry: Option<Box<IssuerEntry>>) -> Self {
        let Some(entry) = entry else { return Self::default() };
        let registration = match entry.content {
            Some(EntryContent::Registration(registration)) => Some(*registration),
            Some(EntryContent::Metadata(_) | EntryContent::Cooldown(_)) | None => None,
        };
        Self { revision: Some(entry.revision), registration }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an operation of the store may be dropped, and is repeated if that matters"
)]
async fn within<T>(operation: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StoreFault> {
    tokio::time::timeout(STORE_TIMEOUT, operation).await.unwrap_or(Err(StoreFault::TimedOut))
}
