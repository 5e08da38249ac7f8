//! The state of one issuer's limiter, which outlives the limiter's actor.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ractor::{ActorCell, ActorRef};
use tokio::sync::watch;

use super::cooldowns::{CooldownWrite, Cooldowns, StoredCooldown};
use super::messages::LimiterMessage;
use crate::law::issuer::{AskId, IssuerEffect, IssuerEvent, IssuerLimiter, IssuerPolicy, LimiterResidue};
use crate::ports::clock::Clock;
use crate::sync::lock;
use crate::values::record::Issuer;
use crate::values::{ElapsedTime, Jitter, Now};

/// Finds the actor under which limiters are started. `None` means that the runtime is gone.
pub type FindSupervisor = Pin<Box<dyn Future<Output = Option<ActorCell>> + Send>>;

/// The part that all limiters of a runtime share.
pub(super) struct Shared {
    pub(super) policy: IssuerPolicy,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) jitter: Box<dyn Fn() -> Jitter + Send + Sync>,
    pub(super) supervisor: Box<dyn Fn() -> FindSupervisor + Send + Sync>,
    /// The store through which throttles are shared with other processes.
    pub(super) cooldowns: Option<Cooldowns>,
    /// The number of requests for permits so far.
    pub(super) asks: AtomicU64,
}

impl Shared {
    fn now(&self) -> Now {
        Now { moment: self.clock.now(), jitter: (self.jitter)() }
    }
}

/// The limiter of one issuer.
pub(super) struct LimiterHandle {
    pub(super) shared: Arc<Shared>,
    /// `None` for flights that do not know their issuer.
    pub(super) issuer: Option<Issuer>,
    state: Mutex<LimiterState>,
}

/// The state that outlives the actor.
#[derive(Default)]
pub(super) struct LimiterState {
    /// The end of the throttle.
    pub(super) throttled: Option<ElapsedTime>,
    pub(super) stored: StoredCooldown,
    /// Every live request for a permit, and whether it has its permit.
    pub(super) tickets: BTreeMap<AskId, bool>,
    /// The number of the current actor. Only that actor may grant permits.
    pub(super) incarnation: u64,
    pub(super) address: Option<Address>,
}

/// The address of the actor.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) actor: ActorRef<LimiterMessage>,
    /// Closes when the actor has ended. A message that arrived too late may stay in its mailbox for ever.
    pub(super) ended: watch::Receiver<()>,
}

/// A live request for a permit, then the permit. Dropping it withdraws the request, or returns the permit.
pub(super) struct Ticket {
    pub(super) limiter: Arc<LimiterHandle>,
    pub(super) ask: AskId,
}

impl LimiterHandle {
    pub(super) fn new(shared: Arc<Shared>, issuer: Option<Issuer>) -> Self {
        Self { shared, issuer, state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, LimiterState> {
        lock(&self.state)
    }

    /// Returns the remaining time of the throttle.
    pub(super) fn throttled(&self) -> Option<Duration> {
        let state = self.state();
        let now = self.shared.clock.now().elapsed;
        state.throttled.filter(|until| *until > now).map(|until| until.since(now))
    }

    /// Throttles the requests for `span` from now on.
    pub(super) fn throttle(self: &Arc<Self>, span: Duration) {
        let mut state = self.state();
        let write = self.note_throttle(&mut state, span);
        if let Some(address) = &state.address {
            // The machine gets the throttle of the state before any event, and then holds the queued asks.
            let _ = address.actor.send_message(LimiterMessage::Event(IssuerEvent::Tick));
        }
        drop(state);
        if let Some(write) = write {
            write.spawn();
        }
    }

    /// Notes a throttle that begins now. Returns the write that shares it with other processes, if one has to begin.
    fn note_throttle(self: &Arc<Self>, state: &mut LimiterState, span: Duration) -> Option<CooldownWrite> {
        let until = self.shared.policy.throttled_until(span, self.shared.clock.now().elapsed);
        state.throttled = state.throttled.max(Some(until));
        self.store_throttle(state)
    }

    /// Whether there is no request and no granted permit.
    pub(super) fn is_unused(&self) -> bool {
        self.state().tickets.is_empty()
    }

    /// Removes the address of an actor that wants to end. Returns `false` if a request for it has come meanwhile.
    ///
    /// A request is noted and sent under one lock, so that none is sent to an actor that has been removed.
    pub(super) fn retire(&self, incarnation: u64) -> bool {
        let mut state = self.state();
        let is_free = state.incarnation == incarnation && state.tickets.is_empty();
        if is_free {
            state.address = None;
        }
        is_free
    }

    /// Returns the machine of a new actor.
    pub(super) fn machine(&self) -> IssuerLimiter {
        let state = self.state();
        let granted = state.tickets.iter().filter(|(_, granted)| **granted);
        let residue = LimiterResidue { throttled: state.throttled, out: granted.map(|(ask, _)| *ask).collect() };
        IssuerLimiter::start(self.shared.policy, residue, self.shared.now())
    }

    /// Hands `event` to the machine, under the lock of the state. The machine gets a throttle of the state first, and
    /// grants are noted in the state. Returns `None` if another actor has taken over.
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
    pub(super) fn give_back(&self, throttle: Option<Duration>) {
        let limiter = &self.limiter;
        let mut state = limiter.state();
        let Some(granted) = state.tickets.remove(&self.ask) else { return };
        let write = throttle.and_then(|span| limiter.note_throttle(&mut state, span));
        // The state has the throttle already, counted from now.
        let event = if granted { IssuerEvent::Returned(self.ask, None) } else { IssuerEvent::Gone(self.ask) };
        if let Some(address) = &state.address {
            // An actor that has ended needs no message, because its successor reads the state.
            let _ = address.actor.send_message(LimiterMessage::Event(event));
        }
        drop(state);
        if let Some(write) = write {
            write.spawn();
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
    /// Returns the actor, for tests that end it.
    pub(super) fn actor(&self) -> Option<ActorRef<LimiterMessage>> {
        self.state().address.as_ref().map(|address| address.actor.clone())
    }

    /// Returns the number of live requests for permits, and of granted permits.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.tickets.len(), state.tickets.values().filter(|granted| **granted).count())
    }
}
