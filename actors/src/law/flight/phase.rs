//! The phases of a flight. Each carries its own data.
//!
//! [`Phase`] has no default, and a handler returns the phase that follows by value. No phase is ever made by omission.

use std::time::Duration;

use super::{Op, Outcome};
use crate::law::ledger::{Change, Commit};
use crate::ports::store::Claim;
use crate::values::record::{Grant, Held, Mark, Parked, Record, RefreshCredential};
use crate::values::{ElapsedTime, Epoch, FlightId, KeyedDigest, Moment};

/// The phases, in the order in which a flight that meets no trouble passes through them.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Waits for the issuer's permit.
    Permitting(Op),
    /// Reads the record before it claims.
    Peeking(Op),
    /// Waits for the store's answer to its claim. It connects for the grant `ahead` once it has the claim.
    Claiming { op: Op, asked: ElapsedTime, ahead: Option<Box<Grant>> },
    /// Another flight holds the claim. Tries again at `until`.
    Pausing { until: ElapsedTime },
    /// Reads again, under the claim. The decision is made from this read.
    Reading { op: Op, claim: HeldClaim },
    /// Waits for the connection before it writes the mark. It decides again then.
    Connecting { op: Op, claim: HeldClaim, record: Box<Record>, credential: RefreshCredential, earlier: Option<Mark> },
    /// Writes the mark.
    Marking { op: Op, attempt: Attempt },
    /// Reads again, because the last read is too old for the request to be sent.
    Verifying { op: Op, attempt: Attempt, asked: ElapsedTime },
    /// Waits for the source. Only the source's report ends this phase.
    Sending { op: Op, attempt: Attempt },
    /// The answer was lost. Presents the token once more at `until`, under the same claim, after reading again.
    Repeating { until: ElapsedTime, claim: HeldClaim, record: Option<Box<Record>> },
    /// Writes what the answer calls for, until it is written.
    Settling(Settlement),
    /// The flight is over.
    Over,
}

/// A claim that this flight holds, with its end on this machine's clock.
#[derive(Clone, Debug)]
pub(super) struct HeldClaim {
    pub(super) claim: Claim,
    /// When it was asked for. The store's answer about predecessors covers what they did before this time.
    pub(super) asked: ElapsedTime,
    /// When it ends unless renewed; `None` for a claim that lasts as long as the process.
    pub(super) until: Option<ElapsedTime>,
    /// Whether the store reported it lost. It is ended all the same, so that other flights learn that this one is over.
    pub(super) lost: bool,
}

impl HeldClaim {
    /// A claim that was requested at `asked`. Its remaining time is counted from the request, to be safe.
    pub(super) fn new(claim: Claim, asked: ElapsedTime) -> Self {
        let until = claim.remaining.map(|remaining| asked.after(remaining));
        Self { claim, asked, until, lost: false }
    }

    /// Whether `mark` shows that another flight has held the claim since. Such a mark was made in this boot, after this
    /// claim was requested.
    pub(super) fn was_lost_before(&self, mark: &Mark, now: &Moment) -> bool {
        mark.latest.boot == now.boot && mark.latest.elapsed >= self.asked
    }

    /// Whether at least `span` of it is left.
    pub(super) fn lasts(&self, span: Duration, now: ElapsedTime) -> bool {
        !self.lost && self.until.is_none_or(|until| until >= now.after(span))
    }
}

/// One attempt to obtain a token, as decided under the claim.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The claim; `None` if a repeatable source mints without one.
    pub(super) claim: Option<HeldClaim>,
    /// The record as it was read last; `None` if a repeatable source mints without it.
    pub(super) record: Option<Box<Record>>,
    /// The epoch the attempt belongs to.
    pub(super) epoch: Epoch,
    /// The token number reserved for it.
    pub(super) number: u64,
    /// The refresh token to present; `None` for a repeatable source.
    pub(super) spend: Option<Spend>,
    /// When the store last confirmed `record`.
    pub(super) checked: ElapsedTime,
    /// Reads after the mark so far.
    pub(super) verified: u32,
    /// Whether the one resend with a nonce was made (law 3).
    pub(super) resent: bool,
}

