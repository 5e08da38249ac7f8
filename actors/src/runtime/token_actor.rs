//! The actor of one identity. It drives the session machine, and never waits while it handles a message.

mod effects;

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio_util::task::AbortOnDropHandle;

use super::cell::Incarnation;
use super::core::Core;
use super::messages::{Mailbox, TokenMessage};
use super::request::{Request, RequestKind};
use super::revocations::Running;
use super::slot::Slot;
use super::timer;
use crate::law::flight::Op;
use crate::law::line::Line;
use crate::law::session::{Birth, ReplyId, Session, SessionEvent, WaiterId};
use crate::values::{ElapsedTime, FlightId, MAX_SLEEP, Moment, Now, Reason, TokenError};

/// A tick that comes later than its time by more than this shows that the process was stopped or suspended.
const LATE: Duration = Duration::from_secs(1);

/// The time by which a late tick is put off.
const CATCHING_UP: Duration = Duration::from_secs(1);

/// One identity's actor.
#[derive(Debug)]
pub(crate) struct TokenActor;

/// The arguments of a new actor.
#[derive(Debug)]
pub(crate) struct ActorArguments {
    pub(crate) core: Arc<Core>,
    pub(crate) slot: Arc<Slot>,
}

#[ractor::actor(message = TokenMessage, state = TokenState, arguments = ActorArguments)]
impl TokenActor {
    async fn pre_start(
        &self,
        myself: ActorRef<TokenMessage>,
        arguments: ActorArguments,
    ) -> Result<TokenState, ActorProcessingErr> {
        Ok(TokenState::begin(myself, arguments))
    }

    async fn handle(
        &self,
        _myself: ActorRef<TokenMessage>,
        message: TokenMessage,
        state: &mut TokenState,
    ) -> Result<(), ActorProcessingErr> {
        state.handle(message);
        Ok(())
    }
}

/// The session machine, with the requests that its identifiers stand for.
#[derive(Debug)]
pub(crate) struct TokenState {
    core: Arc<Core>,
    slot: Arc<Slot>,
    myself: ActorRef<TokenMessage>,
    incarnation: Incarnation,
    session: Session,
    waiters: Line<WaiterId, Request<Slot>>,
    replies: Line<ReplyId, Request<Slot>>,
    next_id: u64,
    /// The time of the current message. It is read once for each message, because a reading for each of many callers would
    /// be expensive.
    moment: Moment,
    /// The time of the last request.
    asked: ElapsedTime,
    timer: Option<(ElapsedTime, AbortOnDropHandle<()>)>,
    timers: u64,
    /// Whether a late tick was put off, so that messages that have arrived meanwhile are processed first.
    put_off: bool,
    /// The operation of the last load of the record, until that load succeeds. Until then, the cell may be out of date.
    reading: Option<Op>,
    /// The flight that began without a waiter, and that no caller has waited for since.
    background_flight: Option<FlightId>,
    /// The revocation that a logout has begun. The answer to the logout, another effect of the same event, waits for it.
    revoking: Option<Running>,
    /// Whether this actor has asked for its own end. After that, it takes no more requests.
    retired: bool,
    /// Whether a newer incarnation owns the cell. This one must stop.
    superseded: bool,
}

impl TokenState {
    fn begin(myself: ActorRef<TokenMessage>, ActorArguments { core, slot }: ActorArguments) -> Self {
        let now = core.now();
        let (incarnation, residue) = slot.cell.begin();
        slot.attach(incarnation, Mailbox::Actor(myself.clone()));
        let running = residue.flight.map(|flight| flight.id);
        let attempts: Vec<_> = residue.attempts.iter().map(|attempt| attempt.id).collect();
        let birth = Birth { nonce: core.nonce, flights: core.ports.entropy.flight_base() };
        let (session, effects) = Session::start(slot.plan.policy.clone(), birth, residue, now);
        let mut state = Self {
            core,
            slot,
            myself,
            incarnation,
            session,
            waiters: Line::default(),
            replies: Line::default(),
            next_id: 0,
            moment: now.moment,
            asked: now.elapsed(),
            timer: None,
            timers: 0,
            put_off: false,
            reading: None,
            background_flight: None,
            revoking: None,
            retired: false,
            superseded: false,
        };
        state.perform(effects, now);
        // Reports that arrived while there was no actor come before requests.
        state.take_backlog();
        if let Some(flight) = running.filter(|flight| state.slot.is_finished(*flight)) {
            // An earlier incarnation took its last report, and ended before it published the result.
            state.step(SessionEvent::FlightOver(flight));
        }
        let finished =
            |slot: &Slot| attempts.into_iter().filter(|id| slot.is_attempt_finished(*id)).collect::<Vec<_>>();
        for attempt in finished(&state.slot) {
            state.step(SessionEvent::AttemptOver(attempt));
        }
        state.admit_all();
        if state.core.is_stopping() {
            state.step(SessionEvent::Shutdown);
        }
        state.go_on();
        state
    }

