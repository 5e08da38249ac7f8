//! The session's knowledge of the record: reads, and the newest view, lease and generation.

use std::time::Duration;

use super::SessionEffect;
use super::machine::{Output, STORE_TIMEOUT, Session};
use crate::law::flight::{Doubt, Op, Spending};
use crate::law::login::LoginEvent;
use crate::values::record::{MarkView, PromptState, Renewal, RenewalPlan, View};
use crate::values::{
    Cause, ElapsedTime, Epoch, Generation, Lease, Moment, Now, Reason, Revision, StoreFault, TokenError, Version,
};

/// The pause after a failed read, before jitter.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// The session's knowledge of the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// The newest view; `None` until the first read has ended.
    view: Option<View>,
    /// Whether the view came from the store. A repeatable source works with an assumed view while the store is down.
    stored: bool,
    /// The read in flight. There is at most one, so that reads do not pile up at a store that hangs.
    reading: Option<Reading>,
    /// When to read again after a failure.
    again_at: Option<ElapsedTime>,
    /// A lease that the store does not hold, or not yet. It comes from a degraded flight, a repeatable source, or a
    /// login that is not stored yet.
    unstored: Option<Lease>,
    /// The newest generation known, from any source.
    newest: Generation,
    /// Why the newest record must not be served; `None` if it may.
    closed: Option<Reason>,
    /// The mark in the record, and when this process first saw it.
    doubt: Option<Doubt>,
    /// The plan of the newest grant; `None` if it is the policy's.
    plan: Option<Box<RenewalPlan>>,
    /// The revision at which an answer to a prompt was noted, and when this process first saw it.
    answered: Option<(Revision, ElapsedTime)>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    op: Op,
    /// When it times out. `None` once it has timed out, until the next read is due. The next read begins after the end
    /// of this one, but its time-out counts from when it was due.
    limit: Option<ElapsedTime>,
    /// Whether it has timed out. Its answer is then ignored.
    late: bool,
    /// Whether the record may have changed since the read began. Another read then follows.
    again: bool,
}

impl Knowledge {
    /// The knowledge that the previous actor left.
    pub(super) fn inherited(
        unstored: Option<Lease>,
        newest: Generation,
        closed: Option<Reason>,
        plan: Option<Box<RenewalPlan>>,
    ) -> Self {
        Self { unstored, newest, closed, plan, ..Self::default() }
    }

    /// The plan of the newest grant; `None` if it is the policy's.
    pub(super) fn plan(&self) -> Option<&RenewalPlan> {
        self.plan.as_deref()
    }

    /// Remembers the plan of the newest grant.
    pub(super) fn set_plan(&mut self, plan: Option<RenewalPlan>) {
        self.plan = plan.map(Box::new);
    }

    /// The newest view of the record; `None` until the first read has ended.
    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// The newest view, if it came from the store.
    pub(super) fn stored_view(&self) -> Option<&View> {
        self.view.as_ref().filter(|_| self.stored)
    }

