//! The [`Gateway`], which the routes of `server` and the layer of `inbound` share, and its builder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::http::{HttpClient, Reach};
use tokenkeeper::{AuthRuntime, AuthSession, IdentityError, ResourceUri};
use tokenkeeper_actors::system::SystemClock;

use crate::accounts::Sweeps;
use crate::build_error::BuildError;
use crate::clients::{AdmitClients, Clients, Documents};
use crate::families::Families;
use crate::inbound::GatewayLayer;
use crate::law::Limits;
use crate::people::{Identify, IdentifyByUser, People, PeopleError, Upstream, UpstreamUser};
use crate::seal::{GatewayKey, Seal};
use crate::server;
use crate::steady::SteadyClock;
use crate::store::{GatewayStore, StoreTrouble};

/// The default for the maximum number of upstream logins that wait for a person at a time.
const MAX_OPEN_LOGINS: usize = 10_000;

/// The default for the time that an inbound request waits for an upstream's token.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a person has for an upstream login.
pub(crate) const LOGIN_LIFETIME: Duration = Duration::from_secs(600);

/// A gateway: an authorization server towards MCP clients, and a session at each upstream provider for each person.
///
/// Cheap to clone. Clones are one gateway.
///
/// # Concurrency
///
/// Shared by all requests. Of several requests that change a family of tokens at once, one succeeds in the store, and the
/// others read its outcome. Upstream tokens belong to the [`AuthRuntime`]'s actors, and the gateway never sees an upstream
/// refresh token.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

/// The settings and state that all clones of a [`Gateway`] share.
pub(crate) struct Inner {
    pub(crate) issuer: String,
    pub(crate) name: String,
    pub(crate) runtime: AuthRuntime,
    pub(crate) seal: Seal,
    pub(crate) store: Arc<dyn GatewayStore>,
    pub(crate) families: Families,
    pub(crate) people: People,
    pub(crate) clients: Clients,
    /// Whether client ID metadata documents are accepted.
    pub(crate) takes_documents: bool,
    /// The upstreams in the order of the builder. The first one identifies the persons.
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) resources: Vec<ResourceUri>,
    pub(crate) scopes: Vec<String>,
    pub(crate) identify: Arc<dyn Identify>,
    pub(crate) clock: SteadyClock,
    pub(crate) open_logins: OpenLogins,
    pub(crate) sweeps: Sweeps,
    pub(crate) limits: Limits,
    pub(crate) upstream_timeout: Duration,
    pub(crate) counters: Counters,
}

/// The upstream logins of this process, whose number is bounded.
#[derive(Debug)]
pub(crate) struct OpenLogins {
    /// The logins that wait for a person, by the names of their cookies, with the time at which each one expires.
    open: Mutex<BTreeMap<String, WallTime>>,
    /// The number of logins for which the upstream's session was asked for the provider's page, and has not returned it yet.
    beginning: AtomicUsize,
    max: usize,
}

/// Counts one login as beginning until it is dropped.
pub(crate) struct BeginningLogin<'a>(&'a OpenLogins);

impl Drop for BeginningLogin<'_> {
    fn drop(&mut self) {
        self.0.beginning.fetch_sub(1, Ordering::AcqRel);
    }
}

impl OpenLogins {
    /// Counts a further login as beginning. `None` if there are too many already.
    pub(crate) fn begin(&self, now: WallTime) -> Option<BeginningLogin<'_>> {
        let login = BeginningLogin(self);
        let beginning = self.beginning.fetch_add(1, Ordering::AcqRel);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, expires| now < *expires);
        (open.len() + beginning < self.max).then_some(login)
    }

    /// Notes that the login with this cookie waits for a person from now on.
    pub(crate) fn opened(&self, cookie: String, now: WallTime) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(cookie, now.after(LOGIN_LIFETIME));
    }

    /// Notes that the login with this cookie has ended.
    pub(crate) fn closed(&self, cookie: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(cookie);
    }

    fn count(&self, now: WallTime) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().filter(|expires| now < **expires).count()
    }
}

