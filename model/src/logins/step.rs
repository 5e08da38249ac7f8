//! One step from a state to the next, with the laws that hold at each.

use std::sync::Arc;

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::ledger::{self, Change, Changed, LoginAccess};
use tokenkeeper_actors::law::login::{
    LoginAttempt, LoginEffect, LoginEvent, LoginOrder, LoginReport, LoginTask, LoginWish,
};
use tokenkeeper_actors::ports::login::{AuthorizationCode, IssuedLogin, Prepared, Redeemed};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Reservation};
use tokenkeeper_actors::values::record::{PromptState, Record};
use tokenkeeper_actors::values::{
    AccessToken, AttemptId, Callback, Epoch, FlightId, Generation, LoginKey, LoginMethod, LoginOffer, LoginReason,
    LoginUrl, Nonce, OfferedPrompt, RefreshToken, RenewalPlan, Scopes, TokenKind, Validity,
};

use super::state::{LoginState, Process, Refreshing, Request, Run, Wire, key_of};
use super::{LoginAction, Logins};

/// The id under which the refresh of a process claims.
fn refresher(process: usize) -> FlightId {
    FlightId(1_000 + process as u128)
}

pub(super) fn step(model: &Logins, last: &LoginState, action: LoginAction) -> LoginState {
    let mut step = Step { model, state: last.clone() };
    step.take(action);
    let actions = &mut Vec::new();
    step.state.actions(actions);
    if actions
        .iter()
        .all(|action| matches!(action, LoginAction::Crash(_) | LoginAction::Answer { .. } | LoginAction::LogOut(_)))
    {
        step.check_rest();
    }
    step.state.sealed()
}

struct Step<'a> {
    model: &'a Logins,
    state: LoginState,
}

