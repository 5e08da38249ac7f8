//! The session machine: its state, the dispatch of events, and its publications.
//!
//! The state is divided into groups. Each group is private to the file that owns it; other files use its methods.

use std::time::Duration;

use super::closing::Closing;
use super::configuring::Configuring;
use super::flying::Flights;
use super::installing::Installing;
use super::issuers::ListedIssuers;
use super::knowledge::Knowledge;
use super::landing::Landings;
use super::pacing::Pacing;
use super::pauses::Pauses;
use super::refusing::Refusals;
use super::signing_in::SigningIn;
use super::waiters::Waiters;
use super::{
    Birth, Hit, LoggedOut, LoginProgress, Policy, Published, RefreshPolicy, RefusalAnswer, ReplyId, Residue,
    SessionEffect, SessionEvent, Standing, WaiterId,
};
use crate::law::flight::Op;
use crate::law::login::LoginEvent;
use crate::values::record::View;
use crate::values::{
    ConfigureError, ElapsedTime, InstallError, Lease, LogoutError, MAX_SLEEP, Now, Reason, SignInError, TokenError,
};

/// The time-out of the session's own store operations.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The session machine. Its contract is that of the [module](super).
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) policy: Policy,
    pub(super) birth: Birth,
    ops: Op,
    pub(super) knowledge: Knowledge,
    pub(super) waiters: Waiters,
    pub(super) flights: Flights,
    pub(super) landings: Landings,
    pub(super) pauses: Pauses,
    pub(super) pacing: Pacing,
    pub(super) refusals: Refusals,
    pub(super) issuers: ListedIssuers,
    /// The logins that a person is asked for.
    pub(super) signing_in: SigningIn,
    /// The login that is being installed.
    pub(super) installing: Option<Installing>,
    /// The change of the renewal plan that is in progress.
    pub(super) configuring: Option<Configuring>,
    /// The logout that is in progress.
    pub(super) closing: Option<Closing>,
    pub(super) stopping: bool,
    wake: Option<ElapsedTime>,
    /// The last publication of this actor.
    published: Option<Published>,
}

/// The effects of one event. The answers follow the other effects.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) effects: Vec<SessionEffect>,
    answers: Vec<SessionEffect>,
}

impl Output {
    /// Reserves memory for answers to this many callers, and for the effects that precede them.
    pub(super) fn expect_answers(&mut self, callers: usize) {
        self.answers.reserve(callers + 4);
    }

    pub(super) fn answer(&mut self, waiter: WaiterId, answer: Result<Lease, TokenError>) {
        self.answers.push(SessionEffect::Answer(waiter, answer));
    }

    pub(super) fn answer_refusal(&mut self, reply: ReplyId, answer: RefusalAnswer) {
        self.answers.push(SessionEffect::AnswerRefusal(reply, answer));
    }

    pub(super) fn answer_login(&mut self, reply: ReplyId, answer: Result<LoginProgress, SignInError>) {
        self.answers.push(SessionEffect::AnswerLogin(reply, answer));
    }

    pub(super) fn answer_install(&mut self, reply: ReplyId, answer: Result<Box<View>, InstallError>) {
        self.answers.push(SessionEffect::AnswerInstall(reply, answer));
    }

    pub(super) fn answer_configure(&mut self, reply: ReplyId, answer: Result<Box<View>, ConfigureError>) {
        self.answers.push(SessionEffect::AnswerConfigure(reply, answer));
    }

    pub(super) fn answer_logout(&mut self, reply: ReplyId, answer: Result<LoggedOut, LogoutError>) {
        self.answers.push(SessionEffect::AnswerLogout(reply, answer));
    }
}

