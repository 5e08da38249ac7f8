//! Shared requests and kept documents, on tokio's paused time.

use std::time::Duration;

use super::*;

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    settle().await;
}

/// Lets all other tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn working() -> Arc<Servers> {
    let servers = Servers::new();
    servers.on(PRM, prm(RESOURCE, &[ISSUER])).on(OAUTH, metadata(ISSUER));
    servers
}

/// At the size of a host, there is one request for each document.
#[tokio::test(start_paused = true)]
async fn fifty_callers_share_two_requests() {
    let servers = working();
    let found = discovery(&servers);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let found = found.clone();
            tokio::spawn(async move { find(&found, Some(&naming(PRM))).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().server.issuer, ISSUER);
    }
    assert_eq!(servers.take_urls(), [PRM, OAUTH]);
}

/// Fifty accounts on two resources with one authorization server.
#[tokio::test(start_paused = true)]
async fn resources_share_the_metadata_of_their_server() {
    let servers = working();
    servers.on(
        "https://other.example/.well-known/oauth-protected-resource/mcp",
        prm("https://other.example/mcp", &[ISSUER]),
    );
    let found = discovery(&servers);
    let other = ResourceUri::parse("https://other.example/mcp").unwrap();
    let (one, two) =
        tokio::join!(find(&found, None), found.authorization_server(&other, None, None, Freshness::Cached));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(servers.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_cancels_nothing() {
    let servers = Servers::closed();
    servers.on(PRM, prm(RESOURCE, &[ISSUER])).on(OAUTH, metadata(ISSUER));
    let found = discovery(&servers);
    let leaves = tokio::spawn({
        let found = found.clone();
        async move { find(&found, None).await }
    });
    settle().await;
    let stays = tokio::spawn({
        let found = found.clone();
        async move { find(&found, None).await }
    });
    settle().await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    servers.open(2);
    assert!(stays.await.unwrap().is_ok());
    assert_eq!(servers.take_urls(), [PRM, OAUTH]);
}

#[tokio::test(start_paused = true)]
async fn documents_are_kept_for_their_lifetime() {
    let servers = working();
    servers.on(PRM, prm(RESOURCE, &[ISSUER]).header("cache-control", "max-age=100"));
    let found = discovery(&servers);
    find(&found, None).await.unwrap();
    pass(99).await;
    find(&found, None).await.unwrap();
    assert_eq!(servers.take_urls(), [PRM, OAUTH]);
    pass(1).await;
    find(&found, None).await.unwrap();
    assert_eq!(servers.take_urls(), [PRM], "the other one has the default lifetime of an hour");
    pass(3_500).await;
    find(&found, None).await.unwrap();
    assert_eq!(servers.take_urls(), [PRM, OAUTH]);
    found.authorization_server(&resource(), None, None, Freshness::Now).await.unwrap();
    assert_eq!(servers.take_urls(), [PRM, OAUTH], "a person may ask for the newest");
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_stored_is_asked_for_each_time() {
    let servers = working();
    servers.on(PRM, prm(RESOURCE, &[ISSUER]).header("cache-control", "no-store").header("etag", "\"1\""));
    let found = discovery(&servers);
    let (one, two) = tokio::join!(find(&found, None), find(&found, None));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(servers.take_urls(), [PRM, OAUTH], "callers at the same time share it");
    find(&found, None).await.unwrap();
    assert!(!servers.sent()[0].headers.contains_key(header::IF_NONE_MATCH));
    assert_eq!(servers.take_urls(), [PRM]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_document_is_revalidated() {
    let servers = working();
    servers.on(PRM, prm(RESOURCE, &[ISSUER]).header("cache-control", "no-cache").header("etag", "\"1\""));
    let found = discovery(&servers);
    find(&found, None).await.unwrap();
    servers.on(PRM, Reply::status(304).header("cache-control", "max-age=60"));
    pass(600).await;
    assert_eq!(find(&found, None).await.unwrap().resource.resource, RESOURCE);
    assert_eq!(servers.sent()[2].headers[header::IF_NONE_MATCH], "\"1\"");
    pass(59).await;
    find(&found, None).await.unwrap();
    assert_eq!(servers.take_urls(), [PRM, OAUTH, PRM]);
}

/// A failure is not asked for again by each caller, and a person who has mended it does not wait.
#[tokio::test(start_paused = true)]
async fn failures_are_remembered_for_a_while() {
    let servers = Servers::new();
    servers.on(PRM, Reply::error(HttpError::NotSent(NotSent::Unreachable)));
    let found = discovery(&servers);
    for _ in 0..5 {
        assert_eq!(find(&found, None).await, Err(DiscoveryError::Unreachable));
    }
    assert_eq!(servers.take_urls(), [PRM]);
    pass(30).await;
    assert!(find(&found, None).await.is_err());
    assert_eq!(servers.take_urls(), [PRM]);
    servers.on(PRM, prm(RESOURCE, &[ISSUER])).on(OAUTH, metadata(ISSUER));
    pass(59).await;
    assert!(find(&found, None).await.is_err(), "the second pause is longer");
    assert!(found.authorization_server(&resource(), None, None, Freshness::RetryFailure).await.is_ok());
}

/// Scenario `auth/authorization-server-migration`, and RFC 9728 section 5.2.
#[tokio::test(start_paused = true)]
async fn a_new_challenge_may_change_everything() {
    let servers = working();
    let found = discovery(&servers);
    assert_eq!(find(&found, Some(&naming(PRM))).await.unwrap().server.issuer, ISSUER);
    let two = "https://two.example";
    servers.on(PRM, prm(RESOURCE, &[two]));
    servers.on("https://two.example/.well-known/oauth-authorization-server", metadata(two));
    assert_eq!(find(&found, Some(&naming(PRM))).await.unwrap().server.issuer, ISSUER, "kept");
    found.noted_challenge(&resource(), &challenge("Bearer error=invalid_token"));
    assert_eq!(find(&found, None).await.unwrap().server.issuer, ISSUER, "the challenge names no metadata");
    found.noted_challenge(&resource(), &naming(PRM));
    let moved = found.authorization_server(&resource(), None, Some(ISSUER), Freshness::Cached).await;
    assert_eq!(moved.unwrap().server.issuer, two);
}

/// A server that names other metadata with each answer causes one request a minute.
#[tokio::test(start_paused = true)]
async fn flapping_metadata_is_bounded() {
    let servers = working();
    let other = "https://mcp.example/other";
    servers.on(other, prm(RESOURCE, &[ISSUER]));
    let found = discovery(&servers);
    find(&found, Some(&naming(PRM))).await.unwrap();
    servers.take_urls();
    for second in 0..120 {
        let named = naming(if second % 2 == 0 { other } else { PRM });
        found.noted_challenge(&resource(), &named);
        find(&found, Some(&named)).await.unwrap();
        pass(1).await;
    }
    assert_eq!(servers.count(), 2);
    found.noted_challenge(&ResourceUri::parse("https://unknown.example").unwrap(), &naming(PRM));
}

#[tokio::test(start_paused = true)]
async fn memory_is_given_back() {
    let servers = working();
    servers.on(PRM, prm(RESOURCE, &[ISSUER]).header("cache-control", "max-age=100"));
    let found = discovery(&servers);
    find(&found, None).await.unwrap();
    assert_eq!((found.resources.len(), found.servers.len()), (1, 1));
    // The timers of the tasks are a minute long at most, so each needs its own steps.
    for _ in 0..3 {
        pass(60).await;
    }
    assert_eq!((found.resources.len(), found.servers.len()), (0, 1));
    for _ in 0..60 {
        pass(60).await;
    }
    assert_eq!((found.resources.len(), found.servers.len()), (0, 0));
    assert_eq!(format!("{found:?}"), "Discovery { resources: Lookups { len: 0 }, servers: Lookups { len: 0 }, .. }");
    find(&found, None).await.unwrap();
    assert_eq!(servers.take_urls(), [PRM, OAUTH, PRM, OAUTH]);
}

/// A server cannot fill the memory by listing ever new issuers.
#[tokio::test(start_paused = true)]
async fn the_number_of_look_ups_is_bounded() {
    let servers = Servers::new();
    let found = discovery(&servers);
    for number in 0..1_100 {
        let _ = found.server(&format!("https://as{number}.example"), Reach::Public).await;
    }
    assert_eq!(found.servers.len(), 1_024);
    servers.take_urls();
    let _ = found.server("https://as1099.example", Reach::Public).await;
    assert_eq!(servers.count(), 0, "the latest are kept");
}

#[tokio::test(start_paused = true)]
async fn tasks_end_with_the_discovery() {
    let servers = working();
    let found = discovery(&servers);
    find(&found, None).await.unwrap();
    drop(found);
    settle().await;
    assert_eq!(Arc::strong_count(&servers), 1);
}
