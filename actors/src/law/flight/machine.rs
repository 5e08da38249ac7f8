//! The flight machine, from the order to the answer of the token endpoint. The writes that the answer calls for are in
//! `settle`.
//!
//! [`Flight`] is a [`FlightCore`] and a [`Phase`]. A handler is a method of the core that takes the phase, or its data,
//! by value and returns the next phase. A handler that forgets the next phase does not compile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, UNANSWERED};
use super::phase::{HeldClaim, Phase};
use super::stopping::Closing;
use super::{FlightEffect, FlightEvent, Landing, Op, Order, Outcome, Report, Spending, StoreTimeouts};
use crate::law::profile::{Profile, Profiles, Trouble};
use crate::ports::store::{ClaimAnswer, ClaimEnding};
use crate::values::record::{Record, RenewalPlan, SourceName};
use crate::values::{DigestKey, ElapsedTime, Epoch, FlightId, Now, Reason, StoreFault};

/// The settings that all flights of a process share.
#[derive(Clone, Debug)]
pub struct Equipment {
    /// The profiles that records name.
    pub profiles: Profiles,
    /// The sources that this process has, and whether their requests consume a refresh token.
    pub sources: BTreeMap<SourceName, Spending>,
    /// How long a flight waits for the store.
    pub timeouts: StoreTimeouts,
    /// The store's digest key.
    pub digests: DigestKey,
}

impl Equipment {
    /// Returns `true` if this process has the source that `plan` names, of the kind that it names.
    pub fn provides(&self, plan: &RenewalPlan) -> bool {
        self.sources.get(&plan.source) == Some(&plan.spending)
    }
}

/// The flight machine. Its contract is that of the [module](super).
#[derive(Clone, Debug)]
pub struct Flight {
    core: FlightCore,
    phase: Phase,
}

/// The part of a flight that lasts over its phases.
#[derive(Clone, Debug)]
pub(super) struct FlightCore {
    pub(super) order: Order,
    pub(super) equipment: Arc<Equipment>,
    /// The renewal plan, according to the last read of the record.
    pub(super) plan: RenewalPlan,
    /// The profile that belongs to the plan.
    pub(super) profile: Arc<Profile>,
    pub(super) ops: Op,
    /// The time-out of the store operation or the connection that the phase waits for.
    pub(super) limit: Option<ElapsedTime>,
    /// The time of the first attempt to claim.
    pub(super) claiming_since: Option<ElapsedTime>,
    pub(super) restarts: u32,
    pub(super) contentions: u32,
    /// Whether the flight holds an issuer's permit, which has to be returned.
    pub(super) permit: bool,
    /// A claim that timed out or was given up. If the store grants it later, it is ended.
    orphan: Option<Op>,
    /// A request for a permit that was given up. If it is granted later, the permit is returned.
    unwanted: Option<Op>,
    /// The connection for the next request.
    pub(super) connection: Connection,
    /// The renewal of the claim that is in flight.
    pub(super) renewal: Option<Op>,
    /// The time of the last request to renew.
    pub(super) renewed_at: Option<ElapsedTime>,
    /// The epoch that was logged out of, if the logout could not be stored.
    pub(super) logged_out: Option<Epoch>,
    /// The last times of a flight whose process stops.
    pub(super) closing: Option<Closing>,
    /// How many token requests the flight has sent.
    pub(super) requests: u32,
    /// Whether the flight has lost an answer and presents its token again. Its mark may then be in the record, however
    /// the flight ends.
    pub(super) repeated: bool,
    /// The flight whose mark was in the record at the last read before the claim.
    pub(super) marked_by: Option<FlightId>,
}

impl Flight {
    /// Begins the flight that `order` asks for.
    pub fn start(order: Order, equipment: Arc<Equipment>) -> (Self, Vec<FlightEffect>) {
        let op = Op(1);
        let ask = FlightEffect::AskPermit { op, issuer: order.issuer.clone(), urgency: order.urgency };
        let (plan, profile) = (order.renewal.clone(), Arc::new(equipment.profiles.of(&order.renewal)));
        let core = FlightCore {
            order,
            equipment,
            plan,
            profile,
            ops: op,
            limit: None,
            claiming_since: None,
            restarts: 0,
            contentions: 0,
            permit: false,
            orphan: None,
            unwanted: None,
            connection: Connection::None,
            renewal: None,
            renewed_at: None,
            logged_out: None,
            closing: None,
            requests: 0,
            repeated: false,
            marked_by: None,
        };
        (Self { core, phase: Phase::Permitting(op) }, vec![ask])
    }

    /// The flight's id.
    pub fn id(&self) -> FlightId {
        self.core.id()
    }