impl Session {
    /// Starts a session from the residue that the previous actor left in the slot. The first session of an identity
    /// gets a default residue. A flight in the residue reports to this session from now on.
    pub fn start(policy: Policy, birth: Birth, residue: Residue, now: Now) -> (Self, Vec<SessionEffect>) {
        let mut session = Self {
            policy,
            birth,
            ops: Op::default(),
            knowledge: Knowledge::inherited(residue.unstored, residue.known, residue.closed, residue.plan),
            waiters: Waiters::default(),
            flights: Flights::inherited(residue.flight),
            landings: Landings::default(),
            pauses: Pauses::inherited(residue.backoff),
            pacing: Pacing::default(),
            refusals: Refusals::inherited(residue.floor, residue.floor_before, residue.futility),
            issuers: ListedIssuers::inherited(residue.barred, now.elapsed()),
            signing_in: SigningIn::inherited(residue.attempts, residue.elevations),
            installing: None,
            configuring: None,
            closing: residue.closing.map(|pending| Closing::resumed(pending, now.elapsed())),
            stopping: false,
            wake: None,
            published: None,
        };
        let mut output = Output::default();
        session.read(now, &mut output);
        // News that came while there was no actor did not reach the attempts.
        session.tell_attempts(&LoginEvent::News, &mut output);
        let effects = session.conclude(output, now);
        (session, effects)
    }

