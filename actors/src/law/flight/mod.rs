//! The flight: the one running attempt to obtain a new token, as a pure state machine.
//!
//! ```text
//! permit → read → claim → read again → decide ─┬─ adopt what a sibling obtained
//!            ↑      │ contended: pause         ├─ give up: nothing to spend, or not allowed to
//!            └──────┘                          └─ mark → send → classify → save → release and report
//! ```
//!
//! # Contract
//!
//! [`Flight::start`] gives the first effects; each completion goes to [`Flight::handle`] with the `op` of its effect.
//! A driver carries the effects out in order and never waits for one before it starts the next. It calls `handle` with
//! [`FlightEvent::Tick`] at [`Flight::next_wake`], and drops the machine when [`Flight::is_over`]. A completion may come
//! late, twice or never; the machine has a limit of its own for each, except for [`FlightEffect::Send`], whose source
//! always answers, and [`FlightEffect::AskPermit`], whose queue it waits in. A permit or a claim that was given up on and
//! may still be granted keeps the machine from being over, until its answer comes or the driver gives up. Dropping a machine in mid-flight is a crash: its claim ends, or runs out, and its mark stays.

mod approach;
mod decide;
mod departure;
mod machine;
mod phase;
mod settle;

pub use machine::{Equipment, Flight};

use std::time::Duration;

use super::ledger::{Change, Changed};
use super::profile::{Evidence, Trouble};
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding, Renewed};
pub use crate::values::record::Spending;
use crate::values::record::{Binding, Grant, Issuer, Record, RefreshCredential, RenewalPlan, View};
use crate::values::{Cause, ElapsedTime, Epoch, FlightId, Generation, Lease, Nonce, Reason, RefreshToken, StoreFault};

/// Stamps an effect and its completion: unique within one flight or one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u32);

/// What a flight is to do, and what its session knew when it ordered it.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its name.
    pub flight: FlightId,
    /// Why a token is wanted: written beside the token it brings.
    pub cause: Cause,
    /// The epoch it is for. A record of another epoch ends it: its session decides anew.
    pub epoch: Epoch,
    /// What of the store's tokens will do.
    pub adopt: Adopt,
    /// The issuer the session took the permit's queue from; `None` for a session that knows no record.
    pub issuer: Option<Issuer>,
    /// How the identity is renewed, as far as its session knows. It holds until a record with a grant is read, and for
    /// the record that a repeatable source's first mint makes.
    pub renewal: RenewalPlan,
    /// The highest token number the session knows of: what a token minted without a store counts on from.
    pub known: Generation,
    /// Tells this process's unstored tokens from those of others.
    pub nonce: Nonce,
    /// A mark the session has seen before, and since when: from then on, the marked request's time-out passes for sure.
    pub doubt: Option<Doubt>,
    /// Whether callers wait for it.
    pub urgency: Urgency,
}

/// Which stored token makes a flight unnecessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// One above the floor, if there is one, that is good for `margin` yet.
    Above {
        /// The newest generation that will not do: it was refused, or is what the session has already.
        floor: Option<Generation>,
        /// What must be left of it; see [`Validity::is_good`](crate::values::Validity::is_good).
        margin: Duration,
    },
    /// None: the caller insists on a token that is minted now.
    Nothing,
}

/// A mark, and since when this process has known it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The flight that left it.
    pub flight: FlightId,
    /// When this process first saw it.
    pub seen: ElapsedTime,
}

/// Whom a flight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Callers wait.
    Callers,
    /// Nobody waits: an early refresh.
    Background,
    /// Nobody waits, and the machine has just woken up: to be spread.
    AfterResume,
}

/// How patient a flight is with the store. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTimeouts {
    /// How long one store operation may take (5 s).
    pub store_timeout: Duration,
    /// How long a claim is waited for. Longer than one whole flight, so that a restarted actor outwaits its own orphan
    /// (90 s).
    pub claim_wait: Duration,
    /// The pause between two attempts to claim, before jitter (50 ms).
    pub claim_pause: Duration,
    /// The most that may pass between the mark and the send, suspend included, before the record is read again (2 s).
    pub send_within: Duration,
    /// The first pause between two attempts to save; it doubles (500 ms).
    pub save_pause: Duration,
    /// The longest pause between two attempts to save (30 s).
    pub max_save_pause: Duration,
}

impl Default for StoreTimeouts {
    fn default() -> Self {
        Self {
            store_timeout: Duration::from_secs(5),
            claim_wait: Duration::from_secs(90),
            claim_pause: Duration::from_millis(50),
            send_within: Duration::from_secs(2),
            save_pause: Duration::from_millis(500),
            max_save_pause: Duration::from_secs(30),
        }
    }
}

