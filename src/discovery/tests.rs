//! From a server's URL to its authorization server, over scripted servers with exact counts of requests. Scenarios are
//! those of the official MCP conformance suite (`tests/conformance`).
#![allow(clippy::disallowed_methods, reason = "each caller is a task of its own here")]

mod legacy;
mod sharing;

use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use super::scripted::{Reply, Servers, discovery, metadata, prm};
use super::*;
use crate::http::{HttpError, NotSent};

const RESOURCE: &str = "https://mcp.example/mcp";
const PRM: &str = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const ROOT_PRM: &str = "https://mcp.example/.well-known/oauth-protected-resource";
const ISSUER: &str = "https://as.example/tenant";
const OAUTH: &str = "https://as.example/.well-known/oauth-authorization-server/tenant";
const OPENID: &str = "https://as.example/.well-known/openid-configuration/tenant";
const APPENDED: &str = "https://as.example/tenant/.well-known/openid-configuration";

fn resource() -> ResourceUri {
    ResourceUri::parse(RESOURCE).unwrap()
}

fn challenge(text: &str) -> Challenge {
    let mut headers = HeaderMap::new();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap());
    Challenge::parse(&headers).remove(0)
}

fn naming(url: &str) -> Challenge {
    challenge(&format!("Bearer resource_metadata=\"{url}\""))
}

async fn find(discovery: &Discovery, challenge: Option<&Challenge>) -> Result<Discovered, DiscoveryError> {
    discovery.authorization_server(&resource(), challenge, None, Freshness::Cached).await
}

async fn find_at(servers: &Arc<Servers>) -> Result<Discovered, DiscoveryError> {
    find(&discovery(servers), None).await
}

/// Scenario `auth/metadata-var1`. Without a URL in the challenge, the path is asked first.
#[tokio::test(start_paused = true)]
async fn the_path_is_asked_before_the_root() {
    let servers = Servers::new();
    servers.on(PRM, prm(RESOURCE, &[ISSUER])).on(OAUTH, metadata(ISSUER));
    let found = find(&discovery(&servers), Some(&challenge("Bearer error=\"invalid_token\""))).await.unwrap();
    assert_eq!(found.resource.resource, RESOURCE);
    assert_eq!(found.server.issuer, ISSUER);
    assert_eq!(found.server.document_url.as_deref(), Some(OAUTH));
    assert_eq!(servers.take_urls(), [PRM, OAUTH]);
}

/// Scenario `auth/metadata-var2`. The root names the origin, and the identifier is used as it was published.
#[tokio::test(start_paused = true)]
async fn the_root_may_name_the_origin() {
    for published in ["https://mcp.example", "https://mcp.example/", RESOURCE] {
        let servers = Servers::new();
        servers.on(ROOT_PRM, prm(published, &[ISSUER])).on(OAUTH, metadata(ISSUER));
        assert_eq!(find_at(&servers).await.unwrap().resource.resource, published);
        assert_eq!(servers.take_urls(), [PRM, ROOT_PRM, OAUTH]);
    }
}

/// Scenarios `auth/metadata-default` and `auth/metadata-var3`. A URL in the challenge is the only one that is asked.
#[tokio::test(start_paused = true)]
async fn a_named_url_is_used() {
    let servers = Servers::new();
    let custom = "https://meta.example/custom/location.json?v=1";
    servers
        .on(custom, prm(RESOURCE, &[ISSUER]))
        .on(APPENDED, metadata(ISSUER))
        .on(PRM, prm(RESOURCE, &["https://x.example"]));
    let found = find(&discovery(&servers), Some(&naming(custom))).await.unwrap();
    assert_eq!(found.server.issuer, ISSUER);
    assert_eq!(servers.take_urls(), [custom, OAUTH, OPENID, APPENDED]);
}

