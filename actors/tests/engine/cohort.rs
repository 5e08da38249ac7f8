//! However many come at once, one token request is made, and everyone is served by it.

use futures_util::future::join_all;
use tokenkeeper_actors::runtime::AuthSession;

use super::support::{World, refuse, s};

async fn all_at_once(session: &AuthSession, callers: usize) {
    let tasks = (0..callers).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { session.token().await })
    });
    let mut generations = Vec::new();
    for answer in join_all(tasks).await {
        generations.push(answer.expect("no panic").expect("a lease").generation());
    }
    generations.dedup();
    assert_eq!(generations.len(), 1, "all share one token");
}

#[tokio::test(start_paused = true)]
async fn at_expiry_one_request_serves_all() {
    for callers in [32, 1_000, 10_000] {
        let world = World::new();
        world.server.takes(s(1));
        let runtime = world.runtime().await;
        let session = world.signed_in(&runtime, 1).await;
        for expiries in 1..=20 {
            world.expire().await;
            all_at_once(&session, callers).await;
            world.server.is_content_with(expiries);
        }
        assert!(runtime.shutdown(s(5)).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn refused_all_at_once_one_request_serves_all() {
    for callers in [32, 1_000] {
        let world = World::new();
        world.server.takes(s(1));
        let runtime = world.runtime().await;
        let session = world.signed_in(&runtime, 1).await;
        for refusals in 1..=20 {
            let lease = session.token().await.expect("a lease");
            let tasks = (0..callers).map(|_| {
                let (session, lease) = (session.clone(), lease.clone());
                tokio::spawn(async move {
                    refuse(&session, &lease).await.expect("noted");
                    session.token().await.expect("a lease")
                })
            });
            for newer in join_all(tasks).await {
                assert!(newer.expect("no panic").generation().supersedes(&lease.generation()));
            }
            world.server.is_content_with(refusals);
            // A refusal of a token that was minted for a refusal is another matter when it comes at once.
            world.clock.pass(s(60)).await;
        }
    }
}
