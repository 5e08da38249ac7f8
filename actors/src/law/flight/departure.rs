//! From the decision to the wire: mark, look once more, send (laws 1 and 3).

use std::time::Duration;

use super::decide::{self, Resolution};
use super::machine::Flight;
use super::phase::{Attempt, Duty, HeldClaim, Phase, Spend};
use super::{Doubt, FlightEffect, Outcome, TokenRequest};
use crate::law::ledger::{Change, Changed};
use crate::law::profile::Trouble;
use crate::ports::store::Predecessor;
use crate::values::record::{Mark, MarkState, Record, RefreshCredential};
use crate::values::{ElapsedTime, Now, Reason, StoreFault};

/// How often a flight decides anew because the record moved before its mark.
const RESTARTS_MOST: u32 = 8;

/// How often a flight reads again between mark and send before it gives the attempt up.
const VERIFICATIONS_MOST: u32 = 4;

impl Flight {
    pub(super) fn present(
        &mut self,
        claim: HeldClaim,
        record: Box<Record>,
        credential: RefreshCredential,
        earlier: Option<Mark>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        let grace = match &earlier {
            None => None,
            Some(mark) => match self.resolve(mark, claim.claim.predecessor, self.order.doubt, now) {
                Resolution::Replay { grace } => grace,
                Resolution::Wait(span) => {
                    let trouble = Trouble { reason: Reason::InDoubt, retry_after: Some(span) };
                    return self.land(Outcome::Failed(trouble), Some(&record), Some(claim), effects);
                }
                Resolution::Refuse => {
                    let outcome = Outcome::LoginRequired(Reason::PerhapsSpent);
                    return self.land(outcome, Some(&record), Some(claim), effects);
                }
            },
        };
        let mark = Mark {
            flight: self.id(),
            digest: credential.digest(),
            presentations: earlier.as_ref().map_or(0, |mark| mark.presentations).saturating_add(1),
            number: record.number.saturating_add(1),
            first: earlier.as_ref().map_or(now.moment, |mark| mark.first),
            latest: now.moment,
            timeout: self.presentation_time(),
            state: MarkState::Open,
        };
        let op = self.stamp_store_op(now);
        effects.push(FlightEffect::Change(op, Change::Mark { expected: record.version(), mark: mark.clone() }));
        let attempt = Attempt {
            epoch: record.epoch,
            number: mark.number,
            claim: Some(claim),
            record: Some(record),
            spend: Some(Spend { credential, mark, grace }),
            checked: now.elapsed(),
            verified: 0,
            resent: false,
        };
        self.phase = Phase::Marking { op, attempt };
    }

    pub(super) fn resolve(&self, mark: &Mark, predecessor: Predecessor, doubt: Option<Doubt>, now: Now) -> Resolution {
        decide::resolve(mark, predecessor, &self.equipment.profile, doubt, &now.moment)
    }

