//! What an answer calls for: judge it, write what follows, and keep at it until it is written (laws 4, 9, 10 and 12).

use std::time::Duration;

use super::decide::{self, Resolution};
use super::machine::Flight;
use super::phase::{Attempt, Duty, Phase, Settlement, Step};
use super::{FlightEffect, Op, Outcome, Report, Revocation};
use crate::law::ledger::{Changed, Commit};
use crate::law::profile::{Evidence, Judgement, Tokens, Trouble};
use crate::ports::store::{ClaimEnding, Predecessor, Renewed};
use crate::values::record::{Access, Content, Parked, Record, RefreshCredential, View};
use crate::values::{ElapsedTime, Epoch, Generation, Lease, LeaseParts, Now, Reason, StoreFault};

impl Flight {
    /// The source has reported.
    pub(super) fn answered(&mut self, attempt: Attempt, evidence: Evidence, now: Now, effects: &mut Vec<FlightEffect>) {
        let refusal = match &evidence {
            Evidence::Refused(refused) => Some(refused.clone()),
            _ => None,
        };
        let judgement = self.profile.judge(evidence);
        match judgement {
            Judgement::SendAgain => return self.depart_again(attempt, now, effects),
            Judgement::NonceWanted if !attempt.resent => {
                return self.depart(Attempt { resent: true, ..attempt }, now, effects);
            }
            _ => {}
        }
        self.return_permit(refusal.as_ref().and_then(|refused| refused.retry_after), effects);
        if attempt.spend.is_none() {
            let told = refusal.map(|refused| Trouble { reason: refused.reason(), retry_after: refused.retry_after });
            return self.minted(attempt, judgement, told, now, effects);
        }
        match judgement {
            Judgement::Usable(tokens) => self.obtained(attempt, *tokens, now, effects),
            Judgement::Unspent(trouble) => self.withdraw(attempt, trouble, now, effects),
            Judgement::NonceWanted | Judgement::SendAgain => {
                self.withdraw(attempt, Trouble::new(Reason::RequestRefused), now, effects);
            }
            Judgement::ClientRejected => {
                let duty = Duty::Withdraw { park: Some(Parked::ClientRejected) };
                self.settle(attempt, duty, Outcome::LoginRequired(Reason::ClientRejected), now, effects);
            }
            Judgement::Dead => {
                self.settle(attempt, Duty::End, Outcome::LoginRequired(Reason::GrantEnded), now, effects);
            }
            Judgement::InDoubt { retry_after } => self.leave_in_doubt(attempt, retry_after, now, effects),
        }
    }

    /// A repeatable source has answered: nothing can be in doubt.
    fn minted(
        &mut self,
        attempt: Attempt,
        judgement: Judgement,
        told: Option<Trouble>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        let outcome = match judgement {
            Judgement::Usable(tokens) => return self.obtained(attempt, *tokens, now, effects),
            Judgement::ClientRejected => Outcome::LoginRequired(Reason::ClientRejected),
            Judgement::Dead => Outcome::LoginRequired(Reason::GrantEnded),
            Judgement::Unspent(trouble) => Outcome::Failed(trouble),
            _ => Outcome::Failed(told.unwrap_or(Trouble::new(Reason::Unreachable))),
        };
        self.land(outcome, attempt.record.as_deref(), attempt.claim, effects);
    }

    /// Tokens are in hand: from here on the old refresh token must not be seen again.
    fn obtained(&mut self, attempt: Attempt, tokens: Tokens, now: Now, effects: &mut Vec<FlightEffect>) {
        let grant = attempt.record.as_deref().and_then(Record::grant);
        if let (Some(known), Some(named)) = (grant.and_then(|grant| grant.subject.as_ref()), &tokens.subject)
            && known != named
        {
            self.revoke(&attempt, tokens.refresh.map(|token| self.credential(token)), effects);
            let outcome = Outcome::LoginRequired(Reason::SubjectChanged);
            return self.settle(attempt, Duty::Park(Parked::SubjectChanged), outcome, now, effects);
        }
        let commit = Commit {
            epoch: attempt.epoch,
            sent: attempt.sent(),
            refresh: match attempt.spend {
                Some(_) => tokens.refresh.map(|token| self.credential(token)),
                None => None,
            },
            granted: tokens.granted,
            subject: tokens.subject,
            binding: tokens.binding.map(|binding| *binding),
            renewal: self.plan.clone(),
            at: tokens.validity.anchored(),
            access: Access {
                token: tokens.access,
                kind: tokens.kind,
                validity: tokens.validity,
                number: attempt.number,
                cause: self.order.cause,
                flight: Some(self.id()),
            },
        };
        if self.logged_out == Some(attempt.epoch) {
            self.revoke_all(&attempt, commit.refresh, effects);
            return self.settle(attempt, Duty::WriteTombstone, Outcome::LoginRequired(Reason::LoggedOut), now, effects);
        }
        let lease = Lease::new(LeaseParts {
            token: commit.access.token.clone(),
            kind: commit.access.kind,
            generation: Generation::stored(commit.epoch, commit.access.number),
            scopes: commit.granted.clone().or_else(|| grant.map(|grant| grant.granted.clone())).unwrap_or_default(),
            validity: commit.access.validity,
            cause: commit.access.cause,
        });
        self.settle(attempt, Duty::Save(Box::new(commit)), Outcome::Minted(lease), now, effects);
    }

