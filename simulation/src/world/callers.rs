//! Callers ask for tokens, use them, are refused, ask again, and are cancelled.

use tokenkeeper_actors::law::session::{Ask, ChallengeKey, OperationKey, Refusal, RefusalAnswer};
use tokenkeeper_actors::values::{ElapsedTime, Lease, Reason, TokenError};

use super::{Item, World};
use crate::Millis;
use crate::plan::CallerSpec;
use crate::process::{Mail, Pid};
use crate::rng::{For, join};
use crate::server::Server;
use crate::tally::Kind;

/// A caller.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) pid: Pid,
    pub(crate) spec: CallerSpec,
    pub(crate) doing: Doing,
    /// The time of its request on its host's elapsed clock, in true time, and in steps.
    pub(crate) asked: ElapsedTime,
    pub(crate) asked_at: Millis,
    pub(crate) asked_step: u64,
    /// The step in which its session handled its request.
    pub(crate) handled: u64,
    pub(crate) lease: Option<Lease>,
    pub(crate) refusal: Option<Refusal>,
    /// Numbers its steps.
    turn: u32,
    rounds: u8,
    /// The result of its last request.
    pub(crate) result: Option<Result<Lease, TokenError>>,
    /// It asks after all faults have ended, and has to get a token.
    pub(crate) probes: bool,
}

/// The state of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// About to ask.
    Idle,
    /// Waiting for a token.
    Asking,
    /// About to use its lease.
    Using,
    /// About to report that its lease was refused.
    Complaining,
    /// Waiting for the answer to that report.
    Refusing,
    Done,
}

impl Caller {
    pub(crate) fn ask(&self) -> Ask {
        super::sessions::ask(self.asked, &self.spec)
    }
}

impl World {
    pub(crate) fn new_caller(&mut self, spec: CallerSpec, probes: bool) {
        let process = &self.processes[spec.process];
        if !process.up || process.stopping {
            return;
        }
        let pid = self.pid(spec.process);
        let id = self.callers.len();
        self.callers.push(Caller {
            pid,
            spec,
            doing: Doing::Idle,
            asked: ElapsedTime::default(),
            asked_at: 0,
            asked_step: 0,
            handled: 0,
            lease: None,
            refusal: None,
            turn: 0,
            rounds: spec.rounds,
            result: None,
            probes,
        });
        self.act_after(id, 0);
        if let Some(after) = spec.leaves_after {
            // Its steps never reach this turn number.
            self.queue.push(self.t + after, Item::Caller(id, u32::MAX));
        }
    }

    fn act_after(&mut self, id: usize, wait: Millis) {
        let caller = &mut self.callers[id];
        caller.turn += 1;
        let turn = caller.turn;
        self.queue.push(self.t + wait, Item::Caller(id, turn));
    }

    pub(crate) fn caller_acts(&mut self, id: usize, turn: u32) {
        if turn == u32::MAX {
            return self.caller_leaves(id);
        }
        let caller = &self.callers[id];
        if caller.turn != turn {
            return;
        }
        match caller.doing {
            Doing::Idle => self.caller_asks(id, true),
            Doing::Using => self.caller_uses(id),
            Doing::Complaining => {
                let caller = &mut self.callers[id];
                caller.doing = Doing::Refusing;
                let (pid, identity, refusal) = (caller.pid, caller.spec.identity, caller.refusal);
                if let Some(refusal) = refusal {
                    self.mail(pid, identity, Mail::Refuse(id, refusal));
                }
            }
            Doing::Asking | Doing::Refusing | Doing::Done => {}
        }
    }

    fn caller_leaves(&mut self, id: usize) {
        let caller = &mut self.callers[id];
        let was = std::mem::replace(&mut caller.doing, Doing::Done);
        let (pid, identity) = (caller.pid, caller.spec.identity);
        if was == Doing::Asking && self.processes[pid.process].slots[identity].actor.is_some() {
            self.mail(pid, identity, Mail::Gone(id));
        }
    }

