//! A runtime for tests, with its store, server and clock.

#[path = "../../common/bounded.rs"]
pub(crate) mod bounded;
#[path = "../../common/calm.rs"]
pub(crate) mod calm;
pub(crate) mod clock;
pub(crate) mod host;
pub(crate) mod server;
#[path = "../../common/within.rs"]
pub(crate) mod within;
#[path = "../../common/witness.rs"]
pub(crate) mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::{Login, LoginAccess};
use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey, Policy};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::{AuthRuntime, RuntimeBuilder, Settings};
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, RefreshCredential};
use tokenkeeper_actors::values::{
    AccessToken, Account, DigestKey, Lease, RefreshToken, RenewalPlan, Scopes, ServerIdentity, Target, TokenError,
    TokenKind, Validity,
};

pub(crate) use bounded::{BoundedRuntime, BoundedSession};
pub(crate) use clock::TestClock;
pub(crate) use host::{Host, Leave};
pub(crate) use server::Server;
pub(crate) use within::{each_within, until, within};

pub(crate) const ISSUER: &str = "https://as.example.com";

pub(crate) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn digests() -> DigestKey {
    DigestKey::new([7; 32])
}

pub(crate) fn identity(number: usize) -> ServerIdentity {
    let account = Account::new(format!("account-{number}")).expect("an account");
    ServerIdentity::new(account, Target::mcp("https://mcp.example.com/mcp").expect("a target"))
}

/// A runtime with its surroundings.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: TestClock,
    pub(crate) server: Server,
    pub(crate) store: MemoryStore,
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        let server = Server::new(clock.clone());
        Self { clock, server, store: MemoryStore::new(digests()), policy: Policy::default() }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { policy: self.policy.clone(), ..Settings::new(Arc::new(self.server.clone())) }
    }

    /// A builder over the world's store.
    pub(crate) fn builder(&self) -> RuntimeBuilder {
        self.builder_over(Arc::new(self.store.clone()))
    }

    pub(crate) fn builder_over(&self, store: Arc<dyn TokenStore>) -> RuntimeBuilder {
        self.builder_with(store, self.settings())
    }

    pub(crate) fn builder_with(&self, store: Arc<dyn TokenStore>, settings: Settings) -> RuntimeBuilder {
        AuthRuntime::builder(store, settings).clock(Arc::new(self.clock.clone())).entropy(Entropy::seeded(7))
    }

    pub(crate) async fn runtime(&self) -> BoundedRuntime {
        within("a runtime", self.builder().spawn()).await.expect("a runtime").into()
    }

    /// A login like one of a person. Its access token lives for the server's lifetime.
    pub(crate) fn login(&self) -> Login {
        let (access, refresh) = self.server.sign_in();
        let at = self.clock.moment();
        Login {
            binding: binding(),
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Some(RefreshCredential::new(RefreshToken::new(refresh), &digests())),
            access: Some(LoginAccess {
                token: AccessToken::new(access),
                kind: TokenKind::Bearer,
                validity: Validity::new(at, Some(self.server.lifetime())),
            }),
            at,
            begun_on: None,
        }
    }

    /// A session that is signed in.
    pub(crate) async fn signed_in(&self, runtime: &AuthRuntime, number: usize) -> BoundedSession {
        let session = BoundedSession::from(runtime.session(identity(number)));
        session.install(self.login()).await.expect("installed");
        session
    }

    /// Lets time pass, in steps, until the server has received a request.
    pub(crate) async fn takes_off(&self, step: Duration) {
        let takes_off = async {
            while self.server.in_flight() == 0 {
                self.clock.pass(step).await;
            }
        };
        within("a request at the server", takes_off).await;
    }

    /// Lets time pass until all tokens have expired.
    pub(crate) async fn expire(&self) {
        self.clock.pass(self.server.lifetime()).await;
    }
}

pub(crate) fn binding() -> Binding {
    Binding {
        issuer: Issuer(ISSUER.to_owned()),
        client: Client { id: "client".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        token_endpoint: format!("{ISSUER}/token"),
        revocation_endpoint: Some(format!("{ISSUER}/revoke")),
        resource: Some("https://mcp.example.com/mcp".to_owned()),
    }
}

/// Refuses a lease, with default keys.
pub(crate) async fn refuse(session: &BoundedSession, lease: &Lease) -> Result<(), TokenError> {
    session.invalidate(lease, OperationKey(0), ChallengeKey(0)).await
}
