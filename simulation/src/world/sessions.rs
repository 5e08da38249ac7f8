//! The driver of actors. It hands messages to session machines, and carries out their effects in order.

use tokenkeeper_actors::law::flight::{FlightEvent, Op};
use tokenkeeper_actors::law::session::{
    Ask, Birth, RefusalAnswer, ReplyId, Session, SessionEffect, SessionEvent, WaiterId,
};
use tokenkeeper_actors::values::{ElapsedTime, FlightId};

use super::{Asker, Call, Item, World};
use crate::Planted;
use crate::laws::answers::Occasion;
use crate::process::{Actor, ActorId, Awaited, Mail, Pid, Slot};
use crate::rng::{For, join};
use crate::tally::Kind;

impl World {
    fn actor_id(&self, pid: Pid, identity: usize) -> Option<ActorId> {
        let actor = self.processes[pid.process].slots[identity].actor.as_ref()?;
        Some(ActorId { pid, identity, incarnation: actor.incarnation })
    }

    pub(crate) fn slot(&mut self, actor: ActorId) -> &mut Slot {
        &mut self.processes[actor.pid.process].slots[actor.identity]
    }

    pub(crate) fn actor(&mut self, id: ActorId) -> Option<&mut Actor> {
        let process = &mut self.processes[id.pid.process];
        let alive = process.up && process.life == id.pid.life;
        process.slots[id.identity].actor.as_mut().filter(|actor| alive && actor.incarnation == id.incarnation)
    }

    /// Sends a message to an identity's actor. Starts an actor if there is none.
    pub(crate) fn mail(&mut self, pid: Pid, identity: usize, mail: Mail) {
        match self.actor_id(pid, identity) {
            Some(id) => self.mail_to_incarnation(id, mail),
            None => {
                let slot = &mut self.processes[pid.process].slots[identity];
                slot.parked.push_back(mail);
                if !slot.starting {
                    slot.starting = true;
                    let key = join(join(pid.process as u64, u64::from(pid.life)), u64::from(slot.incarnations));
                    let wait = self.rng(For::Mail, key).weigh(&[(6, 0), (2, 4), (1, 60)]);
                    self.queue.push(self.t + wait, Item::Birth(pid, identity));
                }
            }
        }
    }

    /// Sends a message to one incarnation of an actor. The message is lost if that incarnation is gone.
    pub(crate) fn mail_to_incarnation(&mut self, id: ActorId, mail: Mail) {
        if let Some(actor) = self.actor(id) {
            actor.mailbox.push_back(mail);
            self.schedule_mail(id);
        }
    }

    fn schedule_mail(&mut self, id: ActorId) {
        let key = join(self.step, id.identity as u64);
        let sluggish = self.weather().sluggish;
        let mut rng = self.rng(For::Mail, join(key, id.pid.process as u64));
        let Some(actor) = self.actor(id) else { return };
        if actor.scheduled || actor.mailbox.is_empty() {
            return;
        }
        actor.scheduled = true;
        let wait = if rng.chance(sluggish / 4) { rng.below(400) } else { rng.weigh(&[(8, 0), (2, 1), (1, 3)]) };
        self.queue.push(self.t + wait, Item::Mail(id));
    }

    /// Notifies an identity's actor of a report in its slot. Without an actor, the next one finds the report there.
    pub(crate) fn nudge(&mut self, pid: Pid, identity: usize) {
        if let Some(id) = self.actor_id(pid, identity) {
            self.mail_to_incarnation(id, Mail::Report);
        }
    }

    /// The same for a report of a login attempt.
    pub(crate) fn nudge_login(&mut self, pid: Pid, identity: usize) {
        if let Some(id) = self.actor_id(pid, identity) {
            self.mail_to_incarnation(id, Mail::LoginReport);
        }
    }

    pub(crate) fn throttled(&mut self, pid: Pid, until: ElapsedTime) {
        for identity in 0..self.config.identities {
            if let Some(id) = self.actor_id(pid, identity) {
                self.mail_to_incarnation(id, Mail::Throttled(until));
            }
        }
    }

