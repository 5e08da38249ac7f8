//! When to fly, with what order, and what a landing means (laws 6, 8 and 11).

use std::time::Duration;

use super::machine::{Output, Session, Verdict};
use super::{Backoff, RefreshPolicy, RunningFlight, SessionEffect};
use crate::law::flight::{Adopt, Landing, Order, Outcome, Report, Urgency};
use crate::law::profile::Trouble;
use crate::values::record::Renewal;
use crate::values::{Cause, ElapsedTime, Epoch, FlightId, Generation, Lease, Moment, Now, Reason, TokenError};

/// How long after a resume background work counts as set off by it.
const RESUME: Duration = Duration::from_secs(30);

/// How many landings in a row may say that the record has moved before the session rests.
const MOVES_MOST: u32 = 3;

/// The flight that runs, as its session sees it.
#[derive(Clone, Debug)]
pub(super) struct Airborne {
    pub(super) id: FlightId,
    pub(super) epoch: Epoch,
    /// Its number in this session; zero for one that was running before.
    pub(super) number: u64,
    pub(super) keeping: bool,
}

impl Airborne {
    pub(super) fn inherited(running: RunningFlight) -> Self {
        Self { id: running.id, epoch: running.epoch, number: 0, keeping: running.keeping }
    }
}

impl Session {
    /// Begins a flight, if one is called for and allowed.
    pub(super) fn pursue(&mut self, now: Now, out: &mut Output) {
        let at_rest = self.backoff.resting.is_some_and(|(_, until)| until > now.elapsed())
            || self.throttled.is_some_and(|until| until > now.elapsed());
        if self.stopping || at_rest || self.flight.is_some() || self.closing.is_some() {
            return;
        }
        let Some(view) = &self.knowledge.view else { return };
        let Some(cause) = self.cause(now) else { return };
        if self.login_required(now).is_some() {
            return;
        }
        let (epoch, issuer) = (view.epoch(), view.issuer.clone());
        self.flights += 1;
        let id = FlightId(self.birth.flights.0.wrapping_add(u128::from(self.flights)));
        let newest = self.newest_lease().map(Lease::generation);
        let order = Order {
            flight: id,
            cause,
            epoch,
            adopt: match cause {
                Cause::Force => Adopt::Nothing,
                _ => Adopt::Above { floor: newer(self.floor, newest), margin: self.policy.safety_margin },
            },
            issuer,
            known: Generation { epoch, number: self.known.number, ..self.known },
            nonce: self.birth.nonce,
            doubt: self.doubt,
            urgency: match self.resumed {
                _ if !self.waiters.is_empty() => Urgency::Callers,
                Some(resumed) if now.elapsed().since(resumed) < RESUME => Urgency::AfterResume,
                _ => Urgency::Background,
            },
        };
        self.early_wanted = false;
        self.flight = Some(Airborne { id, epoch, number: self.flights, keeping: false });
        out.effects.push(SessionEffect::Fly(Box::new(order)));
    }

    /// Why a token is wanted now, if one is.
    fn cause(&self, now: Now) -> Option<Cause> {
        if !self.waiters.is_empty() {
            if self.waiters.insist() {
                return Some(Cause::Force);
            }
            return Some(self.cause_of_want());
        }
        let due = match self.policy.refresh {
            RefreshPolicy::OnDemand => self.early_wanted,
            RefreshPolicy::WhileInUse => self.used || self.early_wanted,
            RefreshPolicy::KeepWarm { .. } => true,
        };
        if due && self.in_early_window(now) {
            return Some(Cause::Early);
        }
        match self.policy.refresh {
            RefreshPolicy::KeepWarm { .. } if self.lease().is_none() => Some(self.cause_of_want()),
            RefreshPolicy::KeepWarm { inactivity: Some(span) }
                if self.unused_for(now) >= Some(keep_alive_after(span)) =>
            {
                Some(Cause::KeepAlive)
            }
            _ => None,
        }
    }

    /// Why there is no lease to serve: it was refused, or there is none, or it is over.
    fn cause_of_want(&self) -> Cause {
        match (self.lease(), self.newest_lease()) {
            (None, Some(_)) => Cause::Refusal,
            _ => Cause::Expiry,
        }
    }

    /// How long the refresh token has lain unused.
    fn unused_for(&self, now: Now) -> Option<Duration> {
        match &self.knowledge.view.as_ref()?.renewal {
            Renewal::Token { since, .. } => Some(age(since, &now.moment)),
            _ => None,
        }
    }

