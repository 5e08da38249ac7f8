//! The part of a login attempt in which a person sees the prompt, until it is answered or ends (laws 17 and 18). A method
//! that handles a completion takes the data of the phase that waited for it, and returns the next phase.

use std::time::Duration;

use super::machine::AttemptCore;
use super::phase::{Decision, Ending, Leaving, Open, Phase, Polling, Repeat, Shown};
use super::{LoginEffect, LoginReport};
use crate::law::flight::Op;
use crate::ports::login::Polled;
use crate::ports::store::ClaimScope;
use crate::values::record::{PromptEnd, PromptState, Record};
use crate::values::{Callback, LoginKey, LoginOffer, LoginReason, Now, OfferedPrompt, StoreFault};

/// The shortest pause between two polls of a device login (RFC 8628).
const MIN_POLL_PAUSE: Duration = Duration::from_secs(1);

/// The time by which `slow_down` makes each further pause longer (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

impl AttemptCore {
    pub(super) fn show(&mut self, shown: Shown, taken_over: bool, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.next_op();
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
            Ok(offer) => {
                // If this host's clock is behind, the prompt of another host seems to last longer. It is shown no longer
                // than a prompt of this host.
                let left = shown.expires.since(now.moment.wall).min(self.equipment.limits.prompt);
                let until = now.elapsed().after(left);
                let polling = match &offer.prompt {
                    OfferedPrompt::Device { interval, .. } => Some(next_poll((*interval).max(MIN_POLL_PAUSE), now)),
                    OfferedPrompt::Browser { .. } => None,
                };
                let offer = LoginOffer { expires: offer.expires.min(shown.expires), ..offer };
                (self.request, self.elsewhere) = (Some(shown.key), false);
                out.push(LoginEffect::Report(LoginReport::Offered(shown.key, Box::new(offer))));
                Phase::Open(Open { shown, until, reading: None, polling, leaving: None })
            }
            // This process cannot take the answer to another process's prompt, so it prepares its own.
            Err(_) if taken_over => self.prepare(now, out),
            Err(reason) => {
                out.push(LoginEffect::Discard(shown.key));
                self.end_prompt(shown.key, PromptEnd::Failed, reason, now, out)
            }
        }
    }

    /// A person's answer has arrived. It is used if it belongs to the prompt that is shown or about to be shown. It is also
    /// used while the time-out of its prompt is being written, because a late answer counts, and no other attempt gets it.
    pub(super) fn called_back(
        &mut self,
        phase: Phase,
        callback: Callback,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match phase {
            Phase::Open(Open { shown, polling: None, .. }) | Phase::Showing { shown, .. }
                if shown.key == callback.key =>
            {
                self.take(shown.key, Some(callback), now, out)
            }
            Phase::Ending { ending: Ending { key, end: PromptEnd::TimedOut, .. }, .. } if key == callback.key => {
                self.take(key, Some(callback), now, out)
            }
            phase => phase,
        }
    }

    /// The record has been read again while the prompt is open.
    pub(super) fn looked(
        &mut self,
        open: Open,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let open = Open { reading: None, ..open };
        let record = match answer {
            Ok(record) => record,
            // If a login replaces the damaged record, the store reports it, and the record is read again.
            Err(StoreFault::Unreadable) => return Phase::Open(open),
            Err(_) => {
                let again = self.soon(self.equipment.timeouts.store_timeout, now);
                return Phase::Open(Open { reading: Some(Repeat::At(again)), ..open });
            }
        };
        let still_open =
            record.as_ref().is_some_and(|record| record.epoch == self.order.epoch && is_open(record, open.shown.key));
        self.learn(record, now, out);
        if still_open {
            return Phase::Open(open);
        }
        self.leave(open, Leaving::Overtaken, now, out)
    }

    pub(super) fn open_tick(&mut self, open: Open, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if open.leaving.is_some() {
            return Phase::Open(open);
        }
        if open.until <= now.elapsed() || open.shown.expires <= now.moment.wall {
            // The pending login stays until it expires in the store, so that a late answer counts.
            return self.leave(open, Leaving::TimedOut, now, out);
        }
        let is_due = |step: Option<Repeat>| matches!(step, Some(Repeat::At(at)) if at <= now.elapsed());
        let mut open = open;
        if is_due(open.reading) {
            open.reading = Some(Repeat::Waiting(self.load(now, out)));
        }
        if let Some(polling) = open.polling.as_mut().filter(|polling| is_due(Some(polling.step))) {
            let op = self.next_op();
            out.push(LoginEffect::Poll(op, open.shown.pending.clone()));
            polling.step = Repeat::Waiting(op);
        }
        Phase::Open(open)
    }

    pub(super) fn polled(&mut self, open: Open, op: Op, answer: Polled, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let Some(Polling { pause, .. }) = open.polling.filter(|polling| polling.step == Repeat::Waiting(op)) else {
            return Phase::Open(open);
        };
        let key = open.shown.key;
        match answer {
            Polled::Pending | Polled::SlowDown => {
                let slower = if matches!(answer, Polled::SlowDown) { SLOWER } else { Duration::ZERO };
                let open = Open { polling: Some(next_poll(pause.saturating_add(slower), now)), ..open };
                match open.leaving {
                    Some(why) => self.leave(open, why, now, out),
                    None => Phase::Open(open),
                }
            }
            Polled::Issued(issued) => {
                out.push(LoginEffect::Discard(key));
                self.keep(key, &open.shown.pending, *issued, now, out)
            }
            Polled::Ended(reason) => {
                out.push(LoginEffect::Discard(key));
                let end = if reason == LoginReason::Denied { PromptEnd::Denied } else { PromptEnd::Failed };
                self.end_prompt(key, end, reason, now, out)
            }
        }
    }

    /// Ends the open prompt. If a poll is in flight, waits for its answer first, because it may bring the tokens.
    pub(super) fn leave(&mut self, open: Open, why: Leaving, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if matches!(open.polling, Some(Polling { step: Repeat::Waiting(_), .. })) {
            return Phase::Open(Open { leaving: Some(why), ..open });
        }
        let key = open.shown.key;
        match why {
            Leaving::TimedOut => self.end_prompt(key, PromptEnd::TimedOut, LoginReason::TimedOut, now, out),
            Leaving::Cancelled => self.take(key, None, now, out),
            Leaving::LoggedOut => self.conclude(Err(LoginReason::LoggedOut), out),
            // The prompt stays open. Another process, or this one after its restart, takes it over.
            Leaving::ShuttingDown => self.conclude(Err(LoginReason::ShuttingDown), out),
            Leaving::Overtaken => self.leave_overtaken(now, out),
        }
    }

    /// The prompt was answered or ended by another process, or overwritten by an attempt that has the claim now.
    fn leave_overtaken(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match self.decide(now) {
            Decision::TakeOver(_) | Decision::Ask => {
                // The claim is asked for again without ending it first, because the store may carry out the end after it
                // has granted the claim anew.
                if self.login_claim.take().is_some() {
                    self.stray.insert(ClaimScope::Login);
                }
                self.claim_login(now, out)
            }
            Decision::Await(_) => {
                // Another process redeems an answer, so this attempt accepts none any more.
                self.elsewhere = true;
                out.push(LoginEffect::Report(LoginReport::Elsewhere));
                self.act(now, out)
            }
            _ => self.act(now, out),
        }
    }
}

fn next_poll(pause: Duration, now: Now) -> Polling {
    Polling { step: Repeat::At(now.elapsed().after(pause)), pause }
}

/// Whether the prompt of `key` is open in `record`.
pub(super) fn is_open(record: &Record, key: LoginKey) -> bool {
    record.prompt.as_ref().is_some_and(|prompt| prompt.key == key && prompt.state == PromptState::Open)
}
