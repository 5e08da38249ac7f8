//! A request to a session, with the place its answer goes to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::RpcReplyPort;

use super::session::WaiterGuard;
use super::slot::Slot;
use crate::law::ledger::Login;
use crate::law::session::{Ask, LoggedOut, Refusal, RefusalAnswer};
use crate::values::record::{RenewalPlan, View};
use crate::values::{ConfigureError, InstallError, Lease, LogoutError, Reason, StoreFault, TokenError};

/// How often a request is handed to another actor because the one that had it ended.
const HOPS: u8 = 8;

/// A request that is answered exactly once, whatever happens to whoever holds it (law 7): dropped without an answer, in
/// a mailbox that was flushed or with an actor that was killed, it goes to the next actor, or is told why not.
#[derive(Debug)]
pub(crate) struct Request {
    kind: Option<RequestKind>,
    slot: Arc<Slot>,
    hops: u8,
    /// Kept for a caller that cannot keep it itself.
    place: Option<WaiterGuard<Arc<Slot>>>,
}

/// What is asked, and where the answer goes.
#[derive(Debug)]
pub(crate) enum RequestKind {
    Token(Ask, RpcReplyPort<Result<Lease, TokenError>>),
    Refusal(Refusal, RpcReplyPort<Result<RefusalAnswer, TokenError>>),
    Install(Box<Login>, RpcReplyPort<Result<Box<View>, InstallError>>),
    /// An install the machine has been handed: it is not asked for twice, because it may have taken effect.
    Installing(RpcReplyPort<Result<Box<View>, InstallError>>),
    Logout(RpcReplyPort<Result<LoggedOut, LogoutError>>),
    Configure(Box<RenewalPlan>, RpcReplyPort<Result<Box<View>, ConfigureError>>),
}

impl Request {
    pub(crate) fn new(slot: Arc<Slot>, kind: RequestKind) -> Self {
        Self { kind: Some(kind), slot, hops: 0, place: None }
    }

    /// The same request, which keeps its caller's place until it is answered.
    pub(crate) fn holding(mut self, place: WaiterGuard<Arc<Slot>>) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(crate) fn kind(&self) -> Option<&RequestKind> {
        self.kind.as_ref()
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

    /// Whether it means nothing any more, because whoever asked has gone away. What was refused, brought or ended stays
    /// so, whoever waits for the answer.
    pub(crate) fn is_abandoned(&self) -> bool {
        match &self.kind {
            Some(RequestKind::Token(_, reply)) => reply.is_closed(),
            Some(RequestKind::Installing(reply)) => reply.is_closed(),
            Some(
                RequestKind::Refusal(..)
                | RequestKind::Install(..)
                | RequestKind::Logout(_)
                | RequestKind::Configure(..),
            ) => false,
            None => true,
        }
    }

    // Answers. Whoever has gone away meanwhile is not told: that is no failure of anybody's.

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

    pub(crate) fn answer_install(mut self, answer: Result<Box<View>, InstallError>) {
        if let Some(RequestKind::Install(_, reply) | RequestKind::Installing(reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    pub(crate) fn answer_logout(mut self, answer: Result<LoggedOut, LogoutError>) {
        if let Some(RequestKind::Logout(reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    pub(crate) fn answer_configure(mut self, answer: Result<Box<View>, ConfigureError>) {
        if let Some(RequestKind::Configure(_, reply)) = self.kind.take() {
            drop(reply.send(answer));
        }
    }

    /// Says that nobody can see to it. That may be found out by anybody, a flight or another caller: one whose waker panics
    /// does not take them down with it.
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
            RequestKind::Install(_, reply) if error.reason() == Reason::ShuttingDown => {
                drop(reply.send(Err(InstallError::ShuttingDown)));
            }
            RequestKind::Install(_, reply) => drop(reply.send(Err(InstallError::StoreTrouble(StoreFault::Failed)))),
            RequestKind::Installing(reply) => drop(reply.send(Err(InstallError::StoreTrouble(StoreFault::TimedOut)))),
            RequestKind::Logout(reply) => drop(reply.send(Err(LogoutError::NotDurable(StoreFault::Failed)))),
            RequestKind::Configure(_, reply) if error.reason() == Reason::ShuttingDown => {
                drop(reply.send(Err(ConfigureError::ShuttingDown)));
            }
            RequestKind::Configure(_, reply) => drop(reply.send(Err(ConfigureError::StoreTrouble(StoreFault::Failed)))),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.is_abandoned() {
            return;
        }
        let Some(kind) = self.kind.take() else { return };
        let aborted = TokenError::new(Reason::Aborted);
        match self.slot.core.upgrade() {
            Some(core) if self.hops < HOPS && !matches!(kind, RequestKind::Installing(_)) => {
                let (slot, place) = (Arc::clone(&self.slot), self.place.take());
                core.deliver(Self { kind: Some(kind), slot, hops: self.hops + 1, place });
            }
            _ => Self { kind: Some(kind), slot: Arc::clone(&self.slot), hops: HOPS, place: None }.fail(aborted),
        }
    }
}
