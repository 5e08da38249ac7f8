//! Carrying effects out, over a store in memory.

use tokenkeeper_actors::law::ledger::{Change, Changed, apply};
use tokenkeeper_actors::law::login::{LoginEffect, LoginEvent, LoginReport};
use tokenkeeper_actors::ports::login::{IssuedLogin, Polled, Redeemed};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed, Reservation};
use tokenkeeper_actors::values::record::{Content, Record};
use tokenkeeper_actors::values::{Epoch, FlightId, LoginReason, Revision, StoreFault};

use super::fixtures::{another_identity, attempt, import};
use super::rules::{Rule, name};
use super::server::Server;
use super::world::{Item, World};

impl World {
    /// Carries an effect out, as the first rule for it says.
    pub(crate) fn carry_out(&mut self, who: char, effect: LoginEffect) {
        let name = name(&effect);
        let found = self.rules.iter().position(|(of, named, _)| *of == who && *named == name);
        let rule = found.map(|at| self.rules.remove(at).2).or_else(|| self.fate(&effect));
        match rule {
            None => self.carry_out_now(who, effect),
            Some(Rule::Hold) => self.process(who).held.push(effect),
            Some(Rule::Fail(fault)) => self.answer(who, failed(&effect, fault)),
            Some(Rule::LoseAnswer) => {
                let issued = self.issued.len();
                self.perform(who, effect.clone());
                // Tokens that did not arrive are none of the process.
                self.issued.truncate(issued);
                self.answer(who, lost(&effect));
            }
            Some(Rule::AnswerLate) => {
                let answer = self.perform(who, effect);
                self.process(who).late.extend(answer);
            }
            Some(Rule::AnswerTwice) => {
                let answer = self.perform(who, effect);
                self.answer(who, answer.clone());
                self.answer(who, answer);
            }
        }
    }

    pub(crate) fn carry_out_now(&mut self, who: char, effect: LoginEffect) {
        let answer = self.perform(who, effect);
        self.answer(who, answer);
    }

    fn answer(&mut self, who: char, event: Option<LoginEvent>) {
        self.queue.extend(event.map(|event| (who, Item::Event(event))));
    }

    /// Draws a rule for an effect that has an answer.
    fn fate(&mut self, effect: &LoginEffect) -> Option<Rule> {
        failed(effect, StoreFault::Failed)?;
        match self.tape.next()? {
            0..8 => Some(Rule::Fail(StoreFault::Failed)),
            8..12 => Some(Rule::Fail(StoreFault::TimedOut)),
            12..24 => Some(Rule::LoseAnswer),
            24..48 => Some(Rule::AnswerLate),
            48..64 => Some(Rule::Hold),
            64..72 => Some(Rule::AnswerTwice),
            _ => None,
        }
    }

