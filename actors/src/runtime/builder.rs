//! Builds a runtime.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{Actor, ActorCell};

use super::address::AddressActor;
use super::auth_runtime::AuthRuntime;
use super::core::{Core, Ports};
use super::issuer::{Cooldowns, FindSupervisor, Permits};
use super::plan::{Plan, Settings};
use super::supervisor::AuthSupervisor;
use crate::law::issuer::IssuerPolicy;
use crate::ports::clock::Clock;
use crate::ports::observer::EffectObserver;
use crate::ports::permit::IssuerPermits;
use crate::ports::spawner::Spawner;
use crate::ports::store::TokenStore;
use crate::system::{Entropy, HostSpawner, SystemClock};
use crate::values::StoreFault;

/// The default time after which an idle actor ends.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Builds an [`AuthRuntime`]. A store and settings are required. Everything else has a default.
#[derive(Debug)]
pub struct RuntimeBuilder {
    store: Arc<dyn TokenStore>,
    settings: Settings,
    clock: Option<Arc<dyn Clock>>,
    spawner: Option<Arc<dyn Spawner>>,
    issuers: IssuerPolicy,
    permits: Option<Arc<dyn IssuerPermits>>,
    observer: Option<Arc<dyn EffectObserver>>,
    entropy: Option<Entropy>,
    idle_after: Duration,
}

/// The error of a runtime that could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The store cannot be used.
    #[error("the credential store cannot be used ({0}): check that it exists and may be read and written")]
    Store(StoreFault),
    /// There is no tokio runtime here.
    #[error("there is no tokio runtime here: build inside one")]
    NoTokio,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    NoRandomness(String),
    /// The actors could not be started, or run already.
    #[error("the session runtime could not be started: {0}")]
    Spawn(String),
}

impl AuthRuntime {
    /// Builds a runtime over `store`. Sessions without their own settings use `settings`.
    pub fn builder(store: Arc<dyn TokenStore>, settings: Settings) -> RuntimeBuilder {
        RuntimeBuilder::new(store, settings)
    }
}

impl RuntimeBuilder {
    pub(crate) fn new(store: Arc<dyn TokenStore>, settings: Settings) -> Self {
        Self {
            store,
            settings,
            clock: None,
            spawner: None,
            issuers: IssuerPolicy::default(),
            permits: None,
            observer: None,
            entropy: None,
            idle_after: IDLE_AFTER,
        }
    }

    /// Sets the clock (the system's).
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Sets the spawner of flights (the tokio runtime in which this runtime is built). A host that drops its tokio
    /// runtime before its process ends uses a [`FlightThread`](crate::system::FlightThread), because dropping the tokio
    /// runtime has the same effect on flights as the death of the process.
    #[must_use]
    pub fn spawner(self, spawner: Arc<dyn Spawner>) -> Self {
        Self { spawner: Some(spawner), ..self }
    }

    /// Sets the policy of the issuer limiters.
    #[must_use]
    pub fn issuers(self, issuers: IssuerPolicy) -> Self {
        Self { issuers, ..self }
    }

    /// Sets the port that grants permits ([`Permits`], with one actor for each issuer).
    #[must_use]
    pub fn permits(self, permits: Arc<dyn IssuerPermits>) -> Self {
        Self { permits: Some(permits), ..self }
    }

