//! Laws 17 to 22 and 25 at each step of a login attempt, from the ground truth.

use tokenkeeper_actors::law::ledger::{Change, Changed};
use tokenkeeper_actors::law::login::{LoginEffect, LoginEvent, LoginReport};
use tokenkeeper_actors::ports::login::{Polled, Redeemed};
use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimScope, PendingLogin, Renewed, Reservation};
use tokenkeeper_actors::values::record::{PromptEnd, PromptState};
use tokenkeeper_actors::values::{AttemptId, Epoch, LoginKey, LoginReason};

use crate::Millis;
use crate::attempt::{AttemptRun, IssuedTokens};
use crate::process::Pid;
use crate::server::Server;
use crate::tally::Kind;
use crate::world::{Asker, World};

/// The time after a standstill during which a process may not know that a claim of its own has run out.
const CLAIM_SETTLES: Millis = 60_000;

impl World {
    pub(crate) fn attempt_of(&self, asker: Asker) -> Option<&AttemptRun> {
        match asker {
            Asker::Attempt(pid, attempt) => {
                let process = &self.processes[pid.process];
                process.attempts.get(&attempt).filter(|_| process.life == pid.life)
            }
            _ => None,
        }
    }

    pub(super) fn attempt_mut(&mut self, pid: Pid, id: AttemptId) -> Option<&mut AttemptRun> {
        self.processes[pid.process].attempts.get_mut(&id)
    }

    /// An attempt receives an event.
    pub(crate) fn before_attempt(&mut self, pid: Pid, id: AttemptId, event: &LoginEvent) {
        let (t, patience) = (self.t, self.config.timeouts.store_timeout.as_millis() as Millis);
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let facts = &mut run.facts;
        let mut count = None;
        match event {
            // A driver may deliver an answer twice, and the claim may have been ended meanwhile.
            LoginEvent::Claimed(op, Ok(ClaimAnswer::Granted(claim))) if facts.granted.insert(*op) => {
                facts.claims.retain(|held| held.scope != claim.scope);
                facts.claims.push(claim.clone());
            }
            LoginEvent::Claimed(_, Ok(ClaimAnswer::Granted(_))) => {}
            LoginEvent::Claimed(_, Ok(ClaimAnswer::Contended)) => {}
            LoginEvent::Claimed(_, _) => facts.spend_failed = true,
            LoginEvent::Renewed(_, Ok(Renewed::Until(_))) => count = Some(Kind::ClaimRenewed),
            LoginEvent::Renewed(_, Ok(Renewed::Lost)) => {
                facts.renewal_failed = true;
                count = Some(Kind::ClaimRanOut);
            }
            LoginEvent::Renewed(_, Err(_)) => facts.renewal_failed = true,
            // A machine ignores the answer of a read that it has given up.
            LoginEvent::Loaded(op, Ok(record))
                if facts.loading.is_some_and(|(asked, at)| asked == *op && t < at + patience) =>
            {
                let revision = record.as_ref().map_or(0, |record| record.revision.number());
                facts.first_read.get_or_insert(revision);
                let prompt = record.as_ref().and_then(|record| record.prompt.as_ref());
                let shows =
                    |key: LoginKey| prompt.is_some_and(|prompt| prompt.key == key && prompt.state == PromptState::Open);
                facts.open.take_if(|key| !shows(*key));
            }
            LoginEvent::Shown(_, Err(_)) => facts.cannot_show = true,
            LoginEvent::Loaded(..) => facts.unsure_read |= facts.first_read.is_none(),
            LoginEvent::LoggedOut(epoch) => facts.logged_out = Some(*epoch),
            LoginEvent::Redeemed(_, redeemed) => {
                facts.redeeming = false;
                count = match redeemed {
                    Redeemed::Lost => Some(Kind::CodeLost),
                    Redeemed::Refused(_) => Some(Kind::CodeRefused),
                    Redeemed::Issued(_) | Redeemed::NotSent => None,
                };
            }
            LoginEvent::Judged(_, Err(LoginReason::Denied)) | LoginEvent::Polled(_, Polled::Ended(_)) => {
                facts.declined = true;
            }
            LoginEvent::Changed(_, Err(_)) => {
                facts.note_failures += 1;
                facts.save_failed = true;
            }
            LoginEvent::Reserved(_, Err(_)) => facts.save_failed = true,
            LoginEvent::Reserved(_, Ok(Reservation::HeldBy(_))) => facts.conflict = true,
            LoginEvent::Changed(_, Ok(Changed::Conflict { .. })) => facts.conflict = true,
            // The machine may give up an operation that takes too long.
            LoginEvent::Tick => {
                facts.note_failures += 1;
                facts.spend_failed |= facts.spend_asked.is_some();
                facts.save_failed = true;
            }
            _ => {}
        }
        if let Some(kind) = count {
            self.count(kind);
        }
        let issued = match event {
            LoginEvent::Redeemed(_, Redeemed::Issued(issued)) | LoginEvent::Polled(_, Polled::Issued(issued)) => issued,
            _ => return,
        };
        let at = issued.access.as_ref().and_then(|access| Server::number(access.token.expose()));
        let rt = issued.refresh.as_ref().and_then(|refresh| Server::number(refresh.expose()));
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let base = run.facts.base.unwrap_or(run.order.epoch);
        let begun = run.facts.begun;
        run.facts.issued = Some(IssuedTokens { at, rt, base, stored: false, revoked: false });
        run.facts.save_failed = false;
        if let Some(at) = at {
            self.server.ats[at].base = Some((base, begun));
        }
    }

