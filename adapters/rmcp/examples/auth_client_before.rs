//! A host on rmcp's own `AuthClient`. Two transports share it, and 16 calls meet a refused token.

// A host owns its tasks.
#![allow(clippy::disallowed_methods)]

mod support;

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationManager, AuthorizationMetadata};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = support::Servers::start().await?;
    let mut manager = AuthorizationManager::new(servers.mcp.uri()).await?;
    manager.set_credential_store(servers.store.clone());
    let mut metadata = AuthorizationMetadata::default();
    metadata.authorization_endpoint = format!("{}/authorize", servers.authorization.issuer());
    metadata.token_endpoint = servers.authorization.token_endpoint();
    manager.set_metadata(metadata);
    manager.configure_client_id(&servers.client_id)?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let client = AuthClient::new(http, manager);
    let connect = || ().serve(StreamableHttpClientTransport::with_client(client.clone(), servers.config()));
    let transports = [connect().await?, connect().await?];
    servers.end_access_tokens();
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let peer = transports[number % 2].peer().clone();
        calls.spawn(async move {
            match peer.call_tool(CallToolRequestParams::new("whoami")).await {
                Err(error) if error.is_authorization_required() => {
                    Err("sign in, and start the transport again".to_owned())
                }
                Err(error) => Err(error.to_string()),
                Ok(_) => Ok(()),
            }
        });
    }
    servers.report(calls.join_all().await.iter().filter(|call| call.is_err()).count());
    Ok(())
}