    /// Whether the machine waits for nothing more and can be dropped.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.core.orphan.is_none() && self.core.unwanted.is_none()
    }

    /// When [`FlightEvent::Tick`] is due. It is at most one of the machine's own limits away, the longest of which is
    /// the pause between two attempts to save.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        let phase = match &self.phase {
            Phase::Pausing { until } | Phase::Repeating { until, .. } => Some(*until),
            Phase::Settling(settlement) => Some(settlement.due()),
            _ => self.core.limit,
        };
        phase.into_iter().chain(self.core.renewal_due(&self.phase)).min()
    }

    /// Processes an event and returns its effects. Stale completions change nothing.
    pub fn handle(&mut self, event: FlightEvent, now: Now) -> Vec<FlightEffect> {
        let mut effects = Vec::new();
        // No other line takes the phase out of the machine. `next` returns the phase that follows, on every path.
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        self.phase = self.core.next(phase, event, now, &mut effects);
        effects
    }
}

impl FlightCore {
    pub(super) fn id(&self) -> FlightId {
        self.order.flight
    }

    /// The phase that follows `phase` after `event`.
    fn next(&mut self, phase: Phase, event: FlightEvent, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        match event {
            FlightEvent::Tick => self.tick(phase, now, effects),
            FlightEvent::Shutdown(until) => self.shut_down(phase, until, now, effects),
            FlightEvent::LoggedOut(epoch) => self.logout(phase, epoch, now, effects),
            FlightEvent::Renewed(op, answer) => self.renewed(phase, op, answer),
            FlightEvent::Claimed(op, answer) if self.orphan == Some(op) => {
                self.orphan = None;
                if let Ok(ClaimAnswer::Granted(claim)) = answer {
                    effects.push(FlightEffect::EndClaim { claim, ending: ClaimEnding::Released });
                }
                phase
            }
            FlightEvent::Permitted(op) if self.unwanted == Some(op) => {
                self.unwanted = None;
                effects.push(FlightEffect::ReturnPermit { throttle: None });
                phase
            }
            FlightEvent::Held(op, _) | FlightEvent::NoPermit(op) if self.unwanted == Some(op) => {
                self.unwanted = None;
                phase
            }
            event => self.advance(phase, event, now, effects),
        }
    }

    /// Hands a completion to the phase that waits for it. Any other completion leaves the phase as it is.
    fn advance(&mut self, phase: Phase, event: FlightEvent, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        match (phase, event) {
            (Phase::Permitting(op), FlightEvent::Permitted(answered)) if op == answered => {
                self.permit = true;
                self.peek(now, effects)
            }
            (Phase::Permitting(op), FlightEvent::Held(answered, span)) if op == answered => {
                let trouble = Trouble { reason: Reason::Throttled, retry_after: Some(span) };
                self.land(Outcome::Failed(trouble), None, None, effects)
            }
            (Phase::Permitting(op), FlightEvent::NoPermit(answered)) if op == answered => {
                self.land(Outcome::Failed(Trouble::new(Reason::Aborted)), None, None, effects)
            }
            (Phase::Peeking(op), FlightEvent::Loaded(answered, answer)) if op == answered => {
                self.peeked(answer, now, effects)
            }
            (Phase::Claiming { op, asked, ahead }, FlightEvent::Claimed(answered, answer)) if op == answered => {
                self.claimed(asked, ahead, answer, now, effects)
            }
            (phase, FlightEvent::Connected(op, answer)) => self.connected(phase, op, answer, now, effects),
            (Phase::Reading { op, claim }, FlightEvent::Loaded(answered, answer)) if op == answered => {
                self.read(claim, answer, now, effects)
            }
            (Phase::Marking { op, attempt }, FlightEvent::Changed(answered, answer)) if op == answered => {
                self.marked(attempt, answer, now, effects)
            }
            (Phase::Verifying { op, attempt, asked }, FlightEvent::Loaded(answered, answer)) if op == answered => {
                self.verified(attempt, asked, answer, now, effects)
            }
            (Phase::Sending { op, attempt }, FlightEvent::Sent(answered, evidence)) if op == answered => {
                self.answered(attempt, evidence, now, effects)
            }
            (Phase::Settling(settlement), FlightEvent::Changed(answered, answer)) if answered > settlement.since => {
                self.written(settlement, answered, answer, now, effects)
            }
            (phase, _) => phase,
        }
    }

    fn tick(&mut self, phase: Phase, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        let is_late = self.limit.is_some_and(|limit| limit <= now.elapsed());
        let phase = match late_answer(&phase).filter(|_| is_late) {
            Some(event) => self.time_out(phase, event, now, effects),
            None => self.move_on(phase, now, effects),
        };
        self.renew(&phase, now, effects);
        phase
    }

    /// Ends a pause that is over, or a write that takes too long.
    fn move_on(&mut self, phase: Phase, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        match phase {
            Phase::Pausing { until } if until <= now.elapsed() => self.peek(now, effects),
            Phase::Repeating { until, claim, record } if until <= now.elapsed() => {
                let grant = record.as_deref().and_then(Record::grant);
                self.read_again(claim, grant, now, effects)
            }
            Phase::Settling(settlement) if settlement.due() <= now.elapsed() => self.retry(settlement, now, effects),
            phase => phase,
        }
    }

