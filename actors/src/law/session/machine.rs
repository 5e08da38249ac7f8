//! The session machine: its state, its one entrance, and what it publishes. What it does is in the rooms beside it.

use std::time::Duration;

use super::closing::Closing;
use super::configuring::Configuring;
use super::flying::Airborne;
use super::pacing::EarlyWindow;
use super::serving::Knowledge;
use super::waiters::Waiters;
use super::{
    Backoff, Birth, Futility, Hit, LoggedOut, Policy, Published, RefreshPolicy, Refusal, RefusalAnswer, ReplyId,
    Residue, RunningFlight, SessionEffect, SessionEvent, Standing, WaiterId,
};
use crate::law::flight::{Doubt, Op};
use crate::law::ledger::Login;
use crate::values::record::{Issuer, RenewalPlan, View};
use crate::values::{
    ConfigureError, ElapsedTime, Epoch, Generation, InstallError, Lease, LogoutError, Now, Reason, StoreFault,
    TokenError, Version, Window,
};

/// No sleep is longer than this (law 14): a clock that was stepped is noticed within it.
const SLEEP_MOST: Duration = Duration::from_secs(60);

/// How long a store operation of the session's own may take.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The session machine. Its contract is the [module](super)'s.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) policy: Policy,
    pub(super) birth: Birth,
    pub(super) ops: Op,
    pub(super) knowledge: Knowledge,
    /// A lease the store does not know (yet): a degraded flight's, or a repeatable source's.
    pub(super) unstored: Option<Lease>,
    /// Where the early window of the present lease begins: drawn once for each lease.
    pub(super) window: Option<EarlyWindow>,
    pub(super) floor: Option<Generation>,
    /// The newest generation known, wherever it came from.
    pub(super) known: Generation,
    pub(super) waiters: Waiters,
    /// Refusals that came before the first read, when it was not known what was refused.
    pub(super) unheard: Vec<(ReplyId, Refusal)>,
    pub(super) flight: Option<Airborne>,
    /// Flights begun in this incarnation.
    pub(super) flights: u64,
    /// Landings in a row that said that the record had moved, and did not answer all who waited.
    pub(super) moves: u32,
    pub(super) backoff: Backoff,
    /// Until when the issuer is to be left alone.
    pub(super) throttled: Option<ElapsedTime>,
    /// What a flight found and the record does not say: a login is required, as long as this version stands.
    pub(super) verdict: Option<Verdict>,
    pub(super) doubt: Option<Doubt>,
    pub(super) futility: Futility,
    pub(super) closing: Option<Closing>,
    pub(super) login: Option<Installing>,
    pub(super) configuring: Option<Configuring>,
    /// The plan of the newest grant seen, where it is not the policy's.
    pub(super) plan: Option<Box<RenewalPlan>>,
    pub(super) barred: Option<Bar>,
    /// Why the newest record seen must not be served, where that is so.
    pub(super) closed: Option<Reason>,
    /// The issuers the resource listed before the record was read.
    pub(super) listed: Option<Vec<Issuer>>,
    /// Whether the lease was handed out since it was minted.
    pub(super) used: bool,
    /// Whether a caller met the early window.
    pub(super) early_wanted: bool,
    /// When the machine last woke from suspend.
    pub(super) resumed: Option<ElapsedTime>,
    pub(super) stopping: bool,
    wake: Option<ElapsedTime>,
    /// What the slot holds of this incarnation's; `None` until it has published anything.
    published: Option<Published>,
}

/// A flight's finding that holds for one version of the record, and is looked at again after a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) version: Version,
    pub(super) reason: Reason,
    pub(super) until: ElapsedTime,
}

/// An epoch whose issuer the resource no longer lists: it is not served, whether or not the record says so yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) epoch: Epoch,
    /// When to try again to say so durably.
    pub(super) retry_at: ElapsedTime,
}

/// A login that is being installed.
#[derive(Clone, Debug)]
pub(super) struct Installing {
    pub(super) reply: ReplyId,
    /// What is waited for.
    pub(super) op: Op,
    pub(super) limit: ElapsedTime,
    /// The login, until it is written.
    pub(super) login: Option<Box<Login>>,
    /// Whether a login or logout was known of when this login came: if the store then holds no record, it has been
    /// emptied.
    pub(super) had_record: bool,
}

/// What one event calls for, in the order in which it leaves: what is published precedes every answer.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) effects: Vec<SessionEffect>,
    answers: Vec<SessionEffect>,
}

