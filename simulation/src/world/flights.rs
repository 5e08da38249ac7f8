//! The driver of flights. It begins them, carries out their effects in order, and delivers their reports.

use std::collections::VecDeque;

use tokenkeeper_actors::law::flight::{Flight, FlightEffect, FlightEvent, Op, Order, Report, Urgency};
use tokenkeeper_actors::ports::store::{ClaimEnding, ClaimScope};
use tokenkeeper_actors::values::FlightId;

use super::{Asker, Call, Item, World};
use crate::plan::When;
use crate::process::{Facts, FlightRun, Pid};
use crate::rng::{For, join};
use crate::tally::Kind;
use crate::{Millis, Planted};

impl World {
    pub(crate) fn fly(&mut self, pid: Pid, identity: usize, order: Order) {
        self.check_order(pid, identity, &order);
        let need = self.need(pid, identity);
        let id = order.flight;
        let (machine, effects) = Flight::start(order.clone(), self.equipment.clone());
        self.flights += 1;
        let name = self.flights;
        self.tell(
            || format!("p{} i{identity}", pid.process),
            |_| format!("f{name} begins: {:?}, {:?}, {:?}", order.cause, order.adopt, order.urgency),
        );
        let process = &mut self.processes[pid.process];
        process.begun += 1;
        let key = join(join(pid.process as u64, u64::from(pid.life)), process.begun);
        let run = FlightRun {
            machine,
            identity,
            order,
            name,
            key,
            ops: 0,
            backlog: VecDeque::from(effects),
            wake: None,
            ticks: 0,
            need,
            facts: Facts::default(),
        };
        process.flights.insert(id, run);
        self.truth.flight_begun(id, pid, self.step);
        // The flight is a task of its own, so it starts a moment later.
        self.queue.push(self.t, Item::Continue(pid, id));
    }

    pub(crate) fn go_on(&mut self, pid: Pid, id: FlightId) {
        self.drain(pid, id);
    }

    pub(crate) fn flight_tick(&mut self, pid: Pid, id: FlightId, tick: u32) {
        let due = self.processes[pid.process].flights.get(&id).is_some_and(|run| run.ticks == tick);
        if due {
            if let Some(run) = self.processes[pid.process].flights.get_mut(&id) {
                run.wake = None;
            }
            self.tell_flight(pid, id, FlightEvent::Tick);
        }
    }

    /// Hands an event to a flight, after its backlog.
    pub(crate) fn tell_flight(&mut self, pid: Pid, id: FlightId, event: FlightEvent) {
        if self.processes[pid.process].flights.get(&id).is_some_and(|run| !run.backlog.is_empty()) {
            self.drain(pid, id);
        }
        if !self.runs(pid) {
            return;
        }
        let now = self.now(pid.process);
        self.before_flight(pid, id, &event);
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        let effects = run.machine.handle(event, now);
        run.backlog.extend(effects);
        self.drain(pid, id);
    }

    fn drain(&mut self, pid: Pid, id: FlightId) {
        loop {
            let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
            let Some(effect) = run.backlog.pop_front() else { break };
            let name = effect.name();
            if self.spring(pid, id, name, When::Before) {
                return self.hold(pid, id, Some(effect));
            }
            self.carry_out(pid, id, effect);
            if self.spring(pid, id, name, When::Begun) || !has_answer(name) && self.spring(pid, id, name, When::Done) {
                return self.hold(pid, id, None);
            }
        }
        self.after_flight(pid, id);
    }

    /// The flight cannot continue now. If its process only stands still, it continues later.
    fn hold(&mut self, pid: Pid, id: FlightId, effect: Option<FlightEffect>) {
        let Some(until) = self.still_until(pid.process) else {
            return;
        };
        if self.processes[pid.process].life != pid.life {
            return;
        }
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        if let Some(effect) = effect {
            run.backlog.push_front(effect);
        }
        self.queue.push(until, Item::Continue(pid, id));
    }

    /// Ends a flight that is over, or sets its timer.
    fn after_flight(&mut self, pid: Pid, id: FlightId) {
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        if run.machine.is_over() {
            return self.flight_over(pid, id);
        }
        let wake = run.machine.next_wake();
        if wake == run.wake {
            return;
        }
        run.wake = wake;
        run.ticks += 1;
        let (ticks, name) = (run.ticks, run.name);
        if let Some(wake) = wake {
            let host = &self.hosts[self.processes[pid.process].host];
            let late = self.rng(For::Tick, join(self.step, u64::from(ticks))).below(6);
            let due = host.when(wake).max(self.t) + late;
            if wake.since(host.elapsed(self.t)) > crate::laws::LONGEST_SLEEP {
                self.breach("14", "a flight sleeps for more than a minute", || format!("f{name} until {wake:?}"));
            }
            self.queue.push(due, Item::FlightTick(pid, id, ticks));
        }
    }