/// The refresh token an attempt presents.
#[derive(Clone, Debug)]
pub(super) struct Spend {
    pub(super) credential: RefreshCredential,
    pub(super) mark: Mark,
    /// The mark in doubt that was there before.
    pub(super) earlier: Option<Mark>,
}

impl Attempt {
    /// The digest of the refresh token to present.
    pub(super) fn sent(&self) -> Option<KeyedDigest> {
        self.spend.as_ref().map(|spend| spend.credential.digest())
    }

    /// Whether the request may be sent once more with a nonce (law 3). A refresh without a DPoP key would present the same
    /// request, which the server has just refused.
    pub(super) fn may_resend(&self) -> bool {
        let grant = self.record.as_deref().and_then(Record::grant);
        let proves = self.spend.is_none() || grant.is_some_and(|grant| grant.dpop_key.is_some());
        proves && !self.resent
    }

    /// Whether `record` still holds the refresh token and the mark of this attempt, which belongs to `flight`.
    pub(super) fn still_marked(&self, record: Option<&Record>, flight: FlightId) -> bool {
        let Some(record) = record.filter(|record| record.epoch == self.epoch) else { return false };
        let parked = |record: &Record| record.grant().map(|grant| grant.parked);
        if parked(record) != self.record.as_deref().and_then(parked) {
            return false;
        }
        match (record.held(), &self.spend) {
            (Some(Held { credential, mark: Some(mark), .. }), Some(spend)) => {
                // The flight may be presenting its token again, so an earlier mark may also be its own.
                mark.flight == flight && mark.number == spend.mark.number && *credential == spend.credential
            }
            _ => false,
        }
    }
}

/// A write that must succeed before the flight is over.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) attempt: Attempt,
    pub(super) duty: Duty,
    /// The result for the callers.
    pub(super) outcome: Outcome,
    /// Whether the result was reported already. The flight is then degraded, and goes on until its duty is done.
    pub(super) landed: bool,
    /// Answers to writes up to this one do not belong to this duty.
    pub(super) since: Op,
    pub(super) step: Step,
    /// Writes that failed so far.
    pub(super) failures: u32,
    /// The writes of this duty that the store has not answered. Each may still succeed.
    pub(super) unanswered: Vec<Op>,
    /// Whether the mark shows that the refresh token is spent, because the process stops.
    pub(super) noted: bool,
}

/// The progress of a settlement's write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A write is in flight. It times out at `limit`.
    Writing { op: Op, limit: ElapsedTime },
    /// The next attempt is due at `until`.
    Resting { until: ElapsedTime },
    /// The process stops, and no further write is made. The answers to the unanswered writes decide. The flight wakes at
    /// `until`, only because no sleep is longer than a minute.
    Awaiting { until: ElapsedTime },
}

/// The kind of write that must succeed.
#[derive(Clone, Debug)]
pub(super) enum Duty {
    /// Store the new tokens.
    Save(Box<Commit>),
    /// Withdraw the mark, because nothing was spent.
    Withdraw { park: Option<Parked> },
    /// Note that the grant has ended.
    End,
    /// Park the grant until a login replaces it.
    Park(Parked),
    /// Write the tombstone of a logout that could not be stored, instead of the tokens.
    WriteTombstone,
    /// Note that the refresh token is spent or dead, because the process stops. `lost` has its successor, if there is
    /// one.
    MarkSpent { lost: Option<Box<Commit>> },
}

impl Duty {
    /// The write for this duty.
    pub(super) fn change(&self, attempt: &Attempt, flight: FlightId) -> Option<Change> {
        let epoch = attempt.epoch;
        Some(match self {
            Duty::Save(commit) => Change::Commit(commit.clone()),
            Duty::Withdraw { park } => {
                let earlier = attempt.spend.as_ref().and_then(|spend| spend.earlier.clone());
                Change::Withdraw { epoch, flight, sent: attempt.sent()?, earlier, park: *park }
            }
            Duty::End => Change::End { epoch, sent: attempt.sent()? },
            Duty::Park(why) => Change::Park { epoch, why: *why },
            Duty::WriteTombstone => Change::Clear { epoch },
            Duty::MarkSpent { .. } => Change::Spent { epoch, flight, sent: attempt.sent()? },
        })
    }
}