    /// When [`SessionEvent::Tick`] is due; `None` while nothing depends on time. Never more than a minute away.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        self.wake
    }

    /// Whether a flight runs.
    pub fn is_flying(&self) -> bool {
        self.flights.is_running()
    }

    /// The number of waiting callers.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Whether the actor may end without a loss. No caller waits, no flight runs, and no login or logout is in progress.
    /// The refresh token is neither in doubt nor kept warm, or only a login can help. The residue and the store hold
    /// everything that must be remembered.
    pub fn is_idle(&self) -> bool {
        let needs_upkeep = self.knowledge.in_doubt() || matches!(self.policy.refresh, RefreshPolicy::KeepWarm { .. });
        self.waiters.is_empty()
            && !self.refusals.are_deferred()
            && !self.flights.is_running()
            && self.closing.is_none()
            && self.installing.is_none()
            && !self.signing_in.is_busy()
            && !self.published.as_ref().is_some_and(|published| published.standing.signing_in)
            && self.issuers.wake().is_none()
            && self.configuring.is_none()
            && (!needs_upkeep || self.awaits_login())
    }

    /// Processes an event and returns its effects. Stale completions change nothing.
    pub fn handle(&mut self, event: SessionEvent, now: Now) -> Vec<SessionEffect> {
        let mut output = Output::default();
        let out = &mut output;
        match event {
            SessionEvent::GetToken(waiter, ask) => self.get_token(waiter, ask, now, out),
            SessionEvent::WaiterGone(waiter) => {
                self.waiters.remove(waiter);
            }
            SessionEvent::Invalidate(reply, refusal) => self.refuse(reply, refusal, now, out),
            SessionEvent::Used => self.pacing.mark_used(),
            SessionEvent::Loaded(op, answer) => self.loaded(op, answer, now, out),
            SessionEvent::Flight(id, report) => self.reported(id, report, now, out),
            SessionEvent::FlightOver(id) => self.flight_over(id, now, out),
            SessionEvent::Tick => self.tick(now, out),
            SessionEvent::StoreChanged => {
                self.read(now, out);
                self.tell_attempts(&LoginEvent::News, out);
            }
            SessionEvent::Throttled(until) => {
                self.pauses.throttle(until);
                self.serve_waiters(now, out);
            }
            SessionEvent::Resumed => self.pacing.resume(now.elapsed()),
            SessionEvent::Login(reply, request) => self.login_requested(reply, *request, now, out),
            SessionEvent::LoginRequestGone(reply) => self.login_request_gone(reply),
            SessionEvent::Attempt(id, report) => self.attempt_reported(id, *report, now, out),
            SessionEvent::AttemptOver(id) => self.attempt_over(id, now, out),
            SessionEvent::Install(reply, login) => self.install(reply, login, now, out),
            SessionEvent::Reserved(op, answer) => self.reserved(op, answer, now, out),
            SessionEvent::Logout(reply) => self.logout(reply, true, now, out),
            SessionEvent::Forget(reply) => self.logout(reply, false, now, out),
            SessionEvent::Removed => self.removed(now, out),
            SessionEvent::Configure(reply, renewal) => self.configure(reply, renewal, now, out),
            SessionEvent::IssuersListed(issuers) => self.issuers_listed(issuers, now, out),
            SessionEvent::Changed(op, answer) => self.changed(op, answer, now, out),
            SessionEvent::Shutdown => self.shut_down(now, out),
        }
        self.discard_refused(out);
        self.draw_window(now);
        self.pursue(now, out);
        self.conclude(output, now)
    }

    fn tick(&mut self, now: Now, out: &mut Output) {
        self.time_out_read(now, out);
        self.answer_late_logins(now, out);
        self.answer_after_arrival(now, out);
        self.time_out_install(now, out);
        self.time_out_configure(now, out);
        self.time_out_closing(now, out);
        self.time_out_parking(now, out);
        self.pauses.end_due(now.elapsed());
        self.answer_due(now, out);
    }

    fn shut_down(&mut self, now: Now, out: &mut Output) {
        self.stopping = true;
        self.answer_deferred_refusals(now, out);
        self.fail_waiters(TokenError::new(Reason::ShuttingDown), out);
        self.stop_signing_in(out);
        self.stop_installing(out);
        self.stop_configuring(out);
        self.stop_closing(out);
    }

    /// Returns a new number, for the next store operation.
    pub(super) fn next_op(&mut self) -> Op {
        self.ops = Op(self.ops.0 + 1);
        self.ops
    }

    /// Publishes what has changed, and puts the effects into order.
    fn conclude(&mut self, output: Output, now: Now) -> Vec<SessionEffect> {
        self.draw_window(now);
        self.wake = self.wakes(now).min().map(|wake| wake.min(now.elapsed().after(MAX_SLEEP)));
        let published = self.to_publish(now);
        let publication = (self.published.as_ref() != Some(&published)).then(|| {
            self.published = Some(published.clone());
            SessionEffect::Publish(Box::new(published))
        });
        // There may be a great many answers, so their vector is used for all effects.
        let mut effects = output.answers;
        effects.splice(..0, publication.into_iter().chain(output.effects));
        effects
    }

    fn to_publish(&self, now: Now) -> Published {
        let hit = match (self.lease(), self.pacing.hit_window(now.moment.boot)) {
            (Some(lease), Some(window)) if !self.stopping => Some(Hit { lease: lease.clone(), window }),
            _ => None,
        };
        Published {
            hit,
            standing: Standing {
                login_required: self.login_required(now),
                refresh_since: self.knowledge.refresh_since().map(|since| since.wall),
                signed_in: self.knowledge.view().and_then(|view| view.signed_in),
                in_doubt: self.knowledge.in_doubt(),
                signing_in: self.is_signing_in(now),
            },
            residue: Residue {
                floor: self.refusals.floor(),
                floor_before: self.refusals.floor_before(),
                flight: self.flights.running(),
                backoff: self.pauses.backoff(),
                futility: self.refusals.futility().clone(),
                closing: self.closing.as_ref().filter(|_| self.is_closing()).map(Closing::pending),
                barred: self.issuers.unlisted(),
                closed: self.knowledge.closed(),
                unstored: self.knowledge.unstored().cloned(),
                known: self.knowledge.newest_generation(),
                attempts: self.signing_in.running().to_vec(),
                elevations: self.signing_in.elevations(now.elapsed()),
                plan: self.knowledge.plan().cloned().map(Box::new),
            },
        }
    }

    /// All times at which the session has something to do.
    fn wakes(&self, now: Now) -> impl Iterator<Item = ElapsedTime> {
        let waits = !self.waiters.is_empty() || self.refreshes_alone();
        let pauses = self.pauses.wakes().chain(self.landings.wake(now.elapsed())).filter(move |_| waits);
        let background = self.pauses.background_wake().filter(|_| self.refreshes_alone());
        self.waiters
            .next_deadline()
            .into_iter()
            .chain(pauses)
            .chain(background)
            .chain(self.knowledge.wake())
            .chain(self.signing_in.wake())
            .chain(self.arrives_elsewhere(now).filter(|_| waits))
            .chain(self.asked_until(now))
            .chain(self.installing.as_ref().map(Installing::deadline))
            .chain(self.configuring.as_ref().and_then(Configuring::wake))
            .chain(self.closing.as_ref().and_then(Closing::wake))
            .chain(self.issuers.wake())
            .chain(self.background_wake(now))
    }
}