    fn carry_out(&mut self, pid: Pid, id: FlightId, effect: FlightEffect) {
        self.tell(|| format!("p{}", pid.process), |world| format!("{} {}", world.flight_name(pid, id), shown(&effect)));
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        run.ops += 1;
        let (identity, key) = (run.identity, join(run.key, run.ops));
        let asker = Asker::Flight(pid, id);
        match effect {
            FlightEffect::AskPermit { op, urgency, .. } => {
                let mut rng = self.rng(For::Permit, key);
                let wait = match urgency {
                    Urgency::AfterResume => rng.below(30_000),
                    _ => rng.weigh(&[(6, 0), (3, 3), (1, 200)]),
                };
                self.queue.push(self.t + wait, Item::Permit(pid, id, op));
            }
            FlightEffect::ReturnPermit { throttle } => self.permit_returned(pid, id, throttle),
            FlightEffect::Throttle(span) => self.issuer_throttled(pid, id, span),
            FlightEffect::Load(op) => {
                self.check_pause(pid, id);
                let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
                run.facts.read_since_claim = run.facts.claim.is_some();
                self.begin_op(asker, identity, op, Call::Load, key);
            }
            FlightEffect::Claim { op, epoch, at_least } => {
                let scope = ClaimScope::Spend(epoch);
                self.begin_op(asker, identity, op, Call::Claim { scope, at_least }, key);
            }
            FlightEffect::Renew { op, claim, at_least } => {
                self.begin_op(asker, identity, op, Call::Renew { claim, at_least }, key);
            }
            FlightEffect::EndClaim { claim, ending } => {
                self.check_claim_end(pid, id, &claim, ending);
                self.begin_op(asker, identity, Op(0), Call::End { claim, ending }, key);
            }
            FlightEffect::Change(op, change) => {
                self.check_change(asker, identity, &change);
                if self.planted == Some(Planted::MarkSkipped)
                    && let tokenkeeper_actors::law::ledger::Change::Mark { .. } = &change
                {
                    return self.pretend_marked(pid, id, op);
                }
                self.begin_op(asker, identity, op, Call::Change(change), key);
            }
            FlightEffect::Connect(op, grant) => self.begin_connect(pid, id, op, &grant, key),
            FlightEffect::Send { op, request, connection } => {
                self.check_connection(pid, id, &request, connection);
                self.begin_request(pid, id, op, *request, key);
            }
            FlightEffect::Revoke(revocation) => {
                self.check_flight_revocation(pid, id, &revocation);
                self.begin_revocation(&revocation, key);
            }
            FlightEffect::Report(report) => {
                self.note_report(pid, id, &report);
                self.report(pid, identity, id, Some(report));
            }
        }
    }

    /// Puts a report into the slot, where the actor takes it.
    fn report(&mut self, pid: Pid, identity: usize, id: FlightId, report: Option<Report>) {
        self.processes[pid.process].slots[identity].reports.push_back((id, report));
        self.nudge(pid, identity);
    }

    fn flight_over(&mut self, pid: Pid, id: FlightId) {
        self.check_flight_over(pid, id);
        let Some(run) = self.processes[pid.process].flights.remove(&id) else { return };
        self.truth.flight_over(id);
        self.processes[pid.process].permits.given.remove(&id);
        self.tell(|| format!("p{}", pid.process), |_| format!("f{} is over", run.name));
        self.report(pid, run.identity, id, None);
    }

