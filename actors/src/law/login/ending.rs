//! The end of a login attempt without tokens, after a failure or because the host or the session ends it. Each method takes
//! the data of a phase and returns the next one.

use super::LoginEffect;
use super::machine::AttemptCore;
use super::phase::{Ending, KeepStep, Leaving, Phase};
use crate::law::ledger::{Change, Changed};
use crate::values::record::{PromptEnd, PromptState};
use crate::values::{ElapsedTime, Epoch, LoginKey, LoginReason, Now, StoreFault};

/// How many times the attempt tries to write the end of a prompt into the record. If all tries fail, other processes learn
/// of the end when the prompt expires.
const MAX_END_TRIES: u32 = 3;

impl AttemptCore {
    /// Writes how the prompt ended, for the processes that follow it, and then concludes.
    pub(super) fn end_prompt(
        &mut self,
        key: LoginKey,
        end: PromptEnd,
        reason: LoginReason,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.write_end(Ending { key, end, reason, tries: 1 }, now, out)
    }

    fn write_end(&mut self, ending: Ending, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.next_store_op(now);
        let change = Change::EndPrompt { key: ending.key, end: ending.end, at: now.moment };
        out.push(LoginEffect::Change(op, change));
        Phase::Ending { op, ending }
    }

    pub(super) fn end_written(
        &mut self,
        ending: Ending,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(Changed::Applied { after, .. }) => self.learn(Some(after), now, out),
            Ok(Changed::Conflict { current, .. }) => {
                self.learn(current, now, out);
                return self.end_overtaken(ending, now, out);
            }
            Err(StoreFault::Unreadable) => {}
            Err(_) if ending.tries < MAX_END_TRIES && self.closing.is_none() => {
                return self.write_end(Ending { tries: ending.tries + 1, ..ending }, now, out);
            }
            Err(_) => {}
        }
        self.conclude(Err(ending.reason), out)
    }

    /// The record has changed before the end of the prompt could be written. If the prompt had no answer, or the answer was
    /// not used, a login or logout of another process decides the result.
    fn end_overtaken(&mut self, ending: Ending, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let record = self.record.as_deref();
        let moved = record.is_some_and(|record| record.epoch != self.order.epoch);
        let prompt = record.and_then(|record| record.prompt.as_ref());
        let answered = prompt.is_some_and(|prompt| prompt.key == ending.key && prompt.state == PromptState::Answered);
        match ending.end {
            PromptEnd::TimedOut | PromptEnd::Cancelled | PromptEnd::Denied | PromptEnd::Aborted if moved => {
                self.conclude(Err(self.overtaken()), out)
            }
            // The answer came in time, to another process.
            PromptEnd::TimedOut if answered => self.act(now, out),
            _ => self.conclude(Err(ending.reason), out),
        }
    }

    /// The host or the person cancels. A redemption that has begun goes on.
    pub(super) fn cancel(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            Phase::Open(open) => {
                self.cancelled = true;
                self.leave(open, Leaving::Cancelled, now, out)
            }
            Phase::Showing { shown, .. } => {
                self.cancelled = true;
                self.take(shown.key, None, now, out)
            }
            // The prompt may be written already. It is ended once the store has answered.
            phase @ Phase::Asking { .. } => {
                self.cancelled = true;
                phase
            }
            phase => self.stop_early(phase, LoginReason::Cancelled, out),
        }
    }

    /// The session is being logged out of `epoch`. A code that was not sent is not sent any more.
    pub(super) fn log_out(&mut self, phase: Phase, epoch: Epoch, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        self.logged_out = Some(epoch);
        match phase {
            Phase::Keeping(keeping) if matches!(keeping.step, KeepStep::Resting { .. }) => {
                self.reserve(keeping, now, out)
            }
            phase if epoch != self.order.epoch => phase,
            Phase::Open(open) => self.leave(open, Leaving::LoggedOut, now, out),
            Phase::Showing { shown, .. } => {
                out.push(LoginEffect::Discard(shown.key));
                self.conclude(Err(LoginReason::LoggedOut), out)
            }
            // The logout removes the prompt from the record, if it is written already.
            Phase::Asking { prepared, .. } => {
                out.push(LoginEffect::Discard(prepared.key));
                self.conclude(Err(LoginReason::LoggedOut), out)
            }
            Phase::ClaimingSpend { .. } | Phase::Pausing { .. } => self.conclude(Err(LoginReason::LoggedOut), out),
            phase => self.stop_early(phase, LoginReason::LoggedOut, out),
        }
    }

    pub(super) fn shut_down(
        &mut self,
        phase: Phase,
        until: ElapsedTime,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.closing.get_or_insert(until);
        match phase {
            Phase::Open(open) => self.leave(open, Leaving::ShuttingDown, now, out),
            // The prompt stays open. Another process, or this one after its restart, takes it over.
            Phase::Showing { .. } => self.conclude(Err(LoginReason::ShuttingDown), out),
            Phase::Keeping(keeping) if matches!(keeping.step, KeepStep::Resting { .. }) => {
                self.reserve(keeping, now, out)
            }
            phase => self.stop_early(phase, LoginReason::ShuttingDown, out),
        }
    }

    /// Ends an attempt that has shown no prompt and has no answer. An attempt in any other phase goes on.
    fn stop_early(&mut self, phase: Phase, reason: LoginReason, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            Phase::Claiming { .. }
            | Phase::Following { .. }
            | Phase::Reading { .. }
            | Phase::Awaiting { .. }
            | Phase::EndingStale { .. }
            | Phase::Peeking { .. }
            | Phase::Preparing { .. } => self.conclude(Err(reason), out),
            Phase::Putting { prepared, .. } => {
                out.push(LoginEffect::Discard(prepared.key));
                self.conclude(Err(reason), out)
            }
            phase => phase,
        }
    }
}
