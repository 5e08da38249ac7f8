//! Store operations. Each begins, takes effect and is answered, or fails, or hangs.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{FlightEvent, Op};
use tokenkeeper_actors::law::ledger::{Change, Changed};
use tokenkeeper_actors::law::login::LoginEvent;
use tokenkeeper_actors::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, PendingLogin, Renewed, Reservation,
};
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{AttemptId, FlightId, KeyedDigest, LoginKey, StoreFault};

use super::{Item, World};
use crate::Millis;
use crate::plan::{StoreTrouble, When};
use crate::process::{ActorId, Mail, Pid};
use crate::rng::{For, Rng, join};
use crate::store::Holder;
use crate::tally::Kind;

/// The originator of a store operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Flight(Pid, FlightId),
    Attempt(Pid, AttemptId),
    Actor(ActorId),
    /// The driver itself, which ends the claim of an aborted flight or attempt.
    Driver(Pid),
}

impl Asker {
    pub(crate) fn pid(self) -> Pid {
        match self {
            Asker::Flight(pid, _) | Asker::Attempt(pid, _) | Asker::Driver(pid) => pid,
            Asker::Actor(actor) => actor.pid,
        }
    }

    pub(crate) fn flight(self) -> Option<FlightId> {
        match self {
            Asker::Flight(_, flight) => Some(flight),
            Asker::Attempt(..) | Asker::Actor(_) | Asker::Driver(_) => None,
        }
    }

    /// The id under which it holds claims.
    fn holder(self) -> Option<FlightId> {
        match self {
            Asker::Flight(_, flight) => Some(flight),
            Asker::Attempt(_, attempt) => Some(attempt.holder()),
            Asker::Actor(_) | Asker::Driver(_) => None,
        }
    }
}

/// The request to the store.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Load,
    Claim { scope: ClaimScope, at_least: Duration },
    Renew { claim: Claim, at_least: Duration },
    End { claim: Claim, ending: ClaimEnding },
    Change(Change),
    Reserve(KeyedDigest),
    Put(LoginKey, Box<PendingLogin>),
    Peek(LoginKey),
    Take(LoginKey),
    DropLogins,
}

#[derive(Debug)]
enum Answer {
    Loaded(Option<Box<Record>>),
    Claimed(ClaimAnswer),
    Renewed(Renewed),
    Ended,
    Changed(Box<Changed>),
    Reserved(Reservation),
    Put,
    Pending(Option<Box<PendingLogin>>),
}

#[derive(Debug)]
pub(crate) struct StoreOp {
    pub(crate) asker: Asker,
    pub(crate) identity: usize,
    op: Op,
    pub(crate) call: Call,
    fault: Option<StoreFault>,
    /// The request has left for another machine, and continues when its process does not.
    pub(crate) left: bool,
    /// The number of its items that are still pending.
    pending: u8,
    effected: bool,
    result: Option<Answer>,
    begun: Millis,
}

/// The fate of an operation.
struct Fate {
    effect: Option<Millis>,
    done: Option<Millis>,
    again: bool,
    fault: Option<StoreFault>,
}

impl World {
    pub(crate) fn begin_op(&mut self, asker: Asker, identity: usize, op: Op, call: Call, key: u64) {
        let mut rng = self.rng(For::StoreOp, key);
        let fate = self.fate(asker, &call, &mut rng);
        // An operation that is under way when its process dies may or may not have left.
        let left = self.config.is_leased() && rng.chance(600);
        let id = self.next_op;
        self.next_op += 1;
        let mut pending = 0;
        if let Some(after) = fate.effect {
            self.queue.push(self.t + after, Item::StoreEffect(id));
            pending += 1;
        }
        if let Some(after) = fate.done {
            self.queue.push(self.t + after, Item::StoreDone(id));
            pending += 1;
            if fate.again {
                self.queue.push(self.t + after + rng.below(2_000), Item::StoreDone(id));
                pending += 1;
            }
        }
        let (effected, begun) = (false, self.t);
        let op = StoreOp { asker, identity, op, call, fault: fate.fault, left, pending, effected, result: None, begun };
        self.ops.insert(id, op);
    }