    pub(crate) fn perform(&mut self, who: char, effect: LoginEffect) -> Option<LoginEvent> {
        self.process(who).done.push(name(&effect));
        if let Some(fault) = self.down.filter(|_| is_stored(&effect)) {
            return failed(&effect, fault);
        }
        Some(match effect {
            LoginEffect::Claim { op, scope, at_least } => {
                LoginEvent::Claimed(op, Ok(self.claims_for(attempt(who).holder(), scope, at_least)))
            }
            LoginEffect::Renew { op, claim, at_least } => {
                let now = self.now.elapsed();
                let held = self.claims.get_mut(&claim.scope);
                let held =
                    held.filter(|(holder, until)| *holder == claim.holder && until.is_none_or(|until| until > now));
                let length = self.lease.map(|lease| lease.max(at_least));
                let renewed = match held {
                    Some((_, until)) => {
                        *until = length.map(|length| now.after(length));
                        Renewed::Until(length)
                    }
                    None => Renewed::Lost,
                };
                LoginEvent::Renewed(op, Ok(renewed))
            }
            LoginEffect::EndClaim(claim) => {
                self.claims.retain(|scope, (holder, _)| *scope != claim.scope || *holder != claim.holder);
                return None;
            }
            LoginEffect::Load(op) if self.unreadable => LoginEvent::Loaded(op, Err(StoreFault::Unreadable)),
            LoginEffect::Load(op) => LoginEvent::Loaded(op, Ok(self.record.clone().map(Box::new))),
            LoginEffect::Prepare(op, preparation) => LoginEvent::Prepared(op, self.server.prepare(&preparation)),
            LoginEffect::Put(op, key, pending) => {
                self.logins.insert(key, *pending);
                LoginEvent::Put(op, Ok(()))
            }
            LoginEffect::Peek(op, key) => {
                let wall = self.now.moment.wall;
                let pending = self.logins.get(&key).filter(|login| login.expires > wall).cloned();
                LoginEvent::Peeked(op, Ok(pending.map(Box::new)))
            }
            LoginEffect::Take(op, key) => {
                let wall = self.now.moment.wall;
                let pending = self.logins.remove(&key).filter(|login| login.expires > wall);
                LoginEvent::Taken(op, Ok(pending.map(Box::new)))
            }
            LoginEffect::Discard(key) => {
                self.logins.remove(&key);
                return None;
            }
            LoginEffect::Show(op, pending) => {
                LoginEvent::Shown(op, self.server.offer(&pending, pending.attempt == attempt(who)))
            }
            LoginEffect::Judge(op, _, callback) => LoginEvent::Judged(op, Server::read(&callback)),
            LoginEffect::Redeem(op, redemption) => {
                let answer = self.server.redeem(&redemption, self.now.moment);
                if let Redeemed::Issued(issued) = &answer {
                    self.notes_issued(who, issued);
                }
                LoginEvent::Redeemed(op, answer)
            }
            LoginEffect::Poll(op, _) => {
                let answer = self.server.poll();
                if let Polled::Issued(issued) = &answer {
                    self.notes_issued(who, issued);
                }
                LoginEvent::Polled(op, answer)
            }
            LoginEffect::Reserve(op, digest) => {
                let held = self.held_elsewhere.contains(&digest);
                let reservation = if held { Reservation::HeldBy(another_identity()) } else { Reservation::Reserved };
                LoginEvent::Reserved(op, Ok(reservation))
            }
            LoginEffect::Change(op, change) => LoginEvent::Changed(op, self.changes(&change)),
            LoginEffect::Revoke(revocation) => {
                let refresh = revocation.refresh.as_ref().map(|refresh| refresh.token().expose().to_owned());
                self.revoked.extend(refresh);
                return None;
            }
            LoginEffect::Report(report) => {
                if let LoginReport::Offered(key, _) = &report {
                    self.shown.push((who, *key));
                }
                self.process(who).reports.push(report);
                return None;
            }
        })
    }

    fn notes_issued(&mut self, who: char, issued: &IssuedLogin) {
        let token = issued.refresh.as_ref().map(|token| token.expose().to_owned());
        self.issued.extend(token.map(|token| (who, token)));
    }

    /// A claim for `holder`, which may be a flight of another machine.
    pub(crate) fn claims_for(
        &mut self,
        holder: FlightId,
        scope: ClaimScope,
        at_least: std::time::Duration,
    ) -> ClaimAnswer {
        let now = self.now.elapsed();
        match self.claims.get(&scope) {
            Some((by, until)) if *by != holder && until.is_none_or(|until| until > now) => ClaimAnswer::Contended,
            _ => {
                let remaining = self.lease.map(|lease| lease.max(at_least));
                self.claims.insert(scope, (holder, remaining.map(|remaining| now.after(remaining))));
                ClaimAnswer::Granted(Claim { holder, scope, remaining, predecessor: Predecessor::Gone })
            }
        }
    }