    /// Checks what a machine makes of an event.
    pub(crate) fn check_reaction(&mut self, pid: Pid, id: AttemptId, event: &LoginEvent, effects: &[LoginEffect]) {
        let LoginEvent::Callback(callback) = event else { return };
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let (open, name) = (run.facts.open, run.name);
        let takes = effects.iter().any(|effect| matches!(effect, LoginEffect::Take(_, key) if *key == callback.key));
        if open == Some(callback.key) && !takes {
            self.breach("18", "the answer to an open request is not taken", || format!("a{name}"));
        }
    }

    /// An attempt is about to carry out an effect.
    pub(crate) fn check_login_effect(&mut self, pid: Pid, id: AttemptId, effect: &LoginEffect) {
        let t = self.t;
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let (identity, name) = (run.identity, run.name);
        let facts = &mut run.facts;
        match effect {
            LoginEffect::Claim { scope: ClaimScope::Spend(_), .. } => {
                facts.spend_asked.get_or_insert(t);
            }
            LoginEffect::EndClaim(claim) => {
                facts.claims.retain(|held| held.scope != claim.scope);
                if claim.scope == ClaimScope::Login {
                    facts.open = None;
                }
            }
            LoginEffect::Load(op) => facts.loading = Some((*op, t)),
            LoginEffect::Take(..) => facts.open = None,
            LoginEffect::Reserve(..) => facts.open = None,
            LoginEffect::Judge(_, pending, _) => {
                facts.base = Some(pending.epoch);
                facts.note_failures = 0;
            }
            LoginEffect::Peek(..) => self.count(Kind::Peeked),
            LoginEffect::Show(_, pending) => {
                facts.base = Some(pending.epoch);
                facts.took_over = pending.attempt != id;
            }
            LoginEffect::Redeem(_, redemption) => {
                facts.redeeming = true;
                let pending = redemption.pending.clone();
                self.check_redemption(pid, id, &pending);
            }
            LoginEffect::Change(_, Change::AnswerPrompt { .. }) => facts.noted = false,
            LoginEffect::Change(_, Change::EndPrompt { end, .. }) => {
                facts.open = None;
                if *end == PromptEnd::TimedOut {
                    self.count(Kind::PromptTimedOut);
                }
            }
            LoginEffect::Change(_, Change::Install(login)) => {
                facts.open = None;
                let base = facts.issued.map(|issued| issued.base);
                if login.begun_on.map(|begun| begun.epoch) != base {
                    self.breach("20", "a login forgets what it was begun on", || format!("a{name}"));
                }
            }
            LoginEffect::Revoke(revocation) => {
                let revoked = revocation.refresh.as_ref().and_then(|one| Server::number(one.token().expose()));
                let ours = facts.issued.as_mut().filter(|issued| issued.rt == revoked);
                let brought = ours.map(|issued| issued.revoked = true).is_some();
                let logged_out = facts.logged_out.is_some();
                let held = self.store.record(identity).and_then(crate::world::rt_of);
                if !brought || revoked.is_some() && held == revoked && !logged_out {
                    self.breach("20", "an attempt revokes what it did not bring, or has stored", || {
                        format!("a{name} i{identity}")
                    });
                }
                self.count(Kind::LoginRevoked);
            }
            _ => {}
        }
    }

