//! The driver of the session's law over the script. Nothing waits in here. Work that takes time has a due time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::flight::{
    Equipment, Flight, FlightEffect, FlightEvent, Landing, Op, Order, Outcome, Report, Spending, StoreTimeouts,
};
use tokenkeeper_actors::law::login::{LoginConclusion, LoginReport};
use tokenkeeper_actors::law::profile::Profiles;
use tokenkeeper_actors::law::session::{
    Birth, Hit, Policy, Published, Refusal, Residue, Session, SessionEffect, SessionEvent,
};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed, Reservation};
use tokenkeeper_actors::runtime::stand_in::Stage;
use tokenkeeper_actors::values::record::{Record, RenewalPlan, SourceName};
use tokenkeeper_actors::values::{
    BootId, ElapsedTime, FlightId, Jitter, LoginReason, Moment, Nonce, Now, Validity, Window,
};

use super::Counts;
use super::clock::TokioClock;
use super::step::Step;
use super::world::{Script, Store};

/// The two machines, and the state of the world around them.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) store: Store,
    pub(super) script: Script,
    pub(super) counts: Counts,
    pub(super) refusals: Vec<Refusal>,
    clock: TokioClock,
    stage: Stage,
    session: Session,
    equipment: Arc<Equipment>,
    flights: Vec<ActiveFlight>,
    queue: VecDeque<Event>,
    /// Until this time the token endpoint gets no request.
    throttled_until: ElapsedTime,
}

/// A queued event.
#[derive(Debug)]
enum Event {
    Session(SessionEvent),
    Flight(FlightId, FlightEvent),
    Answer(FlightId, Answer),
}

/// A running flight.
#[derive(Debug)]
struct ActiveFlight {
    id: FlightId,
    /// `None` for a flight whose outcome comes straight from the script.
    machine: Option<Flight>,
    /// The pending answer to its request, and when it arrives.
    answer: Option<(ElapsedTime, Answer)>,
}

#[derive(Debug)]
enum Answer {
    Sent(Op, Box<Step>, Moment),
    Outcome(Outcome),
}

impl Driver {
    pub(super) fn new(stage: Stage, store: Store, policy: Policy, clock: TokioClock) -> Self {
        let equipment = Equipment {
            profiles: Profiles::default(),
            sources: [(SourceName::REFRESH_TOKEN, Spending::SingleUse)].into(),
            timeouts: StoreTimeouts::default(),
            digests: store.digests.clone(),
        };
        let policy = Policy { renewal: RenewalPlan::default(), ..policy };
        let birth = Birth { nonce: Nonce(1), flights: FlightId(0) };
        let (session, effects) = Session::start(policy, birth, Residue::default(), present(&clock));
        let mut driver = Self {
            store,
            script: Script::default(),
            counts: Counts::default(),
            refusals: Vec::new(),
            clock,
            stage,
            session,
            equipment: Arc::new(equipment),
            flights: Vec::new(),
            queue: VecDeque::new(),
            throttled_until: ElapsedTime::default(),
        };
        effects.into_iter().for_each(|effect| driver.for_session(effect));
        driver.run_queue();
        driver
    }

    /// Delivers `event` to the session, and counts it.
    pub(super) fn handle(&mut self, event: SessionEvent) {
        match &event {
            SessionEvent::GetToken(..) => self.counts.asked += 1,
            SessionEvent::Invalidate(_, refusal) => {
                self.counts.refusals += 1;
                self.refusals.push(*refusal);
            }
            SessionEvent::Install(..) => self.counts.installs += 1,
            SessionEvent::Logout(_) | SessionEvent::Forget(_) => self.counts.logouts += 1,
            _ => {}
        }
        self.queue.push_back(Event::Session(event));
        self.run_queue();
    }

