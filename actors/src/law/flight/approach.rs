//! From the issuer's leave to the decision: read, claim, read again (law 2).

use std::sync::Arc;
use std::time::Duration;

use super::decide::{self, Decision};
use super::machine::Flight;
use super::phase::{HeldClaim, Phase};
use super::{FlightEffect, Outcome, Spending};
use crate::law::profile::Trouble;
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope, Predecessor};
use crate::values::record::{Issuer, Record};
use crate::values::{ElapsedTime, Now, Reason, StoreFault};

/// The longest pause between two attempts to claim.
const CLAIM_PAUSE_MOST: Duration = Duration::from_secs(1);

impl Flight {
    pub(super) fn peek(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        let op = self.load(now, effects);
        self.phase = Phase::Peeking(op);
    }

    pub(super) fn peeked(
        &mut self,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        match answer.map(|record| (self.decision(record.as_deref(), now), record)) {
            Ok((Ok(_), _)) => self.claim(now, effects),
            Ok((Err(outcome), record)) => self.land(outcome, record.as_deref(), None, effects),
            Err(_) => self.without_store(now, effects),
        }
    }

    fn claim(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        self.claiming_since.get_or_insert(now.elapsed());
        let op = self.stamp_store_op(now);
        let (epoch, at_least) = (self.order.epoch, self.claim_length());
        effects.push(FlightEffect::Claim { op, epoch, at_least });
        self.phase = Phase::Claiming { op, asked: now.elapsed() };
    }

    pub(super) fn claimed(
        &mut self,
        asked: ElapsedTime,
        answer: Result<ClaimAnswer, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        let failed = |reason| Outcome::Failed(Trouble::new(reason));
        match answer {
            Ok(ClaimAnswer::Granted(claim)) => self.read_again(HeldClaim::new(claim, asked), now, effects),
            Ok(ClaimAnswer::Contended) if self.waited(now) >= self.equipment.timeouts.claim_wait => {
                self.land(failed(Reason::Contended), None, None, effects);
            }
            Ok(ClaimAnswer::Contended) => {
                let pause = self.equipment.timeouts.claim_pause.saturating_mul(1 << self.contentions.min(10));
                let pause = pause.min(CLAIM_PAUSE_MOST);
                self.contentions += 1;
                self.phase = Phase::Pausing { until: now.elapsed().after(pause + now.jitter.of(pause)) };
            }
            Ok(ClaimAnswer::Unsupported) if self.plan.spending == Spending::Repeatable => {
                self.mint(None, None, now, effects);
            }
            Ok(ClaimAnswer::Unsupported) => self.land(failed(Reason::ClaimsUnsupported), None, None, effects),
            Err(fault) => {
                if fault == StoreFault::TimedOut {
                    self.end_perhaps_claimed(effects);
                }
                self.without_store(now, effects);
            }
        }
    }

    /// Ends a claim that may have been taken although the store did not say so.
    fn end_perhaps_claimed(&self, effects: &mut Vec<FlightEffect>) {
        let claim = Claim {
            holder: self.id(),
            scope: ClaimScope::Spend(self.order.epoch),
            remaining: None,
            predecessor: Predecessor::MayLive,
        };
        effects.push(FlightEffect::EndClaim { claim, ending: ClaimEnding::Released });
    }

    /// How long the claim has been waited for.
    fn waited(&self, now: Now) -> Duration {
        self.claiming_since.map_or(Duration::ZERO, |since| now.elapsed().since(since))
    }

    pub(super) fn read_again(&mut self, claim: HeldClaim, now: Now, effects: &mut Vec<FlightEffect>) {
        let op = self.load(now, effects);
        self.phase = Phase::Reading { op, claim };
    }

    pub(super) fn read(
        &mut self,
        claim: HeldClaim,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        let Ok(record) = answer else {
            self.end_claim(Some(claim), ClaimEnding::Released, effects);
            return self.without_store(now, effects);
        };
        match (self.decision(record.as_deref(), now), record) {
            // Its word about predecessors is too old for this mark: only a new claim, by a new flight, has a new one.
            (Ok(Decision::Present { mark: Some(mark), .. }), Some(record))
                if claim.was_lost_before(&mark, &now.moment) =>
            {
                self.land(Outcome::Moved, Some(&record), Some(claim), effects);
            }
            (Ok(Decision::Present { credential, mark }), Some(record)) => {
                self.present(claim, record, credential, mark, now, effects);
            }
            (Ok(_), record) => self.mint(Some(claim), record, now, effects),
            (Err(outcome), record) => self.land(outcome, record.as_deref(), Some(claim), effects),
        }
    }

    /// What the record allows; `Err` where that ends the flight at once.
    pub(super) fn decision(&mut self, record: Option<&Record>, now: Now) -> Result<Decision, Outcome> {
        if record.is_some_and(|record| record.epoch != self.order.epoch) {
            // Another login or logout: the claim would be, or is, for an epoch that is over.
            return Err(Outcome::Moved);
        }
        self.follow_plan(record);
        match decide::decide(record, self.order.adopt, self.plan.spending, &now.moment) {
            Decision::Adopt => Err(Outcome::Adopted),
            Decision::LoginRequired(reason) => Err(Outcome::LoginRequired(reason)),
            // The permit came from another issuer's queue than the one the record is bound to (law 13).
            _ if record.is_some_and(|record| issuer_of(record) != self.order.issuer.as_ref()) => Err(Outcome::Moved),
            // Before the mark, so that nothing is in doubt.
            _ if !self.equipment.provides(&self.plan) => Err(self.source_missing()),
            decision => Ok(decision),
        }
    }

    /// Takes the plan of the grant in `record`, and its profile; without a grant, those of the order.
    fn follow_plan(&mut self, record: Option<&Record>) {
        let plan = record.and_then(Record::grant).map_or(&self.order.renewal, |grant| &grant.renewal);
        if *plan != self.plan {
            self.profile = Arc::new(self.equipment.profiles.of(plan));
            self.plan = plan.clone();
        }
    }

    /// The outcome where this process has no source of the name and kind that the plan says.
    fn source_missing(&self) -> Outcome {
        Outcome::Failed(Trouble::new(Reason::SourceMissing))
    }

    /// The store cannot be used. Nobody spends unclaimed; what spends nothing is minted all the same.
    pub(super) fn without_store(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        if self.plan.spending == Spending::Repeatable {
            if !self.equipment.provides(&self.plan) {
                return self.land(self.source_missing(), None, None, effects);
            }
            return self.mint(None, None, now, effects);
        }
        self.land(Outcome::Failed(Trouble::new(Reason::StoreTrouble)), None, None, effects);
    }
}

fn issuer_of(record: &Record) -> Option<&Issuer> {
    record.grant().map(|grant| &grant.binding.issuer)
}
