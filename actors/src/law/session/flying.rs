//! When to fly, and with what order (laws 6 and 8).

use super::machine::{Output, Session};
use super::pacing::RESUME;
use super::{RunningFlight, SessionEffect};
use crate::law::flight::{Adopt, Order, Urgency};
use crate::values::{Cause, Epoch, FlightId, Generation, Lease, Now};

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
        if self.stopping || at_rest || self.flight.is_some() || self.is_closing() {
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
            renewal: self.renewal().clone(),
            known: self.known,
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
        if self.waiters.is_empty() {
            return self.background_cause(now);
        }
        Some(if self.waiters.insist() { Cause::Force } else { self.cause_of_want() })
    }

    /// Why there is no lease to serve: it was refused, or there is none, or it is over.
    pub(super) fn cause_of_want(&self) -> Cause {
        match (self.lease(), self.newest_lease()) {
            (None, Some(_)) => Cause::Refusal,
            _ => Cause::Expiry,
        }
    }
}

/// The newer of two generations, if there is any.
fn newer(one: Option<Generation>, other: Option<Generation>) -> Option<Generation> {
    match (one, other) {
        (Some(one), Some(other)) if other.supersedes(&one) => Some(other),
        (one, other) => one.or(other),
    }
}
