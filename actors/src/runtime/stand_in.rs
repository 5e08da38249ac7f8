//! Scripted sessions (feature `scripted`). A [`StandIn`] replaces a session's actor.
//!
//! A [`StandIn`] gets the requests of the session's handles as events for the session machine, and answers them through its
//! [`Stage`]. There are no actors, no tasks, no store and no source. The stand-in carries out all other effects of the
//! machine itself. It is for tests of hosts. `tokenkeeper-testkit` has a complete stand-in.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;

use super::cell::Incarnation;
use super::core::{Core, Ports};
use super::messages::{Mailbox, Receive, TokenMessage};
use super::plan::{Plan, Settings};
use super::request::{Request, RequestKind};
use super::session::AuthSession;
use super::slot::Slot;
use super::state::SessionState;
use crate::law::flight::{Revocation, Spending, TokenRequest, Urgency};
use crate::law::line::Line;
use crate::law::profile::{Evidence, NotSent};
use crate::law::session::{Policy, Published, ReplyId, SessionEffect, SessionEvent, WaiterId};
use crate::memory::MemoryStore;
use crate::ports::clock::Clock;
use crate::ports::permit::{IssuerPermits, Permission};
use crate::ports::source::{NotRevoked, TokenSource};
use crate::ports::spawner::{FlightFuture, Spawner};
use crate::sync::lock;
use crate::system::Entropy;
use crate::values::record::Issuer;
use crate::values::{DigestKey, Nonce, ServerIdentity};

/// Replaces a session's actor.
///
/// It is called in the task or thread of each caller, and by many callers concurrently.
pub trait StandIn: fmt::Debug + Send + Sync + 'static {
    /// Takes an event for the session machine, which a handle's request has caused.
    ///
    /// The effects of the machine go to [`Stage::carry_out`]. This must not block, because the caller begins to wait
    /// for its answer only after this has returned.
    fn happen(&self, event: SessionEvent);
}

/// The connection of a [`StandIn`] to the session's handles. Cheap to clone; all clones are the same stage.
#[derive(Clone, Debug)]
pub struct Stage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slot: Weak<Slot>,
    incarnation: Incarnation,
    requests: Mutex<Requests>,
}

/// The requests that wait for an answer.
#[derive(Debug, Default)]
struct Requests {
    waiters: Line<WaiterId, Request<Slot>>,
    replies: Line<ReplyId, Request<Slot>>,
    next_id: u64,
}

/// Passes the messages to the session's actor on to its stand-in.
#[derive(Debug)]
struct Receiver {
    stage: Stage,
    stand_in: Arc<dyn StandIn>,
}

/// Opens a session whose handles are served by the stand-in that `make` returns. Returns the stand-in, too.
///
/// Handles and their deadlines use `clock`. From `policy` they use only the number of callers that may wait.
pub fn session<S: StandIn>(
    identity: ServerIdentity,
    policy: Policy,
    clock: Arc<dyn Clock>,
    make: impl FnOnce(Stage) -> Arc<S>,
) -> (AuthSession, Arc<S>) {
    let digests = DigestKey::new([0; 32]);
    let plan = Settings { policy, ..Settings::new(Arc::new(Unused)) };
    let plan = Arc::new(Plan::new(plan, digests.clone()));
    let ports = Ports {
        store: Arc::new(MemoryStore::new(digests)),
        clock,
        spawner: Arc::new(Unused),
        permits: Arc::new(Unused),
        observer: None,
        entropy: Entropy::seeded(0),
    };
    let core = Arc::new(Core::new(ports, Arc::clone(&plan), Nonce(1), Duration::MAX));
    let slot = Arc::new(Slot::new(identity, plan, core.router()));
    let (incarnation, _) = slot.cell.begin();
    let stage = Stage(Arc::new(Shared { slot: Arc::downgrade(&slot), incarnation, requests: Mutex::default() }));
    let stand_in = make(stage.clone());
    let receiver = Receiver { stage, stand_in: Arc::<S>::clone(&stand_in) };
    slot.attach(incarnation, Mailbox::Scripted(Arc::new(receiver)));
    (AuthSession::new(core, slot), stand_in)
}

impl Receive for Receiver {
    fn receive(&self, message: TokenMessage) {
        let event = match message {
            TokenMessage::Requests => return self.take_requests(),
            TokenMessage::Event(event) => Some(*event),
            TokenMessage::Backlog => self.stage.take_issuers().map(SessionEvent::IssuersListed),
            TokenMessage::Tick(_) => None,
        };
        if let Some(event) = event {
            self.stand_in.happen(event);
        }
    }
}