/// Counts of a gateway since its start, and the number of logins that it holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayCounts {
    /// Authorization codes that were issued.
    pub codes: u64,
    /// Codes that were redeemed.
    pub redeemed: u64,
    /// Refreshes that rotated the token.
    pub rotated: u64,
    /// Refreshes that were answered with the same successor again.
    pub repeated: u64,
    /// Replays of codes and refresh tokens. Each ended its family.
    pub replayed: u64,
    /// Revocations.
    pub revoked: u64,
    /// Inbound requests that were refused with 401.
    pub refused: u64,
    /// Sessions at the first upstream that were [forgotten](AuthSession::forget), because their persons have newer ones, or
    /// because their logins were not completed.
    pub forgotten: u64,
    /// Upstream logins that wait for a person now.
    pub open_logins: usize,
}

/// The running counts behind [`GatewayCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) codes: AtomicU64,
    pub(crate) redeemed: AtomicU64,
    pub(crate) rotated: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(crate) revoked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) forgotten: AtomicU64,
}

/// Adds one to a count. No other memory access depends on the order of these additions.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Gateway {
    /// Begins to build the gateway of `issuer`, which is its public origin, such as `https://gateway.example.com`. The sessions
    /// at the providers are those of `runtime`.
    pub fn builder(issuer: impl Into<String>, runtime: AuthRuntime, key: GatewayKey) -> GatewayBuilder {
        GatewayBuilder {
            issuer: issuer.into(),
            name: "this gateway".to_owned(),
            runtime,
            key,
            previous_keys: Vec::new(),
            store: None,
            upstreams: Vec::new(),
            resources: Vec::new(),
            scopes: Vec::new(),
            limits: Limits::default(),
            documents: None,
            identify: None,
            clock: None,
            max_open_logins: MAX_OPEN_LOGINS,
            upstream_timeout: UPSTREAM_TIMEOUT,
            apps: Vec::new(),
            admission: None,
        }
    }

    /// The routes of the authorization server, with all metadata. The host merges its own routes and serves them at the issuer's
    /// origin.
    pub fn router(&self) -> axum::Router {
        server::router(self)
    }

    /// The layer for the routes of a resource that was given to [`GatewayBuilder::resource`].
    ///
    /// # Errors
    ///
    /// [`BuildError::Resource`] for another URL.
    pub fn layer(&self, resource: &str) -> Result<GatewayLayer, BuildError> {
        let resource = ResourceUri::parse(resource).map_err(|_| BuildError::Resource)?;
        if !self.0.resources.contains(&resource) {
            return Err(BuildError::Resource);
        }
        Ok(GatewayLayer::new(self.clone(), resource))
    }

    /// Adds a person who has a session at the first upstream already, under `account`, and returns their subject. It is for
    /// persons of an earlier system, whose sessions were [installed](AuthSession::install).
    ///
    /// # Errors
    ///
    /// [`EnrollError`] if the store has no room, or cannot be used.
    ///
    /// # Cancellation
    ///
    /// The person is added or not.
    pub async fn enroll(&self, user: &UpstreamUser, account: &str) -> Result<String, EnrollError> {
        let (subject, now) = (user.subject(), self.0.now());
        let settled = self.0.people.settle(&subject, Some(account), self.0.person_expires(now), now).await;
        let unused = settled.map_err(|error| match error {
            PeopleError::Full => EnrollError::Full,
            PeopleError::Trouble => EnrollError::Store,
        })?;
        if let Some(unused) = unused {
            self.0.forget(&unused).await;
        }
        Ok(subject)
    }

    /// Signs a person out of the gateway, in all replicas. The tokens and codes that were issued to the person's clients until
    /// now are refused, and no browser counts as signed in. The person's sessions at the upstreams stay. A host that wants to
    /// end those too [logs them out](AuthSession::logout).
    ///
    /// # Errors
    ///
    /// [`StoreTrouble`] if the store cannot be used. The person may be signed out all the same.
    ///
    /// # Cancellation
    ///
    /// The person is signed out or not.
    pub async fn sign_out(&self, subject: &str) -> Result<(), StoreTrouble> {
        let now = self.0.now();
        self.0.people.sign_out(subject, self.0.person_expires(now), now).await.map_err(|_| StoreTrouble)
    }

    /// The counts so far.
    pub fn counts(&self) -> GatewayCounts {
        let Counters { codes, redeemed, rotated, repeated, replayed, revoked, refused, forgotten } = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GatewayCounts {
            codes: read(codes),
            redeemed: read(redeemed),
            rotated: read(rotated),
            repeated: read(repeated),
            replayed: read(replayed),
            revoked: read(revoked),
            refused: read(refused),
            forgotten: read(forgotten),
            open_logins: self.0.open_logins.count(self.0.now()),
        }
    }
}