    fn credential(&self, token: crate::values::RefreshToken) -> RefreshCredential {
        RefreshCredential::new(token, &self.equipment.digests)
    }

    /// The answer is lost: the mark stays, and says so to whoever comes next.
    fn leave_in_doubt(
        &mut self,
        attempt: Attempt,
        retry_after: Option<Duration>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        let Some(spend) = &attempt.spend else { return };
        // We are the holder, and we shall commit nothing more.
        let outcome = match self.resolve(&spend.mark, Predecessor::Gone, None, now) {
            Resolution::Refuse => Outcome::LoginRequired(Reason::MaybeConsumed),
            Resolution::Wait(span) => Outcome::Failed(Trouble {
                reason: Reason::InDoubt,
                retry_after: Some(retry_after.map_or(span, |told| told.max(span))),
            }),
            Resolution::Replay { .. } => Outcome::Failed(Trouble { reason: Reason::InDoubt, retry_after }),
        };
        self.end_claim(attempt.claim, ClaimEnding::Abandoned, effects);
        self.report(outcome, attempt.record.as_deref(), false, effects);
        self.phase = Phase::Over;
    }

    /// Begins to write what the answer calls for; callers are told once it is written, or cannot be for now.
    pub(super) fn settle(
        &mut self,
        attempt: Attempt,
        duty: Duty,
        outcome: Outcome,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        let settlement = Settlement {
            attempt,
            duty,
            outcome,
            landed: false,
            since: self.ops,
            step: Step::Resting { until: now.elapsed() },
            failures: 0,
        };
        self.retry(settlement, now, effects);
    }

    /// Writes, or gives up on a write that takes too long.
    pub(super) fn retry(&mut self, settlement: Settlement, now: Now, effects: &mut Vec<FlightEffect>) {
        match settlement.step {
            Step::Writing { .. } => self.unwritten(settlement, now, effects),
            Step::Resting { .. } => {
                let Some(change) = settlement.duty.change(&settlement.attempt, self.id()) else {
                    return self.concluded(settlement, None, effects);
                };
                let op = self.stamp();
                effects.push(FlightEffect::Change(op, change));
                let limit = now.elapsed().after(self.equipment.timeouts.store_timeout);
                self.phase = Phase::Settling(Settlement { step: Step::Writing { op, limit }, ..settlement });
            }
        }
    }

    /// The store has answered, now or to an earlier attempt: any success will do, and only the present failure counts.
    pub(super) fn written(
        &mut self,
        settlement: Settlement,
        op: Op,
        answer: Result<Changed, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        match answer {
            Ok(Changed::Applied { after, .. }) => self.concluded(settlement, Some(&after), effects),
            Ok(Changed::Conflict { current, .. }) => self.overtaken(settlement, current.as_deref(), now, effects),
            Err(_) if matches!(settlement.step, Step::Writing { op: present, .. } if present == op) => {
                self.unwritten(settlement, now, effects);
            }
            Err(_) => self.phase = Phase::Settling(settlement),
        }
    }

    /// The duty is done.
    fn concluded(&mut self, settlement: Settlement, after: Option<&Record>, effects: &mut Vec<FlightEffect>) {
        self.end_claim(settlement.attempt.claim, self.ending(after), effects);
        let parked = after.and_then(Record::grant).and_then(|grant| grant.parked);
        if !settlement.landed {
            let outcome = parked.map_or(settlement.outcome, |parked| Outcome::LoginRequired(parked.reason()));
            self.report(outcome, after, false, effects);
        } else if matches!(settlement.duty, Duty::MarkSpent { lost: Some(_) }) {
            effects.push(FlightEffect::Report(Report::Lost { noted: true }));
        } else if let Some(after) = after {
            effects.push(FlightEffect::Report(Report::Settled(Box::new(after.view()))));
        }
        self.phase = Phase::Over;
    }