impl Step<'_> {
    fn take(&mut self, action: LoginAction) {
        match action {
            LoginAction::Begin(process) => {
                self.state.processes[process].begun += 1;
                let method = LoginMethod::Redirect(String::new());
                let wish = LoginWish { scopes: Scopes::default(), method, same_subject: false, extends: false };
                self.begin(process, LoginTask::Ask(wish));
            }
            LoginAction::Perform { process, attempt, op } => {
                let run = &mut self.state.processes[process].attempts[attempt];
                let (id, effect) = (run.id, run.ops.remove(op));
                self.perform(process, id, effect);
            }
            LoginAction::Answer { request, yes, process } => self.answer(request, yes, process),
            LoginAction::Redeem => self.redeem(true),
            LoginAction::LoseAnswer => {
                self.state.left.lost_answers -= 1;
                self.redeem(false);
            }
            LoginAction::Hear(process) => {
                self.state.processes[process].news = false;
                self.tell_all(process, &LoginEvent::News);
            }
            LoginAction::LogOut(process) => {
                self.state.left.logouts -= 1;
                let epoch = self.state.record.epoch;
                self.state.processes[process].logging_out = Some(epoch);
                self.tell_all(process, &LoginEvent::LoggedOut(epoch));
            }
            LoginAction::WriteLogout(process) => {
                let Some(epoch) = self.state.processes[process].logging_out.take() else { return };
                self.change(&Change::Clear { epoch });
                self.state.pending.clear();
            }
            LoginAction::Refresh(process) => self.refresh(process),
            LoginAction::Crash(process) => {
                self.state.left.crashes -= 1;
                let died = std::mem::take(&mut self.state.processes[process]);
                let ids: Vec<FlightId> = died.attempts.iter().map(|run| run.id.holder()).collect();
                let gone = |holder: &FlightId| ids.contains(holder) || *holder == refresher(process);
                self.state.claims.retain(|_, holder| !gone(holder));
                let begun = died.begun.saturating_sub(1);
                let (named, refreshes) = (died.named, died.refreshes);
                self.state.processes[process] = Process { begun, named, refreshes, ..Process::default() };
            }
            LoginAction::Wait => {
                self.state.left.waits -= 1;
                if let Some(wake) = self.state.next_wake() {
                    self.state.now = self.state.now.max(wake);
                }
                for process in 0..2 {
                    self.tell_all(process, &LoginEvent::Tick);
                }
            }
        }
    }

    fn begin(&mut self, process: usize, task: LoginTask) {
        self.state.processes[process].named += 1;
        let id = AttemptId(100 * (process as u128 + 1) + u128::from(self.state.processes[process].named));
        let (epoch, now) = (self.state.record.epoch, self.state.now());
        let order = LoginOrder { attempt: id, epoch, task, known: Generation::default(), nonce: Nonce(1) };
        let equipment = Arc::clone(&self.model.equipment);
        let (machine, effects) = LoginAttempt::start(self.model.identity.clone(), order, equipment, now);
        let run =
            Run { id, machine, ops: Vec::new(), open: None, redeeming: None, holds_tokens: false, concluded: None };
        self.state.processes[process].attempts.push(run);
        self.carry_out(process, id, effects);
    }

    fn run(&mut self, process: usize, id: AttemptId) -> Option<&mut Run> {
        self.state.processes[process].attempts.iter_mut().find(|run| run.id == id)
    }

    fn tell_all(&mut self, process: usize, event: &LoginEvent) {
        let ids: Vec<AttemptId> = self.state.processes[process].attempts.iter().map(|run| run.id).collect();
        for id in ids {
            self.tell(process, id, event.clone());
        }
    }

    fn tell(&mut self, process: usize, id: AttemptId, event: LoginEvent) {
        let now = self.state.now();
        let Some(run) = self.run(process, id) else { return };
        let effects = run.machine.handle(event, now);
        self.carry_out(process, id, effects);
    }

    /// Effects on this process alone happen at once. Those on the store wait for their step.
    fn carry_out(&mut self, process: usize, id: AttemptId, effects: Vec<LoginEffect>) {
        for effect in effects {
            match effect {
                LoginEffect::Prepare(op, preparation) => {
                    let request = self.state.requests.len() as u8;
                    let by = id;
                    self.state.requests.push(Request { answer: None, delivered: 0, shown: false, presented: 0, by });
                    let key = key_of(request);
                    let prepared = Prepared { key, expires: preparation.expires, sealed: vec![request].into() };
                    self.tell(process, id, LoginEvent::Prepared(op, Ok(prepared)));
                }
                LoginEffect::Show(op, pending) => {
                    self.state.seen.taken_over |= pending.attempt != id;
                    let prompt = OfferedPrompt::Browser { url: LoginUrl::new("") };
                    let offer = LoginOffer { prompt, expires: pending.expires };
                    self.tell(process, id, LoginEvent::Shown(op, Ok(offer)));
                }
                LoginEffect::Judge(op, _, callback) => {
                    let judged = match callback.expose() {
                        "denied" => Err(LoginReason::Denied),
                        code => Ok(AuthorizationCode::new(code)),
                    };
                    self.tell(process, id, LoginEvent::Judged(op, judged));
                }
                LoginEffect::EndClaim(claim) => {
                    self.state.claims.retain(|scope, holder| *scope != claim.scope || *holder != claim.holder);
                    if claim.scope == ClaimScope::Login {
                        self.run(process, id).into_iter().for_each(|run| run.open = None);
                    }
                }
                LoginEffect::Redeem(op, redemption) => {
                    self.leave(process, id, op, &redemption.code, redemption.pending.epoch)
                }
                LoginEffect::Revoke(_) => self.run(process, id).into_iter().for_each(|run| run.holds_tokens = false),
                LoginEffect::Report(report) => self.report(process, id, report),
                effect => {
                    let Some(run) = self.run(process, id) else { return };
                    if matches!(effect, LoginEffect::Take(..) | LoginEffect::Change(_, Change::EndPrompt { .. })) {
                        run.open = None;
                    }
                    run.ops.push(effect);
                }
            }
        }
        let over = |run: &Run| run.machine.is_over() && run.ops.iter().all(|op| matches!(op, LoginEffect::Discard(_)));
        if self.run(process, id).is_some_and(|run| over(run)) {
            if self.run(process, id).is_some_and(|run| run.holds_tokens) {
                self.state.breaks("21: tokens that a login obtained are dropped");
            }
            if self.state.claims.values().any(|holder| *holder == id.holder()) {
                self.state.breaks("17: an attempt leaves a claim behind");
            }
            self.state.processes[process].attempts.retain(|run| run.id != id || !run.ops.is_empty());
        }
    }

    fn report(&mut self, process: usize, id: AttemptId, report: LoginReport) {
        match report {
            LoginReport::Offered(key, _) => {
                let request = key.0[0];
                let others = self.state.processes.iter().flat_map(|process| &process.attempts);
                if others.into_iter().any(|run| run.id != id && run.open.is_some()) {
                    self.state.breaks("17: two requests are shown");
                }
                if let Some(known) = self.state.requests.get_mut(usize::from(request)) {
                    known.shown = true;
                }
                self.run(process, id).into_iter().for_each(|run| run.open = Some(request));
            }
            LoginReport::Concluded(conclusion) => {
                let shared = conclusion.result == Err(LoginReason::Denied);
                let own = self.state.requests.iter().any(|request| request.by == id);
                self.state.seen.no_shared |= shared && !own;
                if self.run(process, id).is_some_and(|run| run.concluded.replace(conclusion.result).is_some()) {
                    self.state.breaks("7: an attempt concludes twice");
                }
            }
            _ => {}
        }
    }

    /// An operation on the store takes effect, and is answered.
    fn perform(&mut self, process: usize, id: AttemptId, effect: LoginEffect) {
        let wall = self.state.now().moment.wall;
        let found = |state: &LoginState, key: &LoginKey| {
            state.pending.get(key).filter(|login| login.expires > wall).cloned().map(Box::new)
        };
        let event = match effect {
            LoginEffect::Claim { op, scope, .. } => LoginEvent::Claimed(op, Ok(self.claim(scope, id.holder()))),
            LoginEffect::Load(op) => LoginEvent::Loaded(op, Ok(Some(Box::new(self.state.record.clone())))),
            LoginEffect::Put(op, key, pending) => {
                self.state.pending.insert(key, *pending);
                LoginEvent::Put(op, Ok(()))
            }
            LoginEffect::Peek(op, key) => LoginEvent::Peeked(op, Ok(found(&self.state, &key))),
            LoginEffect::Take(op, key) => {
                let taken = found(&self.state, &key);
                taken.iter().for_each(|_| drop(self.state.pending.remove(&key)));
                LoginEvent::Taken(op, Ok(taken))
            }
            LoginEffect::Discard(key) => {
                self.state.pending.remove(&key);
                let over = |run: &Run| run.id == id && run.machine.is_over() && run.ops.is_empty();
                return self.state.processes[process].attempts.retain(|run| !over(run));
            }
            LoginEffect::Reserve(op, _) => LoginEvent::Reserved(op, Ok(Reservation::Reserved)),
            LoginEffect::Change(op, change) => {
                let changed = self.change(&change);
                if let (Change::Install(_), Changed::Applied { .. }) = (&change, &changed) {
                    self.state.seen.stored = true;
                    self.run(process, id).into_iter().for_each(|run| run.holds_tokens = false);
                } else if let (Change::Install(_), Changed::Conflict { current, .. }) = (&change, &changed) {
                    // Another login came first, so the pair is dropped. After a logout it is revoked.
                    let dropped = current.as_ref().is_some_and(|record| record.grant().is_some());
                    self.run(process, id).into_iter().for_each(|run| run.holds_tokens &= !dropped);
                }
                LoginEvent::Changed(op, Ok(changed))
            }
            _ => return,
        };
        self.tell(process, id, event);
    }

    fn claim(&mut self, scope: ClaimScope, holder: FlightId) -> ClaimAnswer {
        if *self.state.claims.entry(scope).or_insert(holder) != holder {
            return ClaimAnswer::Contended;
        }
        ClaimAnswer::Granted(Claim { holder, scope, remaining: None, predecessor: Predecessor::Gone })
    }

    fn change(&mut self, change: &Change) -> Changed {
        let before = self.state.record.clone();
        match ledger::apply(Some(&before), change) {
            Ok(after) => {
                self.check_write(&before, change);
                self.state.record = after.clone();
                self.state.processes.iter_mut().for_each(|process| process.news = true);
                Changed::Applied { before: Some(Box::new(before)), after: Box::new(after) }
            }
            Err(why) => Changed::Conflict { why, current: Some(Box::new(before)) },
        }
    }

    fn check_write(&mut self, before: &Record, change: &Change) {
        match change {
            Change::Install(login) if login.begun_on.is_none_or(|begun| begun.epoch != before.epoch) => {
                self.state.breaks("20: a login replaces what it was not begun on");
            }
            Change::Prompt { .. } => {
                let known = before.prompt.as_ref();
                if known.is_some_and(|known| known.state == PromptState::Answered) {
                    self.state.breaks("17: a person is asked over a redemption");
                }
                if self.state.processes.iter().flat_map(|process| &process.attempts).any(|run| run.open.is_some()) {
                    self.state.breaks("17: a person is asked beside a request that is shown");
                }
            }
            _ => {}
        }
    }

    /// A person's answer arrives in a process.
    fn answer(&mut self, request: u8, yes: bool, process: usize) {
        self.state.left.answers -= 1;
        let known = &mut self.state.requests[usize::from(request)];
        (known.answer, known.delivered) = (Some(yes), known.delivered + 1);
        let text = if yes { format!("code-{request}") } else { "denied".to_owned() };
        let callback = Callback::new(key_of(request), text);
        let shows =
            self.state.processes[process].attempts.iter().find(|run| run.open == Some(request)).map(|run| run.id);
        match shows {
            Some(id) => self.tell(process, id, LoginEvent::Callback(callback)),
            None => {
                self.state.seen.elsewhere = true;
                self.begin(process, LoginTask::Complete(callback));
            }
        }
    }

    /// A code leaves.
    fn leave(&mut self, process: usize, id: AttemptId, op: Op, code: &AuthorizationCode, epoch: Epoch) {
        let request = code.expose().strip_prefix("code-").and_then(|number| number.parse().ok()).unwrap_or(u8::MAX);
        if let Some(known) = self.state.requests.get_mut(usize::from(request)) {
            known.presented += 1;
            if known.presented > 1 {
                self.state.breaks("19: a code is presented twice");
            }
        }
        let noted = self
            .state
            .record
            .prompt
            .as_ref()
            .is_some_and(|prompt| prompt.key == key_of(request) && prompt.state == PromptState::Answered);
        if self.state.record.epoch != epoch && !self.state.processes[process].news {
            self.state.breaks("19: a code is presented after its epoch is over");
        }
        if self.state.record.epoch == epoch && !noted {
            self.state.breaks("19: a code is presented without a note");
        }
        let holder = self.state.claims.get(&ClaimScope::Spend(epoch)).copied();
        let refreshes = (0..2).any(|process| holder == Some(refresher(process)));
        if holder != Some(id.holder()) && !refreshes && self.state.record.epoch == epoch {
            self.state.breaks("19: a code is presented without the right to spend");
        }
        self.run(process, id).into_iter().for_each(|run| run.redeeming = Some(epoch));
        self.state.wire = Some(Wire { process, attempt: id, op, request });
    }

    /// The server processes the code. Its answer arrives, if it is not lost and the process lives.
    fn redeem(&mut self, arrives: bool) {
        let Some(Wire { process, attempt, op, request }) = self.state.wire.take() else { return };
        let Some(run) = self.run(process, attempt) else { return };
        run.redeeming = None;
        run.holds_tokens = arrives;
        let now = self.state.now();
        let redeemed = match arrives {
            false => Redeemed::Lost,
            true => Redeemed::Issued(Box::new(IssuedLogin {
                binding: crate::model::binding(),
                requested: Scopes::default(),
                granted: Scopes::default(),
                subject: None,
                dpop_key: None,
                renewal: RenewalPlan::default(),
                refresh: Some(RefreshToken::new(format!("rt-{request}"))),
                access: Some(LoginAccess {
                    token: AccessToken::new(format!("at-{request}")),
                    kind: TokenKind::Bearer,
                    validity: Validity::new(now.moment, None),
                }),
            })),
        };
        self.tell(process, attempt, LoginEvent::Redeemed(op, redeemed));
    }

    fn refresh(&mut self, process: usize) {
        let epoch = self.state.record.epoch;
        let next = match self.state.processes[process].refresh {
            Refreshing::Idle => {
                self.state.processes[process].refreshes += 1;
                self.claim(ClaimScope::Spend(epoch), refresher(process));
                Refreshing::Claimed(epoch)
            }
            Refreshing::Claimed(of) => {
                let holds = |id: FlightId| self.state.claims.get(&ClaimScope::Spend(of)) == Some(&id);
                let runs = self.state.processes.iter().flat_map(|process| &process.attempts);
                let replaced = runs.into_iter().any(|run| run.redeeming == Some(of) && holds(run.id.holder()));
                if replaced {
                    self.state.breaks("25: a token is presented while its login is replaced");
                }
                Refreshing::Sent(of)
            }
            Refreshing::Sent(of) => {
                // Its answer is stored, which moves the revision.
                self.change(&Change::Configure { epoch: of, renewal: RenewalPlan::default() });
                self.state.claims.retain(|_, holder| *holder != refresher(process));
                Refreshing::Idle
            }
        };
        self.state.processes[process].refresh = next;
    }

    /// Nothing goes on by itself any more. No attempt waits in vain, and no claim is left.
    fn check_rest(&mut self) {
        let runs = self.state.processes.iter().flat_map(|process| &process.attempts);
        let holders: Vec<FlightId> = runs.map(|run| run.id.holder()).collect();
        let waits = holders.len();
        if waits > 0 && self.state.left.waits > 0 {
            self.state.breaks("7: an attempt waits for nothing");
        }
        let left = self.state.claims.values().any(|holder| !holders.contains(holder) && holder.0 < 1_000);
        if left {
            self.state.breaks("17: a claim is held by nobody");
        }
        if waits > 0 && self.state.left.waits == 0 {
            self.state.breaks("the bound on the stretches of time is too small to be complete");
        }
    }
}
