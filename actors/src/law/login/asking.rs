//! From the claim to the request that a person sees: one prompt, over all processes (laws 17 and 18).

use super::machine::AttemptCore;
use super::phase::{Decision, Open, Phase, Polling, Shown};
use super::{LoginEffect, LoginReport, LoginTask, LoginWish};
use crate::law::flight::Op;
use crate::law::ledger::{Change, Changed};
use crate::ports::login::{Polled, Preparation, Prepared};
use crate::ports::store::{ClaimAnswer, PendingLogin};
use crate::values::record::{Prompt, PromptEnd, PromptState, Record};
use crate::values::{
    ElapsedTime, Epoch, LoginKey, LoginOffer, LoginReason, Now, OfferedPrompt, Revision, Scopes, StoreFault, Version,
};

/// How often an attempt looks again because the record changed before its prompt was written.
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
            Ok(ClaimAnswer::Unsupported) | Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    /// Another process asks. Its prompt is followed through the record, and the claim is asked for again, in case that the
    /// process dies.
    fn follow(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
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
        // The next news, or the next try to claim, reads it again.
        let Ok(record) = answer else { return waiting };
        self.learn(record, out);
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
        let Ok(record) = answer else { return self.conclude(Err(LoginReason::StoreTrouble), out) };
        self.learn(record, out);
        self.act(now, out)
    }

    /// Takes the next step, from the record as it was read last.
    fn act(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match self.decide(now) {
            Decision::Conclude(result) => self.conclude(result, out),
            Decision::Await(until) => Phase::Awaiting { until },
            Decision::EndStale(prompt) => {
                let op = self.stamp_store_op(now);
                let (attempt, end) = (prompt.attempt, PromptEnd::Aborted);
                out.push(LoginEffect::Change(op, Change::EndPrompt { attempt, end, at: now.moment }));
                Phase::EndingStale { op }
            }
            Decision::TakeOver(key) => {
                let op = self.stamp_store_op(now);
                out.push(LoginEffect::Peek(op, key));
                Phase::Peeking { op, key }
            }
            Decision::Ask => self.prepare(now, out),
        }
    }

    /// Decides on the next step from the record as it was read last.
    fn decide(&self, now: Now) -> Decision {
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
            PromptState::Open => Decision::TakeOver(prompt.key),
            PromptState::Answered => match self.left_to_redeem(prompt, now) {
                Some(until) => Decision::Await(until),
                None => Decision::EndStale(Box::new(prompt.clone())),
            },
        }
    }

    /// The time until which the redeemer of an answered prompt may still store its login; `None` if it has passed.
    fn left_to_redeem(&self, prompt: &Prompt, now: Now) -> Option<ElapsedTime> {
        let (limits, store_timeout) = (self.equipment.limits, self.equipment.timeouts.store_timeout);
        let bound = limits.redeem.saturating_add(store_timeout.saturating_mul(2));
        let age = now.moment.elapsed_since(&prompt.at).unwrap_or_else(|| now.moment.wall.since(prompt.at.wall));
        let left = bound.saturating_sub(age);
        (!left.is_zero()).then(|| now.elapsed().after(left))
    }

    /// Why an attempt ends whose epoch is over.
    pub(super) fn overtaken(&self) -> LoginReason {
        match self.record.as_ref().and_then(|record| record.grant()) {
            Some(_) => LoginReason::Superseded,
            None => LoginReason::LoggedOut,
        }
    }

    /// Reads the record again, under the claim or without it.
    pub(super) fn look_again(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
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
                // This end was not an answer to a person's question, so it does not end this attempt.
                self.since = Some(after.revision);
                self.record = Some(after);
                self.act(now, out)
            }
            Ok(Changed::Conflict { .. }) => self.restart(now, out),
            Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    /// The record has changed. A new read decides.
    fn restart(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return self.conclude(Err(LoginReason::StoreTrouble), out);
        }
        Phase::Reading { op: self.load(now, out) }
    }

    pub(super) fn peeked(
        &mut self,
        key: LoginKey,
        answer: Result<Option<Box<PendingLogin>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            // Its login belongs to the epoch that this attempt begins from, because the prompt does.
            Ok(Some(pending)) if pending.epoch == self.order.epoch => {
                self.asked_by = pending.attempt;
                self.show(Shown { key, pending }, true, out)
            }
            // Another replica has taken it out, and is about to note that it redeems it.
            Ok(None) if !std::mem::replace(&mut self.awaited_taker, true) => {
                let bound = self.equipment.limits.spend_wait.saturating_add(self.equipment.timeouts.store_timeout);
                Phase::Awaiting { until: now.elapsed().after(bound) }
            }
            // The taker has died, or the pending login is kept no more.
            Ok(_) => self.prepare(now, out),
            Err(_) => self.conclude(Err(LoginReason::StoreTrouble), out),
        }
    }

    // The request.

    fn wish(&self) -> Option<&LoginWish> {
        match &self.order.task {
            LoginTask::Ask(wish) => Some(wish),
            LoginTask::Complete(_) => None,
        }
    }

    fn prepare(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let Some(wish) = self.wish().cloned() else { return self.conclude(Err(LoginReason::UnknownLogin), out) };
        self.asked_by = self.order.attempt;
        let grant = self.record.as_ref().and_then(|record| record.grant());
        let preparation = Preparation {
            attempt: self.order.attempt,
            scopes: scopes_to_ask(grant.map(|grant| (&grant.requested, &grant.granted)), &wish),
            method: wish.method,
            expires: now.moment.wall.after(self.equipment.limits.prompt),
            grant: grant.cloned().map(Box::new),
            extends: wish.extends,
        };
        let op = self.stamp();
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
        let pending = PendingLogin {
            identity: self.identity.clone(),
            attempt: self.order.attempt,
            epoch: self.order.epoch,
            same_subject: self.wish().is_some_and(|wish| wish.same_subject),
            expires: prepared.expires.min(now.moment.wall.after(self.equipment.limits.prompt)),
            sealed: prepared.sealed.clone(),
        };
        let (op, pending) = (self.stamp_store_op(now), Box::new(pending));
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
            return self.conclude(Err(LoginReason::StoreTrouble), out);
        }
        let prompt = Prompt {
            attempt: self.order.attempt,
            key: prepared.key,
            state: PromptState::Open,
            at: now.moment,
            revision: Revision::default(),
            expires: pending.expires,
        };
        let expected = self.record.as_ref().map_or(Version::default(), |record| record.version());
        let op = self.stamp_store_op(now);
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
        let shown = Shown { key: prepared.key, pending };
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                self.record = Some(after);
                self.show(shown, false, out)
            }
            // The write was repeated, and its first try had succeeded.
            Ok(Changed::Conflict { current: Some(record), .. }) if is_open(&record, shown.key) => {
                self.record = Some(record);
                self.show(shown, false, out)
            }
            Ok(Changed::Conflict { .. }) => {
                out.push(LoginEffect::Discard(shown.key));
                self.restart(now, out)
            }
            // The prompt may have been written. A read finds out, and it is then taken over.
            Err(StoreFault::TimedOut) => self.restart(now, out),
            Err(_) => {
                out.push(LoginEffect::Discard(shown.key));
                self.conclude(Err(LoginReason::StoreTrouble), out)
            }
        }
    }

    fn show(&mut self, shown: Shown, taken_over: bool, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.stamp();
        out.push(LoginEffect::Show(op, shown.pending.clone()));
        Phase::Showing { op, shown, taken_over }
    }

    pub(super) fn shown(
        &mut self,
        shown: Shown,
        taken_over: bool,
        answer: Result<LoginOffer, LoginReason>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match answer {
            Ok(_) if self.cancelled => self.take(shown.key, None, now, out),
            // The prompt stays. Another process, or this one after its restart, takes it over.
            Ok(_) if self.closing.is_some() => self.conclude(Err(LoginReason::ShuttingDown), out),
            Ok(offer) => {
                let until = now.elapsed().after(shown.pending.expires.since(now.moment.wall));
                let polling = match &offer.prompt {
                    OfferedPrompt::Device { interval, .. } => Some(Polling::At(now.elapsed().after(*interval))),
                    OfferedPrompt::Browser { .. } => None,
                };
                out.push(LoginEffect::Report(LoginReport::Offered(shown.key, Box::new(offer))));
                Phase::Open(Open { shown, until, reading: None, polling })
            }
            // The answer to the other process's request cannot arrive here.
            Err(_) if taken_over => self.prepare(now, out),
            Err(reason) => self.end_prompt(PromptEnd::Failed, reason, now, out),
        }
    }

    // Waiting for the person.

    pub(super) fn hear_news(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            Phase::Following { retry_at, reading: None } => {
                Phase::Following { retry_at, reading: Some(self.load(now, out)) }
            }
            Phase::Open(open) if open.reading.is_none() => {
                let reading = Some(self.load(now, out));
                Phase::Open(Open { reading, ..open })
            }
            Phase::Awaiting { .. } => self.look_again(now, out),
            phase => phase,
        }
    }

    /// The record has been read again while the request is open.
    pub(super) fn looked(
        &mut self,
        open: Open,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let open = Open { reading: None, ..open };
        let Ok(record) = answer else { return Phase::Open(open) };
        let is_same = record.as_ref().is_some_and(|record| record.epoch == self.order.epoch);
        let still_open = is_same && record.as_ref().is_some_and(|record| is_open(record, open.shown.key));
        self.learn(record, out);
        if still_open {
            return Phase::Open(open);
        }
        if !is_same {
            out.push(LoginEffect::Discard(open.shown.key));
        }
        // Answered or ended in another replica, or overwritten by an attempt that has the claim now.
        match self.decide(now) {
            Decision::TakeOver(_) | Decision::Ask => {
                self.end_claims(out);
                self.follow(now, out)
            }
            _ => self.act(now, out),
        }
    }

    pub(super) fn open_tick(&mut self, open: Open, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if open.until <= now.elapsed() || open.shown.pending.expires <= now.moment.wall {
            // The pending login stays until the store drops it, so that an answer that is on its way counts.
            return self.end_prompt(PromptEnd::TimedOut, LoginReason::TimedOut, now, out);
        }
        match open.polling {
            Some(Polling::At(at)) if at <= now.elapsed() => {
                let op = self.stamp();
                out.push(LoginEffect::Poll(op, open.shown.pending.clone()));
                Phase::Open(Open { polling: Some(Polling::Waiting(op)), ..open })
            }
            _ => Phase::Open(open),
        }
    }

    pub(super) fn polled(&mut self, open: Open, op: Op, answer: Polled, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if !matches!(open.polling, Some(Polling::Waiting(asked)) if asked == op) {
            return Phase::Open(open);
        }
        match answer {
            Polled::Pending(pause) => {
                Phase::Open(Open { polling: Some(Polling::At(now.elapsed().after(pause))), ..open })
            }
            Polled::Issued(issued) => {
                out.push(LoginEffect::Discard(open.shown.key));
                self.keep(&open.shown.pending, *issued, now, out)
            }
            Polled::Ended(reason) => {
                out.push(LoginEffect::Discard(open.shown.key));
                let end = if reason == LoginReason::Denied { PromptEnd::Denied } else { PromptEnd::Failed };
                self.end_prompt(end, reason, now, out)
            }
        }
    }
}

/// Whether the prompt of `key` is open in `record`.
fn is_open(record: &Record, key: LoginKey) -> bool {
    record.prompt.as_ref().is_some_and(|prompt| prompt.key == key && prompt.state == PromptState::Open)
}

/// The scopes to ask for: those that were asked for and granted before, and those that are needed now. Of a grant that is
/// replaced as a whole nothing is carried on, unless nothing else is asked for.
fn scopes_to_ask(grant: Option<(&Scopes, &Scopes)>, wish: &LoginWish) -> Scopes {
    match grant {
        Some((requested, granted)) if wish.extends || wish.scopes.iter().next().is_none() => {
            requested.union(granted).union(&wish.scopes)
        }
        _ => wish.scopes.clone(),
    }
}
