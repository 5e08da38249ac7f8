//! The first part of a login attempt, from the login claim to the prompt that a person sees. At most one prompt is open over
//! all processes (laws 17 and 18). A method that handles a completion takes the data of the phase that waited for it, and
//! returns the next phase.

use std::time::Duration;

use super::machine::AttemptCore;
use super::open::is_open;
use super::phase::{Decision, Phase, Shown};
use super::{LoginEffect, LoginReport, LoginTask, LoginWish};
use crate::law::ledger::{Change, Changed};
use crate::ports::login::{Preparation, Prepared};
use crate::ports::store::{ClaimAnswer, PendingLogin};
use crate::values::record::{Prompt, PromptEnd, PromptState, Record};
use crate::values::{ElapsedTime, Epoch, LoginKey, LoginReason, Now, Revision, Scopes, StoreFault, Version};

/// How many times an attempt begins anew because the record changed before one of its writes.
const MAX_RESTARTS: u32 = 8;

impl AttemptCore {
    // The claim.

    pub(super) fn claimed(
        &mut self,
        answer: Result<ClaimAnswer, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match answer {
            Ok(ClaimAnswer::Granted(claim)) => {
                self.login_claim = Some(Self::hold(claim, now));
                Phase::Reading { op: self.load(now, out) }
            }
            Ok(ClaimAnswer::Contended) => self.follow(now, out),
            // Another process's prompt is open, so a passing fault of the store does not end this attempt.
            Err(_) if self.elsewhere => {
                let retry_at = self.soon(self.equipment.timeouts.store_timeout, now);
                Phase::Following { retry_at, reading: None }
            }
            Ok(ClaimAnswer::Unsupported) | Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    /// Another process asks a person. This attempt waits for the result in the record, and asks for the claim again, in case
    /// that process dies.
    pub(super) fn follow(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let retry_at = self.soon(self.equipment.timeouts.store_timeout, now);
        let reading = Some(self.load(now, out));
        Phase::Following { retry_at, reading }
    }

    pub(super) fn followed(
        &mut self,
        retry_at: ElapsedTime,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let waiting = Phase::Following { retry_at, reading: None };
        // The record is read again on the next news, or after the next try to claim.
        let Ok(record) = answer else { return waiting };
        self.learn(record, now, out);
        match self.decide(now) {
            Decision::Conclude(result) => self.conclude(result, out),
            Decision::Await(_) | Decision::EndStale(_) | Decision::TakeOver(_) | Decision::Ask => {
                if !std::mem::replace(&mut self.elsewhere, true) {
                    out.push(LoginEffect::Report(LoginReport::Elsewhere));
                }
                waiting
            }
        }
    }

    // The decision.

    pub(super) fn read(
        &mut self,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(record) => {
                self.learn(record, now, out);
                self.act(now, out)
            }
            // A login replaces a damaged record, as an import does. No prompt can be noted in it, so the claim alone
            // prevents a second open prompt.
            Err(StoreFault::Unreadable) => {
                self.unreadable = true;
                self.record = None;
                match self.unwanted() {
                    Some(reason) => self.conclude(Err(reason), out),
                    None => self.prepare(now, out),
                }
            }
            Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    /// Takes the next step, according to the last read of the record.
    pub(super) fn act(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let completes = matches!(self.order.task, LoginTask::Complete(_));
        let is_still_open = |key: &LoginKey| self.record.as_ref().is_some_and(|record| is_open(record, *key));
        if let Some(key) = self.lost_take.take().filter(is_still_open) {
            return self.end_prompt(key, PromptEnd::Aborted, LoginReason::Lost, now, out);
        }
        match (self.decide(now), self.unwanted()) {
            (Decision::Conclude(result), _) => self.conclude(result, out),
            (_, Some(reason)) => self.conclude(Err(reason), out),
            (Decision::Await(until), None) => Phase::Awaiting { until },
            // Another answer came first, so the answer of this attempt is not used.
            (_, None) if completes => self.conclude(Err(LoginReason::Superseded), out),
            (Decision::EndStale(prompt), None) => {
                let op = self.next_store_op(now);
                let (key, end) = (prompt.key, PromptEnd::Aborted);
                out.push(LoginEffect::Change(op, Change::EndPrompt { key, end, at: now.moment }));
                Phase::EndingStale { op }
            }
            (Decision::TakeOver(prompt), None) => {
                let op = self.next_store_op(now);
                out.push(LoginEffect::Peek(op, prompt.key));
                Phase::Peeking { op, prompt }
            }
            (Decision::Ask, None) => self.prepare(now, out),
        }
    }

    /// The reason why no person is to be asked any more. `None` if one may be asked.
    fn unwanted(&self) -> Option<LoginReason> {
        let stopping = self.closing.map(|_| LoginReason::ShuttingDown);
        stopping.or(self.cancelled.then_some(LoginReason::Cancelled))
    }

    /// Decides on the next step from the last read of the record.
    pub(super) fn decide(&self, now: Now) -> Decision {
        let (epoch, since) = (self.record.as_ref().map_or(Epoch::default(), |record| record.epoch), self.since);
        if self.logged_out == Some(self.order.epoch) {
            return Decision::Conclude(Err(LoginReason::LoggedOut));
        }
        if epoch != self.order.epoch {
            return Decision::Conclude(Err(self.overtaken()));
        }
        let Some(prompt) = self.record.as_ref().and_then(|record| record.prompt.as_ref()) else { return Decision::Ask };
        if let Some(end) = prompt.ended_after(since.unwrap_or_default()) {
            return Decision::Conclude(Err(end.reason()));
        }
        match prompt.state {
            PromptState::Ended(_) => Decision::Ask,
            PromptState::Open if prompt.expires <= now.moment.wall => Decision::Ask,
            PromptState::Open => Decision::TakeOver(Box::new(prompt.clone())),
            PromptState::Answered => match self.left_to_redeem(prompt, now) {
                Some(until) => Decision::Await(until),
                None => Decision::EndStale(Box::new(prompt.clone())),
            },
        }
    }

    /// The time until which the process that redeems an answer may still store its login; `None` if it has passed.
    fn left_to_redeem(&self, prompt: &Prompt, now: Now) -> Option<ElapsedTime> {
        let bound = self.redemption_bound();
        let age = now.moment.elapsed_since(&prompt.at).unwrap_or_else(|| now.moment.wall.since(prompt.at.wall));
        let until = now.elapsed().after(bound.saturating_sub(age));
        // The clock of that process's host may be ahead, so the wait also ends `bound` after this process first saw the
        // answer.
        let seen = self.answered.filter(|(revision, _)| *revision == prompt.revision);
        let until = seen.map_or(until, |(_, seen)| until.min(seen.after(bound)));
        (until > now.elapsed()).then_some(until)
    }

    /// How long a redemption may last, with the writes before and after it.
    pub(super) fn redemption_bound(&self) -> Duration {
        let store = self.equipment.timeouts.store_timeout.saturating_mul(2);
        self.equipment.limits.redeem.saturating_add(store)
    }

    /// The reason with which an attempt ends whose epoch is over.
    pub(super) fn overtaken(&self) -> LoginReason {
        match self.record.as_ref().and_then(|record| record.grant()) {
            Some(_) => LoginReason::Superseded,
            None => LoginReason::LoggedOut,
        }
    }

    /// Reads the record again. An attempt that asks a person claims first if it does not hold the claim.
    pub(super) fn look_again(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        // A claim that is over is dropped and not ended in the store, because a late end could release the new claim.
        self.login_claim.take_if(|held| held.is_over(now.elapsed()));
        match (&self.login_claim, &self.order.task) {
            (None, LoginTask::Ask(_)) => self.claim_login(now, out),
            _ => Phase::Reading { op: self.load(now, out) },
        }
    }

    pub(super) fn stale_ended(
        &mut self,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                // This attempt has ended the prompt of a dead process. No person has declined, so the attempt goes on.
                self.since = Some(after.revision);
                self.record = Some(after);
                self.act(now, out)
            }
            Ok(Changed::Conflict { .. }) => self.restart(now, out),
            Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    /// Reads the record again after it has changed, and decides anew.
    fn restart(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return self.conclude(Err(LoginReason::StoreTrouble), out);
        }
        Phase::Reading { op: self.load(now, out) }
    }

    pub(super) fn peeked(
        &mut self,
        prompt: &Prompt,
        answer: Result<Option<Box<PendingLogin>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            // The epoch of the record was compared already. This compares that of the pending login.
            Ok(Some(pending)) if pending.epoch == self.order.epoch => {
                self.show(Shown { key: prompt.key, pending, expires: prompt.expires }, true, out)
            }
            // Another process has taken the pending login out, and is about to write that it redeems the answer.
            Ok(None) if !std::mem::replace(&mut self.awaited_taker, true) => {
                let bound = self.equipment.limits.spend_wait.saturating_add(self.equipment.timeouts.store_timeout);
                Phase::Awaiting { until: now.elapsed().after(bound) }
            }
            // The process that took it out has died, or the pending login has expired or is damaged.
            Ok(_) | Err(StoreFault::Unreadable) => self.prepare(now, out),
            Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    // The prompt.

    fn wish(&self) -> Option<&LoginWish> {
        match &self.order.task {
            LoginTask::Ask(wish) => Some(wish),
            LoginTask::Complete(_) => None,
        }
    }

    pub(super) fn prepare(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let Some(wish) = self.wish().cloned() else { return self.conclude(Err(LoginReason::UnknownLogin), out) };
        let grant = self.record.as_ref().and_then(|record| record.grant());
        let preparation = Preparation {
            attempt: self.order.attempt,
            scopes: scopes_to_ask(grant.map(|grant| (&grant.requested, &grant.granted)), &wish),
            wished: wish.scopes,
            method: wish.method,
            expires: now.moment.wall.after(self.equipment.limits.prompt),
            grant: grant.cloned().map(Box::new),
            extends: wish.extends,
        };
        let op = self.next_op();
        self.limit = Some(now.elapsed().after(self.equipment.limits.prepare));
        out.push(LoginEffect::Prepare(op, Box::new(preparation)));
        Phase::Preparing { op }
    }

    pub(super) fn prepared(
        &mut self,
        answer: Result<Prepared, LoginReason>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let prepared = match answer {
            Ok(prepared) => prepared,
            Err(reason) => return self.conclude(Err(reason), out),
        };
        let expires = prepared.expires.min(now.moment.wall.after(self.equipment.limits.prompt));
        let prepared = Prepared { expires, ..prepared };
        let pending = PendingLogin {
            identity: self.identity.clone(),
            attempt: self.order.attempt,
            epoch: self.order.epoch,
            same_subject: self.wish().is_some_and(|wish| wish.same_subject),
            expires: expires.after(self.equipment.limits.late),
            sealed: prepared.sealed.clone(),
        };
        let (op, pending) = (self.next_store_op(now), Box::new(pending));
        out.push(LoginEffect::Put(op, prepared.key, pending.clone()));
        Phase::Putting { op, prepared, pending }
    }

    pub(super) fn put(
        &mut self,
        prepared: Prepared,
        pending: Box<PendingLogin>,
        answer: Result<(), StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        if answer.is_err() {
            // The pending login may have been stored all the same.
            out.push(LoginEffect::Discard(prepared.key));
            return self.conclude(Err(LoginReason::StoreTrouble), out);
        }
        if self.unreadable {
            return self.show(Shown { key: prepared.key, pending, expires: prepared.expires }, false, out);
        }
        let prompt = Prompt {
            attempt: self.order.attempt,
            key: prepared.key,
            state: PromptState::Open,
            at: now.moment,
            revision: Revision::default(),
            expires: prepared.expires,
        };
        let expected = self.record.as_ref().map_or(Version::default(), |record| record.version());
        let op = self.next_store_op(now);
        out.push(LoginEffect::Change(op, Change::Prompt { expected, prompt: Box::new(prompt) }));
        Phase::Asking { op, prepared, pending }
    }

    pub(super) fn asked(
        &mut self,
        prepared: Prepared,
        pending: Box<PendingLogin>,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let shown = Shown { key: prepared.key, pending, expires: prepared.expires };
        match answer {
            // No person has seen the prompt.
            _ if self.cancelled => {
                out.push(LoginEffect::Discard(shown.key));
                self.end_prompt(shown.key, PromptEnd::Cancelled, LoginReason::Cancelled, now, out)
            }
            // If the prompt was written, another process, or this one after its restart, takes it over.
            Ok(Changed::Applied { .. }) | Err(StoreFault::TimedOut) if self.closing.is_some() => {
                self.conclude(Err(LoginReason::ShuttingDown), out)
            }
            Ok(Changed::Applied { after, .. }) => {
                self.record = Some(after);
                self.show(shown, false, out)
            }
            // The store has tried the write twice, and its first try had succeeded.
            Ok(Changed::Conflict { current: Some(record), .. }) if is_open(&record, shown.key) => {
                self.record = Some(record);
                self.show(shown, false, out)
            }
            Ok(Changed::Conflict { .. }) => {
                out.push(LoginEffect::Discard(shown.key));
                self.restart(now, out)
            }
            // The prompt may have been written. If the next read finds it, it is taken over.
            Err(StoreFault::TimedOut) => self.restart(now, out),
            Err(_) => {
                out.push(LoginEffect::Discard(shown.key));
                self.conclude(Err(LoginReason::StoreTrouble), out)
            }
        }
    }
}

/// The scopes to ask for. They are those of the wish. If the login extends the grant, or the wish names none, the scopes
/// that the grant was requested with and those that it was granted are added.
fn scopes_to_ask(grant: Option<(&Scopes, &Scopes)>, wish: &LoginWish) -> Scopes {
    match grant {
        Some((requested, granted)) if wish.extends || wish.scopes.iter().next().is_none() => {
            requested.union(granted).union(&wish.scopes)
        }
        _ => wish.scopes.clone(),
    }
}
