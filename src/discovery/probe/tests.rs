//! The first request, and what its answer means.

use super::super::scripted::{Reply, Servers, fetcher};
use super::*;
use crate::http::{HttpError, NotSent};

const RESOURCE: &str = "https://mcp.example/mcp?tenant=1";

async fn probe_at(resource: &str, reply: Reply) -> (Result<Probe, DiscoveryError>, Vec<super::super::scripted::Sent>) {
    let servers = Servers::new();
    servers.on(resource, reply);
    let result = probe(&fetcher(&servers), &ResourceUri::parse(resource).unwrap(), Reach::Any).await;
    (result, servers.sent())
}

#[tokio::test(start_paused = true)]
async fn a_401_brings_its_challenges() {
    let reply = Reply::status(401)
        .header("www-authenticate", "Basic realm=\"x\", Bearer scope=\"a\"")
        .header("www-authenticate", "DPoP resource_metadata=\"https://mcp.example/prm\"");
    let (result, sent) = probe_at(RESOURCE, reply).await;
    let probe = result.unwrap();
    let Probe::Challenged(challenges) = &probe else { panic!("{probe:?}") };
    assert_eq!(challenges.len(), 3);
    assert_eq!(probe.challenge().unwrap().resource_metadata(), Some("https://mcp.example/prm"));

    let [sent] = &sent[..] else { panic!() };
    assert_eq!((&sent.method, sent.reach), (&Method::POST, Reach::Any));
    assert!(!sent.headers.contains_key(header::AUTHORIZATION));
    assert_eq!(sent.headers[header::ACCEPT], "application/json, text/event-stream");
    let body: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(body["method"], "initialize");
    assert_eq!(body["params"]["clientInfo"]["name"], "tokenkeeper");
}

#[tokio::test(start_paused = true)]
async fn the_challenge_with_scopes_counts_where_none_names_metadata() {
    let (result, _) = probe_at(RESOURCE, Reply::status(401).header("www-authenticate", "Basic, Bearer scope=a")).await;
    assert_eq!(result.unwrap().challenge().unwrap().scope(), Some("a"));
    let (result, _) = probe_at(RESOURCE, Reply::status(401)).await;
    assert_eq!(result, Ok(Probe::Challenged(Vec::new())));
    let (result, _) = probe_at(RESOURCE, Reply::status(401).header("www-authenticate", "Basic")).await;
    assert_eq!(result.unwrap().challenge(), None);
}

/// A server that serves some requests without a token wants no login before it answers 401.
#[tokio::test(start_paused = true)]
async fn an_open_server_wants_no_login_and_keeps_no_session() {
    let (result, sent) = probe_at(RESOURCE, Reply::status(200).body("{}")).await;
    assert_eq!((result, sent.len()), (Ok(Probe::Open), 1));
    let (result, sent) = probe_at(RESOURCE, Reply::status(200).body("{}").header("mcp-session-id", "s-1")).await;
    assert_eq!(result, Ok(Probe::Open));
    let [_, closing] = &sent[..] else { panic!() };
    assert_eq!((&closing.method, closing.url.as_str()), (&Method::DELETE, RESOURCE));
    assert_eq!(closing.headers["mcp-session-id"], "s-1");
    assert!(closing.headers["mcp-session-id"].is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn other_answers_show_neither() {
    for status in [302, 307, 400, 403, 404, 405, 500] {
        let (result, sent) = probe_at(RESOURCE, Reply::status(status).header("location", "/elsewhere")).await;
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(result, Ok(Probe::Unclear { status, challenges: Vec::new() }));
        assert_eq!(sent.len(), 1, "no redirect is followed");
    }
    let (result, _) = probe_at(RESOURCE, Reply::error(HttpError::NotSent(NotSent::Unreachable))).await;
    assert_eq!(result, Err(DiscoveryError::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn a_host_may_narrow_the_reach() {
    let servers = Servers::careless();
    let resource = ResourceUri::parse(RESOURCE).unwrap();
    let refused = probe(&fetcher(&servers), &resource, Reach::Public).await;
    assert_eq!(refused, Err(DiscoveryError::ReachNotEnforced));
    let private = ResourceUri::parse("https://10.0.0.1/mcp").unwrap();
    let refused = probe(&fetcher(&servers), &private, Reach::Public).await;
    assert_eq!((refused, servers.count()), (Err(DiscoveryError::UnsafeAddress { member: "resource" }), 0));
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_for_loopback() {
    let (result, sent) = probe_at("http://mcp.example/mcp", Reply::status(401)).await;
    assert_eq!((result, sent.len()), (Err(DiscoveryError::UnsafeAddress { member: "resource" }), 0));
    let (result, _) = probe_at("http://localhost:1/mcp", Reply::status(401)).await;
    assert!(result.is_ok());
}
