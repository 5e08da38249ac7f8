//! What the session knows of the record, and whom it can serve from it.

use std::time::Duration;

use super::machine::{Output, STORE_TIMEOUT, Session};
use super::waiters::Waiter;
use super::{Ask, SessionEffect, WaiterId};
use crate::law::flight::{Doubt, Op, Spending};
use crate::values::record::{Renewal, View};
use crate::values::{ElapsedTime, Epoch, Generation, Lease, Moment, Now, Reason, StoreFault, TokenError, Version};

/// How long the session lets a store rest that failed to read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// What the session knows of the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// `None` until the record was read for the first time.
    pub(super) view: Option<View>,
    /// Whether the view is the store's, and not made up because the store could not be read.
    pub(super) read: bool,
    /// The read that is under way.
    reading: Option<Reading>,
    /// When to read again after a failure.
    again_at: Option<ElapsedTime>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    op: Op,
    limit: ElapsedTime,
    /// StoreEvent came in since: what this read brings may be old already.
    again: bool,
}

impl Knowledge {
    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        self.reading.map(|reading| reading.limit).into_iter().chain(self.again_at).min()
    }

    /// Whether the refresh token is being presented, or may have been spent.
    pub(super) fn in_doubt(&self) -> bool {
        matches!(&self.view, Some(View { renewal: Renewal::Token { mark: Some(_), .. }, .. }))
    }

    /// When the refresh token arrived or was last of use.
    pub(super) fn refresh_since(&self) -> Option<Moment> {
        match self.view.as_ref()?.renewal {
            Renewal::Token { since, .. } => Some(since),
            _ => None,
        }
    }
}

impl Session {
    /// A caller wants a token: it is served, turned away at once, or waits.
    pub(super) fn get_token(&mut self, waiter: WaiterId, ask: Ask, now: Now, out: &mut Output) {
        if !ask.force
            && !self.stopping
            && let Some(lease) = self.serve(ask.min_lifetime, now)
        {
            self.used = true;
            self.early_wanted |= self.in_early_window(now);
            return out.answer(waiter, Ok(lease));
        }
        let refusal = if ask.deadline() <= now.elapsed() {
            Some(TokenError::new(Reason::DeadlinePassed))
        } else {
            self.refusal(ask.deadline(), ask.force, now)
        };
        match refusal {
            Some(error) => out.answer(waiter, Err(error)),
            None if self.waiters.len() >= self.policy.max_waiters => {
                out.answer(waiter, Err(TokenError::new(Reason::TooManyWaiters)));
            }
            None => self.waiters.insert(waiter, Waiter::new(&ask, self.flights)),
        }
    }

    /// The newest lease that may be handed out at all, whatever its age.
    pub(super) fn lease(&self) -> Option<&Lease> {
        if self.is_closing() || self.barred.is_some_and(|bar| Some(bar.epoch) == self.epoch()) {
            return None;
        }
        let lease = self.newest_lease()?;
        self.floor.is_none_or(|floor| lease.generation().supersedes(&floor)).then_some(lease)
    }

    /// The newest lease there is, refused or not.
    pub(super) fn newest_lease(&self) -> Option<&Lease> {
        // An unstored lease is shed as soon as the store shows one like it or a newer one.
        let stored = || self.knowledge.view.as_ref().and_then(|view| view.lease.as_ref());
        self.unstored.as_ref().or_else(stored)
    }

    /// The lease for a caller that needs `min_lifetime` of it, if there is one.
    pub(super) fn serve(&self, min_lifetime: Duration, now: Now) -> Option<Lease> {
        let lease = self.lease()?;
        let validity = lease.validity();
        let need = validity.lifetime().map_or(min_lifetime, |lifetime| min_lifetime.min(lifetime / 4 * 3));
        let good = validity.is_good(self.policy.safety_margin, &now.moment);
        (good && validity.outlasts(need, &now.moment)).then(|| lease.clone())
    }

