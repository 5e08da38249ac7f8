//! The handle of a runtime. It opens sessions, and shuts the runtime down.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{ActorId, ActorRef};

use super::address::AuthMessage;
use super::auth_event::EventStream;
use super::core::Core;
use super::plan::SessionSpec;
use super::session::AuthSession;
use super::shutdown::ShutdownReport;
use super::timer;
use crate::values::{ServerIdentity, StoreFault};

/// The time-out of a list of the store's identities.
const LISTING: Duration = Duration::from_secs(30);

/// A session runtime, in which each server identity has one owner and one flight at a time. Cheap to clone.
///
/// # Concurrency
///
/// All tasks of a host share one runtime. Dropping handles ends nothing. The runtime ends with
/// [`shutdown`](Self::shutdown), or with the supervisor that it was linked to.
#[derive(Clone, Debug)]
pub struct AuthRuntime {
    core: Arc<Core>,
    address: ActorRef<AuthMessage>,
}

impl AuthRuntime {
    pub(crate) fn new(core: Arc<Core>, address: ActorRef<AuthMessage>) -> Self {
        Self { core, address }
    }

    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// Returns a handle that does not keep the runtime in memory, for a source that asks another session for its token.
    pub fn downgrade(&self) -> WeakRuntime {
        WeakRuntime { core: Arc::downgrade(&self.core), address: self.address.clone() }
    }

    /// Opens the session of an identity. The settings of the first call apply, and all handles belong to the same
    /// session. This reads nothing. A session wakes when it is first used, or at once if it is kept warm.
    ///
    /// A session of an identity that has never signed in is removed, with its settings, within about a minute after its
    /// last handle was dropped and its actor has ended. The next call then counts as the first one.
    pub fn session(&self, spec: impl Into<SessionSpec>) -> AuthSession {
        let slot = self.core.slot(spec.into());
        AuthSession::new(Arc::clone(&self.core), slot)
    }

    /// Returns the address at which a host's actors reach every session, by identity. It stays valid for the lifetime
    /// of the runtime, through every restart of the supervision tree.
    pub fn address(&self) -> ActorRef<AuthMessage> {
        self.address.clone()
    }

    /// Returns the number of sessions in memory, awake or asleep. These sessions were opened by a handle or through the
    /// [address](Self::address), and were not removed since.
    pub fn session_count(&self) -> usize {
        self.core.slot_count()
    }

    /// Returns the identities of which the store has a record, in no particular order. They include those that were logged
    /// out, and those whose first login was begun and not completed.
    ///
    /// # Errors
    ///
    /// The fault of the store, or [`TimedOut`](StoreFault::TimedOut) after 30 s.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Nothing was changed.
    pub async fn identities(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        tokio::select! {
            biased;
            listed = self.core.ports.store.list() => listed,
            () = timer::pause(LISTING) => Err(StoreFault::TimedOut),
        }
    }

    /// Follows the events of all sessions, from now on.
    pub fn events(&self) -> EventStream {
        EventStream(self.core.events.subscribe())
    }

    /// Whether `actor` is or was the supervisor of this runtime. A host that linked it calls this in its own
    /// `handle_supervisor_evt`, to distinguish the end of the runtime's tree from the end of its other children.
    pub fn is_supervisor(&self, actor: ActorId) -> bool {
        self.core.is_supervisor(actor)
    }

    /// Waits until no flight runs and no caller waits for a token, at most for `deadline`. Meanwhile requests are
    /// served as before, and new flights may begin. Returns whether the runtime became quiet in time.
    ///
    /// A flight that cannot save its tokens runs until it can. This does not wait for a login that waits for a person.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Nothing was changed.
    pub async fn quiesce(&self, deadline: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.core.quiet() => true,
            () = timer::pause(deadline) => false,
        }
    }

    /// Shuts the runtime down. No request is admitted, waiting callers get an error, and no flight begins. Running
    /// flights have until `deadline` to end. They save the tokens they obtain, and repeat a save that fails. Shortly
    /// before the deadline they note the old token as *spent*, if the new tokens cannot be saved. If there are several
    /// shutdowns, flights use the deadline of the first one.
    ///
    /// It also works after the supervision tree has died. The host must call it before it drops its tokio runtime, also
    /// on Ctrl-C. After a flight was dropped, only its mark is left, as after the death of the process.
    ///
    /// # Cancellation
    ///
    /// Once polled, the shutdown continues. Dropping the future drops the report.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.core.stop(self.core.ports.clock.now().elapsed.after(deadline.saturating_sub(REPORTING)));
        let in_time = tokio::select! {
            biased;
            () = self.core.wait_idle() => true,
            () = timer::pause(deadline) => false,
        };
        if let Some(supervisor) = self.core.supervisor() {
            drop(supervisor.stop_and_wait(None, Some(END_TIMEOUT)).await);
        }
        // The address is drained and not stopped, so that queued requests are answered.
        drop(self.address.drain());
        if in_time {
            // Waits for the work that the actors began while they ended.
            tokio::select! {
                biased;
                () = self.core.wait_idle() => {}
                () = timer::pause(END_TIMEOUT) => {}
            }
        }
        let slots = if in_time { Vec::new() } else { self.core.slots() };
        let unfinished = slots
            .iter()
            .filter(|slot| slot.is_flying() || slot.is_signing_in())
            .map(|slot| slot.identity.clone())
            .collect();
        ShutdownReport { unsaved: self.core.take_unsaved(), unfinished, unrevoked: self.core.revocations.unfinished() }
    }
}

/// A handle of a runtime that does not keep it in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WeakRuntime {
    core: Weak<Core>,
    address: ActorRef<AuthMessage>,
}

impl WeakRuntime {
    /// The runtime, unless all its handles, sessions and tasks are gone.
    pub fn upgrade(&self) -> Option<AuthRuntime> {
        Some(AuthRuntime { core: self.core.upgrade()?, address: self.address.clone() })
    }
}

/// The part of a shutdown's time that is left for reports after its flights have ended.
const REPORTING: Duration = Duration::from_millis(100);

/// The time that the actors have to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);