    fn fate(&self, asker: Asker, call: &Call, rng: &mut Rng) -> Fate {
        let base = if self.config.is_leased() { rng.between(1, 12) } else { rng.between(0, 3) };
        let timeout = self.config.timeouts.store_timeout.as_millis() as Millis;
        let weather = self.weather();
        let mut fate = Fate { effect: Some(base / 2), done: Some(base), again: false, fault: None };
        if matches!(call, Call::End { .. }) && !self.config.is_leased() {
            // The holder frees a kernel lock by closing its file.
            return fate;
        }
        let fail = |fate: &mut Fate, fault| {
            *fate = Fate { effect: None, done: Some(base), again: false, fault: Some(fault) };
        };
        // The operation reports a time-out, and takes effect before it, after it, or not at all.
        let hang = |fate: &mut Fate, rng: &mut Rng| {
            let effect =
                rng.weigh(&[(4, None), (3, Some(timeout / 2)), (2, Some(timeout * 2)), (1, Some(timeout * 5))]);
            let done = rng.weigh(&[(6, Some(timeout)), (3, Some(timeout + 400)), (1, None)]);
            *fate = Fate { effect, done, again: false, fault: Some(StoreFault::TimedOut) };
        };
        if rng.chance(weather.store_slow) {
            let slow = rng.pick(&[100, 900, 3_000, timeout + 500, 20_000]);
            (fate.effect, fate.done) = (Some(rng.below(slow)), Some(slow));
        }
        fate.again = rng.chance(weather.store_slow);
        if rng.chance(weather.store_fails) {
            fail(&mut fate, StoreFault::Failed);
        } else if rng.chance(weather.store_hangs) {
            hang(&mut fate, rng);
        }
        for (trouble, until) in &self.store_troubles {
            if *until <= self.t || self.healed {
                continue;
            }
            let save = matches!(call, Call::Change(Change::Commit(_) | Change::Install(_)));
            match trouble {
                StoreTrouble::Fails => fail(&mut fate, StoreFault::Failed),
                StoreTrouble::Hangs => hang(&mut fate, rng),
                StoreTrouble::SavesFail if save && rng.chance(700) => fail(&mut fate, StoreFault::Failed),
                StoreTrouble::SavesFail if save => hang(&mut fate, rng),
                StoreTrouble::WritesFail if matches!(call, Call::Change(_) | Call::Put(..) | Call::Take(_)) => {
                    fail(&mut fate, StoreFault::Failed)
                }
                StoreTrouble::Unreadable if matches!(call, Call::Load) => fail(&mut fate, StoreFault::Unreadable),
                StoreTrouble::NoClaims if matches!(call, Call::Claim { .. } | Call::Renew { .. }) => {
                    fail(&mut fate, StoreFault::Failed);
                }
                StoreTrouble::Slow if fate.fault.is_none() => {
                    let slow = rng.pick(&[500, 2_000, timeout + 500]);
                    (fate.effect, fate.done) = (Some(rng.below(slow)), Some(slow));
                }
                _ => {}
            }
        }
        if matches!(call, Call::Claim { .. }) && !self.config.is_leased() && fate.fault.is_some() {
            // A time-out on a kernel lock also releases it.
            fate.effect = None;
        }
        let bounds_it = asker.flight().is_some() && matches!(call, Call::Load | Call::Change(_))
            || matches!(asker, Asker::Attempt(..)) && !matches!(call, Call::Claim { .. });
        if fate.done.is_none() && !bounds_it {
            // A driver does not leave a claim without an answer, nor an actor waiting. So such an operation is always
            // answered.
            fate.done = Some(timeout * 3);
        }
        fate
    }

    pub(crate) fn store_effect(&mut self, id: u64) {
        let Some(mut op) = self.ops.remove(&id) else { return };
        op.pending -= 1;
        self.have_effect(&mut op);
        if op.pending > 0 {
            self.ops.insert(id, op);
        }
    }

