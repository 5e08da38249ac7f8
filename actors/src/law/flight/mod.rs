//! The flight: the one running attempt to obtain a new token, as a pure state machine.
//!
//! ```text
//!                   ┌→ connect ───────────────────────┐
//! permit → read → claim → read again → decide ─┬──────┴→ mark → send → classify → save → release and report
//!            ↑      │     ↑                    ├─ adopt what a sibling obtained      │
//!            └──────┘     │                    └─ give up: no refresh token, or not allowed to present it
//!            contended:   └─────────────── answer lost: pause ───────────────────────┘
//!            pause
//! ```
//!
//! A flight that is going to present a refresh token connects while it reads the record again, and writes the mark once
//! the connection stands. A server that cannot be reached therefore costs no write. The request goes over this connection
//! only if the record that was read under the claim names the same token endpoint. Any other connection is dropped.
//!
//! A flight whose answer was lost presents its token once more by itself, under the same claim. Later presentations are
//! made by other flights, which the session begins.
//!
//! # Contract
//!
//! [`Flight::start`] gives the first effects; each completion goes to [`Flight::handle`] with the `op` of its effect.
//! A driver carries the effects out in order and never waits for one before it starts the next. It calls `handle` with
//! [`FlightEvent::Tick`] at [`Flight::next_wake`], and drops the machine when [`Flight::is_over`].
//!
//! A completion may come late, twice or never. The machine has a time-out for each, with three exceptions. The source
//! of [`FlightEffect::Send`] always answers. The queue of [`FlightEffect::AskPermit`] has its own time-out. The answer
//! to a save that is unanswered when the process stops decides whether a token is lost. A permit or a claim that was
//! given up may still be granted. The machine is not over until its answer comes, or the driver gives up.
//!
//! Dropping a machine before it is over is a crash. Its claim ends or runs out, and its mark stays.

mod approach;
mod connection;
mod decide;
mod departure;
mod machine;
mod phase;
mod settle;
mod stopping;

pub use machine::{Equipment, Flight};

use std::time::Duration;

use super::ledger::{Change, Changed};
use super::profile::{Evidence, NotSent, Trouble};
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding, Renewed};
pub use crate::values::record::Spending;
use crate::values::record::{Binding, Grant, Issuer, Record, RefreshCredential, RenewalPlan, View};
use crate::values::{
    AccessToken, Cause, ElapsedTime, Epoch, FlightId, Generation, Lease, Moment, Nonce, Reason, RefreshToken,
    StoreFault,
};

/// The number of an effect and its completion, unique within one flight or one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u32);

/// The instructions for a flight, with the session's knowledge at the time.
#[derive(Clone, Debug)]
pub struct Order {
    /// The flight's id.
    pub flight: FlightId,
    /// Why a token is wanted. It is stored with the new token.
    pub cause: Cause,
    /// The epoch of the flight. It ends if it reads a record of another epoch, and its session decides again.
    pub epoch: Epoch,
    /// Which stored token may be adopted instead of refreshing.
    pub adopt: Adopt,
    /// The issuer whose permit is asked for; `None` if the session knows no record.
    pub issuer: Option<Issuer>,
    /// The identity's renewal plan, as far as its session knows. It applies until a record with a grant is read, and to
    /// the record that a repeatable source's first mint makes.
    pub renewal: RenewalPlan,
    /// The newest generation that the session knows. A token that is minted without a store gets the next number after it.
    pub known: Generation,
    /// Distinguishes this process's unstored tokens from those of others.
    pub nonce: Nonce,
    /// A mark that the session has seen, and when it first saw it. The marked request began before that time.
    pub doubt: Option<Doubt>,
    /// Whether callers wait for the flight.
    pub urgency: Urgency,
}

/// Which stored token makes a flight unnecessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// A token above the floor, if there is a floor, that is good for at least `margin`.
    Above {
        /// The newest generation that must not be adopted, because it was refused or the session has it already.
        floor: Option<Generation>,
        /// The lifetime that must remain; see [`Validity::is_good`](crate::values::Validity::is_good).
        margin: Duration,
    },
    /// A token that was requested after this time, in the same boot, and that is good for at least `margin`. This is
    /// for a caller that insists on a newly minted token. Any process may have minted it.
    Since {
        /// When the flight was ordered. None of its callers came later.
        since: Moment,
        /// The lifetime that must remain, as for `Above`.
        margin: Duration,
    },
}

