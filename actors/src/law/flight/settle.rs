//! Classifies the answer of the token endpoint, makes the write that it calls for, and repeats that until it succeeds
//! (laws 4, 9, 10 and 12).

use std::time::Duration;

use super::decide::{self, Resolution};
use super::machine::FlightCore;
use super::phase::{Attempt, Duty, HeldClaim, Phase, Settlement, Step};
use super::{FlightEffect, Op, Outcome, Report, Revocation};
use crate::law::ledger::{Changed, Commit};
use crate::law::profile::{Evidence, Judgement, Refused, Tokens, Trouble};
use crate::ports::store::{ClaimEnding, Predecessor, Renewed};
use crate::values::record::{Access, Content, Mark, Parked, Record, RefreshCredential, View};
use crate::values::{
    ElapsedTime, Epoch, ExponentialBackoff, Generation, Lease, LeaseParts, Now, Reason, RefreshToken, StoreFault,
};

impl FlightCore {
    /// The source has reported.
    pub(super) fn answered(
        &mut self,
        attempt: Attempt,
        evidence: Evidence,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        // The token endpoint's refusal, if it has answered with one.
        let refusal = match &evidence {
            Evidence::Refused(refused) => Some(refused.clone()),
            _ => None,
        };
        let judgement = self.profile.judge(evidence);
        match judgement {
            Judgement::TooLate => return self.depart_again(attempt, now, effects),
            Judgement::NonceWanted if attempt.may_resend() => {
                return self.depart(Attempt { resent: true, ..attempt }, now, effects);
            }
            Judgement::InDoubt(trouble) => {
                if let Some((claim, pause)) = self.repetition(&attempt, trouble, now) {
                    effects.extend(trouble.retry_after.map(FlightEffect::Throttle));
                    self.repeated = true;
                    let until = now.elapsed().after(pause);
                    // The mark stays, and so does the permit.
                    return Phase::Repeating { until, claim, record: attempt.record };
                }
            }
            _ => {}
        }
        self.return_permit(refusal.as_ref().and_then(Refused::throttle), effects);
        let Some(spend) = &attempt.spend else {
            let trouble = refusal.map(|refused| Trouble { reason: refused.reason(), retry_after: refused.throttle() });
            return self.minted(attempt, judgement, trouble, now, effects);
        };
        match judgement {
            Judgement::Usable(tokens) => self.obtained(attempt, *tokens, now, effects),
            Judgement::Unspent(trouble) => self.withdraw(attempt, trouble, now, effects),
            Judgement::NonceWanted | Judgement::TooLate => {
                self.withdraw(attempt, Trouble::new(Reason::RequestRefused), now, effects)
            }
            Judgement::ClientRejected => {
                let duty = Duty::Withdraw { park: Some(Parked::ClientRejected) };
                self.settle(attempt, duty, Outcome::LoginRequired(Reason::ClientRejected), now, effects)
            }
            Judgement::Dead => {
                self.settle(attempt, Duty::End, Outcome::LoginRequired(Reason::GrantEnded), now, effects)
            }
            Judgement::InDoubt(trouble) => {
                let outcome = self.in_doubt(&spend.mark, trouble, now);
                self.leave_in_doubt(attempt, outcome, effects)
            }
        }
    }

    /// A repeatable source has answered a request to mint, which means to obtain a new token. It spends nothing, so nothing is
    /// in doubt.
    fn minted(
        &mut self,
        attempt: Attempt,
        judgement: Judgement,
        trouble: Option<Trouble>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        let outcome = match judgement {
            Judgement::Usable(tokens) => return self.obtained(attempt, *tokens, now, effects),
            Judgement::ClientRejected => Outcome::LoginRequired(Reason::ClientRejected),
            Judgement::Dead => Outcome::LoginRequired(Reason::GrantEnded),
            Judgement::Unspent(trouble) => Outcome::Failed(trouble),
            _ => Outcome::Failed(trouble.unwrap_or(Trouble::new(Reason::Unreachable))),
        };
        self.land(outcome, attempt.record.as_deref(), attempt.claim, effects)
    }

