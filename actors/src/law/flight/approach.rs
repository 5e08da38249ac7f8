//! From the issuer's permit to the decision: read, claim, read again (law 2).

use std::sync::Arc;
use std::time::Duration;

use super::decide::{self, Decision};
use super::machine::FlightCore;
use super::phase::{HeldClaim, Phase};
use super::{FlightEffect, Outcome, Spending};
use crate::law::profile::Trouble;
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope, Predecessor};
use crate::values::record::{Grant, Issuer, Record};
use crate::values::{ElapsedTime, ExponentialBackoff, Now, Reason, StoreFault};

/// The longest pause between two attempts to claim, before jitter.
const MAX_CLAIM_PAUSE: Duration = Duration::from_secs(1);

impl FlightCore {
    /// Reads the record before the claim. To adopt a sibling's token needs no claim, and the claim is for the record's epoch.
    pub(super) fn peek(&mut self, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        let op = self.load(now, effects);
        Phase::Peeking(op)
    }

    pub(super) fn peeked(
        &mut self,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.limit = None;
        match answer.map(|record| (self.decision(record.as_deref(), now), record)) {
            Ok((Ok(decision), record)) => {
                let mark = record.as_ref().and_then(|record| record.held()?.mark.as_ref());
                self.marked_by = mark.map(|mark| mark.flight);
                // A marked token may have to wait, so the flight connects only once it has decided to present it.
                let presents = matches!(decision, Decision::Present { mark: None, .. });
                let grant = record.as_deref().and_then(Record::grant).filter(|_| presents);
                let ahead = grant.cloned().map(Box::new);
                self.claim(ahead, now, effects)
            }
            Ok((Err(outcome), record)) => self.land(outcome, record.as_deref(), None, effects),
            Err(_) => self.without_store(now, effects),
        }
    }

    fn claim(&mut self, ahead: Option<Box<Grant>>, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        self.claiming_since.get_or_insert(now.elapsed());
        let op = self.next_store_op(now);
        // The flight connects under the claim, before the request and its writes.
        let at_least = self.claim_length().saturating_add(self.profile.connect_timeout);
        let epoch = self.order.epoch;
        effects.push(FlightEffect::Claim { op, epoch, at_least });
        Phase::Claiming { op, asked: now.elapsed(), ahead }
    }

    pub(super) fn claimed(
        &mut self,
        asked: ElapsedTime,
        ahead: Option<Box<Grant>>,
        answer: Result<ClaimAnswer, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.limit = None;
        let failed = |reason| Outcome::Failed(Trouble::new(reason));
        match answer {
            Ok(ClaimAnswer::Granted(claim)) => {
                self.read_again(HeldClaim::new(claim, asked), ahead.as_deref(), now, effects)
            }
            Ok(ClaimAnswer::Contended) if self.waited(now) >= self.equipment.timeouts.claim_wait => {
                self.land(failed(Reason::Contended), None, None, effects)
            }
            Ok(ClaimAnswer::Contended) => {
                self.contentions += 1;
                let backoff = ExponentialBackoff::new(self.equipment.timeouts.claim_pause, MAX_CLAIM_PAUSE);
                let pause = backoff.pause(self.contentions);
                Phase::Pausing { until: now.elapsed().after(pause + now.jitter.of(pause)) }
            }
            Ok(ClaimAnswer::Unsupported) if self.plan.spending == Spending::Repeatable => {
                self.mint(None, None, now, effects)
            }
            Ok(ClaimAnswer::Unsupported) => self.land(failed(Reason::ClaimsUnsupported), None, None, effects),
            Err(fault) => {
                if fault == StoreFault::TimedOut {
                    self.end_possible_claim(effects);
                }
                self.without_store(now, effects)
            }
        }
    }

    /// Ends the claim that a timed-out attempt may have taken.
    fn end_possible_claim(&self, effects: &mut Vec<FlightEffect>) {
        let claim = Claim {
            holder: self.id(),
            scope: ClaimScope::Spend(self.order.epoch),
            remaining: None,
            predecessor: Predecessor::MayLive,
        };
        effects.push(FlightEffect::EndClaim { claim, ending: ClaimEnding::Released });
    }

