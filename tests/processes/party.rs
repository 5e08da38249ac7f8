//! A runtime over the file store with one session, as each process has it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell};
use serde::{Deserialize, Serialize};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::observer::EffectObserver;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::runtime::{AuthRuntime, AuthSession, AuthSpec};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::Moment;
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer, Mark, Record};
use tokenkeeper::engine::values::{Lease, TokenError};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{InstallError, RefreshToken, TokenOptions};
use tokenkeeper_judge::processes::{HomeIdentity, SharedHome, login};

use crate::authority::Grant;
use crate::calm::Calm;
use crate::within::within;

/// The time-out of a token request in these processes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The time-out of a store operation in these processes, sufficient for a busy machine.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longer than a flight that waits for the server.
pub(crate) const FLIGHT: Duration = Duration::from_secs(5);

/// The time that a flight expects its claim to last. A claim with a limited duration is renewed after half of it.
pub(crate) const CLAIM: Duration = REQUEST_TIMEOUT.saturating_add(STORE_TIMEOUT.saturating_mul(4));

/// The setup of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) shared: HomeIdentity,
    /// How long a flight waits for a claim.
    pub(crate) claim_wait: Duration,
    pub(crate) idle_after: Duration,
}

impl Setup {
    pub(crate) fn new(home: impl Into<PathBuf>, resource: &str) -> Self {
        Self {
            shared: HomeIdentity {
                home: home.into(),
                resource: resource.to_owned(),
                account: "work".to_owned(),
                never_replay: false,
            },
            claim_wait: Duration::from_secs(90),
            idle_after: Duration::from_secs(60),
        }
    }
}

/// A login as one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Paper {
    issuer: String,
    client_id: String,
    pub(crate) token_endpoint: String,
    resource: Option<String>,
    scope: String,
    pub(crate) refresh_token: String,
    /// `None` unless a test sets it.
    pub(crate) revocation_endpoint: Option<String>,
}

impl From<&Grant> for Paper {
    fn from(grant: &Grant) -> Self {
        Self {
            issuer: grant.binding.issuer.0.clone(),
            client_id: grant.binding.client.id.clone(),
            token_endpoint: grant.binding.token_endpoint.clone(),
            resource: grant.binding.resource.clone(),
            scope: grant.scope.clone(),
            refresh_token: grant.refresh.expose().to_owned(),
            revocation_endpoint: None,
        }
    }
}

pub(crate) struct Party {
    pub(crate) store: FileStore,
    pub(crate) session: AuthSession,
    pub(crate) runtime: AuthRuntime,
    spec: AuthSpec,
    host: ActorCell,
    clock: Arc<SystemClock>,
}

impl Party {
    pub(crate) async fn open(setup: &Setup, observer: Option<Arc<dyn EffectObserver>>) -> Self {
        let (home, mut settings) = SharedHome::open(&setup.shared, REQUEST_TIMEOUT, STORE_TIMEOUT).unwrap();
        settings.policy.initial_backoff = Duration::from_millis(10);
        settings.policy.max_backoff = Duration::from_millis(10);
        settings.timeouts.claim_wait = setup.claim_wait;
        settings.timeouts.save_pause = Duration::from_millis(50);
        settings.timeouts.max_save_pause = Duration::from_millis(200);
        let builder = home.builder(settings).idle_after(setup.idle_after);
        let builder = match observer {
            Some(observer) => builder.observer(observer),
            None => builder,
        };
        let spec = within("a runtime", builder.prepare()).await.unwrap();
        let (host, _) = within("a host", Actor::spawn(None, Calm, ())).await.unwrap();
        let host = host.get_cell();
        let runtime = within("a tree", spec.spawn_linked(host.clone())).await.unwrap();
        let SharedHome { store, clock, identity, .. } = home;
        let session = runtime.session(identity);
        Self { store, session, runtime, spec, host, clock }
    }

    pub(crate) async fn install(&self, paper: &Paper) -> Result<(), InstallError> {
        let client =
            Client { id: paper.client_id.clone(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        let binding = Binding {
            issuer: Issuer(paper.issuer.clone()),
            client,
            token_endpoint: paper.token_endpoint.clone(),
            revocation_endpoint: paper.revocation_endpoint.clone(),
            resource: paper.resource.clone(),
        };
        let digests = self.store.digest_key().await.unwrap();
        let refresh = RefreshToken::new(paper.refresh_token.clone());
        let login = login(binding, &paper.scope, refresh, None, &digests, self.now());
        within("the answer to a login", self.session.install(login)).await.map(drop)
    }

    /// Returns a token, from a flight that begins now if `force` is set.
    pub(crate) async fn token(&self, force: bool) -> Result<Lease, TokenError> {
        within("a token", self.session.token_with(TokenOptions { force, ..TokenOptions::default() })).await
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) async fn record(&self) -> Record {
        *self.store.inspect(self.session.identity()).await.unwrap().unwrap()
    }

    /// The mark on the refresh token in the store.
    pub(crate) async fn mark(&self) -> Option<Mark> {
        self.record().await.held().and_then(|held| held.mark.clone())
    }

    /// The number of running actors, which are the session's and one for each issuer that was asked for a permit.
    pub(crate) fn actors(&self) -> usize {
        self.supervisor().map_or(0, |supervisor| supervisor.get_children().len())
    }

    /// Kills every actor below the supervisor.
    pub(crate) async fn kill_actors(&self) {
        for actor in self.supervisor().into_iter().flat_map(|supervisor| supervisor.get_children()) {
            actor.kill();
            within("an actor's end", actor.wait(None)).await.unwrap();
        }
    }

    /// Kills the supervisor, and with it the tree.
    pub(crate) async fn uproot(&self) {
        let supervisor = self.supervisor().unwrap();
        let actors = supervisor.get_children();
        supervisor.kill();
        for actor in actors.into_iter().chain([supervisor]) {
            within("an actor's end", actor.wait(None)).await.unwrap();
        }
    }

    /// Kills the supervisor and the tree, and attaches a new supervisor.
    pub(crate) async fn fell(&self) {
        self.uproot().await;
        within("a tree", self.spec.spawn_linked(self.host.clone())).await.unwrap();
    }

    fn supervisor(&self) -> Option<ActorCell> {
        self.host.get_children().into_iter().next()
    }

    /// Shuts the runtime down, with nothing left to save.
    pub(crate) async fn end(&self) {
        assert!(within("a shutdown", self.runtime.shutdown(Duration::from_secs(10))).await.is_clean());
    }
}
