//! The address actor, through which a host's own actors reach every session by its identity.
//!
//! It is outside the supervision tree, so that its address stays valid when the tree ends.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef, DerivedActorRef, RpcReplyPort};

use super::core::Core;
use super::plan::SessionSpec;
use super::request::{Request, RequestKind};
use super::session::{AuthSession, TokenOptions};
use super::slot::WaiterGuard;
use super::state::SessionState;
use crate::law::login::LoginWish;
use crate::law::session::{
    LoggedOut, LoginCause, LoginProgress, LoginRequest, LoginRequestKind, Refusal, RefusalAnswer,
};
use crate::values::{Callback, Lease, LogoutError, Reason, ServerIdentity, SignInError, TokenError};

/// A message to [`AuthRuntime::address`](super::AuthRuntime::address). It is not serializable, so that no token leaves the
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
        /// The refused generation, with operation and challenge. A generation that is newer than any in the session's
        /// record is answered with [`Unknown`](RefusalAnswer::Unknown) and changes nothing.
        refusal: Refusal,
        /// The port for the answer. After the answer the lease is not handed out any more.
        reply: RpcReplyPort<Result<RefusalAnswer, TokenError>>,
    },
    /// Begins a login, or joins the one that is under way; see [`AuthSession::begin_login`](super::AuthSession::begin_login).
    BeginLogin {
        /// The session's identity.
        identity: ServerIdentity,
        /// The login.
        wish: LoginWish,
        /// The cause for which the login is wanted.
        cause: LoginCause,
        /// How long the caller waits for something to show. A timeout of the call itself shortens it.
        timeout: Duration,
        /// The port for the answer.
        reply: RpcReplyPort<Result<LoginProgress, SignInError>>,
    },
    /// Takes a person's answer, and finds the session that it belongs to; see
    /// [`AuthRuntime::complete_login`](super::AuthRuntime::complete_login).
    CompleteLogin {
        /// The answer.
        callback: Callback,
        /// How long the caller waits for the tokens to be stored. A timeout of the call itself shortens it.
        timeout: Duration,
        /// The port for the result.
        reply: RpcReplyPort<Result<LoginProgress, SignInError>>,
    },
    /// Cancels the login that is under way; see [`AuthSession::cancel_login`](super::AuthSession::cancel_login).
    CancelLogin {
        /// The session's identity.
        identity: ServerIdentity,
        /// How long the caller waits for its end. A timeout of the call itself shortens it.
        timeout: Duration,
        /// The port for the answer.
        reply: RpcReplyPort<Result<LoginProgress, SignInError>>,
    },
    /// Logs a session out; see [`AuthSession::logout`](super::AuthSession::logout).
    Logout {
        /// The session's identity.
        identity: ServerIdentity,
        /// The port for the result.
        reply: RpcReplyPort<Result<LoggedOut, LogoutError>>,
    },
    /// Follows a session's state from now on. The present state comes first, and a sleeping session is woken to read
    /// its record. Only the newest state is kept, so an actor that is slower than the session may miss the states in
    /// between.
    ///
    /// The following ends with the actor `to`, and with the shutdown of the runtime. The supervision tree may end and
    /// start again meanwhile.
    Follow {
        /// The session's identity.
        identity: ServerIdentity,
        /// The actor that gets the states. Any actor whose messages can be made of a [`StateChange`] has such a reference
        /// ([`ActorRef::get_derived`]).
        to: DerivedActorRef<StateChange>,
    },
}

/// The state of a session that an actor [follows](AuthMessage::Follow).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The session's identity.
    pub identity: ServerIdentity,
    /// Its newest state.
    pub state: SessionState,
}

#[cfg(feature = "cluster")]
impl ractor::Message for AuthMessage {}

#[cfg(feature = "cluster")]
impl ractor::Message for StateChange {}

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
            AuthMessage::BeginLogin { identity, wish, cause, timeout, reply } => {
                request_login(core, identity, LoginRequestKind::Begin(wish, cause), timeout, reply);
            }
            AuthMessage::CancelLogin { identity, timeout, reply } => {
                request_login(core, identity, LoginRequestKind::Cancel, timeout, reply);
            }
            // The session has to be looked up in the store, and this actor never waits.
            AuthMessage::CompleteLogin { callback, timeout, reply } => {
                let this = Arc::clone(core);
                let timeout = reply.get_timeout().map_or(timeout, |limit| limit.min(timeout));
                let deadline = core.ports.clock.now().elapsed.after(timeout);
                core.spawn(async move {
                    match this.identity_of_login(&callback.key, timeout).await {
                        Ok(identity) => {
                            let left = deadline.since(this.ports.clock.now().elapsed);
                            request_login(&this, identity, LoginRequestKind::Complete(callback), left, reply);
                        }
                        Err(error) => drop(reply.send(Err(error))),
                    }
                });
            }
            AuthMessage::Logout { identity, reply } => {
                let slot = core.slot(SessionSpec::new(identity));
                core.deliver(Request::new(slot, RequestKind::Logout(reply)));
            }
            AuthMessage::Follow { identity, to } => {
                let slot = core.slot(SessionSpec::new(identity));
                if slot.wants_actor() {
                    core.start(&slot);
                }
                let session = AuthSession::new(Arc::clone(core), slot);
                core.spawn(follow(Arc::clone(core), session, to));
            }
        }
        Ok(())
    }
}

/// Sends the states of `session` to an actor, until that actor or the runtime ends. The handle keeps the session in
/// memory while it is followed.
async fn follow(core: Arc<Core>, session: AuthSession, to: DerivedActorRef<StateChange>) {
    let mut watch = session.watch();
    let mut state = Some(watch.now());
    while let Some(newest) = state {
        let change = StateChange { identity: session.identity().clone(), state: newest };
        if to.send_message(change).is_err() {
            return;
        }
        state = tokio::select! {
            biased;
            state = watch.next() => state,
            _ = to.wait(None) => None,
            () = core.stopping() => None,
        };
    }
}

/// Sends a request about logins to the session of `identity`.
fn request_login(
    core: &Arc<Core>,
    identity: ServerIdentity,
    kind: LoginRequestKind,
    timeout: Duration,
    reply: RpcReplyPort<Result<LoginProgress, SignInError>>,
) {
    let timeout = reply.get_timeout().map_or(timeout, |limit| limit.min(timeout));
    let deadline = core.ports.clock.now().elapsed.after(timeout);
    let request = Box::new(LoginRequest { kind, deadline });
    core.deliver(Request::new(core.slot(SessionSpec::new(identity)), RequestKind::Login(request, reply)));
}
