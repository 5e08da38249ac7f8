//! The servers of both examples, and the credentials that rmcp's own client left behind.
#![allow(dead_code, unreachable_pub, reason = "each example takes what it needs")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the credentials begin now, and a person reads the report"
)]

use std::time::{Duration, SystemTime};

use rmcp::transport::auth::{AuthError, CredentialStore, InMemoryCredentialStore};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::json;
use tokenkeeper_testkit::hostile::HostileAs;
use tokenkeeper_testkit::mcp::McpResource;

/// A strict authorization server, and an MCP server behind it.
pub struct Servers {
    pub authorization: HostileAs,
    pub mcp: McpResource,
    pub store: InMemoryCredentialStore,
    pub client_id: String,
}

impl Servers {
    pub async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let authorization = HostileAs::start().await?;
        authorization.rules(|rules| rules.answer_delay = Duration::from_millis(50));
        let mcp = McpResource::start(authorization.verifier()).await?;
        let client = authorization.register(tokenkeeper::engine::values::record::ClientAuth::None);
        let grant = authorization.grant_for(&client, &mcp.uri(), "tools:read");
        let store = InMemoryCredentialStore::new();
        let credentials = serde_json::from_value(json!({
            "client_id": client.id,
            "token_response": {
                "access_token": grant.access_token.expose(),
                "token_type": "bearer",
                "expires_in": grant.lifetime.as_secs(),
                "refresh_token": grant.refresh_token.expose(),
            },
            "token_received_at": SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        }));
        store.save(credentials.map_err(|error| AuthError::InternalError(error.to_string()))?).await?;
        Ok(Self { authorization, mcp, store, client_id: client.id })
    }

    pub fn config(&self) -> StreamableHttpClientTransportConfig {
        StreamableHttpClientTransportConfig::with_uri(self.mcp.uri()).max_concurrent_requests(256)
    }

    /// The access token ends before its time, and only the MCP server knows.
    pub fn end_access_tokens(&self) {
        self.authorization.kill_access_tokens();
    }

    pub fn report(&self, failed: usize) {
        let counts = self.authorization.counts();
        println!("{failed} calls failed, {} token requests, {} replays", counts.token_requests, counts.replays);
    }
}
