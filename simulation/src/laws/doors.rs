//! Laws 7, 17, 22 and 25 at the session's door to logins.

use std::time::Duration;

use tokenkeeper_actors::law::login::{LoginOrder, LoginReport, LoginTask};
use tokenkeeper_actors::law::session::{LoginCause, LoginProgress, LoginRequestKind, OperationKey, SessionEffect};
use tokenkeeper_actors::values::record::View;
use tokenkeeper_actors::values::{AttemptId, ElapsedTime, Epoch, Lease, LoginReason, Reason, Scopes, SignInError};

use super::answers::Occasion;
use crate::process::{ActorId, Awaited};
use crate::tally::Kind;
use crate::world::World;

/// How many logins are begun for one operation, and how long they are remembered (law 22).
const LOGINS: u32 = 3;
const MEMORY: Duration = Duration::from_secs(600);

impl World {
    /// A session was asked about a login, and begins an attempt or not.
    pub(crate) fn note_sought(&mut self, id: ActorId, seeker: usize, effects: &[SessionEffect]) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let Some(cause) = self.seekers[seeker].cause() else { return };
        let scopes = self.wanted_scopes(seeker);
        let order = effects.iter().find_map(|effect| match effect {
            SessionEffect::SignIn(order) => Some(order.attempt),
            _ => None,
        });
        let answered = effects.iter().find_map(|effect| match effect {
            SessionEffect::AnswerLogin(_, answer) => Some(answer.clone()),
            _ => None,
        });
        let unread = self.slot(id).known.version.is_none() && answered.is_none() && order.is_none();
        let logins = &mut self.slot(id).logins;
        match cause {
            _ if unread => logins.unsure = true,
            LoginCause::Person if answered == Some(Ok(LoginProgress::SignedIn)) => {}
            LoginCause::Person | LoginCause::Again => {
                logins.elevations.clear();
                logins.declined.clear();
                logins.served.clear();
            }
            LoginCause::Operation { operation, .. } => {
                let Some(attempt) = order else { return };
                logins.causes.push((attempt, operation, scopes.clone()));
                self.check_elevation(id, operation, &scopes, elapsed);
            }
        }
    }

    fn wanted_scopes(&self, seeker: usize) -> Scopes {
        match &self.seekers[seeker].request.kind {
            LoginRequestKind::Begin(wish, _) => wish.scopes.clone(),
            _ => Scopes::default(),
        }
    }

    /// Law 22: logins for one operation are bounded, and a declined scope is not asked for again at once.
    fn check_elevation(&mut self, id: ActorId, operation: OperationKey, scopes: &Scopes, elapsed: ElapsedTime) {
        let logins = &mut self.slot(id).logins;
        logins.elevations.retain(|(_, since, _)| since.after(MEMORY) > elapsed);
        let place = logins.elevations.iter().position(|(known, ..)| *known == operation);
        let place = place.unwrap_or_else(|| {
            logins.elevations.push((operation, elapsed, 0));
            logins.elevations.len() - 1
        });
        logins.elevations[place].2 += 1;
        let (count, unsure) = (logins.elevations[place].2, logins.unsure);
        let declined = logins
            .declined
            .iter()
            .any(|(scope, since)| since.after(MEMORY) > elapsed && scopes.iter().any(|wanted| wanted == scope));
        if unsure {
            return;
        }
        if count > LOGINS {
            self.breach("22", "too many logins are begun for one operation", || format!("{operation:?}: {count}"));
        }
        if declined {
            self.breach("22", "a scope is asked for that was declined a short time ago", || format!("{scopes:?}"));
        }
    }

    /// A session begins an attempt.
    pub(crate) fn check_login_order(&mut self, id: ActorId, order: &LoginOrder) {
        let is_asking = matches!(order.task, LoginTask::Ask(_));
        let slot = self.slot(id);
        let (beside, stopping) = (slot.logins.asking.len(), slot.known.stopping);
        if is_asking {
            slot.logins.asking.insert(order.attempt);
        }
        if stopping {
            self.breach("17", "a login begins while the runtime stops", || format!("{}", order.attempt));
        }
        if is_asking && beside > 0 {
            self.breach("17", "a login begins beside another one of its session", || format!("{}", order.attempt));
        }
        self.count(if is_asking { Kind::AttemptBegun } else { Kind::CompletionBegun });
    }

    /// A session receives a report of an attempt.
    pub(crate) fn note_login_reported(&mut self, id: ActorId, attempt: AttemptId, report: Option<&LoginReport>) {
        let (t, elapsed) = (self.t, self.moment(id.pid.process).elapsed);
        let slot = self.slot(id);
        // Before its first read, a session cannot compare the age of an attempt's view.
        let unread = slot.known.version.is_none();
        let saw = |known: &mut super::known::Known, view: &View| {
            if known.version.is_none_or(|version| version.epoch < view.version.epoch) {
                known.recover();
            }
            known.saw(view);
            known.lease.take_if(|_| unread);
        };
        match report {
            Some(LoginReport::Seen(view)) => saw(&mut slot.known, view),
            Some(LoginReport::Arriving) => {
                slot.logins.arriving.insert(attempt);
            }
            Some(LoginReport::Concluded(conclusion)) => {
                slot.logins.forget(attempt);
                let known = slot.known.version.map(|version| version.epoch);
                let is_new = |lease: &&Lease| known.is_none_or(|known| known < lease.generation().epoch);
                let unstored = conclusion.unstored.as_ref().filter(is_new).is_some();
                if let Some(view) = &conclusion.view {
                    saw(&mut slot.known, view);
                }
                if unstored {
                    slot.logins.keeping.insert(attempt);
                    slot.known.recover();
                    slot.known.meet(Reason::StoreTrouble, t);
                }
                let cause = slot.logins.causes.iter().find(|(known, ..)| *known == attempt).cloned();
                if let Some((_, operation, scopes)) = cause {
                    match conclusion.result {
                        Ok(()) => {
                            let epoch = slot.known.version.map_or_else(Default::default, |version| version.epoch);
                            slot.logins.served.push((epoch, operation));
                        }
                        Err(LoginReason::Denied) => {
                            slot.logins.declined.extend(scopes.iter().map(|scope| (scope.to_owned(), elapsed)));
                        }
                        Err(_) => {}
                    }
                }
            }
            Some(LoginReport::Settled(view)) => {
                slot.logins.forget(attempt);
                slot.known.forget_unstored(view.epoch());
                saw(&mut slot.known, view);
            }
            Some(LoginReport::Lost) | None => {
                if slot.logins.keeping.contains(&attempt) {
                    slot.known.forget_unstored(slot.known.version.map_or_else(Epoch::default, |version| version.epoch));
                }
                slot.logins.forget(attempt);
            }
            // The answer that arrived was not used.
            Some(LoginReport::Offered(..) | LoginReport::Elsewhere) => {
                slot.logins.arriving.remove(&attempt);
            }
        }
        if !matches!(report, Some(LoginReport::Seen(_) | LoginReport::Offered(..))) {
            // Callers that waited meanwhile get what is due now.
            self.slot(id).known.meet(Reason::Contended, t);
        }
    }

    /// A session answers a request about a login. Each is answered once, by its deadline.
    pub(crate) fn check_login_answer(
        &mut self,
        id: ActorId,
        seeker: usize,
        answer: &Result<LoginProgress, SignInError>,
    ) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let deadline = self.seekers[seeker].request.deadline;
        let Err(error) = answer else { return };
        let stopping = self.slot(id).known.stopping;
        match error.reason() {
            LoginReason::DeadlinePassed if elapsed < deadline => {
                self.breach("18", "a request is told that its deadline has passed, and it has not", || {
                    format!("s{seeker}")
                });
            }
            LoginReason::Superseded if self.is_answered_amiss(id, seeker) => {
                self.breach(
                    "17",
                    "a caller is told that another login came first, and not that it is signed in",
                    || format!("s{seeker}"),
                );
            }
            LoginReason::ShuttingDown if !stopping && !self.processes[id.pid.process].stopping => {
                self.breach("18", "a request is told of a shutdown, and there is none", || format!("s{seeker}"));
            }
            _ => {}
        }
    }

    /// Whether a caller wants a login, and its session has one.
    fn is_answered_amiss(&mut self, id: ActorId, seeker: usize) -> bool {
        let signed_in = self.slot(id).published.standing.login_required.is_none();
        let wants =
            matches!(self.seekers[seeker].request.kind, LoginRequestKind::Begin(..) | LoginRequestKind::Await(_));
        wants && signed_in && self.slot(id).logins.keeping.is_empty()
    }

    /// Law 7: no request about a login is forgotten, or kept past its deadline.
    pub(crate) fn check_login_deadlines(&mut self, id: ActorId, occasion: &Occasion) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let Some(actor) = self.actor(id) else { return };
        let wake = actor.machine.next_wake();
        let seekers: Vec<usize> = actor
            .replies
            .values()
            .filter_map(|awaited| match awaited {
                Awaited::Login(seeker) => Some(*seeker),
                _ => None,
            })
            .collect();
        let Some(first) = seekers.iter().map(|seeker| self.seekers[*seeker].request.deadline).min() else { return };
        if wake.is_none_or(|wake| wake > first && wake.since(elapsed) < super::LONGEST_SLEEP) {
            self.breach("7", "a session sleeps past the deadline of a login", || format!("{wake:?}, {first:?}"));
        }
        if matches!(occasion, Occasion::Tick(now) if *now >= first) {
            self.breach("7", "the deadline of a login passes unnoticed", || format!("{first:?} at {elapsed:?}"));
        }
    }

    /// Law 25: while an answer is being redeemed, by this process or another one, no caller gets the error that a login is
    /// required.
    pub(crate) fn check_not_arriving(&mut self, id_process: usize, identity: usize, caller: usize, reason: Reason) {
        let slot = &self.processes[id_process].slots[identity];
        // Clocks of two boots may disagree about the age of the note.
        let age = slot.known.answered.and_then(|since| self.moment(id_process).elapsed_since(&since));
        // The redeemer has noted until when it may write.
        let redemption = self.config.login_limits.redeem + self.config.timeouts.store_timeout * 2;
        let elsewhere = age.is_some_and(|age| age < redemption) && slot.known.version.is_some();
        let elsewhere = elsewhere && slot.logins.keeping.is_empty();
        let arriving = slot.actor.is_some() && (!slot.logins.arriving.is_empty() || elsewhere);
        if arriving && reason.is_login_required() && reason != Reason::LoggedOut {
            self.breach("25", "a caller is told to sign in while an answer arrives", || {
                format!("c{caller}: {reason:?}")
            });
        }
    }

    /// Checks the results of a willing person and four callers, after all faults have ended.
    pub(crate) fn check_signed_in(&mut self) {
        for identity in 0..self.config.identities {
            let asked = self.prompts[identity] - self.asked_at_rest[identity];
            if asked > 1 {
                self.breach("17", "a willing person is asked more than once", || format!("i{identity}: {asked}"));
            }
        }
        for (number, seeker) in self.seekers.iter().enumerate().filter(|(_, seeker)| seeker.at_rest) {
            if seeker.begins.is_some() && seeker.result != Some(Ok(())) {
                let result = seeker.result;
                return self.breach("17", "a willing person is not signed in", || format!("s{number}: {result:?}"));
            }
        }
    }
}

impl crate::attempt::KnownLogins {
    fn forget(&mut self, attempt: AttemptId) {
        self.asking.remove(&attempt);
        self.arriving.remove(&attempt);
        self.keeping.remove(&attempt);
    }
}
