//! The store with the fault. It delegates everything else to the store in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper_actors::law::ledger::{Change, Changed, EntryChange, EntryChanged};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Predecessor, Removal, Renewed,
    Reservation, StoreEvent, StoreWatch, TokenStore,
};
use tokenkeeper_actors::values::issuer::{EntryKind, IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::record::{Content, Issuer, Record};
use tokenkeeper_actors::values::{
    DigestKey, Epoch, FlightId, KeyedDigest, Moment, Revision, ServerIdentity, StoreFault, Version, WallTime,
};
use tokio::sync::{broadcast, watch};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::Fault;
use super::news::Word;

/// The state that all handles on a faulty store share.
pub(super) struct Shared {
    pub(super) inner: MemoryStore,
    pub(super) fault: Option<Fault>,
    pub(super) news: broadcast::Sender<Word>,
    pub(super) notes: Mutex<Notes>,
    handles: AtomicUsize,
    /// How many operations have read and not yet written, over the life of the store.
    readers: watch::Sender<u64>,
}

/// The state that a fault needs between calls.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) identities: BTreeMap<String, ServerIdentity>,
    pub(super) marked: BTreeMap<ServerIdentity, Revision>,
    pub(super) holders: BTreeMap<(ServerIdentity, ClaimScope), Claim>,
    pub(super) doubts: BTreeMap<(ServerIdentity, ClaimScope), bool>,
    reserved: BTreeMap<KeyedDigest, (ServerIdentity, WallTime)>,
    logins: BTreeMap<LoginKey, PendingLogin>,
    journal: Vec<(ServerIdentity, JournalLine)>,
    pub(super) seen: String,
}

pub(super) struct Faulty {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: usize,
    pub(super) alone: MemoryStore,
    cache: Mutex<BTreeMap<ServerIdentity, Option<Box<Record>>>>,
}

impl Shared {
    pub(super) fn new(inner: MemoryStore, fault: Option<Fault>) -> Arc<Self> {
        let (news, _) = broadcast::channel(MemoryStore::NEWS_KEPT);
        Arc::new(Self {
            inner,
            fault,
            news,
            notes: Mutex::default(),
            handles: AtomicUsize::new(0),
            readers: watch::Sender::new(0),
        })
    }
}

impl Faulty {
    pub(super) fn open(shared: &Arc<Shared>) -> Self {
        let handle = shared.handles.fetch_add(1, Ordering::SeqCst);
        let alone = MemoryStore::new(DigestKey::new([u8::try_from(handle).unwrap_or(u8::MAX); 32]));
        Self { shared: Arc::clone(shared), handle, alone, cache: Mutex::default() }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.shared.fault == Some(fault)
    }

    /// Waits, between the read and the write of one operation, until another operation has read too. An operation
    /// that is alone goes on after 20 ms. So the race is certain, however busy the machine is.
    #[expect(clippy::disallowed_methods, reason = "a fault of a test has no machine")]
    pub(super) async fn read_beside_another(&self) {
        let mut readers = self.shared.readers.subscribe();
        let mut mine = 0;
        self.shared.readers.send_modify(|count| {
            *count += 1;
            mine = *count;
        });
        tokio::select! {
            _ = readers.wait_for(|count| *count > mine) => {}
            () = sleep(Duration::from_millis(20)) => {}
        }
    }