/// A mark, and when this process first saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The flight that made the mark.
    pub flight: FlightId,
    /// The count in the mark. A flight that presents its token again makes a second one.
    pub presentations: u32,
    /// When this process first saw it.
    pub seen: ElapsedTime,
}

/// The urgency of a flight's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Callers wait for it.
    Callers,
    /// No caller waits, as for an early refresh.
    Background,
    /// No caller waits, and the machine has just woken from suspend. Such requests are spread over time.
    AfterResume,
}

/// The time-outs and pauses of a flight's store operations. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTimeouts {
    /// The time-out of one store operation (5 s).
    pub store_timeout: Duration,
    /// How long a flight waits for a claim (5 min). Longer than one request and its writes, so that a restarted actor
    /// outlasts the flight of the previous one.
    pub claim_wait: Duration,
    /// The first pause between two attempts to claim, before jitter; it doubles (50 ms).
    pub claim_pause: Duration,
    /// The longest time between the mark and the send, suspend included, before the record is read again (2 s).
    pub send_within: Duration,
    /// The first pause between two attempts to save, before jitter; it doubles (500 ms).
    pub save_pause: Duration,
    /// The longest pause between two attempts to save (30 s).
    pub max_save_pause: Duration,
}

impl Default for StoreTimeouts {
    fn default() -> Self {
        Self {
            store_timeout: Duration::from_secs(5),
            claim_wait: Duration::from_secs(300),
            claim_pause: Duration::from_millis(50),
            send_within: Duration::from_secs(2),
            save_pause: Duration::from_millis(500),
            max_save_pause: Duration::from_secs(30),
        }
    }
}

/// An event for a flight.
#[derive(Clone, Debug)]
pub enum FlightEvent {
    /// The issuer's permit was granted.
    Permitted(Op),
    /// The issuer's limiter gives out no permits for this long.
    Held(Op, Duration),
    /// No permit can be granted in this process.
    NoPermit(Op),
    /// A read is done.
    Loaded(Op, Result<Option<Box<Record>>, StoreFault>),
    /// An attempt to claim is done.
    Claimed(Op, Result<ClaimAnswer, StoreFault>),
    /// A renewal is done.
    Renewed(Op, Result<Renewed, StoreFault>),
    /// A write is done.
    Changed(Op, Result<Changed, StoreFault>),
    /// The connection stands, or could not be established.
    Connected(Op, Result<(), ConnectFault>),
    /// The source has reported.
    Sent(Op, Evidence),
    /// The time that [`Flight::next_wake`] returned has come.
    Tick,
    /// The session was logged out of this epoch, and could not store the tombstone. The flight stores it instead of
    /// tokens.
    LoggedOut(Epoch),
    /// The runtime stops, and waits for its flights until this time. A request that was sent is still answered and saved.
    /// Nothing new begins. An unsaved token is saved again and again until shortly before this time. Only the first of
    /// these events counts.
    Shutdown(ElapsedTime),
}

/// An effect for the driver to carry out.
#[derive(Clone, Debug)]
pub enum FlightEffect {
    /// Ask the issuer's limiter for a permit.
    AskPermit {
        /// Stamps the answer.
        op: Op,
        /// The issuer.
        issuer: Option<Issuer>,
        /// The urgency, which decides the place in the queue.
        urgency: Urgency,
    },
    /// Return the permit.
    ReturnPermit {
        /// The issuer's `Retry-After`.
        throttle: Option<Duration>,
    },
    /// Tell the issuer's limiter of a `Retry-After` that came while the permit is kept.
    Throttle(Duration),
    /// Read the record.
    Load(Op),
    /// Try to claim, without waiting.
    Claim {
        /// Stamps the answer.
        op: Op,
        /// The epoch to claim.
        epoch: Epoch,
        /// How long the claim must last at least.
        at_least: Duration,
    },
    /// Renew the claim.
    Renew {
        /// Stamps the answer.
        op: Op,
        /// The claim.
        claim: Claim,
        /// How long the claim must last at least.
        at_least: Duration,
    },
    /// End the claim. There is no completion.
    EndClaim {
        /// The claim.
        claim: Claim,
        /// Whether a mark of this flight stays in the record.
        ending: ClaimEnding,
    },
    /// Write.
    Change(Op, Change),
    /// Connect to the token endpoint of this grant, for a request that may follow, and send nothing. The connection is kept
    /// until the next request or connection, or until the flight has reported.
    Connect(Op, Box<Grant>),
    /// Send the token request, exactly once.
    Send {
        /// Stamps the answer.
        op: Op,
        /// The request.
        request: Box<TokenRequest>,
        /// The [`Connect`](FlightEffect::Connect) whose connection the request goes over. `None` asks for a new connection.
        /// Any other connection is dropped.
        connection: Option<Op>,
    },
    /// Revoke tokens that will not be used (RFC 7009). There is no completion.
    Revoke(Box<Revocation>),
    /// Report to the session.
    Report(Report),
}