    /// Whether the session refreshes with nobody waiting.
    pub(super) fn refreshes_alone(&self) -> bool {
        match self.policy.refresh {
            RefreshPolicy::OnDemand => self.early_wanted,
            RefreshPolicy::WhileInUse => self.used || self.early_wanted,
            RefreshPolicy::KeepWarm { .. } => true,
        }
    }

    /// When the next refresh with nobody waiting may be due.
    pub(super) fn background_wake(&self, now: Now) -> Option<ElapsedTime> {
        if !self.refreshes_alone() || self.flight.is_some() || self.login_required(now).is_some() || self.stopping {
            return None;
        }
        let window = self.window.and_then(|(_, window)| window.remaining(&now.moment));
        let unused = match self.policy.refresh {
            RefreshPolicy::KeepWarm { inactivity: Some(span) } => {
                self.unused_for(now).map(|unused| keep_alive_after(span).saturating_sub(unused))
            }
            _ => None,
        };
        let next = window.into_iter().chain(unused).filter(|span| !span.is_zero()).min();
        next.map(|span| now.elapsed().after(span))
    }

    /// Draws, once for each lease, where its early window begins: between half and all of the window before expiry, so
    /// that siblings do not come at once. The window is never more than a quarter of the lifetime (law 14).
    pub(super) fn draw_window(&mut self, now: Now) {
        let Some(lease) = self.lease() else {
            self.window = None;
            return;
        };
        let (generation, validity) = (lease.generation(), lease.validity());
        if self.window.is_some_and(|(drawn, _)| drawn == generation) {
            return;
        }
        let early = validity.lifetime().map_or(Duration::ZERO, |lifetime| self.policy.early_window.min(lifetime / 4));
        let least = validity.lifetime().map_or(Duration::ZERO, |lifetime| self.policy.safety_margin.min(lifetime / 4));
        let margin = (early - now.jitter.of(early / 2)).max(least);
        self.window = Some((generation, validity.shortened(margin)));
        self.early_wanted = false;
    }

    pub(super) fn in_early_window(&self, now: Now) -> bool {
        let drawn = self.window.filter(|(generation, _)| self.lease().map(Lease::generation) == Some(*generation));
        drawn.is_some_and(|(_, window)| !window.outlasts(Duration::ZERO, &now.moment))
    }

    /// A flight reports. One of an epoch that is over has a view to give and nothing else.
    pub(super) fn reported(&mut self, id: FlightId, report: Report, now: Now, out: &mut Output) {
        let ours = self.flight.as_ref().is_some_and(|flight| flight.id == id);
        match report {
            Report::Landed(landing) if ours => self.landed(landing, now, out),
            Report::Landed(Landing { view: Some(view), .. }) => self.saw(*view, now, out),
            Report::Landed(_) => {}
            Report::Settled(view) => {
                self.flight.take_if(|flight| flight.id == id);
                self.saw(*view, now, out);
            }
            Report::Lost { .. } => {
                self.flight.take_if(|flight| flight.id == id);
            }
        }
    }

    fn landed(&mut self, landing: Landing, now: Now, out: &mut Output) {
        let Some(mut flight) = self.flight.take() else { return };
        let (epoch, number) = (flight.epoch, flight.number);
        flight.keeping = landing.keeping;
        if landing.keeping {
            self.flight = Some(flight);
        }
        self.moves = if landing.outcome == Outcome::Moved { self.moves + 1 } else { 0 };
        if let Outcome::Minted(lease) = &landing.outcome
            && self.epoch().is_none_or(|known| known == epoch)
        {
            self.know(lease.generation());
            self.unstored = Some(lease.clone());
        }
        if let Some(view) = landing.view {
            self.absorb(*view, now, out);
        }
        self.conclude_flight(landing.outcome, (epoch, number), now, out);
        if self.moves > 0 {
            self.read(now, out);
        }
    }

    /// What the landing means for those who waited for it, and for the next flight.
    fn conclude_flight(&mut self, outcome: Outcome, (epoch, number): (Epoch, u64), now: Now, out: &mut Output) {
        match outcome {
            Outcome::Minted(_) | Outcome::Adopted => {
                let minted = matches!(outcome, Outcome::Minted(_));
                self.used = false;
                self.verdict = None;
                self.hand_out(epoch, number, minted, now, out);
            }
            Outcome::Moved if self.moves > MOVES_MOST => self.rest(Trouble::new(Reason::Contended), now, out),
            Outcome::Moved => self.serve_waiters(now, out),
            Outcome::Failed(trouble) => self.rest(trouble, now, out),
            Outcome::LoginRequired(reason) => {
                if let Some(view) = &self.knowledge.view {
                    let until = now.elapsed().after(self.policy.backoff_most);
                    self.verdict = Some(Verdict { version: view.version, reason, until });
                }
                self.refuse_cohort(TokenError::new(reason), now, out);
            }
        }
    }