    /// The epoch of the newest view.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.view.as_ref().map(View::epoch)
    }

    /// The newest lease, refused or not.
    pub(super) fn newest_lease(&self) -> Option<&Lease> {
        // An unstored lease is discarded as soon as the store holds it or a newer one.
        let stored = || self.view.as_ref().and_then(|view| view.lease.as_ref());
        self.unstored.as_ref().or_else(stored)
    }

    /// The lease that the store does not hold.
    pub(super) fn unstored(&self) -> Option<&Lease> {
        self.unstored.as_ref()
    }

    /// The newest generation known, from any source.
    pub(super) fn newest_generation(&self) -> Generation {
        self.newest
    }

    /// Why the newest record must not be served; `None` if it may.
    pub(super) fn closed(&self) -> Option<Reason> {
        self.closed
    }

    /// The mark in the record, and when this process first saw it.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Whether the refresh token is being presented, or may have been spent.
    pub(super) fn in_doubt(&self) -> bool {
        matches!(&self.view, Some(View { renewal: Renewal::Token { mark: Some(_), .. }, .. }))
    }

    /// When the refresh token arrived or was last presented with success.
    pub(super) fn refresh_since(&self) -> Option<Moment> {
        match self.view.as_ref()?.renewal {
            Renewal::Token { since, .. } => Some(since),
            _ => None,
        }
    }

    /// When the read in flight times out, or the next one is due.
    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        self.reading.and_then(|reading| reading.limit).into_iter().chain(self.again_at).min()
    }

    /// Takes in a lease from a flight, which the store may not hold.
    pub(super) fn minted(&mut self, lease: Lease) {
        self.note(lease.generation());
        self.unstored = Some(lease);
    }

    fn note(&mut self, generation: Generation) {
        if generation.supersedes(&self.newest) {
            self.newest = generation;
        }
    }

    /// Whether the session already knows a newer record than `view`.
    fn is_past(&self, view: &View) -> bool {
        let older = self.view.as_ref().is_some_and(|known| view.version < known.version);
        older || view.epoch() < self.newest.epoch
    }

    /// When this process first saw that the person's answer is being redeemed; `None` if none is.
    pub(super) fn answered_since(&self) -> Option<ElapsedTime> {
        self.answered.map(|(_, seen)| seen)
    }

    /// Takes in a view that is not older than the known one.
    fn update(&mut self, view: View, now: ElapsedTime) {
        let answered = view.prompt.as_deref().filter(|prompt| prompt.state == PromptState::Answered);
        self.answered = answered.map(|prompt| {
            let known = self.answered.filter(|(revision, _)| *revision == prompt.revision);
            known.unwrap_or((prompt.revision, now))
        });
        self.doubt = match &view.renewal {
            Renewal::Token { mark: Some(mark), .. } => {
                let MarkView { flight, presentations } = *mark;
                let known = self.doubt.filter(|doubt| (doubt.flight, doubt.presentations) == (flight, presentations));
                Some(known.unwrap_or(Doubt { flight, presentations, seen: now }))
            }
            _ => None,
        };
        self.note(Generation::stored(view.epoch(), view.number));
        self.closed = view.closed();
        self.view = Some(view);
        self.stored = true;
        self.discard_unstored();
    }

    /// Discards the unstored lease if the store has it or a newer one, if its epoch is over, or if the record must not
    /// be served.
    pub(super) fn discard_unstored(&mut self) {
        let Some(view) = &self.view else { return };
        let stored = view.lease.as_ref().map(Lease::generation);
        self.unstored.take_if(|unstored| {
            let generation = unstored.generation();
            let stored = stored.is_some_and(|stored| stored == generation || stored.supersedes(&generation));
            match unstored.cause() {
                // A login's lease begins an epoch that the store does not know yet.
                Cause::Login => generation.epoch <= view.epoch(),
                _ => stored || generation.epoch != view.epoch() || view.closed().is_some(),
            }
        });
    }

    /// Whether there is a login that the store does not have yet (law 21).
    pub(super) fn holds_unstored_login(&self) -> bool {
        self.unstored.as_ref().is_some_and(|unstored| unstored.cause() == Cause::Login)
    }

    /// Forgets a login that the store will never have, and with it its epoch.
    pub(super) fn forget_unstored_login(&mut self) {
        if self.unstored.take_if(|unstored| unstored.cause() == Cause::Login).is_some() {
            let stored = |view: &View| Generation::stored(view.epoch(), view.number);
            self.newest = self.view.as_ref().map(stored).unwrap_or_default();
        }
    }

    /// Forgets the record, because the store has been emptied. Returns whether a login or logout was known.
    fn forget(&mut self) -> bool {
        self.view = None;
        // Before the first login or logout, the store may never have had a record.
        let known = self.newest.epoch > Epoch::default();
        if known {
            self.unstored = None;
            self.closed = None;
            self.newest = Generation::default();
        }
        known
    }

    /// Unlearns the record, because it was removed. The read in flight may have begun before, so its answer is ignored.
    fn unlearn(&mut self) {
        self.view = None;
        if let Some(reading) = &mut self.reading {
            reading.late = true;
        }
    }

    /// Assumes a view for a repeatable source, which mints without a store, with numbers that follow the newest generation.
    fn assume(&mut self) {
        let version = Version { epoch: self.newest.epoch, ..Version::default() };
        let renewal = Renewal::LoginRequired(self.closed.unwrap_or(Reason::NeverSignedIn));
        self.view = Some(View { version, renewal, ..View::vacant() });
    }
}

impl Session {
    /// Begins to read the record. If a read is in flight, another one follows it, even if the one in flight was given up.
    pub(super) fn read(&mut self, now: Now, out: &mut Output) {
        let limit = now.elapsed().after(STORE_TIMEOUT);
        self.knowledge.again_at = None;
        if let Some(reading) = &mut self.knowledge.reading {
            reading.again = true;
            reading.limit.get_or_insert(limit);
            return;
        }
        let op = self.next_op();
        self.knowledge.reading = Some(Reading { op, limit: Some(limit), late: false, again: false });
        out.effects.push(SessionEffect::Load(op));
    }

