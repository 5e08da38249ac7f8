//! Many callers and many identities. The bounds hold, and each accepted caller is served.

use std::sync::Arc;

use ractor::{ActorRef, RpcReplyPort, concurrency};
use tokenkeeper_actors::law::session::Policy;
use tokenkeeper_actors::runtime::{AuthMessage, TokenOptions};
use tokenkeeper_actors::values::{Lease, Reason, TokenError};
use tokio::task::JoinHandle;

use super::support::{BoundedRuntime, BoundedSession, Host, Leave, World, each_within, identity, ms, s, within};

/// The default bound.
const MOST: usize = 65_536;

type Answered = Result<Lease, TokenError>;

fn asks(session: &BoundedSession) -> JoinHandle<Answered> {
    let session = session.unbounded();
    tokio::spawn(async move { session.token().await })
}

/// Asks by a plain message, as a host's actor does.
fn asks_by_message(address: &ActorRef<AuthMessage>) -> concurrency::OneshotReceiver<Answered> {
    let (tell, told) = concurrency::oneshot();
    let message = AuthMessage::GetToken {
        identity: identity(1),
        options: TokenOptions::default(),
        reply: RpcReplyPort::from(tell),
    };
    address.send_message(message).expect("the address stands");
    told
}

fn is_one_too_many(answer: &Answered) -> bool {
    answer.as_ref().is_err_and(|error| error.reason() == Reason::TooManyWaiters)
}

/// Asserts that each caller gets a lease.
async fn all_served(callers: impl IntoIterator<Item = JoinHandle<Answered>>) {
    for answer in each_within("a caller's answer", callers).await {
        answer.expect("no panic").expect("a lease");
    }
}

#[tokio::test(start_paused = true)]
async fn one_caller_too_many_is_told_at_once_and_everyone_else_is_served() {
    let world = World::new();
    world.server.takes(s(10));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    world.expire().await;
    let callers: Vec<_> = (0..MOST).map(|_| asks(&session)).collect();
    world.clock.pass(s(1)).await;
    let began = world.clock.moment().elapsed;
    for _ in 0..10 {
        assert!(is_one_too_many(&session.token().await));
        let answer = within("an answer through the address", asks_by_message(&runtime.address())).await;
        assert!(is_one_too_many(&answer.expect("an answer")));
    }
    assert!(world.clock.moment().elapsed.since(began) < ms(10), "at once");
    all_served(callers).await;
    world.server.is_content_with(1);
    session.token().await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_is_held_to_the_same_bound() {
    let world = World::new();
    world.server.takes(s(10));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    world.expire().await;
    let (handles, messages, beyond) = (1_000, MOST - 1_000, 3_000);
    let callers: Vec<_> = (0..handles).map(|_| asks(&session)).collect();
    world.clock.pass(ms(100)).await;
    let address = runtime.address();
    let flood: Vec<_> = (0..messages + beyond).map(|_| asks_by_message(&address)).collect();
    let answers = each_within("an answer through the address", flood).await;
    let answers: Vec<Answered> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
    assert_eq!(answers.iter().filter(|answer| is_one_too_many(answer)).count(), beyond);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), messages);
    all_served(callers).await;
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn callers_that_have_left_take_no_places_for_ever() {
    let mut world = World::new();
    world.policy = Policy { max_waiters: 8, ..Policy::default() };
    world.server.takes(s(20));
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    world.expire().await;
    for _ in 0..20 {
        let callers: Vec<_> = (0..8).map(|_| asks(&session)).collect();
        world.clock.pass(ms(10)).await;
        assert!(is_one_too_many(&session.token().await));
        for caller in callers {
            caller.abort();
            assert!(within("a caller's end", caller).await.is_err_and(|error| error.is_cancelled()));
        }
    }
    // Callers by message keep their places until they are answered, even if their reply ports are dropped.
    drop((0..8).map(|_| asks_by_message(&runtime.address())).collect::<Vec<_>>());
    world.clock.pass(ms(10)).await;
    let last = asks(&session);
    world.clock.pass(s(30)).await;
    drop(within("a caller's answer", last).await.expect("no panic"));
    let callers: Vec<_> = (0..8).map(|_| asks(&session)).collect();
    all_served(callers).await;
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn identities_start_are_used_fall_asleep_and_come_back() {
    // `TOKENKEEPER_IDENTITIES=100000` sets another number. `benches/README.md` has the time and memory of that many.
    let asked_for = std::env::var("TOKENKEEPER_IDENTITIES").ok();
    let count: usize = asked_for.map_or(2_000, |count| count.parse().expect("a number"));
    let world = World::new();
    let host = Host::start().await;
    let builder = world.builder().permits(Arc::new(Leave));
    let runtime = within("a runtime", builder.spawn_linked(host.cell())).await.expect("a runtime");
    let runtime = BoundedRuntime::from(runtime);
    let mut sessions = Vec::new();
    for number in 0..count {
        sessions.push(world.signed_in(&runtime, number).await);
    }
    assert_eq!(host.actors().len(), count);
    let mut leases = Vec::new();
    for round in 0..2 {
        world.clock.pass(s(125)).await;
        assert_eq!(host.actors().len(), 0, "all asleep");
        leases.clear();
        for session in &sessions {
            leases.push(session.token().await.expect("a lease"));
        }
        assert_eq!(host.actors().len(), 0, "a hit wakes nobody");
        world.expire().await;
        all_served(sessions.iter().map(asks)).await;
        assert_eq!(host.actors().len(), count, "all awake, and each once");
        world.server.is_content_with(count * (round + 1));
    }
    for (session, lease) in sessions.iter().zip(&leases) {
        let newer = session.token().await.expect("a lease");
        assert!(newer.generation().supersedes(&lease.generation()));
    }
    assert!(runtime.shutdown(s(5)).await.is_clean());
}
