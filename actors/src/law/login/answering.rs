//! The part of a login attempt from a person's answer to the redemption of its code. The code is presented once, under the
//! spend claim of the grant that the login replaces (law 19). A method that handles a completion takes the data of the phase
//! that waited for it, and returns the next phase.

use std::time::Duration;

use super::machine::AttemptCore;
use super::phase::{Answered, Phase, SpendStep, TakeStep, Taking};
use super::{LoginEffect, LoginReport, LoginTask};
use crate::law::flight::Op;
use crate::law::ledger::{Change, Changed};
use crate::ports::login::{AuthorizationCode, Redeemed, Redemption};
use crate::ports::store::{ClaimAnswer, PendingLogin};
use crate::values::record::{Prompt, PromptEnd, PromptState};
use crate::values::{Callback, ElapsedTime, LoginKey, LoginReason, Now, Revision, StoreFault};

/// How many times an operation is tried after a person has answered. A single failure must not waste the answer.
const MAX_TRIES: u32 = 3;

/// The pause between two tries to take out the pending login or to present the code, before jitter.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause between two tries to take the spend claim, before jitter.
const SPEND_PAUSE: Duration = Duration::from_millis(250);

impl AttemptCore {
    /// Takes the pending login out of the store, to redeem its code or to cancel its prompt.
    pub(super) fn take(
        &mut self,
        key: LoginKey,
        callback: Option<Callback>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        let step = TakeStep::Resting(now.elapsed());
        let taking = Taking { step, key, callback, tries: 0, maybe_taken: false, unanswered: Vec::new() };
        self.take_again(taking, now, out)
    }

    fn take_again(&mut self, taking: Taking, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.next_store_op(now);
        out.push(LoginEffect::Take(op, taking.key));
        Phase::Taking(Taking { step: TakeStep::Asked(op), tries: taking.tries + 1, ..taking })
    }

    /// The store has answered a try to take out the pending login. A success of any try counts, and a failure only of the
    /// latest.
    pub(super) fn taken(
        &mut self,
        mut taking: Taking,
        op: Op,
        answer: Result<Option<Box<PendingLogin>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        let is_latest = matches!(taking.step, TakeStep::Asked(latest) if latest == op);
        if !is_latest && !taking.unanswered.contains(&op) {
            return Phase::Taking(taking);
        }
        taking.unanswered.retain(|earlier| *earlier != op);
        match answer {
            Ok(Some(pending)) => {
                self.limit = None;
                self.took(taking, pending, now, out)
            }
            Ok(None) if is_latest && !taking.unanswered.is_empty() => {
                self.limit = None;
                let until = now.elapsed().after(self.equipment.timeouts.store_timeout);
                Phase::Taking(Taking { step: TakeStep::Gone(until), ..taking })
            }
            Ok(None) if is_latest => {
                self.limit = None;
                self.is_gone(taking, now, out)
            }
            // The pending login is damaged, so its code cannot be presented.
            Err(StoreFault::Unreadable) if is_latest => {
                self.limit = None;
                self.is_gone(Taking { maybe_taken: true, ..taking }, now, out)
            }
            Err(fault) if is_latest => {
                self.limit = None;
                taking.maybe_taken |= fault == StoreFault::TimedOut;
                self.not_taken(taking, now, out)
            }
            _ if matches!(taking.step, TakeStep::Gone(_)) && taking.unanswered.is_empty() => {
                self.is_gone(taking, now, out)
            }
            _ => Phase::Taking(taking),
        }
    }

    fn took(&mut self, taking: Taking, pending: Box<PendingLogin>, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match taking.callback {
            // The tokens of another identity's login would be stored under this identity.
            Some(_) if pending.identity != self.identity => self.conclude(Err(LoginReason::UnknownLogin), out),
            Some(callback) => {
                if matches!(self.order.task, LoginTask::Complete(_)) {
                    // The session may not have read its record yet.
                    self.order.epoch = pending.epoch;
                }
                let op = self.next_op();
                out.push(LoginEffect::Judge(op, pending.clone(), callback));
                Phase::Judging { op, pending, key: taking.key }
            }
            None => self.end_prompt(taking.key, PromptEnd::Cancelled, LoginReason::Cancelled, now, out),
        }
    }

