//! Callers who leave the token to the runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::engine::law::ledger::{Login, LoginAccess};
use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::RefreshCredential;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, ReqwestClient};
use tokenkeeper::{
    AccessToken, Account, AuthRuntime, AuthSession, Lease, RefreshGrant, RenewalPlan, Scopes, ServerIdentity, Settings,
    Target, TokenError, TokenKind, Validity,
};

use super::arena::{Arena, Grant, Log};
use super::clock::StormClock;
use super::contest::{Contestant, Trouble};
use super::wire::Wire;

/// The store is gone when the storm is over; so is what its digests are of.
const KEY: [u8; 32] = *b"a storm is over when it is over.";

/// A session of a runtime, with everything at its default but the clock.
pub(super) struct Kept {
    runtime: AuthRuntime,
    session: AuthSession,
    clock: Arc<StormClock>,
    key: DigestKey,
}

impl Kept {
    pub(super) async fn new(arena: &Arena, clock: &Arc<StormClock>) -> io::Result<Self> {
        let http = Logged { http: ReqwestClient::new().map_err(io::Error::other)?, log: arena.log() };
        let source = RefreshGrant::new(Arc::new(http), Arc::<StormClock>::clone(clock));
        let key = DigestKey::new(KEY);
        let store = Arc::new(MemoryStore::new(key.clone()));
        let builder = AuthRuntime::builder(store, Settings::new(Arc::new(source)));
        let runtime = builder.clock(Arc::<StormClock>::clone(clock)).spawn().await.map_err(io::Error::other)?;
        let target = Target::mcp(arena.resource()).map_err(io::Error::other)?;
        let session = runtime.session(ServerIdentity::new(Account::default(), target));
        Ok(Self { runtime, session, clock: Arc::clone(clock), key })
    }

    /// Ends the runtime in good order.
    pub(super) async fn end(&self) -> io::Result<()> {
        match self.runtime.shutdown(Duration::from_secs(5)).await {
            report if report.is_clean() => Ok(()),
            report => Err(io::Error::other(format!("the runtime did not end in good order: {report:?}"))),
        }
    }
}

impl Contestant for Kept {
    type Token = Lease;
    /// The lease that was refused; for one that expired there is nothing to say.
    type Found = Option<Lease>;

    async fn sign_in(&self, grant: Grant) -> io::Result<()> {
        let now = self.clock.now();
        let access = LoginAccess {
            token: grant.access,
            kind: TokenKind::Bearer,
            validity: Validity::new(now, Some(grant.lifetime)),
        };
        let login = Login {
            renewal: RenewalPlan::default(),
            binding: grant.binding,
            requested: Scopes::default(),
            granted: Scopes::new(grant.scope.split_ascii_whitespace()),
            subject: None,
            dpop_key: None,
            refresh: Some(RefreshCredential::new(grant.refresh, &self.key)),
            access: Some(access),
            at: now,
        };
        self.session.install(login).await.map(drop).map_err(io::Error::other)
    }

    async fn token(&self, _wire: &Wire) -> Result<Lease, Trouble> {
        Ok(self.session.token().await?)
    }

    fn expired(&self) -> Option<Lease> {
        None
    }

    fn refused(lease: Lease) -> Option<Lease> {
        Some(lease)
    }

    async fn renewed(&self, refused: Option<Lease>, wire: &Wire) -> Result<Lease, Trouble> {
        if let Some(lease) = refused {
            self.session.invalidate(&lease, OperationKey(1), ChallengeKey(1)).await?;
        }
        self.token(wire).await
    }

    async fn settled(&self) {
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

impl From<TokenError> for Trouble {
    fn from(error: TokenError) -> Self {
        Self { word: error.reason().as_str(), login_required: error.is_login_required() }
    }
}

/// The runtime's HTTP, with a log of what leaves and what comes back.
#[derive(Debug)]
struct Logged {
    http: ReqwestClient,
    log: Arc<Log>,
}

#[async_trait]
impl HttpClient for Logged {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let sent = self.log.sent();
        let answer = self.http.send(exchange).await;
        sent.answered(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        answer
    }
}
