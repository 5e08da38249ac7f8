//! Checks on the reactions of sessions. Covers laws 4, 6, 7, 8, 11 and 12 at each event.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::ledger::Changed;
use tokenkeeper_actors::law::session::{LoggedOut, Published, Refusal, RefusalAnswer, SessionEffect, WaiterId};
use tokenkeeper_actors::values::record::{Issuer, View};
use tokenkeeper_actors::values::{Cause, ConfigureError, FlightId, InstallError, LogoutError, Reason, StoreFault};

use super::answers::{Failed, Occasion};
use crate::Millis;
use crate::process::{ActorId, Awaited};
use crate::tally::Kind;
use crate::world::{World, issuer_name};

impl World {
    /// A read was answered. `in_time` is false if the session had given it up.
    pub(crate) fn note_loaded(&mut self, id: ActorId, answer: &Result<Option<Box<View>>, StoreFault>, in_time: bool) {
        let t = self.t;
        let known = &mut self.slot(id).known;
        match answer {
            Ok(Some(view)) if in_time => known.saw(view),
            // The answer may have come too late to be used.
            Ok(_) if !in_time => {
                (known.lease, known.listed, known.heard_late) = (None, None, true);
                known.recover();
            }
            Ok(Some(_)) => {}
            Ok(None) => known.saw(&View::vacant()),
            Err(_) => known.meet(Reason::StoreTrouble, t),
        }
    }

    pub(crate) fn note_changed(&mut self, id: ActorId, answer: &Result<Changed, StoreFault>) {
        let t = self.t;
        let known = &mut self.slot(id).known;
        // The write belongs to a login or a logout, which ends a backoff.
        known.recover();
        match answer {
            Ok(Changed::Applied { after, .. }) => known.saw(&after.view()),
            Ok(Changed::Conflict { current: Some(current), .. }) => known.saw(&current.view()),
            Ok(Changed::Conflict { .. }) => {}
            Err(_) => known.meet(Reason::StoreTrouble, t),
        }
    }

    pub(crate) fn note_store_trouble(&mut self, id: ActorId) {
        let t = self.t;
        self.slot(id).known.meet(Reason::StoreTrouble, t);
    }

    pub(crate) fn note_logout_begun(&mut self, id: ActorId) {
        // A session that has not read its record yet names the epoch later.
        let known = &mut self.slot(id).known;
        known.logging_out = known.logging_out.or(known.version.map(|version| version.epoch));
    }

    /// A logout that is refused at once, because another change is being written, ends nothing.
    pub(crate) fn note_logout_refused(&mut self, id: ActorId, effects: &[SessionEffect]) {
        let refused = |effect: &SessionEffect| matches!(effect, SessionEffect::AnswerLogout(_, Err(LogoutError::Busy)));
        let Some(actor) = self.actor(id) else { return };
        let logouts = actor.replies.values().filter(|reply| matches!(reply, Awaited::Logout { .. })).count();
        if logouts == 1 && effects.iter().any(refused) {
            self.slot(id).known.logging_out = None;
        }
    }

    /// A session receives the issuers that the resource lists now.
    pub(crate) fn note_issuers(&mut self, id: ActorId, listed: &[Issuer]) {
        let t = self.t;
        let known = &mut self.slot(id).known;
        known.listed = (known.version.is_none() && !known.heard_late).then(|| listed.to_vec());
        if known.issuer.as_ref().is_some_and(|issuer| !listed.contains(issuer)) {
            known.barred = known.version.map(|version| version.epoch);
        } else if known.issuer.is_some() && known.barred == known.version.map(|version| version.epoch) {
            // The issuer is listed again, and nothing was replaced meanwhile.
            known.barred = None;
        }
        if !listed.contains(&issuer_name(0)) || !listed.contains(&issuer_name(1)) {
            known.meet(Reason::IssuerChanged, t);
        }
    }

