//! The login attempt, from the wish to sign in to the stored login, as a pure state machine (laws 17 to 25).
//!
//! ```text
//!                                            ┌─ person: yes ─→ take → judge → claim the right to spend → note → redeem ─→ reserve → install
//! claim → read → prepare → put → note → show ┤                                                            │
//!   │       │ the process of an open prompt  ├─ person: no, cancelled, too late ─→ note the end           └─ refused, lost: note the end
//!   │       │ has died: show its prompt again└─ answered in another process: follow
//!   └ contended: follow the prompt of the process that asks
//! ```
//!
//! *Claim* takes the login claim. *Prepare*, *show*, *judge* and *redeem* are calls of the [login
//! source](crate::ports::login::LoginSource). *Put* stores the pending login, and *take* removes it from the store. *Note*
//! writes the prompt's state into the record. To *follow* is to wait for the result of another process's prompt.
//!
//! The processes that share a store, on any host, agree through the record's
//! [`Prompt`](crate::values::record::Prompt). The login claim makes sure that only one prompt is open at a time. The claim
//! ends with its process, and another process then takes the prompt over and shows the same address. A process takes the
//! pending login out of the store before it presents the code, so a code is presented once (law 19).
//!
//! An answer may arrive in another process than the one that shows the prompt, for example at another host behind the same
//! callback address. It begins an attempt there, which starts at *take*.
//!
//! # Contract
//!
//! The contract is that of a [flight](super::flight). [`LoginAttempt::start`] gives the first effects, and each
//! completion goes to [`LoginAttempt::handle`] with the number of its effect ([`Op`]). A driver starts the effects in
//! order and never waits for one before it starts the next. It calls `handle` with [`LoginEvent::Tick`] at
//! [`LoginAttempt::next_wake`], and drops the machine when [`LoginAttempt::is_over`].
//!
//! A driver never drops a redemption that was sent, even if the callers, the actor or the session end. Dropping the machine
//! before it is over counts as a crash of the process. The attempt's claims then end or run out, and its prompt stays.

mod answering;
mod asking;
mod claims;
mod ending;
mod keeping;
mod machine;
mod open;
mod phase;

pub use machine::LoginAttempt;

use std::time::Duration;

use super::flight::{Op, Revocation, StoreTimeouts};
use super::ledger::{Change, Changed};
use crate::ports::login::{AuthorizationCode, Polled, Preparation, Prepared, Redeemed, Redemption};
use crate::ports::store::{Claim, ClaimAnswer, ClaimScope, PendingLogin, Renewed, Reservation};
use crate::values::record::{Record, View};
use crate::values::{
    AttemptId, Callback, DigestKey, ElapsedTime, Epoch, Generation, KeyedDigest, Lease, LoginKey, LoginMethod,
    LoginOffer, LoginReason, Nonce, Scopes, StoreFault,
};

/// The instructions for an attempt, with the session's knowledge at the time.
#[derive(Clone, Debug)]
pub struct LoginOrder {
    /// The attempt's id.
    pub attempt: AttemptId,
    /// The epoch that the login is to replace. The attempt ends if it reads a record of another epoch.
    pub epoch: Epoch,
    /// The task.
    pub task: LoginTask,
    /// The newest generation that the session knows. A lease that is served before it is stored gets the next number after
    /// it.
    pub known: Generation,
    /// Distinguishes this process's unstored tokens from those of other processes.
    pub nonce: Nonce,
}

/// The task of an attempt.
#[derive(Clone, Debug)]
pub enum LoginTask {
    /// Ask a person.
    Ask(LoginWish),
    /// Complete a login with the answer to a prompt that another process or an earlier attempt has shown.
    Complete(Callback),
}

/// A wish to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginWish {
    /// The scopes that are needed. The grant's scopes are asked for too if the login extends the grant, or if none are
    /// named here.
    pub scopes: Scopes,
    /// How to ask.
    pub method: LoginMethod,
    /// Whether only the person who is signed in already may replace the grant.
    pub same_subject: bool,
    /// Whether the login extends the grant (step-up), rather than begin anew.
    pub extends: bool,
}

/// The settings that all attempts of a process share.
#[derive(Clone, Debug)]
pub struct LoginEquipment {
    /// How long an attempt waits for the store.
    pub timeouts: StoreTimeouts,
    /// The store's digest key.
    pub digests: DigestKey,
    /// The times of an attempt.
    pub limits: LoginLimits,
}

/// The times of an attempt. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// How long the preparation may take (30 s).
    pub prepare: Duration,
    /// How long a person has to answer (10 min). Only the prompt has this deadline (law 18).
    pub prompt: Duration,
    /// How long an answer still counts after its prompt has timed out (10 min). It is redeemed if no other login came first.
    pub late: Duration,
    /// How long an attempt follows the prompt of another process, before it gives up (20 min).
    pub follow: Duration,
    /// How long an attempt waits for the spend claim of the grant that its login replaces (10 s). After that it presents the
    /// code without the claim, because a code expires soon.
    pub spend_wait: Duration,
    /// The time-out of a redemption, from the first byte sent to the last one read (60 s).
    pub redeem: Duration,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            prepare: Duration::from_secs(30),
            prompt: Duration::from_secs(600),
            late: Duration::from_secs(600),
            follow: Duration::from_secs(1_200),
            spend_wait: Duration::from_secs(10),
            redeem: Duration::from_secs(60),
        }
    }
}