    /// An actor starts, and continues from the slot's content.
    pub(crate) fn birth(&mut self, pid: Pid, identity: usize) {
        let now = self.now(pid.process);
        let (nonce, stopping) = (self.processes[pid.process].nonce, self.processes[pid.process].stopping);
        let slot = &mut self.processes[pid.process].slots[identity];
        slot.starting = false;
        if slot.actor.is_some() {
            return;
        }
        slot.incarnations += 1;
        let incarnation = slot.incarnations;
        let mut residue = slot.published.residue.clone();
        if self.planted == Some(Planted::FloorForgotten) {
            residue.floor = None;
        }
        let attached = residue.flight.is_some();
        slot.known.reborn();
        let mut mailbox = std::mem::take(&mut slot.parked);
        let reports = slot.reports.len();
        let login_reports = slot.login_reports.len();
        // Reports that arrived meanwhile come first.
        (0..login_reports).for_each(|_| mailbox.push_front(Mail::LoginReport));
        (0..reports).for_each(|_| mailbox.push_front(Mail::Report));
        if stopping {
            // The supervisor forwards the stop to each actor that it still has to start.
            mailbox.push_front(Mail::Shutdown);
        }
        let name = join(join(pid.process as u64, u64::from(pid.life)), join(identity as u64, u64::from(incarnation)));
        let high = u128::from(self.rng(For::Names, name).next());
        let birth = Birth { nonce, flights: FlightId(high << 64) };
        let (machine, effects) = Session::start(self.config.policy.clone(), birth, residue, now);
        let actor = Actor {
            machine,
            incarnation,
            mailbox,
            scheduled: false,
            waiters: Default::default(),
            replies: Default::default(),
            next_id: 0,
            wake: None,
            ticks: 0,
            ops: 0,
            reading: None,
            read: Op(0),
        };
        self.processes[pid.process].slots[identity].actor = Some(actor);
        self.tell(|| format!("p{} i{identity}", pid.process), |_| format!("actor {incarnation} starts"));
        if incarnation > 1 {
            self.count(Kind::Incarnation);
        }
        if attached {
            self.count(Kind::Attached);
        }
        let id = ActorId { pid, identity, incarnation };
        self.carry_out_session(id, Occasion::Other, effects);
        self.schedule_mail(id);
    }

    /// An actor is killed with its mailbox. Callers that wait for its answer learn of it.
    pub(crate) fn kill_actor(&mut self, pid: Pid, identity: usize) {
        let Some(actor) = self.processes[pid.process].slots[identity].actor.take() else { return };
        self.tell(|| format!("p{} i{identity}", pid.process), |_| format!("actor {} is killed", actor.incarnation));
        for caller in actor.waiters.into_values() {
            self.caller_dropped(caller);
        }
        for awaited in actor.replies.into_values() {
            match awaited {
                Awaited::Refusal(caller, _) => self.caller_dropped(caller),
                Awaited::Login(seeker) => self.seeker_dropped(seeker),
                _ => {}
            }
        }
        for mail in actor.mailbox {
            match mail {
                Mail::Ask(caller) | Mail::Refuse(caller, _) => self.caller_dropped(caller),
                Mail::Login(seeker) => self.seeker_dropped(seeker),
                // The supervisor ordered the stop, so the next actor gets it too.
                Mail::Shutdown => self.processes[pid.process].slots[identity].parked.push_back(Mail::Shutdown),
                _ => {}
            }
        }
    }

    pub(crate) fn take_mail(&mut self, id: ActorId) {
        let Some(actor) = self.actor(id) else { return };
        actor.scheduled = false;
        let Some(mail) = actor.mailbox.pop_front() else { return };
        self.process_mail(id, mail);
        self.schedule_mail(id);
    }

