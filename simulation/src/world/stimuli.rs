//! External events from people, operators and machines that stop.

use std::time::Duration;

use tokenkeeper_actors::law::flight::FlightEvent;
use tokenkeeper_actors::law::ledger::{Login, LoginAccess};
use tokenkeeper_actors::law::login::LoginEvent;
use tokenkeeper_actors::values::record::RefreshCredential;
use tokenkeeper_actors::values::{AccessToken, DpopKey, InstallError, Validity};

use super::{Item, World, issuer_name};
use crate::Millis;
use crate::plan::{LoginKind, Stimulus};
use crate::process::{ActorId, Mail, Pid};
use crate::rng::{For, join};
use crate::server::{Asked, End, Server};
use crate::tally::Kind;

impl World {
    pub(crate) fn stimulus(&mut self, what: Stimulus) {
        self.tell(|| "*".to_owned(), |_| format!("{what:?}"));
        let t = self.t;
        match what {
            Stimulus::Caller(spec) => self.new_caller(spec, false),
            Stimulus::Login { process, identity, kind } => self.login(process, identity, kind),
            Stimulus::Logout { process, identity } => self.person(process, identity, Mail::Logout),
            Stimulus::Configure { process, identity, plan } => {
                let plan = Box::new(self.config.plans()[plan].clone());
                self.person(process, identity, Mail::Configure(plan));
            }
            Stimulus::Issuers { process, identity, moved } => {
                let listed = if moved { vec![issuer_name(7)] } else { vec![issuer_name(1), issuer_name(0)] };
                self.person(process, identity, Mail::Issuers(listed));
            }
            Stimulus::KillSession { process, identity } => {
                if self.runs(self.pid(process)) {
                    self.kill_actor(self.pid(process), identity);
                    self.revive(self.pid(process), identity);
                }
            }
            Stimulus::BreakFlights { process } => {
                let pid = self.pid(process);
                if self.runs(pid) {
                    let flights: Vec<_> = self.processes[process].flights.keys().copied().collect();
                    flights.into_iter().for_each(|flight| self.break_flight(pid, flight));
                }
            }
            Stimulus::Crash { process, down } => self.crash(process, down),
            Stimulus::Shutdown { process, grace } => self.shut_down(process, grace),
            Stimulus::Pause { process, span } => self.pause(process, span),
            Stimulus::Suspend { host, span } => self.suspend(host, span),
            Stimulus::Reboot { host, down } => self.reboot(host, down),
            Stimulus::StepClock { host, by } => {
                self.hosts[host].step(t, by);
                self.count(if by < 0 { Kind::ClockBack } else { Kind::ClockAhead });
            }
            Stimulus::Throttle { process, span } => {
                let pid = self.pid(process);
                if self.runs(pid) {
                    let until = self.moment(process).elapsed.after(Duration::from_millis(span));
                    let throttled = &mut self.processes[process].permits.throttled;
                    let throttled = throttled.entry(Some(issuer_name(0))).or_default();
                    *throttled = until.max(*throttled);
                    self.throttled(pid, until);
                }
            }
            Stimulus::StoreTrouble { kind, span } => self.store_troubles.push((kind, t + span)),
            Stimulus::ServerTrouble { kind, span } => self.server_troubles.push((kind, t + span)),
            Stimulus::Caprice { operation, challenge, span } => {
                self.server.caprices.push((operation, challenge, t + span));
            }
            Stimulus::ForgetClaims => {
                if self.config.is_leased() {
                    let forgotten = self.store.forget_claims();
                    (0..forgotten).for_each(|_| self.count(Kind::ClaimForgotten));
                }
            }
            Stimulus::EndLineages { identity } => {
                for lineage in 0..self.server.lineages.len() {
                    if self.server.lineages[lineage].identity == identity {
                        self.server.end(lineage, End::Whim);
                    }
                }
            }
            Stimulus::EndAccess { identity } => {
                self.server.ats.iter_mut().filter(|at| at.identity == identity).for_each(|at| at.killed = true);
            }
            Stimulus::RejectClients => self.server.rejects_to = self.server.clients,
            Stimulus::AcceptClients => self.server.rejects_to = 0,
            Stimulus::WrongSubject => self.server.wrong_subject = true,
            Stimulus::LoseWatch { process, span } => self.processes[process].deaf_until = Some(t + span),
            Stimulus::Trap(trap) => self.traps.push(trap),
            Stimulus::LoginTrap(trap) => self.login_traps.push(trap),
            Stimulus::Seek(spec) => self.seek(spec),
            Stimulus::BreakAttempts { process } => {
                let pid = self.pid(process);
                if self.runs(pid) {
                    let attempts: Vec<_> = self.processes[process].attempts.keys().copied().collect();
                    attempts.into_iter().for_each(|attempt| self.break_attempt(pid, attempt));
                }
            }
            Stimulus::SessionTrap(point) => self.session_traps.push(point),
        }
    }

