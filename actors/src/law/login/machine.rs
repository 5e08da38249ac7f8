//! The attempt machine: its state, the dispatch of events, its claims and its conclusion.
//!
//! [`LoginAttempt`] is an [`AttemptCore`] and a [`Phase`]. As in a flight, a handler is a method of the core that takes the
//! data of the phase by value and returns the next phase.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::phase::{HeldClaim, KeepStep, Phase, Polling, SpendStep};
use super::{LoginConclusion, LoginEffect, LoginEquipment, LoginEvent, LoginOrder, LoginReport, LoginTask};
use crate::law::flight::Op;
use crate::ports::store::{Claim, ClaimAnswer, ClaimScope, Renewed};
use crate::values::record::{Record, View};
use crate::values::{
    AttemptId, ElapsedTime, Epoch, Lease, LoginReason, MAX_SLEEP, Now, Revision, ServerIdentity, StoreFault,
};

/// The attempt machine. Its contract is the [module](super)'s.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    core: AttemptCore,
    phase: Phase,
}

/// The part of an attempt that lasts over its phases.
#[derive(Clone, Debug)]
pub(super) struct AttemptCore {
    pub(super) identity: ServerIdentity,
    pub(super) order: LoginOrder,
    pub(super) equipment: Arc<LoginEquipment>,
    ops: Op,
    /// The time-out of the operation that the phase waits for.
    pub(super) limit: Option<ElapsedTime>,
    pub(super) login_claim: Option<HeldClaim>,
    pub(super) spend_claim: Option<HeldClaim>,
    /// Attempts to claim that have no answer yet. A claim that is granted late is ended.
    claiming: BTreeSet<Op>,
    /// The record's revision at the first read. Ends of prompts that were written later answer this attempt too.
    pub(super) since: Option<Revision>,
    /// The record as it was read or written last; `None` if there is none.
    pub(super) record: Option<Box<Record>>,
    /// Whether the record was read.
    has_read: bool,
    pub(super) restarts: u32,
    /// The time until which the prompts of other processes are followed.
    pub(super) follow_until: ElapsedTime,
    /// Whether the session knows that another process asks.
    pub(super) elsewhere: bool,
    /// The epoch that the session is being logged out of.
    pub(super) logged_out: Option<Epoch>,
    /// The time until which the process waits for the attempt, once it stops.
    pub(super) closing: Option<ElapsedTime>,
    /// Whether the request is to be cancelled as soon as it is there.
    pub(super) cancelled: bool,
    /// The attempt whose request this one shows or completes, which may be another process's.
    pub(super) asked_by: AttemptId,
    /// Whether the taker of a pending login was waited for.
    pub(super) awaited_taker: bool,
    concluded: bool,
}

impl LoginAttempt {
    /// Begins the attempt that `order` asks for, at the session of `identity`.
    pub fn start(
        identity: ServerIdentity,
        order: LoginOrder,
        equipment: Arc<LoginEquipment>,
        now: Now,
    ) -> (Self, Vec<LoginEffect>) {
        let follow_until = now.elapsed().after(equipment.limits.follow);
        let asked_by = order.attempt;
        let mut core = AttemptCore {
            identity,
            order,
            equipment,
            ops: Op::default(),
            limit: None,
            login_claim: None,
            spend_claim: None,
            claiming: BTreeSet::new(),
            since: None,
            record: None,
            has_read: false,
            restarts: 0,
            follow_until,
            elsewhere: false,
            logged_out: None,
            closing: None,
            cancelled: false,
            asked_by,
            awaited_taker: false,
            concluded: false,
        };
        let mut out = Vec::new();
        let phase = match core.order.task.clone() {
            LoginTask::Ask(_) => core.claim_login(now, &mut out),
            LoginTask::Complete(callback) => core.take(callback.key, Some(callback), now, &mut out),
        };
        (Self { core, phase }, out)
    }

    /// The attempt's id.
    pub fn id(&self) -> AttemptId {
        self.core.order.attempt
    }

