//! The store in memory. It serves tests and hosts that keep nothing, and is the reference for other stores.
//!
//! It fulfils the whole contract of [`TokenStore`], including claims. Several runtimes of one process can share it.
//! Each opens its own handle with [`MemoryStore::process`]. The content is gone with the last handle.

mod claims;
mod reservations;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::law::ledger::{Change, Changed, EntryChange, EntryChanged, apply, apply_entry, remove};
use crate::ports::clock::Clock;
use crate::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Removal, Renewed, Reservation,
    StoreEvent, StoreWatch, TokenStore,
};
use crate::sync::lock;
use crate::values::issuer::{IssuerEntry, IssuerKey};
use crate::values::record::{Issuer, Record};
use crate::values::{DigestKey, FlightId, KeyedDigest, Moment, ServerIdentity, StoreFault, Version};

use claims::{Claimant, Claims, Tenure};
use reservations::Reservations;

/// A handle on a store in memory. Clones count as the same process. [`process`](Self::process) opens a handle that
/// counts as another process.
///
/// Every method answers at once, and none of them fails.
#[derive(Clone)]
pub struct MemoryStore(Arc<Process>);

impl MemoryStore {
    /// The number of events kept for a watch that does not read them. A watch that is further behind gets
    /// [`Lagged`](StoreEvent::Lagged).
    pub const NEWS_KEPT: usize = 1_024;

    /// The number of lines kept of each identity's journal. The oldest lines are dropped.
    pub const JOURNAL_KEPT: usize = 256;

    /// Makes an empty store whose claims last until they are ended, or until their process has dropped its handle and
    /// all clones of it, like a kernel's locks. The next holder's predecessor is
    /// [`Gone`](crate::ports::store::Predecessor::Gone).
    ///
    /// `key` is the key of the store's digests, 32 random bytes.
    pub fn new(key: DigestKey) -> Self {
        Self::with(key, None)
    }

    /// Makes an empty store with leased claims. Each lasts for `length`, or for the time that its holder asked for if
    /// that is longer, by `clock`'s elapsed time, and must be renewed to last longer. After a claim has run out, the
    /// next holder's predecessor may live. Dropping a handle ends no claim, just as the death of a process goes
    /// unnoticed across a network.
    ///
    /// `key` is the key of the store's digests, 32 random bytes.
    pub fn leased(key: DigestKey, clock: Arc<dyn Clock>, length: Duration) -> Self {
        Self::with(key, Some(Leases { clock, length }))
    }

    /// Opens another handle on the same store, which counts as another process.
    #[must_use]
    pub fn process(&self) -> Self {
        Self::open(&self.0.shared)
    }

    fn with(key: DigestKey, leases: Option<Leases>) -> Self {
        let (events, _) = broadcast::channel(Self::NEWS_KEPT);
        Self::open(&Arc::new(Shared { key, leases, state: Mutex::default(), events }))
    }