/// Metadata that a challenge names must name the URL that was requested (RFC 9728 section 3.3).
#[tokio::test(start_paused = true)]
async fn named_metadata_must_be_of_this_resource() {
    let named = |url: &'static str, published: &'static str| async move {
        let servers = Servers::new();
        servers.on(url, prm(published, &[ISSUER])).on(OAUTH, metadata(ISSUER));
        let result = find(&discovery(&servers), Some(&naming(url))).await;
        (result.map(|found| found.resource.resource), servers.count())
    };
    let mismatch = || (Err(DiscoveryError::ResourceMismatch), 1);
    assert_eq!(named("https://mcp.example/meta", "https://mcp.example").await, mismatch());
    assert_eq!(named(PRM, "https://mcp.example").await, mismatch());
    assert_eq!(named(PRM, "https://evil.example/mcp").await, mismatch());
    assert_eq!(named(ROOT_PRM, "https://mcp.example").await, (Ok("https://mcp.example".to_owned()), 2));
    assert_eq!(named(ROOT_PRM, "https://mcp.example/other").await, mismatch());
}

/// Scenario `auth/resource-mismatch`. Nothing is asked at the authorization server.
#[tokio::test(start_paused = true)]
async fn metadata_of_another_resource_is_not_used() {
    let servers = Servers::new();
    servers.on(PRM, prm("https://evil.example/mcp", &[ISSUER])).on(OAUTH, metadata(ISSUER));
    assert_eq!(find_at(&servers).await, Err(DiscoveryError::ResourceMismatch));
    assert_eq!(servers.take_urls(), [PRM, ROOT_PRM]);
}

#[tokio::test(start_paused = true)]
async fn a_named_url_must_be_safe_and_there() {
    let servers = Servers::new();
    let found = discovery(&servers);
    for url in [
        "http://mcp.example/prm",
        "https://127.0.0.1/prm",
        "http://localhost/prm",
        "https://u:p@mcp.example/prm",
        "https://mcp.example/prm#x",
        "https:\\\\mcp.example/prm",
        "/.well-known/oauth-protected-resource",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://169.254.169.254/latest",
    ] {
        // Challenges of one resource would be limited to one a minute.
        let fresh = discovery(&servers);
        let unsafe_address = DiscoveryError::UnsafeAddress { member: "resource_metadata" };
        assert_eq!(find(&fresh, Some(&naming(&url.replace('\\', "\\\\")))).await, Err(unsafe_address), "{url}");
    }
    assert_eq!(servers.count(), 0);
    let missing = find(&found, Some(&naming("https://mcp.example/gone"))).await;
    assert_eq!(missing, Err(DiscoveryError::NamedNotFound { status: 404 }));
    assert_eq!(servers.take_urls(), ["https://mcp.example/gone"], "no fallback, and nothing of 2025-03-26");
}

