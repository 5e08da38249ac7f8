//! Callers through the runtime's address, with their time-out and the bound on waiting callers.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, concurrency};
use tokenkeeper_actors::law::session::Policy;
use tokenkeeper_actors::runtime::{AuthMessage, SessionState, StateChange, TokenOptions};
use tokenkeeper_actors::values::{Lease, Reason, TokenError};
use tokio::sync::mpsc;

use super::support::calm::Calm;
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

/// An actor that passes on the states that it gets.
struct Follower;

type Changes = mpsc::UnboundedSender<StateChange>;

#[ractor::actor(message = StateChange, state = Changes, arguments = Changes)]
impl Follower {
    async fn pre_start(&self, _myself: ActorRef<StateChange>, changes: Changes) -> Result<Changes, ActorProcessingErr> {
        Ok(changes)
    }

    async fn handle(
        &self,
        _myself: ActorRef<StateChange>,
        change: StateChange,
        changes: &mut Changes,
    ) -> Result<(), ActorProcessingErr> {
        Ok(changes.send(change)?)
    }
}

/// Starts an actor that follows the first identity's session.
async fn follows(address: &ActorRef<AuthMessage>) -> (ActorRef<StateChange>, mpsc::UnboundedReceiver<StateChange>) {
    let (changes, seen) = mpsc::unbounded_channel();
    let (follower, _) = within("a follower", Actor::spawn(None, Follower, changes)).await.expect("a follower");
    let message = AuthMessage::Follow { identity: identity(1), to: follower.get_derived() };
    address.send_message(message).expect("the address stands");
    (follower, seen)
}

/// Waits for a state.
async fn until(seen: &mut mpsc::UnboundedReceiver<StateChange>, wanted: impl Fn(&SessionState) -> bool) {
    loop {
        let change = within("a state", seen.recv()).await.expect("the follower lives");
        assert_eq!(change.identity, identity(1));
        if wanted(&change.state) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_follows_a_session_that_nobody_uses_through_logins_elsewhere_and_new_trees() {
    let world = World::new();
    let (host, _) = within("a host", Actor::spawn(None, Calm, ())).await.expect("a host");
    let spec = within("a runtime", world.builder().prepare()).await.expect("a runtime");
    let runtime = within("a tree", spec.spawn_linked(host.get_cell())).await.expect("a tree");
    // The tree has not finished its start yet.
    let (follower, mut seen) = follows(&runtime.address()).await;
    until(&mut seen, |state| state.login_required == Some(Reason::NeverSignedIn)).await;

    let elsewhere = world.runtime().await;
    world.signed_in(&elsewhere, 1).await;
    until(&mut seen, |state| state.login_required.is_none() && state.lease.is_some()).await;

    let [supervisor] = &host.get_children()[..] else { panic!("one child") };
    supervisor.kill();
    within("an end", supervisor.wait(None)).await.expect("an end");
    within("a tree", spec.spawn_linked(host.get_cell())).await.expect("a tree");
    within("a logout", elsewhere.session(identity(1)).logout()).await.expect("a logout");
    until(&mut seen, |state| state.login_required == Some(Reason::LoggedOut)).await;

    follower.stop(None);
    within("an end", follower.wait(None)).await.expect("an end");
    while seen.recv().await.is_some() {}
    assert!(within("a shutdown", runtime.shutdown(s(5))).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_follower_keeps_nothing_once_it_or_the_runtime_has_ended() {
    let world = World::new();
    let runtime = world.runtime().await;
    let (follower, mut seen) = follows(&runtime.address()).await;
    until(&mut seen, |state| state.login_required == Some(Reason::NeverSignedIn)).await;
    world.clock.pass(s(600)).await;
    assert_eq!(runtime.session_count(), 1, "it is followed");
    follower.stop(None);
    world.clock.pass(s(600)).await;
    assert_eq!(runtime.session_count(), 0, "nothing refers to it");

    let (follower, mut seen) = follows(&runtime.address()).await;
    until(&mut seen, |state| state.login_required == Some(Reason::NeverSignedIn)).await;
    assert!(runtime.shutdown(s(5)).await.is_clean());
    assert_eq!(follower.get_status(), ActorStatus::Running, "it is the host's");
}
