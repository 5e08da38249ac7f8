//! Callers through the runtime's address, with their time-out and the bound on waiting callers.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use ractor::{ActorRef, RpcReplyPort, concurrency};
use tokenkeeper_actors::law::session::Policy;
use tokenkeeper_actors::runtime::{AuthMessage, TokenOptions};
use tokenkeeper_actors::values::{Lease, Reason, TokenError};

use super::support::within::Within;
use super::support::{World, identity, ms, s, within};

type Answered = Result<Lease, TokenError>;

/// Asks by a message. The time-out is part of the reply port alone, so the receiver goes on listening after it. A
/// caller through ractor's `call` would stop then.
fn asks(
    address: &ActorRef<AuthMessage>,
    timeout: Duration,
    call_timeout: Option<Duration>,
) -> Within<concurrency::OneshotReceiver<Answered>> {
    let (tell, told) = concurrency::oneshot();
    let reply = match call_timeout {
        Some(timeout) => RpcReplyPort::from((tell, timeout)),
        None => RpcReplyPort::from(tell),
    };
    let options = TokenOptions { timeout, ..TokenOptions::default() };
    address.send_message(AuthMessage::GetToken { identity: identity(1), options, reply }).expect("the address stands");
    within("an answer through the address", told)
}

fn is_one_too_many(answer: &Answered) -> bool {
    answer.as_ref().is_err_and(|error| error.reason() == Reason::TooManyWaiters)
}

#[tokio::test(start_paused = true)]
async fn a_calls_own_timeout_shortens_the_patience_and_never_extends_it() {
    let world = World::new();
    world.server.takes(s(20));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    world.expire().await;
    let began = world.clock.moment().elapsed;
    let calls = [(30, Some(3), 3), (9, Some(30), 9), (12, None, 12)].map(|(timeout, call_timeout, expected)| {
        let (answer, clock) = (asks(&runtime.address(), s(timeout), call_timeout.map(s)), world.clock.clone());
        async move {
            let answer = answer.await.expect("an answer").map_err(|error| error.reason());
            let waited = clock.moment().elapsed.since(began);
            assert_eq!((answer, waited), (Err(Reason::DeadlinePassed), s(expected)), "{timeout} s, {call_timeout:?} s");
        }
    });
    join_all(calls).await;
    world.server.is_content_with(0);
    // The flight goes on.
    session.token().await.expect("a lease");
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn callers_through_the_address_are_counted_with_the_others_before_anything_is_queued() {
    const MOST: usize = 8;
    let mut world = World::new();
    world.policy = Policy { max_waiters: MOST, ..Policy::default() };
    world.server.takes(s(20));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    let address = runtime.address();
    for handles in [0, 1, MOST - 1] {
        world.expire().await;
        let before = world.server.requests();
        let mut by_handle: Vec<_> = (0..handles).map(|_| Box::pin(session.token())).collect();
        by_handle.iter_mut().for_each(|caller| assert!(caller.now_or_never().is_none(), "it waits"));
        let by_message: Vec<_> = (handles..MOST).map(|_| asks(&address, s(30), None)).collect();
        world.clock.pass(ms(1)).await;
        // All places are taken. A handle sees that by itself, without a message.
        let answer = session.token().now_or_never();
        assert!(answer.as_ref().is_some_and(is_one_too_many), "{answer:?}");
        let began = world.clock.moment().elapsed;
        assert!(is_one_too_many(&asks(&address, s(30), None).await.expect("an answer")));
        assert_eq!(world.clock.moment().elapsed.since(began), s(0), "at once");
        for caller in by_handle {
            caller.await.expect("a lease");
        }
        for caller in by_message {
            caller.await.expect("an answer").expect("a lease");
        }
        world.server.is_content_with(before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_through_the_address_give_their_places_back() {
    const MOST: usize = 8;
    let mut world = World::new();
    world.policy = Policy { max_waiters: MOST, ..Policy::default() };
    world.server.takes(s(20));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    let address = runtime.address();
    world.expire().await;
    // Each round takes all places, and its callers time out.
    for _ in 0..MOST {
        let callers: Vec<_> = (0..MOST).map(|_| asks(&address, s(30), Some(s(1)))).collect();
        for caller in callers {
            let answer = caller.await.expect("an answer").map_err(|error| error.reason());
            assert_eq!(answer, Err(Reason::DeadlinePassed));
        }
    }
    let mut callers: Vec<_> = (0..MOST).map(|_| Box::pin(session.token())).collect();
    callers.iter_mut().for_each(|caller| assert!(caller.now_or_never().is_none(), "there is a place for it"));
    for caller in callers {
        caller.await.expect("a lease");
    }
    world.server.is_content_with(1);
}
