//! The runtime of a host, which opens sessions and ends all of them with their tokens stored, and its builder. Both wrap those of
//! the engine (`tokenkeeper-actors`), and add the parts that speak OAuth over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::flight::StoreTimeouts;
use tokenkeeper_actors::law::issuer::IssuerPolicy;
use tokenkeeper_actors::law::login::LoginLimits;
use tokenkeeper_actors::law::profile::Profile;
use tokenkeeper_actors::law::session::Policy;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::login::LoginSource;
use tokenkeeper_actors::ports::observer::EffectObserver;
use tokenkeeper_actors::ports::source::TokenSource;
use tokenkeeper_actors::ports::spawner::Spawner;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::{self, Settings, Sources};
use tokenkeeper_actors::system::{Entropy, SystemClock};

use crate::authorization::{AuthorizationLogins, Exchanges, LoginSettings};
use crate::discovery::Discovery;
use crate::grant::{Errands, RefreshGrant};
use crate::http::HttpClient;
use crate::issuers::providers::{Providers, default_profile};
use crate::machine::{self, MachineSource, RuntimeLink};
use crate::oauth::OAuth;
use crate::proof::{Proofs, Prover};
use crate::user::{UserMapping, UserOptions, UserProviders, Users};
use crate::{
    AuthSession, BuildError, EventStream, ProviderName, ServerIdentity, SessionSpec, ShutdownReport, SourceName,
    StoreFault,
};

/// A running session runtime, with one owner for each server identity and one refresh in flight. Cheap to clone.
///
/// # Concurrency
///
/// One runtime serves a whole host. Dropping handles ends nothing. The runtime ends with [`shutdown`](Self::shutdown),
/// or with the supervisor that it was linked to ([`actor::spawn_linked`](crate::actor::spawn_linked)).
#[derive(Clone, Debug)]
pub struct AuthRuntime {
    pub(crate) engine: runtime::AuthRuntime,
    pub(crate) oauth: Arc<OAuth>,
}

/// A runtime that is not started yet.
pub(crate) struct Unstarted {
    pub(crate) engine: runtime::RuntimeBuilder,
    pub(crate) oauth: OAuth,
    /// The link through which sources reach the runtime once it exists.
    pub(crate) link: RuntimeLink,
}

impl AuthRuntime {
    /// Begins to build a runtime over `store`.
    ///
    /// ```no_run
    /// # #[cfg(all(feature = "file", feature = "reqwest", unix))]
    /// # async fn host() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokenkeeper::AuthRuntime;
    /// use tokenkeeper::stores::file::FileStore;
    ///
    /// let auth = AuthRuntime::builder(FileStore::open(FileStore::default_dir()?)?).spawn().await?;
    /// # drop(auth);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(store: impl TokenStore) -> RuntimeBuilder {
        Self::builder_over(Arc::new(store))
    }

    /// Begins to build a runtime over a store that is shared with other code.
    pub fn builder_over(store: Arc<dyn TokenStore>) -> RuntimeBuilder {
        RuntimeBuilder::new(store)
    }

    /// Opens the session of an identity. All handles on an identity are on one session. Nothing is read before the
    /// session is first used, unless the policy keeps it warm.
    pub fn session(&self, spec: impl Into<SessionSpec>) -> AuthSession {
        let spec = spec.into();
        if let (Some(logins), Some(dpop)) = (&self.oauth.logins, spec.dpop) {
            logins.keys.set(spec.identity(), dpop);
        }
        AuthSession { engine: self.engine.session(spec), oauth: Some(Arc::clone(&self.oauth)) }
    }

    /// Returns the identities of which the store has a record, in no particular order. They include those that were logged out,
    /// and those whose first login was begun and not completed.
    ///
    /// # Errors
    ///
    /// The fault of the store, or [`TimedOut`](StoreFault::TimedOut) after 30 s.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Nothing was changed.
    pub async fn identities(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        self.engine.identities().await
    }

    /// Follows the events of all sessions from now on.
    pub fn events(&self) -> EventStream {
        self.engine.events()
    }

    /// Waits until no refresh is in flight and no caller waits for a token, at most for `deadline`. Returns whether that
    /// was so in time. Callers are served meanwhile as before.
    ///
    /// A host awaits it between the end of its MCP sessions and [`shutdown`](Self::shutdown), so that a call that waits for a
    /// refresh gets its token and not [`ShuttingDown`](crate::Reason::ShuttingDown). A login that waits for a person is
    /// not waited for.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Nothing was changed.
    pub async fn quiesce(&self, deadline: Duration) -> bool {
        self.engine.quiesce(deadline).await
    }

    /// Ends the runtime. New requests and waiting callers are answered with
    /// [`ShuttingDown`](crate::Reason::ShuttingDown) and no refresh begins. Refreshes in flight are waited for until
    /// `deadline` has passed, and their tokens are stored.
    ///
    /// A host must await this before it drops its tokio runtime, on Ctrl-C as well. A refresh that is dropped in flight can
    /// only be recovered from its mark, as after the death of the process.
    ///
    /// # Cancellation
    ///
    /// Once polled, the end has begun. Dropping the future drops the report.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.engine.shutdown(deadline).await
    }
}