impl Inner {
    pub(crate) fn now(&self) -> WallTime {
        self.clock.now()
    }

    /// The time until which the store keeps a person who signs in or gets a code now. Each family of the person has ended by
    /// then.
    pub(crate) fn person_expires(&self, now: WallTime) -> WallTime {
        now.after(self.limits.family_lifetime).after(LOGIN_LIFETIME)
    }

    /// The upstream of this name, with its index among the upstreams.
    pub(crate) fn upstream(&self, name: &str) -> Option<(usize, &Upstream)> {
        self.upstreams.iter().enumerate().find(|(_, upstream)| upstream.name == name)
    }

    /// The session of `account` at an upstream.
    pub(crate) fn session(&self, upstream: &Upstream, account: &str) -> Result<AuthSession, IdentityError> {
        Ok(self.runtime.session(upstream.session(account)?))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        [&self.issuer, path].concat()
    }

    /// The page at which a person signs in to an upstream again.
    pub(crate) fn login_page(&self, upstream: &str) -> String {
        self.url(&[server::LOGIN, "/", upstream].concat())
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("issuer", &self.0.issuer).finish_non_exhaustive()
    }
}

/// Why a person was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// The store has no room for a further person.
    #[error("the gateway's store is full: raise its bounds")]
    Full,
    /// The store cannot be used now.
    #[error("the gateway's store cannot be read or written: check that it runs and can be reached")]
    Store,
}

/// Builds a [`Gateway`]. A store, an upstream and a resource are required. The first upstream identifies the persons.
#[derive(Debug)]
#[must_use]
pub struct GatewayBuilder {
    issuer: String,
    name: String,
    runtime: AuthRuntime,
    key: GatewayKey,
    previous_keys: Vec<GatewayKey>,
    store: Option<Arc<dyn GatewayStore>>,
    upstreams: Vec<Upstream>,
    resources: Vec<String>,
    scopes: Vec<String>,
    limits: Limits,
    documents: Option<Arc<dyn HttpClient>>,
    identify: Option<Arc<dyn Identify>>,
    clock: Option<Arc<dyn Clock>>,
    max_open_logins: usize,
    upstream_timeout: Duration,
    apps: Vec<String>,
    admission: Option<Arc<dyn AdmitClients>>,
}

impl GatewayBuilder {
    /// The name that persons see on the page of consent. Default `this gateway`.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// A key that the gateway had before. Texts that it signed are accepted, and new ones are signed with the present key.
    /// Default: none.
    pub fn previous_key(mut self, key: GatewayKey) -> Self {
        self.previous_keys.push(key);
        self
    }

    /// The store of families, persons and consents.
    pub fn store(self, store: Arc<dyn GatewayStore>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// A further upstream. The first one identifies the persons ([`identify`](Self::identify)).
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// A resource that the gateway protects, such as `https://gateway.example.com/mcp`. It is at the issuer's origin.
    pub fn resource(mut self, url: impl Into<String>) -> Self {
        self.resources.push(url.into());
        self
    }

    /// The scopes that clients may ask for. A client that names none gets all. Default: none.
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }

