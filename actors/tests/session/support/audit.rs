//! The contract of the session machine, checked from outside after every event of every story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenkeeper_actors::law::flight::{Op, Report};
use tokenkeeper_actors::law::session::{
    Published, RefusalAnswer, ReplyId, Session, SessionEffect, SessionEvent, WaiterId,
};
use tokenkeeper_actors::values::{ElapsedTime, Epoch, FlightId, Generation, Lease, LogoutError, Now};

/// The longest sleep (law 14).
const SLEEP_MOST: Duration = Duration::from_secs(60);

/// How many effects one event may have besides answers to callers. A tick has the most: publish, read, answer a login,
/// answer a logout, a message to a flight, two writes, a flight.
const OTHER_EFFECTS: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The waiting callers and their deadlines.
    waiting: BTreeMap<WaiterId, ElapsedTime>,
    /// Refusals, logins and logouts that are not answered yet.
    replies: BTreeSet<ReplyId>,
    /// The generation of each unanswered refusal.
    refusing: BTreeMap<ReplyId, Generation>,
    /// The generations whose refusals were answered otherwise than "futile".
    refused: Vec<Generation>,
    /// The flight that has not landed, or keeps an unsaved pair.
    flight: Option<(FlightId, Epoch)>,
    published: Option<Published>,
    /// The newest generation that was handed out or published, and the newest that was logged out of.
    newest: Option<Generation>,
    ended: Option<Generation>,
    /// The value of `newest` when each unanswered logout began.
    ending: BTreeMap<ReplyId, Option<Generation>>,
    stopped: bool,
    /// The questions of this actor to the store, by op.
    asked: BTreeSet<Op>,
}

