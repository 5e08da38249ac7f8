//! The surroundings of the engine during a measurement. The store keeps no records, and the source answers when it
//! gets a permit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper_actors::law::ledger::{Change, Changed, EntryChange, EntryChanged, Login, LoginAccess, apply};
use tokenkeeper_actors::law::profile::{Evidence, Tokens};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::source::{NotRevoked, TokenSource};
use tokenkeeper_actors::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Removal, Renewed, Reservation,
    StoreWatch, TokenStore,
};
use tokenkeeper_actors::system::SystemClock;
use tokenkeeper_actors::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, Record, RefreshCredential};
use tokenkeeper_actors::values::{
    AccessToken, Account, DigestKey, FlightId, KeyedDigest, Moment, RefreshToken, RenewalPlan, Scopes, ServerIdentity,
    StoreFault, Target, TokenKind, Validity, Version,
};
use tokio::sync::Semaphore;

const LIFETIME: Duration = Duration::from_secs(3_600);

/// Prints the machine's description, as far as the system provides it.
pub(crate) fn machine() {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let feature = |on, name| if on { name } else { "" };
    let (tracing, cluster) = (cfg!(feature = "async-trait"), cfg!(feature = "cluster"));
    println!("{cores} cores{model}, {}, load {load}", std::env::consts::OS);
    println!("features: default {} {}", feature(tracing, "async-trait"), feature(cluster, "cluster"));
}

/// The resident memory of the process, in bytes. Zero where the system does not provide it.
pub(crate) fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let kilobytes: String = line.chars().filter(char::is_ascii_digit).collect();
    kilobytes.parse::<f64>().unwrap_or_default() * 1_024.0
}

pub(crate) fn digests() -> DigestKey {
    DigestKey::new([7; 32])
}

pub(crate) fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new().expect("a clock"))
}

pub(crate) fn identity(number: usize) -> ServerIdentity {
    let account = Account::new(format!("account-{number}")).expect("an account");
    ServerIdentity::new(account, Target::mcp("https://mcp.example.com/mcp").expect("a target"))
}

/// A login with tokens of 600 bytes. Without an access token the first caller needs a flight.
pub(crate) fn login(number: usize, at: Moment, with_access: bool) -> Login {
    let validity = Validity::new(at, Some(LIFETIME));
    let access = LoginAccess { token: AccessToken::new("a".repeat(600)), kind: TokenKind::Bearer, validity };
    Login {
        binding: Binding {
            issuer: Issuer("https://as.example.com".to_owned()),
            client: Client { id: "client".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
            token_endpoint: "https://as.example.com/token".to_owned(),
            revocation_endpoint: None,
            resource: Some("https://mcp.example.com/mcp".to_owned()),
        },
        requested: Scopes::default(),
        granted: Scopes::default(),
        subject: None,
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh: Some(RefreshCredential::new(RefreshToken::new(format!("{number:0>600}")), &digests())),
        access: with_access.then_some(access),
        at,
        begun_on: None,
    }
}

/// A server that answers as soon as it has a permit.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) clock: Arc<SystemClock>,
    /// One permit for each answer.
    pub(crate) gate: Semaphore,
}

#[async_trait]
impl TokenSource for Server {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _identity: &ServerIdentity, _request: TokenRequest) -> Evidence {
        self.gate.acquire().await.expect("never closed").forget();
        Evidence::Tokens(Box::new(Tokens {
            access: AccessToken::new("a".repeat(600)),
            kind: TokenKind::Bearer,
            validity: Validity::new(self.clock.now(), Some(LIFETIME)),
            refresh: None,
            granted: None,
            subject: None,
            binding: None,
        }))
    }

    async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> Result<(), NotRevoked> {
        Err(NotRevoked::NotOffered)
    }
}

/// A store in which every identity has a record, and which keeps no memory for it.
#[derive(Debug)]
pub(crate) struct Lean {
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) inner: MemoryStore,
    pub(crate) content: Content,
}

/// The content of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The identity is signed in.
    Grant,
    /// The identity was logged out.
    Tombstone,
}

#[async_trait]
impl TokenStore for Lean {
    async fn load(&self, _identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        let login = login(0, self.clock.now(), true);
        let grant = apply(None, &Change::Install(Box::new(login))).ok();
        let record = match (self.content, grant) {
            (Content::Tombstone, Some(grant)) => apply(Some(&grant), &Change::Clear { epoch: grant.epoch }).ok(),
            (_, grant) => grant,
        };
        Ok(record.map(Box::new))
    }

    // The other methods are never called, or do not matter to the measurement.

    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        self.inner.digest_key().await
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        self.inner.list().await
    }

    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        self.inner.change(identity, change).await
    }

    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        self.inner.claim(identity, scope, holder, at_least).await
    }

    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault> {
        self.inner.renew(identity, claim, at_least).await
    }

    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Result<(), StoreFault> {
        self.inner.end_claim(identity, claim, ending).await
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

    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault> {
        self.inner.reserve(identity, digest, now).await
    }

    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault> {
        self.inner.put_login(key, login).await
    }

    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        self.inner.take_login(key, now).await
    }

    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        self.inner.peek_login(key, now).await
    }

    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        self.inner.pending_logins(now).await
    }

    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        self.inner.remove(identity, expected).await
    }

    async fn drop_logins(&self, identity: &ServerIdentity) -> Result<(), StoreFault> {
        self.inner.drop_logins(identity).await
    }

    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        self.inner.load_issuer(key).await
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        self.inner.list_issuers().await
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        self.inner.change_issuer(issuer, change).await
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        self.inner.watch().await
    }

    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault> {
        self.inner.note(identity, line).await
    }

    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault> {
        self.inner.journal(identity, most).await
    }
}
