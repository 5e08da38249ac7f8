//! Logins, from the first refusal to a revocation at the authorization server and the next login.

use std::sync::Arc;

use serde_json::{Value, json};
use tokenkeeper::{LoginReason, LoginSettings};
use tokenkeeper_rmcp::session_error;

use crate::authority::Counts;
use crate::host::{Host, Wire};
use crate::server::{Sdk, Servers};
use crate::transport::Mcp;

/// The counts after one login of a new client.
const ONE: Counts = Counts { registrations: 1, pushed: 0, codes: 1, refreshes: 0, refused: 0, grants: 1, revoked: 0 };

at_both!(
    a_person_signs_in_and_tools_are_called,
    after_a_revocation_and_a_login_the_same_transports_go_on,
    after_a_login_of_another_client_the_same_transports_go_on,
);

async fn a_person_signs_in_and_tools_are_called(sdk: Sdk) {
    let Some(host) = Host::new(sdk).await else { return };
    assert!(host.session.token().await.unwrap_err().is_login_required());
    host.log_in().await;
    assert_eq!(host.servers.authority.counts(), ONE);
    for wire in [Wire::Of2025, Wire::Of2026] {
        let mcp = host.connect(wire).await;
        let tools = mcp.tools().await;
        assert_eq!(tools, ["admin_echo", "announce", "cut_stream", "echo", "slow", "stream", "whoami"], "{wire:?}");
        mcp.echo().await.unwrap();
        let person: Value = serde_json::from_str(&mcp.call("whoami", json!({})).await.unwrap()).unwrap();
        assert_eq!((&person["sub"], &person["scopes"]), (&json!("alice"), &json!(["mcp:tools"])), "{wire:?}");
        mcp.end().await;
    }
    assert_eq!(host.servers.authority.counts(), ONE);
    assert_eq!(host.servers.counts().answered("DELETE", 200), 1, "the MCP session has ended");
    host.end([]).await;
}

async fn after_a_revocation_and_a_login_the_same_transports_go_on(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let transports = host.connect_two().await;
    host.revoke();
    assert_login_required(&transports).await;
    // One refusal of the token, and one refresh that the authorization server refused.
    assert_eq!(host.servers.counts().answered("POST", 401), 1);
    assert_eq!(host.servers.authority.counts(), Counts { refused: 1, revoked: 1, ..ONE });

    host.log_in().await;
    go_on(&transports).await;
    let counts = host.servers.counts();
    // The second refusal is that of the login's own request, which has no token.
    assert_eq!((counts.answered("POST", 401), counts.answered("POST", 404), counts.answered("GET", 200)), (2, 0, 2));
    // The client was known already.
    let expected = Counts { pushed: 1, codes: 2, refused: 1, grants: 2, revoked: 1, ..ONE };
    assert_eq!(host.servers.authority.counts(), expected);
    host.end(transports).await;
}

/// The Python SDK gives an MCP session to the client and the person that began it. Other credentials get 404 there, and rmcp
/// begins another MCP session. The TypeScript SDK leaves that to the server's author.
async fn after_a_login_of_another_client_the_same_transports_go_on(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let transports = host.connect_two().await;
    host.revoke();
    host.servers.authority.tell("/forget-clients", &json!({}));
    assert_login_required(&transports).await;

    host.log_in().await;
    assert_eq!(host.servers.authority.counts().registrations, 2);
    go_on(&transports).await;
    let unknown = if sdk == Sdk::Python { 2 } else { 0 };
    assert_eq!(host.servers.counts().answered("POST", 404), unknown);
    host.end(transports).await;
}

/// The examples of the Python SDK give it the issuer as a URL, which ends with a slash then. Its metadata names an issuer that is
/// not the authorization server's own, letter for letter (RFC 8414 section 3.3). The host may allow that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_with_a_slash_of_its_own_needs_an_alias() {
    let Some(servers) = Servers::start(Sdk::Python, &[("ISSUER_AS_URL", "1")]) else { return };
    let servers = Arc::new(servers);
    let host = Host::with(Box::new(Arc::clone(&servers)), LoginSettings::default()).await;
    assert_eq!(host.begin_login().await.unwrap_err().reason(), LoginReason::IssuerMismatch);
    assert_eq!(servers.authority.counts(), Counts::default());
    host.end([]).await;

    let issuer = servers.authority.issuer().to_owned();
    let settings = LoginSettings::default()
        .discovery(move |discovery| Ok(discovery.issuer_alias(format!("{issuer}/"), issuer.clone())));
    let host = Host::with(Box::new(Arc::clone(&servers)), settings).await;
    host.log_in().await;
    let mcp = host.connect(Wire::Of2025).await;
    mcp.echo().await.unwrap();
    host.expire();
    mcp.echo().await.unwrap();
    assert_eq!(servers.authority.counts(), Counts { refreshes: 1, ..ONE });
    host.end([mcp]).await;
}

async fn assert_login_required(transports: &[Mcp; 2]) {
    for mcp in transports {
        let error = mcp.echo().await.unwrap_err();
        assert!(error.is_authorization_required(), "{error:?}");
        assert!(session_error(&error).unwrap().is_login_required(), "{error:?}");
    }
}

/// Calls succeed, and the standing streams are heard.
async fn go_on(transports: &[Mcp; 2]) {
    for mcp in transports {
        mcp.echo().await.unwrap();
        mcp.hears().await;
    }
}
