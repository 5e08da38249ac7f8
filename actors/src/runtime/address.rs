//! The address actor, at which a host's own actors reach every session by its identity.
//!
//! It is outside the supervision tree, so that its address stays valid when the tree ends.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};

use super::core::Core;
use super::plan::SessionSpec;
use super::request::{Request, RequestKind};
use super::session::TokenOptions;
use super::slot::WaiterGuard;
use crate::law::session::{Refusal, RefusalAnswer};
use crate::values::{Lease, Reason, ServerIdentity, TokenError};

/// A message to [`AuthRuntime::address`](super::AuthRuntime::address). Not serializable, so that no token leaves the
/// process this way.
///
/// Each message is answered exactly once, and a reply port is never dropped without an answer. After a shutdown the
/// actor takes no messages, and a message that is sent then comes back to its sender with its port.
#[derive(Debug)]
pub enum AuthMessage {
    /// Asks for a lease. A timeout of the call itself shortens `options.timeout`.
    GetToken {
        /// The session's identity.
        identity: ServerIdentity,
        /// The options of the request.
        options: TokenOptions,
        /// The port for the lease.
        reply: RpcReplyPort<Result<Lease, TokenError>>,
    },
    /// Reports that a resource refused a lease.
    Invalidate {
        /// The session's identity.
        identity: ServerIdentity,
        /// The refused generation, with operation and challenge. One that is newer than all that the session's record has
        /// is answered with [`Unknown`](RefusalAnswer::Unknown) and changes nothing.
        refusal: Refusal,
        /// The port for the answer. After the answer the lease is not handed out any more.
        reply: RpcReplyPort<Result<RefusalAnswer, TokenError>>,
    },
}

#[cfg(feature = "cluster")]
impl ractor::Message for AuthMessage {}

/// Forwards requests to the sessions.
#[derive(Debug)]
pub(crate) struct AddressActor;

#[ractor::actor(message = AuthMessage, state = Arc<Core>, arguments = Arc<Core>)]
impl AddressActor {
    async fn pre_start(
        &self,
        _myself: ActorRef<AuthMessage>,
        core: Arc<Core>,
    ) -> Result<Arc<Core>, ActorProcessingErr> {
        Ok(core)
    }

    async fn handle(
        &self,
        _myself: ActorRef<AuthMessage>,
        message: AuthMessage,
        core: &mut Arc<Core>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AuthMessage::GetToken { identity, options, reply } => {
                let slot = core.slot(SessionSpec::new(identity));
                let timeout = reply.get_timeout().map_or(options.timeout, |limit| limit.min(options.timeout));
                let Some(guard) = WaiterGuard::take(Arc::clone(&slot)) else {
                    drop(reply.send(Err(TokenError::new(Reason::TooManyWaiters))));
                    return Ok(());
                };
                let ask = TokenOptions { timeout, ..options }.ask(core);
                core.deliver(Request::new(slot, RequestKind::Token(ask, reply)).holding(guard));
            }
            AuthMessage::Invalidate { identity, refusal, reply } => {
                let slot = core.slot(SessionSpec::new(identity));
                core.deliver(Request::new(slot, RequestKind::Refusal(refusal, reply)));
            }
        }
        Ok(())
    }
}