impl Receiver {
    fn take_requests(&self) {
        let Some(slot) = self.stage.0.slot.upgrade() else { return };
        loop {
            let (requests, more) = slot.take_requests(self.stage.0.incarnation);
            for event in requests.into_iter().filter_map(|request| self.stage.take(request)) {
                self.stand_in.happen(event);
            }
            if !more {
                return;
            }
        }
    }
}

impl Stage {
    /// Carries out an effect that concerns the session's handles, which is a publication or an answer. Returns every
    /// other effect.
    pub fn carry_out(&self, effect: SessionEffect) -> Option<SessionEffect> {
        match effect {
            SessionEffect::Publish(published) => self.publish(*published),
            SessionEffect::Answer(id, answer) => {
                if let (Ok(lease), Some(slot)) = (&answer, self.0.slot.upgrade()) {
                    lease.belongs_to(&slot.identity);
                }
                let request = self.requests().waiters.leave(id);
                if let Some(request) = request {
                    request.answer_token(answer);
                }
            }
            SessionEffect::AnswerRefusal(id, answer) => {
                if let Some(request) = self.leave(id) {
                    request.answer_refusal(answer);
                }
            }
            SessionEffect::AnswerLogin(id, answer) => {
                if let Some(request) = self.leave(id) {
                    request.answer_login(answer);
                }
            }
            SessionEffect::AnswerInstall(id, answer) => {
                if let Some(request) = self.leave(id) {
                    request.answer_install(answer);
                }
            }
            SessionEffect::AnswerLogout(id, answer) => {
                if let Some(request) = self.leave(id) {
                    request.answer_logout(answer);
                }
            }
            SessionEffect::AnswerConfigure(id, answer) => {
                if let Some(request) = self.leave(id) {
                    request.answer_configure(answer);
                }
            }
            other => return Some(other),
        }
        None
    }

    /// Keeps a request until it is answered. Returns its event for the machine.
    fn take(&self, mut request: Request<Slot>) -> Option<SessionEvent> {
        let mut requests = self.requests();
        requests.next_id += 1;
        let (waiter, reply) = (WaiterId(requests.next_id), ReplyId(requests.next_id));
        let event = match request.kind()? {
            RequestKind::Token(ask, _) => {
                let event = SessionEvent::GetToken(waiter, *ask);
                requests.waiters.join(waiter, request);
                return Some(event);
            }
            RequestKind::Refusal(refusal, _) => SessionEvent::Invalidate(reply, *refusal),
            RequestKind::Login(login, _) => SessionEvent::Login(reply, login.clone()),
            RequestKind::Install(..) => SessionEvent::Install(reply, request.take_login()?),
            RequestKind::Logout(_) => SessionEvent::Logout(reply),
            RequestKind::Forget(_) => SessionEvent::Forget(reply),
            RequestKind::Configure(renewal, _) => SessionEvent::Configure(reply, renewal.clone()),
            RequestKind::Installing(_) => return None,
        };
        requests.replies.join(reply, request);
        Some(event)
    }

    fn take_issuers(&self) -> Option<Vec<Issuer>> {
        self.0.slot.upgrade()?.take_issuers()
    }

    fn leave(&self, id: ReplyId) -> Option<Request<Slot>> {
        self.requests().replies.leave(id)
    }

    fn publish(&self, published: Published) {
        let Some(slot) = self.0.slot.upgrade() else { return };
        if let Some(hit) = &published.hit {
            hit.lease.belongs_to(&slot.identity);
        }
        slot.cell.publish(self.0.incarnation, published);
        if let Some(watchers) = slot.watchers.get() {
            watchers.send_replace(SessionState::from(&**slot.cell.read()));
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        lock(&self.0.requests)
    }
}

/// The ports of a scripted session. They are not used, because there are no flights.
#[derive(Debug)]
struct Unused;

impl Spawner for Unused {
    fn spawn(&self, _flight: FlightFuture) {}
}

#[async_trait]
impl TokenSource for Unused {
    fn spending(&self) -> Spending {
        Spending::default()
    }

    async fn request(&self, _identity: &ServerIdentity, _request: TokenRequest) -> Evidence {
        Evidence::NotSent(NotSent::Unbuildable)
    }

    async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> Result<(), NotRevoked> {
        Err(NotRevoked::NotOffered)
    }
}

#[async_trait]
impl IssuerPermits for Unused {
    async fn ask(&self, _issuer: Option<&Issuer>, _urgency: Urgency) -> Permission {
        Permission::Held(Duration::ZERO)
    }
}