    fn process_mail(&mut self, id: ActorId, mail: Mail) {
        let event = match mail {
            Mail::Ask(caller) => return self.asked(id, caller),
            Mail::Gone(caller) => {
                let Some(actor) = self.actor(id) else { return };
                let waiter = actor.waiters.iter().find(|(_, other)| **other == caller).map(|(waiter, _)| *waiter);
                let Some(waiter) = waiter else { return };
                actor.waiters.remove(&waiter);
                self.count(Kind::WaiterGone);
                SessionEvent::WaiterGone(waiter)
            }
            Mail::Refuse(caller, refusal) => {
                let reply = self.reply_id(id, Awaited::Refusal(caller, refusal));
                SessionEvent::Invalidate(reply, refusal)
            }
            Mail::Install { login, rt, tries } => {
                let reply = self.reply_id(id, Awaited::Install { rt, tries });
                SessionEvent::Install(reply, login)
            }
            Mail::Logout => {
                let reply = self.reply_id(id, Awaited::Logout { since: self.step });
                self.note_logout_begun(id);
                SessionEvent::Logout(reply)
            }
            Mail::Configure(plan) => SessionEvent::Configure(self.reply_id(id, Awaited::Configure), plan),
            Mail::Issuers(issuers) => {
                self.note_issuers(id, &issuers);
                SessionEvent::IssuersListed(issuers)
            }
            Mail::Loaded(op, answer) => {
                let late = self.t.saturating_sub(crate::laws::STORE_PATIENCE);
                let awaited = self.actor(id).filter(|actor| actor.read == op);
                let since = awaited.and_then(|actor| actor.reading.take());
                self.note_loaded(id, &answer, since.is_some_and(|since| since > late));
                SessionEvent::Loaded(op, answer)
            }
            Mail::Changed(op, answer) => {
                self.note_changed(id, &answer);
                SessionEvent::Changed(op, *answer)
            }
            Mail::Reserved(op, answer) => {
                if answer.is_err() {
                    self.note_store_trouble(id);
                }
                SessionEvent::Reserved(op, answer)
            }
            Mail::Report => return self.take_report(id),
            Mail::LoginReport => return self.take_login_report(id),
            Mail::Login(seeker) => return self.sought(id, seeker),
            Mail::Tick(tick) => {
                if self.actor(id).is_none_or(|actor| actor.ticks != tick) {
                    return;
                }
                return self.tick_actor(id);
            }
            Mail::StoreChanged => SessionEvent::StoreChanged,
            Mail::Throttled(until) => {
                self.slot(id).known.throttled(until);
                SessionEvent::Throttled(until)
            }
            Mail::Resumed => SessionEvent::Resumed,
            Mail::Shutdown => {
                self.slot(id).known.stopping = true;
                SessionEvent::Shutdown
            }
        };
        let now = self.now(id.pid.process);
        let Some(actor) = self.actor(id) else { return };
        let effects = actor.machine.handle(event, now);
        self.note_logout_refused(id, &effects);
        self.carry_out_session(id, Occasion::Other, effects);
    }

    fn asked(&mut self, id: ActorId, caller: usize) {
        let waiter = WaiterId(self.next_id(id));
        if let Some(actor) = self.actor(id) {
            actor.waiters.insert(waiter, caller);
        }
        let ask = self.callers[caller].ask();
        self.callers[caller].handled = self.step;
        let now = self.now(id.pid.process);
        let Some(actor) = self.actor(id) else { return };
        let effects = actor.machine.handle(SessionEvent::GetToken(waiter, ask), now);
        self.carry_out_session(id, Occasion::Asked(waiter, ask), effects);
    }

    fn take_report(&mut self, id: ActorId) {
        let Some((flight, report)) = self.slot(id).reports.pop_front() else { return };
        let occasion = self.note_reported(id, flight, report.as_ref());
        let event = match report {
            Some(report) => SessionEvent::Flight(flight, report),
            None => SessionEvent::FlightOver(flight),
        };
        let now = self.now(id.pid.process);
        let Some(actor) = self.actor(id) else { return };
        let effects = actor.machine.handle(event, now);
        self.carry_out_session(id, occasion, effects);
    }

    fn take_login_report(&mut self, id: ActorId) {
        let Some((attempt, report)) = self.slot(id).login_reports.pop_front() else { return };
        self.note_login_reported(id, attempt, report.as_ref());
        let event = match report {
            Some(report) => SessionEvent::Attempt(attempt, Box::new(report)),
            None => SessionEvent::AttemptOver(attempt),
        };
        let now = self.now(id.pid.process);
        let Some(actor) = self.actor(id) else { return };
        let effects = actor.machine.handle(event, now);
        self.carry_out_session(id, Occasion::Other, effects);
    }