/// What happens to a flight.
#[derive(Clone, Debug)]
pub enum FlightEvent {
    /// The issuer's permit was given.
    Permitted(Op),
    /// The issuer wants to be left alone for this long.
    Held(Op, Duration),
    /// No permit can be given out in this process.
    NoPermit(Op),
    /// A read is done.
    Loaded(Op, Result<Option<Box<Record>>, StoreFault>),
    /// An attempt to claim is done.
    Claimed(Op, Result<ClaimAnswer, StoreFault>),
    /// A renewal is done.
    Renewed(Op, Result<Renewed, StoreFault>),
    /// A write is done.
    Changed(Op, Result<Changed, StoreFault>),
    /// The source has reported.
    Sent(Op, Evidence),
    /// The time given by [`Flight::next_wake`] has come.
    Tick,
    /// The session was logged out of this epoch, and could not make it durable: a tombstone is to be saved instead of
    /// tokens.
    LoggedOut(Epoch),
    /// The runtime stops. What has been sent is still answered and saved; nothing new is begun; one last save.
    Shutdown,
}

/// What a flight wants done.
#[derive(Clone, Debug)]
pub enum FlightEffect {
    /// Ask the issuer for leave to make a request.
    AskPermit {
        /// Stamps the answer.
        op: Op,
        /// Whom to ask.
        issuer: Option<Issuer>,
        /// Whose turn it is.
        urgency: Urgency,
    },
    /// Give the leave back.
    ReturnPermit {
        /// What the issuer said about being left alone.
        throttle: Option<Duration>,
    },
    /// Read the record.
    Load(Op),
    /// Try to claim, without waiting.
    Claim {
        /// Stamps the answer.
        op: Op,
        /// The epoch to claim.
        epoch: Epoch,
        /// What the claim must outlast.
        at_least: Duration,
    },
    /// Make the claim last longer.
    Renew {
        /// Stamps the answer.
        op: Op,
        /// Which.
        claim: Claim,
        /// What the claim must outlast.
        at_least: Duration,
    },
    /// End the claim. No answer is awaited.
    EndClaim {
        /// Which.
        claim: Claim,
        /// Whether a mark of this flight is left behind.
        ending: ClaimEnding,
    },
    /// Write.
    Change(Op, Change),
    /// Send the token request, exactly once.
    Send(Op, Box<TokenRequest>),
    /// Revoke what nobody will use (RFC 7009). No answer is awaited.
    Revoke(Box<Revocation>),
    /// Tell the session.
    Report(Report),
}

/// One token request. A source sends it at most once, without redirects, retries or probes, and not after `not_after`.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The refresh token to present; `None` for a repeatable source.
    pub refresh: Option<RefreshToken>,
    /// The grant it belongs to, read under the claim; `None` for a repeatable source's first mint. An RT goes to this
    /// grant's token endpoint and nowhere else (law 13).
    pub grant: Option<Box<Grant>>,
    /// Which source this request is for, under which provider's dialect: the grant's own plan, where there is a grant.
    pub renewal: RenewalPlan,
    /// To be checked immediately before the first byte leaves: past it, report [`NotSent::TooLate`] instead.
    ///
    /// [`NotSent::TooLate`]: super::profile::NotSent::TooLate
    pub not_after: ElapsedTime,
    /// How long the request may take, from the first byte sent to the last one read.
    pub timeout: Duration,
}

/// Tokens to revoke.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Where they belong.
    pub binding: Binding,
    /// Which source revokes them, under which provider's dialect.
    pub renewal: RenewalPlan,
    /// The refresh token; it goes first.
    pub refresh: Option<RefreshCredential>,
}

/// What a flight tells its session.
#[derive(Clone, Debug)]
pub enum Report {
    /// The flight has a result. It comes once for each flight, before anything else.
    Landed(Landing),
    /// A flight that landed with something unsaved has saved it, or has nothing to save any more. The view is what the
    /// store holds now.
    Settled(Box<View>),
    /// The process stops and this flight's tokens could not be saved.
    Lost {
        /// Whether the mark at least says so: nobody will present the spent token again.
        noted: bool,
    },
}

/// A flight's result.
#[derive(Clone, Debug)]
pub struct Landing {
    /// What callers get out of it.
    pub outcome: Outcome,
    /// The record as the flight saw it last; `None` when it saw none.
    pub view: Option<Box<View>>,
    /// Whether something is still to be saved: the flight goes on, and no other may begin.
    pub keeping: bool,
}

/// What callers get out of a flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new token.
    Minted(Lease),
    /// A token that was there already: the view's.
    Adopted,
    /// The record has moved on: decide anew, from the view.
    Moved,
    /// No token, for now.
    Failed(Trouble),
    /// No token before a login.
    LoginRequired(Reason),
}

impl Outcome {
    /// No token, for the reason of `trouble`: until a login, or for now.
    fn without(trouble: Trouble) -> Self {
        if trouble.reason.is_login_required() {
            Outcome::LoginRequired(trouble.reason)
        } else {
            Outcome::Failed(trouble)
        }
    }
}