    /// Laws 19 and 25: a code is presented with a note in the record, under the right to spend the token that its login
    /// replaces, and not after its epoch is over, as far as the process could know.
    fn check_redemption(&mut self, pid: Pid, id: AttemptId, pending: &PendingLogin) {
        let t = self.t;
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let (identity, name, base) = (run.identity, run.name, pending.epoch);
        let facts = &run.facts;
        let (noted, note_failures, logged_out) = (facts.noted, facts.note_failures, facts.logged_out);
        let waited = facts.spend_asked.map(|since| t.saturating_sub(since));
        let (spend_failed, renewal_failed) = (run.facts.spend_failed, run.facts.renewal_failed);
        if !noted && note_failures < 3 {
            self.breach("19", "a code is presented without a note of it", || format!("a{name}"));
        }
        let scope = ClaimScope::Spend(base);
        let holds = self.store.holds(identity, scope, id.holder(), self.t);
        let stood = self.processes[pid.process].stood;
        let robbed = self.store.robbed.contains(&id.holder());
        let slept = self.config.is_leased() && stood.1 > 0 && self.t < stood.1 + CLAIM_SETTLES;
        let outwaited =
            waited.is_some_and(|waited| waited >= self.config.login_limits.spend_wait.as_millis() as Millis);
        if !holds {
            self.count(Kind::RedeemedUnclaimed);
            if !outwaited && !spend_failed && !robbed && !slept && !renewal_failed {
                self.breach("19", "a code is presented without the right to spend what it replaces", || {
                    format!("a{name}")
                });
            }
        }
        let known = self.processes[pid.process].slots[identity].known.version.map(|version| version.epoch);
        if known.is_some_and(|known| known > base) || logged_out == Some(base) {
            self.breach("19", "a code is presented after its epoch is over", || {
                format!("a{name}: {base:?}, {known:?}")
            });
        }
    }

    /// A code leaves. It never left before.
    pub(crate) fn check_code_sent(&mut self, pid: Pid, id: AttemptId, code: usize, pending: &PendingLogin) {
        let name = self.attempt_name(pid, id);
        let Some(known) = self.codes.get(code).cloned() else { return };
        if known.presented > 0 {
            self.breach("19", "a code is presented again", || format!("{name}: code-{code}"));
        }
        if self.identities[known.identity] != pending.identity {
            self.breach("19", "a code is presented for another identity", || format!("{name}: code-{code}"));
        }
    }

    /// A pending login was taken out, or not.
    pub(crate) fn note_taken(&mut self, asker: Asker, key: LoginKey, found: bool) {
        if let Asker::Attempt(pid, id) = asker
            && found
            && let Some(run) = self.attempt_mut(pid, id)
        {
            run.facts.taken = Some(key);
        }
    }

