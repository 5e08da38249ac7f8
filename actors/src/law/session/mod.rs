//! The session answers callers and begins flights. It is a pure state machine, and each server identity has one.
//!
//! # Contract
//!
//! [`Session::start`] returns the first effects. Every event goes to [`Session::handle`], in the order in which the
//! events happened. A driver carries the effects of one event out in order, before it hands over the next event, and
//! never waits for one of them. It calls `handle` with [`SessionEvent::Tick`] at [`Session::next_wake`].
//!
//! Waiters are ids. Each [`SessionEvent::GetToken`] is answered by exactly one [`SessionEffect::Answer`], unless its
//! waiter goes away first. [`SessionEffect::Publish`] precedes the answers of the same event, so that an answered
//! caller finds the matching lease in the cell (law 6).

mod closing;
mod configuring;
mod elevations;
mod flying;
mod futility;
mod installing;
mod issuers;
mod knowledge;
mod landing;
mod login_request;
mod machine;
mod pacing;
mod pauses;
mod refusing;
mod running_attempt;
mod serving;
mod signing_in;
mod waiters;

pub use elevations::Elevations;
pub use futility::{ChallengeKey, Futility, OperationKey};
pub use login_request::{LoginCause, LoginProgress, LoginRequest, LoginRequestKind};
pub use machine::Session;
pub use running_attempt::{AttemptStage, RunningAttempt};

use std::time::Duration;

use super::flight::{Op, Order, Report, Revocation};
use super::ledger::{Change, Changed, Login};
use super::login::{LoginEvent, LoginOrder, LoginReport};
use crate::ports::store::Reservation;
use crate::values::record::{Issuer, RenewalPlan, View};
use crate::values::{
    AttemptId, ConfigureError, ElapsedTime, Epoch, FlightId, Generation, InstallError, KeyedDigest, Lease, LogoutError,
    Nonce, Reason, SignInError, StoreFault, TokenError, WallTime, Window,
};

/// The id of a waiting caller, unique within a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// The id of a request that is not answered with a token, unique within a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// The settings of a session. Defaults in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When to refresh without a waiting caller (on demand).
    pub refresh: RefreshPolicy,
    /// The earliest time before expiry at which a refresh may begin (5 min). Never more than a quarter of the lifetime.
    pub early_window: Duration,
    /// The lifetime that must remain of a token that is handed out, even if the caller asks for less (1 s). The token
    /// still has to reach the resource.
    pub safety_margin: Duration,
    /// The first pause after a failure that callers got as an error, before jitter; it doubles (1 s).
    pub initial_backoff: Duration,
    /// The longest pause after failures, and after refusals that a refresh does not cure (5 min).
    pub max_backoff: Duration,
    /// The longest `Retry-After` that is honoured (1 h).
    pub max_retry_after: Duration,
    /// How many token requests may fail while the same callers wait (8). The pauses between them are
    /// [`ATTEMPT_PAUSES`](crate::values::ATTEMPT_PAUSES).
    pub max_attempts: u32,
    /// How long a logout waits for the revocation of its tokens, after the record is cleared (3 s).
    pub revocation_timeout: Duration,
    /// How many callers may wait at once (65,536).
    pub max_waiters: usize,
    /// How an identity without a grant in the store is renewed (the refresh grant). A stored grant has its own plan.
    pub renewal: RenewalPlan,
}

/// When a session refreshes without a waiting caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshPolicy {
    /// Only after a caller got a token within its early window.
    #[default]
    OnDemand,
    /// In the early window, if the token was used since it was minted. Only use in this process counts, whichever
    /// process obtained the token. Until the window begins, the session's actor stays awake to see the use.
    WhileInUse,
    /// Always in the early window. If `inactivity` is set, also after three quarters of it without use of the refresh
    /// token.
    KeepWarm {
        /// After how long without use the server ends a refresh token.
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
            max_attempts: 8,
            revocation_timeout: Duration::from_secs(3),
            max_waiters: 65_536,
            renewal: RenewalPlan::default(),
        }
    }
}

/// A caller's request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// When the caller asked. Its timeout counts from then, not from when the actor received the message.
    pub asked: ElapsedTime,
    /// How long the caller waits.
    pub timeout: Duration,
    /// The lifetime that must remain of the token. Capped at three quarters of the token's lifetime, because a refresh
    /// may not give more.
    pub min_lifetime: Duration,
    /// Whether the caller insists on a token from a flight that begins after this request.
    pub force: bool,
    /// Whether the caller takes the first failure, and does not wait for another attempt.
    pub fail_fast: bool,
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