    /// The store does not have the pending login any more.
    fn is_gone(&mut self, taking: Taking, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let Taking { key, callback, maybe_taken, .. } = taking;
        match (callback, &self.order.task) {
            (None, _) if maybe_taken => self.end_prompt(key, PromptEnd::Cancelled, LoginReason::Cancelled, now, out),
            (None, _) => self.conclude(Err(LoginReason::Cancelled), out),
            // Either an earlier try has taken the pending login out, and its content was lost with the store's answer, so
            // that the code was not sent. Or another process has it, which the record then shows.
            (Some(_), _) if maybe_taken => {
                self.lost_take = Some(key);
                Phase::Reading { op: self.load(now, out) }
            }
            // Another process has taken the pending login out, and redeems the answer.
            (Some(_), LoginTask::Ask(_)) => self.look_again(now, out),
            (Some(_), LoginTask::Complete(_)) => self.conclude(Err(LoginReason::UnknownLogin), out),
        }
    }

    /// The store did not answer the latest try to take out the pending login.
    pub(super) fn take_timed_out(&mut self, mut taking: Taking, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if let TakeStep::Asked(op) = taking.step {
            taking.unanswered.push(op);
        }
        taking.maybe_taken = true;
        self.not_taken(taking, now, out)
    }

    fn not_taken(&mut self, taking: Taking, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if taking.tries >= MAX_TRIES {
            return self.conclude(Err(LoginReason::StoreTrouble), out);
        }
        Phase::Taking(Taking { step: TakeStep::Resting(self.soon(PAUSE, now)), ..taking })
    }

    pub(super) fn take_tick(&mut self, taking: Taking, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match taking.step {
            TakeStep::Resting(at) if at <= now.elapsed() => self.take_again(taking, now, out),
            TakeStep::Gone(until) if until <= now.elapsed() => self.is_gone(taking, now, out),
            _ => Phase::Taking(taking),
        }
    }

    pub(super) fn judged(
        &mut self,
        pending: Box<PendingLogin>,
        key: LoginKey,
        answer: Result<AuthorizationCode, LoginReason>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        let code = match answer {
            Ok(code) => code,
            Err(LoginReason::Denied) => return self.end_prompt(key, PromptEnd::Denied, LoginReason::Denied, now, out),
            Err(reason) => return self.end_prompt(key, PromptEnd::Failed, reason, now, out),
        };
        if self.logged_out == Some(pending.epoch) {
            return self.conclude(Err(LoginReason::LoggedOut), out);
        }
        out.push(LoginEffect::Report(LoginReport::Arriving));
        let op = self.claim_spend(pending.epoch, out);
        let until = now.elapsed().after(self.equipment.limits.spend_wait);
        let code = Answered { key, pending, code, tries: 0, unsent: 0 };
        Phase::ClaimingSpend { step: SpendStep::Asked(op), code, until }
    }

    // The right to spend.

    pub(super) fn spend_claimed(
        &mut self,
        answer: Result<ClaimAnswer, StoreFault>,
        code: Answered,
        until: ElapsedTime,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match answer {
            Ok(ClaimAnswer::Granted(claim)) => {
                self.spend_claim = Some(Self::hold(claim, now));
                self.note(code, now, out)
            }
            // A refresh of the old grant is in flight.
            Ok(ClaimAnswer::Contended) => {
                let step = SpendStep::Resting(self.soon(SPEND_PAUSE, now));
                Phase::ClaimingSpend { step, code, until }
            }
            // The code lives shortly, so it is presented without the claim.
            Ok(ClaimAnswer::Unsupported) | Err(_) => self.note(code, now, out),
        }
    }

