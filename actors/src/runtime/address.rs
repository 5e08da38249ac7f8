//! The address: the address at which a host's own actors find every session, by identity.
//!
//! An actor of its own, outside the supervision tree, so that the address outlives whatever becomes of the tree.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};

use super::core::Core;
use super::plan::SessionSpec;
use super::request::{Request, RequestKind};
use super::session::{TokenOptions, WaiterGuard};
use crate::law::session::{Refusal, RefusalAnswer};
use crate::values::{Lease, Reason, ServerIdentity, TokenError};

/// What a host's actors send to [`AuthRuntime::address`](super::AuthRuntime::address). Never serializable: tokens do not
/// leave the process this way.
///
/// Each is answered exactly once; a reply port is never dropped without an answer. After a shutdown nothing is taken in
/// any more: a message that is sent then comes back to its sender, port and all.
#[derive(Debug)]
pub enum AuthMessage {
    /// A lease is wanted. A call's own time-out shortens the timeout.
    GetToken {
        /// Whose.
        identity: ServerIdentity,
        /// How.
        request: TokenOptions,
        /// Where it goes.
        reply: RpcReplyPort<Result<Lease, TokenError>>,
    },
    /// A resource refused a lease.
    Invalidate {
        /// Whose.
        identity: ServerIdentity,
        /// Which, for what.
        refusal: Refusal,
        /// Where the answer goes: once it is there, the lease is not handed out any more.
        reply: RpcReplyPort<Result<RefusalAnswer, TokenError>>,
    },
}

#[cfg(feature = "cluster")]
impl ractor::Message for AuthMessage {}

/// Passes requests on.
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
            AuthMessage::GetToken { identity, request, reply } => {
                let slot = core.slot(SessionSpec::new(identity));
                let timeout = reply.get_timeout().map_or(request.timeout, |limit| limit.min(request.timeout));
                let Some(place) = WaiterGuard::take(Arc::clone(&slot)) else {
                    drop(reply.send(Err(TokenError::new(Reason::TooManyWaiters))));
                    return Ok(());
                };
                let ask = TokenOptions { timeout, ..request }.ask(core);
                core.deliver(Request::new(slot, RequestKind::Token(ask, reply)).holding(place));
            }
            AuthMessage::Invalidate { identity, refusal, reply } => {
                let slot = core.slot(SessionSpec::new(identity));
                core.deliver(Request::new(slot, RequestKind::Refusal(refusal, reply)));
            }
        }
        Ok(())
    }
}
