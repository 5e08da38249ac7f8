//! Flights with arbitrary behaviour of the store, the source and the clock. A flight returns its permit, ends its claim
//! and reports its tokens in every case.

use std::sync::Arc;

use proptest::prelude::*;
use tokenkeeper_actors::law::flight::{Equipment, Flight, Op, Report, StoreTimeouts};
use tokenkeeper_actors::law::ledger::apply;
use tokenkeeper_actors::law::profile::{Evidence, Profile, Reuse};
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{DpopKey, Jitter, Now, SourceName};

use crate::support::*;

/// The questions of a flight that are not answered yet.
#[derive(Clone, Debug)]
enum Asked {
    Permit(Op),
    Load(Op),
    Claim(Op),
    Renew(Op),
    Change(Op, Box<Change>),
    Connect(Op),
    Send(Op),
}

/// Surroundings that answer as a tape of bytes directs, and without faults after its end.
struct World {
    flight: Flight,
    record: Option<Record>,
    now: Now,
    tape: std::vec::IntoIter<u8>,
    asked: Vec<Asked>,
    /// Earlier completions. Some of them are delivered again.
    told: Vec<FlightEvent>,
    permits: i32,
    claims: i32,
    unheard_claims: i32,
    presentations: u32,
    challenged: bool,
    /// The connection that stands.
    standing: Option<Op>,
    landed: u32,
    settled: u32,
    keeping: bool,
    /// Whether a pair was obtained that is neither saved nor reported yet.
    unaccounted: bool,
    called_off: bool,
}

impl World {
    fn new(tape: Vec<u8>, spending: Spending) -> Self {
        let mut tape = tape.into_iter();
        let policies = [(Reuse::EndsLineage, None), (Reuse::EndsMore, None), (Reuse::EndsMore, Some(secs(60)))];
        let draw = usize::from(tape.next().unwrap_or_default());
        let (reuse, grace) = policies[draw % 3];
        let profile = Profile { reuse, grace, revocation_confined: draw & 4 > 0, ..Profile::default() };
        let Setup { mut order, mut record, .. } = Setup::default();
        if draw & 8 > 0 {
            order.adopt = insists();
        }
        if draw & 16 > 0 {
            record = record.map(|record| marked(&record, SIBLING, 1, before(START, secs(31))));
        }
        order.renewal.spending = spending;
        if let Some(record) = &mut record {
            grant_of(record).renewal = order.renewal.clone();
            grant_of(record).dpop_key = (draw & 32 > 0).then(|| DpopKey::new("dk"));
        }
        let equipment = Equipment {
            profiles: profile.into(),
            sources: [(SourceName::default(), spending)].into(),
            timeouts: StoreTimeouts::default(),
            digests: digests(),
        };
        let (flight, effects) = Flight::start(order, Arc::new(equipment));
        let now = Now { moment: START, jitter: Jitter::default() };
        let mut world = Self {
            flight,
            record,
            now,
            tape,
            asked: Vec::new(),
            told: Vec::new(),
            permits: 0,
            claims: 0,
            unheard_claims: 0,
            presentations: 0,
            challenged: false,
            standing: None,
            landed: 0,
            settled: 0,
            keeping: false,
            unaccounted: false,
            called_off: false,
        };
        world.carry_out(effects);
        world
    }

    fn draw(&mut self) -> u8 {
        self.tape.next().unwrap_or_default()
    }