impl Audit {
    /// Notes an event before the session processes it.
    pub(crate) fn before(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::GetToken(waiter, ask) => {
                self.waiting.insert(*waiter, ask.deadline());
            }
            SessionEvent::WaiterGone(waiter) => {
                self.waiting.remove(waiter);
            }
            SessionEvent::Invalidate(reply, refusal) => {
                self.replies.insert(*reply);
                self.refusing.insert(*reply, refusal.generation);
            }
            SessionEvent::Install(reply, _) | SessionEvent::Configure(reply, _) => {
                self.replies.insert(*reply);
            }
            SessionEvent::Logout(reply) | SessionEvent::Forget(reply) => {
                self.replies.insert(*reply);
                self.ending.insert(*reply, self.newest);
            }
            SessionEvent::Flight(id, Report::Landed(landing)) if !landing.keeping => self.ended(*id),
            SessionEvent::Flight(id, Report::Settled(_) | Report::Lost { .. }) => self.ended(*id),
            SessionEvent::FlightOver(id) => self.ended(*id),
            SessionEvent::Shutdown => self.stopped = true,
            _ => {}
        }
    }

    fn ended(&mut self, id: FlightId) {
        self.flight.take_if(|(flight, _)| *flight == id);
    }

    /// Checks the effects, and the session's own state.
    pub(crate) fn after(&mut self, event: &SessionEvent, now: Now, effects: &[SessionEffect], session: &Session) {
        let waited = self.waiting.len() + self.refusing.len();
        for (place, effect) in effects.iter().enumerate() {
            self.effect(place, effect, now);
        }
        assert!(effects.len() <= waited + OTHER_EFFECTS, "{} effects of one event: {event:?}", effects.len());
        assert_eq!(session.waiting(), self.waiting.len(), "somebody waits unknown, or is lost: {event:?}");
        self.wake(event, now, session);
        if matches!(event, SessionEvent::Shutdown) {
            assert!(self.waiting.is_empty(), "somebody waits after the shutdown");
            assert!(self.replies.is_empty(), "somebody is not answered at the shutdown");
        }
        assert!(session.waiting() == 0 || !session.is_idle());
        if let Some(running) = self.published().residue.flight {
            assert_eq!(Some(running.id), self.flight(), "the slot names a flight that is over");
        }
    }

    fn wake(&self, event: &SessionEvent, now: Now, session: &Session) {
        let next = session.next_wake();
        assert!(next.is_none_or(|next| next <= now.elapsed().after(SLEEP_MOST)), "a sleep of more than a minute");
        if let Some(deadline) = self.waiting.values().min() {
            assert!(next.is_some_and(|next| next <= *deadline), "a deadline would be slept over");
        }
        if matches!(event, SessionEvent::Tick) {
            let due = self.waiting.values().filter(|deadline| **deadline <= now.elapsed()).count();
            assert_eq!(due, 0, "a tick left somebody waiting whose deadline has come");
            assert!(next.is_none_or(|next| next > now.elapsed()), "a tick is due at once after a tick");
        }
    }

    fn effect(&mut self, place: usize, effect: &SessionEffect, now: Now) {
        match effect {
            SessionEffect::Publish(published) => {
                assert_eq!(place, 0, "what is published precedes all else, and once");
                assert_ne!(Some(&**published), self.published.as_ref(), "nothing new was published");
                if let Some(hit) = &published.hit {
                    self.servable(&hit.lease);
                }
                self.published = Some((**published).clone());
            }
            SessionEffect::Answer(waiter, answer) => {
                assert!(self.waiting.remove(waiter).is_some(), "{waiter:?} does not wait (any more)");
                if let Ok(lease) = answer {
                    self.servable(lease);
                    let left = lease.validity().remaining(&now.moment);
                    assert!(left.is_none_or(|left| !left.is_zero()), "a lease that is over was handed out");
                }
            }
            SessionEffect::AnswerRefusal(reply, answer) => {
                assert!(self.replies.remove(reply), "{reply:?} was answered before");
                let generation = self.refusing.remove(reply).expect("a refusal");
                // A generation above all that is known was never handed out here. Its refusal holds for what is known.
                let known = self.published().residue.known;
                let refused = if generation.supersedes(&known) { known } else { generation };
                if matches!(answer, RefusalAnswer::Noted | RefusalAnswer::Superseded) {
                    self.refused.push(refused);
                }
            }
            SessionEffect::AnswerInstall(reply, _) | SessionEffect::AnswerConfigure(reply, _) => {
                assert!(self.replies.remove(reply), "{reply:?} was answered before");
            }
            SessionEffect::AnswerLogout(reply, answer) => {
                assert!(self.replies.remove(reply), "{reply:?} was answered before");
                let ended = self.ending.remove(reply).flatten();
                if !matches!(answer, Err(LogoutError::Busy)) {
                    self.ended = ended.or(self.ended);
                }
            }
            SessionEffect::Fly(order) => {
                assert!(!self.stopped, "a flight after the shutdown");
                // A flight of an old epoch blocks no other.
                let free = self.flight.is_none_or(|(_, epoch)| epoch < order.epoch);
                assert!(free, "a flight beside another: {:?} and {order:?}", self.flight);
                self.flight = Some((order.flight, order.epoch));
            }
            SessionEffect::Load(op) | SessionEffect::Reserve(op, _) | SessionEffect::Change(op, _) => {
                assert!(
                    self.asked.insert(*op),
                    "{op:?} stamps two questions: a late answer would be taken for another's"
                );
            }
            _ => {}
        }
    }

    /// After a refusal was answered, no lease of that generation or older is handed out (law 6). After a logout, no
    /// lease is handed out that was handed out before it (law 12).
    fn servable(&mut self, lease: &Lease) {
        let generation = lease.generation();
        let over = self.ended.is_some_and(|ended| !generation.supersedes(&ended));
        assert!(!over, "{generation} is handed out although it was logged out of");
        if self.newest.is_none_or(|newest| generation.supersedes(&newest)) {
            self.newest = Some(generation);
        }
        for refused in &self.refused {
            let bad = generation == *refused || refused.supersedes(&generation);
            assert!(!bad, "{generation} is handed out although {refused} was refused");
        }
    }

    /// The actor is gone, and its waiting callers with it. The answers that were given still hold.
    pub(crate) fn restarted(&mut self) {
        self.waiting.clear();
        self.replies.clear();
        self.refusing.clear();
        self.asked.clear();
        // The new actor publishes its own state, and has not been stopped.
        self.published = None;
        self.stopped = false;
    }

    /// The store was emptied, so earlier generations have no meaning any more.
    pub(crate) fn starts_over(&mut self) {
        self.refused.clear();
        (self.newest, self.ended) = (None, None);
    }

    /// The contents of the identity's cell and slot.
    pub(crate) fn published(&self) -> &Published {
        self.published.as_ref().expect("a session publishes when it starts")
    }

    /// The running flight, as the driver knows it.
    pub(crate) fn flight(&self) -> Option<FlightId> {
        self.flight.map(|(id, _)| id)
    }
}