/// Builds an [`AuthRuntime`]. The store is required, and without the feature `reqwest` the HTTP client too. Each method names its
/// default.
#[derive(Debug)]
pub struct RuntimeBuilder {
    store: Arc<dyn TokenStore>,
    http: Option<Arc<dyn HttpClient>>,
    sources: Vec<(SourceName, Arc<dyn TokenSource>)>,
    profile: Profile,
    providers: Providers,
    policy: Policy,
    throttle: IssuerPolicy,
    timeouts: StoreTimeouts,
    login: Logins,
    login_limits: LoginLimits,
    clock: Option<Arc<dyn Clock>>,
    spawner: Option<Arc<dyn Spawner>>,
    observer: Option<Arc<dyn EffectObserver>>,
    idle_after: Option<Duration>,
    user_mappings: BTreeMap<ProviderName, UserMapping>,
    user_fallback: UserMapping,
    user_options: UserOptions,
}

impl RuntimeBuilder {
    fn new(store: Arc<dyn TokenStore>) -> Self {
        Self {
            store,
            http: None,
            sources: Vec::new(),
            profile: default_profile(),
            providers: Providers::builtin(),
            policy: Policy::default(),
            throttle: IssuerPolicy::default(),
            timeouts: StoreTimeouts::default(),
            login: Logins::default(),
            login_limits: LoginLimits::default(),
            clock: None,
            spawner: None,
            observer: None,
            idle_after: None,
            user_mappings: BTreeMap::new(),
            user_fallback: UserMapping::openid(),
            user_options: UserOptions::default(),
        }
    }

    /// The HTTP client that token requests go through. Default: the crate's own over reqwest, with the feature
    /// `reqwest`. Logins need a client that connects only to the addresses that each request may reach
    /// ([`HttpClient::enforces_reach`]). Without the feature `decompression`, the client decodes answers that a proxy compresses
    /// unasked ([`HttpClient::send`]).
    #[must_use]
    pub fn http(self, client: Arc<dyn HttpClient>) -> Self {
        Self { http: Some(client), ..self }
    }

    /// A further token source, for the sessions whose record names it. Default: the refresh grant ([`RefreshGrant`], under the
    /// name `refresh_token`), and the [sources](crate::machine::sources) of the grants without a login.
    #[must_use]
    pub fn source(mut self, name: SourceName, source: Arc<dyn TokenSource>) -> Self {
        self.sources.push((name, source));
        self
    }

    /// The profile by which the answers of servers without a provider are judged. Default: a strict profile with the error
    /// codes that mean the same everywhere ([`default_profile`]).
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// The providers that the runtime knows, with their profiles and dialects. Default: [`Providers::builtin`].
    #[must_use]
    pub fn providers(self, providers: Providers) -> Self {
        Self { providers, ..self }
    }

    /// The policy of sessions, which states when they refresh, how long they back off, and how many callers may wait.
    /// Default: [`Policy::default`].
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The maximum number of concurrent token requests to one issuer, and the limits of the pauses that an issuer asks for.
    /// Default: [`IssuerPolicy::default`].
    #[must_use]
    pub fn throttle(self, throttle: IssuerPolicy) -> Self {
        Self { throttle, ..self }
    }