    /// Whether the machine waits for nothing more and can be dropped.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.core.claiming.is_empty()
    }

    /// When [`LoginEvent::Tick`] is due.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        let phase = match &self.phase {
            Phase::Following { retry_at, .. } => Some((*retry_at).min(self.core.follow_until)),
            Phase::Awaiting { until } | Phase::Pausing { until, .. } => Some(*until),
            Phase::Open(open) => Some(match open.polling {
                Some(Polling::At(at)) => open.until.min(at),
                _ => open.until,
            }),
            Phase::ClaimingSpend { step: SpendStep::Resting(at), until, .. } => Some((*at).min(*until)),
            Phase::ClaimingSpend { until, .. } => Some(*until),
            Phase::Keeping(keeping) => Some(match keeping.step {
                KeepStep::Reserving { limit, .. } | KeepStep::Writing { limit, .. } => limit,
                KeepStep::Resting { until } => until,
            }),
            _ => None,
        };
        phase.into_iter().chain(self.core.limit).chain(self.core.renewal_due()).min()
    }

    /// Processes an event and returns its effects. Stale completions change nothing.
    pub fn handle(&mut self, event: LoginEvent, now: Now) -> Vec<LoginEffect> {
        let mut out = Vec::new();
        // No other line takes the phase out of the machine. `next` returns the phase that follows, on every path.
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        self.phase = self.core.next(phase, event, now, &mut out);
        out
    }
}

impl AttemptCore {
    /// The phase that follows `phase` after `event`.
    fn next(&mut self, phase: Phase, event: LoginEvent, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match event {
            LoginEvent::Tick => self.tick(phase, now, out),
            LoginEvent::Shutdown(until) => self.shut_down(phase, until, now, out),
            LoginEvent::LoggedOut(epoch) => self.log_out(phase, epoch, now, out),
            LoginEvent::Cancel => self.cancel(phase, now, out),
            LoginEvent::News => self.hear_news(phase, now, out),
            LoginEvent::Callback(callback) => self.called_back(phase, callback, now, out),
            LoginEvent::Widen(scopes) => {
                if let LoginTask::Ask(wish) = &mut self.order.task {
                    wish.scopes = wish.scopes.union(&scopes);
                }
                phase
            }
            LoginEvent::Renewed(op, answer) => {
                self.renewed(op, answer);
                phase
            }
            LoginEvent::Claimed(op, answer) => self.claim_answered(phase, op, answer, now, out),
            event => self.advance(phase, event, now, out),
        }
    }

    /// Hands a completion to the phase that waits for it. Any other completion leaves the phase as it is.
    fn advance(&mut self, phase: Phase, event: LoginEvent, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match (phase, event) {
            (Phase::Reading { op }, LoginEvent::Loaded(answered, answer)) if op == answered => {
                self.read(answer, now, out)
            }
            (Phase::Following { reading: Some(op), retry_at }, LoginEvent::Loaded(answered, answer))
                if op == answered =>
            {
                self.followed(retry_at, answer, now, out)
            }
            (Phase::Open(open), LoginEvent::Loaded(answered, answer)) if open.reading == Some(answered) => {
                self.looked(open, answer, now, out)
            }
            (Phase::EndingStale { op }, LoginEvent::Changed(answered, answer)) if op == answered => {
                self.stale_ended(answer, now, out)
            }
            (Phase::Peeking { op, key }, LoginEvent::Peeked(answered, answer)) if op == answered => {
                self.peeked(key, answer, now, out)
            }
            (Phase::Preparing { op }, LoginEvent::Prepared(answered, answer)) if op == answered => {
                self.prepared(answer, now, out)
            }
            (Phase::Putting { op, prepared, pending }, LoginEvent::Put(answered, answer)) if op == answered => {
                self.put(prepared, pending, answer, now, out)
            }
            (Phase::Asking { op, prepared, pending }, LoginEvent::Changed(answered, answer)) if op == answered => {
                self.asked(prepared, pending, answer, now, out)
            }
            (Phase::Showing { op, shown, taken_over }, LoginEvent::Shown(answered, answer)) if op == answered => {
                self.shown(shown, taken_over, answer, now, out)
            }
            (Phase::Open(open), LoginEvent::Polled(answered, answer)) => self.polled(open, answered, answer, now, out),
            (Phase::Taking(taking), LoginEvent::Taken(answered, answer)) if taking.op == answered => {
                self.taken(taking, answer, now, out)
            }
            (Phase::Judging { op, pending, key }, LoginEvent::Judged(answered, answer)) if op == answered => {
                self.judged(pending, key, answer, now, out)
            }
            (Phase::Noting { op, code }, LoginEvent::Changed(answered, answer)) if op == answered => {
                self.noted(code, answer, now, out)
            }
            (Phase::Redeeming { op, code }, LoginEvent::Redeemed(answered, answer)) if op == answered => {
                self.redeemed(code, answer, now, out)
            }
            (Phase::Keeping(keeping), LoginEvent::Reserved(answered, answer)) => {
                self.reserved(keeping, answered, answer, now, out)
            }
            (Phase::Keeping(keeping), LoginEvent::Changed(answered, answer)) => {
                self.written(keeping, answered, answer, now, out)
            }
            (Phase::Ending { op, ending }, LoginEvent::Changed(answered, answer)) if op == answered => {
                self.end_written(ending, answer, now, out)
            }
            (phase, _) => phase,
        }
    }

