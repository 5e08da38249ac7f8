//! The reports of a flight. They answer the waiting callers, and decide when the next flight may begin (laws 4, 8, 11).

use std::time::Duration;

use super::machine::{Output, Session};
use super::pauses::Rest;
use super::{Failure, SessionEffect};
use crate::law::flight::{Landing, Outcome, Report};
use crate::law::profile::Trouble;
use crate::values::record::View;
use crate::values::{ElapsedTime, Epoch, FlightId, Lease, Now, Reason, TokenError, TokenKind, Version};

/// The number of consecutive `Moved` outcomes that may leave callers waiting. After one more, the session pauses.
const MAX_MOVES: u32 = 3;

/// The results of earlier flights that the session remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Landings {
    /// Consecutive `Moved` outcomes that left callers waiting.
    moves: u32,
    finding: Option<Finding>,
}

/// A flight's finding that a login is required. It holds for one version of the record, for a limited time.
#[derive(Clone, Copy, Debug)]
struct Finding {
    version: Version,
    reason: Reason,
    until: ElapsedTime,
}

impl Landings {
    fn count(&mut self, outcome: &Outcome) {
        self.moves = if *outcome == Outcome::Moved { self.moves + 1 } else { 0 };
    }

    /// Forgets that a flight found a login required.
    pub(super) fn forget_finding(&mut self) {
        self.finding = None;
    }

    /// The reason for which a flight found a login required in this version of the record.
    pub(super) fn login_required(&self, version: Version, now: ElapsedTime) -> Option<Reason> {
        let finding = self.finding.filter(|finding| finding.version == version && finding.until > now)?;
        Some(finding.reason)
    }

    /// Whether a flight found in this version of the record a doubt that may never be resolved by another presentation.
    /// Every later flight finds the same.
    pub(super) fn found_consumed(&self, version: Version) -> bool {
        self.finding.is_some_and(|finding| finding.version == version && finding.reason == Reason::MaybeConsumed)
    }

    /// When the finding ends.
    pub(super) fn wake(&self, now: ElapsedTime) -> Option<ElapsedTime> {
        self.finding.map(|finding| finding.until).filter(|until| *until > now)
    }
}

impl Session {
    /// Handles a report of a flight. If the flight is not the running one, only the view in the report counts.
    pub(super) fn reported(&mut self, id: FlightId, report: Report, now: Now, out: &mut Output) {
        match report {
            Report::Landed(landing) if self.flights.is(id) => self.landed(id, landing, now, out),
            Report::Landed(Landing { view: Some(view), .. }) => self.update(*view, now, out),
            Report::Landed(_) => {}
            Report::Settled(view) => {
                self.flights.end(id);
                self.update(*view, now, out);
            }
            Report::Lost { .. } => {
                self.flights.end(id);
            }
        }
    }

    fn landed(&mut self, id: FlightId, landing: Landing, now: Now, out: &mut Output) {
        let Some((epoch, number)) = self.flights.land(landing.keeping) else { return };
        let outcome = self.still_true(landing.outcome, landing.view.as_deref());
        self.landings.count(&outcome);
        if let Outcome::Minted(lease) = &outcome
            && self.knowledge.epoch().is_none_or(|known| known == epoch)
            // A login that is not stored yet replaces the grant of this flight.
            && !self.knowledge.holds_unstored_login()
        {
            self.knowledge.minted(lease.clone());
        }
        let found = landing.view.as_deref().and_then(|view| view.lease.as_ref()).map(Lease::generation);
        if let Some(view) = landing.view {
            self.absorb(*view, now, out);
        }
        self.knowledge.discard_unstored();
        if outcome == Outcome::Adopted && self.lease().map(Lease::generation) == found {
            // If any caller insists, the flight has found a token that was requested after the flight was ordered. The
            // comparison rules out an older unstored token, which the session would serve instead.
            self.waiters.satisfy(number);
        }
        let moved = outcome == Outcome::Moved;
        match outcome {
            // A flight that is keeping its token goes on, so no other flight can begin.
            Outcome::Failed(trouble) if !landing.keeping => self.try_again(id, trouble, landing.requests, now, out),
            outcome => self.conclude_flight(outcome, (epoch, number), now, out),
        }
        if moved {
            self.read(now, out);
        }
    }

    /// The outcome, adapted to the newest record. If the flight found a login required, but the session knows a newer
    /// version of the record than the flight had read, the outcome is `Moved`.
    fn still_true(&self, outcome: Outcome, found_in: Option<&View>) -> Outcome {
        let newer = |found: &View| self.knowledge.view().is_some_and(|known| known.version > found.version);
        match outcome {
            Outcome::LoginRequired(_) if found_in.is_some_and(newer) => Outcome::Moved,
            outcome => outcome,
        }
    }

