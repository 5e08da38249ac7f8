//! The actor of one identity: a thin driver of the session machine. It never waits inside a message.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{ActorProcessingErr, ActorRef, MessagingErr};

use super::cell::Incarnation;
use super::core::Core;
use super::events;
use super::flight_task;
use super::request::{Request, RequestKind};
use super::slot::Slot;
use super::state::SessionState;
use super::timer::Leash;
use crate::law::flight::{FlightEvent, Urgency};
use crate::law::line::Line;
use crate::law::session::{Birth, Hit, Published, ReplyId, Session, SessionEffect, SessionEvent, WaiterId};
use crate::ports::store::{EventKind, TokenStore};
use crate::values::{ElapsedTime, FlightId, Moment, Now, ServerIdentity};

/// What a token actor is told. Never serializable: tokens do not leave the process this way.
#[derive(Debug)]
pub(crate) enum TokenMessage {
    /// Somebody wants something.
    Request(Request),
    /// Something happened that the machine is to hear of.
    Event(Box<SessionEvent>),
    /// The slot holds something that no actor has taken in yet.
    Backlog,
    /// The timer that was set with this number has run out.
    Tick(u64),
}

#[cfg(feature = "cluster")]
impl ractor::Message for TokenMessage {}

impl TokenMessage {
    pub(crate) fn event(event: SessionEvent) -> Self {
        Self::Event(Box::new(event))
    }

    /// The request inside a message that could not be sent.
    pub(crate) fn refused(error: MessagingErr<Self>) -> Option<Request> {
        match error {
            MessagingErr::SendErr(Self::Request(request)) => Some(request),
            _ => None,
        }
    }
}

/// One identity's actor.
#[derive(Debug)]
pub(crate) struct TokenActor;

/// What an actor is born with.
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
        state.take_in(message);
        Ok(())
    }
}

/// The machine, and what its ids stand for.
#[derive(Debug)]
pub(crate) struct TokenState {
    core: Arc<Core>,
    slot: Arc<Slot>,
    myself: ActorRef<TokenMessage>,
    incarnation: Incarnation,
    session: Session,
    waiters: Line<WaiterId, Request>,
    replies: Line<ReplyId, Request>,
    next_id: u64,
    /// When the message at hand was taken in. Read once for each message: a crowd of callers is as many of them.
    moment: Moment,
    /// When somebody last asked for something.
    asked: ElapsedTime,
    timer: Option<(ElapsedTime, Leash)>,
    timers: u64,
    /// Whether a read is under way or owed: until it is answered, what the cell shows may be old.
    reading: bool,
    /// A flight that was begun with nobody waiting, and has not been told otherwise.
    background_flight: Option<FlightId>,
    /// It has asked for its own end, and begins nothing any more.
    retired: bool,
    /// Somebody else has the pen: this incarnation is over and has no say any more.
    superseded: bool,
}