    /// Delivers a message that a person causes.
    fn person(&mut self, process: usize, identity: usize, mail: Mail) {
        if self.processes[process].up && !self.processes[process].stopping {
            self.mail(self.pid(process), identity, mail);
        }
    }

    fn login(&mut self, process: usize, identity: usize, kind: LoginKind) {
        if !self.processes[process].up || self.processes[process].stopping || self.config.repeatable() {
            return;
        }
        let (key, issuer) = (self.store.key.clone(), u8::from(kind == LoginKind::Elsewhere));
        let held = |world: &Self, identity: usize| world.store.record(identity).and_then(super::rt_of);
        let existing = match kind {
            LoginKind::Fresh | LoginKind::Elsewhere | LoginKind::WithoutRefresh => None,
            LoginKind::Held => held(self, identity),
            LoginKind::Foreign => held(self, (identity + 1) % self.config.identities),
            LoginKind::Dead => {
                let dead = self.store.record(identity).and_then(|record| record.dead.iter().last().copied());
                dead.and_then(|dead| self.server.rts.iter().position(|rt| rt.credential.digest() == dead))
            }
        };
        let rt = match existing {
            Some(rt) => rt,
            None => {
                self.server.clients += 1;
                let client = self.server.clients;
                self.server.sign_in(identity, issuer, client, &key)
            }
        };
        let login = self.new_login(process, identity, rt, kind != LoginKind::WithoutRefresh);
        let rt = login.refresh.is_some().then_some(rt);
        self.mail(self.pid(process), identity, Mail::Install { login: Box::new(login), rt, tries: 2 });
    }

    /// The tokens of a login. They are a refresh token and mostly an access token.
    pub(crate) fn new_login(&mut self, process: usize, identity: usize, rt: usize, with_refresh: bool) -> Login {
        let lineage = self.server.rts[rt].lineage;
        let (issuer, client) = (self.server.lineages[lineage].issuer, self.server.lineages[lineage].client);
        let mut rng = self.rng(For::Login, join(rt as u64, self.t));
        let moment = self.moment(process);
        let mut asked = Asked::nothing(identity, Default::default());
        (asked.sent, asked.boot) = (self.t, moment.boot);
        let alive = self.server.lineages[lineage].ended.is_none();
        let access = (alive && rng.chance(850)).then(|| {
            let (at, expires_in) = self.server.issue(&asked, Some(lineage), self.t, &mut rng);
            self.server.ats[at].flight = None;
            LoginAccess {
                token: AccessToken::new(Server::at_text(at)),
                kind: self.server.config.token_kind(),
                validity: Validity::new(moment, expires_in.map(Duration::from_secs)),
            }
        });
        let credential: RefreshCredential = self.server.rts[rt].credential.clone();
        Login {
            binding: self.binding(identity, issuer, client),
            requested: Self::scopes(),
            granted: Self::scopes(),
            subject: self
                .server
                .config
                .names_subject
                .then(|| super::authorizing::subject_name(self.server.lineages[lineage].subject)),
            // A server that asks for nonces is one whose tokens are bound to keys.
            dpop_key: self.server.config.nonces.then(|| DpopKey::new("dk")),
            renewal: self.config.renewal.clone(),
            refresh: with_refresh.then_some(credential),
            access,
            at: moment,
            begun_on: None,
        }
    }

