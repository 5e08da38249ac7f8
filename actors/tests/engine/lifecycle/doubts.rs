//! Flights that are aborted, because the source panics or the tokio runtime is dropped. The refresh token that was sent
//! is in doubt, and marked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::AuthSpec;
use tokenkeeper_actors::system::{Entropy, FlightThread};
use tokenkeeper_actors::values::Reason;
use tokio::runtime::{Builder, Runtime};

use super::rig::{Rig, all_served, answers, turns};
use crate::support::server::Answer;
use crate::support::{BoundedRuntime, BoundedSession, World, identity, ms, s, until, within};

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_before_it_sent_is_asked_once_more_and_no_caller_notices() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.world.server.plans([Answer::PanicBefore]);
    all_served(rig.cohort()).await;
    rig.works().await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_with_the_answer_in_hand_costs_what_the_law_says() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.world.server.plans([Answer::Panic]);
    // The token is presented once more, which this server takes for theft, and never again.
    let told = answers(rig.cohort()).await;
    assert!(told.iter().all(|answer| answer.as_ref().is_err_and(|error| error.reason() == Reason::GrantEnded)));
    let counts = (rig.world.server.requests(), rig.world.server.replays(), rig.world.server.revoked());
    assert_eq!(counts, (2, 1, 1));
    rig.world.clock.pass(s(600)).await;
    rig.fails(Reason::GrantEnded).await;
    assert_eq!(rig.world.server.requests(), 2);
    // A login repairs the session.
    rig.session.install(rig.world.login()).await.expect("installed");
    rig.works().await;
    assert_eq!(rig.world.server.requests(), 2);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a tokio runtime")
}

/// A runtime like that of another process.
async fn process(world: &World) -> (BoundedRuntime, BoundedSession) {
    // Each process has a seed of its own, so that no two draw the same names.
    static PROCESSES: AtomicU64 = AtomicU64::new(100);
    let entropy = Entropy::seeded(PROCESSES.fetch_add(1, Ordering::SeqCst));
    let builder = world.builder_over(Arc::new(world.store.process())).entropy(entropy);
    let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.expect("a runtime"));
    let session = runtime.session(identity(1));
    (runtime, session)
}

/// Starts the tree of a runtime.
async fn starts(spec: &AuthSpec) -> BoundedRuntime {
    within("a tree", spec.spawn()).await.expect("a tree").into()
}

/// Drops a tokio runtime after so many turns of a flight, or of the work that follows the answer.
fn dropped_after(world: &World, yields: usize, answered: bool) {
    let tokio = runtime();
    tokio.block_on(async {
        let (_runtime, session) = process(world).await;
        let caller = tokio::spawn(async move { session.token().await });
        if answered {
            until("a request at the server", || world.server.in_flight() > 0).await;
            world.server.opens(1);
        }
        turns(yields).await;
        drop(caller);
    });
    drop(tokio);
}

async fn marked(world: &World) -> bool {
    let record = world.store.load(&identity(1)).await.expect("a store").expect("a record");
    record.held().is_some_and(|held| held.mark.is_some())
}

/// A world with a session that is signed in, and whose token has expired.
async fn expired() -> World {
    let world = World::new();
    let (runtime, session) = process(&world).await;
    session.install(world.login()).await.expect("installed");
    assert!(runtime.shutdown(s(1)).await.is_clean());
    // Each tokio runtime counts its time from its own start. The machine's time goes on.
    world.clock.suspend(world.server.lifetime());
    world
}

