//! For hosts built on ractor: the runtime inside a supervision tree, and sessions by message.
//!
//! This is the one module whose signatures name ractor. A host that is not built on actors does not need it.
//!
//! ```no_run
//! # async fn host(
//! #     supervisor: ractor::ActorCell,
//! #     builder: tokenkeeper::RuntimeBuilder,
//! #     work: tokenkeeper::ServerIdentity,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use tokenkeeper::actor::{self, AuthMessage};
//! use tokenkeeper::{Lease, TokenOptions};
//!
//! let auth = actor::spawn_linked(builder, supervisor).await?;
//! let address = actor::address(&auth);
//! let get = |reply| AuthMessage::GetToken { identity: work, options: TokenOptions::default(), reply };
//! let lease: Lease = address.call(get, None).await?.unwrap()?.into();
//! # drop(lease);
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use ractor::{ActorCell, ActorId, ActorRef};
pub use tokenkeeper_actors::law::session::{Refusal, RefusalAnswer};
use tokenkeeper_actors::runtime::{self};
pub use tokenkeeper_actors::runtime::{AuthMessage, StateChange};

use crate::oauth::OAuth;
use crate::runtime::Unstarted;
use crate::{AuthRuntime, BuildError, RuntimeBuilder};

/// Builds a runtime and starts it as a child of `host`, beside the host's own actors.
///
/// If the runtime is ended on purpose, `host` gets no supervision event, so a host with ractor's default supervision goes
/// on running.
///
/// # Errors
///
/// As [`RuntimeBuilder::spawn`], and if `host` is ending.
pub async fn spawn_linked(builder: RuntimeBuilder, host: ActorCell) -> Result<AuthRuntime, BuildError> {
    prepare(builder).await?.spawn_linked(host).await
}

/// Builds a runtime without starting it, for a host whose own supervisor starts and restarts it.
///
/// # Errors
///
/// As [`RuntimeBuilder::spawn`].
pub async fn prepare(builder: RuntimeBuilder) -> Result<AuthSpec, BuildError> {
    let Unstarted { engine, oauth, link } = builder.engine()?;
    let spec = engine.prepare().await?;
    link.join(&spec.runtime());
    Ok(AuthSpec { spec, oauth: Arc::new(oauth) })
}

/// The address at which a host's actors reach every session by its identity. It stays the same for as long as the
/// runtime lives, also while the supervision tree is down or restarts.
///
/// Answers carry the engine's lease and error; `.into()` converts them to the types of this crate.
pub fn address(runtime: &AuthRuntime) -> ActorRef<AuthMessage> {
    runtime.engine.address()
}

/// Whether `actor` is or was the supervisor of this runtime, for a host that links it and has a `handle_supervisor_evt` of
/// its own. For the host's other children it returns false.
///
/// ```no_run
/// # use ractor::SupervisionEvent;
/// # use tokenkeeper::AuthRuntime;
/// # use tokenkeeper::actor::{self, AuthSpec};
/// # async fn handle(
/// #     event: SupervisionEvent,
/// #     myself: ractor::ActorCell,
/// #     auth: &AuthRuntime,
/// #     spec: &AuthSpec,
/// # ) -> Result<(), ractor::ActorProcessingErr> {
/// match event {
///     SupervisionEvent::ActorFailed(child, _) if actor::is_supervisor(auth, child.get_id()) => {
///         spec.spawn_linked(myself).await?; // sessions and refreshes in flight are found again
///     }
///     _ => {}
/// }
/// # Ok(())
/// # }
/// ```
pub fn is_supervisor(runtime: &AuthRuntime, actor: ActorId) -> bool {
    runtime.engine.is_supervisor(actor)
}

/// A runtime that can be started again and again. Sessions, refreshes in flight and the invalidations of leases are kept from
/// one supervision tree to the next.
///
/// Cheap to clone. All clones are one runtime, and one tree of it runs at a time.
#[derive(Clone, Debug)]
pub struct AuthSpec {
    spec: runtime::AuthSpec,
    oauth: Arc<OAuth>,
}

impl AuthSpec {
    /// Starts the runtime with no supervisor above it.
    ///
    /// # Errors
    ///
    /// [`BuildError::NotStarted`] if it runs already or was shut down.
    pub async fn spawn(&self) -> Result<AuthRuntime, BuildError> {
        self.spec.spawn().await?;
        Ok(self.runtime())
    }

    /// Starts the runtime as a child of `host`.
    ///
    /// # Errors
    ///
    /// [`BuildError::NotStarted`] if it runs already, was shut down, or `host` is ending.
    pub async fn spawn_linked(&self, host: ActorCell) -> Result<AuthRuntime, BuildError> {
        self.spec.spawn_linked(host).await?;
        Ok(self.runtime())
    }

    /// The runtime's handle, whether the runtime has been started or not. Until it is, requests fail with
    /// [`NotRunning`](crate::Reason::NotRunning).
    pub fn runtime(&self) -> AuthRuntime {
        AuthRuntime { engine: self.spec.runtime(), oauth: Arc::clone(&self.oauth) }
    }
}
