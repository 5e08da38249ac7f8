//! Requests for permits, which go to the limiter's actor.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{ActorCell, ActorRuntime, MessagingErr};
use tokio::sync::{oneshot, watch};

use super::actor::IssuerActor;
use super::limiter::{Address, LimiterHandle, LimiterState, Ticket};
use super::messages::{LimiterMessage, PermitAnswer};
use crate::law::flight::Urgency;
use crate::law::issuer::AskId;
use crate::ports::permit::{Permission, Permit};

impl LimiterHandle {
    /// Asks the limiter once. Returns `None` if its actor ends before it answers, or cannot be started.
    pub(super) async fn ask(self: &Arc<Self>, urgency: Urgency, supervisor: ActorCell) -> Option<Permission> {
        let (ticket, answer, mut ended) = self.enter(urgency, &supervisor)?;
        let answer = tokio::select! {
            // An answer that came before the actor's end is used.
            biased;
            answer = answer => answer.ok()?,
            _ = ended.changed() => return None,
        };
        if matches!(answer, PermitAnswer::Granted) {
            self.read_cooldown().await;
        }
        // A throttle may have begun between the grant and this moment.
        match (answer, self.throttled()) {
            (PermitAnswer::Held(span), _) | (PermitAnswer::Granted, Some(span)) => Some(Permission::Held(span)),
            (PermitAnswer::Granted, None) => {
                Some(Permission::Granted(Permit::new(move |throttle| ticket.give_back(throttle))))
            }
        }
    }

    /// Sends the request to the actor, which is started under `supervisor` if there is none.
    fn enter(
        self: &Arc<Self>,
        urgency: Urgency,
        supervisor: &ActorCell,
    ) -> Option<(Ticket, oneshot::Receiver<PermitAnswer>, watch::Receiver<()>)> {
        let ask = AskId(self.shared.asks.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let mut message = LimiterMessage::Ask(ask, urgency, reply);
        let mut state = self.state();
        // Tries twice, because the current actor may be ending.
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
                Err(MessagingErr::SendErr(returned)) => message = returned,
                Err(_) => return None,
            }
        }
        None
    }

    /// Starts the actor. The caller still holds the lock on the state, so the actor reads the state only when it contains
    /// the actor's address.
    fn start(self: &Arc<Self>, state: &mut LimiterState, supervisor: ActorCell) -> Option<Address> {
        state.incarnation += 1;
        let (end, ended) = watch::channel(());
        let handler = IssuerActor::new(Arc::clone(self), state.incarnation, end);
        // The start is not awaited, because the first messages queue. An actor that cannot start ends at once, and
        // `ended` closes.
        let (actor, _starting) = ActorRuntime::spawn_linked_instant(None, handler, (), supervisor).ok()?;
        Some(Address { actor, ended })
    }
}