    /// Serves the cohort of a flight that brought a token.
    fn hand_out(&mut self, epoch: Epoch, number: u64, minted: bool, now: Now, out: &mut Output) {
        self.draw_window(now);
        let lease = self.lease().filter(|_| minted).cloned();
        // Over on arrival, or nearly, or not above what was refused: the next flight must not begin at once, or it would
        // never end. Where the record has moved on meanwhile, this token is nobody's, and nobody's failure.
        let ours = self.epoch() == Some(epoch) && self.login_required(now).is_none();
        let stillborn = minted && ours && (lease.is_none() || self.in_early_window(now));
        if !stillborn {
            self.backoff = Backoff::default();
        }
        let alive = lease.filter(|lease| lease.validity().outlasts(Duration::ZERO, &now.moment));
        let mut served = false;
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.answer_each(|id, waiter| {
            if !waiter.accepts_flight(number) {
                return false;
            }
            // Nothing better than a token just minted can be had, whatever the caller's minimum.
            match self.serve(waiter.min_lifetime, now).or(alive.clone()) {
                Some(lease) => {
                    served = true;
                    out.answer(id, Ok(lease));
                    true
                }
                None => false,
            }
        });
        self.waiters = waiters;
        self.used |= served;
        if stillborn {
            self.rest(Trouble::new(Reason::ExpiredOnArrival), now, out);
        }
        self.serve_waiters(now, out);
    }

    /// No token, for now: the cohort shares the error, and the next attempt waits (law 8).
    pub(super) fn rest(&mut self, trouble: Trouble, now: Now, out: &mut Output) {
        // An issuer that says how long it wants to be left alone is no failure of ours.
        let told_off = trouble.reason == Reason::Throttled && trouble.retry_after.is_some();
        let failures = self.backoff.failures.saturating_add(u32::from(!told_off));
        let doubled = self.policy.backoff_first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let pause = doubled.min(self.policy.backoff_most);
        let pause = pause / 2 + now.jitter.of(pause / 2);
        let told = trouble.retry_after.unwrap_or_default().min(self.policy.retry_after_most);
        let pause = pause.max(told);
        let error = TokenError::new(trouble.reason);
        self.backoff = Backoff { failures, resting: Some((error, now.elapsed().after(pause))) };
        self.refuse_cohort(error.retry_after(pause), now, out);
    }

    /// Answers everyone who waits: with a lease that is still good, else with `error`.
    fn refuse_cohort(&mut self, error: TokenError, now: Now, out: &mut Output) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.answer_each(|id, waiter| {
            let served = if waiter.after_flight.is_some() { None } else { self.serve(waiter.min_lifetime, now) };
            out.answer(id, served.ok_or(error));
            true
        });
        self.waiters = waiters;
    }

    /// The flight is over. If it had not landed, or was keeping something, it broke off: its mark stays, and the record
    /// says what is true now.
    pub(super) fn flight_over(&mut self, id: FlightId, now: Now, out: &mut Output) {
        if self.flight.take_if(|flight| flight.id == id).is_some() {
            self.rest(Trouble::new(Reason::BrokenOff), now, out);
            self.read(now, out);
        }
    }
}

/// After how long without use a refresh token is refreshed, for a server that lets it lie for `inactivity`. Never less
/// than a minute.
fn keep_alive_after(inactivity: Duration) -> Duration {
    (inactivity / 4 * 3).max(Duration::from_secs(60))
}

/// How long ago `then` was: by the elapsed clock, or the wall clock across boots.
fn age(then: &Moment, now: &Moment) -> Duration {
    now.elapsed_since(then).unwrap_or_else(|| now.wall.since(then.wall))
}

/// The newer of two generations, if there is any.
fn newer(one: Option<Generation>, other: Option<Generation>) -> Option<Generation> {
    match (one, other) {
        (Some(one), Some(other)) if other.supersedes(&one) => Some(other),
        (one, other) => one.or(other),
    }
}
