//! The tokenkeeper contestant. Callers get their tokens from a session of a runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::runtime::{AuthRuntime, AuthSession, Settings};
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::{Lease, TokenError};
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, ReqwestClient};
use tokenkeeper::{AccessToken, Account, ServerIdentity, Target};

use super::contest::{CallerFailure, Contestant};
use crate::clock::OffsetClock;
use crate::processes::login;
use crate::target::{EndpointLog, TargetLogin, TargetServer};
use crate::transport::Transport;

/// A constant will do, because the store in memory ends with the storm.
const DIGEST_KEY: [u8; 32] = [7; 32];

/// A session of a runtime, with every setting but the clock at its default.
pub(super) struct TokenkeeperContestant {
    runtime: AuthRuntime,
    session: AuthSession,
    clock: Arc<OffsetClock>,
    key: DigestKey,
}

impl TokenkeeperContestant {
    pub(super) async fn new(target: &TargetServer, clock: &Arc<OffsetClock>) -> io::Result<Self> {
        let http = LoggedClient { http: ReqwestClient::new().map_err(io::Error::other)?, log: target.log() };
        let source = RefreshGrant::new(Arc::new(http), Arc::<OffsetClock>::clone(clock));
        let key = DigestKey::new(DIGEST_KEY);
        let store = Arc::new(MemoryStore::new(key.clone()));
        let builder = AuthRuntime::builder(store, Settings::new(Arc::new(source)));
        let runtime = builder.clock(Arc::<OffsetClock>::clone(clock)).spawn().await.map_err(io::Error::other)?;
        let target = Target::mcp(target.resource()).map_err(io::Error::other)?;
        let session = runtime.session(ServerIdentity::new(Account::default(), target));
        Ok(Self { runtime, session, clock: Arc::clone(clock), key })
    }

    /// Shuts the runtime down.
    ///
    /// # Errors
    ///
    /// When something was not saved.
    pub(super) async fn shut_down(&self) -> io::Result<()> {
        match self.runtime.shutdown(Duration::from_secs(5)).await {
            report if report.is_clean() => Ok(()),
            report => Err(io::Error::other(format!("the runtime did not end in good order: {report:?}"))),
        }
    }
}

impl Contestant for TokenkeeperContestant {
    type Token = Lease;
    /// The refused lease. An expired one needs no report.
    type Dead = Option<Lease>;

    async fn sign_in(&self, new: TargetLogin) -> io::Result<()> {
        let access = Some((new.access, new.lifetime));
        let login = login(new.binding, &new.scope, new.refresh, access, &self.key, self.clock.now());
        self.session.install(login).await.map(drop).map_err(io::Error::other)
    }

    async fn token(&self, _transport: &Transport) -> Result<Lease, CallerFailure> {
        Ok(self.session.token().await?)
    }

    fn expired(&self) -> Option<Lease> {
        None
    }

    fn refused(lease: Lease) -> Option<Lease> {
        Some(lease)
    }

    async fn renew(&self, refused: Option<Lease>, transport: &Transport) -> Result<Lease, CallerFailure> {
        if let Some(lease) = refused {
            self.session.invalidate(&lease, OperationKey(1), ChallengeKey(1)).await?;
        }
        self.token(transport).await
    }

    async fn wait_idle(&self) {
        let mut states = self.session.watch();
        let mut state = Some(states.now());
        while state.is_some_and(|state| state.refreshing) {
            state = states.next().await;
        }
    }

    fn bearer(lease: &Lease) -> &AccessToken {
        lease.token()
    }
}

impl From<TokenError> for CallerFailure {
    fn from(error: TokenError) -> Self {
        Self { reason: error.reason().as_str(), login_required: error.is_login_required() }
    }
}

/// The runtime's HTTP client, with a log of requests and answers.
#[derive(Debug)]
struct LoggedClient {
    http: ReqwestClient,
    log: Arc<EndpointLog>,
}

#[async_trait]
impl HttpClient for LoggedClient {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let sent = self.log.sent();
        let answer = self.http.send(exchange).await;
        sent.answered(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        answer
    }
}