    pub(super) fn marked(
        &mut self,
        mut attempt: Attempt,
        answer: Result<Changed, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                attempt.record = Some(after);
                self.send_or_verify(attempt, now, effects);
            }
            // Whatever moved, only a new read under the same claim decides.
            Ok(Changed::Conflict { current, .. }) => match attempt.claim.take() {
                Some(claim) if self.restarts < RESTARTS_MOST => {
                    self.restarts += 1;
                    self.read_again(claim, now, effects);
                }
                claim => self.land(Outcome::Moved, current.as_deref(), claim, effects),
            },
            // The mark may have landed, or may still: it has to be taken back, so that no doubt is left.
            Err(StoreFault::TimedOut) => self.withdraw(attempt, Trouble::new(Reason::StoreTrouble), now, effects),
            Err(_) => {
                let outcome = Outcome::Failed(Trouble::new(Reason::StoreTrouble));
                self.land(outcome, None, attempt.claim.take(), effects);
            }
        }
    }

    /// The last look before the refresh token leaves (law 1).
    pub(super) fn send_or_verify(&mut self, attempt: Attempt, now: Now, effects: &mut Vec<FlightEffect>) {
        let terms = &self.equipment.terms;
        let must_last = self.equipment.profile.request_timeout + terms.store_timeout;
        let claimed = attempt.claim.as_ref().is_some_and(|claim| claim.lasts(must_last, now.elapsed()));
        let in_time = attempt.spend.as_ref().is_none_or(|spend| {
            let in_grace =
                spend.grace.is_none_or(|grace| decide::within(&spend.mark, grace, terms.send_within, &now.moment));
            in_grace && now.elapsed() <= self.send_by(spend)
        });
        let single_use = attempt.spend.is_some();
        if self.stopping {
            self.withdraw(attempt, Trouble::new(Reason::ShuttingDown), now, effects);
        } else if single_use && self.logged_out == Some(attempt.epoch) {
            self.withdraw(attempt, Trouble::new(Reason::LoggedOut), now, effects);
        } else if single_use && !(claimed && in_time) {
            self.withdraw(attempt, Trouble::new(Reason::Contended), now, effects);
        } else if now.elapsed().since(attempt.checked) <= terms.send_within {
            self.send(attempt, effects);
        } else if attempt.verified >= VERIFICATIONS_MOST {
            self.withdraw(attempt, Trouble::new(Reason::BrokenOff), now, effects);
        } else {
            self.verify(attempt, now, effects);
        }
    }

    /// How long after its mark a presentation is over for sure: the request, and what may come between mark and send.
    fn presentation_time(&self) -> Duration {
        let terms = &self.equipment.terms;
        self.equipment.profile.request_timeout + terms.store_timeout + terms.send_within.saturating_mul(2)
    }

    /// When a request must be on its way at the latest, so that it is over when its mark says so.
    fn send_by(&self, spend: &Spend) -> ElapsedTime {
        let slack = spend.mark.timeout.saturating_sub(self.equipment.profile.request_timeout);
        spend.mark.latest.elapsed.after(slack)
    }

    pub(super) fn verify(&mut self, attempt: Attempt, now: Now, effects: &mut Vec<FlightEffect>) {
        let attempt = Attempt { verified: attempt.verified + 1, ..attempt };
        if attempt.spend.is_none() {
            // Nothing to verify: a repeatable source spends nothing.
            return self.send(Attempt { checked: now.elapsed(), ..attempt }, effects);
        }
        let op = self.load(now, effects);
        self.phase = Phase::Verifying { op, attempt, asked: now.elapsed() };
    }

    pub(super) fn verified(
        &mut self,
        attempt: Attempt,
        asked: ElapsedTime,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        match answer {
            Ok(record) if attempt.still_marked(record.as_deref(), self.id()) => {
                self.send_or_verify(Attempt { record, checked: asked, ..attempt }, now, effects);
            }
            Ok(_) => self.withdraw(attempt, Trouble::new(Reason::Contended), now, effects),
            Err(_) => self.withdraw(attempt, Trouble::new(Reason::StoreTrouble), now, effects),
        }
    }

    pub(super) fn send(&mut self, attempt: Attempt, effects: &mut Vec<FlightEffect>) {
        let op = self.stamp();
        self.limit = None;
        let not_after = attempt.checked.after(self.equipment.terms.send_within);
        let not_after = attempt.spend.as_ref().map_or(not_after, |spend| not_after.min(self.send_by(spend)));
        let request = TokenRequest {
            refresh: attempt.spend.as_ref().map(|spend| spend.credential.token().clone()),
            grant: attempt.record.as_ref().and_then(|record| record.grant()).cloned().map(Box::new),
            not_after,
            timeout: self.equipment.profile.request_timeout,
        };
        effects.push(FlightEffect::Send(op, Box::new(request)));
        self.phase = Phase::Sending { op, attempt };
    }

    /// Asks a repeatable source.
    pub(super) fn mint(
        &mut self,
        claim: Option<HeldClaim>,
        record: Option<Box<Record>>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        let number = record.as_ref().map_or(0, |record| record.number).max(self.order.known.number).saturating_add(1);
        let attempt = Attempt {
            claim,
            record,
            epoch: self.order.epoch,
            number,
            spend: None,
            checked: now.elapsed(),
            verified: 0,
            resent: false,
        };
        self.send(attempt, effects);
    }

    pub(super) fn withdraw(&mut self, attempt: Attempt, trouble: Trouble, now: Now, effects: &mut Vec<FlightEffect>) {
        self.settle(attempt, Duty::Withdraw { park: None }, Outcome::without(trouble), now, effects);
    }
}
