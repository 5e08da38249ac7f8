//! The session: what to answer, when to fly, when to give up. A pure state machine, one for each server identity.
//!
//! # Contract
//!
//! [`Session::start`] gives the first effects; everything that happens goes to [`Session::handle`], in the order in
//! which it happened. A driver carries the effects of one event out in order, before it hands over the next event, and
//! never waits for one of them. It calls `handle` with [`SessionEvent::Tick`] at [`Session::next_wake`].
//!
//! Waiters are ids: each [`SessionEvent::GetToken`] is answered by exactly one [`SessionEffect::Answer`], unless its
//! waiter goes away first. [`SessionEffect::Publish`] precedes the answers it matters to, so that whoever was answered
//! finds the cell as the answer says (law 6).

mod closing;
mod configuring;
mod flying;
mod futility;
mod landing;
mod machine;
mod pacing;
mod refusing;
mod serving;
mod waiters;

pub use futility::{ChallengeKey, Futility, OperationKey};
pub use machine::Session;

use std::time::Duration;

use super::flight::{Op, Order, Report, Revocation};
use super::ledger::{Change, Changed, Login};
use crate::ports::store::Reservation;
use crate::values::record::{Issuer, RenewalPlan, View};
use crate::values::{
    ConfigureError, ElapsedTime, Epoch, FlightId, Generation, InstallError, KeyedDigest, Lease, LogoutError, Moment,
    Nonce, Reason, StoreFault, TokenError, WallTime, Window,
};

/// Names one waiting caller; unique within a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// Names one request that is answered with something other than a token; unique within a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// How a session behaves. Defaults in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When to refresh with nobody waiting (on demand).
    pub refresh: RefreshPolicy,
    /// How long before expiry a refresh may begin, at the earliest (5 min). Never more than a quarter of the lifetime.
    pub early_window: Duration,
    /// What must be left of a token that is handed out, whatever the caller asks (1 s): it has to get to the resource.
    pub safety_margin: Duration,
    /// The first pause after a failure, before jitter; it doubles (1 s).
    pub initial_backoff: Duration,
    /// The longest pause after failures, and after refusals that refreshing does not help (5 min).
    pub max_backoff: Duration,
    /// The most that a server's `Retry-After` is believed (1 h).
    pub max_retry_after: Duration,
    /// Callers that may wait at once (65,536).
    pub max_waiters: usize,
    /// How an identity is renewed that has no grant in the store (the refresh grant). A stored grant has its own plan.
    pub renewal: RenewalPlan,
}

/// When a session refreshes with nobody waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshPolicy {
    /// Never: a caller in the early window sets a refresh off.
    #[default]
    OnDemand,
    /// In the early window, if the token was used since it was minted.
    WhileInUse,
    /// In the early window, always; and, where `inactivity` says how long the server lets a refresh token lie unused,
    /// after three quarters of that.
    KeepWarm {
        /// The refresh token's inactivity window.
        inactivity: Option<Duration>,
    },
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            refresh: RefreshPolicy::default(),
            early_window: Duration::from_secs(300),
            safety_margin: Duration::from_secs(1),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            max_retry_after: Duration::from_secs(3600),
            max_waiters: 65_536,
            renewal: RenewalPlan::default(),
        }
    }
}

/// What a caller asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// When the caller asked: its timeout counts from then, not from when the mailbox got to it.
    pub asked: ElapsedTime,
    /// How long the caller waits.
    pub timeout: Duration,
    /// What must be left of the token. Capped at three quarters of the token's lifetime: more cannot be had by
    /// refreshing.
    pub min_lifetime: Duration,
    /// Insist on a token from a flight that begins after this request.
    pub force: bool,
}

impl Ask {
    /// When the caller must have been answered.
    pub fn deadline(&self) -> ElapsedTime {
        self.asked.after(self.timeout)
    }
}

/// A resource's refusal of a lease (401).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The lease that was refused.
    pub generation: Generation,
    /// The operation it was refused for.
    pub operation: OperationKey,
    /// The challenge that came with it.
    pub challenge: ChallengeKey,
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// A caller wants a token.
    GetToken(WaiterId, Ask),
    /// A waiting caller went away.
    WaiterGone(WaiterId),
    /// A resource refused a lease.
    Invalidate(ReplyId, Refusal),
    /// The published lease was handed out past the mailbox since the last tick.
    Used,
    /// A read is done.
    Loaded(Op, Result<Option<Box<View>>, StoreFault>),
    /// The flight reports.
    Flight(FlightId, Report),
    /// The flight is over, and will report nothing more. Without a landing before it, it broke off.
    FlightOver(FlightId),
    /// The time given by [`Session::next_wake`] has come.
    Tick,
    /// The store says that the record was written, or that it may have been.
    StoreChanged,
    /// The issuer is to be left alone until then.
    Throttled(ElapsedTime),
    /// The machine woke from suspend. Background work that has become due is marked to be spread.
    Resumed,
    /// A login is to be installed.
    Install(ReplyId, Box<Login>),
    /// The refresh token of a login was reserved, or not.
    Reserved(Op, Result<Reservation, StoreFault>),
    /// The identity is to be logged out.
    Logout(ReplyId),
    /// The identity is to be renewed by this plan from now on.
    Configure(ReplyId, Box<RenewalPlan>),
    /// The resource lists these issuers now (RFC 9728).
    IssuersListed(Vec<Issuer>),
    /// A write is done.
    Changed(Op, Result<Changed, StoreFault>),
    /// The runtime stops: no new flights, everyone is answered.
    Shutdown,
}

