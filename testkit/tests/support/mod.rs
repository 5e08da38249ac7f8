//! Harnesses for stores in memory.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::ledger::{Change, Login};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::{Claim, Predecessor, TokenStore};
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper_actors::values::{
    Account, BootId, DigestKey, ElapsedTime, Moment, RenewalPlan, ResourceUri, Scopes, ServerIdentity, Target, WallTime,
};
use tokenkeeper_testkit::store_contract::{Harness, Place};

/// A clock that stands still until a test advances it.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let millis = self.0.load(Ordering::SeqCst);
        Moment { wall: WallTime::from_millis(millis), elapsed: ElapsedTime::from_millis(millis), boot: BootId(1) }
    }
}

/// The store whose claims last as long as its processes.
pub struct Kernel;

#[async_trait]
impl Harness for Kernel {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(KernelPlace(MemoryStore::new(key())))
    }

    fn journal_bound(&self) -> usize {
        MemoryStore::JOURNAL_KEPT
    }
}

struct KernelPlace(MemoryStore);

#[async_trait]
impl Place for KernelPlace {
    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(self.0.process())
    }

    async fn kill(&self, handle: Arc<dyn TokenStore>) -> Option<Predecessor> {
        drop(handle);
        Some(Predecessor::Gone)
    }

    async fn lose_news(&self) -> bool {
        overflow(&self.0).await;
        true
    }
}

/// The store whose claims are leases.
pub struct Leased;

#[async_trait]
impl Harness for Leased {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(LeasedPlace::new())
    }

    fn journal_bound(&self) -> usize {
        MemoryStore::JOURNAL_KEPT
    }
}

pub struct LeasedPlace {
    pub store: MemoryStore,
    clock: Arc<ManualClock>,
}

impl LeasedPlace {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        Self { store: MemoryStore::leased(key(), clock.clone(), Duration::from_secs(60)), clock }
    }

    pub fn let_leases_run_out(&self) {
        self.clock.advance(Duration::from_secs(3_600));
    }
}

#[async_trait]
impl Place for LeasedPlace {
    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(self.store.process())
    }

    async fn lose_claim(&self, _: &ServerIdentity, _: &Claim) -> Option<Predecessor> {
        self.let_leases_run_out();
        Some(Predecessor::MayLive)
    }

    async fn kill(&self, handle: Arc<dyn TokenStore>) -> Option<Predecessor> {
        drop(handle);
        self.let_leases_run_out();
        Some(Predecessor::MayLive)
    }

    async fn lose_news(&self) -> bool {
        overflow(&self.store).await;
        true
    }
}

/// Writes more events than a watch keeps.
pub async fn overflow(store: &dyn TokenStore) {
    let resource = ResourceUri::parse("https://busy.example.com/mcp").unwrap();
    let busy = ServerIdentity::new(Account::new("busy").unwrap(), Target::Mcp(resource));
    for _ in 0..=MemoryStore::NEWS_KEPT {
        store.change(&busy, Change::Install(Box::new(bare_login()))).await.unwrap();
    }
}

pub fn bare_login() -> Login {
    let client = Client { id: "client".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
    let binding = Binding {
        issuer: Issuer("https://as.example.com".to_owned()),
        client,
        token_endpoint: "https://as.example.com/token".to_owned(),
        revocation_endpoint: None,
        resource: None,
    };
    let (requested, granted) = (Scopes::default(), Scopes::default());
    let at = Moment::default();
    Login {
        renewal: RenewalPlan::default(),
        binding,
        requested,
        granted,
        subject: None,
        dpop_key: None,
        refresh: None,
        access: None,
        at,
        begun_on: None,
    }
}

pub fn key() -> DigestKey {
    DigestKey::new([7; 32])
}
