//! Configurations, which change the renewal plan of an identity and nothing else.

use super::machine::{Output, STORE_TIMEOUT, Session};
use super::{ReplyId, SessionEffect};
use crate::law::flight::Op;
use crate::law::ledger::{Change, Changed, Conflict};
use crate::values::record::{RenewalPlan, View};
use crate::values::{ConfigureError, ElapsedTime, Now, StoreFault};

/// A requested configuration.
#[derive(Clone, Debug)]
pub(super) struct Configuring {
    reply: ReplyId,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// Waits for the first read of the record.
    Reading(Box<RenewalPlan>),
    /// Writes the plan.
    Writing { op: Op, limit: ElapsedTime },
}

impl Configuring {
    /// Whether the configuration waits for the write `op`.
    pub(super) fn writes(&self, op: Op) -> bool {
        matches!(self.step, Step::Writing { op: writing, .. } if writing == op)
    }

    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        match self.step {
            Step::Reading(_) => None,
            Step::Writing { limit, .. } => Some(limit),
        }
    }
}

impl Session {
    /// Starts to make `renewal` the identity's renewal plan.
    pub(super) fn configure(&mut self, reply: ReplyId, renewal: Box<RenewalPlan>, now: Now, out: &mut Output) {
        // The process stops.
        if self.stopping {
            return out.answer_configure(reply, Err(ConfigureError::ShuttingDown));
        }
        // One login, logout or configuration of the session is written at a time. A logout is `closing`.
        if self.installing.is_some() || self.configuring.is_some() || self.is_closing() {
            return out.answer_configure(reply, Err(ConfigureError::Busy));
        }
        self.configuring = Some(Configuring { reply, step: Step::Reading(renewal) });
        // A view that was only assumed, because the store could not be read, does not show whether there is a grant.
        if self.knowledge.stored_view().is_some() {
            self.write_plan(now, out);
        } else {
            self.read(now, out);
        }
    }

    /// Continues after the first read of the record, and after each later change of it.
    pub(super) fn new_view_for_configuring(&mut self, now: Now, out: &mut Output) {
        self.write_plan(now, out);
    }

    /// Writes the plan, if a configuration waits for the record.
    fn write_plan(&mut self, now: Now, out: &mut Output) {
        let Some(Configuring { reply, step: Step::Reading(renewal) }) =
            self.configuring.take_if(|configuring| matches!(configuring.step, Step::Reading(_)))
        else {
            return;
        };
        // This view came from the store, because it was checked above, or was read since.
        let Some(view) = self.knowledge.view().filter(|view| view.plan.is_some()) else {
            return out.answer_configure(reply, Err(ConfigureError::NotSignedIn));
        };
        let epoch = view.epoch();
        let op = self.next_op();
        self.configuring =
            Some(Configuring { reply, step: Step::Writing { op, limit: now.elapsed().after(STORE_TIMEOUT) } });
        out.effects.push(SessionEffect::Change(op, Box::new(Change::Configure { epoch, renewal: *renewal })));
    }

    /// Fails the configuration, because the record cannot be read.
    pub(super) fn configuring_unread(&mut self, fault: StoreFault, out: &mut Output) {
        let waits = |configuring: &mut Configuring| matches!(configuring.step, Step::Reading(_));
        if let Some(configuring) = self.configuring.take_if(waits) {
            out.answer_configure(configuring.reply, Err(ConfigureError::StoreTrouble(fault)));
        }
    }

    /// Handles a write that the store did not answer in time. A read will show whether it took effect.
    pub(super) fn time_out_configure(&mut self, now: Now, out: &mut Output) {
        let late = |configuring: &mut Configuring| configuring.wake().is_some_and(|limit| limit <= now.elapsed());
        if let Some(configuring) = self.configuring.take_if(late) {
            out.answer_configure(configuring.reply, Err(ConfigureError::StoreTrouble(StoreFault::TimedOut)));
            self.read(now, out);
        }
    }

    /// Handles the store's answer to the write.
    pub(super) fn configured(&mut self, answer: Result<Changed, StoreFault>, now: Now, out: &mut Output) {
        let Some(Configuring { reply, .. }) = self.configuring.take() else { return };
        let answer = match answer {
            Ok(Changed::Applied { after, .. }) => {
                let view = after.view();
                self.update(view.clone(), now, out);
                Ok(Box::new(view))
            }
            Ok(Changed::Conflict { why, current }) => {
                self.update(current.map_or_else(View::vacant, |record| record.view()), now, out);
                // The only other conflict of this change is `Moved`, for another epoch or a record without a grant.
                Err(if why == Conflict::Marked { ConfigureError::Marked } else { ConfigureError::Superseded })
            }
            Err(fault) => {
                self.read(now, out);
                Err(ConfigureError::StoreTrouble(fault))
            }
        };
        out.answer_configure(reply, answer);
    }

    /// Fails the configuration, because the process stops.
    pub(super) fn stop_configuring(&mut self, out: &mut Output) {
        if let Some(configuring) = self.configuring.take() {
            // A write that is under way may still take effect. `TimedOut` reports that its outcome is unknown.
            let error = match configuring.step {
                Step::Reading(_) => ConfigureError::ShuttingDown,
                Step::Writing { .. } => ConfigureError::StoreTrouble(StoreFault::TimedOut),
            };
            out.answer_configure(configuring.reply, Err(error));
        }
    }

    /// The renewal plan of the identity. It is the plan of the newest known record's grant, or else the policy's.
    pub(super) fn renewal(&self) -> &RenewalPlan {
        self.knowledge.plan().unwrap_or(&self.policy.renewal)
    }

    /// Remembers the plan of the newest record. `None` for a record without a grant.
    pub(super) fn learn_plan(&mut self, plan: Option<&RenewalPlan>) {
        let plan = plan.unwrap_or(&self.policy.renewal);
        if plan != self.renewal() {
            // A backoff that began because the host has no source of the old plan's name does not apply to the new plan.
            self.pauses.forget_missing_source();
            let other = (*plan != self.policy.renewal).then(|| plan.clone());
            self.knowledge.set_plan(other);
        }
    }
}