    fn tell(&mut self, event: FlightEvent) {
        let was_over = self.flight.is_over();
        let effects = self.flight.handle(event.clone(), self.now);
        assert!(!was_over || effects.is_empty(), "{event:?} of a flight that is over has {effects:?}");
        if !matches!(event, FlightEvent::Tick | FlightEvent::Shutdown(_) | FlightEvent::LoggedOut(_)) {
            self.told.push(event);
        }
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<FlightEffect>) {
        for effect in effects {
            match effect {
                FlightEffect::AskPermit { op, .. } => self.asked.push(Asked::Permit(op)),
                FlightEffect::ReturnPermit { .. } => self.permits -= 1,
                FlightEffect::Throttle(_) => assert_eq!(self.permits, 1, "the permit is kept"),
                FlightEffect::Load(op) => self.asked.push(Asked::Load(op)),
                FlightEffect::Claim { op, .. } => self.asked.push(Asked::Claim(op)),
                FlightEffect::Renew { op, .. } => self.asked.push(Asked::Renew(op)),
                FlightEffect::EndClaim { .. } => self.claims -= 1,
                FlightEffect::Change(op, change) => self.asked.push(Asked::Change(op, Box::new(change))),
                FlightEffect::Connect(op, _) => {
                    assert_eq!(self.claims, 1, "nobody connects unclaimed");
                    assert!(!self.called_off, "nothing new is begun");
                    self.asked.push(Asked::Connect(op));
                }
                FlightEffect::Send { op, request, connection } => {
                    assert!(connection.is_none_or(|connection| self.standing == Some(connection)), "it does not stand");
                    let single_use = request.refresh.is_some();
                    assert!(!self.asked.iter().any(|asked| matches!(asked, Asked::Send(_))), "two requests at once");
                    assert!(!single_use || self.claims == 1, "nobody spends unclaimed");
                    assert!(!self.called_off, "nothing new is begun");
                    self.asked.push(Asked::Send(op));
                }
                FlightEffect::Revoke(_) => self.unaccounted = false,
                FlightEffect::Report(Report::Landed(landing)) => {
                    self.landed += 1;
                    self.keeping = landing.keeping;
                }
                FlightEffect::Report(Report::Settled(_)) => self.settled += 1,
                FlightEffect::Report(Report::Lost { .. }) => {
                    self.settled += 1;
                    self.unaccounted = false;
                }
            }
        }
    }

    /// One step of the surroundings.
    fn step(&mut self) {
        let draw = self.draw();
        self.now.jitter = Jitter::new(u16::from(draw) << 8);
        let calm = self.tape.len() == 0;
        match draw % 16 {
            _ if calm => self.answer(0),
            0..=10 => self.answer(draw / 16),
            11 => {
                self.now.moment = after(self.now.moment, millis(u64::from(draw) * 20));
                self.tell(FlightEvent::Tick);
            }
            12 if !self.told.is_empty() => {
                let event = self.told[usize::from(draw) % self.told.len()].clone();
                let before = format!("{:?}", self.flight);
                let effects = self.flight.handle(event, self.now);
                assert!(effects.is_empty() && before == format!("{:?}", self.flight), "told twice: {effects:?}");
            }
            13 => self.somebody_acts(draw / 16),
            14 if draw > 220 => {
                self.called_off = true;
                let patience = secs(u64::from(self.draw() % 32));
                self.tell(FlightEvent::Shutdown(self.now.elapsed().after(patience)));
            }
            15 if draw > 220 => {
                self.called_off = true;
                self.tell(FlightEvent::LoggedOut(EPOCH));
            }
            _ => self.wake(),
        }
    }

    fn wake(&mut self) {
        if let Some(due) = self.flight.next_wake() {
            let span = due.since(self.now.elapsed());
            self.now.moment = after(self.now.moment, span);
            self.tell(FlightEvent::Tick);
        }
    }

    fn somebody_acts(&mut self, draw: u8) {
        let Some(record) = &self.record else { return };
        let change = match draw % 16 {
            0 => Change::Clear { epoch: record.epoch },
            1 => Change::Install(Box::new(login(Some("rt-new"), "at-new", self.now.moment, HOUR))),
            2 => Change::Park { epoch: EPOCH, why: tokenkeeper_actors::values::record::Parked::IssuerChanged },
            _ => return,
        };
        if let Ok(next) = apply(Some(record), &change) {
            self.record = Some(next);
            self.unaccounted = false;
        }
    }

