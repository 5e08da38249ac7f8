//! One step, from a state and an action to the next state.

use std::sync::Arc;

use tokenkeeper_actors::law::flight::{Flight, FlightEffect, FlightEvent, Outcome, Report};
use tokenkeeper_actors::law::profile::{Lost, Reuse};
use tokenkeeper_actors::values::{FlightId, Reason};

use crate::actions::Action;
use crate::bounds::Bounds;
use crate::config::Fault;
use crate::identity::{self, MOMENT};
use crate::laws::Law;
use crate::model::TwoProcesses;
use crate::server::Rt;
use crate::sightings::Sight;
use crate::state::{Pending, Process, Seat, State, op};
use crate::store::{Manner, Store};

/// The state after `action` in `last`.
pub(crate) fn step(model: &TwoProcesses, last: &State, action: &Action) -> State {
    let mut step = Step { model, state: last.clone() };
    step.act(action);
    step.conclude()
}

/// A step in progress.
pub(crate) struct Step<'a> {
    pub(crate) model: &'a TwoProcesses,
    pub(crate) state: State,
}

impl Step<'_> {
    fn act(&mut self, action: &Action) {
        match action {
            Action::Begin { process, informed } => self.begin(*process, *informed),
            Action::Learn(process) => {
                self.state.left.lessons -= 1;
                let (view, now) = (self.state.store.record.view(), self.state.elapsed());
                self.process(*process).session.absorb(view, now);
            }
            Action::Perform(flight, op) => {
                if let Some(effect) = self.take_pending(*flight, |effect| self::op(effect) == Some(*op)) {
                    self.perform(*flight, effect, false);
                }
            }
            Action::EndClaim(flight) => {
                let is_end = |effect: &FlightEffect| matches!(effect, FlightEffect::EndClaim { .. });
                if let Some(FlightEffect::EndClaim { claim, .. }) = self.take_pending(*flight, is_end) {
                    self.store().0.end_claim(&claim);
                }
            }
            Action::Tick(flight) => self.tick(*flight),
            Action::Process(flight, op) => self.process_request(*flight, *op),
            Action::LoseAnswer(flight) => {
                self.state.left.lost_answers -= 1;
                self.lose_answer(*flight, Lost::Broken);
            }
            Action::Unsent(flight) => self.unsent(*flight),
            Action::FailSave(flight) => self.fail_save(*flight),
            Action::Land(flight, op) => {
                let found = self
                    .state
                    .late
                    .iter()
                    .position(|late| late.flight == *flight && self::op(&late.effect) == Some(*op));
                if let Some(found) = found {
                    let late = self.state.late.remove(found);
                    self.perform(*flight, late.effect, true);
                }
            }
            Action::Crash(process) => self.crash(*process),
            Action::LoseClaim(epoch) => self.lose_claim(*epoch),
            Action::Login => self.login(),
            Action::Pass(span) => self.pass(*span),
        }
    }

    fn conclude(mut self) -> State {
        if self.state.server.is_stale(&self.state) {
            let mut server = Arc::clone(&self.state.server);
            Arc::make_mut(&mut server).forget(&self.state);
            self.state.server = server;
        }
        self.forget_dead_letters();
        let State { wire, server, left, .. } = &mut self.state;
        wire.retain(|request| !server.ignores(request, left.late_requests > 0));
        for process in 0..2 {
            let done = |seat: &Seat| seat.flight.is_over() && seat.pending.is_empty();
            if self.state.processes[process].seats.iter().any(done) {
                self.process(process).seats.retain(|seat| !done(seat));
            }
        }
        if self.state.broken.is_none() && self.state.is_at_rest(&self.model.config) {
            self.state.check_rest(&self.model.config.bounds);
            if self.state.agrees() {
                self.saw(Sight::SameNewest);
            }
        }
        self.state.seal(&self.model.names);
        self.state
    }

    /// Forgets late writes of flights that are gone, if the writes cannot take effect any more.
    fn forget_dead_letters(&mut self) {
        let State { late, store, processes, .. } = &mut self.state;
        late.retain(|late| {
            let alive = processes[identity::process_of(late.flight)].seat(late.flight).is_some();
            alive || store.would_apply(&late.effect)
        });
    }

    pub(crate) fn saw(&self, sight: Sight) {
        self.model.sightings.saw(sight);
    }

    pub(crate) fn apart(&self) -> bool {
        self.model.config.apart
    }

    pub(crate) fn leased(&self) -> bool {
        self.model.config.claims.is_leased()
    }

    /// The store, prepared for a change, and its present behaviour.
    pub(crate) fn store(&mut self) -> (&mut Store, Manner<'_>) {
        let manner = Manner { config: &self.model.config, now: self.state.elapsed() };
        (Arc::make_mut(&mut self.state.store), manner)
    }

    pub(crate) fn process(&mut self, number: usize) -> &mut Process {
        Arc::make_mut(&mut self.state.processes[number])
    }

    pub(crate) fn seat(&mut self, flight: FlightId) -> Option<&mut Seat> {
        let number = identity::process_of(flight);
        self.state.processes[number].seat(flight)?;
        self.process(number).seats.iter_mut().find(|seat| seat.flight.id() == flight).map(Seat::touched)
    }

    pub(crate) fn take_pending(
        &mut self,
        flight: FlightId,
        is_it: impl Fn(&FlightEffect) -> bool,
    ) -> Option<FlightEffect> {
        let seat = self.seat(flight)?;
        let found = seat.pending.iter().position(|pending| is_it(&pending.effect))?;
        Some(seat.pending.remove(found).effect)
    }

    fn begin(&mut self, process: usize, informed: bool) {
        self.state.now += MOMENT;
        let (view, now) = (self.state.store.record.view(), self.state.at(process, self.apart()));
        let margin = std::time::Duration::from_secs(1);
        let session = &mut self.process(process).session;
        if informed {
            session.absorb(view, now.elapsed());
        }
        let id = identity::flight(process, session.begun + 1);
        let order = session.order(id, margin);
        let epoch = order.epoch;
        let (flight, effects) = Flight::start(order, Arc::clone(&self.model.equipment));
        self.process(process).seats.push(Seat::new(flight, epoch));
        self.take(id, effects);
    }

    /// Hands an event to a flight, and takes over the effects it requests.
    pub(crate) fn feed(&mut self, flight: FlightId, event: FlightEvent) {
        let now = self.state.at(identity::process_of(flight), self.apart());
        if let Some(seat) = self.seat(flight) {
            let effects = seat.flight.handle(event, now);
            self.take(flight, effects);
        }
    }

    fn take(&mut self, flight: FlightId, effects: Vec<FlightEffect>) {
        for effect in effects {
            if let (Some(seat), Some(op)) = (self.seat(flight), op(&effect)) {
                seat.ops = seat.ops.max(op.0);
            }
            let claimed = self.is_claimed(flight);
            match effect {
                // The issuer's permit concerns a single process only.
                FlightEffect::AskPermit { op, .. } => self.feed(flight, FlightEvent::Permitted(op)),
                FlightEffect::ReturnPermit { .. } | FlightEffect::Throttle(_) => {}
                // A connection has no effect on others. Only where it may fail, its time matters.
                FlightEffect::Connect(op, _) if self.state.left.unsent == 0 => {
                    self.feed(flight, FlightEvent::Connected(op, Ok(())));
                }
                // The first read of an attempt has no effect on others. So it can happen at once, because a later read
                // is the same as an attempt that begins later.
                FlightEffect::Load(op) if !claimed => self.perform(flight, FlightEffect::Load(op), false),
                FlightEffect::EndClaim { claim, ending } => {
                    self.end_claim(flight, FlightEffect::EndClaim { claim, ending })
                }
                FlightEffect::Revoke(revocation) => {
                    let rt = revocation.refresh.and_then(|refresh| Rt::of(refresh.token()));
                    if let Some(rt) = rt {
                        Arc::make_mut(&mut self.state.server).lineages[rt.lineage].revoked = true;
                    }
                }
                FlightEffect::Report(report) => self.report(flight, report),
                effect => {
                    let since = self.state.elapsed();
                    if let Some(seat) = self.seat(flight) {
                        if matches!(effect, FlightEffect::Claim { .. }) {
                            seat.claiming.get_or_insert(since);
                            seat.asked = Some(since.as_millis());
                        }
                        seat.pending.push(Pending { effect, since });
                    }
                }
            }
        }
    }

    fn end_claim(&mut self, flight: FlightId, effect: FlightEffect) {
        if self.model.config.has(Fault::ClaimLeft) {
            return;
        }
        // The kernel frees the claim of a process that crashes before it ends the claim.
        let Bounds { crashes, claim_losses, pauses, .. } = self.state.left;
        let at_once = !self.leased() || (crashes, claim_losses, pauses) == (0, 0, 0);
        let since = self.state.elapsed();
        let Some(seat) = self.seat(flight) else { return };
        (seat.claim, seat.asked) = (None, None);
        match effect {
            // The end of a claim happens at once where no other event can come before it.
            FlightEffect::EndClaim { claim, .. } if at_once => self.store().0.end_claim(&claim),
            effect => seat.pending.push(Pending { effect, since }),
        }
    }

    fn report(&mut self, flight: FlightId, report: Report) {
        let now = self.state.elapsed();
        let number = identity::process_of(flight);
        match report {
            Report::Landed(landing) => {
                if self.seat(flight).is_some_and(|seat| std::mem::replace(&mut seat.landed, true)) {
                    self.state.breaks(Law::LandsOnce);
                }
                match &landing.outcome {
                    Outcome::Adopted => self.saw(Sight::Adopted),
                    Outcome::Failed(trouble) if trouble.reason == Reason::InDoubt => {
                        self.saw(Sight::InDoubt);
                    }
                    Outcome::LoginRequired(Reason::MaybeConsumed) => {
                        self.saw(Sight::MaybeConsumed);
                        if self.model.config.reuse == Reuse::EndsLineage {
                            self.state.breaks(Law::DoubtStays);
                        }
                    }
                    _ => {}
                }
                if landing.keeping {
                    self.saw(Sight::Degraded);
                }
                self.process(number).session.landed(flight, &landing, now);
            }
            Report::Settled(view) => {
                self.saw(Sight::Settled);
                self.process(number).session.settled(flight, *view, now);
            }
            Report::Lost { .. } => {}
        }
    }

    /// Whether a flight believes that it holds its claim.
    pub(crate) fn is_claimed(&self, flight: FlightId) -> bool {
        let process = &self.state.processes[identity::process_of(flight)];
        process.seat(flight).is_some_and(|seat| seat.claim.is_some())
    }
}