    /// Answers the waiting callers as the outcome allows, and begins the pause that it calls for.
    fn conclude_flight(&mut self, outcome: Outcome, (epoch, number): (Epoch, u64), now: Now, out: &mut Output) {
        match outcome {
            Outcome::Minted(lease) => {
                self.landings.forget_finding();
                self.hand_out_minted(lease, (epoch, number), now, out);
            }
            Outcome::Adopted => {
                self.landings.forget_finding();
                self.pauses.reset();
                self.serve_waiters(now, out);
            }
            Outcome::Moved => {
                let waited = !self.waiters.is_empty();
                self.serve_waiters(now, out);
                if waited && self.waiters.is_empty() {
                    // The new record answered every waiter, so the next move starts a new count.
                    self.landings.moves = 0;
                } else if self.landings.moves > MAX_MOVES {
                    self.rest(Trouble::new(Reason::Contended), now, out);
                }
            }
            Outcome::Failed(trouble) => self.rest(trouble, now, out),
            Outcome::LoginRequired(reason) => {
                if let Some(view) = self.knowledge.view() {
                    let until = now.elapsed().after(self.policy.max_backoff);
                    self.landings.finding = Some(Finding { version: view.version, reason, until });
                }
                self.refuse_cohort(TokenError::new(reason), now, out);
            }
        }
    }

    /// Answers the callers that waited for the flight that minted `lease`.
    fn hand_out_minted(&mut self, lease: Lease, (epoch, number): (Epoch, u64), now: Now, out: &mut Output) {
        self.draw_window(now);
        // If the epoch has changed since, the token is not served, and the flight counts neither as success nor
        // failure.
        let current = self.knowledge.epoch() == Some(epoch) && self.login_required(now).is_none();
        let refused = self.refusals.cover(&lease.generation());
        // A lease that has expired on arrival, or nearly, or is older than the refused one, is useless. The next flight
        // must not begin at once, or flights would follow each other without end. If this very lease was refused before
        // its landing was processed, one more flight follows.
        let outdated = refused && self.refusals.floor() != Some(lease.generation());
        let useless = current && (outdated || self.in_early_window(now));
        if !useless {
            self.pauses.reset();
        }
        let alive = current && !refused && lease.validity().outlasts(Duration::ZERO, &now.moment);
        let mut used = false;
        out.expect_answers(self.waiters.len());
        self.answer_waiters(out, |_, waiter| {
            // No token lasts longer than one just minted, even if the caller's minimum is longer.
            let served = alive && waiter.accepts_flight(number);
            used |= served;
            served.then(|| Ok(lease.clone()))
        });
        if used {
            self.pacing.mark_used();
        }
        if useless {
            // A source reports a token that is not bound to the session's key as expired, so that it is not used, and its
            // refresh token is stored.
            let is_unbound = lease.proof_key().is_some() && lease.kind() == TokenKind::Bearer;
            let reason = if is_unbound { Reason::NotBound } else { Reason::ExpiredOnArrival };
            self.rest(Trouble::new(reason), now, out);
        }
        self.serve_waiters(now, out);
    }

    /// There is no token for now. Callers with time left wait for another attempt, after a short pause. The others get
    /// the error (law 8).
    fn try_again(&mut self, id: FlightId, trouble: Trouble, requests: u32, now: Now, out: &mut Output) {
        self.answer_waiters(out, |session, waiter| session.serve_waiter(waiter, now).map(Ok));
        let Rest { error, until, retrying } =
            self.pauses.fail(trouble, requests, self.waiters.patience(), &self.policy, now);
        self.answer_waiters(out, |_, waiter| {
            let waits = retrying && waiter.patience().is_some_and(|patience| patience > until);
            (!waits).then_some(Err(error))
        });
        // The flight may have read a record for which another attempt does not help.
        self.serve_waiters(now, out);
        if trouble.reason != Reason::ShuttingDown {
            out.effects.push(SessionEffect::Note(id, Failure { reason: trouble.reason, retrying }));
        }
    }

    /// There is no token for now, and another attempt would not help the waiting callers. They share the error, and the
    /// next flight begins after a pause.
    fn rest(&mut self, trouble: Trouble, now: Now, out: &mut Output) {
        let Rest { error, .. } = self.pauses.fail(trouble, 0, None, &self.policy, now);
        self.refuse_cohort(error, now, out);
    }

    /// Answers every waiting caller with a lease that is still good, or else with `error`. While a login arrives, they wait
    /// for it (law 25).
    fn refuse_cohort(&mut self, error: TokenError, now: Now, out: &mut Output) {
        self.answer_waiters(out, |session, waiter| {
            let lease = session.serve_waiter(waiter, now);
            (lease.is_some() || !session.is_arriving(now)).then(|| lease.ok_or(error))
        });
    }

    /// The flight's task has ended. If the flight is still the running one, it ended without a report. Its mark stays,
    /// and the record is read again.
    pub(super) fn flight_over(&mut self, id: FlightId, now: Now, out: &mut Output) {
        if self.flights.end(id) {
            self.try_again(id, Trouble::new(Reason::Aborted), 1, now, out);
            self.read(now, out);
        }
    }
}