    /// A seeker's request reaches the session.
    fn sought(&mut self, id: ActorId, seeker: usize) {
        let reply = self.reply_id(id, Awaited::Login(seeker));
        let request = self.seekers[seeker].request.clone();
        let now = self.now(id.pid.process);
        let Some(actor) = self.actor(id) else { return };
        let effects = actor.machine.handle(SessionEvent::Login(reply, Box::new(request)), now);
        self.note_sought(id, seeker, &effects);
        self.carry_out_session(id, Occasion::Other, effects);
    }

    pub(crate) fn actor_tick(&mut self, id: ActorId, tick: u32) {
        if self.actor(id).is_some_and(|actor| actor.ticks == tick) {
            self.mail_to_incarnation(id, Mail::Tick(tick));
        }
    }

    fn tick_actor(&mut self, id: ActorId) {
        let now = self.now(id.pid.process);
        if std::mem::take(&mut self.slot(id).used) {
            let Some(actor) = self.actor(id) else { return };
            let effects = actor.machine.handle(SessionEvent::Used, now);
            self.carry_out_session(id, Occasion::Other, effects);
        }
        let overdue = self.t.saturating_sub(crate::laws::PATIENCE_WITH_STORE);
        if self.actor(id).is_some_and(|actor| actor.reading.is_some_and(|since| since <= overdue)) {
            self.note_store_trouble(id);
        }
        let now = self.now(id.pid.process);
        let Some(actor) = self.actor(id) else { return };
        actor.wake = None;
        let effects = actor.machine.handle(SessionEvent::Tick, now);
        self.carry_out_session(id, Occasion::Tick(now.elapsed()), effects);
    }

    fn next_id(&mut self, id: ActorId) -> u64 {
        let Some(actor) = self.actor(id) else { return 0 };
        actor.next_id += 1;
        actor.next_id
    }

    fn reply_id(&mut self, id: ActorId, awaited: Awaited) -> ReplyId {
        let reply = ReplyId(self.next_id(id));
        if let Some(actor) = self.actor(id) {
            actor.replies.insert(reply, awaited);
        }
        reply
    }

    fn carry_out_session(&mut self, id: ActorId, occasion: Occasion, effects: Vec<SessionEffect>) {
        self.check_session_effects(id, &occasion, &effects);
        for effect in effects {
            if self.breach.is_some() || self.spring_session(id, &effect) || self.actor(id).is_none() {
                return;
            }
            self.carry_out_session_effect(id, effect);
        }
        self.check_session(id, &occasion);
        self.set_timer(id);
    }

    fn set_timer(&mut self, id: ActorId) {
        let host = self.processes[id.pid.process].host;
        let Some(actor) = self.actor(id) else { return };
        let wake = actor.machine.next_wake();
        if wake == actor.wake {
            return;
        }
        actor.wake = wake;
        actor.ticks += 1;
        let ticks = actor.ticks;
        if let Some(wake) = wake {
            let late = self.rng(For::Tick, join(self.step, u64::from(ticks))).below(super::flights::TICK);
            let due = self.hosts[host].when(wake).max(self.t) + late;
            self.queue.push(due, Item::ActorTick(id, ticks));
        }
    }