    /// Sets the observer of the flights' effects (none).
    #[must_use]
    pub fn observer(self, observer: Arc<dyn EffectObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Sets the source of randomness (the operating system).
    #[must_use]
    pub fn entropy(self, entropy: Entropy) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// Sets the time after which an idle actor ends (60 s). Its session continues to serve the published lease.
    #[must_use]
    pub fn idle_after(self, span: Duration) -> Self {
        Self { idle_after: span, ..self }
    }

    /// Builds the runtime without starting it, for a host whose own supervisor starts and restarts it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Store`] if the store does not give its digest key, and the other [`BuildError`]s.
    pub async fn prepare(self) -> Result<AuthSpec, BuildError> {
        let digests = self.store.digest_key().await.map_err(BuildError::Store)?;
        let entropy = match self.entropy {
            Some(entropy) => entropy,
            None => Entropy::new().map_err(|error| BuildError::NoRandomness(error.to_string()))?,
        };
        let spawner = match self.spawner {
            Some(spawner) => spawner,
            None => Arc::new(HostSpawner::current().map_err(|_| BuildError::NoTokio)?),
        };
        let clock = match self.clock {
            Some(clock) => clock,
            None => Arc::new(SystemClock::new().map_err(|error| BuildError::NoRandomness(error.to_string()))?),
        };
        let nonce = entropy.nonce();
        let plan = Arc::new(Plan::new(self.settings, digests));
        let core = Arc::new_cyclic(|core: &Weak<Core>| {
            let permits = self.permits.unwrap_or_else(|| {
                let (tree, jitter) = (core.clone(), entropy.clone());
                let supervisor = move || -> FindSupervisor {
                    let core = tree.clone();
                    Box::pin(async move { Some(core.upgrade()?.running_supervisor().await.get_cell()) })
                };
                let core = core.clone();
                // The writes are tracked, so that a shutdown waits for them.
                let spawn = move |write| {
                    if let Some(core) = core.upgrade() {
                        core.spawn_tracked(write);
                    }
                };
                let cooldowns = Cooldowns::new(Arc::clone(&self.store), spawn);
                let jitter = move || jitter.jitter();
                Arc::new(Permits::new(self.issuers, Arc::clone(&clock), jitter, supervisor, Some(cooldowns)))
            });
            let ports = Ports { store: self.store, clock, spawner, permits, observer: self.observer, entropy };
            Core::new(ports, plan, nonce, self.idle_after)
        });
        let address = Actor::spawn(None, AddressActor, Arc::clone(&core)).await;
        let (address, _) = address.map_err(|error| BuildError::Spawn(error.to_string()))?;
        Ok(AuthSpec { runtime: AuthRuntime::new(core, address) })
    }

    /// Builds the runtime and starts it without a supervisor above it.
    ///
    /// # Errors
    ///
    /// Those of [`prepare`](Self::prepare).
    pub async fn spawn(self) -> Result<AuthRuntime, BuildError> {
        self.prepare().await?.spawn().await
    }

    /// Builds the runtime and starts it as a child of `host`.
    ///
    /// # Errors
    ///
    /// Those of [`prepare`](Self::prepare).
    pub async fn spawn_linked(self, host: ActorCell) -> Result<AuthRuntime, BuildError> {
        self.prepare().await?.spawn_linked(host).await
    }
}

/// A runtime that can be started repeatedly. Sessions, running flights and refusals are kept from one supervision tree
/// to the next.
///
/// Cheap to clone. All clones are one runtime, which has one tree at a time. Starting a second tree fails.
#[derive(Clone, Debug)]
pub struct AuthSpec {
    runtime: AuthRuntime,
}

impl AuthSpec {
    /// Starts the runtime with no supervisor above it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Spawn`] if it is running, or was shut down.
    pub async fn spawn(&self) -> Result<AuthRuntime, BuildError> {
        let started = Actor::spawn(None, AuthSupervisor, self.runtime.core()).await;
        started.map_err(|error| BuildError::Spawn(error.to_string()))?;
        Ok(self.runtime.clone())
    }

    /// Starts the runtime as a child of `host`.
    ///
    /// `host` gets no supervision event when the runtime ends voluntarily, so that a host with ractor's default
    /// supervision does not stop. When the runtime ends otherwise, `host` may call this again.
    ///
    /// # Errors
    ///
    /// [`BuildError::Spawn`] if it is running, was shut down, or `host` is ending.
    pub async fn spawn_linked(&self, host: ActorCell) -> Result<AuthRuntime, BuildError> {
        let started = Actor::spawn_linked(None, AuthSupervisor, self.runtime.core(), host).await;
        started.map_err(|error| BuildError::Spawn(error.to_string()))?;
        Ok(self.runtime.clone())
    }

    /// Returns the runtime's handle, which exists before the start. Until the start, requests fail with
    /// [`NotRunning`](crate::values::Reason::NotRunning).
    pub fn runtime(&self) -> AuthRuntime {
        self.runtime.clone()
    }
}
