//! Helpers of the checks, namely places, handles, sample values, and a few shared tools.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::{Change, Changed, Commit, Conflict, Login, LoginAccess, apply};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, TokenStore};
use tokenkeeper_actors::values::record::{
    Access, Binding, Client, ClientAuth, Issuer, Mark, MarkState, ProviderName, Record, RefreshCredential, RenewalPlan,
    SourceName, Spending,
};
use tokenkeeper_actors::values::{
    AccessToken, Account, BootId, Cause, DigestKey, ElapsedTime, Epoch, FlightId, KeyedDigest, Moment, RefreshToken,
    ResourceUri, Scopes, ServerIdentity, SourceSettings, StoreFault, Target, TokenKind, Validity, Version, WallTime,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::verdict::{Breach, ensure, same, same_record};
use super::{Harness, Outcome, Place, Verdict};

/// The time that every claim is asked to last at least.
pub(super) const AT_LEAST: Duration = Duration::from_secs(45);

/// The number of contenders in a race, and the number of its rounds.
pub(super) const CONTENDERS: u32 = 16;
pub(super) const ROUNDS: u32 = 8;

/// An empty place, two handles on it as two processes would have them, and two identities.
pub(super) struct Desk {
    pub(super) place: Box<dyn Place>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) sibling: Arc<dyn TokenStore>,
    pub(super) who: ServerIdentity,
    pub(super) other: ServerIdentity,
    pub(super) key: DigestKey,
}

impl Desk {
    pub(super) async fn open(harness: &dyn Harness) -> Result<Self, Breach> {
        let place = harness.place().await;
        let (store, sibling) = (place.open().await, place.open().await);
        let key = store.digest_key().await?;
        Ok(Self { place, store, sibling, who: identity("work")?, other: identity("home")?, key })
    }

    /// A desk for a check about claims. Returns `None` where the store grants none.
    pub(super) async fn claiming(harness: &dyn Harness) -> Result<Option<Self>, Breach> {
        if harness.gives_claims() { Self::open(harness).await.map(Some) } else { Ok(None) }
    }

    pub(super) fn token(&self, token: &str) -> RefreshCredential {
        RefreshCredential::new(RefreshToken::new(token), &self.key)
    }

    pub(super) fn digest(&self, token: &str) -> KeyedDigest {
        self.token(token).digest()
    }

    /// A login that brings this refresh token.
    pub(super) fn login(&self, token: &str) -> Change {
        Change::Install(Box::new(login(Some(self.token(token)))))
    }

    /// The commit of a flight that sent one refresh token and got another.
    pub(super) fn commit(&self, epoch: u64, sent: &str, got: &str, number: u64) -> Change {
        Change::Commit(Box::new(commit(epoch, Some(self.digest(sent)), Some(self.token(got)), number)))
    }

    /// The first mark of `token` by this flight, decided at `expected`.
    pub(super) fn mark(&self, expected: Version, token: &str, by: u128) -> Change {
        Change::Mark { expected, mark: mark(self.digest(token), by, 2) }
    }

    pub(super) async fn load(&self) -> Result<Option<Box<Record>>, Breach> {
        Ok(self.store.load(&self.who).await?)
    }

    /// Makes a change, and compares the store's answer, and the reads of both handles before and afterwards, with the
    /// ledger. Only for writes without concurrent writes.
    pub(super) async fn change(&self, change: Change) -> Result<Result<Record, Conflict>, Breach> {
        let before = self.load().await?;
        let due = apply(before.as_deref(), &change);
        let answer = self.store.change(&self.who, change).await?;
        let (found, reported) = match &answer {
            Changed::Applied { before, after } => (Ok(after), before),
            Changed::Conflict { why, current } => (Err(*why), current),
        };
        match (found, &due) {
            (Ok(after), Ok(due)) => same_record("the `after` of an applied change", Some(after), Some(due))?,
            (found, due) => {
                same("the answer to a change", found.map(drop), due.as_ref().map(drop).map_err(|why| *why))?
            }
        }
        same_record("what an answer says was there", reported.as_deref(), before.as_deref())?;
        let now = due.as_ref().ok().or(before.as_deref());
        same_record("what is loaded after a change", self.load().await?.as_deref(), now)?;
        same_record("what a sibling loads after a change", self.sibling.load(&self.who).await?.as_deref(), now)?;
        Ok(due)
    }

    /// Makes a change that must apply.
    pub(super) async fn applied(&self, change: Change) -> Result<Record, Breach> {
        let shown = format!("{change:?}");
        self.change(change).await?.map_err(|why| Breach::new(format!("{why:?} is no reason to refuse {shown}")))
    }

    /// Makes a change that must be refused and must write nothing.
    pub(super) async fn refused(&self, change: Change, why: Conflict) -> Result<(), Breach> {
        let shown = format!("{change:?}");
        match self.change(change).await? {
            Ok(_) => Err(Breach::new(format!("this was written: {shown}"))),
            Err(found) => same("the reason of a conflict", found, why),
        }
    }

    /// Takes a claim that must be granted.
    pub(super) async fn granted(
        &self,
        store: &Arc<dyn TokenStore>,
        scope: ClaimScope,
        by: u128,
    ) -> Result<Claim, Breach> {
        granted(store, &self.who, scope, by).await
    }

    /// Asks for a claim that another flight holds.
    pub(super) async fn contended(
        &self,
        store: &Arc<dyn TokenStore>,
        scope: ClaimScope,
        by: u128,
    ) -> Result<(), Breach> {
        let answer = store.claim(&self.who, scope, flight(by), AT_LEAST).await?;
        same("the answer to a second claim", answer, ClaimAnswer::Contended)
    }
}

