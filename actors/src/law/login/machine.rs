//! The state of a login attempt, the dispatch of its events, and its conclusion.
//!
//! [`LoginAttempt`] is an [`AttemptCore`] and a [`Phase`]. A handler is a method of the core that takes the data of the
//! phase by value and returns the next phase. The neighbouring files have the handlers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::phase::{HeldClaim, KeepStep, Open, Phase, Repeat, SpendStep, TakeStep};
use super::{LoginConclusion, LoginEffect, LoginEquipment, LoginEvent, LoginOrder, LoginReport, LoginTask};
use crate::law::flight::Op;
use crate::ports::store::ClaimScope;
use crate::values::record::{PromptState, Record, View};
use crate::values::{
    AttemptId, ElapsedTime, Epoch, Lease, LoginKey, LoginReason, MAX_SLEEP, Now, Revision, ServerIdentity, StoreFault,
};

/// The attempt machine. Its contract is that of the [module](super).
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
    /// The number of the latest operation.
    pub(super) ops: Op,
    /// When the operation that the phase waits for times out. `None` if it has no time-out.
    pub(super) limit: Option<ElapsedTime>,
    pub(super) login_claim: Option<HeldClaim>,
    pub(super) spend_claim: Option<HeldClaim>,
    /// The claims that were asked for and not answered yet.
    pub(super) claiming: BTreeMap<Op, ClaimScope>,
    /// Claims that the store may have granted, and that the attempt does not use. They are to be ended.
    pub(super) stray: BTreeSet<ClaimScope>,
    /// The record's revision at the first read. If a prompt has ended at a later revision, its end is this attempt's
    /// result too.
    pub(super) since: Option<Revision>,
    /// The record as it was read or written last; `None` if there is none.
    pub(super) record: Option<Box<Record>>,
    /// Whether the record was read.
    has_read: bool,
    /// How many times the attempt has begun anew because the record changed before a write.
    pub(super) restarts: u32,
    /// The time until which the prompts of other processes are followed.
    pub(super) follow_until: ElapsedTime,
    /// Whether another process asks, as the attempt has reported ([`LoginReport::Elsewhere`]).
    pub(super) elsewhere: bool,
    /// The epoch that the session is being logged out of.
    pub(super) logged_out: Option<Epoch>,
    /// The newest epoch that the session knows.
    pub(super) newest_epoch: Epoch,
    /// The prompt whose pending login this attempt may have taken out of the store, in a try whose answer was lost. The
    /// content of the pending login is then lost too.
    pub(super) lost_take: Option<LoginKey>,
    /// The time until which the process waits for the attempt, once it stops.
    pub(super) closing: Option<ElapsedTime>,
    /// Whether the attempt was cancelled. No person is asked any more.
    pub(super) cancelled: bool,
    /// Whether the record is damaged. A login then replaces it without a comparison.
    pub(super) unreadable: bool,
    /// The revision of the answered prompt that was read last, and when that prompt was read first.
    pub(super) answered: Option<(Revision, ElapsedTime)>,
    /// Whether the record may have been written after the last read began.
    missed_news: bool,
    /// The key of the prompt that this attempt has shown last.
    pub(super) request: Option<LoginKey>,
    /// Whether the attempt has waited for another process that had taken the pending login out of the store.
    pub(super) awaited_taker: bool,
    /// Whether the result was reported.
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
        let newest_epoch = order.epoch;
        let mut core = AttemptCore {
            identity,
            order,
            equipment,
            ops: Op::default(),
            limit: None,
            login_claim: None,
            spend_claim: None,
            claiming: BTreeMap::new(),
            stray: BTreeSet::new(),
            since: None,
            record: None,
            has_read: false,
            restarts: 0,
            follow_until,
            elsewhere: false,
            logged_out: None,
            newest_epoch,
            lost_take: None,
            closing: None,
            cancelled: false,
            unreadable: false,
            answered: None,
            missed_news: false,
            request: None,
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
            Phase::Open(Open { leaving: Some(_), .. }) => None,
            Phase::Open(open) => {
                let steps = [open.reading, open.polling.map(|polling| polling.step)].into_iter().flatten();
                let due = steps.filter_map(|step| if let Repeat::At(at) = step { Some(at) } else { None });
                due.chain([open.until]).min()
            }
            Phase::Taking(taking) => match taking.step {
                TakeStep::Resting(until) | TakeStep::Gone(until) => Some(until),
                TakeStep::Asked(_) => None,
            },
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

    /// Processes an event and returns its effects. A completion that no phase waits for any more changes nothing.
    pub fn handle(&mut self, event: LoginEvent, now: Now) -> Vec<LoginEffect> {
        let mut out = Vec::new();
        // `Over` only stands in while `next` owns the phase, and is overwritten below on every path.
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let phase = self.core.next(phase, event, now, &mut out);
        self.phase = self.core.hear_news(phase, now, &mut out);
        out
    }
}