    /// The record has moved on: a login, a logout, or a sibling that was faster.
    fn overtaken(
        &mut self,
        settlement: Settlement,
        current: Option<&Record>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) {
        if let Duty::Save(commit) = &settlement.duty
            && self.ending(current) == ClaimEnding::Abandoned
        {
            // Our mark still stands on the token we sent: nobody was faster, the answer is for somebody else.
            self.revoke(&settlement.attempt, commit.refresh.clone(), effects);
            let (duty, outcome) = (Duty::Park(Parked::SubjectChanged), Outcome::LoginRequired(Reason::SubjectChanged));
            let (since, step) = (self.ops, Step::Resting { until: now.elapsed() });
            return self.retry(Settlement { duty, outcome, since, step, ..settlement }, now, effects);
        }
        let Settlement { attempt, duty, outcome, landed, .. } = settlement;
        let outcome = match (current, outcome) {
            (Some(record), outcome @ Outcome::Minted(_)) if self.is_ours(record) => outcome,
            (Some(record), _)
                if record.epoch == attempt.epoch && decide::adoptable(record, self.order.adopt, &now.moment) =>
            {
                Outcome::Adopted
            }
            _ => Outcome::Moved,
        };
        let unsaved = match duty {
            Duty::Save(commit) => commit.refresh,
            Duty::MarkSpent { lost } => lost,
            _ => None,
        };
        if self.may_revoke(attempt.epoch, current) {
            self.revoke(&attempt, unsaved, effects);
        }
        self.end_claim(attempt.claim, self.ending(current), effects);
        match (landed, current) {
            (false, current) => self.report(outcome, current, false, effects),
            (true, current) => {
                let view = current.map_or_else(View::vacant, Record::view);
                effects.push(FlightEffect::Report(Report::Settled(Box::new(view))));
            }
        }
        self.phase = Phase::Over;
    }

    /// How the claim ends over this record: a mark of this flight that stays must not pass for settled.
    fn ending(&self, record: Option<&Record>) -> ClaimEnding {
        let mark = record.and_then(Record::held).and_then(|held| held.mark.as_ref());
        match mark {
            Some(mark) if mark.flight == self.id() => ClaimEnding::Abandoned,
            _ => ClaimEnding::Released,
        }
    }

    /// Whether the store holds what this very flight brought: an earlier write landed after all.
    fn is_ours(&self, record: &Record) -> bool {
        let access = record.grant().and_then(|grant| grant.access.as_ref());
        access.is_some_and(|access| access.flight == Some(self.id()))
    }

    /// Whether a pair that is stored nowhere may be revoked (law 12): always after a logout; where something newer is
    /// stored, only if that cannot end it too.
    fn may_revoke(&self, epoch: Epoch, current: Option<&Record>) -> bool {
        match current {
            Some(Record { content: Content::Tombstone, .. }) => true,
            Some(record) => record.epoch > epoch && self.profile.revocation_confined,
            None => false,
        }
    }

    /// Revokes what a logout leaves behind: the new refresh token, or the old one where the server kept that.
    fn revoke_all(&self, attempt: &Attempt, refresh: Option<RefreshCredential>, effects: &mut Vec<FlightEffect>) {
        let kept = || attempt.spend.as_ref().map(|spend| spend.credential.clone());
        self.revoke(attempt, refresh.or_else(kept), effects);
    }

    fn revoke(&self, attempt: &Attempt, refresh: Option<RefreshCredential>, effects: &mut Vec<FlightEffect>) {
        let grant = attempt.record.as_deref().and_then(Record::grant);
        if let (Some(grant), Some(refresh)) = (grant, refresh) {
            let revocation =
                Revocation { binding: grant.binding.clone(), renewal: grant.renewal.clone(), refresh: Some(refresh) };
            effects.push(FlightEffect::Revoke(Box::new(revocation)));
        }
    }

    /// The write failed, or did not finish in time. The flight goes on as the keeper of what it holds (law 4).
    fn unwritten(&mut self, mut settlement: Settlement, now: Now, effects: &mut Vec<FlightEffect>) {
        if settlement.attempt.spend.is_none() {
            // Repeatable: there is nothing to keep. The next mint tries the store again.
            let outcome = self.unstored(settlement.outcome);
            return self.land(outcome, None, settlement.attempt.claim, effects);
        }
        if !settlement.landed {
            let outcome = settlement.outcome.clone();
            self.report(outcome, settlement.attempt.record.as_deref(), true, effects);
            settlement.landed = true;
        }
        settlement.failures += 1;
        if self.stopping {
            return self.final_write(settlement, now, effects);
        }
        let timeouts = &self.equipment.timeouts;
        let pause =
            timeouts.save_pause.saturating_mul(1 << (settlement.failures - 1).min(16)).min(timeouts.max_save_pause);
        let until = now.elapsed().after(pause / 2 + now.jitter.of(pause / 2));
        self.phase = Phase::Settling(Settlement { step: Step::Resting { until }, ..settlement });
    }