    /// Why a caller with this deadline is turned away at once; `None` when waiting may help. A caller that insists needs
    /// a flight that has not begun.
    fn refusal(&self, deadline: ElapsedTime, insists: bool, now: Now) -> Option<TokenError> {
        if self.stopping {
            return Some(TokenError::new(Reason::ShuttingDown));
        }
        if let Some(reason) = self.login_required(now) {
            return Some(TokenError::new(reason));
        }
        if self.flight.as_ref().is_some_and(|flight| flight.keeping) {
            return Some(TokenError::new(Reason::StoreTrouble));
        }
        if self.flight.is_some() && !insists {
            return None;
        }
        let too_late = |until: ElapsedTime| until >= deadline;
        match (self.backoff.resting, self.throttled) {
            (Some((error, until)), _) if too_late(until) => Some(error.with_retry_after(until.since(now.elapsed()))),
            (_, Some(until)) if too_late(until) => {
                Some(TokenError::new(Reason::Throttled).with_retry_after(until.since(now.elapsed())))
            }
            _ => None,
        }
    }

    /// Why only a login helps, if only a login does.
    pub(super) fn login_required(&self, now: Now) -> Option<Reason> {
        if self.is_closing() {
            return Some(Reason::LoggedOut);
        }
        let view = self.knowledge.view.as_ref()?;
        if self.barred.is_some_and(|bar| bar.epoch == view.epoch()) {
            return Some(Reason::IssuerChanged);
        }
        let repeatable = self.renewal().spending == Spending::Repeatable;
        let verdict = self.verdict.filter(|verdict| verdict.version == view.version && verdict.until > now.elapsed());
        match &view.renewal {
            Renewal::LoginRequired(reason) if !(repeatable && *reason == Reason::NeverSignedIn) => Some(*reason),
            Renewal::WithoutToken if !repeatable => Some(Reason::NotRefreshable),
            _ => verdict.map(|verdict| verdict.reason),
        }
    }

    /// Begins to read the record, unless a read is under way: that one is then followed by another.
    pub(super) fn read(&mut self, now: Now, out: &mut Output) {
        if let Some(reading) = &mut self.knowledge.reading {
            reading.again = true;
            return;
        }
        let op = self.stamp();
        let limit = now.elapsed().after(STORE_TIMEOUT);
        self.knowledge.reading = Some(Reading { op, limit, again: false });
        self.knowledge.again_at = None;
        out.effects.push(SessionEffect::Load(op));
    }

    pub(super) fn loaded(&mut self, op: Op, answer: Result<Option<Box<View>>, StoreFault>, now: Now, out: &mut Output) {
        let Some(reading) = self.knowledge.reading.take_if(|reading| reading.op == op) else { return };
        match answer {
            Ok(view) => self.read_in(view.map(|view| *view), now, out),
            Err(fault) => self.unread(fault, now, out),
        }
        if reading.again {
            self.read(now, out);
        }
    }

    /// The store's own word. It is older than what is known only where a read was overtaken, or where the store lost what
    /// it had.
    fn read_in(&mut self, view: Option<View>, now: Now, out: &mut Output) {
        match view {
            None if self.knowledge.view.is_none() => self.start_over(),
            Some(view) if self.knowledge.view.is_none() && view.epoch() < self.known.epoch => {
                return self.unread(StoreFault::Failed, now, out);
            }
            _ => {}
        }
        self.saw(view.unwrap_or_else(View::vacant), now, out);
    }

    /// The store has been emptied behind our back: whatever is known of its past does not hold for what comes.
    pub(super) fn start_over(&mut self) {
        // Before the first login or logout, what is known may never have been stored at all.
        if self.known.epoch > Epoch::default() {
            self.unstored = None;
            self.floor = None;
            self.closed = None;
            self.known = Generation::default();
        }
        self.knowledge.view = None;
    }

    /// A read that takes too long, or is due again.
    pub(super) fn read_late(&mut self, now: Now, out: &mut Output) {
        let late = self.knowledge.reading.take_if(|reading| reading.limit <= now.elapsed());
        if late.is_some() {
            self.unread(StoreFault::TimedOut, now, out);
        }
        if self.knowledge.again_at.take_if(|at| *at <= now.elapsed()).is_some() {
            self.read(now, out);
        }
    }

