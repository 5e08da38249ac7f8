//! Whatever ends, the token that was rotated is stored, everyone is answered, and the next call works or says why.

use super::support::{World, s};

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_takes_nothing_with_it() {
    let world = World::new();
    world.server.takes(s(1));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    world.expire().await;
    let caller = tokio::spawn({
        let session = session.clone();
        async move { session.token().await }
    });
    world.clock.pass(s(1) / 2).await;
    caller.abort();
    world.clock.pass(s(5)).await;
    world.server.is_content_with(1);
    assert!(world.server.accepts(&session.token().await.expect("a lease")));
    world.server.is_content_with(1);
}
