//! A store and a spawner that fail on demand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::ledger::{Change, Changed, EntryChange, EntryChanged};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::spawner::{FlightFuture, Spawner};
use tokenkeeper_actors::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Removal, Renewed, Reservation,
    StoreEvent, StoreWatch, TokenStore,
};
use tokenkeeper_actors::system::HostSpawner;
use tokenkeeper_actors::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::record::{Issuer, Record};
use tokenkeeper_actors::values::{DigestKey, FlightId, KeyedDigest, Moment, ServerIdentity, StoreFault, Version};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::Instant;

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It succeeds.
    Works,
    /// Commits and cleared grants fail.
    NoCommits,
    /// Commits hang until this setting changes, and then fail.
    CommitsHang,
    /// Commits panic.
    CommitsPanic,
    /// Everything fails.
    Nothing,
    /// Commits, logins and cleared grants take this long.
    Slow(Duration),
}

/// The result of a read or write of an issuer's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    /// It succeeds.
    Work,
    /// It fails.
    Fail,
    /// It has no effect and no answer.
    Hang,
    /// It panics.
    Panic,
    /// It succeeds, and a write takes this long.
    Slow(Duration),
}

/// A store in memory with faults on demand, whose watches can report events and end. Clones are one store.
#[derive(Clone)]
pub(crate) struct TrickStore {
    inner: MemoryStore,
    writing: watch::Sender<Writing>,
    said: broadcast::Sender<StoreEvent>,
    /// Whether it can be watched.
    watched: watch::Sender<bool>,
    /// Its watches report no writes before then.
    held_until: watch::Sender<Option<Instant>>,
    commits: Arc<AtomicUsize>,
    logins: Arc<AtomicUsize>,
    claims: Arc<AtomicUsize>,
    claim_delay: watch::Sender<Duration>,
    entries: watch::Sender<Entries>,
    entry_reads: Arc<AtomicUsize>,
    entry_writes: Arc<AtomicUsize>,
    /// Whether reads and releases of claims are answered.
    answering: watch::Sender<bool>,
    /// One permit for each read that is answered all the same.
    reads: Arc<Semaphore>,
}

impl TrickStore {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        let (writing, said) = (watch::Sender::new(Writing::Works), broadcast::Sender::new(64));
        let [watched, answering] = [true, true].map(watch::Sender::new);
        let held_until = watch::Sender::new(None);
        Self {
            inner,
            writing,
            said,
            watched,
            held_until,
            commits: Arc::default(),
            logins: Arc::default(),
            claims: Arc::default(),
            claim_delay: watch::Sender::default(),
            entries: watch::Sender::new(Entries::Work),
            entry_reads: Arc::default(),
            entry_writes: Arc::default(),
            answering,
            reads: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn writes(&self, writing: Writing) {
        self.writing.send_replace(writing);
    }

    /// Sets the result of reads and writes of issuers' entries.
    pub(crate) fn entries(&self, entries: Entries) {
        self.entries.send_replace(entries);
    }

    /// Reads of issuers' entries that were attempted.
    pub(crate) fn entry_reads(&self) -> usize {
        self.entry_reads.load(Ordering::SeqCst)
    }

    /// Writes of issuers' entries that were attempted.
    pub(crate) fn entry_writes(&self) -> usize {
        self.entry_writes.load(Ordering::SeqCst)
    }

    async fn entries_work(&self) -> Result<(), StoreFault> {
        let entries = *self.entries.borrow();
        match entries {
            Entries::Work | Entries::Slow(_) => Ok(()),
            Entries::Fail => Err(StoreFault::Failed),
            Entries::Hang => std::future::pending().await,
            Entries::Panic => panic!("a store that was told to panic"),
        }
    }

    /// Reports `news` through its watches.
    pub(crate) fn says(&self, news: StoreEvent) {
        let _ = self.said.send(news);
    }

    /// Ends its watches, and refuses new ones.
    pub(crate) fn falls_silent(&self) {
        self.watched.send_replace(false);
    }

    /// Allows new watches.
    pub(crate) fn speaks(&self) {
        self.watched.send_replace(true);
    }

    /// Holds the events of writes back until `at`.
    pub(crate) fn holds_news_until(&self, at: Instant) {
        self.held_until.send_replace(Some(at));
    }

    /// With `false`, reads and releases of claims hang. With `true`, they are answered.
    pub(crate) fn answers(&self, answering: bool) {
        self.answering.send_replace(answering);
    }

    /// Answers the read that hangs longest.
    pub(crate) fn answers_one_read(&self) {
        self.reads.add_permits(1);
    }

    async fn is_answering(&self) {
        let _ = self.answering.subscribe().wait_for(|answering| *answering).await;
    }

    /// Commits that were attempted.
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    /// Sets the time that each claim takes.
    pub(crate) fn claims_take(&self, delay: Duration) {
        self.claim_delay.send_replace(delay);
    }

    /// Claims that were granted.
    pub(crate) fn claims_granted(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// Logins that were attempted.
    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for TrickStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrickStore")
    }
}

#[async_trait]
impl TokenStore for TrickStore {
    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        self.inner.digest_key().await
    }

    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        tokio::select! {
            biased;
            () = self.is_answering() => {}
            Ok(permit) = self.reads.acquire() => permit.forget(),
        }
        self.inner.load(identity).await
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        self.inner.list().await
    }

    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        let commits = matches!(change, Change::Commit(_) | Change::Clear { .. });
        match change {
            Change::Commit(_) => drop(self.commits.fetch_add(1, Ordering::SeqCst)),
            Change::Install(_) => drop(self.logins.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        let writing = *self.writing.borrow();
        match writing {
            Writing::Nothing => return Err(StoreFault::Failed),
            Writing::NoCommits if commits => return Err(StoreFault::Failed),
            Writing::CommitsHang if commits => {
                let mut mode = self.writing.subscribe();
                let _ = mode.wait_for(|mode| *mode != Writing::CommitsHang).await;
                return Err(StoreFault::Failed);
            }
            Writing::CommitsPanic if commits => panic!("a store that was told to panic"),
            Writing::Slow(span) if commits || matches!(change, Change::Install(_)) => tokio::time::sleep(span).await,
            Writing::Works | Writing::Slow(_) | Writing::NoCommits | Writing::CommitsHang | Writing::CommitsPanic => {}
        }
        self.inner.change(identity, change).await
    }

    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        let delay = *self.claim_delay.borrow();
        tokio::time::sleep(delay).await;
        let answer = self.inner.claim(identity, scope, holder, at_least).await;
        if matches!(answer, Ok(ClaimAnswer::Granted(_))) {
            self.claims.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault> {
        self.inner.renew(identity, claim, at_least).await
    }

    async fn end_claim(&self, id: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Result<(), StoreFault> {
        self.is_answering().await;
        self.inner.end_claim(id, claim, ending).await
    }

    async fn claim_entry(
        &self,
        key: &IssuerKey,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        self.inner.claim_entry(key, holder, at_least).await
    }

    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault> {
        self.inner.end_entry_claim(key, claim).await
    }

    async fn reserve(&self, id: &ServerIdentity, digest: KeyedDigest, now: Moment) -> Result<Reservation, StoreFault> {
        self.inner.reserve(id, digest, now).await
    }

    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault> {
        self.inner.put_login(key, login).await
    }

    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        self.inner.take_login(key, now).await
    }

    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        self.is_answering().await;
        self.inner.peek_login(key, now).await
    }

    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        self.inner.pending_logins(now).await
    }

    async fn remove(&self, id: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        self.inner.remove(id, expected).await
    }

    async fn drop_logins(&self, id: &ServerIdentity) -> Result<(), StoreFault> {
        self.inner.drop_logins(id).await
    }

    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        self.entry_reads.fetch_add(1, Ordering::SeqCst);
        self.entries_work().await?;
        self.inner.load_issuer(key).await
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        self.inner.list_issuers().await
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        if *self.writing.borrow() == Writing::Nothing {
            return Err(StoreFault::Failed);
        }
        self.entry_writes.fetch_add(1, Ordering::SeqCst);
        self.entries_work().await?;
        let entries = *self.entries.borrow();
        if let Entries::Slow(span) = entries {
            tokio::time::sleep(span).await;
        }
        self.inner.change_issuer(issuer, change).await
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        if !*self.watched.borrow() {
            return Err(StoreFault::Failed);
        }
        let (said, watched) = (self.said.subscribe(), self.watched.subscribe());
        let (inner, held_until) = (self.inner.watch().await?, self.held_until.subscribe());
        Ok(Box::new(TrickWatch { inner, said, watched, held_until }))
    }

    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault> {
        self.inner.note(identity, line).await
    }

    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault> {
        self.inner.journal(identity, most).await
    }
}