/// An event for a session.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// A caller wants a token.
    GetToken(WaiterId, Ask),
    /// A waiting caller went away.
    WaiterGone(WaiterId),
    /// A resource refused a lease.
    Invalidate(ReplyId, Refusal),
    /// The published lease was handed out without a message to the actor since the last tick.
    Used,
    /// A read is done.
    Loaded(Op, Result<Option<Box<View>>, StoreFault>),
    /// The flight reports.
    Flight(FlightId, Report),
    /// The flight is over and reports nothing more. If it has not landed before, it ended without a result.
    FlightOver(FlightId),
    /// The time that [`Session::next_wake`] returned has come.
    Tick,
    /// The store reports that the record was written, or may have been.
    StoreChanged,
    /// The issuer is throttled until this time.
    Throttled(ElapsedTime),
    /// The machine woke from suspend. Background refreshes that have become due are spread over time.
    Resumed,
    /// A request about logins that a person is asked for.
    Login(ReplyId, Box<LoginRequest>),
    /// The caller of a request about logins has gone.
    LoginRequestGone(ReplyId),
    /// A login attempt reports.
    Attempt(AttemptId, Box<LoginReport>),
    /// The login attempt is over and reports nothing more. If it has not concluded before, it ended without a result.
    AttemptOver(AttemptId),
    /// Install a login.
    Install(ReplyId, Box<Login>),
    /// The refresh token of a login was reserved, or not.
    Reserved(Op, Result<Reservation, StoreFault>),
    /// Log the identity out.
    Logout(ReplyId),
    /// Log the identity out and revoke nothing, because its record is removed afterwards.
    Forget(ReplyId),
    /// The record was removed after a logout. The identity begins anew.
    Removed,
    /// The identity is to be renewed by this plan from now on.
    Configure(ReplyId, Box<RenewalPlan>),
    /// The resource lists these issuers now (RFC 9728).
    IssuersListed(Vec<Issuer>),
    /// A write is done.
    Changed(Op, Result<Changed, StoreFault>),
    /// The runtime stops. No flight begins any more, and all callers are answered.
    Shutdown,
}

/// An effect for the driver to carry out.
#[derive(Clone, Debug)]
pub enum SessionEffect {
    /// Publish this in the identity's cell and slot.
    Publish(Box<Published>),
    /// Answer a caller.
    Answer(WaiterId, Result<Lease, TokenError>),
    /// Answer a refusal.
    AnswerRefusal(ReplyId, RefusalAnswer),
    /// Answer a request about logins.
    AnswerLogin(ReplyId, Result<LoginProgress, SignInError>),
    /// Answer an install with the record that is in force now.
    AnswerInstall(ReplyId, Result<Box<View>, InstallError>),
    /// Answer a logout.
    AnswerLogout(ReplyId, Result<LoggedOut, LogoutError>),
    /// Answer a configuration with the record that is in force now.
    AnswerConfigure(ReplyId, Result<Box<View>, ConfigureError>),
    /// Read the record.
    Load(Op),
    /// Begin a flight.
    Fly(Box<Order>),
    /// Tell the running flight that it was logged out of this epoch.
    TellLoggedOut(FlightId, Epoch),
    /// Begin a login attempt.
    SignIn(Box<LoginOrder>),
    /// Hand an event to a running login attempt.
    TellAttempt(AttemptId, Box<LoginEvent>),
    /// Remove the identity's pending logins from the store, because it is logged out. There is no completion.
    DropLogins,
    /// Reserve a refresh token's digest.
    Reserve(Op, KeyedDigest),
    /// Write.
    Change(Op, Box<Change>),
    /// Revoke the tokens of a logout. There is no completion. If an [`AnswerLogout`](Self::AnswerLogout) of the same
    /// event has the outcome [in the air](RevocationOutcome::InTheAir), the driver delays that answer until the
    /// revocation has ended or the policy's timeout has passed, and puts the outcome into it.
    Revoke(Box<Revocation>),
    /// Publish that this flight brought no token. A flight that the shutdown ended publishes that itself.
    Note(FlightId, Failure),
}

/// A flight that brought no token, and the consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: Reason,
    /// Whether callers wait for another attempt. If not, the waiting callers got the error.
    pub retrying: bool,
}

/// The state that handles and later actors read without a message to the actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The lease that hits hand out, with the window in which they do so.
    pub hit: Option<Hit>,
    /// The state of the session, for display to people.
    pub standing: Standing,
    /// The state that must outlive the actor.
    pub residue: Residue,
}

/// The state of a session, for display to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The reason why a login is required; `None` if none is.
    pub login_required: Option<Reason>,
    /// When the refresh token arrived or was last presented with success, by the wall clock; `None` without one.
    pub refresh_since: Option<WallTime>,
    /// When the login was completed, by the wall clock; `None` if no person signed in, or the time is not known.
    pub signed_in: Option<WallTime>,
    /// Whether the refresh token is being presented, or may have been spent.
    pub in_doubt: bool,
    /// Whether a person is being asked to sign in, by this process or another one.
    pub signing_in: bool,
}

