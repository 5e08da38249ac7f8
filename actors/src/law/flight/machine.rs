//! The flight machine: from the order to the answer on the wire. What the answer calls for is in `settle`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::phase::{HeldClaim, Phase};
use super::{FlightEffect, FlightEvent, Landing, Op, Order, Outcome, Report, Spending, StoreTimeouts};
use crate::law::profile::{Profile, Profiles, Trouble};
use crate::ports::store::{ClaimAnswer, ClaimEnding};
use crate::values::record::{Record, RenewalPlan, SourceName};
use crate::values::{DigestKey, ElapsedTime, Epoch, FlightId, Now, Reason, StoreFault};

/// What all flights of a process share.
#[derive(Clone, Debug)]
pub struct Equipment {
    /// The profiles that records name.
    pub profiles: Profiles,
    /// The sources that this process has, and whether their requests use something up.
    pub sources: BTreeMap<SourceName, Spending>,
    /// How patient a flight is with the store.
    pub timeouts: StoreTimeouts,
    /// The store's digest key.
    pub digests: DigestKey,
}

impl Equipment {
    /// Whether this process has the source that `plan` names, of the kind that it names.
    pub fn provides(&self, plan: &RenewalPlan) -> bool {
        self.sources.get(&plan.source) == Some(&plan.spending)
    }
}

/// The flight machine. Its contract is the [module](super)'s.
#[derive(Clone, Debug)]
pub struct Flight {
    pub(super) order: Order,
    pub(super) equipment: Arc<Equipment>,
    pub(super) phase: Phase,
    /// How the grant is renewed, by the record as it was read last.
    pub(super) plan: RenewalPlan,
    /// The profile that goes with it.
    pub(super) profile: Arc<Profile>,
    pub(super) ops: Op,
    /// When the store operation that the phase waits for is given up on.
    pub(super) limit: Option<ElapsedTime>,
    /// Since when a claim has been waited for.
    pub(super) claiming_since: Option<ElapsedTime>,
    pub(super) restarts: u32,
    pub(super) contentions: u32,
    /// Whether the issuer's leave is to be given back.
    pub(super) permit: bool,
    /// An attempt to claim that was given up on: should it be granted after all, it must be ended.
    orphan: Option<Op>,
    /// A permit that is not wanted any more: should it be given after all, it is given back.
    unwanted: Option<Op>,
    /// The renewal of the claim that is under way.
    pub(super) renewal: Option<Op>,
    /// When the last renewal was asked for.
    pub(super) renewed_at: Option<ElapsedTime>,
    /// The epoch that was logged out of, in case the logout could not be stored.
    pub(super) logged_out: Option<Epoch>,
    pub(super) stopping: bool,
}

impl Flight {
    /// Begins the flight that `order` asks for.
    pub fn start(order: Order, equipment: Arc<Equipment>) -> (Self, Vec<FlightEffect>) {
        let op = Op(1);
        let ask = FlightEffect::AskPermit { op, issuer: order.issuer.clone(), urgency: order.urgency };
        let (plan, profile) = (order.renewal.clone(), Arc::new(equipment.profiles.of(&order.renewal)));
        let flight = Self {
            order,
            equipment,
            phase: Phase::Permitting(op),
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
            renewal: None,
            renewed_at: None,
            logged_out: None,
            stopping: false,
        };
        (flight, vec![ask])
    }

    /// The flight's name.
    pub fn id(&self) -> FlightId {
        self.order.flight
    }