    /// Answers one of the open questions, in any order.
    fn answer(&mut self, draw: u8) {
        if self.asked.is_empty() {
            return self.wake();
        }
        let calm = self.tape.len() == 0;
        let index = if calm { 0 } else { usize::from(self.draw()) % self.asked.len() };
        let fault = [StoreFault::TimedOut, StoreFault::Failed][usize::from(draw) % 2];
        match self.asked.remove(index) {
            Asked::Permit(op) if draw == 15 => self.tell(FlightEvent::Held(op, secs(1))),
            Asked::Permit(op) => {
                self.permits += 1;
                self.tell(FlightEvent::Permitted(op));
            }
            Asked::Load(op) if draw > 14 => self.tell(FlightEvent::Loaded(op, Err(fault))),
            Asked::Load(op) => self.tell(FlightEvent::Loaded(op, Ok(self.record.clone().map(Box::new)))),
            Asked::Claim(op) => self.answer_claim(op, draw, fault),
            Asked::Renew(op) if draw > 12 => self.tell(FlightEvent::Renewed(op, Err(fault))),
            Asked::Renew(op) if draw > 10 => self.tell(FlightEvent::Renewed(op, Ok(Renewed::Lost))),
            Asked::Renew(op) => self.tell(FlightEvent::Renewed(op, Ok(Renewed::Until(Some(secs(50)))))),
            Asked::Change(op, change) if draw > 13 || draw > 8 && !matches!(*change, Change::Mark { .. }) => {
                self.tell(FlightEvent::Changed(op, Err(fault)))
            }
            Asked::Change(op, change) => {
                let before = self.record.clone().map(Box::new);
                let answer = match apply(before.as_deref(), &change) {
                    Ok(next) => {
                        self.record = Some(next.clone());
                        Changed::Applied { before, after: Box::new(next) }
                    }
                    Err(why) => Changed::Conflict { why, current: before },
                };
                let heard = if (6..9).contains(&draw) { Err(StoreFault::TimedOut) } else { Ok(answer) };
                self.tell(FlightEvent::Changed(op, heard));
            }
            Asked::Connect(op) if draw > 13 => self.tell(FlightEvent::Connected(op, Err(NO_CONNECTION))),
            Asked::Connect(op) => {
                self.standing = Some(op);
                self.tell(FlightEvent::Connected(op, Ok(())));
            }
            Asked::Send(op) => self.answer_request(op, draw),
        }
    }

    fn answer_claim(&mut self, op: Op, draw: u8, fault: StoreFault) {
        match draw {
            14.. => {
                // A claim that timed out is ended, even if the store did not grant it.
                self.unheard_claims += i32::from(fault == StoreFault::TimedOut);
                self.tell(FlightEvent::Claimed(op, Err(fault)));
            }
            12 | 13 => self.tell(FlightEvent::Claimed(op, Ok(ClaimAnswer::Contended))),
            _ => {
                self.claims += 1;
                let remaining = (draw & 1 > 0).then_some(secs(50));
                let predecessor = if draw > 9 { Predecessor::MayLive } else { Predecessor::Gone };
                self.tell(FlightEvent::Claimed(op, Ok(granted(remaining, predecessor))));
            }
        }
    }

    fn answer_request(&mut self, op: Op, draw: u8) {
        let evidence = match draw {
            10 => UNREACHABLE,
            11 => TOO_LATE,
            12 => nonce_wanted(),
            13 => refused(400, "invalid_grant"),
            14 => refused(401, "invalid_client"),
            15 => ANSWER_LOST,
            9 => refused(429, ""),
            8 => usable(tokens("at-2", None)),
            _ => new_pair(),
        };
        match &evidence {
            Evidence::NotSent(_) => {}
            Evidence::Refused(refused) if refused.error.as_deref() == Some("use_dpop_nonce") => {
                self.presentations += u32::from(self.challenged);
                self.challenged = true;
            }
            _ => {
                self.presentations += 1;
                // The next presentation has a mark of its own, and may be challenged once.
                self.challenged = false;
            }
        }
        self.unaccounted = matches!(&evidence, Evidence::Tokens(tokens) if tokens.refresh.is_some());
        self.tell(FlightEvent::Sent(op, evidence));
    }

    fn run(mut self, spending: Spending) {
        for _ in 0..4_000 {
            if self.flight.is_over() {
                break;
            }
            assert!(
                !self.asked.is_empty() || self.flight.next_wake().is_some(),
                "waits for nothing: {:?}",
                self.flight
            );
            self.step();
        }
        assert!(self.flight.is_over(), "never ends: {:?}", self.flight);
        assert_eq!(self.flight.next_wake(), None);
        assert_eq!(self.landed, 1, "it reports once");
        assert!(self.settled <= u32::from(self.keeping), "it settles only what it kept, and once");
        assert_eq!(self.permits, 0, "the issuer's leave is given back once");
        assert!(self.presentations <= 2, "a flight presents its token once more at most");
        assert!(self.claims <= 0 && self.claims >= -self.unheard_claims - 1, "each claim ends once: {}", self.claims);
        if spending == Spending::SingleUse && self.unaccounted {
            let saved = refresh_of(self.record.as_ref());
            assert!(saved.as_deref() == Some("rt-2") || saved.as_deref() == Some("rt-new"), "lost: {saved:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_flight_that_spends_ends_and_accounts_for_everything(tape in prop::collection::vec(any::<u8>(), 0..400)) {
        World::new(tape, Spending::SingleUse).run(Spending::SingleUse);
    }

    #[test]
    fn a_flight_that_spends_nothing_ends_and_accounts_for_everything(
        tape in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        World::new(tape, Spending::Repeatable).run(Spending::Repeatable);
    }
}
