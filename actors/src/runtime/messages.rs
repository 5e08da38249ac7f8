//! The messages to a session's actor, and the address they are sent to.

#[cfg(feature = "scripted")]
use std::sync::Arc;

use ractor::ActorRef;

use crate::law::session::SessionEvent;

/// A message to a session's actor. It is not serializable, so that no token leaves the process this way.
#[derive(Debug)]
pub(crate) enum TokenMessage {
    /// The slot's inbox holds requests. One message announces all of them.
    Requests,
    /// An event for the session machine.
    Event(Box<SessionEvent>),
    /// The slot holds reports or issuers that no actor has taken yet.
    Backlog,
    /// The timer with this number is due.
    Tick(u64),
}

#[cfg(feature = "cluster")]
impl ractor::Message for TokenMessage {}

impl TokenMessage {
    pub(crate) fn event(event: SessionEvent) -> Self {
        Self::Event(Box::new(event))
    }
}

/// The address of a session's actor.
#[derive(Clone, Debug)]
pub(crate) enum Mailbox {
    Actor(ActorRef<TokenMessage>),
    /// The address of a scripted session, which has no actor.
    #[cfg(feature = "scripted")]
    Scripted(Arc<dyn Receive>),
}

/// Takes the messages of a session that has no actor.
#[cfg(feature = "scripted")]
pub(crate) trait Receive: std::fmt::Debug + Send + Sync {
    fn receive(&self, message: TokenMessage);
}

impl Mailbox {
    /// Sends a message. Returns `false` if the actor has ended or is ending.
    pub(crate) fn send(&self, message: TokenMessage) -> bool {
        match self {
            Self::Actor(actor) => actor.send_message(message).is_ok(),
            #[cfg(feature = "scripted")]
            Self::Scripted(receiver) => {
                receiver.receive(message);
                true
            }
        }
    }
}
