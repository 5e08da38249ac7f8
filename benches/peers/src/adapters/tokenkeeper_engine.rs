//! tokenkeeper's engine without its front door. It refreshes with the baselines' small function over their shared
//! connection. So the difference to a baseline is the engine's actor, with claim, mark and commit in its store in
//! memory.
use super::{
    baseline::{Source, Token},
    tokenkeeper::Accounts,
};
use crate::{
    env::{Env, Seed},
    peer::{AGE_SECS, Peer},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokenkeeper::{
    AccessToken, Account, RefreshToken, RenewalPlan, Scopes, ServerIdentity, Spending, Target, TokenKind, Validity,
    engine::{
        law::{
            flight::{Revocation, TokenRequest},
            ledger::{Login, LoginAccess},
            profile::{Evidence, Lost, NotSent, Tokens},
        },
        memory::MemoryStore,
        ports::{
            clock::Clock,
            source::{NotRevoked, TokenSource},
        },
        runtime::{AuthRuntime, AuthSession, Settings},
        system::SystemClock,
        values::{
            DigestKey, ElapsedTime, Lease, Moment, WallTime,
            record::{Binding, Client, ClientAuth, Issuer, RefreshCredential},
        },
    },
};
use tokio::sync::OnceCell;

#[derive(Debug)]
struct SmallSource {
    http: reqwest::Client,
    clock: SystemClock,
}

#[async_trait::async_trait]
impl TokenSource for SmallSource {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _: &ServerIdentity, request: TokenRequest) -> Evidence {
        let (Some(presented), Some(grant)) = (request.refresh, request.grant) else {
            return Evidence::NotSent(NotSent::Unbuildable);
        };
        let asked = self.clock.now();
        if asked.elapsed > request.not_after {
            return Evidence::NotSent(NotSent::TooLate);
        }
        let source = Source::at(&self.http, &grant.binding.token_endpoint);
        match source.refresh(presented.expose()).await {
            Ok(Token { access, refresh, expires_at }) => Evidence::Tokens(Box::new(Tokens {
                access: AccessToken::new(access),
                kind: TokenKind::Bearer,
                validity: Validity::new(asked, Some(expires_at - Instant::now())),
                refresh: Some(RefreshToken::new(refresh)),
                granted: None,
                subject: None,
                binding: None,
            })),
            // The small function tells no more of a failure than its text. It takes part in no workload of faults.
            Err(_) => Evidence::Lost(Lost::Broken),
        }
    }

    async fn revoke(&self, _: &ServerIdentity, _: Revocation) -> Result<(), NotRevoked> {
        Err(NotRevoked::NotOffered)
    }
}

struct Shared {
    auth: AuthRuntime,
    clock: SystemClock,
    digests: DigestKey,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();
static ACCOUNTS: Accounts = Accounts::none();

async fn shared(env: &Env) -> &'static Shared {
    SHARED
        .get_or_init(|| async {
            let clock = SystemClock::new().unwrap();
            let digests = DigestKey::new([7; 32]);
            let source = SmallSource { http: env.http.clone(), clock: clock.clone() };
            let store = Arc::new(MemoryStore::new(digests.clone()));
            let auth = AuthRuntime::builder(store, Settings::new(Arc::new(source))).spawn().await.unwrap();
            Shared { auth, clock, digests }
        })
        .await
}

pub struct Engine(AuthSession);
impl Peer for Engine {
    const NAME: &'static str = "tokenkeeper, engine only";
    const PACKAGE: Option<&'static str> = Some("tokenkeeper-actors");
    const REFRESH: &'static str = "a connection of the shared client, and a claim, a mark before the request and a commit after \
                                   it, in a store in memory";
    const SERVES_UNTIL_EXPIRY: bool = true;
    type Out = Lease;

    async fn create(env: &Env, seed: Seed) -> Self {
        let shared = shared(env).await;
        let (account, refresh) = ACCOUNTS.open(&seed);
        let resource = format!("{}/f/{}/mcp", env.base, seed.fam);
        let now = shared.clock.now();
        let age = AGE_SECS * 1_000;
        let received = Moment {
            wall: WallTime::from_millis(now.wall.as_millis() - age),
            elapsed: ElapsedTime::from_millis(now.elapsed.as_millis().saturating_sub(age)),
            ..now
        };
        let login = Login {
            binding: Binding {
                issuer: Issuer(env.base.clone()),
                client: Client { id: "client".into(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
                token_endpoint: env.token_url(seed.fam),
                revocation_endpoint: None,
                resource: Some(resource.clone()),
            },
            renewal: RenewalPlan::default(),
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            refresh: Some(RefreshCredential::new(RefreshToken::new(refresh), &shared.digests)),
            access: Some(LoginAccess {
                token: AccessToken::new(seed.access_token),
                kind: TokenKind::Bearer,
                validity: Validity::new(received, Some(Duration::from_secs(seed.expires_in))),
            }),
            at: now,
            begun_on: None,
        };
        let identity = ServerIdentity::new(Account::new(account).unwrap(), Target::mcp(&resource).unwrap());
        let session = shared.auth.session(identity);
        session.install(login).await.unwrap();
        Self(session)
    }

    async fn get(&self) -> Result<Lease, String> {
        self.0.token().await.map_err(|e| e.to_string())
    }
}