    /// Whether there is nothing left to wait for: the machine can be dropped.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.orphan.is_none() && self.unwanted.is_none()
    }

    /// When [`FlightEvent::Tick`] is due. Never further away than the machine's own limits, the longest of which is the
    /// pause between two attempts to save.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        let phase = match &self.phase {
            Phase::Pausing { until } => Some(*until),
            Phase::Settling(settlement) => Some(settlement.due()),
            _ => self.limit,
        };
        phase.into_iter().chain(self.renewal_due()).min()
    }

    /// Takes in what happened and says what is to be done. Stale completions change nothing.
    pub fn handle(&mut self, event: FlightEvent, now: Now) -> Vec<FlightEffect> {
        let mut effects = Vec::new();
        match event {
            FlightEvent::Tick => self.tick(now, &mut effects),
            FlightEvent::Shutdown => self.shut_down(now, &mut effects),
            FlightEvent::LoggedOut(epoch) => self.logout(epoch, now, &mut effects),
            FlightEvent::Renewed(op, answer) => self.renewed(op, answer),
            FlightEvent::Claimed(op, answer) if self.orphan == Some(op) => {
                self.orphan = None;
                if let Ok(ClaimAnswer::Granted(claim)) = answer {
                    effects.push(FlightEffect::EndClaim { claim, ending: ClaimEnding::Released });
                }
            }
            FlightEvent::Permitted(op) if self.unwanted == Some(op) => {
                self.unwanted = None;
                effects.push(FlightEffect::ReturnPermit { throttle: None });
            }
            FlightEvent::Held(op, _) | FlightEvent::NoPermit(op) if self.unwanted == Some(op) => self.unwanted = None,
            event => self.advance(event, now, &mut effects),
        }
        effects
    }

    /// A completion that some phase waits for.
    fn advance(&mut self, event: FlightEvent, now: Now, effects: &mut Vec<FlightEffect>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match (phase, event) {
            (Phase::Permitting(op), FlightEvent::Permitted(answered)) if op == answered => {
                self.permit = true;
                self.peek(now, effects);
            }
            (Phase::Permitting(op), FlightEvent::Held(answered, span)) if op == answered => {
                let trouble = Trouble { reason: Reason::Throttled, retry_after: Some(span) };
                self.land(Outcome::Failed(trouble), None, None, effects);
            }
            (Phase::Permitting(op), FlightEvent::NoPermit(answered)) if op == answered => {
                self.land(Outcome::Failed(Trouble::new(Reason::Aborted)), None, None, effects);
            }
            (Phase::Peeking(op), FlightEvent::Loaded(answered, answer)) if op == answered => {
                self.peeked(answer, now, effects);
            }
            (Phase::Claiming { op, asked }, FlightEvent::Claimed(answered, answer)) if op == answered => {
                self.claimed(asked, answer, now, effects);
            }
            (Phase::Reading { op, claim }, FlightEvent::Loaded(answered, answer)) if op == answered => {
                self.read(claim, answer, now, effects);
            }
            (Phase::Marking { op, attempt }, FlightEvent::Changed(answered, answer)) if op == answered => {
                self.marked(attempt, answer, now, effects);
            }
            (Phase::Verifying { op, attempt, asked }, FlightEvent::Loaded(answered, answer)) if op == answered => {
                self.verified(attempt, asked, answer, now, effects);
            }
            (Phase::Sending { op, attempt }, FlightEvent::Sent(answered, evidence)) if op == answered => {
                self.answered(attempt, evidence, now, effects);
            }
            (Phase::Settling(settlement), FlightEvent::Changed(answered, answer)) if answered > settlement.since => {
                self.written(settlement, answered, answer, now, effects);
            }
            (phase, _) => self.phase = phase,
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        if self.limit.is_some_and(|limit| limit <= now.elapsed()) {
            self.limit = None;
            self.give_up_waiting(now, effects);
        } else {
            self.move_on(now, effects);
        }
        self.renew(now, effects);
    }

    /// A pause is over, or a write is.
    fn move_on(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Pausing { until } if until <= now.elapsed() => self.peek(now, effects),
            Phase::Settling(settlement) if settlement.due() <= now.elapsed() => self.retry(settlement, now, effects),
            phase => self.phase = phase,
        }
    }

    /// The store did not answer in time: the same as an answer that says so.
    fn give_up_waiting(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        const LATE: StoreFault = StoreFault::TimedOut;
        let event = match &self.phase {
            Phase::Peeking(op) | Phase::Reading { op, .. } | Phase::Verifying { op, .. } => {
                FlightEvent::Loaded(*op, Err(LATE))
            }
            Phase::Claiming { op, .. } => {
                self.orphan = Some(*op);
                FlightEvent::Claimed(*op, Err(LATE))
            }
            Phase::Marking { op, .. } => FlightEvent::Changed(*op, Err(LATE)),
            _ => return,
        };
        self.advance(event, now, effects);
    }

    fn shut_down(&mut self, now: Now, effects: &mut Vec<FlightEffect>) {
        self.stopping = true;
        self.stop_early(Reason::ShuttingDown, effects);
        self.flush(now, effects);
    }

    fn logout(&mut self, epoch: Epoch, now: Now, effects: &mut Vec<FlightEffect>) {
        self.logged_out = Some(epoch);
        self.stop_early(Reason::LoggedOut, effects);
        self.write_tombstone(epoch, now, effects);
    }

    /// Ends a flight that has not marked anything yet. One that has must take its mark back, or wait for its answer.
    fn stop_early(&mut self, reason: Reason, effects: &mut Vec<FlightEffect>) {
        let outcome = Outcome::without(Trouble::new(reason));
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Permitting(op) => {
                self.unwanted = Some(op);
                self.land(outcome, None, None, effects);
            }
            Phase::Peeking(_) | Phase::Pausing { .. } => {
                self.land(outcome, None, None, effects);
            }
            Phase::Claiming { op, .. } => {
                self.orphan = Some(op);
                self.land(outcome, None, None, effects);
            }
            Phase::Reading { claim, .. } => self.land(outcome, None, Some(claim), effects),
            phase => self.phase = phase,
        }
    }

    /// The flight has its result, and nothing to save.
    pub(super) fn land(
        &mut self,
        outcome: Outcome,
        seen: Option<&Record>,
        claim: Option<HeldClaim>,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.end_claim(claim, ClaimEnding::Released, effects);
        self.report(outcome, seen, false, effects);
        self.phase = Phase::Over;
    }

    pub(super) fn report(
        &mut self,
        outcome: Outcome,
        seen: Option<&Record>,
        keeping: bool,
        effects: &mut Vec<FlightEffect>,
    ) {
        self.limit = None;
        self.return_permit(None, effects);
        let view = seen.map(|record| Box::new(record.view()));
        effects.push(FlightEffect::Report(Report::Landed(Landing { outcome, view, keeping })));
    }

    pub(super) fn return_permit(&mut self, throttle: Option<Duration>, effects: &mut Vec<FlightEffect>) {
        if std::mem::take(&mut self.permit) {
            effects.push(FlightEffect::ReturnPermit { throttle });
        }
    }

    pub(super) fn end_claim(&mut self, claim: Option<HeldClaim>, ending: ClaimEnding, effects: &mut Vec<FlightEffect>) {
        self.renewal = None;
        if let Some(HeldClaim { claim, .. }) = claim {
            effects.push(FlightEffect::EndClaim { claim, ending });
        }
    }

    /// What a claim must outlast: a request, and the writes before and after it.
    pub(super) fn claim_length(&self) -> Duration {
        self.profile.request_timeout.saturating_add(self.equipment.timeouts.store_timeout.saturating_mul(4))
    }

    pub(super) fn load(&mut self, now: Now, effects: &mut Vec<FlightEffect>) -> Op {
        let op = self.stamp_store_op(now);
        effects.push(FlightEffect::Load(op));
        op
    }

    pub(super) fn stamp(&mut self) -> Op {
        self.ops = Op(self.ops.0 + 1);
        self.ops
    }

    pub(super) fn stamp_store_op(&mut self, now: Now) -> Op {
        self.limit = Some(now.elapsed().after(self.equipment.timeouts.store_timeout));
        self.stamp()
    }
}