    /// A token the store does not know is told apart from others of its number by this process's nonce.
    fn unstored(&self, outcome: Outcome) -> Outcome {
        let Outcome::Minted(lease) = outcome else { return outcome };
        Outcome::Minted(Lease::new(LeaseParts {
            token: lease.token().clone(),
            kind: lease.kind(),
            generation: Generation { nonce: self.order.nonce, ..lease.generation() },
            scopes: lease.scopes().clone(),
            validity: lease.validity(),
            cause: lease.cause(),
        }))
    }

    /// The process stops, and the last save has failed: if anything can be written, then that the token is spent.
    fn final_write(&mut self, settlement: Settlement, now: Now, effects: &mut Vec<FlightEffect>) {
        let duty = match &settlement.duty {
            // Where no new refresh token came, the old one is still good, and only its mark has to go.
            Duty::Save(commit) if commit.refresh.is_none() => Duty::Withdraw { park: None },
            Duty::Save(commit) => Duty::MarkSpent { lost: commit.refresh.clone() },
            Duty::End | Duty::Park(_) | Duty::WriteTombstone => Duty::MarkSpent { lost: None },
            Duty::Withdraw { .. } | Duty::MarkSpent { .. } => {
                self.end_claim(settlement.attempt.claim, ClaimEnding::Abandoned, effects);
                if matches!(settlement.duty, Duty::MarkSpent { lost: Some(_) }) {
                    effects.push(FlightEffect::Report(Report::Lost { noted: false }));
                }
                self.phase = Phase::Over;
                return;
            }
        };
        let step = Step::Resting { until: now.elapsed() };
        self.retry(Settlement { duty, since: self.ops, step, ..settlement }, now, effects);
    }

    /// The process stops: a flight that rests between two attempts to save makes its last one now.
    pub(super) fn flush(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Settling(settlement) if matches!(settlement.step, Step::Resting { .. }) => {
                self.retry(settlement, now, effects);
            }
            phase => self.phase = phase,
        }
    }

    /// The identity was logged out, and the logout could not be stored: a flight that holds unsaved tokens saves the
    /// tombstone instead.
    pub(super) fn write_tombstone(&mut self, epoch: Epoch, now: Now, effects: &mut Vec<FlightEffect>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Settling(Settlement { attempt, duty: Duty::Save(commit), landed, failures, .. })
                if attempt.epoch == epoch =>
            {
                self.revoke_all(&attempt, commit.refresh, effects);
                let settlement = Settlement {
                    attempt,
                    duty: Duty::WriteTombstone,
                    outcome: Outcome::LoginRequired(Reason::LoggedOut),
                    landed,
                    since: self.ops,
                    step: Step::Resting { until: now.elapsed() },
                    failures,
                };
                self.retry(settlement, now, effects);
            }
            phase => self.phase = phase,
        }
    }

    /// When the claim is to be renewed: a flight that keeps something keeps its claim too.
    pub(super) fn renewal_due(&self) -> Option<ElapsedTime> {
        let Phase::Settling(settlement) = &self.phase else { return None };
        let claim = settlement.attempt.claim.as_ref().filter(|claim| !claim.lost)?;
        let due = claim.until?.before(self.claim_length() / 2);
        // Never sooner than this after the last one, whatever the store gives.
        let rested = self.renewed_at.map(|asked| asked.after(self.equipment.timeouts.store_timeout));
        Some(rested.map_or(due, |rested| due.max(rested)))
    }

    pub(super) fn renew(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        if self.renewal_due().is_none_or(|due| due > now.elapsed()) {
            return;
        }
        let op = self.stamp();
        let at_least = self.claim_length();
        if let Phase::Settling(Settlement { attempt, .. }) = &self.phase
            && let Some(held) = &attempt.claim
        {
            effects.push(FlightEffect::Renew { op, claim: held.claim.clone(), at_least });
            self.renewal = Some(op);
            self.renewed_at = Some(now.elapsed());
        }
    }

    pub(super) fn renewed(&mut self, op: Op, answer: Result<Renewed, StoreFault>) {
        let Phase::Settling(Settlement { attempt, .. }) = &mut self.phase else { return };
        let (Some(held), Some(asked)) = (&mut attempt.claim, self.renewed_at) else { return };
        if self.renewal.take_if(|asked| *asked == op).is_none() {
            return;
        }
        match answer {
            Ok(Renewed::Until(remaining)) => held.until = remaining.map(|remaining| asked.after(remaining)),
            Ok(Renewed::Lost) => held.lost = true,
            // Asked again when its time is up.
            Err(_) => {}
        }
    }
}

impl Settlement {
    /// When this settlement is to be looked at again.
    pub(super) fn due(&self) -> ElapsedTime {
        match self.step {
            Step::Writing { limit, .. } => limit,
            Step::Resting { until } => until,
        }
    }
}
