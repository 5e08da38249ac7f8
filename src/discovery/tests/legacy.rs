//! Servers without metadata. They follow the revision 2025-03-26, or the host describes them.

use super::*;

const AS_AT_ORIGIN: &str = "https://mcp.example/.well-known/oauth-authorization-server";

/// Scenario `auth/2025-03-26-oauth-metadata-backcompat`.
#[tokio::test(start_paused = true)]
async fn metadata_at_the_origin_is_used() {
    for issuer in ["https://mcp.example", "https://mcp.example/"] {
        let servers = Servers::new();
        servers.on(AS_AT_ORIGIN, metadata(issuer));
        let found = find_at(&servers).await.unwrap();
        assert_eq!(found.server.issuer, issuer);
        assert_eq!(found.server.document_url.as_deref(), Some(AS_AT_ORIGIN));
        assert_eq!(found.resource, ProtectedResource::unpublished(RESOURCE, issuer));
        assert_eq!(servers.take_urls(), [PRM, ROOT_PRM, AS_AT_ORIGIN]);
    }
}

/// Scenario `auth/2025-03-26-oauth-endpoint-fallback`.
#[tokio::test(start_paused = true)]
async fn without_any_metadata_the_endpoints_are_the_default_ones() {
    let servers = Servers::new();
    let found = discovery(&servers);
    let server = find(&found, None).await.unwrap().server;
    assert_eq!(server.issuer, "https://mcp.example");
    assert_eq!(server.authorization_endpoint.as_deref(), Some("https://mcp.example/authorize"));
    assert_eq!(server.token_endpoint, "https://mcp.example/token");
    assert_eq!(server.registration_endpoint.as_deref(), Some("https://mcp.example/register"));
    assert_eq!((server.document_url.as_deref(), server.require_pkce()), (None, Ok(())));
    assert_eq!(servers.take_urls(), [PRM, ROOT_PRM, AS_AT_ORIGIN]);
}

#[tokio::test(start_paused = true)]
async fn only_an_absence_makes_a_server_an_old_one() {
    for reply in [Reply::status(500), Reply::status(200).body("<html>"), Reply::redirect(302, "http://x.example")] {
        let servers = Servers::new();
        servers.on(PRM, reply).on(AS_AT_ORIGIN, metadata("https://mcp.example"));
        let error = find_at(&servers).await.unwrap_err();
        assert!(!matches!(error, DiscoveryError::NotFound { .. }), "{error}");
        assert_eq!(servers.take_urls(), [PRM, ROOT_PRM]);
    }
    for (reply, due) in [
        (Reply::status(403), DiscoveryError::NotFound { status: 403 }),
        (Reply::status(500), DiscoveryError::ServerTrouble { status: 500 }),
        (Reply::status(200).body("<html>"), DiscoveryError::Unreadable { member: None }),
        (metadata("https://evil.example"), DiscoveryError::IssuerMismatch),
    ] {
        let servers = Servers::new();
        servers.on(AS_AT_ORIGIN, reply);
        assert_eq!(find_at(&servers).await, Err(due), "no default endpoints");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_may_name_the_metadata() {
    let servers = Servers::new();
    let url = "https://intranet.example/oauth.json";
    servers.on(url, metadata("https://10.0.0.7/as"));
    let found = discovery(&servers).metadata_url(resource(), url).unwrap();
    let result = find(&found, None).await.unwrap();
    assert_eq!(result.server.issuer, "https://10.0.0.7/as");
    assert_eq!(result.resource, ProtectedResource::unpublished(RESOURCE, "https://10.0.0.7/as"));
    assert_eq!(servers.take_urls(), [url]);
    assert_eq!(found.reach_for(&resource()), Reach::Any);
    for url in ["http://intranet.example/x", "https://a.example/x#y", "javascript:x", ""] {
        let refused = discovery(&servers).metadata_url(resource(), url).map(drop);
        assert_eq!(refused, Err(DiscoveryError::UnsafeAddress { member: "metadata_url" }), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_may_describe_the_server() {
    let servers = Servers::new();
    let mut server = AuthorizationServer::unpublished(ISSUER, "https://as.example/token");
    server.authorization_endpoint = Some("https://as.example/authorize".to_owned());
    let found = discovery(&servers).configured_server(resource(), server.clone()).unwrap();
    assert_eq!(find(&found, None).await.unwrap().server, server);
    assert_eq!(servers.count(), 0);
    server.authorization_endpoint = Some("javascript:alert(1)".to_owned());
    let refused = discovery(&servers).configured_server(resource(), server).map(drop);
    assert_eq!(refused, Err(DiscoveryError::UnsafeAddress { member: "authorization_endpoint" }));
}