    fn open(shared: &Arc<Shared>) -> Self {
        let number = {
            let mut state = shared.state();
            state.processes += 1;
            state.processes
        };
        Self(Arc::new(Process { number, shared: Arc::clone(shared) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.shared.state()
    }

    fn tenure(&self, at_least: Duration) -> Tenure {
        self.0.shared.tenure(at_least)
    }

    fn claimant(&self, holder: FlightId) -> Claimant {
        // A leased claim belongs to its flight in any process. A kernel lock belongs only to the process that took it.
        let process = if self.0.shared.leases.is_some() { 0 } else { self.0.number };
        Claimant { holder, process }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("process", &self.0.number).finish_non_exhaustive()
    }
}

/// One process that uses the store. The last clone of its handle ends its claims.
struct Process {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.shared.leases.is_none() {
            let mut state = self.shared.state();
            state.claims.process_died(self.number);
            state.entry_claims.process_died(self.number);
        }
    }
}

struct Shared {
    key: DigestKey,
    leases: Option<Leases>,
    state: Mutex<State>,
    /// The writes of all processes.
    events: broadcast::Sender<StoreEvent>,
}

struct Leases {
    clock: Arc<dyn Clock>,
    length: Duration,
}

#[derive(Default)]
struct State {
    processes: u64,
    records: BTreeMap<ServerIdentity, Record>,
    claims: Claims<ServerIdentity>,
    entry_claims: Claims<IssuerKey>,
    reservations: Reservations,
    logins: BTreeMap<LoginKey, PendingLogin>,
    issuers: BTreeMap<IssuerKey, IssuerEntry>,
    journals: BTreeMap<ServerIdentity, VecDeque<JournalLine>>,
    /// Whether a record was ever removed. From then on, identities without a record have no journal.
    removes_records: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is computed before its first field is written, so a panic leaves no half-written change behind.
        lock(&self.state)
    }

    /// Reads the clock. Called before the lock is taken, because the clock is the host's code.
    fn tenure(&self, at_least: Duration) -> Tenure {
        match &self.leases {
            None => Tenure::Unlimited,
            Some(leases) => Tenure::Lease { now: leases.clock.now().elapsed, length: leases.length.max(at_least) },
        }
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        Ok(self.0.shared.key.clone())
    }

    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        Ok(self.state().records.get(identity).cloned().map(Box::new))
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        Ok(self.state().records.keys().cloned().collect())
    }

    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        let tenure = self.tenure(Duration::ZERO);
        let mut state = self.state();
        let before = state.records.get(identity).cloned().map(Box::new);
        let after = match apply(before.as_deref(), &change) {
            Ok(after) => Box::new(after),
            Err(why) => return Ok(Changed::Conflict { why, current: before }),
        };
        state.records.insert(identity.clone(), (*after).clone());
        state.reservations.written(identity, before.as_deref(), &after);
        state.claims.written(identity, &change, after.epoch, &tenure);
        // Sent while the lock is held, so that events come in the order of the writes. The error means that there is no watch.
        let _ = self.0.shared.events.send(StoreEvent::Changed(identity.clone()));
        Ok(Changed::Applied { before, after })
    }

    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        let mut state = self.state();
        let current = state.records.get(identity);
        if remove(current, expected).is_err() {
            return Ok(Removal::Conflict { current: current.cloned().map(Box::new) });
        }
        state.records.remove(identity);
        state.journals.remove(identity);
        state.reservations.removed(identity);
        state.logins.retain(|_, login| login.identity != *identity);
        state.removes_records = true;
        // Sent while the lock is held, as for writes.
        let _ = self.0.shared.events.send(StoreEvent::Changed(identity.clone()));
        Ok(Removal::Done)
    }

    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        let tenure = self.tenure(at_least);
        Ok(self.state().claims.claim(identity, scope, self.claimant(holder), &tenure))
    }

    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault> {
        let tenure = self.tenure(at_least);
        Ok(self.state().claims.renew(identity, claim.scope, self.claimant(claim.holder), &tenure))
    }

    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, _: ClaimEnding) -> Result<(), StoreFault> {
        self.state().claims.end(identity, claim.scope, self.claimant(claim.holder));
        Ok(())
    }

    async fn claim_entry(
        &self,
        key: &IssuerKey,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        let tenure = self.tenure(at_least);
        Ok(self.state().entry_claims.claim(key, ClaimScope::Entry, self.claimant(holder), &tenure))
    }

    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault> {
        self.state().entry_claims.end(key, ClaimScope::Entry, self.claimant(claim.holder));
        Ok(())
    }

    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault> {
        let mut state = self.state();
        let State { records, reservations, .. } = &mut *state;
        Ok(reservations.reserve(records, identity, digest, now.wall))
    }

    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault> {
        self.state().logins.insert(key, login);
        Ok(())
    }

    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        let mut state = self.state();
        state.logins.retain(|_, login| login.expires > now.wall);
        Ok(state.logins.remove(key))
    }

    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        Ok(self.state().logins.get(key).filter(|login| login.expires > now.wall).cloned())
    }

    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        let state = self.state();
        let pending = state.logins.iter().filter(|(_, login)| login.expires > now.wall);
        Ok(pending.map(|(key, login)| (*key, login.clone())).collect())
    }

    async fn drop_logins(&self, identity: &ServerIdentity) -> Result<(), StoreFault> {
        self.state().logins.retain(|_, login| login.identity != *identity);
        Ok(())
    }

    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        Ok(self.state().issuers.get(key).cloned().map(Box::new))
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        Ok(self.state().issuers.keys().cloned().collect())
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        let key = IssuerKey { issuer: issuer.clone(), kind: change.kind() };
        let mut state = self.state();
        let before = state.issuers.get(&key);
        let Ok(after) = apply_entry(before, &change) else {
            return Ok(EntryChanged::Conflict(before.cloned().map(Box::new)));
        };
        state.issuers.insert(key.clone(), after.clone());
        // Sent while the lock is held, as for records.
        let _ = self.0.shared.events.send(StoreEvent::IssuerChanged(key));
        Ok(EntryChanged::Applied(Box::new(after)))
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        Ok(Box::new(MemoryWatch(self.0.shared.events.subscribe())))
    }

    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault> {
        let mut state = self.state();
        // A late line must not begin the journal of a removed identity again.
        if state.removes_records && !state.records.contains_key(identity) {
            return Ok(());
        }
        let journal = state.journals.entry(identity.clone()).or_default();
        if journal.len() == Self::JOURNAL_KEPT {
            journal.pop_front();
        }
        journal.push_back(line);
        Ok(())
    }

    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault> {
        let state = self.state();
        let Some(journal) = state.journals.get(identity) else { return Ok(Vec::new()) };
        Ok(journal.iter().skip(journal.len().saturating_sub(most)).cloned().collect())
    }
}

/// Ends when the last handle on the store is gone, because it does not keep the store alive.
#[derive(Debug)]
struct MemoryWatch(broadcast::Receiver<StoreEvent>);

#[async_trait]
impl StoreWatch for MemoryWatch {
    async fn next(&mut self) -> StoreEvent {
        match self.0.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => StoreEvent::Lagged,
            Err(RecvError::Closed) => StoreEvent::Ended,
        }
    }
}
