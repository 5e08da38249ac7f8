//! The phases of a login attempt. Each carries the data that only it needs. The methods of the neighbouring files lead from
//! one phase to the next.

use std::time::Duration;

use crate::law::flight::Op;
use crate::law::ledger::Login;
use crate::ports::login::{AuthorizationCode, Prepared};
use crate::ports::store::{Claim, PendingLogin};
use crate::values::record::{Prompt, PromptEnd};
use crate::values::{Callback, ElapsedTime, Epoch, LoginKey, LoginReason, WallTime};

/// A phase of an attempt, and the operation it waits for.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Asks for the login claim.
    Claiming { op: Op },
    /// Another process asks a person. Reads the record on news, and asks for the claim again at `retry_at`.
    Following { retry_at: ElapsedTime, reading: Option<Op> },
    /// Reads the record under the claim.
    Reading { op: Op },
    /// Another process redeems an answer. Reads the record again on news, or at `until`.
    Awaiting { until: ElapsedTime },
    /// Writes into the record that the process that redeemed an answer has died.
    EndingStale { op: Op },
    /// Reads the pending login of an open prompt whose process has died.
    Peeking { op: Op, prompt: Box<Prompt> },
    /// Waits until the login source has prepared the prompt.
    Preparing { op: Op },
    /// Stores the pending login.
    Putting { op: Op, prepared: Prepared, pending: Box<PendingLogin> },
    /// Writes the prompt into the record.
    Asking { op: Op, prepared: Prepared, pending: Box<PendingLogin> },
    /// Gets ready to show the prompt. `taken_over` is set if another process or attempt has written it.
    Showing { op: Op, shown: Shown, taken_over: bool },
    /// Waits for the person.
    Open(Open),
    /// Takes the pending login out of the store. Without a callback the prompt is being cancelled.
    Taking(Taking),
    /// Waits for the login source's judgement of the person's answer.
    Judging { op: Op, pending: Box<PendingLogin>, key: LoginKey },
    /// Asks for the right to spend the refresh token that the login replaces, until `until` at the latest.
    ClaimingSpend { step: SpendStep, code: Answered, until: ElapsedTime },
    /// Writes into the record that the answer is being redeemed.
    Noting { op: Op, code: Answered },
    /// The code was sent, or is about to be.
    Redeeming { op: Op, code: Answered },
    /// Waits before it tries again to send a code that was not sent.
    Pausing { until: ElapsedTime, code: Answered },
    /// Stores the login.
    Keeping(Keeping),
    /// Writes into the record how the prompt ended.
    Ending { op: Op, ending: Ending },
    /// Nothing is left to do.
    Over,
}

/// A prompt that is shown, or about to be.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) key: LoginKey,
    pub(super) pending: Box<PendingLogin>,
    /// When the prompt expires, by the wall clock. The pending login lasts longer.
    pub(super) expires: WallTime,
}

/// A prompt that waits for the person.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) shown: Shown,
    /// When the prompt expires, by elapsed time.
    pub(super) until: ElapsedTime,
    /// The read in flight after news, or the time of the next read after a failed one.
    pub(super) reading: Option<Repeat>,
    /// The polls of a device login.
    pub(super) polling: Option<Polling>,
    /// Why the prompt is to end once the poll in flight has its answer, which may be the tokens.
    pub(super) leaving: Option<Leaving>,
}

/// The polls of a device login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Polling {
    /// The poll in flight, or the time of the next one.
    pub(super) step: Repeat,
    /// The pause before each poll.
    pub(super) pause: Duration,
}

/// An operation in flight, or the time of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    At(ElapsedTime),
    Waiting(Op),
}

/// Why an open prompt ends without an answer to this attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    TimedOut,
    Cancelled,
    LoggedOut,
    ShuttingDown,
    /// The record was changed by another process.
    Overtaken,
}

