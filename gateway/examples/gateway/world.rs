//! The two providers, the gateway before them, and the server behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use tokenkeeper::user::UserOptions;
use tokenkeeper::{AuthRuntime, CallError, Next, OperationKey, SessionSpec, stores};
use tokenkeeper_gateway::store::MemoryGatewayStore;
use tokenkeeper_gateway::{Gateway, GatewayKey, Inbound, Limits, Upstream, UpstreamSession, UpstreamTrouble};
use tokenkeeper_testkit::hostile::{Fault, Rules, TokenVerdict, When};
use tokenkeeper_testkit::login_server::LoginServer;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::Done;

pub(crate) const ORIGIN: &str = "http://127.0.0.1:8000";
pub(crate) const RESOURCE: &str = "http://127.0.0.1:8000/mcp";
pub(crate) const BACK: &str = "http://127.0.0.1:7777/callback";

/// How long a session rests before its actor ends, and how long its user context is kept.
const IDLE: Duration = Duration::from_secs(3);

/// A provider in the test's own process.
pub(crate) struct Provider {
    pub(crate) server: LoginServer,
    /// The person at the provider's page. One at a time, because the page has no form.
    pub(crate) page: Mutex<()>,
    /// Calls of its API, of which one in twenty fails.
    calls: AtomicU64,
    fails: std::sync::atomic::AtomicBool,
}

impl Provider {
    async fn start(issuer_path: &str, access_lifetime: Duration) -> Done<Arc<Self>> {
        let rules = Rules { access_lifetime, ..Rules::default() };
        let server = LoginServer::builder().issuer_path(issuer_path).userinfo(json!({})).rules(rules).start().await?;
        let (page, calls) = (Mutex::default(), AtomicU64::new(0));
        Ok(Arc::new(Self { server, page, calls, fails: false.into() }))
    }