impl TokenState {
    fn begin(myself: ActorRef<TokenMessage>, ActorArguments { core, slot }: ActorArguments) -> Self {
        let now = core.now();
        let (incarnation, residue) = slot.cell.begin();
        let parked = slot.attach(incarnation, myself.clone());
        let running = residue.flight.map(|flight| flight.id);
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
            reading: false,
            background_flight: None,
            retired: false,
            superseded: false,
        };
        state.perform(effects, now);
        // What happened while there was no actor comes first.
        state.take_backlog();
        if let Some(flight) = running.filter(|flight| state.slot.has_no_trace_of(*flight)) {
            // Its last report was taken by one who ended over it.
            state.happen(SessionEvent::FlightOver(flight));
        }
        parked.into_iter().for_each(|request| state.admit(request));
        if state.core.is_stopping() {
            state.happen(SessionEvent::Shutdown);
        }
        state.set_timer();
        state
    }

    fn take_in(&mut self, message: TokenMessage) {
        self.moment = self.core.ports.clock.now();
        match message {
            // Its answer would come too late for this actor: it goes to the next one.
            TokenMessage::Request(request) if self.retired => drop(request),
            TokenMessage::Request(request) => self.admit(request),
            TokenMessage::Event(event) => {
                match &*event {
                    // The timer has slept through the suspend.
                    SessionEvent::Resumed => self.timer = None,
                    SessionEvent::Loaded(_, answer) => self.reading = answer.is_err(),
                    SessionEvent::StoreChanged if self.retired => self.slot.close(),
                    _ => {}
                }
                self.happen(*event);
            }
            TokenMessage::Backlog => self.take_backlog(),
            TokenMessage::Tick(number) if number == self.timers => {
                self.timer = None;
                if self.is_in_use() {
                    self.happen(SessionEvent::Used);
                }
                self.happen(SessionEvent::Tick);
                self.retire_if_idle();
            }
            TokenMessage::Tick(_) => {}
        }
        if self.superseded {
            // Whoever still waits here asks the successor.
            (self.waiters, self.replies) = Default::default();
            self.myself.stop(None);
        } else {
            self.set_timer();
        }
    }

    /// Somebody wants something.
    fn admit(&mut self, mut request: Request) {
        self.next_id += 1;
        let (waiter, reply) = (WaiterId(self.next_id), ReplyId(self.next_id));
        let event = match request.kind() {
            _ if request.is_abandoned() => return,
            Some(RequestKind::Token(ask, _)) => {
                let ask = *ask;
                if self.waiters.len() >= self.slot.plan.policy.max_waiters {
                    self.forget_who_left();
                }
                self.waiters.join(waiter, request);
                self.asked_for(SessionEvent::GetToken(waiter, ask));
                if self.waiters.get(waiter).is_some()
                    && let Some(flight) = self.background_flight.take()
                {
                    self.slot.expedite(flight);
                }
                return;
            }
            Some(RequestKind::Refusal(refusal, _)) => SessionEvent::Invalidate(reply, *refusal),
            Some(RequestKind::Install(..)) => match request.take_login() {
                Some(login) => SessionEvent::Install(reply, login),
                None => return,
            },
            Some(RequestKind::Logout(_)) => SessionEvent::Logout(reply),
            Some(RequestKind::Configure(renewal, _)) => SessionEvent::Configure(reply, renewal.clone()),
            Some(RequestKind::Installing(_)) | None => return,
        };
        self.replies.join(reply, request);
        self.asked_for(event);
    }

    fn asked_for(&mut self, event: SessionEvent) {
        self.asked = self.moment.elapsed;
        self.happen(event);
    }

    /// Callers that have gone away make room for others.
    fn forget_who_left(&mut self) {
        let gone: Vec<WaiterId> =
            self.waiters.iter().filter(|(_, request)| request.is_abandoned()).map(|(id, _)| id).collect();
        for id in gone {
            self.waiters.leave(id);
            self.happen(SessionEvent::WaiterGone(id));
        }
    }

    /// Takes in what flights reported, and what the resource listed.
    fn take_backlog(&mut self) {
        if let Some(issuers) = self.slot.take_issuers() {
            self.happen(SessionEvent::IssuersListed(issuers));
        }
        while let Some((flight, report)) = self.slot.take_report(self.incarnation) {
            self.happen(match report {
                Some(report) => SessionEvent::Flight(flight, report),
                None => SessionEvent::FlightOver(flight),
            });
        }
    }

    fn happen(&mut self, event: SessionEvent) {
        let now = Now { moment: self.moment, jitter: self.core.ports.entropy.jitter() };
        let effects = self.session.handle(event, now);
        self.perform(effects, now);
    }

    fn perform(&mut self, effects: Vec<SessionEffect>, now: Now) {
        for effect in effects {
            if self.superseded {
                return;
            }
            self.carry_out(effect, now);
        }
    }

    fn carry_out(&mut self, effect: SessionEffect, now: Now) {
        match effect {
            SessionEffect::Publish(published) => self.publish(*published),
            SessionEffect::Answer(id, answer) => {
                if let Some(request) = self.waiters.leave(id) {
                    request.answer_token(answer);
                }
            }
            SessionEffect::AnswerRefusal(id, answer) => {
                if let Some(request) = self.replies.leave(id) {
                    request.answer_refusal(answer);
                }
            }
            SessionEffect::AnswerInstall(id, answer) => {
                if let Ok(view) = &answer {
                    let generation = view.lease.as_ref().map(|lease| lease.generation());
                    events::publish(&self.core, &self.slot, None, EventKind::LoggedIn, None, generation);
                }
                if let Some(request) = self.replies.leave(id) {
                    request.answer_install(answer);
                }
            }
            SessionEffect::AnswerLogout(id, answer) => {
                if answer.is_ok() {
                    events::publish(&self.core, &self.slot, None, EventKind::LoggedOut, None, None);
                }
                if let Some(request) = self.replies.leave(id) {
                    request.answer_logout(answer);
                }
            }
            SessionEffect::AnswerConfigure(id, answer) => {
                if let Some(request) = self.replies.leave(id) {
                    request.answer_configure(answer);
                }
            }
            SessionEffect::Fly(order) => {
                self.background_flight = (order.urgency != Urgency::Callers).then_some(order.flight);
                flight_task::spawn(&self.core, &self.slot, *order);
            }
            SessionEffect::TellLoggedOut(flight, epoch) => {
                self.slot.notify_flights(Some(flight), &FlightEvent::LoggedOut(epoch));
            }
            SessionEffect::Load(op) => {
                self.reading = true;
                let (store, identity) = self.store();
                self.core.spawn(self.heard(async move {
                    let answer = store.load(&identity).await;
                    SessionEvent::Loaded(op, answer.map(|record| record.map(|record| Box::new(record.view()))))
                }));
            }
            SessionEffect::Reserve(op, digest) => {
                let (store, identity) = self.store();
                self.core.spawn(self.heard(async move {
                    SessionEvent::Reserved(op, store.reserve(&identity, digest, now.moment).await)
                }));
            }
            SessionEffect::Change(op, change) => {
                let (store, identity) = self.store();
                self.core.spawn_tracked(
                    self.heard(async move { SessionEvent::Changed(op, store.change(&identity, *change).await) }),
                );
            }
            SessionEffect::Revoke(revocation) => {
                let (sources, identity) = (Arc::clone(&self.slot.plan.sources), self.slot.identity.clone());
                self.core.spawn_tracked(async move {
                    let revoked = sources.revoke(&identity, *revocation).await;
                    tracing::debug!(%identity, revoked, "revoked");
                });
            }
        }
    }

    /// Posts what is published, for hits and successors.
    fn publish(&mut self, published: Published) {
        let generation = |hit: &Option<Hit>| hit.as_ref().map(|hit| hit.lease.generation());
        if generation(&published.hit) != generation(&self.slot.cell.read().hit) {
            self.slot.used.store(false, Ordering::Relaxed);
        }
        self.superseded = !self.slot.cell.post(self.incarnation, published);
        // Looked up after the post: who began to watch before it was made is told, who begins after it sees it.
        if let Some(watchers) = self.slot.watchers.get().filter(|_| !self.superseded) {
            watchers.send_replace(SessionState::from(&**self.slot.cell.read()));
        }
    }

    fn store(&self) -> (Arc<dyn TokenStore>, ServerIdentity) {
        (Arc::clone(&self.core.ports.store), self.slot.identity.clone())
    }

    /// Work whose outcome this incarnation hears of, unless it is over by then.
    fn heard(
        &self,
        work: impl Future<Output = SessionEvent> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (slot, incarnation) = (Arc::clone(&self.slot), self.incarnation);
        async move {
            let event = work.await;
            slot.notify_incarnation(incarnation, TokenMessage::event(event));
        }
    }

    /// Sets the one timer for whatever is due next.
    fn set_timer(&mut self) {
        let now = self.moment;
        let idle = (self.session.is_idle() && !self.reading && !self.is_in_use())
            .then(|| self.asked.after(self.core.idle_after));
        let wake = self.session.next_wake().into_iter().chain(idle).chain(self.looks_for_use(now)).min();
        if self.timer.as_ref().map(|(at, _)| *at) == wake {
            return;
        }
        self.timers += 1;
        self.timer = wake.map(|at| {
            let span = at.since(now.elapsed).min(LONGEST);
            (at, Leash::after(span, self.myself.clone(), TokenMessage::Tick(self.timers)))
        });
    }

    /// When to look whether the lease is in use: where its early window begins.
    fn looks_for_use(&self, now: Moment) -> Option<ElapsedTime> {
        let posted = self.slot.cell.read();
        let window = posted.hit.as_ref().filter(|_| self.slot.plan.follows_use())?.window;
        let left = window.remaining(&now).filter(|left| !left.is_zero())?;
        Some(now.elapsed.after(left))
    }

    /// Whether the lease is in use, where that is a reason to refresh it.
    fn is_in_use(&self) -> bool {
        self.slot.plan.follows_use() && self.slot.used.load(Ordering::Relaxed)
    }

    /// Ends where nothing is going on and nobody has asked for a while: the cell goes on serving.
    fn retire_if_idle(&mut self) {
        let now = self.moment.elapsed;
        if self.session.is_idle() && !self.reading && !self.is_in_use() && now.since(self.asked) >= self.core.idle_after
        {
            // Whoever comes later waits for the next incarnation, and so does who is in the mailbox already.
            self.retired = true;
            drop(self.myself.drain());
        }
    }
}

impl Drop for TokenState {
    fn drop(&mut self) {
        if self.reading {
            // What it was about to read will not be taken in.
            self.slot.cell.close(self.incarnation);
        }
        self.slot.forget_address(self.incarnation);
    }
}

/// No sleep is longer than this (law 14).
const LONGEST: std::time::Duration = std::time::Duration::from_secs(60);