impl AttemptCore {
    /// The phase that follows `phase` after `event`.
    fn next(&mut self, phase: Phase, event: LoginEvent, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match event {
            LoginEvent::Tick => self.tick(phase, now, out),
            LoginEvent::Shutdown(until) => self.shut_down(phase, until, now, out),
            LoginEvent::Moved(epoch) => {
                self.newest_epoch = self.newest_epoch.max(epoch);
                phase
            }
            LoginEvent::LoggedOut(epoch) => self.log_out(phase, epoch, now, out),
            LoginEvent::Cancel => self.cancel(phase, now, out),
            LoginEvent::News => {
                self.missed_news = true;
                phase
            }
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
            (Phase::Open(open), LoginEvent::Loaded(answered, answer))
                if open.reading == Some(Repeat::Waiting(answered)) =>
            {
                self.looked(open, answer, now, out)
            }
            (Phase::EndingStale { op }, LoginEvent::Changed(answered, answer)) if op == answered => {
                self.stale_ended(answer, now, out)
            }
            (Phase::Peeking { op, prompt }, LoginEvent::Peeked(answered, answer)) if op == answered => {
                self.peeked(&prompt, answer, now, out)
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
            (Phase::Taking(taking), LoginEvent::Taken(answered, answer)) => {
                self.taken(taking, answered, answer, now, out)
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
        self.move_on(phase, now, out)
    }

    /// Takes the next step of a phase whose time has come.
    fn move_on(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            Phase::Following { .. } if self.follow_until <= now.elapsed() => {
                self.conclude(Err(LoginReason::TimedOut), out)
            }
            Phase::Following { retry_at, .. } if retry_at <= now.elapsed() => self.claim_login(now, out),
            Phase::Awaiting { until } if until <= now.elapsed() => self.look_again(now, out),
            Phase::Open(open) => self.open_tick(open, now, out),
            Phase::Taking(taking) => self.take_tick(taking, now, out),
            Phase::ClaimingSpend { step, code, until } => self.spend_tick(step, code, until, now, out),
            // The note is written again. The write fails if the epoch is over by now. Otherwise other processes count
            // their wait from the new note.
            Phase::Pausing { until, code } if until <= now.elapsed() => self.note(code, now, out),
            Phase::Keeping(keeping) => self.keep_tick(keeping, now, out),
            phase => phase,
        }
    }

    /// The store or the login source did not answer in time. The phase goes on as if it had reported a time-out.
    fn time_out(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        const LATE: StoreFault = StoreFault::TimedOut;
        let event = match &phase {
            // A claim that is granted later is ended.
            Phase::Claiming { .. } => return self.claimed(Err(LATE), now, out),
            Phase::Taking(taking) => return self.take_timed_out(taking.clone(), now, out),
            Phase::Reading { op } | Phase::Open(Open { reading: Some(Repeat::Waiting(op)), .. }) => {
                LoginEvent::Loaded(*op, Err(LATE))
            }
            Phase::EndingStale { op }
            | Phase::Asking { op, .. }
            | Phase::Noting { op, .. }
            | Phase::Ending { op, .. } => LoginEvent::Changed(*op, Err(LATE)),
            Phase::Peeking { op, .. } => LoginEvent::Peeked(*op, Err(LATE)),
            Phase::Preparing { op } => LoginEvent::Prepared(*op, Err(LoginReason::ServerTrouble)),
            Phase::Putting { op, .. } => LoginEvent::Put(*op, Err(LATE)),
            // A read in `Following` is given up. The time to ask for the claim again has come, too.
            _ => return self.move_on(phase, now, out),
        };
        self.advance(phase, event, now, out)
    }

    // Operations.

    pub(super) fn next_op(&mut self) -> Op {
        self.ops = Op(self.ops.0 + 1);
        self.ops
    }

    /// Numbers an operation of the store, and sets its time-out.
    pub(super) fn next_store_op(&mut self, now: Now) -> Op {
        self.limit = Some(now.elapsed().after(self.equipment.timeouts.store_timeout));
        self.next_op()
    }

    pub(super) fn load(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Op {
        let op = self.next_store_op(now);
        self.missed_news = false;
        out.push(LoginEffect::Load(op));
        op
    }

    /// Reads the record again after news of a write, if the phase is a waiting one. In another phase the news is kept
    /// until the attempt waits, because no later event would report this write.
    fn hear_news(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            phase if !self.missed_news => phase,
            Phase::Following { retry_at, reading: None } => {
                Phase::Following { retry_at, reading: Some(self.load(now, out)) }
            }
            Phase::Open(open) if !matches!(open.reading, Some(Repeat::Waiting(_))) && open.leaving.is_none() => {
                let reading = Some(Repeat::Waiting(self.load(now, out)));
                Phase::Open(Open { reading, ..open })
            }
            Phase::Awaiting { .. } => self.look_again(now, out),
            phase => phase,
        }
    }

    /// Takes in the record as the store holds it.
    pub(super) fn learn(&mut self, record: Option<Box<Record>>, now: Now, out: &mut Vec<LoginEffect>) {
        let revision = record.as_ref().map_or(Revision::default(), |record| record.revision);
        self.since.get_or_insert(revision);
        self.has_read = true;
        self.unreadable = false;
        let prompt = record.as_ref().and_then(|record| record.prompt.as_ref());
        match prompt.filter(|prompt| prompt.state == PromptState::Answered).map(|prompt| prompt.revision) {
            Some(answered) if self.answered.is_none_or(|(known, _)| known != answered) => {
                self.answered = Some((answered, now.elapsed()));
            }
            _ => {}
        }
        self.record = record;
        out.push(LoginEffect::Report(LoginReport::Seen(Box::new(self.view()))));
    }

    /// The view of the record as it was read or written last.
    pub(super) fn view(&self) -> View {
        self.record.as_ref().map_or_else(View::vacant, |record| record.view())
    }

    // The end.

    /// Ends the attempt with its result. The claims end first, so that a caller that asks again finds them free. An
    /// attempt that had already concluded with an unstored login reports that it is settled.
    pub(super) fn conclude(&mut self, result: Result<(), LoginReason>, out: &mut Vec<LoginEffect>) -> Phase {
        self.end_claims(out);
        if let (Err(LoginReason::Superseded | LoginReason::LoggedOut), Some(key)) = (result, self.request) {
            // The epoch that the login was to replace is over, so an answer to this prompt cannot count any more.
            out.push(LoginEffect::Discard(key));
        }
        if self.concluded {
            out.push(LoginEffect::Report(LoginReport::Settled(Box::new(self.view()))));
        }
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

    /// The time after `pause`, shortened at random by up to half.
    pub(super) fn soon(&self, pause: Duration, now: Now) -> ElapsedTime {
        now.elapsed().after((pause / 2 + now.jitter.of(pause / 2)).min(MAX_SLEEP))
    }
}