    /// An attempt reports to its session.
    pub(crate) fn note_login_report(&mut self, pid: Pid, id: AttemptId, report: &LoginReport) {
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let (identity, name, took_over) = (run.identity, run.name, run.facts.took_over);
        match report {
            LoginReport::Seen(_) => {}
            LoginReport::Offered(key, _) => {
                run.facts.open = Some(*key);
                self.count(if took_over { Kind::TakenOver } else { Kind::Shown });
                self.check_one_prompt(pid, id, identity);
            }
            LoginReport::Elsewhere => self.count(Kind::Followed),
            LoginReport::Arriving => run.facts.arriving = true,
            LoginReport::Concluded(conclusion) => {
                (run.facts.arriving, run.facts.open) = (false, None);
                if run.facts.concluded.replace(conclusion.result).is_some() {
                    return self.breach("7", "an attempt concludes twice", || format!("a{name}"));
                }
                run.facts.unstored = conclusion.unstored.is_some();
                self.check_conclusion(pid, id, conclusion.result, conclusion.unstored.is_some());
            }
            LoginReport::Settled(_) => run.facts.settled = true,
            LoginReport::Lost => {
                run.facts.lost = true;
                self.count(Kind::LoginLost);
            }
        }
    }

    /// Law 17: over all processes one request is shown, except by one that does not know that its claim has run out, because
    /// it stood still or could not renew it, or because the store forgot the claim.
    fn check_one_prompt(&mut self, pid: Pid, id: AttemptId, identity: usize) {
        let mut beside = Vec::new();
        let excused = self.may_have_lost_claim(pid, id, identity);
        for (number, process) in self.processes.iter().enumerate().filter(|(_, process)| process.up) {
            let shows = |run: &&AttemptRun| run.identity == identity && run.facts.open.is_some();
            for (other, run) in process.attempts.iter().filter(|(other, run)| **other != id && shows(run)) {
                let other_pid = self.pid(number);
                let lost = excused || self.may_have_lost_claim(other_pid, *other, identity);
                beside.push((number, run.name, !lost));
            }
        }
        let name = self.attempt_name(pid, id);
        match beside.iter().find(|(.., forbidden)| *forbidden) {
            Some((process, other, _)) => self.breach("17", "two requests to one person are shown", || {
                format!("{name} of p{} beside a{other} of p{process}", pid.process)
            }),
            None if !beside.is_empty() => self.count(Kind::ShownBeside),
            None => {}
        }
    }

    /// Whether an attempt has lost its claim and may not know it.
    fn may_have_lost_claim(&self, pid: Pid, id: AttemptId, identity: usize) -> bool {
        let process = &self.processes[pid.process];
        let holder = id.holder();
        let holds = self.store.holds(identity, ClaimScope::Login, holder, self.t);
        let stood = process.stood.1 > 0 && self.t < process.stood.1 + CLAIM_SETTLES;
        let robbed = self.store.robbed.contains(&holder);
        let failed = process.attempts.get(&id).is_some_and(|run| run.facts.renewal_failed);
        self.config.is_leased() && !holds && (robbed || stood || failed)
    }