/// A lease, and how long it is handed out without a message to the actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The lease.
    pub lease: Lease,
    /// Ends where the early window begins. For the clocks of the boot in which it was published.
    pub window: Window,
}

/// The state that must outlive a session's actor. The identity's slot keeps it, and the next actor gives it to
/// [`Session::start`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    /// The newest refused generation. Leases of this generation and older ones are not served (law 6).
    pub floor: Option<Generation>,
    /// The newest refused generation of an epoch before that of the floor. It becomes the floor again if the floor
    /// belongs to an unstored login that is never stored.
    pub floor_before: Option<Generation>,
    /// The flight that runs.
    pub flight: Option<RunningFlight>,
    /// Failures so far, and when the next attempt may be made.
    pub backoff: Backoff,
    /// Operations for which a refresh did not help.
    pub futility: Futility,
    /// A logout whose tombstone is not written yet.
    pub closing: Option<PendingLogout>,
    /// An epoch that is not served because the resource no longer lists its issuer.
    pub barred: Option<Epoch>,
    /// Why the newest record must not be served. A source that needs no login must not mint after a logout either.
    pub closed: Option<Reason>,
    /// A lease that is not stored yet, or never will be. It exists nowhere else (law 4).
    pub unstored: Option<Lease>,
    /// The newest generation known. Tokens minted without a store get the next numbers after it.
    pub known: Generation,
    /// The login attempts that run.
    pub attempts: Vec<RunningAttempt>,
    /// The logins that operations have caused.
    pub elevations: Elevations,
    /// The plan of the newest grant seen, if it is not the policy's. A repeatable source uses it to mint without a store.
    pub plan: Option<Box<RenewalPlan>>,
}

/// A logout that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingLogout {
    /// The record could not be read yet. The epoch in it is to end.
    Unread,
    /// This epoch is to end.
    Of(Epoch),
}

/// The flight that runs, as its session sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningFlight {
    /// Its id.
    pub id: FlightId,
    /// The epoch it is for.
    pub epoch: Epoch,
    /// Whether it has landed and goes on only to save.
    pub keeping: bool,
}

/// Consecutive failures, and the pauses after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Consecutive failures of flights that callers waited for.
    pub failures: u32,
    /// Consecutive failures of flights that no caller waited for. They lengthen the pauses of background work, but not
    /// those of callers.
    pub background_failures: u32,
    /// Token requests that have failed for the callers that wait now.
    pub attempts: u32,
    /// The last failure, and the time until which no flight begins.
    pub resting: Option<(TokenError, ElapsedTime)>,
    /// The last failure, and the time until which no flight begins without a waiting caller.
    pub background_resting: Option<(TokenError, ElapsedTime)>,
}

/// The answer to a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalAnswer {
    /// No lease of that generation or older is handed out any more. Ask for a token.
    Noted,
    /// A newer lease exists already, so nothing changed. Ask for a token.
    Superseded,
    /// The session does not know this lease, even after it has read the record again. Nothing changed. The lease
    /// belongs to another session, or to a record that the store has lost.
    Unknown,
    /// A refresh does not help (law 11). The error is `ResourceRefuses`, and other callers still get the lease.
    Futile(TokenError),
}

/// The result of a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// Whether a token may be valid that could not be revoked, because it never reached this process.
    pub has_unknown_token: bool,
    /// The outcome of the revocation. `None` if there was no token to revoke.
    pub revocation: Option<RevocationOutcome>,
}

impl LoggedOut {
    /// Whether a token of the session may still be valid, because not every token is known to be revoked.
    pub fn may_still_live(&self) -> bool {
        self.has_unknown_token || self.revocation.is_some_and(|outcome| outcome != RevocationOutcome::Done)
    }
}

/// The outcome of the revocation of a session's tokens (RFC 7009).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationOutcome {
    /// The server has revoked them.
    Done,
    /// The server offers no revocation of these tokens.
    NotOffered,
    /// The server has revoked the access token, and offers no revocation of the refresh token.
    AccessTokenAlone,
    /// The server refused, or could not be reached.
    Failed,
    /// The server had not answered in time ([`Policy::revocation_timeout`]). The request goes on.
    InTheAir,
}

/// The random values that the driver draws for a session when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Drawn once for each process. Distinguishes its unstored tokens from those of others.
    pub nonce: Nonce,
    /// Drawn for each actor. The ids of its flights count up from here, and the ids of its login attempts count down.
    pub flights: FlightId,
}