    /// The server has issued tokens. The old refresh token must not be presented again.
    fn obtained(&mut self, mut attempt: Attempt, tokens: Tokens, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        if let Some(Record { content: Content::Grant(grant), .. }) = attempt.record.as_deref_mut() {
            // The server has accepted the client, so the token may be served even if it cannot be stored.
            grant.parked.take_if(|parked| *parked == Parked::ClientRejected);
        }
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
            repeated: attempt.spend.as_ref().is_some_and(|spend| spend.earlier.is_some()),
            // A server that repeats the token that was sent has issued no new one.
            refresh: attempt.sent().and_then(|sent| {
                tokens.refresh.map(|token| self.credential(token)).filter(|refresh| refresh.digest() != sent)
            }),
            granted: tokens.granted,
            subject: tokens.subject,
            binding: tokens.binding.map(|binding| *binding),
            renewal: self.plan.clone(),
            // The lifetime counts from the start of the request.
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
            proof_key: grant.and_then(|grant| grant.dpop_key.clone()),
        });
        self.settle(attempt, Duty::Save(Box::new(commit)), Outcome::Minted(lease), now, effects)
    }

    fn credential(&self, token: RefreshToken) -> RefreshCredential {
        RefreshCredential::new(token, &self.equipment.digests)
    }

    /// The claim and the pause with which this flight presents its token once more; `None` if it does not. It does so once,
    /// after the first presentation of the token, while its claim lasts (law 10).
    fn repetition(&self, attempt: &Attempt, trouble: Trouble, now: Now) -> Option<(HeldClaim, Duration)> {
        let spend = attempt.spend.as_ref().filter(|spend| spend.earlier.is_none())?;
        let pause = decide::pause_before_repeat(trouble.retry_after, now.jitter)?;
        let delay = pause.saturating_add(self.equipment.timeouts.send_within);
        let must_last = delay.saturating_add(self.request_length());
        let claim = attempt.claim.as_ref().filter(|claim| claim.lasts(must_last, now.elapsed()))?;
        let allowed = self.profile.may_present_again(&spend.mark.first, delay, &now.moment);
        (allowed && self.called_off().is_none()).then(|| (claim.clone(), pause))
    }

    /// The outcome of a presentation whose answer is lost.
    fn in_doubt(&self, mark: &Mark, trouble: Trouble, now: Now) -> Outcome {
        // The mark belongs to this flight, which will not commit anything.
        match self.resolve(mark, Predecessor::Gone, None, now) {
            Resolution::Refuse => Outcome::LoginRequired(Reason::MaybeConsumed),
            Resolution::Wait(span) => Outcome::Failed(Trouble {
                retry_after: Some(trouble.retry_after.map_or(span, |asked| asked.max(span))),
                ..trouble
            }),
            Resolution::Present => Outcome::Failed(trouble),
        }
    }

    /// Ends the flight with its mark in place, so that later flights know of the doubt.
    fn leave_in_doubt(&mut self, attempt: Attempt, outcome: Outcome, effects: &mut Vec<FlightEffect>) -> Phase {
        let over = self.finish(attempt.claim, ClaimEnding::Abandoned, effects);
        self.report(outcome, attempt.record.as_deref(), false, effects);
        over
    }

    /// Begins to write what the answer calls for. The flight reports once the write has succeeded, or has failed for
    /// the first time.
    pub(super) fn settle(
        &mut self,
        attempt: Attempt,
        duty: Duty,
        outcome: Outcome,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.limit = None;
        let settlement = Settlement {
            attempt,
            duty,
            outcome,
            landed: false,
            since: self.ops,
            step: Step::Resting { until: now.elapsed() },
            failures: 0,
            unanswered: Vec::new(),
            noted: false,
        };
        self.retry(settlement, now, effects)
    }

    /// Writes, or gives up on a write that takes too long.
    pub(super) fn retry(&mut self, mut settlement: Settlement, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        match settlement.step {
            Step::Writing { .. } => self.unwritten(settlement, now, effects),
            Step::Resting { .. } => {
                let Some(change) = settlement.duty.change(&settlement.attempt, self.id()) else {
                    return self.concluded(settlement, None, now, effects);
                };
                let op = self.next_op();
                effects.push(FlightEffect::Change(op, change));
                settlement.unanswered.push(op);
                let limit = self.write_limit(&settlement.duty, now.elapsed());
                Phase::Settling(Settlement { step: Step::Writing { op, limit }, ..settlement })
            }
            Step::Awaiting { .. } => self.await_answers(settlement, now),
        }
    }

    /// The store has answered this write or an earlier try. A success of any try counts, a failure only of the latest.
    pub(super) fn written(
        &mut self,
        mut settlement: Settlement,
        op: Op,
        answer: Result<Changed, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        settlement.unanswered.retain(|unanswered| *unanswered != op);
        match answer {
            Ok(Changed::Applied { after, .. }) => self.concluded(settlement, Some(&after), now, effects),
            Ok(Changed::Conflict { current, .. }) => self.overtaken(settlement, current.as_deref(), now, effects),
            Err(_) => match settlement.step {
                Step::Writing { op: latest, .. } if latest == op => self.unwritten(settlement, now, effects),
                Step::Awaiting { .. } if settlement.unanswered.is_empty() => self.unwritten(settlement, now, effects),
                _ => Phase::Settling(settlement),
            },
        }
    }

    /// The duty is done.
    fn concluded(
        &mut self,
        settlement: Settlement,
        after: Option<&Record>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        if let Duty::MarkSpent { lost: Some(commit) } = settlement.duty {
            // The store has taken a write, so it may take the tokens.
            let (duty, step) = (Duty::Save(commit), Step::Resting { until: now.elapsed() });
            let settlement =
                Settlement { duty, step, noted: true, since: self.ops, unanswered: Vec::new(), ..settlement };
            return self.retry(settlement, now, effects);
        }
        let over = self.finish(settlement.attempt.claim, self.ending(after), effects);
        let parked = after.and_then(Record::grant).and_then(|grant| grant.parked);
        if !settlement.landed {
            let outcome = parked.map_or(settlement.outcome, |parked| Outcome::LoginRequired(parked.reason()));
            self.report(outcome, after, false, effects);
        } else if let Some(after) = after {
            effects.push(FlightEffect::Report(Report::Settled(Box::new(after.view()))));
        }
        over
    }

    /// The record has changed through a login, a logout or a faster sibling.
    fn overtaken(
        &mut self,
        settlement: Settlement,
        current: Option<&Record>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        if let Duty::Save(commit) = &settlement.duty
            && self.ending(current) == ClaimEnding::Abandoned
            && !current.is_some_and(|record| self.is_ours(record))
        {
            // The record still has this flight's mark, and not its token. So neither a sibling nor an earlier try of
            // this write has changed the record, and only the subject can differ. `obtained` compared the subject with
            // the record that was read before.
            self.revoke(&settlement.attempt, commit.refresh.clone(), effects);
            let (duty, outcome) = (Duty::Park(Parked::SubjectChanged), Outcome::LoginRequired(Reason::SubjectChanged));
            let (since, step) = (self.ops, Step::Resting { until: now.elapsed() });
            let settlement = Settlement { duty, outcome, since, step, unanswered: Vec::new(), ..settlement };
            return self.retry(settlement, now, effects);
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
            Duty::Save(commit) | Duty::MarkSpent { lost: Some(commit) } => commit.refresh,
            _ => None,
        };
        if self.may_revoke(attempt.epoch, current) {
            self.revoke(&attempt, unsaved, effects);
        }
        let over = self.finish(attempt.claim, self.ending(current), effects);
        match (landed, current) {
            (false, current) => self.report(outcome, current, false, effects),
            (true, current) => {
                let view = current.map_or_else(View::vacant, Record::view);
                effects.push(FlightEffect::Report(Report::Settled(Box::new(view))));
            }
        }
        over
    }

    /// How the claim ends if the store holds `record`. It is abandoned if this flight's mark is still there, so that
    /// other flights do not take the mark for settled.
    fn ending(&self, record: Option<&Record>) -> ClaimEnding {
        let mark = record.and_then(Record::held).and_then(|held| held.mark.as_ref());
        match mark {
            Some(mark) if mark.flight == self.id() => ClaimEnding::Abandoned,
            _ => ClaimEnding::Released,
        }
    }

    /// Whether the store holds this flight's token, because an earlier write succeeded after all.
    fn is_ours(&self, record: &Record) -> bool {
        let access = record.grant().and_then(|grant| grant.access.as_ref());
        access.is_some_and(|access| access.flight == Some(self.id()))
    }

    /// Whether a token pair that is stored nowhere may be revoked (law 12). After a logout it always may. After a login
    /// it may only if the revocation cannot end the new login too.
    fn may_revoke(&self, epoch: Epoch, current: Option<&Record>) -> bool {
        match current {
            Some(Record { content: Content::Tombstone, .. }) => true,
            Some(record) => record.epoch > epoch && self.profile.revocation_confined,
            None => false,
        }
    }

    /// Revokes the grant after a logout, through its new refresh token, or the old one if the server did not rotate it.
    fn revoke_all(&self, attempt: &Attempt, refresh: Option<RefreshCredential>, effects: &mut Vec<FlightEffect>) {
        let old = || attempt.spend.as_ref().map(|spend| spend.credential.clone());
        self.revoke(attempt, refresh.or_else(old), effects);
    }

    fn revoke(&self, attempt: &Attempt, refresh: Option<RefreshCredential>, effects: &mut Vec<FlightEffect>) {
        let grant = attempt.record.as_deref().and_then(Record::grant);
        if let (Some(grant), Some(refresh)) = (grant, refresh) {
            let revocation = Revocation {
                binding: grant.binding.clone(),
                renewal: grant.renewal.clone(),
                refresh: Some(refresh),
                access: None,
            };
            effects.push(FlightEffect::Revoke(Box::new(revocation)));
        }
    }

    /// The write failed or timed out. The flight keeps the tokens, the claim and the mark, and tries again (law 4).
    fn unwritten(&mut self, mut settlement: Settlement, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        if settlement.attempt.spend.is_none() {
            // A repeatable source's token need not be kept. The next mint tries the store again.
            let outcome = self.unstored(settlement.outcome);
            return self.land(outcome, None, settlement.attempt.claim, effects);
        }
        if !settlement.landed {
            let outcome = settlement.outcome.clone();
            self.report(outcome, settlement.attempt.record.as_deref(), true, effects);
            settlement.landed = true;
        }
        settlement.failures += 1;
        if let Some(closing) = self.closing {
            return self.unwritten_while_closing(settlement, closing, now, effects);
        }
        let timeouts = &self.equipment.timeouts;
        let backoff = ExponentialBackoff::new(timeouts.save_pause, timeouts.max_save_pause);
        let until = now.elapsed().after(backoff.jittered(settlement.failures, now.jitter));
        Phase::Settling(Settlement { step: Step::Resting { until }, ..settlement })
    }

    /// Adds this process's nonce to the generation of an unstored token, to distinguish it from other tokens with the
    /// same number.
    fn unstored(&self, outcome: Outcome) -> Outcome {
        let Outcome::Minted(lease) = outcome else { return outcome };
        Outcome::Minted(Lease::new(LeaseParts {
            token: lease.token().clone(),
            kind: lease.kind(),
            generation: Generation { nonce: self.order.nonce, ..lease.generation() },
            scopes: lease.scopes().clone(),
            validity: lease.validity(),
            cause: lease.cause(),
            proof_key: lease.proof_key().cloned(),
        }))
    }

    /// The identity was logged out, and the logout could not be stored. A flight that holds unsaved tokens writes the
    /// tombstone instead.
    pub(super) fn write_tombstone(
        &mut self,
        phase: Phase,
        epoch: Epoch,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        match phase {
            Phase::Settling(Settlement { attempt, duty: Duty::Save(commit), landed, failures, noted, .. })
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
                    unanswered: Vec::new(),
                    noted,
                };
                self.retry(settlement, now, effects)
            }
            phase => phase,
        }
    }

    /// When the claim is to be renewed. Only a flight that is saving renews its claim.
    pub(super) fn renewal_due(&self, phase: &Phase) -> Option<ElapsedTime> {
        let Phase::Settling(settlement) = phase else { return None };
        let claim = settlement.attempt.claim.as_ref().filter(|claim| !claim.lost)?;
        let due = claim.until?.before(self.claim_length() / 2);
        // Renewals are at least one time-out apart, however short the store's claims are.
        let rested = self.renewed_at.map(|asked| asked.after(self.equipment.timeouts.store_timeout));
        Some(rested.map_or(due, |rested| due.max(rested)))
    }

    /// Renews the claim, if that is due.
    pub(super) fn renew(&mut self, phase: &Phase, now: Now, effects: &mut Vec<FlightEffect>) {
        if self.renewal_due(phase).is_none_or(|due| due > now.elapsed()) {
            return;
        }
        let op = self.next_op();
        let at_least = self.claim_length();
        if let Phase::Settling(Settlement { attempt, .. }) = phase
            && let Some(held) = &attempt.claim
        {
            effects.push(FlightEffect::Renew { op, claim: held.claim.clone(), at_least });
            self.renewal = Some(op);
            self.renewed_at = Some(now.elapsed());
        }
    }

    /// The store has answered a renewal. A failed renewal is repeated when the next one is due.
    pub(super) fn renewed(&mut self, mut phase: Phase, op: Op, answer: Result<Renewed, StoreFault>) -> Phase {
        if let Phase::Settling(Settlement { attempt, .. }) = &mut phase
            && let (Some(held), Some(asked)) = (&mut attempt.claim, self.renewed_at)
            && self.renewal.take_if(|renewal| *renewal == op).is_some()
        {
            match answer {
                Ok(Renewed::Until(remaining)) => held.until = remaining.map(|remaining| asked.after(remaining)),
                Ok(Renewed::Lost) => held.lost = true,
                Err(_) => {}
            }
        }
        phase
    }
}