    /// Handles the store's answer to a read.
    pub(super) fn loaded(&mut self, op: Op, answer: Result<Option<Box<View>>, StoreFault>, now: Now, out: &mut Output) {
        let Some(reading) = self.knowledge.reading.take_if(|reading| reading.op == op) else { return };
        match answer {
            _ if reading.late => {}
            Ok(view) => self.read_in(view.map(|view| *view), now, out),
            Err(fault) => self.unread(fault, now, out),
        }
        if reading.again {
            self.read(now, out);
        } else if !reading.late {
            self.answer_deferred_refusals(now, out);
        }
    }

    /// Takes in the store's answer. It is older than the known record only if a write overtook the read, or if the
    /// store has lost records.
    fn read_in(&mut self, view: Option<View>, now: Now, out: &mut Output) {
        match view {
            // An assumed view did not come from the store either.
            None if self.knowledge.stored_view().is_none() => self.forget_record(),
            Some(view) if self.knowledge.stored_view().is_none() && view.epoch() < self.knowledge.newest.epoch => {
                return self.unread(StoreFault::Failed, now, out);
            }
            _ => {}
        }
        self.update(view.unwrap_or_else(View::vacant), now, out);
    }

    /// Takes in that the record was removed. The next read finds none, or the record of a new login.
    pub(super) fn removed(&mut self, now: Now, out: &mut Output) {
        self.knowledge.unlearn();
        self.forget_record();
        self.read(now, out);
    }

    /// Forgets the record, because the store has been emptied. A later record does not continue the old one.
    pub(super) fn forget_record(&mut self) {
        if self.knowledge.forget() {
            self.refusals.forget_floor();
        }
    }

    /// Gives up a read that takes too long, and begins one that is due.
    pub(super) fn time_out_read(&mut self, now: Now, out: &mut Output) {
        let reading = self.knowledge.reading.as_mut();
        if let Some(reading) = reading.filter(|reading| reading.limit.is_some_and(|limit| limit <= now.elapsed())) {
            (reading.limit, reading.late, reading.again) = (None, true, false);
            self.unread(StoreFault::TimedOut, now, out);
        }
        if self.knowledge.again_at.take_if(|at| *at <= now.elapsed()).is_some() {
            self.read(now, out);
        }
    }

    /// The record could not be read. The session goes on with what it knows; without a view, the callers get an error.
    fn unread(&mut self, fault: StoreFault, now: Now, out: &mut Output) {
        self.logins_unread(fault, now, out);
        self.closing_unread(fault, out);
        self.configuring_unread(fault, out);
        self.answer_deferred_refusals(now, out);
        self.knowledge.again_at = Some(now.elapsed().after(READ_PAUSE + now.jitter.of(READ_PAUSE)));
        if self.knowledge.view.is_some() {
            return;
        }
        if self.renewal().spending == Spending::Repeatable {
            self.knowledge.assume();
            self.refusals.lower_floor(self.knowledge.newest, self.knowledge.newest);
            self.serve_waiters(now, out);
        } else {
            self.fail_waiters(TokenError::new(Reason::StoreTrouble).with_retry_after(READ_PAUSE), out);
        }
    }

    /// Takes in a view of the record, and answers the waiters that it can answer.
    pub(super) fn update(&mut self, view: View, now: Now, out: &mut Output) {
        self.absorb(view, now, out);
        self.take_deferred_logins(now, out);
        self.serve_waiters(now, out);
    }

    /// Takes in a view of the record, unless a newer one is known already.
    pub(super) fn absorb(&mut self, view: View, now: Now, out: &mut Output) {
        if self.knowledge.is_past(&view) {
            return self.knowledge.discard_unstored();
        }
        let epoch = view.epoch();
        self.flights.forget_before(epoch);
        if self.knowledge.epoch().unwrap_or(self.knowledge.newest.epoch) < epoch {
            self.reset_for_new_epoch();
            self.tell_attempts(&LoginEvent::Moved(epoch), out);
        }
        self.issuers.record_seen(&view);
        self.learn_plan(view.plan.as_ref());
        let known_before = self.knowledge.newest;
        self.knowledge.update(view, now.elapsed());
        self.refusals.lower_floor(known_before, self.knowledge.newest);
        self.answer_known_refusals(now, out);
        self.new_view_for_closing(now, out);
        self.new_view_for_configuring(now, out);
        if let Some(issuers) = self.issuers.take_deferred() {
            self.issuers_listed(issuers, now, out);
        }
    }

    /// The epoch has changed. The failures and refusals of the old one do not count in the new one.
    pub(super) fn reset_for_new_epoch(&mut self) {
        self.pauses.reset();
        self.refusals.forget_futility();
        self.landings.forget_finding();
    }
}