    /// The provider's API, which names the person of a token, or answers with an error.
    fn whose(&self, headers: &HeaderMap) -> Result<String, StatusCode> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) && call.is_multiple_of(20) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let presented = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        match self.server.verifier().admit(presented, &self.server.resource_url(), &[]) {
            TokenVerdict::Admitted(admission) => {
                let person = admission.chain.and_then(|chain| self.server.subject_of(chain));
                person.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            TokenVerdict::Refused { .. } => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// Calls the API for a session. A token that has just expired is refused once, and replaced.
    async fn ask(&self, upstream: &UpstreamSession) -> Result<Result<String, StatusCode>, UpstreamTrouble> {
        let session = upstream.session();
        // A stuck provider answers 503 within the gateway's time-out.
        upstream.token().await?;
        let Ok(to) = session.destination(&self.server.resource_url()) else { return Err(UpstreamTrouble::Unknown) };
        let mut call = session.call(OperationKey(1));
        let trouble = |error: CallError| match error {
            CallError::Token { error, .. } => upstream.trouble(&error),
            _ => UpstreamTrouble::Unknown,
        };
        loop {
            let mut headers = HeaderMap::new();
            let authorization = call.authorize(&to, &Method::POST).await.map_err(trouble)?;
            authorization.inspect(|authorization| authorization.apply(&mut headers));
            let answer = self.whose(&headers);
            let status = answer.as_ref().err().copied().unwrap_or(StatusCode::OK);
            match call.next(status, &HeaderMap::new()).await.map_err(trouble)? {
                Next::Again => {}
                Next::Done => return Ok(answer),
            }
        }
    }

    /// The faults of the token endpoint, one in twenty.
    fn fail(&self) {
        let faults = [Fault::status(503), Fault::reset(), Fault::status(500), Fault::close()];
        let turns = faults.into_iter().flat_map(|fault| std::iter::repeat_n(Fault::pass(), 19).chain([fault]));
        self.server.hostile().in_turn(turns.map(|fault| (When::Before, fault)));
        self.fails.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct World {
    pub(crate) providers: [Arc<Provider>; 2],
    pub(crate) gateway: Gateway,
    pub(crate) app: Router,
    store: MemoryGatewayStore,
    runtime: AuthRuntime,
}

/// A tool that asks both providers whose data it gets, and returns both answers.
async fn tool(
    Extension(inbound): Extension<Inbound>,
    Extension([keycloak, github]): Extension<[Arc<Provider>; 2]>,
) -> Result<Response, UpstreamTrouble> {
    let first = keycloak.ask(&inbound.upstream("keycloak")?).await?;
    let second = github.ask(&inbound.upstream("github")?).await?;
    Ok(match (first, second) {
        (Ok(first), Ok(second)) => format!("{first} {second}").into_response(),
        // The API of a provider failed. That is the tool's own answer.
        _ => StatusCode::BAD_GATEWAY.into_response(),
    })
}

/// The tasks of this process. Each actor has one.
pub(crate) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

impl World {
    /// Access tokens live for seconds, and longer where many persons share the two cores of a small machine.
    pub(crate) async fn start(users: usize) -> Done<Self> {
        let lifetime = |users_a_second: usize| Duration::from_secs((users / users_a_second).max(1) as u64);
        let providers =
            [Provider::start("/realms/demo", lifetime(500)).await?, Provider::start("", lifetime(250)).await?];
        let users_of_late = UserOptions { max_age: IDLE, ..UserOptions::default() };
        let runtime =
            AuthRuntime::builder(stores::memory::open()?).idle_after(IDLE).user_options(users_of_late).spawn().await?;
        let spec = |provider: &Provider| SessionSpec::mcp(&provider.server.resource_url());
        let store = MemoryGatewayStore::default();
        let mut limits = Limits::default();
        limits.access_lifetime = lifetime(2000);
        let gateway = Gateway::builder(ORIGIN, runtime.clone(), GatewayKey::random()?)
            .store(Arc::new(store.clone()))
            .upstream(Upstream::new("keycloak", spec(&providers[0])?).label("Keycloak"))
            .upstream(Upstream::new("github", spec(&providers[1])?).label("GitHub"))
            .resource(RESOURCE)
            .limits(limits)
            .build()?;
        let resource = Router::new().route("/mcp", post(tool)).layer(gateway.layer(RESOURCE)?);
        let app = gateway.router().merge(resource.layer(Extension(providers.clone())));
        Ok(Self { providers, gateway, app, store, runtime })
    }

    pub(crate) fn fail_one_in_twenty(&self) {
        self.providers.iter().for_each(|provider| provider.fail());
    }

    pub(crate) fn calm(&self) {
        for provider in &self.providers {
            provider.server.hostile().calm();
            provider.fails.store(false, Ordering::Relaxed);
        }
    }

    /// The gateway's own account of what it holds.
    pub(crate) fn told(&self) -> String {
        let (counts, held) = (self.gateway.counts(), self.store.counts());
        format!("{held:?}, {counts:?}")
    }

    /// Waits until the actors of idle sessions have ended, and returns the number of tasks that are left.
    #[expect(clippy::disallowed_methods, reason = "a program that waits for a drain, and is its own host")]
    pub(crate) async fn rested(&self, users: usize) -> Done<usize> {
        for _ in 0..120 {
            let tasks = tasks();
            if tasks < 32 + users / 10 {
                return Ok(tasks);
            }
            sleep(Duration::from_millis(500)).await;
        }
        Err(format!("the actors of idle sessions have not ended: {} tasks are left", tasks()).into())
    }

    pub(crate) fn check(&self, users: usize) -> Done {
        for (name, provider) in [("keycloak", &self.providers[0]), ("github", &self.providers[1])] {
            let counts = provider.server.hostile().counts();
            println!(
                "{name}: {} refreshes, {} rotations, {} faults, {} replays, {} chains revoked",
                counts.refresh_grants, counts.rotations, counts.faults, counts.replays, counts.chains_revoked
            );
            if counts.replays + counts.chains_revoked > 0 {
                return Err(format!("{name} saw a refresh token twice").into());
            }
        }
        let held = self.store.counts();
        if (held.families, held.persons) != (users, users) || self.gateway.counts().open_logins > 0 {
            return Err(format!("the gateway holds more than its users: {held:?}").into());
        }
        Ok(())
    }

    pub(crate) async fn end(self) -> Done {
        let report = self.runtime.shutdown(Duration::from_secs(10)).await;
        if report.is_clean() { Ok(()) } else { Err("a session was not saved".into()) }
    }
}