    pub(super) fn spend_tick(
        &mut self,
        step: SpendStep,
        code: Answered,
        until: ElapsedTime,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match step {
            _ if until <= now.elapsed() => self.note(code, now, out),
            SpendStep::Resting(at) if at <= now.elapsed() => {
                let op = self.claim_spend(code.pending.epoch, out);
                Phase::ClaimingSpend { step: SpendStep::Asked(op), code, until }
            }
            step => Phase::ClaimingSpend { step, code, until },
        }
    }

    // The note and the redemption.

    /// Writes the note, the state of the prompt by which the record shows that the code is about to be presented. Other
    /// processes then neither ask again nor wait for the person.
    pub(super) fn note(&mut self, code: Answered, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let prompt = Prompt {
            attempt: code.pending.attempt,
            key: code.key,
            state: PromptState::Answered,
            at: now.moment,
            revision: Revision::default(),
            expires: now.moment.wall.after(self.redemption_bound()),
        };
        let op = self.next_store_op(now);
        let epoch = code.pending.epoch;
        out.push(LoginEffect::Change(op, Change::AnswerPrompt { epoch, prompt: Box::new(prompt) }));
        Phase::Noting { op, code }
    }

    pub(super) fn noted(
        &mut self,
        code: Answered,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                self.learn(Some(after), now, out);
                self.redeem(Answered { tries: 0, ..code }, out)
            }
            Ok(Changed::Conflict { current, .. }) => {
                self.learn(current, now, out);
                if self.record.as_ref().is_none_or(|record| record.epoch != code.pending.epoch) {
                    // A login or a logout came first. The code is not used.
                    return self.conclude(Err(self.overtaken()), out);
                }
                // The answer to another prompt is being redeemed. Its outcome decides this attempt too.
                if let Some(held) = self.spend_claim.take() {
                    out.push(LoginEffect::EndClaim(held.claim));
                }
                self.act(now, out)
            }
            // A login will replace the damaged record.
            Err(StoreFault::Unreadable) => {
                self.unreadable = true;
                self.redeem(Answered { tries: 0, ..code }, out)
            }
            Err(_) if code.tries + 1 < MAX_TRIES => {
                let code = Answered { tries: code.tries + 1, ..code };
                self.note(code, now, out)
            }
            // The store cannot write the note, so other processes may ask again. The code is presented all the same,
            // because the person has answered.
            Err(_) => self.redeem(Answered { tries: 0, ..code }, out),
        }
    }

    /// Presents the code, unless the session is being logged out.
    pub(super) fn redeem(&mut self, code: Answered, out: &mut Vec<LoginEffect>) -> Phase {
        if self.logged_out == Some(code.pending.epoch) {
            return self.conclude(Err(LoginReason::LoggedOut), out);
        }
        if self.newest_epoch > code.pending.epoch {
            // The note could not be written. The store would have refused it, because the epoch is over.
            return self.conclude(Err(LoginReason::Superseded), out);
        }
        let op = self.next_op();
        let redemption = Redemption {
            pending: (*code.pending).clone(),
            code: code.code.clone(),
            timeout: self.equipment.limits.redeem,
        };
        out.push(LoginEffect::Redeem(op, Box::new(redemption)));
        Phase::Redeeming { op, code }
    }

    pub(super) fn redeemed(&mut self, code: Answered, answer: Redeemed, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match answer {
            Redeemed::Issued(issued) => self.keep(code.key, &code.pending, *issued, now, out),
            Redeemed::NotSent if code.unsent + 1 < MAX_TRIES => {
                let code = Answered { unsent: code.unsent + 1, ..code };
                Phase::Pausing { until: self.soon(PAUSE, now), code }
            }
            Redeemed::NotSent => self.end_prompt(code.key, PromptEnd::Failed, LoginReason::Unreachable, now, out),
            Redeemed::Refused(LoginReason::Denied) => {
                self.end_prompt(code.key, PromptEnd::Denied, LoginReason::Denied, now, out)
            }
            Redeemed::Refused(reason) => self.end_prompt(code.key, PromptEnd::Failed, reason, now, out),
            Redeemed::Lost => self.end_prompt(code.key, PromptEnd::Aborted, LoginReason::Lost, now, out),
        }
    }
}
