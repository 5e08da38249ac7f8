//! The host of the tests on real sockets, which is a runtime over a store in memory with one session.
#![allow(dead_code, unreachable_pub, clippy::panic, clippy::unwrap_used, reason = "each test takes what it needs")]

mod ahead;
#[path = "../../actors/tests/common/bounded.rs"]
pub mod bounded;
pub mod law;
pub mod wire;
#[path = "../../actors/tests/common/within.rs"]
pub mod within;

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::law::ledger::Login;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::runtime::{AuthRuntime, Settings};
use tokenkeeper::engine::values::TokenError;
use tokenkeeper::engine::values::record::{Binding, DEFAULT_REQUEST_TIMEOUT, Mark, Record, RefreshCredential};
use tokenkeeper::engine::values::{ATTEMPT_PAUSES, DigestKey};
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::HttpClient;
use tokenkeeper::{Account, InstallError, RefreshToken, RenewalPlan, Scopes, ServerIdentity, Target, TokenOptions};
use tokenkeeper_testkit::hostile::Grant;

pub use ahead::Ahead;
use bounded::{BoundedRuntime, BoundedSession};
use within::within;

/// How long a caller of these tests waits. It is less than the time for which a mark lasts, however slow the machine
/// is. A caller that would have to wait for a mark gets its error at once.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// How long a mark lasts beyond its request's time-out, or a little less.
const MARK_LASTS: Duration = Duration::from_secs(60);

/// Longer than any mark of these hosts lasts.
pub const LONG_ENOUGH: Duration = Duration::from_secs(300);

/// The longest pause between two requests that are made for waiting callers, unless the server asks for more.
pub const LONGEST_PAUSE: Duration = ATTEMPT_PAUSES.max;

/// Makes the requests in flight time out at once. Needs a runtime of one thread, all of whose timers fire.
pub async fn time_runs_out() {
    // A request may last a second longer than its time-out.
    skip(DEFAULT_REQUEST_TIMEOUT + Duration::from_secs(2)).await;
}

/// Lets `span` of tokio's time pass at once. Needs a runtime of one thread, all of whose timers fire.
async fn skip(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}

/// The key of these hosts' stores.
pub fn digest_key() -> DigestKey {
    DigestKey::new([7; 32])
}

/// One process of a host, with one session.
#[derive(Debug)]
pub struct Host {
    pub store: MemoryStore,
    pub clock: Ahead,
    pub runtime: BoundedRuntime,
    pub session: BoundedSession,
    settings: Settings,
}

impl Host {
    /// A host without a login.
    pub async fn new(resource: &str, http: Arc<dyn HttpClient>, profile: Profile) -> Self {
        Self::over(MemoryStore::new(digest_key()), Ahead::new(), resource, http, profile).await
    }

    /// Like [`new`](Self::new), over this store, whose digests are made with [`digest_key`].
    pub async fn over(
        store: MemoryStore,
        clock: Ahead,
        resource: &str,
        http: Arc<dyn HttpClient>,
        profile: Profile,
    ) -> Self {
        let mut settings = Settings::new(Arc::new(RefreshGrant::new(http, Arc::new(clock.clone()))));
        settings.profiles = profile.into();
        settings.policy.initial_backoff = Duration::from_millis(10);
        settings.policy.max_backoff = Duration::from_millis(10);
        settings.timeouts.store_timeout = MARK_LASTS;
        let identity = ServerIdentity::new(Account::new("work").unwrap(), Target::mcp(resource).unwrap());
        Self::start(store, clock, identity, settings).await
    }

    async fn start(store: MemoryStore, clock: Ahead, identity: ServerIdentity, settings: Settings) -> Self {
        let builder = AuthRuntime::builder(Arc::new(store.clone()), settings.clone());
        let builder = builder.clock(Arc::new(clock.clone()));
        let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.unwrap());
        let session = runtime.session(identity);
        Self { store, clock, runtime, session, settings }
    }

    /// Another process on the same store with the same settings. It knows only the content of the store.
    pub async fn another_process(&self) -> Self {
        let identity = self.session.identity().clone();
        Self::start(self.store.process(), self.clock.clone(), identity, self.settings.clone()).await
    }

    /// Stores a login that brought no access token.
    pub async fn sign_in(&self, grant: &Grant) -> Result<(), InstallError> {
        self.install(grant.binding.clone(), &grant.scope, grant.refresh_token.clone()).await
    }

    pub async fn install(&self, binding: Binding, scope: &str, refresh: RefreshToken) -> Result<(), InstallError> {
        let login = Login {
            renewal: RenewalPlan::default(),
            binding,
            requested: Scopes::default(),
            granted: Scopes::new(scope.split(' ')),
            subject: None,
            dpop_key: None,
            refresh: Some(RefreshCredential::new(refresh, &digest_key())),
            access: None,
            at: self.clock.now(),
            begun_on: None,
        };
        self.session.install(login).await.map(drop)
    }

    /// Returns a token from a flight that begins now, or from another one after it.
    pub async fn renew(&self) -> Result<String, TokenError> {
        self.ask(TokenOptions { force: true, ..TokenOptions::default() }).await
    }

    /// Returns a token from a flight that begins now, or its failure.
    pub async fn try_to_renew(&self) -> Result<String, TokenError> {
        self.ask(TokenOptions { force: true, fail_fast: true, ..TokenOptions::default() }).await
    }

    /// Returns any valid token.
    pub async fn token(&self) -> Result<String, TokenError> {
        self.ask(TokenOptions::default()).await
    }

    async fn ask(&self, options: TokenOptions) -> Result<String, TokenError> {
        let options = TokenOptions { timeout: PATIENCE, ..options };
        self.session.token_with(options).await.map(|lease| lease.token().expose().to_owned())
    }

    /// Lets `span` pass at once, for this host and for tokio. Needs a runtime of one thread, all of whose timers fire.
    pub async fn skip(&self, span: Duration) {
        self.clock.pass(span);
        skip(span).await;
    }

    pub async fn record(&self) -> Record {
        *self.store.load(self.session.identity()).await.unwrap().unwrap()
    }

    /// The mark on the refresh token in the store.
    pub async fn mark(&self) -> Option<Mark> {
        self.record().await.held().and_then(|held| held.mark.clone())
    }

    /// The number of presentations of the refresh token in the store, by its mark.
    pub async fn presentations(&self) -> u32 {
        self.mark().await.map_or(0, |mark| mark.presentations)
    }

    /// Shuts the process down, which has nothing left to save.
    pub async fn shut_down(&self) {
        assert!(self.runtime.shutdown(Duration::from_secs(5)).await.is_clean());
    }
}