/// An event for an attempt.
#[derive(Clone, Debug)]
pub enum LoginEvent {
    /// The store has answered [`LoginEffect::Claim`].
    Claimed(Op, Result<ClaimAnswer, StoreFault>),
    /// The store has answered [`LoginEffect::Renew`].
    Renewed(Op, Result<Renewed, StoreFault>),
    /// The store has answered [`LoginEffect::Load`].
    Loaded(Op, Result<Option<Box<Record>>, StoreFault>),
    /// The login source has prepared the prompt, or cannot.
    Prepared(Op, Result<Prepared, LoginReason>),
    /// The pending login was stored, or not.
    Put(Op, Result<(), StoreFault>),
    /// The store has answered [`LoginEffect::Peek`].
    Peeked(Op, Result<Option<Box<PendingLogin>>, StoreFault>),
    /// A pending login was taken out of the store, or not.
    Taken(Op, Result<Option<Box<PendingLogin>>, StoreFault>),
    /// The prompt can be shown, or not.
    Shown(Op, Result<LoginOffer, LoginReason>),
    /// The login source has judged the person's answer.
    Judged(Op, Result<AuthorizationCode, LoginReason>),
    /// The login source has reported on the redemption.
    Redeemed(Op, Redeemed),
    /// The login source has asked the server once whether the person has answered.
    Polled(Op, Polled),
    /// The refresh token of the login was reserved, or not.
    Reserved(Op, Result<Reservation, StoreFault>),
    /// The store has answered [`LoginEffect::Change`].
    Changed(Op, Result<Changed, StoreFault>),
    /// A person's answer has arrived. It is used if it answers the prompt that this attempt shows, and ignored otherwise.
    /// An answer to another prompt needs its own attempt, with [`LoginTask::Complete`].
    Callback(Callback),
    /// More scopes are needed. They are asked for if the prompt is not prepared yet.
    Widen(Scopes),
    /// The host or the person cancels the attempt.
    Cancel,
    /// The store reports that the record was written, or may have been.
    News,
    /// The session is being logged out of this epoch.
    LoggedOut(Epoch),
    /// The session has learned of this epoch, which began with a login or a logout outside this attempt.
    Moved(Epoch),
    /// The time that [`LoginAttempt::next_wake`] returned has come.
    Tick,
    /// The runtime stops, and waits for its attempts until this time. An answer that has arrived is still redeemed and
    /// saved. No person is asked any more.
    Shutdown(ElapsedTime),
}

/// An effect for the driver to carry out.
#[derive(Clone, Debug)]
pub enum LoginEffect {
    /// Try to claim, without waiting.
    Claim {
        /// The number that the answer carries.
        op: Op,
        /// The right that the claim gives.
        scope: ClaimScope,
        /// How long the claim must last at least.
        at_least: Duration,
    },
    /// Renew the claim.
    Renew {
        /// The number that the answer carries.
        op: Op,
        /// The claim.
        claim: Claim,
        /// How long the claim must last at least.
        at_least: Duration,
    },
    /// End the claim. There is no completion.
    EndClaim(Claim),
    /// Read the record.
    Load(Op),
    /// Prepare the prompt.
    Prepare(Op, Box<Preparation>),
    /// Store the pending login.
    Put(Op, LoginKey, Box<PendingLogin>),
    /// Read a pending login and leave it in the store.
    Peek(Op, LoginKey),
    /// Take a pending login out of the store.
    Take(Op, LoginKey),
    /// Remove a pending login that will not be used. There is no completion.
    Discard(LoginKey),
    /// Get ready to show the prompt of a pending login.
    Show(Op, Box<PendingLogin>),
    /// Judge a person's answer.
    Judge(Op, Box<PendingLogin>, Callback),
    /// Present the code, exactly once.
    Redeem(Op, Box<Redemption>),
    /// Ask once whether the person has answered.
    Poll(Op, Box<PendingLogin>),
    /// Reserve a refresh token's digest.
    Reserve(Op, KeyedDigest),
    /// Write the record.
    Change(Op, Change),
    /// Revoke tokens that will not be used (RFC 7009). There is no completion.
    Revoke(Box<Revocation>),
    /// Report to the session.
    Report(LoginReport),
}

/// An attempt's report to its session.
#[derive(Clone, Debug)]
pub enum LoginReport {
    /// The record as the attempt has read or written it. The session may not know this version yet.
    Seen(Box<View>),
    /// The host is to show this prompt.
    Offered(LoginKey, Box<LoginOffer>),
    /// Another process asks a person, or has asked one.
    Elsewhere,
    /// An answer is being redeemed. Until the attempt concludes, callers wait, and nothing of the old grant is presented.
    Arriving,
    /// The attempt has its result. An attempt reports this once.
    Concluded(Box<LoginConclusion>),
    /// An attempt that concluded with an unstored login has stored it, or need not store it any more.
    Settled(Box<View>),
    /// The process stops, and no write of this login's tokens is known to have succeeded. Their revocation was asked for,
    /// unless an unanswered write may have stored them.
    Lost,
}

/// An attempt's result.
#[derive(Clone, Debug)]
pub struct LoginConclusion {
    /// Whether the login was installed, or the reason why not.
    pub result: Result<(), LoginReason>,
    /// The last record that the attempt read or wrote; `None` if it read none.
    pub view: Option<Box<View>>,
    /// The login's lease, if the login is not stored yet. The attempt then goes on until it has stored the login (law 21).
    pub unstored: Option<Lease>,
}
