//! A store whose entries fail on demand.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::ledger::{Change, Changed, EntryChange, EntryChanged};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Removal, Renewed, Reservation,
    StoreWatch, TokenStore,
};
use tokenkeeper_actors::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::record::{Issuer, Record};
use tokenkeeper_actors::values::{DigestKey, FlightId, KeyedDigest, Moment, ServerIdentity, StoreFault, Version};

#[derive(Debug, Default)]
struct Faults {
    all: Option<StoreFault>,
    writes: Option<StoreFault>,
    hangs: bool,
    loses_answer: bool,
}

#[derive(Debug)]
pub(super) struct Faulty {
    inner: MemoryStore,
    faults: Mutex<Faults>,
}

impl Faulty {
    pub(super) fn new(inner: MemoryStore) -> Self {
        Self { inner, faults: Mutex::default() }
    }

    pub(super) fn fail(&self, fault: Option<StoreFault>) {
        self.faults.lock().unwrap().all = fault;
    }

    pub(super) fn fail_writes(&self, fault: Option<StoreFault>) {
        self.faults.lock().unwrap().writes = fault;
    }

    pub(super) fn hang(&self) {
        self.faults.lock().unwrap().hangs = true;
    }

    pub(super) fn lose_answer_of_next_write(&self) {
        self.faults.lock().unwrap().loses_answer = true;
    }

    async fn check(&self) -> Result<(), StoreFault> {
        let hangs = self.faults.lock().unwrap().hangs;
        if hangs {
            std::future::pending::<()>().await;
        }
        self.faults.lock().unwrap().all.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl TokenStore for Faulty {
    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        self.check().await?;
        self.inner.load_issuer(key).await
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        self.check().await?;
        self.inner.list_issuers().await
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        self.check().await?;
        let (fault, loses_answer) = {
            let mut faults = self.faults.lock().unwrap();
            (faults.writes, std::mem::take(&mut faults.loses_answer))
        };
        fault.map_or(Ok(()), Err)?;
        let answer = self.inner.change_issuer(issuer, change).await;
        if loses_answer { Err(StoreFault::TimedOut) } else { answer }
    }

    async fn claim_entry(
        &self,
        key: &IssuerKey,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        self.check().await?;
        self.inner.claim_entry(key, holder, at_least).await
    }

    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault> {
        self.check().await?;
        self.inner.end_entry_claim(key, claim).await
    }

    // Registrations use no other part of a store.

    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        self.inner.digest_key().await
    }

    async fn load(&self, _: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        unreachable!()
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        unreachable!()
    }

    async fn change(&self, _: &ServerIdentity, _: Change) -> Result<Changed, StoreFault> {
        unreachable!()
    }

    async fn claim(
        &self,
        _: &ServerIdentity,
        _: ClaimScope,
        _: FlightId,
        _: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        unreachable!()
    }

    async fn renew(&self, _: &ServerIdentity, _: &Claim, _: Duration) -> Result<Renewed, StoreFault> {
        unreachable!()
    }

    async fn end_claim(&self, _: &ServerIdentity, _: &Claim, _: ClaimEnding) -> Result<(), StoreFault> {
        unreachable!()
    }

    async fn reserve(&self, _: &ServerIdentity, _: KeyedDigest, _: Moment) -> Result<Reservation, StoreFault> {
        unreachable!()
    }

    async fn put_login(&self, _: LoginKey, _: PendingLogin) -> Result<(), StoreFault> {
        unreachable!()
    }

    async fn take_login(&self, _: &LoginKey, _: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        unreachable!()
    }

    async fn peek_login(&self, _: &LoginKey, _: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        unreachable!()
    }

    async fn pending_logins(&self, _: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        unreachable!()
    }

    async fn remove(&self, _: &ServerIdentity, _: Version) -> Result<Removal, StoreFault> {
        unreachable!()
    }

    async fn drop_logins(&self, _: &ServerIdentity) -> Result<(), StoreFault> {
        unreachable!()
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        unreachable!()
    }

    async fn note(&self, _: &ServerIdentity, _: JournalLine) -> Result<(), StoreFault> {
        unreachable!()
    }

    async fn journal(&self, _: &ServerIdentity, _: usize) -> Result<Vec<JournalLine>, StoreFault> {
        unreachable!()
    }
}