/// The reason why there is no connection. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// The source could not connect, or could not make the request.
    NotSent(NotSent),
    /// The issuer has been throttled for this long since the permit was granted.
    Throttled(Duration),
}

/// One token request. A source sends it at most once, without redirects, retries or probes, and not after `not_after`.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The refresh token to present; `None` for a repeatable source.
    pub refresh: Option<RefreshToken>,
    /// The grant it belongs to, read under the claim; `None` for a repeatable source's first mint. A refresh token goes
    /// to this grant's token endpoint and nowhere else (law 13).
    pub grant: Option<Box<Grant>>,
    /// The source that this request is for, and the provider whose dialect it uses. It is the grant's own plan, if
    /// there is a grant.
    pub renewal: RenewalPlan,
    /// The latest time to send. The source checks it immediately before the first byte leaves, and reports
    /// [`NotSent::TooLate`] if it has passed.
    ///
    /// [`NotSent::TooLate`]: super::profile::NotSent::TooLate
    pub not_after: ElapsedTime,
    /// How long the request may take, from the first byte sent to the last one read.
    pub timeout: Duration,
}

/// Tokens to revoke.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The issuer, the client and the endpoints of their grant.
    pub binding: Binding,
    /// The source that revokes them, and the provider whose dialect it uses.
    pub renewal: RenewalPlan,
    /// The refresh token. Its revocation also ends the access tokens of its grant (RFC 7009, section 2.1).
    pub refresh: Option<RefreshCredential>,
    /// The access token, if it is at hand and has not expired. It is revoked itself where there is no refresh token, or where the
    /// server revokes no refresh tokens.
    pub access: Option<AccessToken>,
}

/// A flight's report to its session.
#[derive(Clone, Debug)]
pub enum Report {
    /// The flight has a result. A flight reports this once, before any other report.
    Landed(Landing),
    /// A flight that landed with an unsaved token has saved it, or need not save it any more. The view is of the stored
    /// record.
    Settled(Box<View>),
    /// The process stops, and this flight's tokens could not be saved.
    Lost {
        /// Whether the mark was turned to spent, so that no flight presents the spent token again.
        noted: bool,
    },
}

/// A flight's result.
#[derive(Clone, Debug)]
pub struct Landing {
    /// The result for the callers.
    pub outcome: Outcome,
    /// The record as the flight read it last; `None` if it read none.
    pub view: Option<Box<View>>,
    /// Whether a token is still to be saved. The flight then goes on, and no other may begin.
    pub keeping: bool,
    /// How many token requests the flight has sent.
    pub requests: u32,
}

/// The result of a flight for the callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new token.
    Minted(Lease),
    /// The stored token in the view.
    Adopted,
    /// The record has changed. The session decides again, from the view.
    Moved,
    /// No token, for now.
    Failed(Trouble),
    /// No token until a login.
    LoginRequired(Reason),
}

impl Outcome {
    /// The outcome without a token for the reason of `trouble`, until a login or for now.
    fn without(trouble: Trouble) -> Self {
        if trouble.reason.is_login_required() {
            Outcome::LoginRequired(trouble.reason)
        } else {
            Outcome::Failed(trouble)
        }
    }
}
