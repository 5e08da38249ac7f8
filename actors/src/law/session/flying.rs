//! The decision to begin a flight, and its order (laws 6 and 8).

use super::machine::{Output, Session};
use super::{RunningFlight, SessionEffect};
use crate::law::flight::{Adopt, Order, Urgency};
use crate::values::{Cause, Epoch, FlightId, Generation, Lease, Now};

/// The flights of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights {
    /// The flight that runs.
    running: Option<Running>,
    /// Flights that this actor has begun.
    begun: u64,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    flight: RunningFlight,
    /// Its number in this session; zero for a flight of the previous actor.
    number: u64,
}

impl Flights {
    /// The flight that the previous actor left running.
    pub(super) fn inherited(flight: Option<RunningFlight>) -> Self {
        Self { running: flight.map(|flight| Running { flight, number: 0 }), begun: 0 }
    }

    /// The flight that runs.
    pub(super) fn running(&self) -> Option<RunningFlight> {
        self.running.map(|running| running.flight)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the running flight has landed and only saves.
    pub(super) fn is_keeping(&self) -> bool {
        self.running.is_some_and(|running| running.flight.keeping)
    }

    /// The number of flights that this actor has begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether the running flight has this id.
    pub(super) fn is(&self, id: FlightId) -> bool {
        self.running.is_some_and(|running| running.flight.id == id)
    }

    fn begin(&mut self, first: FlightId, epoch: Epoch) -> FlightId {
        self.begun += 1;
        let id = FlightId(first.0.wrapping_add(u128::from(self.begun)));
        self.running = Some(Running { flight: RunningFlight { id, epoch, keeping: false }, number: self.begun });
        id
    }

    /// The running flight has landed, and goes on only if it is `keeping` unsaved tokens. Returns its epoch and its number.
    pub(super) fn land(&mut self, keeping: bool) -> Option<(Epoch, u64)> {
        let mut running = self.running.take()?;
        running.flight.keeping = keeping;
        self.running = keeping.then_some(running);
        Some((running.flight.epoch, running.number))
    }

    /// Forgets the flight if it is the running one, and returns whether it was.
    pub(super) fn end(&mut self, id: FlightId) -> bool {
        self.running.take_if(|running| running.flight.id == id).is_some()
    }

    /// Forgets the running flight if its epoch is over. It holds only a claim of the old epoch, so it blocks no other flight.
    pub(super) fn forget_before(&mut self, epoch: Epoch) {
        self.running.take_if(|running| running.flight.epoch < epoch);
    }
}

impl Session {
    /// Begins a flight, if there is a reason for one and it is allowed.
    pub(super) fn pursue(&mut self, now: Now, out: &mut Output) {
        let at_rest = self.pauses.are_resting(now.elapsed()) || self.pauses.are_throttled(now.elapsed());
        // While an answer is being redeemed, nothing of the old grant is presented (law 25).
        let signs_in = self.is_arriving(now) || self.signing_in.is_keeping();
        if self.stopping || at_rest || self.flights.is_running() || self.is_closing() || signs_in {
            return;
        }
        let attended = !self.waiters.is_empty();
        if !attended && self.pauses.hold_background(now.elapsed()) {
            return;
        }
        let Some(view) = self.knowledge.view() else { return };
        let Some(cause) = self.cause(now) else { return };
        if self.login_required_for(cause == Cause::Force, now).is_some() {
            return;
        }
        let (epoch, issuer) = (view.epoch(), view.issuer.clone());
        let id = self.flights.begin(self.birth.flights, epoch);
        let newest = self.knowledge.newest_lease().map(Lease::generation);
        let order = Order {
            flight: id,
            cause,
            epoch,
            adopt: match cause {
                Cause::Force => Adopt::Since { since: now.moment, margin: self.policy.safety_margin },
                _ => Adopt::Above { floor: newer(self.refusals.floor(), newest), margin: self.policy.safety_margin },
            },
            issuer,
            renewal: self.renewal().clone(),
            known: self.knowledge.newest_generation(),
            nonce: self.birth.nonce,
            doubt: self.knowledge.doubt(),
            urgency: match attended {
                true => Urgency::Callers,
                false if self.pacing.has_just_resumed(now.elapsed()) => Urgency::AfterResume,
                false => Urgency::Background,
            },
        };
        self.pacing.flight_begun();
        self.pauses.flight_begun(attended);
        out.effects.push(SessionEffect::Fly(Box::new(order)));
    }

    /// Why a token is wanted now; `None` if none is.
    fn cause(&self, now: Now) -> Option<Cause> {
        if self.waiters.is_empty() {
            return self.background_cause(now);
        }
        Some(if self.waiters.insist() { Cause::Force } else { self.cause_of_want() })
    }

    /// Why there is no lease to serve. Either the newest lease was refused, or there is none, or it has expired.
    pub(super) fn cause_of_want(&self) -> Cause {
        match (self.lease(), self.knowledge.newest_lease()) {
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
