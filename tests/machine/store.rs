//! A store in memory that is down on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::StoreFault;
use tokenkeeper::engine::law::ledger::{Change, Changed, EntryChange, EntryChanged};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Removal, Renewed, Reservation,
    StoreWatch, TokenStore,
};
use tokenkeeper::engine::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper::engine::values::record::{Issuer, Record};
use tokenkeeper::engine::values::{DigestKey, FlightId, KeyedDigest, Moment, ServerIdentity, Version};

#[derive(Clone, Debug)]
pub(crate) struct Fragile {
    inner: MemoryStore,
    is_down: Arc<AtomicBool>,
}

impl Fragile {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self { inner, is_down: Arc::default() }
    }

    /// The store as another process sees it.
    pub(crate) fn process(&self) -> Self {
        Self { inner: self.inner.process(), is_down: Arc::default() }
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreFault> {
        if self.is_down.load(Ordering::SeqCst) { Err(StoreFault::Failed) } else { Ok(()) }
    }
}

type Stored<T> = Result<T, StoreFault>;

#[async_trait]
impl TokenStore for Fragile {
    async fn digest_key(&self) -> Stored<DigestKey> {
        self.inner.digest_key().await
    }
    async fn load(&self, identity: &ServerIdentity) -> Stored<Option<Box<Record>>> {
        self.check()?;
        self.inner.load(identity).await
    }
    async fn list(&self) -> Stored<Vec<ServerIdentity>> {
        self.check()?;
        self.inner.list().await
    }
    async fn change(&self, identity: &ServerIdentity, change: Change) -> Stored<Changed> {
        self.check()?;
        self.inner.change(identity, change).await
    }
    async fn claim(&self, to: &ServerIdentity, what: ClaimScope, by: FlightId, least: Duration) -> Stored<ClaimAnswer> {
        self.check()?;
        self.inner.claim(to, what, by, least).await
    }
    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Stored<Renewed> {
        self.check()?;
        self.inner.renew(identity, claim, at_least).await
    }
    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Stored<()> {
        self.check()?;
        self.inner.end_claim(identity, claim, ending).await
    }
    async fn load_issuer(&self, key: &IssuerKey) -> Stored<Option<Box<IssuerEntry>>> {
        self.check()?;
        self.inner.load_issuer(key).await
    }
    async fn list_issuers(&self) -> Stored<Vec<IssuerKey>> {
        self.check()?;
        self.inner.list_issuers().await
    }
    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Stored<EntryChanged> {
        self.check()?;
        self.inner.change_issuer(issuer, change).await
    }
    async fn claim_entry(&self, key: &IssuerKey, holder: FlightId, at_least: Duration) -> Stored<ClaimAnswer> {
        self.check()?;
        self.inner.claim_entry(key, holder, at_least).await
    }
    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Stored<()> {
        self.check()?;
        self.inner.end_entry_claim(key, claim).await
    }
    async fn reserve(&self, identity: &ServerIdentity, digest: KeyedDigest, now: Moment) -> Stored<Reservation> {
        self.check()?;
        self.inner.reserve(identity, digest, now).await
    }
    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Stored<()> {
        self.check()?;
        self.inner.put_login(key, login).await
    }
    async fn take_login(&self, key: &LoginKey, now: Moment) -> Stored<Option<PendingLogin>> {
        self.check()?;
        self.inner.take_login(key, now).await
    }
    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Stored<Option<PendingLogin>> {
        self.check()?;
        self.inner.peek_login(key, now).await
    }
    async fn pending_logins(&self, now: Moment) -> Stored<Vec<(LoginKey, PendingLogin)>> {
        self.check()?;
        self.inner.pending_logins(now).await
    }
    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Stored<Removal> {
        self.check()?;
        self.inner.remove(identity, expected).await
    }
    async fn drop_logins(&self, identity: &ServerIdentity) -> Stored<()> {
        self.check()?;
        self.inner.drop_logins(identity).await
    }
    async fn watch(&self) -> Stored<Box<dyn StoreWatch>> {
        self.inner.watch().await
    }
    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Stored<()> {
        self.check()?;
        self.inner.note(identity, line).await
    }
    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Stored<Vec<JournalLine>> {
        self.check()?;
        self.inner.journal(identity, most).await
    }
}
