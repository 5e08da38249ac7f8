//! One issuer's desk as askers see it: its book, and the way to its actor.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{ActorCell, ActorRef, ActorRuntime};
use tokio::sync::{oneshot, watch};

use super::House;
use super::actor::{Answer, DeskMessage, IssuerActor};
use crate::law::flight::Urgency;
use crate::law::issuer::{AskId, DeskResidue, IssuerDesk, IssuerEffect, IssuerEvent};
use crate::ports::permit::{Permission, Permit};
use crate::values::{ElapsedTime, Now};

/// The desk of one issuer.
pub(super) struct Desk {
    house: Arc<House>,
    book: Mutex<Book>,
}

/// What outlives the actor.
#[derive(Default)]
struct Book {
    throttled: Option<ElapsedTime>,
    /// Every ask that is alive, and whether it has its permit.
    places: BTreeMap<AskId, bool>,
    /// Counts the actors: only the last may grant anything.
    incarnation: u64,
    address: Option<Address>,
}

/// Where the actor is.
#[derive(Clone)]
struct Address {
    actor: ActorRef<DeskMessage>,
    /// Closed when the actor has ended: a message that came too late may lie in its mailbox for ever.
    ended: watch::Receiver<()>,
}

/// A live ask, then the permit it was granted. Dropping it gives up the place, or the permit.
struct Place {
    desk: Arc<Desk>,
    ask: AskId,
}

impl Desk {
    pub(super) fn new(house: Arc<House>) -> Self {
        Self { house, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long the issuer is to be left alone yet.
    pub(super) fn throttled(&self) -> Option<Duration> {
        let book = self.book();
        let now = self.house.clock.now().elapsed;
        book.throttled.filter(|until| *until > now).map(|until| until.since(now))
    }

    /// Asks the desk, once. `None` where its actor ended before it answered, or cannot be started.
    pub(super) async fn ask(self: &Arc<Self>, urgency: Urgency, supervisor: ActorCell) -> Option<Permission> {
        let (place, answer, mut ended) = self.enter(urgency, &supervisor)?;
        let answer = tokio::select! {
            // An answer that came before the end counts.
            biased;
            answer = answer => answer.ok()?,
            _ = ended.changed() => return None,
        };
        // A throttle may have come between the grant and this moment.
        match (answer, self.throttled()) {
            (Answer::Held(span), _) | (Answer::Granted, Some(span)) => Some(Permission::Held(span)),
            (Answer::Granted, None) => {
                Some(Permission::Granted(Permit::new(move |throttle| place.give_back(throttle))))
            }
        }
    }

    /// Sends the ask to the actor, which is started under `supervisor` where there is none.
    fn enter(
        self: &Arc<Self>,
        urgency: Urgency,
        supervisor: &ActorCell,
    ) -> Option<(Place, oneshot::Receiver<Answer>, watch::Receiver<()>)> {
        let ask = AskId(self.house.asks.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let mut message = DeskMessage::Ask(ask, urgency, reply);
        let mut book = self.book();
        // One that is there may turn out to be stopping.
        for _ in 0..2 {
            let address = match book.address.take().filter(|address| address.ended.has_changed().is_ok()) {
                Some(address) => address,
                None => self.start(&mut book, supervisor.clone())?,
            };
            match address.actor.send_message(message) {
                Ok(()) => {
                    let ended = address.ended.clone();
                    book.address = Some(address);
                    book.places.insert(ask, false);
                    return Some((Place { desk: Arc::clone(self), ask }, answer, ended));
                }
                Err(ractor::MessagingErr::SendErr(refused)) => message = refused,
                Err(_) => return None,
            }
        }
        None
    }

    /// Starts the actor. It reads the book only when the caller has let go of it, with its address inside.
    fn start(self: &Arc<Self>, book: &mut Book, supervisor: ActorCell) -> Option<Address> {
        book.incarnation += 1;
        let (end, ended) = watch::channel(());
        let handler = IssuerActor::new(Arc::clone(self), book.incarnation, end);
        // Not awaited: its first messages queue. One that cannot start ends at once, which its askers are told.
        let (actor, _starting) = ActorRuntime::spawn_linked_instant(None, handler, (), supervisor).ok()?;
        Some(Address { actor, ended })
    }

    /// The machine of a new actor.
    pub(super) fn machine(&self) -> IssuerDesk {
        let book = self.book();
        let granted = book.places.iter().filter(|(_, granted)| **granted);
        let residue = DeskResidue { throttled: book.throttled, out: granted.map(|(ask, _)| *ask).collect() };
        IssuerDesk::start(self.house.policy, residue, self.house.now())
    }

    /// Lets the machine take in `event`, as one step with the book: what came to be known about the issuer before counts,
    /// and what is granted is written down. `None` where another actor has taken over.
    pub(super) fn step(
        &self,
        incarnation: u64,
        machine: &mut IssuerDesk,
        event: IssuerEvent,
    ) -> Option<(Vec<IssuerEffect>, Now)> {
        let mut book = self.book();
        if book.incarnation != incarnation {
            return None;
        }
        let now = self.house.now();
        let mut effects = Vec::new();
        if let Some(until) = book.throttled {
            effects = machine.handle(IssuerEvent::Throttled(until), now);
        }
        effects.extend(machine.handle(event, now));
        for effect in &effects {
            if let IssuerEffect::Grant(ask) = effect
                && let Some(granted) = book.places.get_mut(ask)
            {
                *granted = true;
            }
        }
        Some((effects, now))
    }
}

impl Place {
    fn give_back(&self, throttle: Option<Duration>) {
        let desk = &self.desk;
        let mut book = desk.book();
        let Some(granted) = book.places.remove(&self.ask) else { return };
        if let Some(span) = throttle {
            let until = desk.house.policy.throttled_until(span, desk.house.clock.now().elapsed);
            book.throttled = book.throttled.max(Some(until));
        }
        // The throttle stands in the book, with the time at which it was heard.
        let event = if granted { IssuerEvent::Returned(self.ask, None) } else { IssuerEvent::Gone(self.ask) };
        if let Some(address) = &book.address {
            // An actor that has ended needs no word: its successor reads the book.
            let _ = address.actor.send_message(DeskMessage::Event(event));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

#[cfg(test)]
impl Desk {
    /// The actor, for tests that end it.
    pub(super) fn actor(&self) -> Option<ActorRef<DeskMessage>> {
        self.book().address.as_ref().map(|address| address.actor.clone())
    }

    /// How many asks are alive, and how many permits are out.
    pub(super) fn counts(&self) -> (usize, usize) {
        let book = self.book();
        (book.places.len(), book.places.values().filter(|granted| **granted).count())
    }
}