impl Output {
    /// Makes room for answers to as many callers, and for what precedes them.
    pub(super) fn expect_answers(&mut self, callers: usize) {
        self.answers.reserve(callers + 4);
    }

    pub(super) fn answer(&mut self, waiter: WaiterId, answer: Result<Lease, TokenError>) {
        self.answers.push(SessionEffect::Answer(waiter, answer));
    }

    pub(super) fn answer_refusal(&mut self, reply: ReplyId, answer: RefusalAnswer) {
        self.answers.push(SessionEffect::AnswerRefusal(reply, answer));
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
    /// A session that goes on from what its predecessor left in the slot: the first has a default residue. A flight in
    /// the residue reports to this session from now on.
    pub fn start(policy: Policy, birth: Birth, residue: Residue, now: Now) -> (Self, Vec<SessionEffect>) {
        let mut session = Self {
            policy,
            birth,
            ops: Op::default(),
            knowledge: Knowledge::default(),
            unstored: residue.unstored,
            window: None,
            floor: residue.floor,
            known: residue.known,
            waiters: Waiters::default(),
            unheard: Vec::new(),
            flight: residue.flight.map(Airborne::inherited),
            flights: 0,
            moves: 0,
            backoff: residue.backoff,
            throttled: None,
            verdict: None,
            doubt: None,
            futility: residue.futility,
            closing: residue.closing.map(|pending| Closing::resumed(pending, now.elapsed())),
            login: None,
            configuring: None,
            plan: residue.plan,
            barred: residue.barred.map(|epoch| Bar { epoch, retry_at: now.elapsed() }),
            closed: residue.closed,
            listed: None,
            used: false,
            early_wanted: false,
            resumed: None,
            stopping: false,
            wake: None,
            published: None,
        };
        let mut output = Output::default();
        session.read(now, &mut output);
        let effects = session.conclude(output, now);
        (session, effects)
    }

    /// When [`SessionEvent::Tick`] is due; `None` while nothing depends on time. Never more than a minute away.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        self.wake
    }

    /// Callers that wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Whether an actor may end with nobody worse off: nobody waits, nothing is in the air, unsaved, in doubt, being
    /// stored or logged out, or kept warm. What must be remembered is in the residue.
    pub fn is_idle(&self) -> bool {
        self.waiters.is_empty()
            && self.unheard.is_empty()
            && self.flight.is_none()
            && !matches!(self.policy.refresh, RefreshPolicy::KeepWarm { .. })
            && self.closing.is_none()
            && self.login.is_none()
            && self.configuring.is_none()
            && self.barred.is_none()
            && !self.knowledge.in_doubt()
    }

    /// Takes in what happened and says what is to be done. Stale completions change nothing.
    pub fn handle(&mut self, event: SessionEvent, now: Now) -> Vec<SessionEffect> {
        let mut output = Output::default();
        let out = &mut output;
        match event {
            SessionEvent::GetToken(waiter, ask) => self.get_token(waiter, ask, now, out),
            SessionEvent::WaiterGone(waiter) => {
                self.waiters.remove(waiter);
            }
            SessionEvent::Invalidate(reply, refusal) => self.refuse(reply, refusal, now, out),
            SessionEvent::Used => self.used = true,
            SessionEvent::Loaded(op, answer) => self.loaded(op, answer, now, out),
            SessionEvent::Flight(id, report) => self.reported(id, report, now, out),
            SessionEvent::FlightOver(id) => self.flight_over(id, now, out),
            SessionEvent::Tick => self.tick(now, out),
            SessionEvent::StoreChanged => self.read(now, out),
            SessionEvent::Throttled(until) => {
                self.throttled = self.throttled.max(Some(until));
                self.serve_waiters(now, out);
            }
            SessionEvent::Resumed => self.resumed = Some(now.elapsed()),
            SessionEvent::Install(reply, login) => self.install(reply, login, now, out),
            SessionEvent::Reserved(op, answer) => self.reserved(op, answer, now, out),
            SessionEvent::Logout(reply) => self.logout(reply, now, out),
            SessionEvent::Configure(reply, renewal) => self.configure(reply, renewal, now, out),
            SessionEvent::IssuersListed(issuers) => self.issuers_listed(issuers, now, out),
            SessionEvent::Changed(op, answer) => self.changed(op, answer, now, out),
            SessionEvent::Shutdown => self.shut_down(now, out),
        }
        self.draw_window(now);
        self.pursue(now, out);
        self.conclude(output, now)
    }

