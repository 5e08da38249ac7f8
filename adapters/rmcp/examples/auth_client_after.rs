//! The same host on a session. It takes over the credentials of the `AuthClient`.

// A host owns its tasks.
#![allow(clippy::disallowed_methods)]

mod support;

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::CredentialStore;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AuthRuntime, SessionSpec, stores};
use tokenkeeper_rmcp::{SessionClient, import, session_error};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = support::Servers::start().await?;
    let (issuer, endpoint) = (servers.authorization.issuer(), servers.authorization.token_endpoint());
    let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let session = auth.session(SessionSpec::mcp(&servers.mcp.uri())?);
    let settings = |client_id: &str| IssuerSettings::new(issuer, endpoint, Client::public(client_id));
    session.install(import::login(&servers.store, |stored| settings(&stored.client_id)).await?).await?;
    servers.store.clear().await?;
    session.token().await?;
    let client = SessionClient::new(session)?;
    let connect = || ().serve(StreamableHttpClientTransport::with_client(client.clone(), servers.config()));
    let transports = [connect().await?, connect().await?];
    servers.end_access_tokens();
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let peer = transports[number % 2].peer().clone();
        calls.spawn(async move {
            match peer.call_tool(CallToolRequestParams::new("whoami")).await {
                Err(error) if session_error(&error).is_some_and(|error| error.is_login_required()) => {
                    Err("sign in".to_owned())
                }
                Err(error) => Err(error.to_string()),
                Ok(_) => Ok(()),
            }
        });
    }
    servers.report(calls.join_all().await.iter().filter(|call| call.is_err()).count());
    Ok(())
}