/// What a session wants done.
#[derive(Clone, Debug)]
pub enum SessionEffect {
    /// Put this into the identity's cell and slot.
    Publish(Box<Published>),
    /// Answer a caller.
    Answer(WaiterId, Result<Lease, TokenError>),
    /// Answer a refusal.
    AnswerRefusal(ReplyId, RefusalAnswer),
    /// Answer an install: the version that is in force now.
    AnswerInstall(ReplyId, Result<Box<View>, InstallError>),
    /// Answer a logout.
    AnswerLogout(ReplyId, Result<LoggedOut, LogoutError>),
    /// Answer a configuration: the view that is in force now.
    AnswerConfigure(ReplyId, Result<Box<View>, ConfigureError>),
    /// Read the record.
    Load(Op),
    /// Begin a flight.
    Fly(Box<Order>),
    /// Tell the running flight that it was logged out of this epoch.
    TellLoggedOut(FlightId, Epoch),
    /// Reserve a refresh token's digest.
    Reserve(Op, KeyedDigest),
    /// Write.
    Change(Op, Box<Change>),
    /// Revoke what was logged out of. No answer is awaited.
    Revoke(Box<Revocation>),
}

/// What handles and successors read without asking the actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The lease that hits hand out, with the window in which they do so without a thought.
    pub hit: Option<Hit>,
    /// How the session stands, for whoever shows it to a person.
    pub standing: Standing,
    /// What must outlive the actor.
    pub residue: Residue,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why only a login helps, if only a login does.
    pub login_required: Option<Reason>,
    /// When the refresh token arrived or was last of use; `None` without one.
    pub refresh_since: Option<Moment>,
    /// When the login was completed, by the wall clock; `None` where no person signed in, or that is not known.
    pub signed_in: Option<WallTime>,
    /// Whether the refresh token is being presented, or may have been spent.
    pub in_doubt: bool,
}

/// A lease, and how long it is handed out past the mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The lease.
    pub lease: Lease,
    /// Ends where the early window begins. For the clocks of the boot in which it was published.
    pub window: Window,
}

/// What must outlive a session's actor: kept in the identity's slot, given to [`Session::start`] by the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    /// No lease of this generation or older is served (law 6).
    pub floor: Option<Generation>,
    /// The flight that runs.
    pub flight: Option<RunningFlight>,
    /// Failures so far, and when the next attempt may be made.
    pub backoff: Backoff,
    /// Refusals that refreshing did not help.
    pub futility: Futility,
    /// A logout whose tombstone is not written yet.
    pub closing: Option<PendingLogout>,
    /// An epoch that is not served because the resource no longer lists its issuer.
    pub barred: Option<Epoch>,
    /// Why the newest record seen must not be served: a source that needs no login must not mint past a logout either.
    pub closed: Option<Reason>,
    /// A lease that is not stored yet, or never will be: nobody else can give it back (law 4).
    pub unstored: Option<Lease>,
    /// The newest token number known: tokens minted without a store count on from here.
    pub known: Generation,
    /// The plan of the newest grant seen, where it is not the policy's: a repeatable source mints without a store.
    pub plan: Option<Box<RenewalPlan>>,
}

/// A logout that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingLogout {
    /// The record could not be read yet: what it holds is to be cleared.
    Unread,
    /// This epoch is to end.
    Of(Epoch),
}

/// The flight that runs, as its session sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningFlight {
    /// Its name.
    pub id: FlightId,
    /// The epoch it is for.
    pub epoch: Epoch,
    /// Whether it has landed and goes on only to save.
    pub keeping: bool,
}

/// Failures in a row, and the pause they have earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, until when no attempt is made.
    pub resting: Option<(TokenError, ElapsedTime)>,
}

/// The answer to a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalAnswer {
    /// Noted: no lease of that generation or older is handed out any more. Ask for a token.
    Noted,
    /// A newer lease is there already; nothing changed. Ask for a token.
    Superseded,
    /// Refreshing does not help (law 11): `ResourceRefuses`. The lease is still served to others.
    Futile(TokenError),
}

/// What a logout did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// Whether a token may still live that could not be revoked, because it never reached us.
    pub may_still_live: bool,
}

/// What the driver draws for a session when it starts: randomness as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Drawn once for each process: tells its unstored tokens from those of others.
    pub nonce: Nonce,
    /// Drawn for each incarnation: its flights are named from here on.
    pub flights: FlightId,
}