    fn have_effect(&mut self, op: &mut StoreOp) {
        if op.effected {
            return;
        }
        op.effected = true;
        let timeout = self.config.timeouts.store_timeout.as_millis() as Millis;
        if self.t > op.begun + timeout && matches!(op.call, Call::Change(_)) {
            self.count(Kind::WroteLate);
        }
        let (identity, now) = (op.identity, self.t);
        op.result = Some(match &op.call {
            Call::Load => Answer::Loaded(self.store.record(identity).cloned().map(Box::new)),
            Call::Claim { scope, at_least } => {
                let scope = *scope;
                let Some(flight) = op.asker.holder() else { return };
                let pid = op.asker.pid();
                let gone = !self.runs_on(op.asker);
                if gone && !self.config.is_leased() {
                    // The guard of a kernel lock is dropped with the flight that waited for it.
                    return;
                }
                let cannot =
                    |(kind, until): &(StoreTrouble, Millis)| *kind == StoreTrouble::CannotClaim && *until > now;
                if !self.healed && self.store_troubles.iter().any(cannot) {
                    op.result = Some(Answer::Claimed(ClaimAnswer::Unsupported));
                    return self.count(Kind::ClaimUnsupported);
                }
                self.note_claims_run_out(identity, scope, flight);
                let holder = self.holder(pid, flight);
                let answer = self.store.claim(identity, scope, holder, *at_least, now);
                self.tell(
                    || format!("store i{identity}"),
                    |world| format!("claim {scope:?} by {}: {answer:?}", world.flight_name(pid, flight)),
                );
                Answer::Claimed(answer)
            }
            Call::Renew { claim, at_least } => Answer::Renewed(self.store.renew(identity, claim, *at_least, now)),
            Call::End { claim, ending } => {
                self.store.end_claim(identity, claim);
                self.tell(|| format!("store i{identity}"), |_| format!("claim ended: {ending:?}"));
                Answer::Ended
            }
            Call::Change(change) => {
                let changed = self.store.change(identity, change);
                let change = change.clone();
                self.written(op.asker, identity, &change, &changed);
                Answer::Changed(Box::new(changed))
            }
            Call::Reserve(digest) => Answer::Reserved(match self.store.reserve(identity, *digest, now) {
                None => Reservation::Reserved,
                Some(other) => Reservation::HeldBy(self.identities[other].clone()),
            }),
            Call::Put(key, pending) => {
                self.store.put_login(*key, (**pending).clone());
                Answer::Put
            }
            Call::Peek(key) => {
                let wall = self.moment(op.asker.pid().process).wall;
                Answer::Pending(self.store.peek_login(*key, wall).map(Box::new))
            }
            Call::Take(key) => {
                let wall = self.moment(op.asker.pid().process).wall;
                let taken = self.store.take_login(*key, wall);
                self.note_taken(op.asker, *key, taken.is_some());
                Answer::Pending(taken.map(Box::new))
            }
            Call::DropLogins => {
                let owner = self.identities[identity].clone();
                self.store.drop_logins(&owner);
                Answer::Put
            }
        });
    }

    /// Whether the machine behind an operation still exists.
    fn runs_on(&self, asker: Asker) -> bool {
        let process = &self.processes[asker.pid().process];
        match asker {
            Asker::Flight(_, flight) => process.flights.contains_key(&flight),
            Asker::Attempt(_, attempt) => process.attempts.contains_key(&attempt),
            Asker::Actor(_) | Asker::Driver(_) => true,
        }
    }

    pub(crate) fn holder(&self, pid: Pid, flight: FlightId) -> Holder {
        let host = self.processes[pid.process].host;
        Holder { flight, process: pid.process, life: pid.life, host, boot: self.hosts[host].boot() }
    }

    pub(crate) fn store_done(&mut self, id: u64) {
        let Some(mut op) = self.ops.remove(&id) else { return };
        if self.spring_done(&op) {
            // The answer stays pending after a trap. The flight, the attempt or its driver takes it.
            self.ops.insert(id, op);
            self.queue.push(self.t, Item::StoreDone(id));
            return;
        }
        op.pending -= 1;
        if op.fault.is_none() {
            self.have_effect(&mut op);
        }
        self.answer_op(&mut op);
        if op.pending > 0 {
            self.ops.insert(id, op);
        }
    }