    pub(crate) fn install_answered(&mut self, _id: ActorId, _tries: u8, error: Option<InstallError>) {
        self.count(match error {
            None => Kind::LoginInstalled,
            Some(InstallError::Marked) => Kind::LoginMarked,
            Some(InstallError::Refused | InstallError::Replaced | InstallError::Dead) => Kind::LoginDead,
            Some(InstallError::HeldElsewhere) => Kind::LoginElsewhere,
            Some(_) => Kind::LoginTroubled,
        });
    }

    /// Starts the next actor after an actor's end, if it has work to do. Work is a report, a running flight or
    /// login attempt, or a logout that is not stored yet.
    fn revive(&mut self, pid: Pid, identity: usize) {
        let slot = &self.processes[pid.process].slots[identity];
        if !slot.parked.is_empty()
            || !slot.reports.is_empty()
            || slot.published.residue.flight.is_some()
            || !slot.login_reports.is_empty()
            || !slot.published.residue.attempts.is_empty()
            || slot.published.residue.closing.is_some()
        {
            self.mail(pid, identity, Mail::StoreChanged);
        }
    }

    fn crash(&mut self, process: usize, down: Millis) {
        if !self.processes[process].up {
            return;
        }
        self.count(Kind::Crash);
        self.kill_process(process, down);
    }

    fn kill_process(&mut self, process: usize, down: Millis) {
        let life = self.processes[process].life;
        let unsaved = |run: &crate::process::FlightRun| run.facts.tokens.as_ref().is_some_and(|tokens| !tokens.saved);
        let lost = self.processes[process].flights.values().filter(|run| unsaved(run)).count();
        (0..lost).for_each(|_| self.count(Kind::LostInCrash));
        self.answers_lost(self.pid(process));
        let flights: Vec<_> = self.processes[process].flights.keys().copied().collect();
        flights.iter().for_each(|flight| self.truth.flight_over(*flight));
        self.attempts_died(process);
        let process_ = &mut self.processes[process];
        process_.up = false;
        process_.flights.clear();
        process_.attempts.clear();
        process_.slots.iter_mut().for_each(|slot| *slot = Default::default());
        self.store.process_died(process, life);
        for caller in self.callers.iter_mut().filter(|caller| caller.pid == Pid { process, life }) {
            caller.doing = super::callers::Doing::Done;
        }
        for seeker in self.seekers.iter_mut().filter(|seeker| seeker.pid == Pid { process, life }) {
            seeker.doing = crate::attempt::Seeking::Done;
        }
        self.tell(|| format!("p{process}"), |_| "dies".to_owned());
        self.queue.push(self.t + down.max(1), Item::Restart(process, life));
    }

    pub(crate) fn restart(&mut self, process: usize, life: u32) {
        if self.processes[process].up || self.processes[process].life != life {
            return;
        }
        let host = self.processes[process].host;
        if let Some(until) = self.hosts[host].asleep_until.filter(|until| *until > self.t) {
            return self.queue.push(until, Item::Restart(process, life));
        }
        self.processes[process] = self.new_process(process, life + 1);
        self.tell(|| format!("p{process}"), |_| "starts anew".to_owned());
    }