    pub(super) fn inner(&self) -> &MemoryStore {
        &self.shared.inner
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.shared.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The identity as this store knows it.
    pub(super) fn known(&self, identity: &ServerIdentity) -> ServerIdentity {
        if !self.has(Fault::FoldsCase) {
            return identity.clone();
        }
        let folded = format!("{identity:?}").to_lowercase();
        self.notes().identities.entry(folded).or_insert_with(|| identity.clone()).clone()
    }

    /// The reservation table of a store that does not read its records.
    fn reserve_by_table(
        &self,
        who: &ServerIdentity,
        digest: KeyedDigest,
        now: WallTime,
        lasts: Duration,
    ) -> Reservation {
        let mut notes = self.notes();
        match notes.reserved.get(&digest) {
            Some((holder, since)) if holder != who && now.since(*since) < lasts => Reservation::HeldBy(holder.clone()),
            _ => {
                notes.reserved.insert(digest, (who.clone(), now));
                Reservation::Reserved
            }
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("seen", &self.notes().seen).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenStore for Faulty {
    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        if self.has(Fault::KeyForEachHandle) { self.alone.digest_key().await } else { self.inner().digest_key().await }
    }

    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        let identity = self.known(identity);
        if self.has(Fault::CachesReads) {
            let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&identity).cloned();
            if let Some(cached) = cached {
                return Ok(cached);
            }
        }
        let record = self.inner().load(&identity).await?;
        let record = self.spoiled(record, &self.inner().digest_key().await?);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, record.clone());
        Ok(record)
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        let mut list = self.inner().list().await?;
        if self.has(Fault::ListForgetsTombstones) {
            let mut alive = Vec::new();
            for identity in list {
                let record = self.inner().load(&identity).await?;
                if record.is_some_and(|record| record.content != Content::Tombstone) {
                    alive.push(identity);
                }
            }
            list = alive;
        }
        if self.has(Fault::IssuersAreListedAsIdentities) {
            list.extend(self.issuers_as_identities().await?);
        }
        if self.has(Fault::ListRepeats) {
            list.extend(list.first().cloned());
        }
        Ok(list)
    }

    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        let identity = &self.known(identity);
        if let Change::Install(login) = &change
            && self.has(Fault::ShowsASecret)
            && let Some(refresh) = &login.refresh
        {
            self.notes().seen = refresh.token().expose().to_owned();
        }
        let logout = matches!(change, Change::Clear { .. });
        if self.has(Fault::NewsComesFirst) {
            self.tell(StoreEvent::Changed(identity.clone()), logout);
            for _ in 0..4 {
                yield_now().await;
            }
        }
        let answer = self.changed(identity, change).await?;
        if matches!(answer, Changed::Applied { .. }) && !self.has(Fault::NewsComesFirst) {
            self.tell(StoreEvent::Changed(identity.clone()), logout);
        }
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(identity);
        Ok(answer)
    }

    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        let removal = self.removed(identity, expected).await?;
        if removal == Removal::Done && !self.has(Fault::RemovalIsNoNews) {
            self.tell(StoreEvent::Changed(identity.clone()), false);
        }
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(identity);
        Ok(removal)
    }

    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        self.claimed(identity, scope, holder, at_least).await
    }

    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault> {
        self.renewed(identity, claim, at_least).await
    }

    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Result<(), StoreFault> {
        self.ended(identity, claim, ending).await
    }

    async fn claim_entry(
        &self,
        key: &IssuerKey,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        match self.shared.fault {
            Some(Fault::EntryIsClaimedTwice) => {
                let scope = ClaimScope::Entry;
                let predecessor = Predecessor::Gone;
                Ok(ClaimAnswer::Granted(Claim { holder, scope, remaining: None, predecessor }))
            }
            Some(Fault::EntriesShareAClaim) => {
                let key = IssuerKey { issuer: Issuer(String::new()), kind: EntryKind::Metadata };
                self.inner().claim_entry(&key, holder, at_least).await
            }
            _ => self.inner().claim_entry(key, holder, at_least).await,
        }
    }

    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault> {
        match self.shared.fault {
            Some(Fault::EntryStaysClaimed) => Ok(()),
            _ => self.inner().end_entry_claim(key, claim).await,
        }
    }

    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault> {
        let waits = Duration::from_secs(600);
        match self.shared.fault {
            Some(Fault::ReservesForAll) => Ok(Reservation::Reserved),
            Some(Fault::ReservationForgetsTheRecord) => Ok(self.reserve_by_table(identity, digest, now.wall, waits)),
            Some(Fault::ReservationNeverEnds) => Ok(self.reserve_by_table(identity, digest, now.wall, Duration::MAX)),
            Some(Fault::ReservationIsTooShort) => Ok(self.reserve_by_table(identity, digest, now.wall, waits / 10)),
            Some(Fault::ReserveLooksThenTakes) => {
                let held = self.notes().reserved.get(&digest).cloned();
                self.read_beside_another().await;
                match held {
                    Some((holder, _)) if holder != *identity => Ok(Reservation::HeldBy(holder)),
                    _ => {
                        self.notes().reserved.insert(digest, (identity.clone(), now.wall));
                        Ok(Reservation::Reserved)
                    }
                }
            }
            Some(Fault::NamesTheWrongHolder) => match self.inner().reserve(identity, digest, now).await? {
                Reservation::HeldBy(_) => Ok(Reservation::HeldBy(identity.clone())),
                Reservation::Reserved => Ok(Reservation::Reserved),
            },
            _ => self.inner().reserve(identity, digest, now).await,
        }
    }

    async fn put_login(&self, key: LoginKey, mut login: PendingLogin) -> Result<(), StoreFault> {
        if self.has(Fault::LoginIsCutShort) {
            let kept: Vec<u8> = login.sealed.expose_secret().iter().copied().take(255).collect();
            login.sealed = SecretSlice::from(kept);
        }
        if self.has(Fault::LoginForgetsItsEpoch) {
            login.epoch = Epoch::default();
        }
        self.notes().logins.insert(key, login.clone());
        self.inner().put_login(key, login).await
    }

    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        let found = self.notes().logins.get(key).cloned();
        match self.shared.fault {
            Some(Fault::LoginIsTakenTwice) => Ok(found.filter(|login| login.expires > now.wall)),
            Some(Fault::LoginLooksThenTakes) => {
                self.read_beside_another().await;
                self.notes().logins.remove(key);
                Ok(found.filter(|login| login.expires > now.wall))
            }
            Some(Fault::ExpiredLoginIsFound) => Ok(self.notes().logins.remove(key)),
            Some(Fault::AnyKeyFindsALogin) => Ok(self.notes().logins.values().next().cloned()),
            _ => self.inner().take_login(key, now).await,
        }
    }

    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        match self.shared.fault {
            Some(Fault::LookTakesTheLogin) => self.inner().take_login(key, now).await,
            Some(Fault::LookShowsExpiredLogin) => Ok(self.notes().logins.get(key).cloned()),
            _ => self.inner().peek_login(key, now).await,
        }
    }

    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        let now = if self.has(Fault::ExpiredLoginIsListed) { Moment::default() } else { now };
        let mut pending = self.inner().pending_logins(now).await?;
        if self.has(Fault::LoginsAreListedTwice) {
            pending.extend(pending.clone());
        }
        Ok(pending)
    }

    async fn drop_logins(&self, identity: &ServerIdentity) -> Result<(), StoreFault> {
        match self.shared.fault {
            Some(Fault::LoginsAreNotDropped) => Ok(()),
            Some(Fault::AllLoginsAreDropped) => {
                for (_, login) in self.inner().pending_logins(Moment::default()).await? {
                    self.inner().drop_logins(&login.identity).await?;
                }
                Ok(())
            }
            _ => self.inner().drop_logins(identity).await,
        }
    }

    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        self.loaded_entry(key).await
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        self.listed_entries().await
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        self.entry_changed(issuer, change).await
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        Ok(self.listen())
    }

    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault> {
        self.notes().journal.push((identity.clone(), line.clone()));
        self.inner().note(identity, line).await
    }

    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault> {
        let of = |all: bool| -> Vec<JournalLine> {
            let notes = self.notes();
            let lines = notes.journal.iter().filter(|(whose, _)| all || whose == identity);
            lines.map(|(_, line)| line.clone()).collect()
        };
        match self.shared.fault {
            Some(Fault::JournalIsReversed) => {
                Ok(self.inner().journal(identity, most).await?.into_iter().rev().collect())
            }
            Some(Fault::JournalKeepsTheOldest) => Ok(of(false).into_iter().take(MemoryStore::JOURNAL_KEPT).collect()),
            Some(Fault::JournalIsUnbounded | Fault::RemovalKeepsTheJournal) => Ok(of(false)),
            Some(Fault::JournalIsShared) => Ok(of(true)),
            _ => self.inner().journal(identity, most).await,
        }
    }
}