/// A pending login that is being taken out of the store.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    pub(super) step: TakeStep,
    pub(super) key: LoginKey,
    /// The person's answer; `None` if the prompt is being cancelled.
    pub(super) callback: Option<Callback>,
    pub(super) tries: u32,
    /// Whether an earlier try may have taken the pending login out.
    pub(super) maybe_taken: bool,
    /// Earlier tries that have no answer yet.
    pub(super) unanswered: Vec<Op>,
}

/// A step in taking a pending login out of the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum TakeStep {
    /// The store was asked for it.
    Asked(Op),
    /// Tries again at this time.
    Resting(ElapsedTime),
    /// The store does not have the pending login any more. An earlier try that has no answer yet may bring it, and is
    /// waited for until this time.
    Gone(ElapsedTime),
}

/// A person's answer with a code, which this attempt alone may present.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) key: LoginKey,
    pub(super) pending: Box<PendingLogin>,
    pub(super) code: AuthorizationCode,
    /// How many tries to write that the answer is being redeemed have failed.
    pub(super) tries: u32,
    /// How many times the login source could not send the code.
    pub(super) unsent: u32,
}

/// A step towards the right to spend.
#[derive(Clone, Copy, Debug)]
pub(super) enum SpendStep {
    /// The store was asked for the claim.
    Asked(Op),
    /// Tries again at this time.
    Resting(ElapsedTime),
}

/// A login that is being stored.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    pub(super) login: Box<Login>,
    pub(super) key: LoginKey,
    /// The epoch that the login is to replace.
    pub(super) epoch: Epoch,
    /// The latest operation before the first one that stores the login. Answers to earlier operations do not belong to
    /// this phase.
    pub(super) since: Op,
    pub(super) step: KeepStep,
    /// How many tries to store the login have failed.
    pub(super) failures: u32,
    /// Whether the callers have been answered with the unstored lease.
    pub(super) concluded: bool,
    /// Whether a write was not answered, so that the login may be stored.
    pub(super) maybe_stored: bool,
}

/// A step in storing a login.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeepStep {
    /// Reserves the refresh token. The operation times out at `limit`.
    Reserving { op: Op, limit: ElapsedTime },
    /// Writes the login. The operation times out at `limit`.
    Writing { op: Op, limit: ElapsedTime },
    /// Tries again at `until`.
    Resting { until: ElapsedTime },
}

/// The end of a prompt, which is being written into the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) key: LoginKey,
    pub(super) end: PromptEnd,
    pub(super) reason: LoginReason,
    /// How many writes were tried.
    pub(super) tries: u32,
}

/// A claim that the attempt holds.
#[derive(Clone, Debug)]
pub(super) struct HeldClaim {
    pub(super) claim: Claim,
    /// When it runs out; `None` for the life of the process.
    pub(super) until: Option<ElapsedTime>,
    /// When it was asked for or renewed last.
    pub(super) asked: ElapsedTime,
    /// The renewal in flight.
    pub(super) renewal: Option<Op>,
    /// Whether the store has reported the claim lost.
    pub(super) lost: bool,
}

impl HeldClaim {
    /// Whether another process may hold the claim by now.
    pub(super) fn is_over(&self, now: ElapsedTime) -> bool {
        self.lost || self.until.is_some_and(|until| until <= now)
    }

    /// When the claim is to be renewed, which is half of `at_least` before it runs out, but not within `store_timeout` of
    /// the last renewal. `None` for a claim that is lost or that needs no renewal.
    pub(super) fn renewal_due(&self, at_least: Duration, store_timeout: Duration) -> Option<ElapsedTime> {
        let until = self.until.filter(|_| !self.lost)?;
        Some(until.before(at_least / 2).max(self.asked.after(store_timeout)))
    }
}

/// The next step after the record was read.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    /// A login or a logout has begun a new epoch, or another attempt's prompt has ended.
    Conclude(Result<(), LoginReason>),
    /// Another process redeems an answer, until this time at the latest.
    Await(ElapsedTime),
    /// The process that redeemed the answer to this prompt has died.
    EndStale(Box<Prompt>),
    /// This prompt is open, and its process has died or its attempt has ended.
    TakeOver(Box<Prompt>),
    /// No prompt is open.
    Ask,
}