    /// How long the flight has waited for a claim.
    fn waited(&self, now: Now) -> Duration {
        self.claiming_since.map_or(Duration::ZERO, |since| now.elapsed().since(since))
    }

    /// Reads the record under the claim. If the refresh token of `ahead` is probably going to be presented, the flight
    /// connects meanwhile. It does so only with a claim, so that only one of many processes connects.
    pub(super) fn read_again(
        &mut self,
        claim: HeldClaim,
        ahead: Option<&Grant>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        if let Some(grant) = ahead {
            self.connect(grant, now, effects);
        }
        let op = self.load(now, effects);
        Phase::Reading { op, claim }
    }

    pub(super) fn read(
        &mut self,
        claim: HeldClaim,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.limit = None;
        let Ok(record) = answer else {
            self.end_claim(Some(claim), self.unsettled_ending(), effects);
            return self.without_store(now, effects);
        };
        match (self.decision(record.as_deref(), now), record) {
            // The claim's `predecessor` answer may predate this mark. Only a new claim, by a new flight, has a newer answer.
            (Ok(Decision::Present { mark: Some(mark), .. }), Some(record))
                if mark.flight != self.id()
                    && (self.marked_by != Some(mark.flight) || claim.was_lost_before(&mark, &now.moment)) =>
            {
                self.land(Outcome::Moved, Some(&record), Some(claim), effects)
            }
            (Ok(Decision::Present { credential, mark }), Some(record)) => {
                self.present(claim, record, credential, mark, now, effects)
            }
            (Ok(_), record) => self.mint(Some(claim), record, now, effects),
            (Err(outcome), record) => self.land(outcome, record.as_deref(), Some(claim), effects),
        }
    }

    /// The decision from the record, or the outcome that ends the flight at once.
    pub(super) fn decision(&mut self, record: Option<&Record>, now: Now) -> Result<Decision, Outcome> {
        if record.is_some_and(|record| record.epoch != self.order.epoch) {
            // A login or logout has ended the epoch that the claim is for.
            return Err(Outcome::Moved);
        }
        self.follow_plan(record);
        match decide::decide(record, self.order.adopt, self.plan.spending, &now.moment) {
            Decision::Adopt => Err(Outcome::Adopted),
            Decision::LoginRequired(reason) => Err(Outcome::LoginRequired(reason)),
            // The permit came from the queue of another issuer than the record names (law 13).
            _ if record.is_some_and(|record| issuer_of(record) != self.order.issuer.as_ref()) => Err(Outcome::Moved),
            // This is checked before the mark is written, so that nothing is left in doubt.
            _ if !self.equipment.provides(&self.plan) => Err(self.source_missing()),
            decision => Ok(decision),
        }
    }

    /// Takes the plan of the grant in `record`, and its profile. Without a grant, takes the plan of the order.
    fn follow_plan(&mut self, record: Option<&Record>) {
        let plan = record.and_then(Record::grant).map_or(&self.order.renewal, |grant| &grant.renewal);
        if *plan != self.plan {
            self.profile = Arc::new(self.equipment.profiles.of(plan));
            self.plan = plan.clone();
        }
    }

    /// The outcome if this process has no source of the name and kind in the plan.
    fn source_missing(&self) -> Outcome {
        Outcome::Failed(Trouble::new(Reason::SourceMissing))
    }

    /// The store cannot be used. A refresh token is not presented without a claim; a repeatable source mints anyway.
    pub(super) fn without_store(&mut self, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        if self.plan.spending == Spending::Repeatable {
            if !self.equipment.provides(&self.plan) {
                return self.land(self.source_missing(), None, None, effects);
            }
            return self.mint(None, None, now, effects);
        }
        self.land(Outcome::Failed(Trouble::new(Reason::StoreTrouble)), None, None, effects)
    }
}

fn issuer_of(record: &Record) -> Option<&Issuer> {
    record.grant().map(|grant| &grant.binding.issuer)
}