    /// Applies a change as the file store does, damaged records included. All processes hear of it.
    pub(crate) fn changes(&mut self, change: &Change) -> Result<Changed, StoreFault> {
        let before = self.record.clone().filter(|_| !self.unreadable);
        let unknown = self.unreadable.then(|| unknown(self.now.moment.wall.as_millis() / 1_000));
        if self.unreadable && !matches!(change, Change::Install(_)) {
            return Err(StoreFault::Unreadable);
        }
        let after = match apply(unknown.as_ref().or(before.as_ref()), change) {
            Ok(after) => after,
            Err(why) => return Ok(Changed::Conflict { why, current: before.map(Box::new) }),
        };
        self.record = Some(after.clone());
        self.ever_stored.extend(self.stored().map(str::to_owned));
        self.unreadable = false;
        for who in self.processes.keys().copied().filter(|who| !self.deaf.contains(who)) {
            self.queue.push_back((who, Item::Event(LoginEvent::News)));
        }
        Ok(Changed::Applied { before: before.map(Box::new), after: Box::new(after) })
    }

    /// A write that is none of the attempts'. It must apply.
    pub(crate) fn writes(&mut self, change: Change) {
        let changed = self.changes(&change).unwrap();
        assert!(matches!(changed, Changed::Applied { .. }), "{change:?} meets {changed:?}");
        self.run();
    }

    /// Another process logs out, and its pending logins go.
    pub(crate) fn logs_out(&mut self) {
        self.logins.clear();
        self.writes(Change::Clear { epoch: self.epoch() });
    }

    /// Another process imports `rt-tag`.
    pub(crate) fn imports(&mut self, tag: &str) {
        self.writes(Change::Install(Box::new(import(tag, self.now.moment))));
    }
}

/// Stands for a record that cannot be read.
fn unknown(seconds: u64) -> Record {
    Record {
        epoch: Epoch::new(seconds),
        revision: Revision::new(seconds),
        number: seconds,
        dead: Default::default(),
        content: Content::Tombstone,
        prompt: None,
    }
}

/// Whether the store carries the effect out. Claims end in any case.
fn is_stored(effect: &LoginEffect) -> bool {
    !matches!(
        effect,
        LoginEffect::Prepare(..)
            | LoginEffect::Show(..)
            | LoginEffect::Judge(..)
            | LoginEffect::Redeem(..)
            | LoginEffect::Poll(..)
            | LoginEffect::Revoke(_)
            | LoginEffect::Report(_)
            | LoginEffect::EndClaim(_)
    )
}

/// The answer to an effect that was carried out, if the answer is lost.
fn lost(effect: &LoginEffect) -> Option<LoginEvent> {
    match effect {
        LoginEffect::Redeem(op, _) => Some(LoginEvent::Redeemed(*op, Redeemed::Lost)),
        effect => failed(effect, StoreFault::TimedOut),
    }
}

/// The answer to an effect that was not carried out. `None` if it has no answer.
fn failed(effect: &LoginEffect, fault: StoreFault) -> Option<LoginEvent> {
    Some(match effect {
        LoginEffect::Claim { op, .. } => LoginEvent::Claimed(*op, Err(fault)),
        LoginEffect::Renew { op, .. } => LoginEvent::Renewed(*op, Err(fault)),
        LoginEffect::Load(op) => LoginEvent::Loaded(*op, Err(fault)),
        LoginEffect::Prepare(op, _) => LoginEvent::Prepared(*op, Err(LoginReason::ServerTrouble)),
        LoginEffect::Put(op, ..) => LoginEvent::Put(*op, Err(fault)),
        LoginEffect::Peek(op, _) => LoginEvent::Peeked(*op, Err(fault)),
        LoginEffect::Take(op, _) => LoginEvent::Taken(*op, Err(fault)),
        LoginEffect::Show(op, _) => LoginEvent::Shown(*op, Err(LoginReason::ServerTrouble)),
        LoginEffect::Redeem(op, _) => LoginEvent::Redeemed(*op, Redeemed::NotSent),
        LoginEffect::Reserve(op, _) => LoginEvent::Reserved(*op, Err(fault)),
        LoginEffect::Change(op, _) => LoginEvent::Changed(*op, Err(fault)),
        LoginEffect::EndClaim(_)
        | LoginEffect::Discard(_)
        | LoginEffect::Judge(..)
        | LoginEffect::Poll(..)
        | LoginEffect::Revoke(_)
        | LoginEffect::Report(_) => return None,
    })
}
