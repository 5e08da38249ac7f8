//! Actors around the runtime, which are hosts to link it to and a guest that holds only its address.

use ractor::{ActorProcessingErr, ActorRef, MessagingErr, RpcReplyPort};
use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey, Refusal, RefusalAnswer};
use tokenkeeper_actors::runtime::{AuthMessage, TokenOptions};
use tokenkeeper_actors::values::{Generation, Lease, Reason, ServerIdentity, TokenError};

use crate::support::calm::Nothing;
use crate::support::{identity, within};

/// An answer to a caller.
pub(crate) type Answer = Result<Lease, TokenError>;

/// A host with ractor's default supervision, which stops when a child of its own ends in any way.
#[derive(Debug)]
pub(crate) struct DefaultHost;

#[ractor::actor(message = Nothing, state = (), arguments = ())]
impl DefaultHost {
    async fn pre_start(&self, _myself: ActorRef<Nothing>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// A request to the guest.
#[derive(Debug)]
pub(crate) enum Errand {
    Token(ServerIdentity, RpcReplyPort<Answer>),
    Refuse(ServerIdentity, Generation, RpcReplyPort<Result<RefusalAnswer, TokenError>>),
}

#[cfg(feature = "cluster")]
impl ractor::Message for Errand {}

/// An actor of the host's own, outside the runtime's tree. It got the runtime's address earlier and holds nothing else.
#[derive(Debug)]
pub(crate) struct Guest;

#[ractor::actor(message = Errand, state = ActorRef<AuthMessage>, arguments = ActorRef<AuthMessage>)]
impl Guest {
    async fn pre_start(
        &self,
        _myself: ActorRef<Errand>,
        address: ActorRef<AuthMessage>,
    ) -> Result<ActorRef<AuthMessage>, ActorProcessingErr> {
        Ok(address)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Errand>,
        errand: Errand,
        address: &mut ActorRef<AuthMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let message = match errand {
            Errand::Token(identity, reply) => {
                AuthMessage::GetToken { identity, options: TokenOptions::default(), reply }
            }
            Errand::Refuse(identity, generation, reply) => {
                let refusal = Refusal { generation, operation: OperationKey(0), challenge: ChallengeKey(0) };
                AuthMessage::Invalidate { identity, refusal, reply }
            }
        };
        // After a shutdown there is no actor at the address, and the message is returned.
        if let Err(MessagingErr::SendErr(AuthMessage::GetToken { reply, .. })) = address.send_message(message) {
            let _ = reply.send(Err(TokenError::new(Reason::ShuttingDown)));
        }
        Ok(())
    }
}

/// Asks a guest for a token of the first identity.
pub(crate) async fn guest_asks(guest: &ActorRef<Errand>) -> Answer {
    let answer = guest.call(|reply| Errand::Token(identity(1), reply), None);
    within("an answer through the address", answer).await.expect("the guest lives").expect("an answer")
}
