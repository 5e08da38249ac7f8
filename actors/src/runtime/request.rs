//! A request to a session, with the channel for its answer.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::RpcReplyPort;

use crate::law::ledger::Login;
use crate::law::session::{Ask, LoggedOut, LoginProgress, LoginRequest, Refusal, RefusalAnswer};
use crate::values::record::{RenewalPlan, View};
use crate::values::{
    ConfigureError, ElapsedTime, InstallError, Lease, LoginReason, LogoutError, Reason, SignInError, StoreFault,
    TokenError,
};

/// How many times a request is sent to another actor after the actor that held it has ended.
const MAX_REDELIVERIES: u8 = 8;

/// The place that requests are sent to. The slot implements it.
pub(crate) trait Destination: Debug + Send + Sync + Sized + 'static {
    /// Counts a caller as waiting until it is dropped.
    type Guard: Debug + Send;

    /// Delivers a request again. Returns it if the runtime is gone.
    fn redeliver(&self, request: Request<Self>) -> Result<(), Request<Self>>;
}

/// A request that is answered exactly once (law 7).
///
/// If an actor was killed, its unanswered requests are dropped. Each is then sent to the next actor, or fails.
#[derive(Debug)]
pub(crate) struct Request<S: Destination> {
    kind: Option<RequestKind>,
    slot: Arc<S>,
    redeliveries: u8,
    /// The guard of the caller, if the caller cannot hold it itself.
    guard: Option<S::Guard>,
}

/// The kind of a request, with its arguments and the port for its answer.
#[derive(Debug)]
pub(crate) enum RequestKind {
    Token(Ask, RpcReplyPort<Result<Lease, TokenError>>),
    Refusal(Refusal, RpcReplyPort<Result<RefusalAnswer, TokenError>>),
    Login(Box<LoginRequest>, RpcReplyPort<Result<LoginProgress, SignInError>>),
    Install(Box<Login>, RpcReplyPort<Result<Box<View>, InstallError>>),
    /// An install that was handed to the machine. It is not delivered again, because it may have taken effect.
    Installing(RpcReplyPort<Result<Box<View>, InstallError>>),
    Logout(RpcReplyPort<Result<LoggedOut, LogoutError>>),
    /// A logout that revokes nothing.
    Forget(RpcReplyPort<Result<LoggedOut, LogoutError>>),
    Configure(Box<RenewalPlan>, RpcReplyPort<Result<Box<View>, ConfigureError>>),
}

impl<S: Destination> Request<S> {
    pub(crate) fn new(slot: Arc<S>, kind: RequestKind) -> Self {
        Self { kind: Some(kind), slot, redeliveries: 0, guard: None }
    }