    /// Does all work that is due.
    pub(super) fn catch_up(&mut self) {
        let now = self.clock.now().elapsed;
        let is_due = |at: ElapsedTime| at <= now;
        for flight in &mut self.flights {
            if let Some((_, answer)) = flight.answer.take_if(|(at, _)| is_due(*at)) {
                self.queue.push_back(Event::Answer(flight.id, answer));
            } else if flight.machine.as_ref().and_then(Flight::next_wake).is_some_and(is_due) {
                self.queue.push_back(Event::Flight(flight.id, FlightEvent::Tick));
            }
        }
        self.run_queue();
        if self.session.next_wake().is_some_and(is_due) {
            self.queue.push_back(Event::Session(SessionEvent::Tick));
            self.run_queue();
        }
    }

    /// The next due time.
    pub(super) fn next_wake(&self) -> Option<ElapsedTime> {
        let flights = self.flights.iter().flat_map(|flight| {
            let answer = flight.answer.as_ref().map(|(at, _)| *at);
            answer.into_iter().chain(flight.machine.as_ref().and_then(Flight::next_wake))
        });
        flights.chain(self.session.next_wake()).min()
    }

    /// Delivers queued events to their machines, and performs the effects, until the queue is empty.
    fn run_queue(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            match event {
                Event::Session(event) => {
                    let effects = self.session.handle(event, present(&self.clock));
                    effects.into_iter().for_each(|effect| self.for_session(effect));
                }
                Event::Flight(id, event) => {
                    let now = present(&self.clock);
                    let machine = self.flights.iter_mut().find(|flight| flight.id == id);
                    let effects = machine.and_then(|flight| Some(flight.machine.as_mut()?.handle(event, now)));
                    effects.into_iter().flatten().for_each(|effect| self.for_flight(id, effect));
                    self.remove_flight(id, |flight| flight.machine.as_ref().is_some_and(Flight::is_over));
                }
                Event::Answer(id, Answer::Sent(op, step, sent)) => {
                    self.store.broken |= step.breaks_store();
                    let evidence = step.evidence(self.store.next_refresh_token(), sent);
                    self.queue.push_front(Event::Flight(id, FlightEvent::Sent(op, evidence)));
                }
                Event::Answer(id, Answer::Outcome(outcome)) => {
                    let landing = Landing { outcome, view: None, keeping: false, requests: 1 };
                    self.queue.push_back(Event::Session(SessionEvent::Flight(id, Report::Landed(landing))));
                    self.remove_flight(id, |_| true);
                }
            }
        }
    }

    fn for_session(&mut self, effect: SessionEffect) {
        let event = match effect {
            SessionEffect::Publish(published) => {
                self.stage.carry_out(SessionEffect::Publish(Box::new(expired(*published))));
                return;
            }
            SessionEffect::Load(op) => {
                let view = |record: Record| Box::new(record.view());
                SessionEvent::Loaded(op, self.store.load().map(|record| record.map(view)))
            }
            SessionEffect::Reserve(op, _) => SessionEvent::Reserved(op, self.store.answer(Reservation::Reserved)),
            SessionEffect::Change(op, change) => SessionEvent::Changed(op, self.store.change(&change)),
            SessionEffect::Fly(order) => return self.start_flight(*order),
            SessionEffect::TellLoggedOut(flight, epoch) => {
                return self.queue.push_back(Event::Flight(flight, FlightEvent::LoggedOut(epoch)));
            }
            // A scripted session has no login source.
            SessionEffect::SignIn(order) => {
                let result = Err(LoginReason::SourceMissing);
                let conclusion = Box::new(LoginConclusion { result, view: None, unstored: None });
                SessionEvent::Attempt(order.attempt, Box::new(LoginReport::Concluded(conclusion)))
            }
            SessionEffect::TellAttempt(..) | SessionEffect::DropLogins => return,
            // No caller waits for a revocation, and no server would notice it.
            SessionEffect::Revoke(_) => return,
            answer => {
                self.stage.carry_out(answer);
                return;
            }
        };
        self.queue.push_back(Event::Session(event));
    }

    fn start_flight(&mut self, order: Order) {
        let id = order.flight;
        if let Some(outcome) = self.script.peek().outcome() {
            self.flights.push(ActiveFlight { id, machine: None, answer: None });
            return self.begin_request(id, |_| Answer::Outcome(outcome));
        }
        let (machine, effects) = Flight::start(order, Arc::clone(&self.equipment));
        self.flights.push(ActiveFlight { id, machine: Some(machine), answer: None });
        effects.into_iter().for_each(|effect| self.for_flight(id, effect));
    }

    fn for_flight(&mut self, id: FlightId, effect: FlightEffect) {
        let now = self.clock.now();
        let event = match effect {
            FlightEffect::AskPermit { op, .. } if self.throttled_until > now.elapsed => {
                FlightEvent::Held(op, self.throttled_until.since(now.elapsed))
            }
            FlightEffect::AskPermit { op, .. } => FlightEvent::Permitted(op),
            FlightEffect::ReturnPermit { throttle } => {
                self.throttled_until = self.throttled_until.max(now.elapsed.after(throttle.unwrap_or_default()));
                return;
            }
            FlightEffect::Throttle(span) => {
                self.throttled_until = self.throttled_until.max(now.elapsed.after(span));
                return;
            }
            FlightEffect::Load(op) => FlightEvent::Loaded(op, self.store.load().map(|record| record.map(Box::new))),
            FlightEffect::Claim { op, epoch, .. } => {
                let scope = ClaimScope::Spend(epoch);
                let claim = Claim { holder: id, scope, remaining: None, predecessor: Predecessor::Gone };
                FlightEvent::Claimed(op, self.store.answer(ClaimAnswer::Granted(claim)))
            }
            FlightEffect::Renew { op, .. } => FlightEvent::Renewed(op, self.store.answer(Renewed::Until(None))),
            FlightEffect::Change(op, change) => FlightEvent::Changed(op, self.store.change(&change)),
            FlightEffect::Connect(op, _) => FlightEvent::Connected(op, Ok(())),
            FlightEffect::Send { op, .. } => {
                return self.begin_request(id, |step| Answer::Sent(op, Box::new(step), now));
            }
            FlightEffect::Report(report) => {
                return self.queue.push_back(Event::Session(SessionEvent::Flight(id, report)));
            }
            FlightEffect::EndClaim { .. } | FlightEffect::Revoke(_) => return,
        };
        self.queue.push_back(Event::Flight(id, event));
    }

    /// Begins the flight's request with the next step of the script.
    fn begin_request(&mut self, id: FlightId, answer: impl FnOnce(Step) -> Answer) {
        self.counts.token_requests += 1;
        let step = self.script.next();
        let takes = step.takes();
        if takes.is_zero() {
            self.queue.push_back(Event::Answer(id, answer(step)));
        } else if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.answer = Some((self.clock.now().elapsed.after(takes), answer(step)));
        }
    }

    /// Removes a flight that is over.
    fn remove_flight(&mut self, id: FlightId, is_over: impl Fn(&ActiveFlight) -> bool) {
        let before = self.flights.len();
        self.flights.retain(|flight| flight.id != id || !is_over(flight));
        if self.flights.len() < before {
            self.queue.push_back(Event::Session(SessionEvent::FlightOver(id)));
        }
    }
}

/// The current time, with fixed jitter.
fn present(clock: &TokioClock) -> Now {
    Now { moment: clock.now(), jitter: Jitter::default() }
}

/// Expires the published lease, so that every request of a handle is counted. The callers get the same lease from the
/// session.
fn expired(published: Published) -> Published {
    let over = Window::of(&Validity::new(Moment::default(), Some(Duration::from_millis(1))), BootId::default());
    Published { hit: published.hit.map(|hit| Hit { window: over, ..hit }), ..published }
}