    fn carry_out_session_effect(&mut self, id: ActorId, effect: SessionEffect) {
        let (pid, identity) = (id.pid, id.identity);
        self.tell(|| format!("p{} i{identity}", pid.process), |_| crate::narrate::session_effect(&effect));
        let key = |world: &mut Self| {
            let ops = world.actor(id).map_or(0, |actor| {
                actor.ops += 1;
                actor.ops
            });
            let name = join(join(pid.process as u64, u64::from(pid.life)), identity as u64);
            join(join(name, u64::from(id.incarnation)), ops)
        };
        let asker = Asker::Actor(id);
        match effect {
            SessionEffect::Publish(published) => {
                self.check_published(id, &published);
                self.slot(id).published = *published;
            }
            SessionEffect::Answer(waiter, answer) => {
                let Some(caller) = self.actor(id).and_then(|actor| actor.waiters.remove(&waiter)) else {
                    return self.breach("7", "a waiter is answered that does not wait", || format!("{waiter:?}"));
                };
                self.check_answer(pid, identity, caller, &answer);
                self.caller_answered(caller, answer);
                if self.planted == Some(Planted::AnsweredTwice) && waiter.0.is_multiple_of(5) {
                    self.carry_out_session_effect(
                        id,
                        SessionEffect::Answer(
                            waiter,
                            Err(tokenkeeper_actors::values::TokenError::new(
                                tokenkeeper_actors::values::Reason::Aborted,
                            )),
                        ),
                    );
                }
            }
            SessionEffect::AnswerRefusal(reply, answer) => {
                let Some(Awaited::Refusal(caller, refusal)) = self.take_reply(id, reply) else { return };
                self.check_refusal_answer(id, caller, refusal, answer);
                match answer {
                    RefusalAnswer::Noted => self.count(Kind::RefusalNoted),
                    RefusalAnswer::Superseded => self.count(Kind::LateRefusal),
                    RefusalAnswer::Futile(_) => self.count(Kind::Futile),
                    RefusalAnswer::Unknown => {}
                }
                self.refusal_answered(caller, answer);
            }
            SessionEffect::AnswerInstall(reply, answer) => {
                let Some(Awaited::Install { rt, tries }) = self.take_reply(id, reply) else { return };
                self.check_install_answer(id, rt, &answer);
                self.install_answered(id, tries, answer.err());
            }
            SessionEffect::AnswerLogout(reply, answer) => {
                let Some(Awaited::Logout { since }) = self.take_reply(id, reply) else { return };
                self.check_logout_answer(id, since, &answer);
                self.count(if answer.is_ok() { Kind::LoggedOut } else { Kind::LogoutNotDurable });
            }
            SessionEffect::AnswerConfigure(reply, answer) => {
                let Some(Awaited::Configure) = self.take_reply(id, reply) else { return };
                self.check_configure_answer(id, &answer);
            }
            SessionEffect::AnswerLogin(reply, answer) => {
                let Some(Awaited::Login(seeker)) = self.take_reply(id, reply) else { return };
                self.check_login_answer(id, seeker, &answer);
                self.seeker_answered(seeker, answer);
            }
            SessionEffect::SignIn(order) => {
                self.check_login_order(id, &order);
                self.sign_in(pid, identity, *order);
            }
            SessionEffect::TellAttempt(attempt, event) => self.tell_attempt(pid, attempt, *event),
            SessionEffect::DropLogins => {
                let key = key(self);
                self.begin_op(Asker::Driver(pid), identity, Op(0), Call::DropLogins, key);
            }
            SessionEffect::Load(op) => {
                let (key, t) = (key(self), self.t);
                if let Some(actor) = self.actor(id) {
                    actor.reading = Some(t);
                    actor.read = op;
                }
                self.begin_op(asker, identity, op, Call::Load, key);
            }
            SessionEffect::Fly(order) => self.fly(pid, identity, *order),
            SessionEffect::TellLoggedOut(flight, epoch) => {
                if let Some(run) = self.processes[pid.process].flights.get_mut(&flight) {
                    run.facts.logged_out = Some(epoch);
                }
                self.tell_flight(pid, flight, FlightEvent::LoggedOut(epoch));
            }
            SessionEffect::Reserve(op, digest) => {
                let key = key(self);
                self.begin_op(asker, identity, op, Call::Reserve(digest), key);
            }
            SessionEffect::Change(op, change) => {
                let key = key(self);
                self.check_change(asker, identity, &change);
                self.begin_op(asker, identity, op, Call::Change(*change), key);
            }
            SessionEffect::Note(_, failure) => {
                self.count(if failure.retrying { Kind::WaitedOn } else { Kind::FailedAll });
            }
            SessionEffect::Revoke(revocation) => {
                let key = key(self);
                self.begin_revocation(&revocation, key);
            }
        }
    }

    fn take_reply(&mut self, id: ActorId, reply: ReplyId) -> Option<Awaited> {
        let awaited = self.actor(id).and_then(|actor| actor.replies.remove(&reply));
        if awaited.is_none() {
            self.breach("7", "a reply is given that nobody awaits", || format!("{reply:?}"));
        }
        awaited
    }
}

/// A caller's request in the form that its handle gives it.
pub(crate) fn ask(asked: ElapsedTime, spec: &crate::plan::CallerSpec) -> Ask {
    Ask {
        asked,
        timeout: std::time::Duration::from_millis(spec.timeout),
        min_lifetime: std::time::Duration::from_millis(spec.min_lifetime),
        force: spec.force,
        fail_fast: spec.fail_fast,
    }
}
