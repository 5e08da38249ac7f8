//! tokenkeeper through its front door, with its refresh grant, its client over reqwest and its store in memory. All
//! identities share one runtime, as in a host.
use crate::{
    env::{Env, Seed},
    peer::{AGE_SECS, Peer},
};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokenkeeper::{
    AuthRuntime, AuthSession, ChallengeKey, Lease, Login, OperationKey, SessionSpec,
    issuers::{Client, IssuerSettings},
    stores,
};
use tokio::sync::OnceCell;

const SHORTEST: Duration = Duration::from_millis(1);

static RUNTIME: OnceCell<AuthRuntime> = OnceCell::const_new();
static ACCOUNTS: Accounts = Accounts::none();

async fn runtime() -> &'static AuthRuntime {
    RUNTIME.get_or_init(|| async { AuthRuntime::builder(stores::memory::open().unwrap()).spawn().await.unwrap() }).await
}

/// One account for each identity.
pub struct Accounts {
    next: AtomicU64,
    /// The refresh token of the newest seed.
    newest: Mutex<String>,
}

impl Accounts {
    pub const fn none() -> Self {
        Self { next: AtomicU64::new(0), newest: Mutex::new(String::new()) }
    }

    /// The account of a new identity, and its refresh token.
    ///
    /// Many identities are made of one seed where memory is measured. tokenkeeper's store holds a refresh token for one
    /// identity only, so each has one of its own there, and none is presented.
    pub fn open(&self, seed: &Seed) -> (String, String) {
        let account = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let mut newest = self.newest.lock().unwrap();
        let refresh = match *newest == seed.refresh_token {
            true => format!("{newest}-{account}"),
            false => seed.refresh_token.clone(),
        };
        newest.clone_from(&seed.refresh_token);
        (account, refresh)
    }
}

pub struct Tokenkeeper(AuthSession);
impl Peer for Tokenkeeper {
    const NAME: &'static str = "tokenkeeper";
    const PACKAGE: Option<&'static str> = Some("tokenkeeper");
    const REFRESH: &'static str =
        "a new connection, and a claim, a mark before the request and a commit after it, in a store in memory";
    const FAULTS: bool = true;
    const SERVES_UNTIL_EXPIRY: bool = true;
    type Out = Lease;

    async fn create(env: &Env, seed: Seed) -> Self {
        let (account, refresh) = ACCOUNTS.open(&seed);
        // A lifetime of zero would mean an unknown one. So an expired token gets the shortest, which passes here.
        let left = Duration::from_secs(seed.expires_in.saturating_sub(AGE_SECS)).max(SHORTEST);
        let issuer = IssuerSettings::new(&*env.base, env.token_url(seed.fam), Client::public("client")).unwrap();
        let login = Login::at(issuer).refresh_token(refresh).access_token(seed.access_token, Some(left));
        let spec = SessionSpec::mcp(&format!("{}/f/{}/mcp", env.base, seed.fam)).unwrap().account(account).unwrap();
        let session = runtime().await.session(spec);
        session.install(login).await.unwrap();
        if left == SHORTEST {
            tokio::time::sleep(2 * SHORTEST).await;
        }
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