    fn spring_done(&mut self, op: &StoreOp) -> bool {
        match op.asker {
            Asker::Flight(pid, flight) if self.processes[pid.process].flights.contains_key(&flight) => {
                super::traps::name_of(&op.call).is_some_and(|effect| self.spring(pid, flight, effect, When::Done))
            }
            Asker::Attempt(pid, attempt) => super::traps::login_name_of(&op.call)
                .is_some_and(|effect| self.spring_login(pid, attempt, effect, When::Done)),
            _ => false,
        }
    }

    fn answer_op(&mut self, op: &mut StoreOp) {
        match op.fault {
            Some(StoreFault::TimedOut) => self.count(Kind::StoreTimedOut),
            Some(_) => self.count(Kind::StoreFailed),
            None => {}
        }
        let fault = op.fault;
        let clone = op.pending > 0;
        let result = if clone { op.result.as_ref().map(Answer::copy) } else { op.result.take() };
        let (stamp, identity) = (op.op, op.identity);
        match op.asker {
            Asker::Driver(_) => {}
            Asker::Flight(pid, flight) => {
                let event = match (&op.call, result) {
                    (Call::Load, Some(Answer::Loaded(record))) if fault.is_none() => {
                        FlightEvent::Loaded(stamp, Ok(record))
                    }
                    (Call::Load, _) => FlightEvent::Loaded(stamp, Err(or_failed(fault))),
                    (Call::Claim { .. }, Some(Answer::Claimed(answer))) if fault.is_none() => {
                        FlightEvent::Claimed(stamp, Ok(answer))
                    }
                    (Call::Claim { .. }, _) => FlightEvent::Claimed(stamp, Err(or_failed(fault))),
                    (Call::Renew { .. }, Some(Answer::Renewed(renewed))) if fault.is_none() => {
                        FlightEvent::Renewed(stamp, Ok(renewed))
                    }
                    (Call::Renew { .. }, _) => FlightEvent::Renewed(stamp, Err(or_failed(fault))),
                    (Call::Change(_), Some(Answer::Changed(changed))) if fault.is_none() => {
                        FlightEvent::Changed(stamp, Ok(*changed))
                    }
                    (Call::Change(_), _) => FlightEvent::Changed(stamp, Err(or_failed(fault))),
                    _ => return,
                };
                self.op_answered(pid, flight, identity, event);
            }
            Asker::Attempt(pid, attempt) => {
                let event = match (&op.call, result) {
                    (Call::Load, Some(Answer::Loaded(record))) if fault.is_none() => {
                        LoginEvent::Loaded(stamp, Ok(record))
                    }
                    (Call::Load, _) => LoginEvent::Loaded(stamp, Err(or_failed(fault))),
                    (Call::Claim { .. }, Some(Answer::Claimed(answer))) if fault.is_none() => {
                        LoginEvent::Claimed(stamp, Ok(answer))
                    }
                    (Call::Claim { .. }, _) => LoginEvent::Claimed(stamp, Err(or_failed(fault))),
                    (Call::Renew { .. }, Some(Answer::Renewed(renewed))) if fault.is_none() => {
                        LoginEvent::Renewed(stamp, Ok(renewed))
                    }
                    (Call::Renew { .. }, _) => LoginEvent::Renewed(stamp, Err(or_failed(fault))),
                    (Call::Change(_), Some(Answer::Changed(changed))) if fault.is_none() => {
                        LoginEvent::Changed(stamp, Ok(*changed))
                    }
                    (Call::Change(_), _) => LoginEvent::Changed(stamp, Err(or_failed(fault))),
                    (Call::Reserve(_), Some(Answer::Reserved(reserved))) if fault.is_none() => {
                        LoginEvent::Reserved(stamp, Ok(reserved))
                    }
                    (Call::Reserve(_), _) => LoginEvent::Reserved(stamp, Err(or_failed(fault))),
                    (Call::Put(..), Some(Answer::Put)) if fault.is_none() => LoginEvent::Put(stamp, Ok(())),
                    (Call::Put(..), _) => LoginEvent::Put(stamp, Err(or_failed(fault))),
                    (Call::Peek(_), Some(Answer::Pending(pending))) if fault.is_none() => {
                        LoginEvent::Peeked(stamp, Ok(pending))
                    }
                    (Call::Peek(_), _) => LoginEvent::Peeked(stamp, Err(or_failed(fault))),
                    (Call::Take(_), Some(Answer::Pending(pending))) if fault.is_none() => {
                        LoginEvent::Taken(stamp, Ok(pending))
                    }
                    (Call::Take(_), _) => LoginEvent::Taken(stamp, Err(or_failed(fault))),
                    (Call::End { .. } | Call::DropLogins, _) => return,
                };
                self.attempt_answered(pid, attempt, identity, event);
            }
            Asker::Actor(actor) => {
                let mail = match (&op.call, result) {
                    (Call::Load, Some(Answer::Loaded(record))) if fault.is_none() => {
                        Mail::Loaded(stamp, Ok(record.map(|record| Box::new(record.view()))))
                    }
                    (Call::Load, _) => Mail::Loaded(stamp, Err(or_failed(fault))),
                    (Call::Change(_), Some(Answer::Changed(changed))) if fault.is_none() => {
                        Mail::Changed(stamp, Box::new(Ok(*changed)))
                    }
                    (Call::Change(_), _) => Mail::Changed(stamp, Box::new(Err(or_failed(fault)))),
                    (Call::Reserve(_), Some(Answer::Reserved(reserved))) if fault.is_none() => {
                        Mail::Reserved(stamp, Ok(reserved))
                    }
                    (Call::Reserve(_), _) => Mail::Reserved(stamp, Err(or_failed(fault))),
                    _ => return,
                };
                self.mail_to_incarnation(actor, mail);
            }
        }
    }

