//! Where a flight stands. Each phase carries what belongs to it, and nothing else.

use std::time::Duration;

use super::{Op, Outcome};
use crate::law::ledger::{Change, Commit};
use crate::ports::store::Claim;
use crate::values::record::{Held, Mark, Parked, Record, RefreshCredential};
use crate::values::{ElapsedTime, Epoch, FlightId, KeyedDigest, Moment};

/// The phases, in the order in which a flight that meets no trouble passes through them.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Waits for the issuer's leave.
    Permitting(Op),
    /// Reads before it claims: a sibling's token needs no claim, and the epoch to claim is the record's.
    Peeking(Op),
    /// Waits for the answer to its claim.
    Claiming { op: Op, asked: ElapsedTime },
    /// Lets the holder of the claim work.
    Pausing { until: ElapsedTime },
    /// Reads again, under the claim: only this read decides.
    Reading { op: Op, claim: HeldClaim },
    /// Writes the mark.
    Marking { op: Op, attempt: Attempt },
    /// Reads again, because too much time has passed since the record was last known to be as it was.
    Verifying { op: Op, attempt: Attempt, asked: ElapsedTime },
    /// Waits for the source. Nothing ends this phase but the source's report.
    Sending { op: Op, attempt: Attempt },
    /// Writes what the answer calls for, until it is written.
    Settling(Settlement),
    /// Has nothing more to do.
    Over,
}

/// A claim in our hands, with its end on our clock.
#[derive(Clone, Debug)]
pub(super) struct HeldClaim {
    pub(super) claim: Claim,
    /// When it was asked for: what the store said of its predecessors holds for what they did before.
    pub(super) asked: ElapsedTime,
    /// When it ends unless renewed; `None` while this process lives.
    pub(super) until: Option<ElapsedTime>,
    /// Whether the store says that it is ours no more. It is still ended: that tells others that we are gone.
    pub(super) lost: bool,
}

impl HeldClaim {
    /// A claim granted in answer to a question asked at `asked`: what remained is counted from then, to be safe.
    pub(super) fn new(claim: Claim, asked: ElapsedTime) -> Self {
        let until = claim.remaining.map(|remaining| asked.after(remaining));
        Self { claim, asked, until, lost: false }
    }

    /// Whether `mark` shows that somebody has held the claim after us: it was made in this boot since we asked for it.
    pub(super) fn was_lost_before(&self, mark: &Mark, now: &Moment) -> bool {
        mark.latest.boot == now.boot && mark.latest.elapsed >= self.asked
    }

    /// Whether at least `span` of it is left.
    pub(super) fn lasts(&self, span: Duration, now: ElapsedTime) -> bool {
        !self.lost && self.until.is_none_or(|until| until >= now.after(span))
    }
}

/// One attempt to obtain a token: what was decided under the claim.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// `None` where a repeatable source mints without one.
    pub(super) claim: Option<HeldClaim>,
    /// The record as it was read last; `None` where a repeatable source mints without it.
    pub(super) record: Option<Box<Record>>,
    /// The epoch the attempt belongs to.
    pub(super) epoch: Epoch,
    /// The token number reserved for it.
    pub(super) number: u64,
    /// What is presented; `None` for a repeatable source.
    pub(super) spend: Option<Spend>,
    /// When the record was last known to be as `record` says.
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
    /// The mark that was there before, in doubt.
    pub(super) earlier: Option<Mark>,
    /// The grace period a replay must arrive in, counted from the first presentation.
    pub(super) grace: Option<Duration>,
}

impl Attempt {
    /// The digest of what is presented.
    pub(super) fn sent(&self) -> Option<KeyedDigest> {
        self.spend.as_ref().map(|spend| spend.credential.digest())
    }

    /// Whether `record` still is what this attempt, by `flight`, marked.
    pub(super) fn still_marked(&self, record: Option<&Record>, flight: FlightId) -> bool {
        let Some(record) = record.filter(|record| record.epoch == self.epoch) else { return false };
        if record.grant().is_none_or(|grant| grant.parked.is_some()) {
            return false;
        }
        match (record.held(), &self.spend) {
            (Some(Held { credential, mark: Some(mark), .. }), Some(spend)) => {
                mark.flight == flight && *credential == spend.credential
            }
            _ => false,
        }
    }
}

/// Something that must be written before the flight is over.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) attempt: Attempt,
    pub(super) duty: Duty,
    /// What callers get.
    pub(super) outcome: Outcome,
    /// Whether they got it already: the flight is degraded, and goes on for the duty's sake.
    pub(super) landed: bool,
    /// Answers to earlier writes mean nothing for this duty.
    pub(super) since: Op,
    pub(super) step: Step,
    /// Writes that failed so far.
    pub(super) failures: u32,
}

/// Where a settlement's writing stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A write is under way, and is given up on at `limit`.
    Writing { op: Op, limit: ElapsedTime },
    /// The next attempt is due at `until`.
    Resting { until: ElapsedTime },
}

/// What must be written.
#[derive(Clone, Debug)]
pub(super) enum Duty {
    /// The tokens.
    Save(Box<Commit>),
    /// That the mark is void: nothing was spent.
    Withdraw { park: Option<Parked> },
    /// That the grant has ended.
    End,
    /// That the grant waits for a person.
    Park(Parked),
    /// The tombstone of a logout that could not be written, instead of tokens.
    WriteTombstone,
    /// That the token is spent or dead: the last words of a process that stops, with the successor that is lost with
    /// it, if there is one.
    MarkSpent { lost: Option<RefreshCredential> },
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
