//! A host with one session at an MCP server on another SDK.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rmcp::ClientLifecycleMode;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::json;
use tokenkeeper::{
    AuthRuntime, AuthSession, LoginCause, LoginMethod, LoginProgress, LoginSettings, LoginWish, OfferedPrompt, Scopes,
    SessionSpec, SignInError, callback, stores,
};
use tokenkeeper_rmcp::SessionClient;

use crate::clock::AheadClock;
use crate::server::{Sdk, Servers};
use crate::transport::Mcp;
use crate::within::within;

/// The bound of a step of a login.
pub const WAIT: Duration = Duration::from_secs(30);

/// The lifetime of an access token and more.
const LIFETIME: Duration = Duration::from_secs(2 * 3600);

/// One process.
pub struct Host {
    pub servers: Box<dyn Deref<Target = Servers> + Send + Sync>,
    pub session: AuthSession,
    client: SessionClient<reqwest::Client>,
    clock: Arc<AheadClock>,
    runtime: AuthRuntime,
}

/// The revision of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// With MCP sessions, and a standing stream for each.
    Of2025,
    /// Without either.
    Of2026,
}

impl Host {
    /// A host without a login. Returns `None` on a machine without the servers' interpreters.
    pub async fn new(sdk: Sdk) -> Option<Self> {
        Some(Self::with(Box::new(Servers::shared(sdk).await?), LoginSettings::default()).await)
    }

    pub async fn with(servers: Box<dyn Deref<Target = Servers> + Send + Sync>, settings: LoginSettings) -> Self {
        let clock = Arc::new(AheadClock::new());
        let builder = AuthRuntime::builder(stores::memory::open().unwrap()).clock(clock.clone()).login(settings);
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        let session = runtime.session(SessionSpec::mcp(servers.resource()).unwrap());
        let client = SessionClient::with(session.clone(), reqwest::ClientBuilder::no_proxy).unwrap();
        Self { servers, session, client, clock, runtime }
    }

    /// A host that a person has signed in to. The MCP server has counted nothing yet.
    pub async fn signed_in(sdk: Sdk) -> Option<Self> {
        let host = Self::new(sdk).await?;
        host.log_in().await;
        // The login has asked for the challenge.
        host.servers.forget();
        Some(host)
    }

    /// Signs a person in, for the scopes that the MCP server proposes.
    pub async fn log_in(&self) {
        let asked = self.consent(self.begin_login().await).await;
        assert!(asked.split(' ').all(|scope| ["mcp:tools", "offline_access"].contains(&scope)), "{asked}");
    }

    pub async fn begin_login(&self) -> Result<LoginProgress, SignInError> {
        let wish = LoginWish { scopes: Scopes::default(), method: method(), same_subject: true, extends: false };
        within("the offer", self.session.begin_login(wish, LoginCause::Person, WAIT)).await
    }

    /// Completes a login that was begun, for a person whose consent is automatic. Returns the scopes that the person was asked
    /// for.
    pub async fn consent(&self, begun: Result<LoginProgress, SignInError>) -> String {
        let LoginProgress::Offered { offer, is_first: true, .. } = begun.unwrap() else { panic!("no offer") };
        let OfferedPrompt::Browser { url } = &offer.prompt else { panic!("{offer:?}") };
        let page = Url::parse(url.as_str()).unwrap();
        let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let answer = within("the page", browser.build().unwrap().get(page.clone()).send()).await.unwrap();
        let answer = callback::read(answer.headers()["location"].to_str().unwrap()).unwrap();
        within("the login", self.session.complete_login(answer, WAIT)).await.unwrap();
        page.query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned()
    }

    /// The access token ends, for the host and for the server.
    pub fn expire(&self) {
        self.refuse();
        self.clock.pass(LIFETIME);
    }

    /// The access token ends, and the host does not know.
    pub fn refuse(&self) {
        self.servers.authority.tell("/expire-all", &json!({}));
    }

    /// The authorization server ends all grants.
    pub fn revoke(&self) {
        self.servers.authority.tell("/revoke-all", &json!({}));
    }

    /// Waits until the session knows that only a login helps.
    pub async fn until_login_required(&self) {
        let mut watch = self.session.watch();
        while watch.now().login_required.is_none() {
            within("the end of the grant", watch.next()).await.unwrap();
        }
    }

    /// A transport of its own.
    pub async fn connect(&self, wire: Wire) -> Mcp {
        let lifecycle = match wire {
            Wire::Of2025 => ClientLifecycleMode::Initialize,
            Wire::Of2026 => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
        };
        // Nothing of a test depends on these limits, or waits as long.
        let hour = Duration::from_secs(3600);
        let config = StreamableHttpClientTransportConfig::with_uri(self.servers.resource())
            .max_concurrent_requests(2_000)
            .control_request_timeout(hour)
            .session_recovery_timeout(hour);
        Mcp::connect(self.client.clone(), config, lifecycle).await
    }

    /// Two transports with MCP sessions, whose standing streams are open.
    pub async fn connect_two(&self) -> [Mcp; 2] {
        let transports = [self.connect(Wire::Of2025).await, self.connect(Wire::Of2025).await];
        self.servers.until_streams(2).await;
        transports
    }

    /// Ends the MCP sessions and the host, which has nothing left to save.
    pub async fn end(self, transports: impl IntoIterator<Item = Mcp>) {
        for mcp in transports {
            mcp.end().await;
        }
        assert!(within("the end", self.runtime.shutdown(Duration::from_secs(5))).await.is_clean());
    }
}

/// A redirect address that no program serves.
pub fn method() -> LoginMethod {
    LoginMethod::Redirect("http://127.0.0.1:4/callback".to_owned())
}