    /// A session receives a report.
    pub(crate) fn note_reported(&mut self, id: ActorId, flight: FlightId, report: Option<&Report>) -> Occasion {
        let (t, moment) = (self.t, self.moment(id.pid.process));
        let margin = self.config.policy.safety_margin;
        let slot = self.slot(id);
        let ours = slot.published.residue.flight.is_some_and(|running| running.id == flight);
        let known = &mut slot.known;
        let former = known.version;
        let view = match report {
            Some(Report::Landed(Landing { view, .. })) => view.as_deref(),
            Some(Report::Settled(view)) => Some(&**view),
            Some(Report::Lost { .. }) | None => None,
        };
        // Before its first read, a session cannot compare the age of another flight's view.
        if let Some(view) = view.filter(|_| ours || known.version.is_some()) {
            known.saw(view);
        }
        let trouble = match report {
            Some(Report::Landed(Landing { outcome, .. })) => match outcome {
                Outcome::Minted(lease) => {
                    known.recover();
                    let newer =
                        known.lease.as_ref().is_none_or(|known| lease.generation().supersedes(&known.generation()));
                    if ours && newer && known.version.is_none_or(|version| version.epoch == lease.generation().epoch) {
                        known.lease = Some(lease.clone());
                    }
                    let young = lease.validity().lifetime().unwrap_or_default() / 4 * 3;
                    let refused = known.refused.iter().any(|(refused, _)| !lease.generation().supersedes(refused));
                    if refused || !lease.validity().outlasts(young.max(margin), &moment) {
                        known.meet(Reason::ExpiredOnArrival, t);
                    }
                    return Occasion::Other;
                }
                Outcome::Adopted => {
                    known.recover();
                    return Occasion::Other;
                }
                Outcome::Moved => {
                    known.meet(Reason::Contended, t);
                    return Occasion::Other;
                }
                Outcome::Failed(trouble) => Some((trouble.reason, trouble.retry_after)),
                // The flight found this in an older version of the record.
                Outcome::LoginRequired(_)
                    if known.heard_late || view.is_some_and(|view| former > Some(view.version)) =>
                {
                    known.meet(Reason::Contended, t);
                    return Occasion::Other;
                }
                Outcome::LoginRequired(_) => None,
            },
            // The flight was aborted, unless it had landed with nothing unsaved.
            None if ours => {
                known.meet(Reason::Aborted, t);
                Some((Reason::Aborted, None))
            }
            _ => return Occasion::Other,
        };
        if !ours {
            return Occasion::Other;
        }
        let (keeping, requests) = match report {
            Some(Report::Landed(landing)) => (landing.keeping, landing.requests),
            _ => (false, 1),
        };
        Occasion::Failed(Failed { flight, trouble, keeping, requests })
    }

    /// Checks a session's effects before they are carried out.
    pub(crate) fn check_session_effects(&mut self, id: ActorId, occasion: &Occasion, effects: &[SessionEffect]) {
        let first_answer = effects.iter().position(|effect| {
            matches!(
                effect,
                SessionEffect::Answer(..) | SessionEffect::AnswerRefusal(..) | SessionEffect::AnswerLogout(..)
            )
        });
        let publishes_late = first_answer
            .is_some_and(|first| effects[first..].iter().any(|effect| matches!(effect, SessionEffect::Publish(_))));
        if publishes_late {
            self.breach("6", "a session answers before it publishes", String::new);
        }
        if let Occasion::Failed(failed) = *occasion {
            self.check_failed(id, failed, effects);
        }
        if let Occasion::Asked(waiter, _) = *occasion {
            self.check_held_back(id, waiter, effects);
        }
        if effects.iter().any(|effect| matches!(effect, SessionEffect::Fly(_))) {
            let answers = effects.iter().filter(|effect| matches!(effect, SessionEffect::Answer(..))).count();
            let waiting = self.actor(id).map_or(0, |actor| actor.waiters.len());
            self.slot(id).known.unattended = waiting <= answers;
        }
    }