    /// Delivers an answer to an attempt. If the attempt was aborted meanwhile, its driver ends the claim that was granted to
    /// it.
    fn attempt_answered(&mut self, pid: Pid, attempt: AttemptId, identity: usize, event: LoginEvent) {
        if self.processes[pid.process].attempts.contains_key(&attempt) {
            return self.tell_attempt(pid, attempt, event);
        }
        if let LoginEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim))) = event {
            self.count(Kind::ClaimOrphaned);
            let call = Call::End { claim, ending: ClaimEnding::Released };
            self.begin_op(Asker::Driver(pid), identity, Op(0), call, join(attempt.0 as u64, 2));
        }
    }

    /// Delivers an answer to a flight. If the flight was aborted meanwhile, its driver ends the claim that was granted
    /// to it.
    fn op_answered(&mut self, pid: Pid, flight: FlightId, identity: usize, event: FlightEvent) {
        if self.processes[pid.process].flights.contains_key(&flight) {
            return self.tell_flight(pid, flight, event);
        }
        if let FlightEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim))) = event {
            self.count(Kind::ClaimOrphaned);
            let call = Call::End { claim, ending: ClaimEnding::Abandoned };
            self.begin_op(Asker::Driver(pid), identity, Op(0), call, join(flight.0 as u64, 1));
        }
    }
}

impl Answer {
    fn copy(&self) -> Self {
        match self {
            Answer::Loaded(record) => Answer::Loaded(record.clone()),
            Answer::Claimed(answer) => Answer::Claimed(answer.clone()),
            Answer::Renewed(renewed) => Answer::Renewed(*renewed),
            Answer::Ended => Answer::Ended,
            Answer::Changed(changed) => Answer::Changed(changed.clone()),
            Answer::Reserved(reserved) => Answer::Reserved(reserved.clone()),
            Answer::Put => Answer::Put,
            Answer::Pending(pending) => Answer::Pending(pending.clone()),
        }
    }
}

fn or_failed(fault: Option<StoreFault>) -> StoreFault {
    fault.unwrap_or(StoreFault::Failed)
}