#[derive(Debug)]
struct TrickWatch {
    inner: Box<dyn StoreWatch>,
    said: broadcast::Receiver<StoreEvent>,
    watched: watch::Receiver<bool>,
    held_until: watch::Receiver<Option<Instant>>,
}

#[async_trait]
impl StoreWatch for TrickWatch {
    async fn next(&mut self) -> StoreEvent {
        loop {
            let held_until = *self.held_until.borrow_and_update();
            tokio::select! {
                biased;
                _ = self.watched.wait_for(|watched| !watched) => return StoreEvent::Ended,
                Ok(news) = self.said.recv() => return news,
                Ok(()) = self.held_until.changed() => {}
                news = late(held_until, &mut *self.inner) => return news,
            }
        }
    }
}

/// The next event, once it is no longer held back.
async fn late(held_until: Option<Instant>, inner: &mut dyn StoreWatch) -> StoreEvent {
    if let Some(at) = held_until {
        tokio::time::sleep_until(at).await;
    }
    inner.next().await
}

tokio::task_local! {
    /// Set in each task that the spawner runs.
    static SPAWNED: ();
}

/// A spawner that panics for a set number of times when an actor calls it, within its messages or for its first read at
/// the start. Tasks that it spawned may spawn without a panic. It can drop all its tasks.
#[derive(Clone, Debug)]
pub(crate) struct TrickSpawner {
    inner: HostSpawner,
    panics: Arc<AtomicUsize>,
    /// Changes when all tasks are to be dropped.
    drops: watch::Sender<()>,
}

impl TrickSpawner {
    pub(crate) fn new() -> Self {
        let inner = HostSpawner::current().expect("inside tokio");
        Self { inner, panics: Arc::default(), drops: watch::Sender::new(()) }
    }

    pub(crate) fn panics(&self, times: usize) {
        self.panics.store(times, Ordering::SeqCst);
    }

    /// Drops the tasks that run, where they await. Those that are spawned from then on run.
    pub(crate) fn drops_all(&self) {
        self.drops.send_replace(());
    }

    /// Panics that are left.
    pub(crate) fn panics_left(&self) -> usize {
        self.panics.load(Ordering::SeqCst)
    }
}

impl Spawner for TrickSpawner {
    fn spawn(&self, flight: FlightFuture) {
        if SPAWNED.try_with(|()| ()).is_err() {
            let due = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            assert!(due.is_err(), "a spawner that was told to panic");
        }
        let mut drops = self.drops.subscribe();
        let work = async move {
            tokio::select! {
                biased;
                _ = drops.changed() => {}
                () = flight => {}
            }
        };
        self.inner.spawn(Box::pin(SPAWNED.scope((), work)));
    }
}