    fn check_conclusion(&mut self, pid: Pid, id: AttemptId, result: Result<(), LoginReason>, unstored: bool) {
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let (name, identity, save_failed, declined) =
            (run.name, run.identity, run.facts.save_failed, run.facts.declined);
        let (issued, first_read) = (run.facts.issued, run.facts.first_read.filter(|_| !run.facts.unsure_read));
        match result {
            Ok(()) if unstored => {
                self.count(Kind::LoginUnstored);
                if !save_failed {
                    self.breach("4", "a login is served before its store was tried", || format!("a{name}"));
                }
                if let Some(at) = issued.and_then(|issued| issued.at) {
                    self.server.ats[at].save_failed = true;
                }
            }
            Ok(()) if issued.is_some_and(|issued| issued.stored) => self.count(Kind::AttemptSignedIn),
            // The login is not stored, and its server gave no access token to serve meanwhile.
            Ok(()) => {
                if !save_failed || issued.is_none() {
                    self.breach("21", "a login is said to be installed and is not", || format!("a{name}"));
                }
            }
            Err(LoginReason::Denied) => {
                let prompt = self.store.record(identity).and_then(|record| record.prompt.clone());
                let said_no =
                    prompt.is_none_or(|prompt| first_read.is_none_or(|since| prompt.revision.number() > since));
                if !declined && !said_no {
                    self.breach("17", "an attempt takes the answer to an earlier question", || format!("a{name}"));
                }
                if !declined {
                    self.count(Kind::NoShared);
                }
            }
            Err(LoginReason::Superseded) if issued.is_some() => self.count(Kind::LoginDropped),
            Err(LoginReason::SubjectChanged) => self.count(Kind::LoginOtherSubject),
            Err(LoginReason::LoggedOut) => self.count(Kind::AttemptLoggedOut),
            Err(LoginReason::TimedOut) => self.count(Kind::AttemptTimedOut),
            Err(LoginReason::ShuttingDown) => self.count(Kind::AttemptShutDown),
            Err(_) => {}
        }
    }

    /// Law 21: tokens that a login obtained are stored, revoked, dropped because another login or logout came first, or lost
    /// with their process. No claim outlives its attempt.
    pub(crate) fn check_attempt_over(&mut self, pid: Pid, id: AttemptId) {
        let Some(run) = self.attempt_mut(pid, id) else { return };
        let (name, facts) = (run.name, &run.facts);
        let unheard = facts.concluded.is_none() && !facts.lost;
        let (identity, holder, claims) = (run.identity, id.holder(), facts.claims.clone());
        let kept = facts.issued.is_none_or(|issued| issued.stored || issued.revoked || facts.conflict || facts.lost);
        if !kept {
            self.breach("21", "tokens that a login obtained are dropped", || format!("a{name}"));
        }
        if unheard {
            self.breach("7", "an attempt ends without a conclusion", || format!("a{name}"));
        }
        if claims.iter().any(|claim| self.store.holds(identity, claim.scope, holder, self.t)) {
            self.breach("17", "an attempt leaves its claim behind", || format!("a{name}"));
        }
    }

    /// A process dies with its attempts.
    pub(crate) fn attempts_died(&mut self, process: usize) {
        let runs = std::mem::take(&mut self.processes[process].attempts);
        for (id, run) in &runs {
            self.truth.attempt_over(*id);
            self.note_attempt_died(run);
        }
    }

    pub(crate) fn note_attempt_died(&mut self, run: &AttemptRun) {
        if run.facts.redeeming {
            self.count(Kind::RedeemerDied);
        } else if run.facts.open.is_some() {
            self.count(Kind::AskerDied);
        }
        if run.facts.issued.is_some_and(|issued| !issued.stored && !issued.revoked) && !run.facts.conflict {
            self.count(Kind::LoginLostInCrash);
        }
    }

    /// Laws 10, 19 and 25: nothing of an epoch is presented while a code that replaces it is being redeemed under the right
    /// to spend.
    pub(crate) fn check_beside_redemption(&mut self, identity: usize, epoch: Epoch, name: u32) {
        let scope = ClaimScope::Spend(epoch);
        let redeems =
            |run: &AttemptRun| run.identity == identity && run.facts.redeeming && run.facts.base == Some(epoch);
        let mut beside = None;
        for process in self.processes.iter().filter(|process| process.up) {
            for (id, _) in process.attempts.iter().filter(|(_, run)| redeems(run)) {
                beside = beside.max(Some(self.store.holds(identity, scope, id.holder(), self.t)));
            }
        }
        match beside {
            Some(true) => self.breach("25", "a token is presented while its login is replaced", || format!("f{name}")),
            Some(false) => self.count(Kind::PresentedBeside),
            None => {}
        }
    }
}
