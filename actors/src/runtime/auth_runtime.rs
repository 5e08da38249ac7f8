//! The runtime's handle: opens sessions, and ends everything in good order.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;

use super::address::AuthMessage;
use super::builder::RuntimeBuilder;
use super::core::Core;
use super::events::EventStream;
use super::plan::{SessionSpec, Settings};
use super::session::AuthSession;
use super::shutdown::ShutdownReport;
use super::timer;
use crate::ports::store::TokenStore;

/// A running session runtime: one owner for each server identity, one flight at a time, no lost token. Cheap to clone.
///
/// # Concurrency
///
/// Shared by everything in a host. Dropping handles ends nothing: the runtime ends with [`shutdown`](Self::shutdown), or
/// with the supervisor it was linked to.
#[derive(Clone, Debug)]
pub struct AuthRuntime {
    core: Arc<Core>,
    address: ActorRef<AuthMessage>,
}

impl AuthRuntime {
    /// Begins to build a runtime over `store`, whose sessions are as `settings` say unless they say otherwise.
    pub fn builder(store: Arc<dyn TokenStore>, settings: Settings) -> RuntimeBuilder {
        RuntimeBuilder::new(store, settings)
    }

    pub(crate) fn new(core: Arc<Core>, address: ActorRef<AuthMessage>) -> Self {
        Self { core, address }
    }

    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// Opens the session of an identity. The first to open one says how it is to be; all handles are on the same
    /// session. Reads nothing: a session wakes when it is first used, or kept warm.
    pub fn session(&self, spec: impl Into<SessionSpec>) -> AuthSession {
        let slot = self.core.slot(spec.into());
        AuthSession::new(Arc::clone(&self.core), slot)
    }

    /// The address at which a host's actors reach every session, by identity. It is one and the same for as long as the
    /// runtime lives, whatever becomes of the actors behind it, and of the supervision tree.
    pub fn address(&self) -> ActorRef<AuthMessage> {
        self.address.clone()
    }

    /// What happens to all sessions, from now on.
    pub fn events(&self) -> EventStream {
        EventStream(self.core.events.subscribe())
    }

    /// Ends the runtime: nobody new is served, everyone who waits is told, no flight begins; those in the air are waited
    /// for until `deadline` has passed, and save what they obtain, or turn their mark to *spent* where that is all that
    /// can still be written.
    ///
    /// Works after the supervision tree has died, too. The host must call it before it drops its tokio runtime, on
    /// Ctrl-C as well: a flight that is dropped is recovered from its mark only, as after the death of the process.
    ///
    /// # Cancellation
    ///
    /// Once polled, the end has begun; dropping the future drops the report.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.core.stop();
        let in_time = tokio::select! {
            biased;
            () = self.core.wait_idle() => true,
            () = timer::pause(deadline) => false,
        };
        if let Some(supervisor) = self.core.supervisor() {
            drop(supervisor.stop_and_wait(None, Some(END)).await);
        }
        // Drained, not stopped: whoever is in its queue is told.
        drop(self.address.drain());
        if in_time {
            // What the actors began on their way out.
            tokio::select! {
                biased;
                () = self.core.wait_idle() => {}
                () = timer::pause(END) => {}
            }
        }
        let slots = if in_time { Vec::new() } else { self.core.slots() };
        let unfinished = slots.iter().filter(|slot| slot.is_flying()).map(|slot| slot.identity.clone()).collect();
        ShutdownReport { unsaved: self.core.take_unsaved(), unfinished }
    }
}

/// How long the actors may take to end.
const END: Duration = Duration::from_secs(2);
