//! A host over the built-in sources, with a clock that a test sets forward.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::{Grant, Record};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::{
    AuthRuntime, AuthSession, Lease, Login, Policy, ServerIdentity, SessionSpec, TokenError, TokenOptions,
};
use tokio::task::JoinSet;

use super::ahead::Ahead;
use super::server::Server;
use super::store::Fragile;
use super::within;

/// Longer than any token of the server lives.
pub(crate) const LONG: Duration = Duration::from_secs(2 * 3_600);

/// How long callers wait. It is less than the bound of a test's wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// One process of a host.
pub(crate) struct Host {
    pub(crate) server: Arc<Server>,
    pub(crate) store: Fragile,
    pub(crate) clock: Ahead,
    pub(crate) auth: AuthRuntime,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let store = Fragile::new(MemoryStore::new(DigestKey::new([7; 32])));
        Self::over(Arc::new(Server::start().await), store, Ahead::new()).await
    }

    async fn over(server: Arc<Server>, store: Fragile, clock: Ahead) -> Self {
        let backoff = Duration::from_millis(1);
        let policy = Policy { initial_backoff: backoff, max_backoff: backoff, ..Policy::default() };
        let builder = AuthRuntime::builder(store.clone()).clock(Arc::new(clock.clone())).policy(policy);
        let auth = within("a runtime", builder.spawn()).await.unwrap();
        Self { server, store, clock, auth }
    }

    /// The same host after a restart.
    pub(crate) async fn restarted(self) -> Self {
        let Self { server, store, clock, auth } = self;
        assert!(within("a shutdown", auth.shutdown(Duration::from_secs(10))).await.is_clean());
        Self::over(server, store, clock).await
    }

    pub(crate) fn spec(&self, server: usize) -> SessionSpec {
        SessionSpec::mcp(&self.server.resource(server)).unwrap()
    }

    /// A session with an MCP server, which is to obtain its tokens like this.
    pub(crate) fn session(&self, server: usize, grant: &MachineGrant) -> AuthSession {
        self.auth.session(self.spec(server).renewal(grant.plan()))
    }

    /// The session at the identity provider, after a sign-on.
    pub(crate) async fn signed_on(&self) -> AuthSession {
        let session = self.auth.session(SessionSpec::idp(&self.server.idp()).unwrap());
        let endpoint = format!("{}/token", self.server.idp());
        let settings = IssuerSettings::new(self.server.idp(), endpoint, Client::public("desktop")).unwrap();
        let login = Login::at(settings.identity_provider()).refresh_token("rt-0").id_token(self.server.id_token());
        within("a sign-on", session.install(login)).await.unwrap();
        session
    }

    /// The session at the identity provider, whose refresh token is the subject of each exchange.
    pub(crate) async fn signed_on_without_id_token(&self) -> AuthSession {
        let session = self.auth.session(SessionSpec::idp(&self.server.idp()).unwrap());
        let endpoint = format!("{}/token", self.server.idp());
        let settings = IssuerSettings::new(self.server.idp(), endpoint, Client::public("desktop")).unwrap();
        let login = Login::at(settings.identity_provider_without_id_token()).refresh_token("rt-0");
        within("a sign-on", session.install(login)).await.unwrap();
        session
    }

    /// Another process of the host, on the same store.
    pub(crate) async fn another_process(&self) -> Self {
        Self::over(Arc::clone(&self.server), self.store.process(), self.clock.clone()).await
    }

    pub(crate) fn enterprise(&self) -> MachineGrant {
        let idp = SessionSpec::idp(&self.server.idp()).unwrap().identity().clone();
        MachineGrant::enterprise(idp, Client::secret_basic("app", "app-secret"))
    }

    /// Lets all tokens expire.
    pub(crate) fn expire(&self) {
        self.clock.pass(LONG);
    }

    pub(crate) async fn record(&self, identity: &ServerIdentity) -> Record {
        *self.store.load(identity).await.unwrap().unwrap()
    }

    pub(crate) async fn grant(&self, identity: &ServerIdentity) -> Grant {
        self.record(identity).await.grant().unwrap().clone()
    }
}

pub(crate) fn robot() -> MachineGrant {
    MachineGrant::client_credentials(Client::secret_basic("robot", "secret/1 +"))
}

pub(crate) async fn token(session: &AuthSession) -> Result<String, TokenError> {
    let options = TokenOptions { timeout: PATIENCE, ..TokenOptions::default() };
    let lease = within("a token", session.token_with(options)).await?;
    Ok(lease.token().expose().to_owned())
}

/// Asks for a token with the first failure as the answer.
pub(crate) async fn try_token(session: &AuthSession) -> Result<String, TokenError> {
    let options = TokenOptions { timeout: PATIENCE, fail_fast: true, ..TokenOptions::default() };
    let lease = within("a token", session.token_with(options)).await?;
    Ok(lease.token().expose().to_owned())
}

/// So many callers of each session at once.
pub(crate) async fn crowd(sessions: &[AuthSession], each: usize) -> Vec<Result<Lease, TokenError>> {
    let mut callers = JoinSet::new();
    for session in sessions.iter().flat_map(|session| std::iter::repeat_n(session, each)) {
        let session = session.clone();
        let options = TokenOptions { timeout: PATIENCE, ..TokenOptions::default() };
        callers.spawn(async move { session.token_with(options).await });
    }
    let count = callers.len();
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(within("the answer of a caller", callers.join_next()).await.unwrap().unwrap());
    }
    answers
}
