//! The seam for scripted sessions (feature `scripted`): behind a session's handle stands something else than an actor.
//!
//! A [`StandIn`] gets what an actor would get, as events for the session machine, and answers as an actor does, through its
//! [`Stage`]. There are no actors, no tasks, no store and no source then: whatever else the machine asks for is the
//! stand-in's to make up. For tests of hosts; `tokenkeeper-testkit` has one that is ready for use.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;

use super::cell::Incarnation;
use super::core::{Core, Ports};
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
use crate::ports::source::TokenSource;
use crate::ports::spawner::{FlightFuture, Spawner};
use crate::system::Entropy;
use crate::values::record::Issuer;
use crate::values::{DigestKey, Nonce, ServerIdentity};

/// Stands behind a session's handles in an actor's place.
///
/// Called by whoever asks, in whatever task or thread that is, and by many at once.
pub trait StandIn: fmt::Debug + Send + Sync + 'static {
    /// A handle was asked for something: for the session machine to hear of.
    ///
    /// What the machine wants done in return goes to [`Stage::carry_out`]. It must not block: the caller waits for its
    /// answer only after this has returned.
    fn happen(&self, event: SessionEvent);
}

/// Where a [`StandIn`] publishes, and answers those who asked. Cheap to clone; clones are one stage.
#[derive(Clone, Debug)]
pub struct Stage(Arc<House>);

#[derive(Debug)]
struct House {
    slot: Weak<Slot>,
    incarnation: Incarnation,
    audience: Mutex<Audience>,
}

/// Those who wait for an answer.
#[derive(Debug, Default)]
struct Audience {
    waiters: Line<WaiterId, Request>,
    replies: Line<ReplyId, Request>,
    next_id: u64,
}

/// A session whose handles are served by what `cast` makes, and that.
///
/// `clock` is what handles and their deadlines go by; of `policy` they take how many callers may wait.
pub fn session<S: StandIn>(
    identity: ServerIdentity,
    policy: Policy,
    clock: Arc<dyn Clock>,
    cast: impl FnOnce(Stage) -> Arc<S>,
) -> (AuthSession, Arc<S>) {
    let digests = DigestKey::new([0; 32]);
    let plan = Settings { policy, ..Settings::new(Arc::new(Nobody)) };
    let plan = Arc::new(Plan::new(plan, digests.clone()));
    let ports = Ports {
        store: Arc::new(MemoryStore::new(digests)),
        clock,
        spawner: Arc::new(Nobody),
        permits: Arc::new(Nobody),
        observer: None,
        entropy: Entropy::seeded(0),
    };
    let core = Arc::new(Core::new(ports, Arc::clone(&plan), Nonce(1), Duration::MAX));
    let slot = Arc::new(Slot::new(identity, plan, Arc::downgrade(&core)));
    let (incarnation, _) = slot.cell.begin();
    let stage = Stage(Arc::new(House { slot: Arc::downgrade(&slot), incarnation, audience: Mutex::default() }));
    let stand_in = cast(stage.clone());
    slot.cast(stage, Arc::<S>::clone(&stand_in));
    (AuthSession::new(core, slot), stand_in)
}

impl Stage {
    /// Carries out what is meant for a session's handles: what it publishes, and its answers. Gives back every other
    /// effect.
    pub fn carry_out(&self, effect: SessionEffect) -> Option<SessionEffect> {
        match effect {
            SessionEffect::Publish(published) => self.publish(*published),
            SessionEffect::Answer(id, answer) => {
                let request = self.audience().waiters.leave(id);
                if let Some(request) = request {
                    request.answer_token(answer);
                }
            }
            SessionEffect::AnswerRefusal(id, answer) => {
                if let Some(request) = self.leave(id) {
                    request.answer_refusal(answer);
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

    /// Takes a request in: what the machine is to hear of it.
    pub(crate) fn take(&self, mut request: Request) -> Option<SessionEvent> {
        let mut audience = self.audience();
        audience.next_id += 1;
        let (waiter, reply) = (WaiterId(audience.next_id), ReplyId(audience.next_id));
        let event = match request.kind()? {
            RequestKind::Token(ask, _) => {
                let event = SessionEvent::GetToken(waiter, *ask);
                audience.waiters.join(waiter, request);
                return Some(event);
            }
            RequestKind::Refusal(refusal, _) => SessionEvent::Invalidate(reply, *refusal),
            RequestKind::Install(..) => SessionEvent::Install(reply, request.take_login()?),
            RequestKind::Logout(_) => SessionEvent::Logout(reply),
            RequestKind::Configure(renewal, _) => SessionEvent::Configure(reply, renewal.clone()),
            RequestKind::Installing(_) => return None,
        };
        audience.replies.join(reply, request);
        Some(event)
    }

    fn leave(&self, id: ReplyId) -> Option<Request> {
        self.audience().replies.leave(id)
    }

    fn publish(&self, published: Published) {
        let Some(slot) = self.0.slot.upgrade() else { return };
        slot.cell.post(self.0.incarnation, published);
        if let Some(watchers) = slot.watchers.get() {
            watchers.send_replace(SessionState::from(&**slot.cell.read()));
        }
    }

    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.0.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands where a runtime has ports. Nobody asks it anything, because there are no flights.
#[derive(Debug)]
struct Nobody;

impl Spawner for Nobody {
    fn spawn(&self, _flight: FlightFuture) {}
}

#[async_trait]
impl TokenSource for Nobody {
    fn spending(&self) -> Spending {
        Spending::default()
    }

    async fn request(&self, _identity: &ServerIdentity, _request: TokenRequest) -> Evidence {
        Evidence::NotSent(NotSent::Unbuildable)
    }

    async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> bool {
        false
    }
}

#[async_trait]
impl IssuerPermits for Nobody {
    async fn ask(&self, _issuer: Option<&Issuer>, _urgency: Urgency) -> Permission {
        Permission::Held(Duration::ZERO)
    }
}
