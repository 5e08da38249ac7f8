//! The driver of login attempts. It begins them, carries out their effects in order, and delivers their reports.

use std::collections::VecDeque;
use std::sync::Arc;

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::login::{LoginAttempt, LoginEffect, LoginEvent, LoginOrder, LoginReport};
use tokenkeeper_actors::ports::observer::LoginEffectName;
use tokenkeeper_actors::ports::store::ClaimEnding;
use tokenkeeper_actors::values::{AttemptId, MAX_SLEEP};

use super::{Asker, Call, Item, World};
use crate::attempt::{AttemptFacts, AttemptRun};
use crate::plan::When;
use crate::process::Pid;
use crate::rng::{For, join};
use crate::tally::Kind;

impl World {
    pub(crate) fn sign_in(&mut self, pid: Pid, identity: usize, order: LoginOrder) {
        let now = self.now(pid.process);
        let id = order.attempt;
        let (machine, effects) = LoginAttempt::start(
            self.identities[identity].clone(),
            order.clone(),
            Arc::clone(&self.login_equipment),
            now,
        );
        self.attempts += 1;
        let name = self.attempts;
        self.tell(
            || format!("p{} i{identity}", pid.process),
            |_| format!("a{name} begins on epoch {}: {}", order.epoch.number(), crate::narrate::task(&order.task)),
        );
        let key = join(join(pid.process as u64, u64::from(pid.life)), join(77, u64::from(name)));
        let run = AttemptRun {
            machine,
            identity,
            order,
            name,
            key,
            ops: 0,
            backlog: VecDeque::from(effects),
            wake: None,
            ticks: 0,
            facts: AttemptFacts { begun: self.step, ..AttemptFacts::default() },
        };
        self.processes[pid.process].attempts.insert(id, run);
        self.truth.attempt_begun(id);
        // The attempt is a task of its own, so it starts a moment later.
        self.queue.push(self.t, Item::Attempt(pid, id));
    }

    pub(crate) fn attempt_name(&self, pid: Pid, attempt: AttemptId) -> String {
        let run = self.processes[pid.process].attempts.get(&attempt);
        run.map_or_else(|| "a?".to_owned(), |run| format!("a{}", run.name))
    }

    pub(crate) fn attempt_tick(&mut self, pid: Pid, id: AttemptId, tick: u32) {
        let Some(run) = self.processes[pid.process].attempts.get_mut(&id).filter(|run| run.ticks == tick) else {
            return;
        };
        run.wake = None;
        self.tell_attempt(pid, id, LoginEvent::Tick);
    }

    /// Hands an event to an attempt, after its backlog.
    pub(crate) fn tell_attempt(&mut self, pid: Pid, id: AttemptId, event: LoginEvent) {
        if self.processes[pid.process].attempts.get(&id).is_some_and(|run| !run.backlog.is_empty()) {
            self.drain_attempt(pid, id);
        }
        if !self.runs(pid) {
            return;
        }
        let now = self.now(pid.process);
        self.before_attempt(pid, id, &event);
        let Some(run) = self.processes[pid.process].attempts.get_mut(&id) else { return };
        let effects = run.machine.handle(event.clone(), now);
        self.check_reaction(pid, id, &event, &effects);
        let Some(run) = self.processes[pid.process].attempts.get_mut(&id) else { return };
        run.backlog.extend(effects);
        self.drain_attempt(pid, id);
    }

    pub(crate) fn drain_attempt(&mut self, pid: Pid, id: AttemptId) {
        loop {
            let Some(run) = self.processes[pid.process].attempts.get_mut(&id) else { return };
            let Some(effect) = run.backlog.pop_front() else { break };
            let name = effect.name();
            if self.spring_login(pid, id, name, When::Before) {
                return self.hold_attempt(pid, id, Some(effect));
            }
            self.carry_out_login(pid, id, effect);
            if self.spring_login(pid, id, name, When::Begun)
                || !has_answer(name) && self.spring_login(pid, id, name, When::Done)
            {
                return self.hold_attempt(pid, id, None);
            }
        }
        self.after_attempt(pid, id);
    }

    /// The attempt cannot continue now. If its process only stands still, it continues later.
    fn hold_attempt(&mut self, pid: Pid, id: AttemptId, effect: Option<LoginEffect>) {
        let Some(until) = self.still_until(pid.process) else { return };
        if self.processes[pid.process].life != pid.life {
            return;
        }
        let Some(run) = self.processes[pid.process].attempts.get_mut(&id) else { return };
        if let Some(effect) = effect {
            run.backlog.push_front(effect);
        }
        self.queue.push(until, Item::Attempt(pid, id));
    }