    /// The record could not be read. What is known goes on being used; a caller that needs more than that is told.
    fn unread(&mut self, fault: StoreFault, now: Now, out: &mut Output) {
        self.closing_unread(fault, out);
        self.configuring_unread(fault, out);
        self.hear(now, out);
        self.knowledge.again_at = Some(now.elapsed().after(READ_PAUSE + now.jitter.of(READ_PAUSE)));
        if self.knowledge.view.is_some() {
            return;
        }
        if self.renewal().spending == Spending::Repeatable {
            // A repeatable source mints without a store, and counts on from what is known.
            let version = Version { epoch: self.known.epoch, ..Version::default() };
            let renewal = Renewal::LoginRequired(self.closed.unwrap_or(Reason::NeverSignedIn));
            self.knowledge.view = Some(View { version, renewal, ..View::vacant() });
            self.serve_waiters(now, out);
        } else {
            self.dismiss_all(TokenError::new(Reason::StoreTrouble).with_retry_after(READ_PAUSE), out);
        }
    }

    /// Takes in what the store holds, and serves whom it serves.
    pub(super) fn saw(&mut self, view: View, now: Now, out: &mut Output) {
        self.absorb(view, now, out);
        self.serve_waiters(now, out);
    }

    /// Takes in what the store holds, unless something newer is known already.
    pub(super) fn absorb(&mut self, view: View, now: Now, out: &mut Output) {
        let older = self.knowledge.view.as_ref().is_some_and(|known| view.version < known.version);
        if older || view.epoch() < self.known.epoch {
            return self.shed_unstored();
        }
        let epoch = view.epoch();
        if let Renewal::Token { mark: Some(mark), .. } = &view.renewal {
            let known = self.doubt.filter(|doubt| doubt.flight == mark.flight);
            self.doubt = Some(known.unwrap_or(Doubt { flight: mark.flight, seen: now.elapsed() }));
        } else {
            self.doubt = None;
        }
        if self.flight.as_ref().is_some_and(|flight| flight.epoch < epoch) {
            // It belongs to an epoch that is over, holds a claim of that epoch, and stands in nobody's way.
            self.flight = None;
        }
        if self.epoch().unwrap_or(self.known.epoch) < epoch {
            self.new_epoch();
        }
        self.know(Generation::stored(epoch, view.number));
        // The bar is up until the record says the same, or the grant it was for is gone.
        self.barred = self.barred.filter(|bar| bar.epoch == epoch && view.closed().is_none());
        self.closed = view.closed();
        self.learn_plan(view.plan.as_ref());
        self.knowledge.view = Some(view);
        self.knowledge.read = true;
        self.shed_unstored();
        self.hear(now, out);
        self.new_view_for_closing(now, out);
        self.new_view_for_configuring(now, out);
        if let Some(issuers) = self.listed.take() {
            self.issuers_listed(issuers, now, out);
        }
    }

    /// A lease that is not stored belongs to the epoch it was minted in, and is over once the store has a newer one, or
    /// says that nothing is to be served.
    pub(super) fn shed_unstored(&mut self) {
        let Some(view) = &self.knowledge.view else { return };
        let stored = view.lease.as_ref().map(Lease::generation);
        self.unstored.take_if(|unstored| {
            let generation = unstored.generation();
            let stored = stored.is_some_and(|stored| stored == generation || stored.supersedes(&generation));
            stored || generation.epoch != view.epoch() || view.closed().is_some()
        });
    }

    pub(super) fn know(&mut self, generation: Generation) {
        if generation.supersedes(&self.known) {
            self.known = generation;
        }
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.knowledge.view.as_ref().map(View::epoch)
    }

    /// Serves every waiting caller that can be served, and turns away those that need not wait any longer.
    pub(super) fn serve_waiters(&mut self, now: Now, out: &mut Output) {
        self.draw_window(now);
        let mut waiters = std::mem::take(&mut self.waiters);
        let mut used = false;
        waiters.answer_each(|id, waiter| {
            let insists = waiter.after_flight.is_some();
            let served = if insists { None } else { self.serve(waiter.min_lifetime, now) };
            used |= served.is_some();
            let answer = served.map(Ok).or_else(|| self.refusal(waiter.deadline, insists, now).map(Err));
            let answered = answer.is_some();
            if let Some(answer) = answer {
                out.answer(id, answer);
            }
            answered
        });
        self.waiters = waiters;
        self.used |= used;
        self.early_wanted |= used && self.in_early_window(now);
    }

    /// Answers every waiting caller with `error`.
    pub(super) fn dismiss_all(&mut self, error: TokenError, out: &mut Output) {
        self.waiters.answer_each(|id, _| {
            out.answer(id, Err(error));
            true
        });
    }
}
