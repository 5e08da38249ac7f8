//! What a flight's report means: for those who waited, and for the next flight (laws 4, 8 and 11).

use std::time::Duration;

use super::Backoff;
use super::machine::{Output, Session, Verdict};
use crate::law::flight::{Landing, Outcome, Report};
use crate::law::profile::Trouble;
use crate::values::record::View;
use crate::values::{Epoch, FlightId, Lease, Now, Reason, TokenError};

/// How many landings in a row may say that the record has moved, and not answer all who waited, before the session rests.
const MOVES_MOST: u32 = 3;

impl Session {
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
        let outcome = self.still_true(landing.outcome, landing.view.as_deref());
        self.moves = if outcome == Outcome::Moved { self.moves + 1 } else { 0 };
        if let Outcome::Minted(lease) = &outcome
            && self.epoch().is_none_or(|known| known == epoch)
        {
            self.know(lease.generation());
            self.unstored = Some(lease.clone());
        }
        if let Some(view) = landing.view {
            self.absorb(*view, now, out);
        }
        self.shed_unstored();
        let moved = self.moves > 0;
        self.conclude_flight(outcome, (epoch, number), now, out);
        if moved {
            self.read(now, out);
        }
    }

    /// That a login is required was found in one version of the record, and says nothing about a newer one.
    fn still_true(&self, outcome: Outcome, found_in: Option<&View>) -> Outcome {
        let newer = |found: &View| self.knowledge.view.as_ref().is_some_and(|known| known.version > found.version);
        match outcome {
            Outcome::LoginRequired(_) if found_in.is_some_and(newer) => Outcome::Moved,
            outcome => outcome,
        }
    }

    /// What the landing means for those who waited for it, and for the next flight.
    fn conclude_flight(&mut self, outcome: Outcome, (epoch, number): (Epoch, u64), now: Now, out: &mut Output) {
        match outcome {
            Outcome::Minted(lease) => {
                self.settle_in();
                self.hand_out_minted(lease, (epoch, number), now, out);
            }
            Outcome::Adopted => {
                self.settle_in();
                self.backoff = Backoff::default();
                self.serve_waiters(now, out);
            }
            Outcome::Moved => {
                let waited = !self.waiters.is_empty();
                self.serve_waiters(now, out);
                if waited && self.waiters.is_empty() {
                    // Where it has moved to was an answer: the next move has nothing to do with this one.
                    self.moves = 0;
                } else if self.moves > MOVES_MOST {
                    self.rest(Trouble::new(Reason::Contended), now, out);
                }
            }
            Outcome::Failed(trouble) => self.rest(trouble, now, out),
            Outcome::LoginRequired(reason) => {
                if let Some(view) = &self.knowledge.view {
                    let until = now.elapsed().after(self.policy.max_backoff);
                    self.verdict = Some(Verdict { version: view.version, reason, until });
                }
                self.refuse_cohort(TokenError::new(reason), now, out);
            }
        }
    }

    /// There is a token nobody has used yet, and nothing is known against it.
    fn settle_in(&mut self) {
        self.used = false;
        self.verdict = None;
    }

    /// Serves the cohort of a flight that minted `lease`.
    fn hand_out_minted(&mut self, lease: Lease, (epoch, number): (Epoch, u64), now: Now, out: &mut Output) {
        self.draw_window(now);
        // Where the record has moved on meanwhile, this token is nobody's, and nobody's failure.
        let ours = self.epoch() == Some(epoch) && self.login_required(now).is_none();
        let refused = self.floor.is_some_and(|floor| !lease.generation().supersedes(&floor));
        // Over on arrival, or nearly, or older than what was refused: the next flight must not begin at once, or it would
        // never end. A lease that was itself refused before its landing came through is followed by one flight more.
        let outdated = refused && self.floor != Some(lease.generation());
        let stillborn = ours && (outdated || self.in_early_window(now));
        if !stillborn {
            self.backoff = Backoff::default();
        }
        let alive = ours && !refused && lease.validity().outlasts(Duration::ZERO, &now.moment);
        let mut waiters = std::mem::take(&mut self.waiters);
        let mut used = false;
        out.expect_answers(waiters.len());
        waiters.answer_each(|id, waiter| {
            // Nothing better than a token just minted can be had, whatever the caller's minimum.
            let served = alive && waiter.accepts_flight(number);
            if served {
                used = true;
                out.answer(id, Ok(lease.clone()));
            }
            served
        });
        self.waiters = waiters;
        self.used |= used;
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
        let doubled = self.policy.initial_backoff.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let pause = doubled.min(self.policy.max_backoff);
        let pause = pause / 2 + now.jitter.of(pause / 2);
        let told = trouble.retry_after.unwrap_or_default().min(self.policy.max_retry_after);
        let pause = pause.max(told);
        let error = TokenError::new(trouble.reason);
        self.backoff = Backoff { failures, resting: Some((error, now.elapsed().after(pause))) };
        self.refuse_cohort(error.with_retry_after(pause), now, out);
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
            self.rest(Trouble::new(Reason::Aborted), now, out);
            self.read(now, out);
        }
    }
}
