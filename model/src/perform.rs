//! Carries out effects, and hands their results to the flight.

use std::sync::Arc;

use tokenkeeper_actors::law::flight::{FlightEffect, FlightEvent, Op, TokenRequest};
use tokenkeeper_actors::law::ledger::{Change, Changed, Commit};
use tokenkeeper_actors::law::profile::{Evidence, NotSent};
use tokenkeeper_actors::ports::store::{ClaimAnswer, Predecessor, Renewed};
use tokenkeeper_actors::values::{ElapsedTime, FlightId};

use crate::actions::is_store_op;
use crate::config::Fault;
use crate::identity::{self, MOMENT};
use crate::server::{Request, Rt, Took};
use crate::sightings::Sight;
use crate::state::Late;
use crate::step::Step;

impl Step<'_> {
    /// Carries out an effect, and hands its result to the flight. `late` if the flight has given it up.
    pub(crate) fn perform(&mut self, flight: FlightId, effect: FlightEffect, late: bool) {
        match effect {
            FlightEffect::Load(op) => self.load(flight, op),
            FlightEffect::Claim { op, epoch, at_least } => {
                let (store, manner) = self.store();
                let answer = store.claim(epoch, flight, at_least, manner);
                if late && self.model.config.has(Fault::OrphanForgotten) {
                    return;
                }
                self.claimed(flight, &answer, late);
                self.feed(flight, FlightEvent::Claimed(op, Ok(answer)));
            }
            FlightEffect::Renew { op, claim, at_least } => {
                let (store, manner) = self.store();
                let answer = store.renew(&claim, at_least, manner);
                self.saw(Sight::Renewed);
                if answer == Renewed::Lost
                    && let Some(seat) = self.seat(flight)
                {
                    seat.claim = None;
                }
                self.feed(flight, FlightEvent::Renewed(op, Ok(answer)));
            }
            FlightEffect::Change(op, change) => {
                let answer = self.change(&change, late);
                let marked = matches!((&change, &answer), (Change::Mark { .. }, Changed::Applied { .. }));
                if let Some(seat) = self.seat(flight).filter(|_| marked) {
                    seat.marked = true;
                }
                self.feed(flight, FlightEvent::Changed(op, Ok(answer)));
            }
            FlightEffect::Connect(op, _) => self.feed(flight, FlightEvent::Connected(op, Ok(()))),
            FlightEffect::Send { op, request, .. } => self.send(flight, op, &request),
            _ => {}
        }
    }

    fn load(&mut self, flight: FlightId, op: Op) {
        let claimed = self.is_claimed(flight);
        let mut record = Box::new(self.state.store.record.clone());
        let stale = self.model.config.has(Fault::StaleReread);
        let Some(seat) = self.seat(flight) else { return };
        if !claimed {
            seat.seen = Some(record.version());
            seat.first_read = stale.then(|| record.clone());
        } else if let Some(first) = seat.first_read.take() {
            record = first;
        } else if seat.marked {
            self.saw(Sight::Verified);
        }
        self.feed(flight, FlightEvent::Loaded(op, Ok(Some(record))));
    }

    fn claimed(&mut self, flight: FlightId, answer: &ClaimAnswer, late: bool) {
        let ClaimAnswer::Granted(claim) = answer else {
            self.seat(flight).into_iter().for_each(|seat| seat.asked = None);
            return self.saw(Sight::Contended);
        };
        if claim.predecessor == Predecessor::MayLive {
            self.saw(Sight::MayLive);
        }
        if late {
            self.saw(Sight::LateClaim);
        }
        if let Some(seat) = self.seat(flight) {
            seat.claim = Some(seat.epoch);
            seat.seen = None;
        }
        let lost = self.state.left.claim_losses < self.model.config.bounds.claim_losses || self.state.has_aged();
        if self.state.check_claims(flight, lost) {
            self.saw(Sight::TwoHolders);
        }
    }

    pub(crate) fn change(&mut self, change: &Change, late: bool) -> Changed {
        let before = self.state.store.record.clone();
        let (store, manner) = self.store();
        let answer = store.change(change, manner);
        let applied = matches!(answer, Changed::Applied { .. });
        match (change, applied) {
            (Change::Commit(_), true) if late => self.saw(Sight::LateCommit),
            (Change::Commit(commit), true) if self.has_lost_claim(commit) => self.saw(Sight::CommitAfterLoss),
            (_, true) if late => self.saw(Sight::LateWrite),
            (Change::Mark { .. }, false) if late => self.saw(Sight::LateMarkRefused),
            (Change::Commit(commit), false) if commit.epoch < before.epoch => self.saw(Sight::Overtaken),
            (Change::Withdraw { .. }, true) => self.saw(Sight::Withdrawn),
            (Change::End { .. }, true) => self.saw(Sight::Ended),
            _ => {}
        }
        if let Changed::Applied { after, .. } = &answer {
            self.state.check_write(&before, after, change);
            self.learn(change);
        }
        answer
    }

    /// Whether the store no longer regards the flight behind a commit as the holder of its claim.
    fn has_lost_claim(&self, commit: &Commit) -> bool {
        self.state.store.holders().all(|(epoch, holder)| (epoch, Some(holder)) != (commit.epoch, commit.access.flight))
    }

    /// Notes that the store now knows a token to be spent or dead.
    fn learn(&mut self, change: &Change) {
        let sent = match change {
            Change::Commit(commit) => commit.sent,
            Change::End { sent, .. } => Some(*sent),
            _ => None,
        };
        let key = &self.model.equipment.digests;
        let server = Arc::make_mut(&mut self.state.server);
        for presented in &mut server.presented {
            presented.over |= Some(presented.rt.credential(key).digest()) == sent;
        }
    }

    /// The source sends a request, unless the time to send has passed.
    fn send(&mut self, flight: FlightId, op: Op, request: &TokenRequest) {
        let left = self.state.elapsed();
        let rt = request.refresh.as_ref().and_then(Rt::of);
        let Some(rt) = rt else { return };
        if left > request.not_after && !self.model.config.has(Fault::SendLate) {
            self.saw(Sight::TooLate);
            return self.feed(flight, FlightEvent::Sent(op, Evidence::NotSent(NotSent::TooLate)));
        }
        let latest = self.state.server.latest_of(rt);
        let overtakes = latest.is_some_and(|latest| latest.by != flight && latest.ends <= left);
        let ends = left.after(request.timeout);
        let request = Request { by: flight, op, awaited: true, overtakes, late: false, rt, left, ends };
        let before = Arc::make_mut(&mut self.state.server).note(&request);
        self.state.check_presentation(&request, before, latest, self.model.config.reuse);
        if before == 2 {
            self.saw(Sight::Third);
        }
        if latest.is_some_and(|latest| latest.by != flight && !latest.lost && latest.ends > left) {
            self.saw(Sight::AtOnce);
        }
        let may_be_late = self.state.left.late_requests > 0;
        self.state.wire.retain(|other| other.awaited || other.rt.lineage != rt.lineage || may_be_late);
        for other in self.state.wire.iter_mut().filter(|other| other.rt.lineage == rt.lineage) {
            other.late = true;
        }
        self.state.wire.push(request);
    }

    /// The server processes a request. The flight gets the answer if it still waits for it.
    pub(crate) fn process_request(&mut self, flight: FlightId, op: Op) {
        let found = self.state.wire.iter().position(|request| (request.by, request.op) == (flight, op));
        let Some(found) = found else { return };
        let request = self.state.wire.remove(found);
        self.state.left.late_requests -= u8::from(request.late);
        let took = Arc::make_mut(&mut self.state.server).process(&request);
        if let Took::Reused(owner) = took {
            self.state.check_revocation(&request, owner, self.model.config.reuse);
            if self.state.server.lineages[request.rt.lineage].overtaken {
                self.saw(Sight::Overtook);
            }
        }
        if !request.awaited {
            self.saw(Sight::AnswerLost);
            if request.late && matches!(took, Took::Reused(_)) {
                self.saw(Sight::LateRevocation);
            }
            return;
        }
        let repeats = self.state.server.latest_of(request.rt).is_some_and(|latest| latest.count > 1);
        match took {
            Took::Rotated(_) if repeats => self.saw(Sight::Repeated),
            Took::Reused(_) if repeats => self.saw(Sight::RepeatedInVain),
            Took::Rotated(_) if self.state.server.times(request.rt) > 1 => self.saw(Sight::Replayed),
            Took::Reused(_) => self.saw(Sight::ReplayedInVain),
            _ => {}
        }
        let process = identity::process_of(flight);
        let mut asked = self.state.moment(process, self.apart());
        asked.elapsed = request.left;
        self.feed(flight, FlightEvent::Sent(request.op, took.evidence(asked)));
    }

    /// Hands a tick to a flight. The flight may give up a store operation, which may still take effect.
    pub(crate) fn tick(&mut self, flight: FlightId) {
        let now = self.state.elapsed();
        let config = &self.model.config;
        let gives_up = self.state.processes[identity::process_of(flight)]
            .seat(flight)
            .is_some_and(|seat| self.state.gives_up(seat, config));
        if gives_up {
            self.state.left.timeouts -= 1;
            self.give_up(flight, now);
        }
        if let Some(seat) = self.state.processes[identity::process_of(flight)].seat(flight) {
            let wake = seat.flight.next_wake().filter(|_| seat.is_repeating());
            let pause = if seat.is_pausing() { MOMENT } else { 0 };
            self.state.now = wake.map_or(0, ElapsedTime::as_millis).max(self.state.now + pause);
        }
        self.feed(flight, FlightEvent::Tick);
    }

    fn give_up(&mut self, flight: FlightId, now: ElapsedTime) {
        let limit = self.model.equipment.timeouts.store_timeout;
        let Some(seat) = self.seat(flight) else { return };
        let given_up: Vec<_> = seat
            .pending
            .extract_if(.., |pending| is_store_op(&pending.effect) && pending.since.after(limit) <= now)
            .map(|pending| pending.effect)
            // A late answer to a read has no effect, and a late renewal neither, because the flight requests another
            // one.
            .filter(|effect| matches!(effect, FlightEffect::Change(..) | FlightEffect::Claim { .. }))
            .collect();
        self.state.late.extend(given_up.into_iter().map(|effect| Late { flight, effect }));
    }
}