    fn handle(&mut self, message: TokenMessage) {
        self.moment = self.core.ports.clock.now();
        match message {
            // This actor is ending, and the next actor takes the requests.
            TokenMessage::Requests if self.retired => {}
            TokenMessage::Requests => self.admit_all(),
            TokenMessage::Event(event) => {
                let loaded = matches!(&*event, SessionEvent::Loaded(..));
                match &*event {
                    // The timer did not count the time of the suspend.
                    SessionEvent::Resumed if !self.put_off => self.timer = None,
                    // The machine ignores answers to earlier loads, so only the answer to the latest load counts.
                    SessionEvent::Loaded(op, Ok(_)) => drop(self.reading.take_if(|reading| reading == op)),
                    _ => {}
                }
                self.step(*event);
                if loaded && self.slot.is_in_use() && self.slot.until_early(&self.moment).is_none() {
                    // The early window began before this actor, so no timer of this actor will check whether the lease is
                    // in use.
                    self.step(SessionEvent::Used);
                }
            }
            TokenMessage::Backlog => self.take_backlog(),
            TokenMessage::Tick(number) if number == self.timers && self.is_late() => {
                return self.put_off_tick();
            }
            TokenMessage::Tick(number) if number == self.timers => {
                self.timer = None;
                self.put_off = false;
                if self.slot.is_in_use() {
                    self.step(SessionEvent::Used);
                }
                self.step(SessionEvent::Tick);
                self.retire_if_idle();
            }
            TokenMessage::Tick(_) => {}
        }
        self.go_on();
    }

    /// Sets the timer, or ends this actor if it is superseded.
    fn go_on(&mut self) {
        if self.superseded {
            // The dropped requests go to the successor.
            (self.waiters, self.replies) = Default::default();
            self.myself.stop(None);
        } else {
            self.set_timer();
        }
    }

    /// Hands the requests of the inbox to the machine, a batch at a time.
    fn admit_all(&mut self) {
        loop {
            let (requests, more) = self.slot.take_requests(self.incarnation);
            // The time is read after the requests were taken, so that no request is later than this time.
            self.moment = self.core.ports.clock.now();
            requests.into_iter().for_each(|request| self.admit(request));
            // An actor that is ending gets no more messages, so it takes all requests now.
            if !more || self.myself.send_message(TokenMessage::Requests).is_ok() {
                return;
            }
        }
    }

    /// Hands a request to the machine.
    fn admit(&mut self, mut request: Request<Slot>) {
        self.next_id += 1;
        let (waiter, reply) = (WaiterId(self.next_id), ReplyId(self.next_id));
        let event = match request.kind() {
            _ if request.is_abandoned() => return,
            Some(RequestKind::Token(ask, _)) => {
                let ask = *ask;
                if self.waiters.len() >= self.slot.plan.policy.max_waiters {
                    self.remove_abandoned();
                }
                self.waiters.join(waiter, request);
                self.step_for_request(SessionEvent::GetToken(waiter, ask));
                if self.waiters.get(waiter).is_some()
                    && let Some(flight) = self.background_flight.take()
                {
                    self.slot.expedite(flight);
                }
                return;
            }
            Some(RequestKind::Login(request, _)) => SessionEvent::Login(reply, request.clone()),
            Some(RequestKind::Refusal(refusal, _)) => SessionEvent::Invalidate(reply, *refusal),
            Some(RequestKind::Install(..)) => match request.take_login() {
                Some(login) => SessionEvent::Install(reply, login),
                None => return,
            },
            Some(RequestKind::Logout(_)) => SessionEvent::Logout(reply),
            Some(RequestKind::Forget(_)) => SessionEvent::Forget(reply),
            Some(RequestKind::Configure(renewal, _)) => SessionEvent::Configure(reply, renewal.clone()),
            Some(RequestKind::Installing(_)) | None => return,
        };
        self.replies.join(reply, request);
        self.step_for_request(event);
    }

    fn step_for_request(&mut self, event: SessionEvent) {
        self.asked = self.moment.elapsed;
        self.step(event);
    }

    /// Removes the requests for logins whose callers are gone. Their attempts go on.
    fn remove_abandoned_logins(&mut self) {
        let is_gone =
            |request: &Request<Slot>| matches!(request.kind(), Some(RequestKind::Login(_, reply)) if reply.is_closed());
        let gone: Vec<ReplyId> =
            self.replies.iter().filter(|(_, request)| is_gone(request)).map(|(id, _)| id).collect();
        for id in gone {
            if let Some(request) = self.replies.leave(id) {
                request.fail(TokenError::new(Reason::Aborted));
            }
            self.step(SessionEvent::LoginRequestGone(id));
        }
    }