#[test]
fn a_tokio_runtime_that_is_dropped_before_the_answer_leaves_a_mark_and_one_more_attempt() {
    let (mut unmarked, mut waiting) = (0, 0);
    for yields in 0..=60 {
        let world = runtime().block_on(expired());
        world.server.takes(s(1));
        dropped_after(&world, yields, false);
        runtime().block_on(async {
            assert_eq!(world.server.requests(), 0, "nothing arrived");
            // No process starts in the millisecond in which another one ended.
            world.clock.suspend(s(1));
            if marked(&world).await {
                waiting += 1
            } else {
                unmarked += 1
            }
            let (_runtime, session) = process(&world).await;
            // The session waits until the mark is over.
            let waits_it_out = async {
                loop {
                    match session.token().await {
                        Ok(lease) => break lease,
                        Err(error) => {
                            assert_eq!(error.reason(), Reason::InDoubt);
                            world.clock.pass(error.retry_after().expect("a time")).await;
                        }
                    }
                }
            };
            let lease = within("an end of the doubt", waits_it_out).await;
            assert!(world.server.accepts(&lease));
            world.server.is_content_with(1);
            assert!(!marked(&world).await);
        });
    }
    assert!(unmarked > 0 && waiting > 0, "dropped before the mark {unmarked} times, after it {waiting} times");
}

#[test]
fn a_tokio_runtime_that_is_dropped_while_the_answer_arrives_is_a_dead_process() {
    let (mut lost, mut stored) = (0, 0);
    for yields in 0..=40 {
        let world = runtime().block_on(expired());
        world.server.shuts();
        dropped_after(&world, yields, true);
        runtime().block_on(async {
            world.server.opens(100);
            world.clock.suspend(s(1));
            assert_eq!(world.server.requests(), 1);
            let in_doubt = marked(&world).await;
            world.expire().await;
            let (_runtime, session) = process(&world).await;
            let waits_it_out = async {
                loop {
                    match session.token().await {
                        Err(error) if error.is_transient() => {
                            world.clock.pass(error.retry_after().expect("a time").max(ms(1))).await;
                        }
                        answer => break answer,
                    }
                }
            };
            let answer = within("an end of the doubt", waits_it_out).await;
            let counts = (world.server.requests(), world.server.replays(), world.server.revoked());
            if in_doubt {
                lost += 1;
                assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::GrantEnded));
                assert_eq!(counts, (2, 1, 1), "once more, as the policy says, and no more");
            } else {
                stored += 1;
                assert!(world.server.accepts(&answer.expect("a lease")));
                assert_eq!(counts, (2, 0, 0));
            }
        });
    }
    assert!(lost > 0 && stored > 0, "lost {lost} times, stored {stored} times");
}

#[test]
fn flights_on_a_thread_of_their_own_lose_nothing_when_the_hosts_runtime_is_dropped() {
    let tokio = || Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    let (host, after) = (tokio(), tokio());
    let (world, spec) = host.block_on(async {
        let world = World::new();
        world.server.shuts();
        let thread = FlightThread::start().expect("a thread");
        let builder = world.builder().spawner(Arc::new(thread));
        let spec = within("a runtime", builder.prepare()).await.expect("a runtime");
        let session = starts(&spec).await.session(identity(1));
        session.install(world.login()).await.expect("installed");
        world.clock.suspend(s(3_600));
        tokio::spawn(async move { session.token().await });
        until("a request at the server", || world.server.in_flight() > 0).await;
        (world, spec)
    });
    drop(host);
    world.server.opens(1);
    after.block_on(async {
        // Without a tree it returns at once. The test waits for the flight.
        let runtime = BoundedRuntime::from(spec.runtime());
        let answer = runtime.session(identity(1)).token().await.map_err(|error| error.reason());
        assert_eq!(answer, Err(Reason::NotRunning));
        // With a tree, the old handles work as before, and get the token of the flight.
        let session = starts(&spec).await.session(identity(1));
        assert!(world.server.accepts(&session.token().await.expect("a lease")));
        world.server.is_content_with(1);
        assert!(runtime.shutdown(s(60)).await.is_clean());
        world.server.is_content_with(1);
        assert!(!marked(&world).await, "it was stored");
        let (_runtime, session) = process(&world).await;
        assert!(world.server.accepts(&session.token().await.expect("a lease")));
        world.server.is_content_with(1);
    });
}