    /// The store, or the source that connects, did not answer in time. The phase goes on as if `event` had reported that.
    fn time_out(&mut self, phase: Phase, event: FlightEvent, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        self.limit = None;
        if let Phase::Claiming { op, .. } = phase {
            self.orphan = Some(op);
        }
        self.advance(phase, event, now, effects)
    }

    fn logout(&mut self, phase: Phase, epoch: Epoch, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        self.logged_out = Some(epoch);
        let phase = self.stop_early(phase, Reason::LoggedOut, effects);
        self.write_tombstone(phase, epoch, now, effects)
    }

    /// Ends a flight that has nothing to write and no request in flight. A flight that has written a mark and not sent
    /// yet has to withdraw the mark first, and goes on.
    pub(super) fn stop_early(&mut self, phase: Phase, reason: Reason, effects: &mut Vec<FlightEffect>) -> Phase {
        let outcome = Outcome::without(Trouble::new(reason));
        match phase {
            Phase::Permitting(op) => {
                self.unwanted = Some(op);
                self.land(outcome, None, None, effects)
            }
            Phase::Peeking(_) | Phase::Pausing { .. } => self.land(outcome, None, None, effects),
            Phase::Claiming { op, .. } => {
                self.orphan = Some(op);
                self.land(outcome, None, None, effects)
            }
            Phase::Reading { claim, .. } => self.land(outcome, None, Some(claim), effects),
            Phase::Repeating { claim, record, .. } => self.land(outcome, record.as_deref(), Some(claim), effects),
            Phase::Connecting { claim, record, .. } => self.land(outcome, Some(&record), Some(claim), effects),
            phase => phase,
        }
    }

    /// Ends a flight that has its result and nothing to save.
    pub(super) fn land(
        &mut self,
        outcome: Outcome,
        seen: Option<&Record>,
        claim: Option<HeldClaim>,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        let over = self.finish(claim, self.unsettled_ending(), effects);
        self.report(outcome, seen, false, effects);
        over
    }

    /// How the claim ends if the flight settles nothing. It is abandoned if a mark of this flight may stay in the record.
    pub(super) fn unsettled_ending(&self) -> ClaimEnding {
        if self.repeated { ClaimEnding::Abandoned } else { ClaimEnding::Released }
    }

    pub(super) fn report(
        &mut self,
        outcome: Outcome,
        seen: Option<&Record>,
        keeping: bool,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        self.connection = Connection::None;
        self.return_permit(None, effects);
        let view = seen.map(|record| Box::new(record.view()));
        let requests = self.requests;
        effects.push(FlightEffect::Report(Report::Landed(Landing { outcome, view, keeping, requests })));
    }

    pub(super) fn return_permit(&mut self, throttle: Option<Duration>, effects: &mut Vec<FlightEffect>) {
        if std::mem::take(&mut self.permit) {
            effects.push(FlightEffect::ReturnPermit { throttle });
        }
    }

    /// Ends the flight's claim, if it holds one, and with it the flight. No handler makes [`Phase::Over`] itself, so no
    /// flight ends with its claim held.
    pub(super) fn finish(
        &mut self,
        claim: Option<HeldClaim>,
        ending: ClaimEnding,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.end_claim(claim, ending, effects);
        Phase::Over
    }

    pub(super) fn end_claim(&mut self, claim: Option<HeldClaim>, ending: ClaimEnding, effects: &mut Vec<FlightEffect>) {
        self.renewal = None;
        if let Some(HeldClaim { claim, .. }) = claim {
            effects.push(FlightEffect::EndClaim { claim, ending });
        }
    }

    /// How long a claim must last. It covers one request and the writes before and after it.
    pub(super) fn claim_length(&self) -> Duration {
        self.profile.request_timeout.saturating_add(self.equipment.timeouts.store_timeout.saturating_mul(4))
    }

    pub(super) fn load(&mut self, now: Now, effects: &mut Vec<FlightEffect>) -> Op {
        let op = self.next_store_op(now);
        effects.push(FlightEffect::Load(op));
        op
    }

    pub(super) fn next_op(&mut self) -> Op {
        self.ops = Op(self.ops.0 + 1);
        self.ops
    }

    pub(super) fn next_store_op(&mut self, now: Now) -> Op {
        self.limit = Some(now.elapsed().after(self.equipment.timeouts.store_timeout));
        self.next_op()
    }
}

/// The event for a phase whose operation has no answer in time; `None` for a phase without such an operation.
fn late_answer(phase: &Phase) -> Option<FlightEvent> {
    const LATE: StoreFault = StoreFault::TimedOut;
    Some(match phase {
        Phase::Peeking(op) | Phase::Reading { op, .. } | Phase::Verifying { op, .. } => {
            FlightEvent::Loaded(*op, Err(LATE))
        }
        Phase::Claiming { op, .. } => FlightEvent::Claimed(*op, Err(LATE)),
        Phase::Connecting { op, .. } => FlightEvent::Connected(*op, Err(UNANSWERED)),
        Phase::Marking { op, .. } => FlightEvent::Changed(*op, Err(LATE)),
        _ => return None,
    })
}
