//! tokenkeeper with its refresh grant, its client over reqwest and its store in memory. All identities share one
//! runtime, as in a host.
use crate::{
    env::{Env, Seed},
    peer::Peer,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokenkeeper::{
    AccessToken, Account, RefreshToken, RenewalPlan, Scopes, ServerIdentity, Target, TokenKind, Validity,
    engine::{
        law::{
            ledger::{Login, LoginAccess},
            session::{ChallengeKey, OperationKey},
        },
        memory::MemoryStore,
        ports::clock::Clock,
        runtime::{AuthRuntime, AuthSession, Settings},
        system::SystemClock,
        values::{
            DigestKey, ElapsedTime, Lease, Moment, WallTime,
            record::{Binding, Client, ClientAuth, Issuer, RefreshCredential},
        },
    },
    grant::RefreshGrant,
    http::ReqwestClient,
};
use tokio::sync::OnceCell;

/// The age of a seeded access token. A token with a lifetime of one second has expired then, as it has for the
/// adapters that keep a margin of that many seconds.
const AGE_MS: u64 = 30_000;

struct House {
    auth: AuthRuntime,
    clock: SystemClock,
    digests: DigestKey,
    /// One account for each identity.
    accounts: AtomicU64,
    /// The family of the newest identity.
    family: AtomicU64,
}

static HOUSE: OnceCell<House> = OnceCell::const_new();

async fn house() -> &'static House {
    HOUSE
        .get_or_init(|| async {
            let clock = SystemClock::new().unwrap();
            let digests = DigestKey::new([7; 32]);
            let http = Arc::new(ReqwestClient::new().unwrap());
            let source = RefreshGrant::new(http, Arc::new(clock.clone()));
            let store = Arc::new(MemoryStore::new(digests.clone()));
            let settings = Settings::new(Arc::new(source));
            House {
                auth: AuthRuntime::builder(store, settings).spawn().await.unwrap(),
                clock,
                digests,
                accounts: AtomicU64::new(0),
                family: AtomicU64::new(0),
            }
        })
        .await
}

pub struct Tokenkeeper(AuthSession);
impl Peer for Tokenkeeper {
    const NAME: &'static str = "tokenkeeper AuthSession::token";
    const SERVES_UNTIL_EXPIRY: bool = true;
    type Out = Lease;

    async fn create(env: &Env, seed: Seed) -> Self {
        let house = house().await;
        let account = house.accounts.fetch_add(1, Ordering::Relaxed);
        let resource = format!("{}/f/{}/mcp", env.base, seed.fam);
        // W3 gives all identities one refresh token. tokenkeeper's store holds a refresh token for one identity only.
        // None is presented there.
        let refresh = match house.family.swap(seed.fam, Ordering::Relaxed) == seed.fam {
            true => format!("{}-{account}", seed.refresh_token),
            false => seed.refresh_token,
        };
        let now = house.clock.now();
        let received = Moment {
            wall: WallTime::from_millis(now.wall.as_millis() - AGE_MS),
            elapsed: ElapsedTime::from_millis(now.elapsed.as_millis().saturating_sub(AGE_MS)),
            ..now
        };
        let lifetime = Duration::from_secs(seed.expires_in);
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
            refresh: Some(RefreshCredential::new(RefreshToken::new(refresh), &house.digests)),
            access: Some(LoginAccess {
                token: AccessToken::new(seed.access_token),
                kind: TokenKind::Bearer,
                validity: Validity::new(received, Some(lifetime)),
            }),
            at: now,
        };
        let target = Target::mcp(&resource).unwrap();
        let identity = ServerIdentity::new(Account::new(account.to_string()).unwrap(), target);
        let session = house.auth.session(identity);
        session.install(login).await.unwrap();
        Self(session)
    }

    async fn get(&self) -> Result<Lease, String> {
        self.0.token().await.map_err(|e| e.to_string())
    }

    const ANSWERS_401: bool = true;
    async fn call(&self, http: &reqwest::Client, url: &str) -> Result<(), String> {
        let send = |lease: &Lease| http.post(url).bearer_auth(lease.token().expose()).send();
        let lease = self.get().await?;
        let answer = send(&lease).await.map_err(|e| e.to_string())?;
        if answer.status() != 401 {
            return Ok(());
        }
        let refused = self.0.invalidate(&lease, OperationKey::default(), ChallengeKey::default());
        refused.await.map_err(|e| e.to_string())?;
        let answer = send(&self.get().await?).await.map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            401 => Err("refused twice".into()),
            _ => Ok(()),
        }
    }
}