    /// A flight is aborted. Its machine is gone, its driver ends its claim, and its mark stays.
    pub(crate) fn break_flight(&mut self, pid: Pid, id: FlightId) {
        let Some(run) = self.processes[pid.process].flights.remove(&id) else { return };
        self.count(Kind::FlightBroke);
        self.truth.aborted.insert(id);
        self.truth.flight_over(id);
        if run.facts.tokens.as_ref().is_some_and(|tokens| !tokens.saved) {
            self.count(Kind::LostInCrash);
        }
        self.note_broken(pid, run.identity, run.facts.sends - run.facts.challenges);
        self.processes[pid.process].permits.given.remove(&id);
        self.tell(|| format!("p{}", pid.process), |_| format!("f{} breaks off", run.name));
        if let Some(claim) = run.facts.claim {
            let ending = match self.planted {
                Some(Planted::ReleasedOnBreak) => ClaimEnding::Released,
                _ => ClaimEnding::Abandoned,
            };
            self.check_driver_claim_end(id, run.identity, ending);
            let call = Call::End { claim, ending };
            self.begin_op(Asker::Driver(pid), run.identity, Op(0), call, join(run.key, 0));
        }
        self.report(pid, run.identity, id, None);
    }

    pub(crate) fn permit(&mut self, pid: Pid, id: FlightId, op: Op) {
        let elapsed = self.moment(pid.process).elapsed;
        let process = &mut self.processes[pid.process];
        let Some(run) = process.flights.get(&id) else { return };
        let throttles = &process.permits.throttled;
        let throttled = throttles.get(&run.order.issuer).max(throttles.get(&None));
        let event = match throttled {
            Some(until) if *until > elapsed => FlightEvent::Held(op, until.since(elapsed)),
            // At most three flights have a permit at the same time.
            _ if process.permits.given.len() >= 3 => {
                return self.queue.push(self.t + 20, Item::Permit(pid, id, op));
            }
            _ => {
                process.permits.given.insert(id);
                FlightEvent::Permitted(op)
            }
        };
        if matches!(event, FlightEvent::Held(..)) {
            self.count(Kind::PermitHeld);
        }
        self.tell_flight(pid, id, event);
    }

    fn permit_returned(&mut self, pid: Pid, id: FlightId, throttle: Option<std::time::Duration>) {
        let given = self.processes[pid.process].permits.given.remove(&id);
        if !given {
            let name = self.flight_name(pid, id);
            self.breach("8", "a permit is returned that was not given", || name);
        }
        if let Some(span) = throttle {
            self.issuer_throttled(pid, id, span);
        }
    }

    fn issuer_throttled(&mut self, pid: Pid, id: FlightId, span: std::time::Duration) {
        let elapsed = self.moment(pid.process).elapsed;
        let until = elapsed.after(span.min(self.config.policy.max_retry_after));
        let Some(run) = self.processes[pid.process].flights.get(&id) else { return };
        let issuer = run.order.issuer.clone();
        let throttled = self.processes[pid.process].permits.throttled.entry(issuer).or_default();
        *throttled = (*throttled).max(until);
        let until = *throttled;
        self.throttled(pid, until);
    }
}

/// Whether a driver waits for an answer to an effect. If so, a trap can trigger between the effect and its answer.
fn has_answer(name: tokenkeeper_actors::ports::observer::EffectName) -> bool {
    use tokenkeeper_actors::ports::observer::EffectName as E;
    !matches!(name, E::AskPermit | E::ReturnPermit | E::Throttle | E::EndClaim | E::Revoke | E::Report)
}

fn shown(effect: &FlightEffect) -> String {
    match effect {
        FlightEffect::AskPermit { urgency, .. } => format!("asks for a permit ({urgency:?})"),
        FlightEffect::Change(op, change) => format!("#{}: {}", op.0, crate::narrate::change(change)),
        FlightEffect::Connect(op, grant) => format!("#{}: connects to {}", op.0, grant.binding.token_endpoint),
        FlightEffect::Send { op, request, .. } => {
            let token = request.refresh.as_ref().map_or("nothing", |refresh| refresh.expose());
            format!("#{}: sends {token}", op.0)
        }
        FlightEffect::Claim { op, epoch, .. } => format!("#{}: claims epoch {}", op.0, epoch.number()),
        FlightEffect::EndClaim { ending, .. } => format!("ends its claim: {ending:?}"),
        FlightEffect::Report(report) => format!("reports {}", crate::narrate::report(report)),
        FlightEffect::Load(op) => format!("#{}: reads", op.0),
        FlightEffect::Renew { op, .. } => format!("#{}: renews its claim", op.0),
        FlightEffect::ReturnPermit { throttle } => format!("returns its permit ({throttle:?})"),
        FlightEffect::Throttle(span) => format!("reports a throttle of {span:?}"),
        FlightEffect::Revoke(_) => "revokes".to_owned(),
    }
}

/// The maximum delay of a timer.
pub(crate) const TICK: Millis = 6;
