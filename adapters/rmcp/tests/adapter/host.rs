//! A host with one session at the MCP server of the testkit, and rmcp transports over it.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, JsonObject, ProtocolVersion};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{StreamableHttpClient, StreamableHttpClientTransportConfig};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ServiceError, ServiceExt};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::{Client, ClientAuth};
use tokenkeeper::{AuthRuntime, AuthSession, Login, SessionSpec};
use tokenkeeper_rmcp::SessionClient;
use tokenkeeper_testkit::hostile::{Grant, HostileAs, Rules};
use tokenkeeper_testkit::mcp::{McpResource, McpSettings};

use crate::clock::AheadClock;
use crate::within::within;

pub type Mcp = Connected<()>;
pub type Connected<H> = RunningService<RoleClient, H>;
pub type OwnClient = SessionClient<reqwest::Client>;

/// One process, with the servers that it talks to.
pub struct Host {
    pub server: HostileAs,
    pub resource: McpResource,
    pub store: MemoryStore,
    pub runtime: AuthRuntime,
    pub session: AuthSession,
    client: Client,
    clock: Arc<AheadClock>,
}

impl Host {
    /// A host that is signed in, with an access token.
    pub async fn signed_in() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub async fn with(rules: impl FnOnce(&mut Rules), settings: impl FnOnce(&mut McpSettings)) -> Self {
        let host = Self::never_signed_in(rules, settings).await;
        host.install(&host.grant()).await;
        host
    }

    pub async fn never_signed_in(rules: impl FnOnce(&mut Rules), settings: impl FnOnce(&mut McpSettings)) -> Self {
        let server = HostileAs::start().await.unwrap();
        server.rules(rules);
        let resource = McpResource::start_with(server.verifier(), settings).await.unwrap();
        let store = MemoryStore::new(DigestKey::new([7; 32]));
        let clock = Arc::new(AheadClock::new());
        let runtime = process(&store, Some(Arc::clone(&clock))).await;
        let session = runtime.session(SessionSpec::mcp(&resource.uri()).unwrap());
        let client = server.register(ClientAuth::None);
        Self { server, resource, store, runtime, session, client, clock }
    }

    pub fn grant(&self) -> Grant {
        self.server.grant_for(&self.client, &self.resource.uri(), "tools:read tools:call")
    }

    pub async fn install(&self, grant: &Grant) {
        install(&self.session, grant).await;
    }

    /// The time passes at which the access token ends, for the host and for the server.
    pub fn expire(&self) {
        let time = Duration::from_secs(2 * 3600);
        self.server.advance(time);
        self.clock.pass(time);
    }

    pub fn own_client(&self) -> OwnClient {
        own_client(&self.session)
    }

    pub fn config(&self) -> StreamableHttpClientTransportConfig {
        // Nothing of a test depends on these limits, or waits as long.
        let hour = Duration::from_secs(3600);
        StreamableHttpClientTransportConfig::with_uri(self.resource.uri())
            .max_concurrent_requests(2_000)
            .control_request_timeout(hour)
            .session_recovery_timeout(hour)
    }

    /// A transport of its own over `client`, which has opened its standing stream.
    pub async fn connect<C: StreamableHttpClient + Sync>(&self, client: &C) -> Mcp {
        self.connect_as((), client, self.config()).await
    }

    pub async fn connect_as<C: StreamableHttpClient + Sync, H: ClientHandler>(
        &self,
        handler: H,
        client: &C,
        config: StreamableHttpClientTransportConfig,
    ) -> Connected<H> {
        let before = self.resource.counts().answered("GET", 200);
        let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
        let mcp = within("a connection", handler.serve(transport)).await.unwrap();
        within("the standing stream", self.resource.until(|counts| counts.answered("GET", 200) > before)).await;
        mcp
    }

    /// A transport of its own over `client`, on the wire of 2026. It has no standing stream.
    pub async fn connect_2026<C: StreamableHttpClient + Sync>(&self, client: &C) -> Mcp {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        let lifecycle = ClientLifecycleMode::Discover { preferred_versions };
        let transport = StreamableHttpClientTransport::with_client(client.clone(), self.config());
        within("a connection", ().serve_with_lifecycle(transport, lifecycle)).await.unwrap()
    }
}

/// A process of its own on `store`.
pub async fn process(store: &MemoryStore, clock: Option<Arc<AheadClock>>) -> AuthRuntime {
    let mut builder = AuthRuntime::builder(store.process());
    if let Some(clock) = clock {
        builder = builder.clock(clock);
    }
    within("a runtime", builder.spawn()).await.unwrap()
}

pub async fn install(session: &AuthSession, grant: &Grant) {
    let login = Login::at(grant.binding.clone())
        .refresh_token(grant.refresh_token.expose())
        .access_token(grant.access_token.expose(), Some(grant.lifetime));
    within("a login", session.install(login)).await.unwrap();
}

pub fn own_client(session: &AuthSession) -> OwnClient {
    SessionClient::with(session.clone(), reqwest::ClientBuilder::no_proxy).unwrap()
}

/// A call of a tool with one argument.
pub fn call(tool: &'static str, argument: &str, value: impl Into<serde_json::Value>) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(JsonObject::from_iter([(argument.to_owned(), value.into())]))
}

/// Calls the tool `echo`, and checks its result.
pub async fn echo<H: ClientHandler>(mcp: &Connected<H>, text: &str) -> Result<(), ServiceError> {
    let result = mcp.call_tool(call("echo", "text", text)).await?;
    assert_eq!(result.content[0].as_text().unwrap().text, text);
    Ok(())
}