    /// The same request, which holds `guard` until it is answered.
    pub(crate) fn holding(mut self, guard: S::Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    pub(crate) fn slot(&self) -> &Arc<S> {
        &self.slot
    }

    pub(crate) fn kind(&self) -> Option<&RequestKind> {
        self.kind.as_ref()
    }

    /// Whether the caller waits for a token until after `time`.
    pub(crate) fn outwaits(&self, time: ElapsedTime) -> bool {
        matches!(&self.kind, Some(RequestKind::Token(ask, _)) if !ask.fail_fast && ask.deadline() > time)
    }

    /// Takes the login out, to be installed.
    pub(crate) fn take_login(&mut self) -> Option<Box<Login>> {
        match self.kind.take() {
            Some(RequestKind::Install(login, reply)) => {
                self.kind = Some(RequestKind::Installing(reply));
                Some(login)
            }
            kind => {
                self.kind = kind;
                None
            }
        }
    }

    /// Whether the request can be dropped, because its caller is gone and it has no effect of its own. A request other than
    /// one for a token takes effect without its caller. An install that the machine already has does not need to be kept.
    pub(crate) fn is_abandoned(&self) -> bool {
        match &self.kind {
            Some(RequestKind::Token(_, reply)) => reply.is_closed(),
            Some(RequestKind::Installing(reply)) => reply.is_closed(),
            Some(
                RequestKind::Refusal(..)
                | RequestKind::Login(..)
                | RequestKind::Install(..)
                | RequestKind::Logout(_)
                | RequestKind::Forget(_)
                | RequestKind::Configure(..),
            ) => false,
            None => true,
        }
    }

    // Answers. An answer to a caller that is gone is dropped.

    pub(crate) fn answer_token(mut self, answer: Result<Lease, TokenError>) {
        if let Some(RequestKind::Token(_, reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    pub(crate) fn answer_refusal(mut self, answer: RefusalAnswer) {
        if let Some(RequestKind::Refusal(_, reply)) = self.kind.take() {
            drop(reply.send(Ok(answer)));
        }
    }

    pub(crate) fn answer_login(mut self, answer: Result<LoginProgress, SignInError>) {
        if let Some(RequestKind::Login(_, reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    pub(crate) fn answer_install(mut self, answer: Result<Box<View>, InstallError>) {
        if let Some(RequestKind::Install(_, reply) | RequestKind::Installing(reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    pub(crate) fn answer_logout(mut self, answer: Result<LoggedOut, LogoutError>) {
        if let Some(RequestKind::Logout(reply) | RequestKind::Forget(reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    pub(crate) fn answer_configure(mut self, answer: Result<Box<View>, ConfigureError>) {
        if let Some(RequestKind::Configure(_, reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    /// Fails the request. This may run in a flight or in another caller's task, so a panic of the waker is caught.
    pub(crate) fn fail(mut self, error: TokenError) {
        if let Some(kind) = self.kind.take() {
            drop(catch_unwind(AssertUnwindSafe(|| kind.fail(error))));
        }
    }
}

impl RequestKind {
    fn fail(self, error: TokenError) {
        match self {
            RequestKind::Token(_, reply) => drop(reply.send(Err(error))),
            RequestKind::Refusal(_, reply) => drop(reply.send(Err(error))),
            RequestKind::Login(_, reply) => {
                let reason = match error.reason() {
                    Reason::ShuttingDown => LoginReason::ShuttingDown,
                    Reason::NotRunning => LoginReason::NotRunning,
                    _ => LoginReason::Aborted,
                };
                drop(reply.send(Err(SignInError::new(reason))));
            }
            RequestKind::Install(_, reply) if error.reason() == Reason::ShuttingDown => {
                drop(reply.send(Err(InstallError::ShuttingDown)));
            }
            RequestKind::Install(_, reply) => drop(reply.send(Err(InstallError::StoreTrouble(StoreFault::Failed)))),
            RequestKind::Installing(reply) => drop(reply.send(Err(InstallError::StoreTrouble(StoreFault::TimedOut)))),
            RequestKind::Logout(reply) | RequestKind::Forget(reply) => {
                drop(reply.send(Err(LogoutError::NotDurable(StoreFault::Failed))))
            }
            RequestKind::Configure(_, reply) if error.reason() == Reason::ShuttingDown => {
                drop(reply.send(Err(ConfigureError::ShuttingDown)));
            }
            RequestKind::Configure(_, reply) => drop(reply.send(Err(ConfigureError::StoreTrouble(StoreFault::Failed)))),
        }
    }
}

impl<S: Destination> Drop for Request<S> {
    fn drop(&mut self) {
        if self.is_abandoned() {
            return;
        }
        let Some(kind) = self.kind.take() else { return };
        let may_retry = self.redeliveries < MAX_REDELIVERIES && !matches!(kind, RequestKind::Installing(_));
        let request = Self {
            kind: Some(kind),
            slot: Arc::clone(&self.slot),
            redeliveries: self.redeliveries.saturating_add(1),
            guard: self.guard.take(),
        };
        let unsent = if may_retry { self.slot.redeliver(request) } else { Err(request) };
        if let Err(request) = unsent {
            request.fail(TokenError::new(Reason::Aborted));
        }
    }
}