    /// Checks a session's state after an event.
    pub(crate) fn check_session(&mut self, id: ActorId, occasion: &Occasion) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let most = self.config.policy.max_waiters;
        let Some(actor) = self.actor(id) else { return };
        let waiting = actor.waiters.len();
        let (counted, wake) = (actor.machine.waiting(), actor.machine.next_wake());
        let waiters: Vec<(WaiterId, usize)> = actor.waiters.iter().map(|(waiter, caller)| (*waiter, *caller)).collect();
        if counted != waiting {
            self.breach("7", "a waiter got lost", || format!("{counted} of {waiting}"));
        }
        if waiting > most {
            self.breach("7", "more callers wait than may", || format!("{waiting} of {most}"));
        }
        if let Some(wake) = wake
            && wake.since(elapsed) > super::LONGEST_SLEEP
        {
            self.breach("14", "a session sleeps for more than a minute", || format!("{wake:?} at {elapsed:?}"));
        }
        let deadlines = waiters.iter().map(|(_, caller)| self.callers[*caller].ask().deadline());
        if let Some(first) = deadlines.min() {
            if wake.is_none_or(|wake| wake > first && wake.since(elapsed) < super::LONGEST_SLEEP) {
                self.breach("7", "a session sleeps past a deadline", || format!("{wake:?}, deadline {first:?}"));
            }
            if matches!(occasion, Occasion::Tick(now) if *now >= first) {
                self.breach("7", "a deadline passes unnoticed", || format!("{first:?} at {elapsed:?}"));
            }
        }
        if waiters.is_empty() {
            self.slot(id).known.cohort = 0;
        }
        self.check_residue(id);
        self.check_login_deadlines(id, occasion);
        if let Occasion::Asked(waiter, ask) = occasion
            && let Some((_, caller)) = waiters.iter().find(|(other, _)| other == waiter).copied()
        {
            self.slot(id).known.unattended = false;
            self.check_waits_in_vain(id, caller, ask.deadline());
        }
    }

    /// Law 7: a caller that can only be answered after its deadline gets an error at once.
    fn check_waits_in_vain(&mut self, id: ActorId, caller: usize, deadline: tokenkeeper_actors::values::ElapsedTime) {
        let elapsed = self.moment(id.pid.process).elapsed;
        if deadline <= elapsed {
            self.breach("7", "a caller waits whose deadline has passed", || format!("c{caller}"));
        }
        let slot = self.slot(id);
        let flying = slot.published.residue.flight.is_some();
        let resting = slot.published.residue.backoff.resting.map(|(_, until)| until);
        let until = resting.max(slot.known.throttled).filter(|until| *until > elapsed);
        // Before its first read, a session cannot exclude that a valid token exists.
        let knows = slot.known.version.is_some();
        // A login that arrives brings a token even during a pause.
        let arriving = !slot.logins.arriving.is_empty() || slot.known.answered.is_some();
        if let Some(until) = until.filter(|until| *until >= deadline && !flying && knows && !arriving) {
            self.breach("7", "a caller waits who can only be answered too late", || {
                format!("c{caller}: {until:?}, {deadline:?}")
            });
        }
    }

    /// The slot holds the facts that the next incarnation needs (laws 5 and 6).
    fn check_residue(&mut self, id: ActorId) {
        let process = &self.processes[id.pid.process];
        let running = process.flights.iter().filter(|(_, run)| run.identity == id.identity && !run.facts.landed);
        let newest = running.max_by_key(|(_, run)| run.name).map(|(flight, run)| (*flight, run.order.epoch));
        let Some((flight, epoch)) = newest else { return };
        let stored = self.store.record(id.identity).map(|record| record.epoch);
        let noted = self.slot(id).published.residue.flight.is_some_and(|noted| noted.id == flight);
        if !noted && stored.is_none_or(|stored| stored <= epoch) {
            self.breach("5", "a running flight is not in the slot", || format!("{flight}"));
        }
    }

    pub(crate) fn check_published(&mut self, id: ActorId, published: &Published) {
        let Some(hit) = &published.hit else { return };
        let lease = hit.lease.clone();
        if !lease.validity().outlasts(Duration::ZERO, &self.moment(id.pid.process)) {
            // An expired lease may be published, because it is never handed out.
            return;
        }
        if let Some(version) = self.slot(id).known.version.filter(|version| version.epoch > lease.generation().epoch) {
            self.breach("12", "a lease is published of an epoch that is known to be over", || {
                format!("{} at {version:?}", lease.generation())
            });
        }
        self.check_lease(id.pid, id.identity, &lease, u64::MAX);
    }

    pub(crate) fn check_refusal_answer(&mut self, id: ActorId, caller: usize, refusal: Refusal, answer: RefusalAnswer) {
        let step = self.step;
        let moment = self.moment(id.pid.process);
        let lease = self.callers[caller].lease.clone();
        let key = (refusal.operation, refusal.challenge);
        let repeatable = self.config.repeatable();
        let young = lease.as_ref().is_some_and(|lease| {
            let validity = lease.validity();
            let youth = validity
                .lifetime()
                .map_or(Duration::from_secs(30), |lifetime| (lifetime / 2).min(Duration::from_secs(30)));
            let age = moment.elapsed_since(&validity.anchored());
            let age = age.unwrap_or_else(|| moment.wall.since(validity.anchored().wall));
            lease.cause() == Cause::Refusal && age < youth
        });
        let by_login = lease.as_ref().is_some_and(|lease| lease.cause() == Cause::Login);
        let slot = self.slot(id);
        // A login was made for this operation, and what it brought is refused (law 22).
        let caused = slot.logins.causes.iter().any(|(_, operation, _)| *operation == refusal.operation);
        let in_vain = by_login && (caused || slot.logins.unsure);
        // The grant is over, and its refused token was removed. No refresh can follow.
        let removed = slot.known.lease.is_none() && slot.published.standing.login_required.is_some();
        let known = &mut slot.known;
        let earlier = known.chain.get(&key).copied();
        match answer {
            RefusalAnswer::Noted => {
                known.refused.push((refusal.generation, step));
                known.chain.insert(key, refusal.generation);
                // The floor may already be above this lease, because of another operation.
                let passed = known
                    .refused
                    .iter()
                    .rev()
                    .skip(1)
                    .any(|(other, _)| *other == refusal.generation || other.supersedes(&refusal.generation));
                let again = earlier.is_some_and(|earlier| {
                    earlier.epoch == refusal.generation.epoch && refusal.generation.supersedes(&earlier)
                });
                let ended = known.parked.max(known.owed).max(known.logging_out).max(known.barred);
                let over = known.version.is_some_and(|version| version.epoch > refusal.generation.epoch)
                    || ended.is_some_and(|ended| ended >= refusal.generation.epoch);
                // When the store fails, a repeatable source's token may have two names. A session may also have to
                // answer before its first read.
                let unread = known.version.is_none();
                let ambiguous = unread || repeatable && known.met.contains_key(&Reason::StoreTrouble);
                if young && again && !passed && !over && !removed && !ambiguous {
                    self.breach("11", "a refresh that did not help is repeated", || {
                        format!("{refusal:?} after {earlier:?}")
                    });
                }
            }
            RefusalAnswer::Superseded => known.refused.push((refusal.generation, step)),
            // Every caller names a lease of its own session.
            RefusalAnswer::Unknown
                if known.version.is_some_and(|version| version.epoch >= refusal.generation.epoch) =>
            {
                self.breach("6", "a refusal of a session's own lease is not noted", || format!("{refusal:?}"));
            }
            RefusalAnswer::Unknown => {}
            RefusalAnswer::Futile(error) => {
                if in_vain && !young {
                    self.tally.count(Kind::LoginInVain);
                }
                let known = &mut self.slot(id).known;
                // When the store fails, a repeatable source's token may have two names.
                let met_trouble = known.met.contains_key(&Reason::StoreTrouble);
                let before = !known.futile.insert(key);
                if error.reason() != Reason::ResourceRefuses
                    || !(young || before || in_vain || repeatable && met_trouble)
                {
                    self.breach("11", "a refusal is called futile and is not", || format!("{refusal:?}: {error:?}"));
                }
            }
        }
    }

    pub(crate) fn check_install_answer(
        &mut self,
        id: ActorId,
        rt: Option<usize>,
        answer: &Result<Box<View>, InstallError>,
    ) {
        let Ok(view) = answer else { return };
        let stored = self.store.record(id.identity).map(|record| record.epoch);
        if stored.is_none_or(|stored| stored < view.epoch()) {
            self.breach("12", "a login is said to be installed and is not", || format!("{rt:?}"));
        }
        let known = &mut self.slot(id).known;
        known.saw(view);
        // A new login ends its identity's backoff.
        known.recover();
        if known.owed.is_some_and(|owed| owed < view.epoch()) {
            known.owed = None;
        }
    }

    pub(crate) fn check_configure_answer(&mut self, id: ActorId, answer: &Result<Box<View>, ConfigureError>) {
        self.count(match answer {
            Ok(_) => Kind::Configured,
            Err(ConfigureError::Marked) => Kind::ConfigureMarked,
            Err(_) => Kind::ConfigureTroubled,
        });
        if let Ok(view) = answer
            && self.store.record(id.identity).is_none_or(|stored| stored.version() < view.version)
        {
            self.breach("12", "a plan is said to be stored and is not", || format!("{:?}", view.version));
        }
    }

    pub(crate) fn check_logout_answer(&mut self, id: ActorId, since: Millis, answer: &Result<LoggedOut, LogoutError>) {
        let step = self.step;
        let others = self
            .actor(id)
            .is_some_and(|actor| actor.replies.values().any(|reply| matches!(reply, Awaited::Logout { .. })));
        let known = &mut self.slot(id).known;
        let epoch = known.logging_out;
        if !others {
            known.logging_out = None;
        }
        match answer {
            Ok(done) => {
                let closed = |epoch| self.truth.closed_marked.contains(&(id.identity, epoch, id.pid.process));
                let marked = epoch.is_some_and(closed);
                if marked && !done.has_unknown_token {
                    self.breach("12", "a logout says that it knows every token though one is in doubt", || {
                        format!("{epoch:?}")
                    });
                }
                let known = &mut self.slot(id).known;
                if let Some(epoch) = epoch {
                    known.logged_out.push((epoch, step));
                }
                known.owed = None;
                let cleared = self.truth.was(id.identity, since, |state| {
                    matches!(state.login_required, Some(Reason::LoggedOut | Reason::NeverSignedIn))
                });
                if !cleared {
                    self.breach("12", "a logout is said to be stored and is not", || format!("{epoch:?}"));
                }
            }
            Err(LogoutError::NotDurable(_)) => {
                if let Some(epoch) = epoch {
                    known.logged_out.push((epoch, step));
                    known.owed = Some(epoch);
                }
            }
            Err(_) => {}
        }
    }
}