    fn tick(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        self.renew(now, out);
        if self.limit.take_if(|limit| *limit <= now.elapsed()).is_some() {
            return self.time_out(phase, now, out);
        }
        match phase {
            Phase::Following { .. } if self.follow_until <= now.elapsed() => {
                self.conclude(Err(LoginReason::TimedOut), out)
            }
            Phase::Following { retry_at, .. } if retry_at <= now.elapsed() => self.claim_login(now, out),
            Phase::Awaiting { until } if until <= now.elapsed() => self.look_again(now, out),
            Phase::Open(open) => self.open_tick(open, now, out),
            Phase::ClaimingSpend { step, code, until } => self.spend_tick(step, code, until, now, out),
            Phase::Pausing { until, code } if until <= now.elapsed() => self.redeem(code, out),
            Phase::Keeping(keeping) => self.keep_tick(keeping, now, out),
            phase => phase,
        }
    }

    /// The store or the source did not answer in time. The phase goes on as if it had reported a time-out.
    fn time_out(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        const LATE: StoreFault = StoreFault::TimedOut;
        let event = match &phase {
            // A claim that is granted later is ended.
            Phase::Claiming { .. } => return self.claimed(Err(LATE), now, out),
            Phase::Reading { op } => LoginEvent::Loaded(*op, Err(LATE)),
            Phase::EndingStale { op }
            | Phase::Asking { op, .. }
            | Phase::Noting { op, .. }
            | Phase::Ending { op, .. } => LoginEvent::Changed(*op, Err(LATE)),
            Phase::Peeking { op, .. } => LoginEvent::Peeked(*op, Err(LATE)),
            Phase::Preparing { op } => LoginEvent::Prepared(*op, Err(LoginReason::ServerTrouble)),
            Phase::Putting { op, .. } => LoginEvent::Put(*op, Err(LATE)),
            Phase::Taking(taking) => LoginEvent::Taken(taking.op, Err(LATE)),
            _ => return phase,
        };
        self.advance(phase, event, now, out)
    }

    // Operations.

    pub(super) fn stamp(&mut self) -> Op {
        self.ops = Op(self.ops.0 + 1);
        self.ops
    }

    /// Stamps an operation of the store, and sets its time-out.
    pub(super) fn stamp_store_op(&mut self, now: Now) -> Op {
        self.limit = Some(now.elapsed().after(self.equipment.timeouts.store_timeout));
        self.stamp()
    }