    /// Removes the waiters whose callers are gone, to make room for others.
    fn remove_abandoned(&mut self) {
        let gone: Vec<WaiterId> =
            self.waiters.iter().filter(|(_, request)| request.is_abandoned()).map(|(id, _)| id).collect();
        for id in gone {
            self.waiters.leave(id);
            self.step(SessionEvent::WaiterGone(id));
        }
    }

    /// Takes the reports of flights, and the issuers that the resource listed.
    fn take_backlog(&mut self) {
        if let Some(issuers) = self.slot.take_issuers() {
            self.step(SessionEvent::IssuersListed(issuers));
        }
        while let Some((flight, report)) = self.slot.take_report(self.incarnation) {
            self.step(match report {
                Some(report) => SessionEvent::Flight(flight, report),
                None => SessionEvent::FlightOver(flight),
            });
        }
        while let Some((attempt, report)) = self.slot.take_login_report(self.incarnation) {
            // A caller that has gone must not be the one that is to open the page.
            self.remove_abandoned_logins();
            self.step(match report {
                Some(report) => SessionEvent::Attempt(attempt, Box::new(report)),
                None => SessionEvent::AttemptOver(attempt),
            });
        }
    }

    /// Hands an event to the machine, and carries out its effects.
    fn step(&mut self, event: SessionEvent) {
        let now = Now { moment: self.moment, jitter: self.core.ports.entropy.jitter() };
        let effects = self.session.handle(event, now);
        self.perform(effects, now);
    }

    /// Sets the one timer for the next due time.
    fn set_timer(&mut self) {
        let now = self.moment;
        let idle = self.may_sleep().then(|| self.asked.after(self.core.idle_after));
        // At the beginning of the early window the actor checks whether the lease is in use.
        let early = self.slot.until_early(&now).map(|left| now.elapsed.after(left));
        let wake = self.session.next_wake().into_iter().chain(idle).chain(early).min();
        if self.put_off && self.timer.is_some() || self.timer.as_ref().map(|(at, _)| *at) == wake {
            return;
        }
        self.timer = None;
        self.timers += 1;
        if let Some(at) = wake {
            let span = at.since(now.elapsed).min(MAX_SLEEP);
            self.timer = Some((at, timer::send_after(span, self.myself.clone(), TokenMessage::Tick(self.timers))));
        }
    }

    /// Whether the current tick comes late while a flight runs. The process was then stopped or suspended, and the
    /// flight's answer may have arrived since. Callers whose deadline has passed get that answer if it is processed
    /// before the tick.
    fn is_late(&self) -> bool {
        let late = self.timer.as_ref().is_some_and(|(at, _)| self.moment.elapsed.since(*at) > LATE);
        late && !self.put_off && self.session.is_flying()
    }

    /// Sets the timer for a tick that is put off.
    fn put_off_tick(&mut self) {
        self.put_off = true;
        self.timers += 1;
        let tick = timer::send_after(CATCHING_UP, self.myself.clone(), TokenMessage::Tick(self.timers));
        self.timer = Some((self.moment.elapsed.after(CATCHING_UP), tick));
    }

    /// Whether no work needs an actor. A session that refreshes while it is in use needs one until the early window of its
    /// lease begins, because only an actor that is awake can see the use.
    fn may_sleep(&self) -> bool {
        self.session.is_idle()
            && self.reading.is_none()
            && !self.slot.is_in_use()
            && self.slot.until_early(&self.moment).is_none()
    }

    /// Ends this actor if its session is idle and there was no request for the idle time. The cell continues to serve hits.
    fn retire_if_idle(&mut self) {
        if self.may_sleep() && self.moment.elapsed.since(self.asked) >= self.core.idle_after {
            // Later requests, and those announced in the mailbox, go to the next incarnation.
            self.retired = true;
            drop(self.myself.drain());
        }
    }
}

impl Drop for TokenState {
    fn drop(&mut self) {
        if self.reading.is_some() {
            // The answer to the load is lost, and with it the change of the record that the load was to read.
            self.slot.cell.clear_lease(self.incarnation);
            if !self.core.is_stopping() && self.slot.misses_news() {
                self.core.start(&self.slot);
            }
        }
        self.slot.forget_address(self.incarnation);
        // Fails requests that were announced to this actor and that it has not taken, if its supervisor has already ended.
        self.core.fail_parked_if_alone(&self.slot);
    }
}

#[cfg(test)]
mod tests;