    /// The lifetimes of tokens. Default: [`Limits::default`].
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: limits.bounded(), ..self }
    }

    /// Accepts client ID metadata documents, and fetches them with `http`, which must
    /// [enforce](HttpClient::enforces_reach) the [`Reach`] of each request, so that no document's URL leads into a private
    /// network. Default: they are not accepted.
    pub fn documents(self, http: Arc<dyn HttpClient>) -> Self {
        Self { documents: Some(http), ..self }
    }

    /// Accepts redirect addresses of `scheme`, which has no dot and belongs to an app on the persons' machines, such as
    /// `our-app`. Schemes with a dot, and those of known editors and assistants, are accepted without this call.
    pub fn app_scheme(mut self, scheme: impl Into<String>) -> Self {
        self.apps.push(scheme.into());
        self
    }

    /// Asks the host which clients are admitted. Default: all.
    pub fn admit_clients(self, admission: Arc<dyn AdmitClients>) -> Self {
        Self { admission: Some(admission), ..self }
    }

    /// Identifies the persons who sign in at the first upstream. Default: [`IdentifyByUser`], under the upstream's name. A
    /// gateway that later identifies its persons in another way gives the same persons other subjects.
    pub fn identify(self, identify: Arc<dyn Identify>) -> Self {
        Self { identify: Some(identify), ..self }
    }

    /// The clock. Default: that of the machine.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The maximum number of upstream logins that wait for a person at a time. A further one is refused until one has ended.
    /// Default 10,000.
    pub fn max_open_logins(self, max: usize) -> Self {
        Self { max_open_logins: max, ..self }
    }

    /// How long an inbound request waits for an upstream's token. It should be less than the time after which clients give up,
    /// so that they get an answer. Default 20 s.
    pub fn upstream_timeout(self, timeout: Duration) -> Self {
        Self { upstream_timeout: timeout, ..self }
    }

    /// Builds the gateway.
    ///
    /// # Errors
    ///
    /// The [`BuildError`].
    pub fn build(self) -> Result<Gateway, BuildError> {
        let origin = ResourceUri::parse(&self.issuer).map_err(|_| BuildError::Issuer)?;
        let is_origin = self.issuer.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?']));
        if !is_origin || origin.as_str() != self.issuer || !(origin.is_https() || origin.is_loopback()) {
            return Err(BuildError::Issuer);
        }
        let resources = self.resources.iter().map(|url| resource(&self.issuer, url)).collect::<Option<Vec<_>>>();
        let resources = resources.filter(|resources| !resources.is_empty()).ok_or(BuildError::Resource)?;
        let is_name = |name: &str| {
            (1..=32).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let names: BTreeSet<_> = self.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        if names.is_empty() || names.len() < self.upstreams.len() || !names.into_iter().all(is_name) {
            return Err(BuildError::Upstream);
        }
        let store = self.store.ok_or(BuildError::NoStore)?;
        let clock = match self.clock {
            Some(clock) => clock,
            None => Arc::new(SystemClock::new().map_err(|_| BuildError::NoRandomness)?),
        };
        let by_user = || Arc::new(IdentifyByUser::at(&self.upstreams[0].name)) as Arc<dyn Identify>;
        let identify = self.identify.unwrap_or_else(by_user);
        let takes_documents = self.documents.is_some();
        let documents = Documents::new(self.documents, Reach::beside(&origin));
        Ok(Gateway(Arc::new(Inner {
            issuer: self.issuer,
            name: self.name,
            runtime: self.runtime,
            seal: Seal::new(self.key, self.previous_keys),
            families: Families::new(Arc::clone(&store), self.limits),
            people: People::new(Arc::clone(&store)),
            store,
            clients: Clients { documents, apps: self.apps, admission: self.admission },
            takes_documents,
            upstreams: self.upstreams,
            resources,
            scopes: self.scopes,
            identify,
            clock: SteadyClock::new(clock),
            sweeps: Sweeps::default(),
            open_logins: OpenLogins {
                open: Mutex::default(),
                beginning: AtomicUsize::new(0),
                max: self.max_open_logins,
            },
            limits: self.limits,
            upstream_timeout: self.upstream_timeout,
            counters: Counters::default(),
        })))
    }
}

/// The resource at `url`, if that is at the issuer's origin.
fn resource(issuer: &str, url: &str) -> Option<ResourceUri> {
    let resource = ResourceUri::parse(url).ok()?;
    let path = resource.as_str().strip_prefix(issuer)?;
    let is_path = path.is_empty() || path.starts_with('/');
    (is_path && !path.contains('?')).then_some(resource)
}