    fn tick(&mut self, now: Now, out: &mut Output) {
        self.read_late(now, out);
        self.install_late(now, out);
        self.configure_late(now, out);
        self.close_late(now, out);
        self.park_late(now, out);
        if self.backoff.resting.is_some_and(|(_, until)| until <= now.elapsed()) {
            self.backoff.resting = None;
        }
        if self.throttled.is_some_and(|until| until <= now.elapsed()) {
            self.throttled = None;
        }
        while let Some((id, waiter)) = self.waiters.pop_due(now.elapsed()) {
            // What was no good when the caller asked may be by now: clocks and lags move.
            let served = if waiter.after_flight.is_some() { None } else { self.serve(waiter.min_lifetime, now) };
            out.answer(id, served.ok_or(TokenError::new(Reason::DeadlinePassed)));
        }
    }

    fn shut_down(&mut self, now: Now, out: &mut Output) {
        self.stopping = true;
        self.hear(now, out);
        self.dismiss_all(TokenError::new(Reason::ShuttingDown), out);
        if let Some(installing) = self.login.take() {
            // Once the write is under way, only the store knows.
            let error = match installing.login {
                Some(_) => InstallError::ShuttingDown,
                None => InstallError::StoreTrouble(StoreFault::TimedOut),
            };
            out.answer_install(installing.reply, Err(error));
        }
        self.stop_configuring(out);
        self.stop_closing(out);
    }

    pub(super) fn stamp(&mut self) -> Op {
        self.ops = Op(self.ops.0 + 1);
        self.ops
    }

    /// Publishes what has changed, and orders what leaves.
    fn conclude(&mut self, output: Output, now: Now) -> Vec<SessionEffect> {
        self.draw_window(now);
        self.wake = self.wakes(now).min().map(|wake| wake.min(now.elapsed().after(SLEEP_MOST)));
        let published = self.to_publish(now);
        let news = (self.published.as_ref() != Some(&published)).then(|| {
            self.published = Some(published.clone());
            SessionEffect::Publish(Box::new(published))
        });
        // Before the answers, in their memory: they may be those of a crowd.
        let mut effects = output.answers;
        effects.splice(..0, news.into_iter().chain(output.effects));
        effects
    }

    fn to_publish(&self, now: Now) -> Published {
        let hit = match (self.lease(), self.window) {
            (Some(lease), Some(window)) if !self.stopping => {
                let window = Window::of(&window.before, now.moment.boot);
                Some(Hit { lease: lease.clone(), window })
            }
            _ => None,
        };
        Published {
            hit,
            standing: Standing {
                login_required: self.login_required(now),
                refresh_since: self.knowledge.refresh_since(),
                signed_in: self.knowledge.view.as_ref().and_then(|view| view.signed_in),
                in_doubt: self.knowledge.in_doubt(),
            },
            residue: Residue {
                floor: self.floor,
                flight: self.flight.as_ref().map(|flight| RunningFlight {
                    id: flight.id,
                    epoch: flight.epoch,
                    keeping: flight.keeping,
                }),
                backoff: self.backoff,
                futility: self.futility.clone(),
                closing: self.closing.as_ref().filter(|_| self.is_closing()).map(Closing::pending),
                barred: self.barred.map(|bar| bar.epoch),
                closed: self.closed,
                unstored: self.unstored.clone(),
                known: self.known,
                plan: self.plan.clone(),
            },
        }
    }

    /// Everything that depends on time.
    fn wakes(&self, now: Now) -> impl Iterator<Item = ElapsedTime> {
        let waits = !self.waiters.is_empty() || self.refreshes_alone();
        let verdict = self.verdict.map(|verdict| verdict.until).filter(|until| *until > now.elapsed());
        let pauses = [self.backoff.resting.map(|(_, until)| until), self.throttled, verdict];
        let pauses = pauses.into_iter().flatten().filter(move |_| waits);
        self.waiters
            .next_deadline()
            .into_iter()
            .chain(pauses)
            .chain(self.knowledge.wake())
            .chain(self.login.as_ref().map(|installing| installing.limit))
            .chain(self.configuring.as_ref().and_then(Configuring::wake))
            .chain(self.closing.as_ref().and_then(Closing::wake))
            .chain(self.barred.map(|bar| bar.retry_at))
            .chain(self.background_wake(now))
    }
}