    /// Asks for a token. If the published lease meets the request, takes it without a message, as a handle does.
    fn caller_asks(&mut self, id: usize, anew: bool) {
        let moment = self.moment(self.callers[id].pid.process);
        let (t, step) = (self.t, self.step);
        let caller = &mut self.callers[id];
        if anew {
            (caller.asked, caller.asked_at, caller.asked_step) = (moment.elapsed, t, step);
        }
        caller.doing = Doing::Asking;
        caller.handled = 0;
        let (pid, spec) = (caller.pid, caller.spec);
        let slot = &mut self.processes[pid.process].slots[spec.identity];
        let need = std::time::Duration::from_millis(spec.min_lifetime);
        let hit =
            slot.published.hit.as_ref().filter(|hit| {
                !spec.force && hit.window.is_open(&moment) && hit.lease.validity().outlasts(need, &moment)
            });
        if let Some(lease) = hit.map(|hit| hit.lease.clone()) {
            slot.used = true;
            self.count(Kind::Hit);
            self.tell(
                || format!("p{} i{}", pid.process, spec.identity),
                |_| format!("c{id} hits {}", lease.generation()),
            );
            self.check_answer(pid, spec.identity, id, &Ok(lease.clone()));
            return self.caller_answered(id, Ok(lease));
        }
        if self.processes[pid.process].stopping {
            self.callers[id].doing = Doing::Done;
            return;
        }
        self.tell(
            || format!("p{} i{}", pid.process, spec.identity),
            |_| {
                format!(
                    "c{id} asks: timeout {}, minimum {}{}",
                    spec.timeout,
                    spec.min_lifetime,
                    if spec.force { ", insists" } else { "" }
                )
            },
        );
        self.mail(pid, spec.identity, Mail::Ask(id));
    }

    pub(crate) fn caller_answered(&mut self, id: usize, answer: Result<Lease, TokenError>) {
        let caller = &mut self.callers[id];
        caller.result = Some(answer.clone());
        if caller.doing == Doing::Done {
            return;
        }
        match answer {
            Ok(lease) => {
                caller.lease = Some(lease);
                caller.doing = Doing::Using;
                let think = caller.spec.think;
                self.act_after(id, think);
            }
            Err(error) => {
                let again = error.is_transient() && caller.rounds > 0;
                let wait = error.retry_after().map_or(caller.spec.think, |span| span.as_millis() as Millis);
                if !again {
                    caller.doing = Doing::Done;
                    let (pid, identity) = (caller.pid, caller.spec.identity);
                    if caller.probes {
                        self.check_probe(pid, identity, error);
                    }
                    return;
                }
                caller.rounds -= 1;
                caller.doing = Doing::Idle;
                let least = if caller.probes { 10_000 } else { 0 };
                self.act_after(id, wait.clamp(least, 400_000));
            }
        }
    }

    /// The caller's actor ended. The handle asks the next actor with the rest of the caller's timeout.
    pub(crate) fn caller_dropped(&mut self, id: usize) {
        self.count(Kind::CallerDropped);
        let elapsed = self.moment(self.callers[id].pid.process).elapsed;
        let caller = &mut self.callers[id];
        match caller.doing {
            Doing::Asking if elapsed >= caller.ask().deadline() => {
                caller.result = Some(Err(TokenError::new(Reason::DeadlinePassed)));
                caller.doing = Doing::Done;
            }
            Doing::Asking => self.caller_asks(id, false),
            Doing::Refusing => {
                caller.doing = Doing::Complaining;
                self.act_after(id, 1);
            }
            _ => {}
        }
    }

    /// Uses its lease at the resource.
    fn caller_uses(&mut self, id: usize) {
        let t = self.t;
        let caller = &mut self.callers[id];
        let Some(lease) = &caller.lease else { return };
        let Some(at) = Server::number(lease.token().expose()) else { return };
        let (operation, generation) = (caller.spec.operation, lease.generation());
        let accepted = self.server.accepts(at, operation, t);
        let caller = &mut self.callers[id];
        match accepted {
            Ok(()) => {
                caller.doing = Doing::Done;
            }
            Err(challenge) if caller.rounds > 0 => {
                caller.rounds -= 1;
                let operation = OperationKey(u64::from(operation));
                caller.refusal = Some(Refusal { generation, operation, challenge: ChallengeKey(challenge) });
                caller.doing = Doing::Complaining;
                let late = self.rng(For::Caller, join(id as u64, t)).weigh(&[(8, 1), (2, 40), (1, 2_000), (1, 20_000)]);
                self.tell(|| format!("c{id}"), |_| format!("is refused with {generation}"));
                self.act_after(id, late);
            }
            Err(_) => caller.doing = Doing::Done,
        }
    }

    pub(crate) fn refusal_answered(&mut self, id: usize, answer: RefusalAnswer) {
        let caller = &mut self.callers[id];
        if caller.doing != Doing::Refusing {
            return;
        }
        match answer {
            RefusalAnswer::Noted | RefusalAnswer::Superseded => {
                caller.doing = Doing::Idle;
                // `force` applies to the first request only. Any newer token satisfies a refusal.
                caller.spec.force = false;
                let wait = if caller.spec.think > 1_000 { caller.spec.think } else { 0 };
                self.act_after(id, wait);
            }
            RefusalAnswer::Unknown | RefusalAnswer::Futile(_) => caller.doing = Doing::Done,
        }
    }
}