/// Each place is tried, with a failure of another kind at each of the first places.
#[tokio::test(start_paused = true)]
async fn each_place_of_a_server_is_tried_in_order() {
    for first in [
        Reply::status(404),
        Reply::status(500),
        Reply::status(200).body("<!doctype html>"),
        metadata("https://as.example"),
        Reply::json(&json!({ "issuer": ISSUER })),
        Reply::redirect(302, "http://as.example/"),
    ] {
        let servers = Servers::new();
        servers
            .on(PRM, prm(RESOURCE, &[ISSUER]))
            .on(OAUTH, first.clone())
            .on(OPENID, first)
            .on(APPENDED, metadata(ISSUER));
        assert_eq!(find_at(&servers).await.unwrap().server.document_url.as_deref(), Some(APPENDED));
        assert_eq!(servers.take_urls(), [PRM, OAUTH, OPENID, APPENDED]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_without_a_path_has_no_third_place() {
    let servers = Servers::new();
    servers.on(PRM, prm(RESOURCE, &["https://as.example"]));
    assert_eq!(find_at(&servers).await, Err(DiscoveryError::NotFound { status: 404 }));
    let root = "https://as.example/.well-known/";
    let places = [format!("{root}oauth-authorization-server"), format!("{root}openid-configuration")];
    assert_eq!(servers.take_urls()[1..], places);
}

/// Scenario `auth/metadata-issuer-mismatch`. Exact, unless the host allows an alias.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_differs_is_refused_unless_it_is_an_alias() {
    let servers = Servers::new();
    let listed = "https://accounts.example/";
    let document = "https://accounts.example/.well-known/oauth-authorization-server";
    servers.on(PRM, prm(RESOURCE, &[listed])).on(document, metadata("https://accounts.example"));
    assert_eq!(find_at(&servers).await, Err(DiscoveryError::IssuerMismatch));

    let other = discovery(&servers).issuer_alias("https://other.example/", "https://accounts.example");
    assert_eq!(find(&other, None).await, Err(DiscoveryError::IssuerMismatch));

    let aliased = discovery(&servers).issuer_alias(listed, "https://accounts.example");
    assert_eq!(find(&aliased, None).await.unwrap().server.issuer, "https://accounts.example");
    let resource = resource();
    let bound = aliased.authorization_server(&resource, None, Some("https://accounts.example"), Freshness::Cached);
    assert_eq!(bound.await.unwrap().server.issuer, "https://accounts.example");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_must_be_a_safe_url() {
    for issuer in [
        "http://as.example",
        "https://127.0.0.1",
        "http://localhost:9000",
        "https://as.example?x",
        "https://as.example#x",
        "as.example",
        "javascript:alert(1)",
    ] {
        let servers = Servers::new();
        servers.on(PRM, prm(RESOURCE, &[issuer]));
        let unsafe_address = DiscoveryError::UnsafeAddress { member: "authorization_servers" };
        assert_eq!(find_at(&servers).await, Err(unsafe_address), "{issuer}");
        assert_eq!(servers.count(), 1);
    }
}

/// The choice is stable, and a session stays with its issuer as long as it is listed (law 13).
#[tokio::test(start_paused = true)]
async fn the_bound_issuer_is_kept_while_it_is_listed() {
    let servers = Servers::new();
    let two = "https://two.example";
    let two_document = "https://two.example/.well-known/oauth-authorization-server";
    servers.on(PRM, prm(RESOURCE, &[ISSUER, two])).on(OAUTH, metadata(ISSUER)).on(two_document, metadata(two));
    let found = discovery(&servers);
    let choose = async |bound: Option<&str>| {
        let found = found.authorization_server(&resource(), None, bound, Freshness::Cached).await;
        found.map(|found| found.server.issuer)
    };
    assert_eq!(choose(None).await.unwrap(), ISSUER);
    assert_eq!(choose(Some(two)).await.unwrap(), two);
    assert_eq!(choose(Some("https://gone.example")).await.unwrap(), ISSUER);
    assert_eq!(choose(Some("https://two.example/")).await.unwrap(), ISSUER, "another spelling is another issuer");
    assert_eq!(servers.take_urls(), [PRM, OAUTH, two_document]);
}

#[tokio::test(start_paused = true)]
async fn a_bound_issuer_in_trouble_is_not_replaced() {
    let servers = Servers::new();
    let two = "https://two.example";
    servers.on(PRM, prm(RESOURCE, &[ISSUER, two])).on(OAUTH, metadata(ISSUER));
    let places = ["oauth-authorization-server", "openid-configuration"];
    for place in places {
        servers.on(&format!("https://two.example/.well-known/{place}"), Reply::status(503));
    }
    let bound = discovery(&servers).authorization_server(&resource(), None, Some(two), Freshness::Cached).await;
    assert_eq!(bound, Err(DiscoveryError::ServerTrouble { status: 503 }));
}

#[tokio::test(start_paused = true)]
async fn the_first_server_that_works_is_chosen_among_four() {
    let servers = Servers::new();
    let dead = "https://dead.example";
    servers.on(
        "https://dead.example/.well-known/oauth-authorization-server",
        Reply::error(HttpError::NotSent(NotSent::Unreachable)),
    );
    servers.on(PRM, prm(RESOURCE, &[dead, "http://unsafe.example", ISSUER])).on(OAUTH, metadata(ISSUER));
    assert_eq!(find_at(&servers).await.unwrap().server.issuer, ISSUER);
    assert_eq!(servers.count(), 3, "a server that cannot be reached is asked once");

    let servers = Servers::new();
    let dead = ["https://d1.example", "https://d2.example", "https://d3.example", "https://d4.example", ISSUER];
    servers.on(PRM, prm(RESOURCE, &dead)).on(OAUTH, metadata(ISSUER));
    servers.on("https://d1.example/.well-known/openid-configuration", Reply::status(500));
    assert_eq!(
        find_at(&servers).await,
        Err(DiscoveryError::ServerTrouble { status: 500 }),
        "the error of the first server"
    );
    assert_eq!(servers.count(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_lists_no_server_wants_no_login_that_is_known() {
    let servers = Servers::new();
    servers.on(PRM, prm(RESOURCE, &[]));
    assert_eq!(find_at(&servers).await, Err(DiscoveryError::NoAuthorizationServer));
    assert_eq!(servers.count(), 1);
}

/// A server on this machine may name servers on this machine, and no other server may.
#[tokio::test(start_paused = true)]
async fn loopback_is_for_resources_on_loopback() {
    let servers = Servers::new();
    let local = ResourceUri::parse("http://localhost:3000/mcp").unwrap();
    let issuer = "http://127.0.0.1:9000";
    servers.on(
        "http://localhost:3000/.well-known/oauth-protected-resource/mcp",
        prm("http://localhost:3000/mcp", &[issuer]),
    );
    servers.on("http://127.0.0.1:9000/.well-known/oauth-authorization-server", metadata(issuer));
    let found = discovery(&servers);
    assert_eq!(found.reach_for(&local), Reach::PublicOrLoopback);
    let result = found.authorization_server(&local, None, None, Freshness::Cached).await;
    assert_eq!(result.unwrap().server.token_endpoint, "http://127.0.0.1:9000/token");
    let reaches: Vec<Reach> = servers.sent().iter().map(|sent| sent.reach).collect();
    assert_eq!(reaches, [Reach::Any, Reach::PublicOrLoopback]);

    servers.on(PRM, prm(RESOURCE, &[issuer]));
    let unsafe_address = DiscoveryError::UnsafeAddress { member: "authorization_servers" };
    assert_eq!(find(&found, None).await, Err(unsafe_address));
}

#[tokio::test(start_paused = true)]
async fn plain_http_to_another_machine_is_refused() {
    let servers = Servers::new();
    let plain = ResourceUri::parse("http://mcp.example/mcp").unwrap();
    let result = discovery(&servers).authorization_server(&plain, None, None, Freshness::Cached).await;
    assert_eq!(result, Err(DiscoveryError::UnsafeAddress { member: "resource" }));
    assert_eq!(servers.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_may_widen_or_narrow_the_reach() {
    let servers = Servers::new();
    let issuer = "https://10.0.0.7";
    servers.on(PRM, prm(RESOURCE, &[issuer]));
    servers.on("https://10.0.0.7/.well-known/oauth-authorization-server", metadata(issuer));
    assert!(find_at(&servers).await.is_err());
    assert!(find(&discovery(&servers).reach(Reach::Any), None).await.is_ok());
    let private = ResourceUri::parse("https://10.0.0.8/mcp").unwrap();
    servers.take_urls();
    let narrow = discovery(&servers).reach(Reach::Public);
    let unsafe_address = DiscoveryError::UnsafeAddress { member: "resource" };
    let result = narrow.authorization_server(&private, None, None, Freshness::Cached).await;
    assert_eq!((result, narrow.probe(&private).await), (Err(unsafe_address), Err(unsafe_address)));
    assert_eq!(servers.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_keep_to_public_addresses_is_refused() {
    let servers = Servers::careless();
    servers.on(PRM, prm(RESOURCE, &[ISSUER])).on(OAUTH, metadata(ISSUER));
    assert_eq!(find_at(&servers).await, Err(DiscoveryError::ReachNotEnforced));
    assert_eq!(servers.take_urls(), [PRM], "the person named its origin");
    assert!(find(&discovery(&servers).allow_unenforced_reach(), None).await.is_ok());
}

#[tokio::test]
async fn without_an_executor_there_is_an_error() {
    let servers = Servers::new();
    let found = discovery(&servers);
    let result = std::thread::spawn(move || {
        let mut future = Box::pin(find(&found, None));
        let waker = std::task::Waker::noop();
        match future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => panic!("it waits"),
        }
    });
    assert_eq!(result.join().unwrap(), Err(DiscoveryError::Aborted));
}
