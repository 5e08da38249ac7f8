//! From a person's answer to the redemption of the code. The code is presented once, under the right to spend the refresh
//! token that the login replaces (law 19).

use std::time::Duration;

use super::LoginEffect;
use super::LoginReport;
use super::machine::AttemptCore;
use super::phase::{Answered, Phase, SpendStep, Taking};
use crate::law::ledger::{Change, Changed};
use crate::ports::login::{AuthorizationCode, Redeemed, Redemption};
use crate::ports::store::{ClaimAnswer, PendingLogin};
use crate::values::record::{Prompt, PromptEnd, PromptState};
use crate::values::{Callback, ElapsedTime, LoginKey, LoginReason, Now, Revision, StoreFault};

/// How often an operation is tried that must not fail lightly, because a person has answered.
const MAX_TRIES: u32 = 3;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause between two attempts to claim the right to spend, before jitter.
const SPEND_PAUSE: Duration = Duration::from_millis(250);

impl AttemptCore {
    /// An answer has arrived. Only the open request takes it, and only its own.
    pub(super) fn called_back(
        &mut self,
        phase: Phase,
        callback: Callback,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match phase {
            Phase::Open(open) if open.shown.key == callback.key => self.take(open.shown.key, Some(callback), now, out),
            phase => phase,
        }
    }

    /// Takes the pending login out, to redeem its code or to cancel it.
    pub(super) fn take(
        &mut self,
        key: LoginKey,
        callback: Option<Callback>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        let op = self.stamp_store_op(now);
        out.push(LoginEffect::Take(op, key));
        Phase::Taking(Taking { op, key, callback, tries: 1, maybe_taken: false })
    }

    pub(super) fn taken(
        &mut self,
        taking: Taking,
        answer: Result<Option<Box<PendingLogin>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let Taking { key, callback, tries, maybe_taken, .. } = taking;
        match (answer, callback) {
            (Ok(Some(pending)), Some(callback)) => {
                let op = self.stamp();
                out.push(LoginEffect::Judge(op, pending.clone(), callback));
                Phase::Judging { op, pending, key }
            }
            (Ok(Some(_)), None) => self.end_prompt(PromptEnd::Cancelled, LoginReason::Cancelled, now, out),
            // An earlier try has taken it, and its content was lost with the answer. The code was not sent.
            (Ok(None), _) if maybe_taken => self.end_prompt(PromptEnd::Aborted, LoginReason::Lost, now, out),
            // Another replica has taken it, and redeems it.
            (Ok(None), _) if self.login_claim.is_some() => self.look_again(now, out),
            (Ok(None), _) => self.conclude(Err(LoginReason::UnknownLogin), out),
            (Err(fault), callback) if tries < MAX_TRIES => {
                let op = self.stamp_store_op(now);
                out.push(LoginEffect::Take(op, key));
                let maybe_taken = maybe_taken || fault == StoreFault::TimedOut;
                Phase::Taking(Taking { op, key, callback, tries: tries + 1, maybe_taken })
            }
            (Err(_), _) => self.conclude(Err(LoginReason::StoreTrouble), out),
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
        self.asked_by = pending.attempt;
        let code = match answer {
            Ok(code) => code,
            Err(LoginReason::Denied) => return self.end_prompt(PromptEnd::Denied, LoginReason::Denied, now, out),
            Err(reason) => return self.end_prompt(PromptEnd::Failed, reason, now, out),
        };
        if self.logged_out == Some(pending.epoch) {
            return self.conclude(Err(LoginReason::LoggedOut), out);
        }
        out.push(LoginEffect::Report(LoginReport::Arriving));
        let op = self.claim_spend(pending.epoch, out);
        let until = now.elapsed().after(self.equipment.limits.spend_wait);
        let code = Answered { key, pending, code, tries: 0 };
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

    /// Notes durably that the code is about to be presented. Other processes then neither ask again nor wait for the person.
    fn note(&mut self, code: Answered, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let prompt = Prompt {
            attempt: code.pending.attempt,
            key: code.key,
            state: PromptState::Answered,
            at: now.moment,
            revision: Revision::default(),
            expires: code.pending.expires,
        };
        let op = self.stamp_store_op(now);
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
                self.learn(Some(after), out);
                self.redeem(code, out)
            }
            // A login or a logout came first, or the answer to another request is being redeemed. The code is not used.
            Ok(Changed::Conflict { current, .. }) => {
                self.learn(current, out);
                let same = self.record.as_ref().is_some_and(|record| record.epoch == code.pending.epoch);
                let reason = if same { LoginReason::Superseded } else { self.overtaken() };
                self.conclude(Err(reason), out)
            }
            Err(_) if code.tries + 1 < MAX_TRIES => {
                let code = Answered { tries: code.tries + 1, ..code };
                self.note(code, now, out)
            }
            // Without the note other processes may ask again. The person has answered, so the tokens matter more.
            Err(_) => self.redeem(code, out),
        }
    }

    /// Presents the code, unless the session is being logged out.
    pub(super) fn redeem(&mut self, code: Answered, out: &mut Vec<LoginEffect>) -> Phase {
        if self.logged_out == Some(code.pending.epoch) {
            return self.conclude(Err(LoginReason::LoggedOut), out);
        }
        let op = self.stamp();
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
            Redeemed::Issued(issued) => self.keep(&code.pending, *issued, now, out),
            Redeemed::NotSent if code.tries + 1 < MAX_TRIES => {
                let code = Answered { tries: code.tries + 1, ..code };
                Phase::Pausing { until: self.soon(PAUSE, now), code }
            }
            Redeemed::NotSent => self.end_prompt(PromptEnd::Failed, LoginReason::Unreachable, now, out),
            Redeemed::Refused(LoginReason::Denied) => self.end_prompt(PromptEnd::Denied, LoginReason::Denied, now, out),
            Redeemed::Refused(reason) => self.end_prompt(PromptEnd::Failed, reason, now, out),
            Redeemed::Lost => self.end_prompt(PromptEnd::Aborted, LoginReason::Lost, now, out),
        }
    }
}