    /// Ends an attempt that is over, or sets its timer.
    fn after_attempt(&mut self, pid: Pid, id: AttemptId) {
        let Some(run) = self.processes[pid.process].attempts.get_mut(&id) else { return };
        if run.machine.is_over() {
            return self.attempt_over(pid, id);
        }
        let wake = run.machine.next_wake();
        if wake == run.wake {
            return;
        }
        run.wake = wake;
        run.ticks += 1;
        let ticks = run.ticks;
        if let Some(wake) = wake {
            let host = &self.hosts[self.processes[pid.process].host];
            // A driver sleeps for a minute at most.
            let wake = wake.min(host.elapsed(self.t).after(MAX_SLEEP));
            let late = self.rng(For::Tick, join(self.step, u64::from(ticks))).below(super::flights::TICK);
            let due = host.when(wake).max(self.t) + late;
            self.queue.push(due, Item::AttemptTick(pid, id, ticks));
        }
    }

    fn carry_out_login(&mut self, pid: Pid, id: AttemptId, effect: LoginEffect) {
        self.tell(
            || format!("p{}", pid.process),
            |world| format!("{} {}", world.attempt_name(pid, id), crate::narrate::login_effect(&effect)),
        );
        self.check_login_effect(pid, id, &effect);
        let Some(run) = self.processes[pid.process].attempts.get_mut(&id) else { return };
        run.ops += 1;
        let (identity, key) = (run.identity, join(run.key, run.ops));
        let asker = Asker::Attempt(pid, id);
        match effect {
            LoginEffect::Claim { op, scope, at_least } => {
                self.begin_op(asker, identity, op, Call::Claim { scope, at_least }, key);
            }
            LoginEffect::Renew { op, claim, at_least } => {
                self.begin_op(asker, identity, op, Call::Renew { claim, at_least }, key);
            }
            LoginEffect::EndClaim(claim) => {
                let call = Call::End { claim, ending: ClaimEnding::Released };
                self.begin_op(asker, identity, Op(0), call, key);
            }
            LoginEffect::Load(op) => self.begin_op(asker, identity, op, Call::Load, key),
            LoginEffect::Put(op, login, pending) => {
                self.begin_op(asker, identity, op, Call::Put(login, pending), key);
            }
            LoginEffect::Peek(op, login) => self.begin_op(asker, identity, op, Call::Peek(login), key),
            LoginEffect::Take(op, login) => self.begin_op(asker, identity, op, Call::Take(login), key),
            LoginEffect::Discard(login) => {
                self.begin_op(Asker::Driver(pid), identity, Op(0), Call::Take(login), key);
            }
            LoginEffect::Reserve(op, digest) => self.begin_op(asker, identity, op, Call::Reserve(digest), key),
            LoginEffect::Change(op, change) => self.begin_op(asker, identity, op, Call::Change(change), key),
            LoginEffect::Prepare(op, preparation) => self.begin_prepare(pid, id, op, &preparation, key),
            LoginEffect::Show(op, pending) => self.answer_show(pid, id, op, &pending),
            LoginEffect::Judge(op, pending, callback) => self.answer_judge(pid, id, op, &pending, &callback),
            LoginEffect::Redeem(op, redemption) => self.begin_redeem(pid, id, op, &redemption, key),
            LoginEffect::Poll(op, pending) => self.begin_poll(pid, id, op, &pending, key),
            LoginEffect::Revoke(revocation) => self.begin_revocation(&revocation, key),
            LoginEffect::Report(report) => {
                self.note_login_report(pid, id, &report);
                if let LoginReport::Offered(key, offer) = &report {
                    self.show(pid, identity, *key, offer);
                }
                self.report_login(pid, identity, id, Some(report));
            }
        }
    }

    /// Puts a report into the slot, where the actor takes it.
    fn report_login(&mut self, pid: Pid, identity: usize, id: AttemptId, report: Option<LoginReport>) {
        self.processes[pid.process].slots[identity].login_reports.push_back((id, report));
        self.nudge_login(pid, identity);
    }

    fn attempt_over(&mut self, pid: Pid, id: AttemptId) {
        self.check_attempt_over(pid, id);
        let Some(run) = self.processes[pid.process].attempts.remove(&id) else { return };
        self.truth.attempt_over(id);
        self.tell(|| format!("p{}", pid.process), |_| format!("a{} is over", run.name));
        self.report_login(pid, run.identity, id, None);
    }

    /// An attempt is aborted. Its machine is gone, its driver ends its claims, and its prompt stays.
    pub(crate) fn break_attempt(&mut self, pid: Pid, id: AttemptId) {
        let Some(run) = self.processes[pid.process].attempts.remove(&id) else { return };
        self.count(Kind::AttemptBroke);
        self.truth.attempt_over(id);
        self.note_attempt_died(&run);
        self.tell(|| format!("p{}", pid.process), |_| format!("a{} breaks off", run.name));
        for (index, claim) in (0u64..).zip(run.facts.claims) {
            let call = Call::End { claim, ending: ClaimEnding::Released };
            self.begin_op(Asker::Driver(pid), run.identity, Op(0), call, join(run.key, 1_000_000 + index));
        }
        self.report_login(pid, run.identity, id, None);
    }
}

/// Whether a driver waits for an answer to an effect. If so, a trap can trigger between the effect and its answer.
fn has_answer(name: LoginEffectName) -> bool {
    use LoginEffectName as L;
    !matches!(name, L::EndClaim | L::Discard | L::Revoke | L::Report | L::Show | L::Judge)
}
