//! How a runtime is made.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{Actor, ActorCell};

use super::address::AddressActor;
use super::auth_runtime::AuthRuntime;
use super::core::{Core, Ports};
use super::issuer::{FindSupervisor, Permits};
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

/// How long an actor stays awake with nothing to do, by default.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Makes an [`AuthRuntime`]. A store and settings are needed; everything else has a default.
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

/// Why no runtime could be made.
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

    /// The clock (the system's).
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Where flights run (the tokio runtime in which the runtime is built). A host that drops its tokio runtime while it
    /// lives on takes a [`FlightThread`](crate::system::FlightThread): a dropped runtime is as bad as a dead process.
    #[must_use]
    pub fn spawner(self, spawner: Arc<dyn Spawner>) -> Self {
        Self { spawner: Some(spawner), ..self }
    }

    /// How many requests are made to one issuer at a time, and how it is left alone.
    #[must_use]
    pub fn issuers(self, issuers: IssuerPolicy) -> Self {
        Self { issuers, ..self }
    }

    /// Who gives leave to make requests (one actor for each issuer: [`Permits`]).
    #[must_use]
    pub fn permits(self, permits: Arc<dyn IssuerPermits>) -> Self {
        Self { permits: Some(permits), ..self }
    }

    /// Who watches the flights' effects (nobody).
    #[must_use]
    pub fn observer(self, observer: Arc<dyn EffectObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// What randomness is drawn from (the operating system's).
    #[must_use]
    pub fn entropy(self, entropy: Entropy) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// How long a session's actor stays awake with nothing to do (60 s). Asleep it goes on serving its lease.
    #[must_use]
    pub fn idle_after(self, span: Duration) -> Self {
        Self { idle_after: span, ..self }
    }

    /// Makes the runtime ready, without starting it: for a host whose own supervisor starts it, and starts it again.
    ///
    /// # Errors
    ///
    /// [`BuildError::Store`] when the store's digest key cannot be had, and the other [`BuildError`]s.
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
                let (core, rolls) = (core.clone(), entropy.clone());
                let supervisor = move || -> FindSupervisor {
                    let core = core.clone();
                    Box::pin(async move { Some(core.upgrade()?.running_supervisor().await.get_cell()) })
                };
                Arc::new(Permits::new(self.issuers, Arc::clone(&clock), move || rolls.jitter(), supervisor))
            });
            let ports = Ports { store: self.store, clock, spawner, permits, observer: self.observer, entropy };
            Core::new(ports, plan, nonce, self.idle_after)
        });
        let address = Actor::spawn(None, AddressActor, Arc::clone(&core)).await;
        let (address, _) = address.map_err(|error| BuildError::Spawn(error.to_string()))?;
        Ok(AuthSpec { runtime: AuthRuntime::new(core, address) })
    }

    /// Makes the runtime and starts it, with no supervisor above it.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub async fn spawn(self) -> Result<AuthRuntime, BuildError> {
        self.prepare().await?.spawn().await
    }

    /// Makes the runtime and links it into a host's supervision tree.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub async fn spawn_linked(self, host: ActorCell) -> Result<AuthRuntime, BuildError> {
        self.prepare().await?.spawn_linked(host).await
    }
}

/// A runtime that can be started, again and again: sessions, flights in the air and what was refused are kept between
/// one supervision tree and the next.
///
/// Cheap to clone; all clones are one runtime, of which one tree stands at a time: whoever starts a second one at the same
/// time is told that it runs already.
#[derive(Clone, Debug)]
pub struct AuthSpec {
    runtime: AuthRuntime,
}

impl AuthSpec {
    /// Starts the runtime with no supervisor above it.
    ///
    /// # Errors
    ///
    /// [`BuildError::Spawn`] where it runs already, or was shut down.
    pub async fn spawn(&self) -> Result<AuthRuntime, BuildError> {
        let started = Actor::spawn(None, AuthSupervisor, self.runtime.core()).await;
        started.map_err(|error| BuildError::Spawn(error.to_string()))?;
        Ok(self.runtime.clone())
    }

    /// Starts the runtime as a child of `host`.
    ///
    /// Its voluntary end is not told to `host`, so that one with ractor's default supervision lives on. When it ends
    /// otherwise, `host` may call this again.
    ///
    /// # Errors
    ///
    /// [`BuildError::Spawn`] where it runs already, was shut down, or `host` is ending.
    pub async fn spawn_linked(&self, host: ActorCell) -> Result<AuthRuntime, BuildError> {
        let started = Actor::spawn_linked(None, AuthSupervisor, self.runtime.core(), host).await;
        started.map_err(|error| BuildError::Spawn(error.to_string()))?;
        Ok(self.runtime.clone())
    }

    /// The runtime's handle, whether it has been started or not: until it is, requests fail with
    /// [`NotRunning`](crate::values::Reason::NotRunning).
    pub fn runtime(&self) -> AuthRuntime {
        self.runtime.clone()
    }
}
