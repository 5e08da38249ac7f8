//! One issuer's limiter as askers see it: its state, and the way to its actor.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{ActorCell, ActorRef, ActorRuntime};
use tokio::sync::{oneshot, watch};

use super::Shared;
use super::actor::{IssuerActor, LimiterMessage, PermitAnswer};
use crate::law::flight::Urgency;
use crate::law::issuer::{AskId, IssuerEffect, IssuerEvent, IssuerLimiter, LimiterResidue};
use crate::ports::permit::{Permission, Permit};
use crate::values::{ElapsedTime, Now};

/// The limiter of one issuer.
pub(super) struct LimiterHandle {
    shared: Arc<Shared>,
    state: Mutex<LimiterState>,
}

/// What outlives the actor.
#[derive(Default)]
struct LimiterState {
    throttled: Option<ElapsedTime>,
    /// Every ask that is alive, and whether it has its permit.
    tickets: BTreeMap<AskId, bool>,
    /// Counts the actors: only the last may grant anything.
    incarnation: u64,
    address: Option<Address>,
}

/// Where the actor is.
#[derive(Clone)]
struct Address {
    actor: ActorRef<LimiterMessage>,
    /// Closed when the actor has ended: a message that came too late may lie in its mailbox for ever.
    ended: watch::Receiver<()>,
}

/// A live ask, then the permit it was granted. Dropping it gives up the ticket, or the permit.
struct Ticket {
    limiter: Arc<LimiterHandle>,
    ask: AskId,
}

impl LimiterHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long the issuer is to be left alone yet.
    pub(super) fn throttled(&self) -> Option<Duration> {
        let state = self.state();
        let now = self.shared.clock.now().elapsed;
        state.throttled.filter(|until| *until > now).map(|until| until.since(now))
    }

    /// Asks the limiter, once. `None` where its actor ended before it answered, or cannot be started.
    pub(super) async fn ask(self: &Arc<Self>, urgency: Urgency, supervisor: ActorCell) -> Option<Permission> {
        let (ticket, answer, mut ended) = self.enter(urgency, &supervisor)?;
        let answer = tokio::select! {
            // An answer that came before the end counts.
            biased;
            answer = answer => answer.ok()?,
            _ = ended.changed() => return None,
        };
        // A throttle may have come between the grant and this moment.
        match (answer, self.throttled()) {
            (PermitAnswer::Held(span), _) | (PermitAnswer::Granted, Some(span)) => Some(Permission::Held(span)),
            (PermitAnswer::Granted, None) => {
                Some(Permission::Granted(Permit::new(move |throttle| ticket.give_back(throttle))))
            }
        }
    }

    /// Sends the ask to the actor, which is started under `supervisor` where there is none.
    fn enter(
        self: &Arc<Self>,
        urgency: Urgency,
        supervisor: &ActorCell,
    ) -> Option<(Ticket, oneshot::Receiver<PermitAnswer>, watch::Receiver<()>)> {
        let ask = AskId(self.shared.asks.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let mut message = LimiterMessage::Ask(ask, urgency, reply);
        let mut state = self.state();
        // One that is there may turn out to be stopping.
        for _ in 0..2 {
            let address = match state.address.take().filter(|address| address.ended.has_changed().is_ok()) {
                Some(address) => address,
                None => self.start(&mut state, supervisor.clone())?,
            };
            match address.actor.send_message(message) {
                Ok(()) => {
                    let ended = address.ended.clone();
                    state.address = Some(address);
                    state.tickets.insert(ask, false);
                    return Some((Ticket { limiter: Arc::clone(self), ask }, answer, ended));
                }
                Err(ractor::MessagingErr::SendErr(refused)) => message = refused,
                Err(_) => return None,
            }
        }
        None
    }

    /// Starts the actor. It reads the state only when the caller has let go of it, with its address inside.
    fn start(self: &Arc<Self>, state: &mut LimiterState, supervisor: ActorCell) -> Option<Address> {
        state.incarnation += 1;
        let (end, ended) = watch::channel(());
        let handler = IssuerActor::new(Arc::clone(self), state.incarnation, end);
        // Not awaited: its first messages queue. One that cannot start ends at once, which its askers are told.
        let (actor, _starting) = ActorRuntime::spawn_linked_instant(None, handler, (), supervisor).ok()?;
        Some(Address { actor, ended })
    }

    /// The machine of a new actor.
    pub(super) fn machine(&self) -> IssuerLimiter {
        let state = self.state();
        let granted = state.tickets.iter().filter(|(_, granted)| **granted);
        let residue = LimiterResidue { throttled: state.throttled, out: granted.map(|(ask, _)| *ask).collect() };
        IssuerLimiter::start(self.shared.policy, residue, self.shared.now())
    }

    /// Lets the machine take in `event`, as one step with the state: what came to be known about the issuer before counts,
    /// and what is granted is written down. `None` where another actor has taken over.
    pub(super) fn step(
        &self,
        incarnation: u64,
        machine: &mut IssuerLimiter,
        event: IssuerEvent,
    ) -> Option<(Vec<IssuerEffect>, Now)> {
        let mut state = self.state();
        if state.incarnation != incarnation {
            return None;
        }
        let now = self.shared.now();
        let mut effects = Vec::new();
        if let Some(until) = state.throttled {
            effects = machine.handle(IssuerEvent::Throttled(until), now);
        }
        effects.extend(machine.handle(event, now));
        for effect in &effects {
            if let IssuerEffect::Grant(ask) = effect
                && let Some(granted) = state.tickets.get_mut(ask)
            {
                *granted = true;
            }
        }
        Some((effects, now))
    }
}

impl Ticket {
    fn give_back(&self, throttle: Option<Duration>) {
        let limiter = &self.limiter;
        let mut state = limiter.state();
        let Some(granted) = state.tickets.remove(&self.ask) else { return };
        if let Some(span) = throttle {
            let until = limiter.shared.policy.throttled_until(span, limiter.shared.clock.now().elapsed);
            state.throttled = state.throttled.max(Some(until));
        }
        // The throttle stands in the state, with the time at which it was heard.
        let event = if granted { IssuerEvent::Returned(self.ask, None) } else { IssuerEvent::Gone(self.ask) };
        if let Some(address) = &state.address {
            // An actor that has ended needs no word: its successor reads the state.
            let _ = address.actor.send_message(LimiterMessage::Event(event));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

#[cfg(test)]
impl LimiterHandle {
    /// The actor, for tests that end it.
    pub(super) fn actor(&self) -> Option<ActorRef<LimiterMessage>> {
        self.state().address.as_ref().map(|address| address.actor.clone())
    }

    /// How many asks are alive, and how many permits are out.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.tickets.len(), state.tickets.values().filter(|granted| **granted).count())
    }
}