pub(super) async fn granted(
    store: &Arc<dyn TokenStore>,
    who: &ServerIdentity,
    scope: ClaimScope,
    by: u128,
) -> Result<Claim, Breach> {
    match store.claim(who, scope, flight(by), AT_LEAST).await? {
        ClaimAnswer::Granted(claim) => {
            same("the holder of a granted claim", claim.holder, flight(by))?;
            same("the scope of a granted claim", claim.scope, scope)?;
            let long_enough = claim.remaining.is_none_or(|left| left >= AT_LEAST);
            ensure(long_enough, || format!("a claim asked to outlast {AT_LEAST:?} has {:?} left", claim.remaining))?;
            Ok(claim)
        }
        answer => Err(Breach::new(format!("{answer:?} answers a claim for {scope:?} that nobody hinders"))),
    }
}

pub(super) const SPEND: ClaimScope = ClaimScope::Spend(Epoch::new(1));

pub(super) const KEPT: Verdict = Ok(Outcome::Kept);

pub(super) const NO_CLAIMS: Verdict = Ok(Outcome::NotShown("the store gives out no claims"));

pub(super) fn identity(account: &str) -> Result<ServerIdentity, Breach> {
    named(account, "https://mcp.example.com/mcp")
}

pub(super) fn named(account: &str, resource: &str) -> Result<ServerIdentity, Breach> {
    let account = Account::new(account).map_err(|error| Breach::new(format!("no account: {error}")))?;
    let resource = ResourceUri::parse(resource).map_err(|error| Breach::new(format!("no resource: {error}")))?;
    Ok(ServerIdentity::new(account, Target::Mcp(resource)))
}

pub(super) fn flight(number: u128) -> FlightId {
    FlightId((0xf11e << 112) + number)
}

/// The moment this many seconds after the start of the checks' clock.
pub(super) fn moment(seconds: u64) -> Moment {
    Moment {
        wall: WallTime::from_millis(1_800_000_000_000 + 1_000 * seconds),
        elapsed: ElapsedTime::from_millis(70_000 + 1_000 * seconds),
        boot: BootId(0xb007),
    }
}

pub(super) fn binding() -> Binding {
    let client = Client { id: "client-1".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
    Binding {
        issuer: Issuer("https://as.example.com".to_owned()),
        client,
        token_endpoint: "https://as.example.com/token".to_owned(),
        revocation_endpoint: None,
        resource: Some("https://mcp.example.com/mcp".to_owned()),
    }
}

pub(super) fn login(refresh: Option<RefreshCredential>) -> Login {
    let token = AccessToken::new("at-login");
    Login {
        binding: binding(),
        requested: Scopes::new(["read"]),
        granted: Scopes::new(["read"]),
        subject: None,
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh,
        access: Some(LoginAccess { token, kind: TokenKind::Bearer, validity: an_hour() }),
        at: moment(0),
        begun_on: None,
    }
}

/// A renewal plan that differs from the default in every member.
pub(super) fn far_plan() -> RenewalPlan {
    let source = SourceName::new("client_credentials").unwrap_or_default();
    RenewalPlan {
        source,
        spending: Spending::Repeatable,
        provider: ProviderName::new("example").ok(),
        never_replay: true,
        server_named: true,
        settings: Some(SourceSettings::new("{\"key\":\"settings of a source\"}")),
    }
}

pub(super) fn an_hour() -> Validity {
    Validity::new(moment(0), Some(Duration::from_secs(3_600)))
}

pub(super) fn mark(digest: KeyedDigest, by: u128, number: u64) -> Mark {
    Mark {
        flight: flight(by),
        digest,
        presentations: 1,
        number,
        first: moment(10),
        latest: moment(10),
        timeout: Duration::from_secs(30),
        state: MarkState::Open,
    }
}

/// Withdraws the mark by this flight, which had no predecessor.
pub(super) fn withdraw(epoch: Epoch, by: u128, sent: KeyedDigest) -> Change {
    Change::Withdraw { epoch, flight: flight(by), sent, earlier: None, park: None }
}

pub(super) fn commit(epoch: u64, sent: Option<KeyedDigest>, refresh: Option<RefreshCredential>, number: u64) -> Commit {
    let access = Access {
        token: AccessToken::new(format!("at-{epoch}-{number}")),
        kind: TokenKind::Bearer,
        validity: an_hour(),
        number,
        cause: Cause::Expiry,
        flight: Some(flight(u128::from(number))),
    };
    let (epoch, renewal) = (Epoch::new(epoch), RenewalPlan::default());
    Commit {
        epoch,
        sent,
        repeated: false,
        access,
        refresh,
        granted: None,
        subject: None,
        binding: None,
        renewal,
        at: moment(20),
    }
}

/// Starts all contenders at once, each in a task of its own, and returns their results in no particular order.
#[expect(clippy::disallowed_methods, reason = "a race needs tasks; the set owns them")]
pub(super) async fn at_once<F, T>(contenders: impl IntoIterator<Item = F>) -> Result<Vec<T>, Breach>
where
    F: Future<Output = Result<T, StoreFault>> + Send + 'static,
    T: Send + 'static,
{
    let contenders: Vec<F> = contenders.into_iter().collect();
    let gate = Arc::new(Barrier::new(contenders.len()));
    let mut tasks = JoinSet::new();
    for contender in contenders {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            gate.wait().await;
            contender.await
        });
    }
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result.map_err(|error| Breach::new(format!("an operation broke off: {error}")))??);
    }
    Ok(results)
}

/// Returns a breach unless exactly one of the contenders won by its answer.
pub(super) fn one_winner(what: &str, won: impl IntoIterator<Item = bool>) -> Result<(), Breach> {
    let winners = won.into_iter().filter(|won| *won).count();
    ensure(winners == 1, || format!("{winners} of {CONTENDERS} at once were told that {what}"))
}
