//! The messages of a session's actor, and the address they are sent to.

#[cfg(feature = "scripted")]
use std::sync::Arc;

use ractor::{ActorRef, MessagingErr};

use super::request::{Destination, Request};
use crate::law::session::SessionEvent;

/// A message to a session's actor. Not serializable, so that no token leaves the process this way.
#[derive(Debug)]
pub(crate) enum TokenMessage<S: Destination> {
    /// A caller's request.
    Request(Request<S>),
    /// An event for the session machine.
    Event(Box<SessionEvent>),
    /// The slot holds reports or issuers that no actor has taken yet.
    Backlog,
    /// The timer with this number is due.
    Tick(u64),
}

#[cfg(feature = "cluster")]
impl<S: Destination> ractor::Message for TokenMessage<S> {}

impl<S: Destination> TokenMessage<S> {
    pub(crate) fn event(event: SessionEvent) -> Self {
        Self::Event(Box::new(event))
    }

    /// The request in a message that could not be sent.
    pub(crate) fn returned_request(error: MessagingErr<Self>) -> Option<Request<S>> {
        match error {
            MessagingErr::SendErr(Self::Request(request)) => Some(request),
            _ => None,
        }
    }
}

/// The address of a session's actor.
#[derive(Debug)]
pub(crate) enum Mailbox<S: Destination> {
    Actor(ActorRef<TokenMessage<S>>),
    /// The address of a scripted session, which has no actor.
    #[cfg(feature = "scripted")]
    Scripted(Arc<dyn Receive<S>>),
}

/// Takes the messages of a session that has no actor.
#[cfg(feature = "scripted")]
pub(crate) trait Receive<S: Destination>: std::fmt::Debug + Send + Sync {
    fn receive(&self, message: TokenMessage<S>);
}

impl<S: Destination> Mailbox<S> {
    /// Sends a message. Returns it in the error if the actor has ended or is ending.
    pub(crate) fn send(&self, message: TokenMessage<S>) -> Result<(), MessagingErr<TokenMessage<S>>> {
        match self {
            Self::Actor(actor) => actor.send_message(message),
            #[cfg(feature = "scripted")]
            Self::Scripted(receiver) => {
                receiver.receive(message);
                Ok(())
            }
        }
    }
}

impl<S: Destination> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Actor(actor) => Self::Actor(actor.clone()),
            #[cfg(feature = "scripted")]
            Self::Scripted(receiver) => Self::Scripted(Arc::clone(receiver)),
        }
    }
}