    fn shut_down(&mut self, process: usize, grace: Millis) {
        let pid = self.pid(process);
        if !self.runs(pid) || self.processes[process].stopping {
            return;
        }
        self.count(Kind::ShutDown);
        self.processes[process].stopping = true;
        for identity in 0..self.config.identities {
            let slot = &self.processes[process].slots[identity];
            if slot.actor.is_some() || slot.starting {
                self.mail(pid, identity, Mail::Shutdown);
            }
        }
        let since = self.moment(process).elapsed;
        let until = since.after(Duration::from_millis(grace));
        let flights: Vec<_> = self.processes[process].flights.keys().copied().collect();
        for flight in flights {
            if let Some(run) = self.processes[process].flights.get_mut(&flight) {
                run.facts.closing.get_or_insert((since, until));
            }
            self.tell_flight(pid, flight, FlightEvent::Shutdown(until));
        }
        let attempts: Vec<_> = self.processes[process].attempts.keys().copied().collect();
        for attempt in attempts {
            self.tell_attempt(pid, attempt, LoginEvent::Shutdown(until));
        }
        self.queue.push(self.t + grace, Item::Exit(pid));
    }

    /// A process that was shutting down has ended. Its unfinished work is dropped.
    pub(crate) fn exit(&mut self, pid: Pid) {
        self.check_exit(pid);
        self.kill_process(pid.process, 200);
    }

    pub(crate) fn pause(&mut self, process: usize, span: Millis) {
        if !self.processes[process].up {
            return;
        }
        self.count(Kind::Paused);
        let (t, until) = (self.t, self.t + span);
        let process = &mut self.processes[process];
        process.paused_until = process.paused_until.max(Some(until));
        process.stand_still(t, until);
    }

    fn suspend(&mut self, host: usize, span: Millis) {
        self.count(Kind::Suspended);
        let until = self.t + span;
        self.hosts[host].asleep_until = self.hosts[host].asleep_until.max(Some(until));
        for process in self.processes.iter_mut().filter(|process| process.host == host) {
            process.stand_still(self.t, until);
        }
        self.queue.push(until, Item::Wake(host));
    }

    fn reboot(&mut self, host: usize, down: Millis) {
        self.count(Kind::Rebooted);
        for process in 0..self.processes.len() {
            if self.processes[process].host == host && self.processes[process].up {
                self.kill_process(process, down + 500);
            }
        }
        self.hosts[host].reboot(self.t);
        self.hosts[host].asleep_until = Some(self.t + down);
    }

    /// A host wakes from suspend, and its processes notice.
    pub(crate) fn wake(&mut self, host: usize) {
        if self.hosts[host].asleep_until.is_some_and(|until| until > self.t) {
            return;
        }
        self.hosts[host].asleep_until = None;
        for process in 0..self.processes.len() {
            if self.processes[process].host != host || !self.processes[process].up {
                continue;
            }
            let pid = self.pid(process);
            for identity in 0..self.config.identities {
                if self.processes[process].slots[identity].actor.is_some() {
                    self.mail(pid, identity, Mail::Resumed);
                }
            }
        }
    }

    /// A record was written. Each process is notified sooner or later.
    pub(crate) fn spread_news(&mut self, identity: usize) {
        for process in 0..self.processes.len() {
            if !self.processes[process].up {
                continue;
            }
            let mut rng = self.rng(For::StoreEvent, join(self.step, process as u64));
            let flaky = self.config.flaky_watch && !self.healed;
            let wait = if flaky { rng.pick(&[1, 100, 3_000, 25_000]) } else { rng.below(700) };
            let pid = self.pid(process);
            self.queue.push(self.t + wait, Item::StoreEvent(pid, identity));
            if flaky && rng.chance(200) {
                self.queue.push(self.t + wait + rng.below(9_000), Item::StoreEvent(pid, identity));
            }
        }
    }

    pub(crate) fn news(&mut self, pid: Pid, identity: usize) {
        if let Some(until) = self.processes[pid.process].deaf_until.filter(|until| *until > self.t) {
            // The watch breaks, and reports it later. Every record may have changed.
            self.count(Kind::NewsLost);
            return self.queue.push(until, Item::StoreEvent(pid, identity));
        }
        let slot = &self.processes[pid.process].slots[identity];
        if slot.actor.is_some() || slot.incarnations > 0 {
            self.mail(pid, identity, Mail::StoreChanged);
        }
    }
}