    pub(super) fn load(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Op {
        let op = self.stamp_store_op(now);
        out.push(LoginEffect::Load(op));
        op
    }

    /// Takes in the record as the store holds it.
    pub(super) fn learn(&mut self, record: Option<Box<Record>>, out: &mut Vec<LoginEffect>) {
        let revision = record.as_ref().map_or(Revision::default(), |record| record.revision);
        self.since.get_or_insert(revision);
        self.has_read = true;
        self.record = record;
        out.push(LoginEffect::Report(LoginReport::Seen(Box::new(self.view()))));
    }

    /// The view of the record as it was read or written last.
    pub(super) fn view(&self) -> View {
        self.record.as_ref().map_or_else(View::vacant, |record| record.view())
    }

    // Claims.

    pub(super) fn claim_login(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.stamp_store_op(now);
        let at_least = self.claim_length();
        self.claiming.insert(op);
        out.push(LoginEffect::Claim { op, scope: ClaimScope::Login, at_least });
        Phase::Claiming { op }
    }

    pub(super) fn claim_spend(&mut self, epoch: Epoch, out: &mut Vec<LoginEffect>) -> Op {
        let op = self.stamp();
        self.claiming.insert(op);
        let limits = self.equipment.limits;
        let at_least = limits.redeem.saturating_add(self.equipment.timeouts.store_timeout);
        out.push(LoginEffect::Claim { op, scope: ClaimScope::Spend(epoch), at_least });
        op
    }

    fn claim_answered(
        &mut self,
        phase: Phase,
        op: Op,
        answer: Result<ClaimAnswer, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.claiming.remove(&op);
        match phase {
            Phase::Claiming { op: asked } if asked == op => {
                self.limit = None;
                self.claimed(answer, now, out)
            }
            Phase::ClaimingSpend { step: SpendStep::Asked(asked), code, until } if asked == op => {
                self.spend_claimed(answer, code, until, now, out)
            }
            phase => {
                if let Ok(ClaimAnswer::Granted(claim)) = answer {
                    out.push(LoginEffect::EndClaim(claim));
                }
                phase
            }
        }
    }

    pub(super) fn hold(claim: Claim, now: Now) -> HeldClaim {
        let until = claim.remaining.map(|remaining| now.elapsed().after(remaining));
        HeldClaim { claim, until, asked: now.elapsed(), renewal: None }
    }

    /// How long a claim is asked for.
    fn claim_length(&self) -> Duration {
        self.equipment.timeouts.store_timeout.saturating_mul(6)
    }

    fn claims(&mut self) -> impl Iterator<Item = &mut HeldClaim> {
        self.login_claim.iter_mut().chain(&mut self.spend_claim)
    }

    /// When a claim is to be renewed. Renewals of one claim are at least one time-out apart.
    fn renewal_due(&self) -> Option<ElapsedTime> {
        let due = |held: &HeldClaim| {
            let rested = held.asked.after(self.equipment.timeouts.store_timeout);
            held.until.map(|until| until.before(self.claim_length() / 2).max(rested))
        };
        self.login_claim.iter().chain(&self.spend_claim).filter_map(due).min()
    }

    fn renew(&mut self, now: Now, out: &mut Vec<LoginEffect>) {
        let (at_least, store_timeout) = (self.claim_length(), self.equipment.timeouts.store_timeout);
        let mut ops = self.ops;
        for held in self.claims() {
            let due = held.until.map(|until| until.before(at_least / 2).max(held.asked.after(store_timeout)));
            if due.is_some_and(|due| due <= now.elapsed()) {
                ops = Op(ops.0 + 1);
                (held.renewal, held.asked) = (Some(ops), now.elapsed());
                out.push(LoginEffect::Renew { op: ops, claim: held.claim.clone(), at_least });
            }
        }
        self.ops = ops;
    }

    /// The store has answered a renewal. A claim that is lost is asked for no more. The attempt goes on,
    /// because each of its writes compares what it depends on.
    fn renewed(&mut self, op: Op, answer: Result<Renewed, StoreFault>) {
        for held in self.claims() {
            if held.renewal == Some(op) {
                held.renewal = None;
                match answer {
                    Ok(Renewed::Until(remaining)) => {
                        held.until = remaining.map(|remaining| held.asked.after(remaining));
                    }
                    Ok(Renewed::Lost) => held.until = None,
                    Err(_) => {}
                }
            }
        }
    }

    pub(super) fn end_claims(&mut self, out: &mut Vec<LoginEffect>) {
        for held in [self.spend_claim.take(), self.login_claim.take()].into_iter().flatten() {
            out.push(LoginEffect::EndClaim(held.claim));
        }
    }

    // The end.

    /// Ends the attempt with its result. The claims end first, so that a caller that asks again finds them free.
    pub(super) fn conclude(&mut self, result: Result<(), LoginReason>, out: &mut Vec<LoginEffect>) -> Phase {
        self.end_claims(out);
        self.report(result, None, out);
        self.limit = None;
        Phase::Over
    }

    /// Reports the result, once.
    pub(super) fn report(
        &mut self,
        result: Result<(), LoginReason>,
        unstored: Option<Lease>,
        out: &mut Vec<LoginEffect>,
    ) {
        if !std::mem::replace(&mut self.concluded, true) {
            let view = self.has_read.then(|| Box::new(self.view()));
            let conclusion = LoginConclusion { result, view, unstored };
            out.push(LoginEffect::Report(LoginReport::Concluded(Box::new(conclusion))));
        }
    }

    /// A time after a short pause with jitter.
    pub(super) fn soon(&self, pause: Duration, now: Now) -> ElapsedTime {
        now.elapsed().after((pause / 2 + now.jitter.of(pause / 2)).min(MAX_SLEEP))
    }
}
