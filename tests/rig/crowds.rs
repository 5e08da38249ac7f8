//! Crowds of callers whose token has expired or is refused share one refresh each time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::engine::values::Lease;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::authority::{Authority, LIFETIME};
use crate::scene::Scene;
use crate::support::Host;
use crate::support::bounded::BoundedSession;
use crate::support::within::within;

/// The number of connections to the MCP server at once. It bounds the open files of a crowd.
const CONNECTIONS: usize = 64;

/// A refusal so long after the last one is independent of it (law 11).
const SOON: Duration = Duration::from_secs(31);

/// How the token of a crowd comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Every caller knows the expiry.
    Expiry,
    /// No caller knows of the end before the resource refuses the token.
    Refusal,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_callers_refresh_once() {
    for end in [End::Expiry, End::Refusal] {
        storm(32, 3, 1, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_refresh_once_at_expiry() {
    storm(1_000, 2, 1, End::Expiry).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_refresh_once_for_a_refusal() {
    storm(1_000, 2, 1, End::Refusal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_four_processes_refresh_once() {
    for end in [End::Expiry, End::Refusal] {
        storm(32, 3, 4, end).await;
    }
}

/// Runs `callers` in `processes` that share a store, whose token comes to its end `rounds` times.
async fn storm(callers: u64, rounds: u64, processes: usize, end: End) {
    let Some(authority) = Authority::start().await else { return };
    let authority = Arc::new(authority);
    let story = format!("{callers} callers, {processes} processes, {end:?}");
    let Scene { host, .. } = Scene::new(&authority, Authority::public(), Profile::default()).await;
    let mut hosts = vec![host];
    while hosts.len() < processes {
        let another = hosts[0].another_process().await;
        hosts.push(another);
    }
    // Without a delay before the work, the rig finishes each request before it reads the next.
    authority.tell("/delay", &json!({ "ms": 50, "when": "before", "grant": "refresh_token" }));
    for round in 1..=rounds {
        let crowd = gather(&hosts, callers).await;
        for host in &hosts {
            is_at_rest(host).await;
        }
        // All processes share one clock. The refusal of a token that was just minted for a refusal would mean that
        // refreshing does not help (law 11).
        hosts[0].clock.pass(if end == End::Expiry { Duration::from_secs(LIFETIME) } else { SOON });
        authority.tell("/expire-all", &json!({}));
        let before = authority.stats()["mcp"]["by_status"].clone();
        let leases = let_loose(&authority, crowd, end).await;
        let first = &leases[0];
        assert!(leases.iter().all(|lease| lease.token().expose() == first.token().expose()), "{story}: one token");
        let stats = authority.stats();
        let answered = |status: &str| {
            let of = |counts: &serde_json::Value| counts[status].as_u64().unwrap_or_default();
            of(&stats["mcp"]["by_status"]) - of(&before)
        };
        let refused = if end == End::Refusal { callers } else { 0 };
        assert_eq!((answered("200"), answered("401")), (callers, refused), "{story}: {round}");
        assert_eq!(authority.tally().rotations, 1 + round, "{story}");
    }
    let tally = authority.tally();
    assert_eq!((tally.posts, tally.rotations, tally.consumed, tally.reuse), (1 + rounds, 1 + rounds, 0, 0), "{story}");
    assert_eq!(authority.stats()["token"]["max_concurrent_refresh"], 1, "{story}");
    let [chain] = &authority.chains()[..] else { panic!("one chain: {story}") };
    assert_eq!((chain.rotations, chain.reuse, chain.revoked), (1 + rounds, 0, false), "{story}");
    for host in hosts {
        host.shut_down().await;
    }
}

/// Waits until the process has no flight. Its callers may have been served by another process's flight already.
async fn is_at_rest(host: &Host) {
    let mut states = host.session.watch();
    while states.now().refreshing {
        within("an end of the flight", states.next()).await.unwrap();
    }
}

/// The callers, spread over the processes, each with the lease that is about to come to its end.
async fn gather(hosts: &[Host], callers: u64) -> Vec<(BoundedSession, Lease)> {
    let mut crowd = Vec::new();
    for host in hosts.iter().cycle().take(usize::try_from(callers).unwrap()) {
        crowd.push((host.session.clone(), host.session.token().await.unwrap()));
    }
    crowd
}

/// Lets all of them call the MCP server until it takes their token, and returns their last leases.
async fn let_loose(authority: &Arc<Authority>, crowd: Vec<(BoundedSession, Lease)>, end: End) -> Vec<Lease> {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut callers = JoinSet::new();
    for (session, mut lease) in crowd {
        let (authority, connections) = (Arc::clone(authority), Arc::clone(&connections));
        #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
        callers.spawn(async move {
            let call = async |lease: &Lease| {
                let _connection = connections.acquire().await.unwrap();
                authority.call(lease.token()).await
            };
            if end == End::Expiry {
                lease = session.token().await.unwrap();
            }
            let mut status = call(&lease).await;
            if status == 401 {
                session.invalidate(&lease, OperationKey::default(), ChallengeKey::default()).await.unwrap();
                lease = session.token().await.unwrap();
                status = call(&lease).await;
            }
            assert_eq!(status, 200);
            lease
        });
    }
    callers.join_all().await
}

/// Law 11, where a good token is refused, and so is the token that was minted for that refusal.
#[tokio::test]
async fn a_refresh_that_does_not_help_is_not_repeated() {
    let Some(authority) = Authority::start().await else { return };
    let scene = Scene::new(&authority, Authority::public(), Profile::default()).await;
    let session = &scene.host.session;
    authority.tell("/mcp-fail", &json!({ "n": 2, "status": 401 }));
    let (operation, challenge) = (OperationKey::default(), ChallengeKey::default());
    let first = session.token().await.unwrap();
    assert_eq!(authority.call(first.token()).await, 401);
    session.invalidate(&first, operation, challenge).await.unwrap();
    let second = session.token().await.unwrap();
    assert_eq!(authority.call(second.token()).await, 401);
    let told = session.invalidate(&second, operation, challenge).await.unwrap_err();
    assert_eq!(told.reason(), Reason::ResourceRefuses);
    scene.assert_counts((2, 2, 0, 0), "refused");
    // It raises no floor. Other callers keep the lease, which is good.
    assert_eq!(session.token().await.unwrap(), second);
    assert_eq!(authority.call(second.token()).await, 200);
    scene.assert_whole((2, 2), "refused").await;
}