    /// The time-outs of the store. Default: [`StoreTimeouts::default`].
    #[must_use]
    pub fn store_timeouts(self, timeouts: StoreTimeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// The settings of logins over HTTP. Default: [`LoginSettings::default`].
    #[must_use]
    pub fn login(self, settings: LoginSettings) -> Self {
        Self { login: Logins::Http(Box::new(settings)), ..self }
    }

    /// Another source of logins than the one over HTTP.
    #[must_use]
    pub fn login_source(self, source: Arc<dyn LoginSource>) -> Self {
        Self { login: Logins::Source(source), ..self }
    }

    /// Turns off logins that a person is asked for. Tokens come from [`AuthSession::install`] or a
    /// [machine grant](crate::machine).
    #[must_use]
    pub fn without_login(self) -> Self {
        Self { login: Logins::None, ..self }
    }

    /// The time that a person has to answer, and the time-outs of the steps of a login. Default: [`LoginLimits::default`].
    #[must_use]
    pub fn login_limits(self, limits: LoginLimits) -> Self {
        Self { login_limits: limits, ..self }
    }

    /// The clock. Default: the system's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The spawner on which refreshes run. Default: on the tokio runtime in which the runtime is built. A host that drops
    /// its tokio runtime and goes on running takes a [`FlightThread`](tokenkeeper_actors::system::FlightThread).
    #[must_use]
    pub fn spawner(self, spawner: Arc<dyn Spawner>) -> Self {
        Self { spawner: Some(spawner), ..self }
    }

    /// Observes the steps (effects) of refreshes and logins, for traces, and for tests that stop a process at one of them.
    /// Default: none.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn EffectObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The time for which a session's actor stays awake with nothing to do. Default: 60 s. A sleeping session goes on
    /// serving its lease.
    #[must_use]
    pub fn idle_after(self, span: Duration) -> Self {
        Self { idle_after: Some(span), ..self }
    }

    /// Where `provider` describes the person who is signed in ([`AuthSession::user`]). Default: the mapping in the
    /// provider's row of the table of [`Providers`], or the provider's built-in mapping ([`UserMapping::of_provider`]), and
    /// else the mapping of [`default_user_mapping`](Self::default_user_mapping).
    #[must_use]
    pub fn user_mapping(mut self, provider: ProviderName, mapping: UserMapping) -> Self {
        self.user_mappings.insert(provider, mapping);
        self
    }

    /// Where other providers describe the person who is signed in. Default: [`UserMapping::openid`].
    #[must_use]
    pub fn default_user_mapping(self, mapping: UserMapping) -> Self {
        Self { user_fallback: mapping, ..self }
    }

    /// The options of [`AuthSession::user`], such as the maximum age of a context. Default: [`UserOptions::default`].
    #[must_use]
    pub fn user_options(self, options: UserOptions) -> Self {
        Self { user_options: options, ..self }
    }

    /// Builds the runtime and starts it with no supervisor above it.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if there is no HTTP client, no tokio runtime or no randomness, if a mapping of users cannot be used, or
    /// if the store cannot be used.
    pub async fn spawn(self) -> Result<AuthRuntime, BuildError> {
        let Unstarted { engine, oauth, link } = self.engine()?;
        let engine = engine.spawn().await?;
        link.join(&engine);
        Ok(AuthRuntime { engine, oauth: Arc::new(oauth) })
    }

    /// The engine's builder, with everything that was set here, and the logins over HTTP.
    pub(crate) fn engine(self) -> Result<Unstarted, BuildError> {
        let clock = match self.clock {
            Some(clock) => clock,
            None => Arc::new(SystemClock::new().map_err(|error| runtime::BuildError::NoRandomness(error.to_string()))?),
        };
        let http = match self.http {
            Some(http) => http,
            None => default_client()?,
        };
        for mapping in self.user_mappings.values().chain([&self.user_fallback]) {
            mapping.check().map_err(BuildError::UserMapping)?;
        }
        let profiles = self.providers.profiles().with_fallback(self.profile);
        let refresh = RefreshGrant::new(Arc::clone(&http), Arc::clone(&clock)).providers(self.providers.clone());
        let entropy = Entropy::new().map_err(|error| runtime::BuildError::NoRandomness(error.to_string()))?;
        let proofs = Proofs::new(Arc::clone(&clock), entropy.clone());
        let logins = match &self.login {
            Logins::Http(settings) => {
                let (http, clock) = (Arc::clone(&http), Arc::clone(&clock));
                let (providers, profiles) = (self.providers.clone(), profiles.clone());
                let exchanges = Exchanges { http, clock, providers, profiles, proofs: proofs.clone() };
                let (settings, store) = (LoginSettings::clone(settings), Arc::clone(&self.store));
                let logins = AuthorizationLogins::new(settings, store, exchanges, entropy.clone());
                Some(Arc::new(logins.map_err(|error| BuildError::Discovery(error.to_string()))?))
            }
            Logins::Source(_) | Logins::None => None,
        };
        let refresh = refresh
            .profiles(profiles.clone())
            .proofs(proofs.clone())
            .reach(logins.as_ref().and_then(|logins| logins.discovery().reach_setting()));
        let (link, errands) = (RuntimeLink::default(), Arc::<Errands>::default());
        let discovery = match &logins {
            Some(logins) => logins.discovery().clone(),
            None => Discovery::new(Arc::clone(&http), Arc::clone(&clock)),
        };
        let user_providers = UserProviders {
            http: Arc::clone(&http),
            clock: Arc::clone(&clock),
            store: Arc::clone(&self.store),
            discovery: discovery.clone(),
            refresh: refresh.clone(),
            providers: self.providers.clone(),
            mappings: self.user_mappings,
            fallback: self.user_fallback,
        };
        let users = Users::new(user_providers, self.spawner.clone(), self.user_options, entropy.clone());
        let prover = Prover { proofs: proofs.clone(), http: Arc::clone(&http) };
        let machine = Arc::new(MachineSource::new(machine::Parts {
            http,
            clock: Arc::clone(&clock),
            profiles: profiles.clone(),
            discovery,
            refresh: refresh.clone(),
            store: Arc::clone(&self.store),
            link: link.clone(),
            errands: Arc::clone(&errands),
        }));
        let idp = Arc::new(refresh.clone().for_id_tokens());
        let exchanging = Arc::new(refresh.clone().for_errands(errands));
        let mut sources = Sources::new(Arc::new(refresh));
        sources = sources.with(machine::idp_session(), idp).with(machine::idp_refresh_token(), exchanging);
        for name in machine::machine_sources() {
            sources = sources.with(name, Arc::clone(&machine) as _);
        }
        for (name, source) in self.sources {
            sources = sources.with(name, source);
        }
        let login: Option<Arc<dyn LoginSource>> = match (self.login, &logins) {
            (Logins::Source(source), _) => Some(source),
            (_, Some(logins)) => Some(Arc::clone(logins) as _),
            (_, None) => None,
        };
        let settings = Settings {
            sources,
            profiles,
            policy: self.policy,
            timeouts: self.timeouts,
            login,
            login_limits: self.login_limits,
        };
        let mut builder = runtime::AuthRuntime::builder(self.store, settings).issuers(self.throttle).clock(clock);
        if let Some(spawner) = self.spawner {
            builder = builder.spawner(spawner);
        }
        if let Some(observer) = self.observer {
            builder = builder.observer(observer);
        }
        if let Some(span) = self.idle_after {
            builder = builder.idle_after(span);
        }
        Ok(Unstarted {
            engine: builder,
            oauth: OAuth { logins, machine, providers: self.providers, proofs: prover, users },
            link,
        })
    }
}

/// The source of the logins that a person is asked for.
#[derive(Debug)]
enum Logins {
    Http(Box<LoginSettings>),
    Source(Arc<dyn LoginSource>),
    None,
}

impl Default for Logins {
    fn default() -> Self {
        Self::Http(Box::default())
    }
}

#[cfg(feature = "reqwest")]
fn default_client() -> Result<Arc<dyn HttpClient>, BuildError> {
    let client = crate::http::ReqwestClient::new().map_err(|error| BuildError::HttpClient(error.to_string()))?;
    Ok(Arc::new(client))
}

#[cfg(not(feature = "reqwest"))]
fn default_client() -> Result<Arc<dyn HttpClient>, BuildError> {
    Err(BuildError::NoHttpClient)
}
