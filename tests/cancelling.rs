//! Callers that are cancelled during a refresh, at every await and at every stage of the request. The rotated refresh
//! token is stored all the same, and every caller that stays is answered.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::engine::values::{Lease, TokenError};
use tokenkeeper_testkit::hostile::{Fault, Gate, Grant, HostileAs, When};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use support::Host;
use support::bounded::BoundedSession;
use support::wire::Wire;
use support::within::within;

const CROWDS: [usize; 2] = [16, 200];

type Answer = Result<Lease, TokenError>;

/// A host with a stored login, whose access token is gone.
struct Scene {
    server: HostileAs,
    grant: Grant,
    host: Host,
}

impl Scene {
    async fn new(wire: Wire) -> Self {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant();
        let host = Host::new(&server.resource(), wire.client(), Profile::default()).await;
        host.sign_in(&grant).await.unwrap();
        Self { server, grant, host }
    }

    /// Asserts that the rotated token is stored, and that the next call and the next refresh succeed, after `refreshes`
    /// refreshes.
    async fn is_whole_after(&self, refreshes: u32, story: &str) {
        let lease = self.host.session.token().await.unwrap();
        let requests = u64::from(refreshes);
        let counts = within("what the server is to count", self.server.until(|counts| counts.concurrent == 0)).await;
        let told = (counts.token_requests, counts.rotations, counts.replays, counts.most_concurrent);
        assert_eq!(told, (requests, requests, 0, 1), "{story}: {:#?}", self.server.snapshot().timeline);
        let record = self.host.record().await;
        assert_eq!(record.lease().as_ref(), Some(&lease), "{story}");
        assert_eq!(record.held().unwrap().mark, None, "{story}");
        assert!(self.host.renew().await.is_ok_and(|token| token != lease.token().expose()), "{story}");
        let counts = self.server.counts();
        assert_eq!((counts.token_requests, counts.replays), (requests + 1, 0), "{story}");
        assert!(self.server.is_alive(self.grant.chain), "{story}");
        assert_eq!(self.server.newest(self.grant.chain), refreshes + 1, "{story}");
        self.host.shut_down().await;
    }
}

/// The way in which callers are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    All,
    AllButTheLast,
    EveryOther,
}

impl Leaving {
    const ALL: [Leaving; 3] = [Leaving::All, Leaving::AllButTheLast, Leaving::EveryOther];

    fn takes(self, caller: usize, of: usize) -> bool {
        match self {
            Leaving::All => true,
            Leaving::AllButTheLast => caller + 1 < of,
            Leaving::EveryOther => caller.is_multiple_of(2),
        }
    }

    fn stay(self, of: usize) -> usize {
        (0..of).filter(|caller| !self.takes(*caller, of)).count()
    }
}

/// Callers, each in its own task.
struct Crowd {
    callers: Vec<JoinHandle<Answer>>,
    /// The number of callers that have asked.
    asked: watch::Receiver<usize>,
}

impl Crowd {
    /// `size` callers for a token.
    fn of(size: usize, session: &BoundedSession) -> Self {
        let news = Arc::new(watch::Sender::new(0));
        let asked = news.subscribe();
        let caller = || {
            let (session, news) = (session.clone(), Arc::clone(&news));
            async move {
                let mut answer = pin!(session.token());
                let mut first = true;
                poll_fn(|cx| {
                    let answer = answer.as_mut().poll(cx);
                    if std::mem::take(&mut first) {
                        news.send_modify(|asked| *asked += 1);
                    }
                    answer
                })
                .await
            }
        };
        #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
        let callers = (0..size).map(|_| tokio::spawn(caller())).collect();
        Self { callers, asked }
    }

    async fn have_all_asked(&mut self) {
        let size = self.callers.len();
        within("all callers", self.asked.wait_for(|asked| *asked == size)).await.unwrap();
    }

    fn leave(&self, leaving: Leaving) {
        let size = self.callers.len();
        for (caller, task) in self.callers.iter().enumerate() {
            if leaving.takes(caller, size) {
                task.abort();
            }
        }
    }

    /// Waits until the cancelled callers are gone.
    async fn are_gone(&mut self, leaving: Leaving) {
        let size = self.callers.len();
        for (caller, task) in std::mem::take(&mut self.callers).into_iter().enumerate() {
            if leaving.takes(caller, size) {
                assert!(within("a caller's end", task).await.is_err_and(|error| error.is_cancelled()));
            } else {
                self.callers.push(task);
            }
        }
    }

    /// The leases of all callers that were not cancelled, each answered once.
    async fn leases(self) -> Vec<Lease> {
        let mut leases = Vec::new();
        for task in self.callers {
            match within("a caller's answer", task).await {
                Ok(answer) => leases.push(answer.unwrap()),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
        assert!(leases.windows(2).all(|two| two[0] == two[1]), "one token for everyone");
        leases
    }
}

/// Every combination of wire, crowd size and way to leave.
fn all() -> impl Iterator<Item = (Wire, usize, Leaving)> {
    let wires = Wire::ALL.into_iter();
    wires
        .flat_map(|wire| CROWDS.map(|size| (wire, size)))
        .flat_map(|(wire, size)| Leaving::ALL.map(|l| (wire, size, l)))
}

/// The server has the request, and has not processed it or has rotated the token already. The answer comes after the
/// cancelled callers are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_leave_while_the_server_holds_the_request() {
    for when in [When::Before, When::After] {
        for (wire, size, leaving) in all() {
            let story = format!("{when:?} {wire:?} {size} {leaving:?}");
            let scene = Scene::new(wire).await;
            let gate = scene.server.hold_next(when);
            let mut crowd = Crowd::of(size, &scene.host.session);
            crowd.have_all_asked().await;
            within("a request at the gate", gate.reached(1)).await;
            crowd.leave(leaving);
            crowd.are_gone(leaving).await;
            gate.open();
            assert_eq!(crowd.leases().await.len(), leaving.stay(size), "{story}");
            scene.is_whole_after(1, &story).await;
        }
    }
}

/// The cancelled callers race with the answer, and some of them get it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_leave_while_the_answer_comes_in() {
    for turns in 0..6 {
        for (wire, size, leaving) in all() {
            let story = format!("{turns} {wire:?} {size} {leaving:?}");
            let scene = Scene::new(wire).await;
            let gate = scene.server.hold_next(When::After);
            let mut crowd = Crowd::of(size, &scene.host.session);
            crowd.have_all_asked().await;
            within("a request at the gate", gate.reached(1)).await;
            gate.open();
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            crowd.leave(leaving);
            assert!(crowd.leases().await.len() >= leaving.stay(size), "{story}");
            scene.is_whole_after(1, &story).await;
        }
    }
}

/// The flight may be at any step between its start and its answer, or may never start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_leave_before_the_request_has_arrived() {
    for turns in 0..6 {
        for (wire, size, leaving) in all() {
            let story = format!("{turns} {wire:?} {size} {leaving:?}");
            let scene = Scene::new(wire).await;
            let mut crowd = Crowd::of(size, &scene.host.session);
            crowd.have_all_asked().await;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            crowd.leave(leaving);
            assert!(crowd.leases().await.len() >= leaving.stay(size), "{story}");
            scene.is_whole_after(1, &story).await;
        }
    }
}

/// A caller like those of a host. Its token was refused, and it asks for another.
async fn after_a_refusal(session: BoundedSession, lease: Lease) -> Answer {
    session.invalidate(&lease, OperationKey::default(), ChallengeKey::default()).await?;
    session.token().await
}

/// Polls `work` at most `polls` times, and drops it after that.
async fn for_so_many_polls<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // The future is dropped at this await, before anything wakes it.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_leave_at_each_of_their_awaits() {
    for (wire, size) in Wire::ALL.into_iter().flat_map(|wire| CROWDS.map(|size| (wire, size))) {
        let story = format!("{wire:?} {size}");
        let scene = Scene::new(wire).await;
        let first = scene.host.session.token().await.unwrap();
        let mut crowd = JoinSet::new();
        for caller in 0..size {
            // One caller in five stays.
            let polls = if caller % 5 == 4 { usize::MAX } else { caller % 5 };
            let work = for_so_many_polls(polls, after_a_refusal(scene.host.session.clone(), first.clone()));
            #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
            crowd.spawn(async move { (polls, work.await) });
        }
        let mut newer = Vec::new();
        while let Some(left) = within("a caller's answer", crowd.join_next()).await {
            match left.unwrap() {
                (usize::MAX, None) => panic!("{story}: a caller that stayed was not answered"),
                (_, None) => {}
                (_, Some(answer)) => newer.push(answer.unwrap()),
            }
        }
        assert!(newer.len() >= size / 5, "{story}");
        assert!(newer.iter().all(|lease| lease == &newer[0] && lease != &first), "{story}");
        scene.is_whole_after(2, &story).await;
    }
}

/// One caller alone, with no other caller to keep the flight in the air.
#[tokio::test]
async fn a_lone_caller_leaves_at_each_of_its_awaits() {
    for wire in Wire::ALL {
        let mut polls = 0;
        loop {
            let scene = Scene::new(wire).await;
            let first = scene.host.session.token().await.unwrap();
            let left = for_so_many_polls(polls, after_a_refusal(scene.host.session.clone(), first.clone())).await;
            let story = format!("{wire:?} {polls}");
            if polls > 0 {
                // Once the call was polled, the refusal is noted, even if no caller waits for it.
                let mut states = scene.host.session.watch();
                let mut state = states.now();
                while state.lease.is_some_and(|(generation, _)| generation == first.generation()) {
                    state = within("a lease that is not the refused one", states.next()).await.unwrap();
                }
            }
            let next = scene.host.session.token().await.unwrap();
            assert_eq!(next != first, polls > 0, "{story}");
            scene.is_whole_after(if polls > 0 { 2 } else { 1 }, &story).await;
            if left.is_some() {
                assert!(polls >= 2, "it waits at least once");
                break;
            }
            polls += 1;
            assert!(polls < 1_000, "it is never answered");
        }
    }
}

/// The callers' runtime ends, and all their tasks with it.
#[test]
fn callers_leave_with_their_whole_runtime() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ours = runtime();
    for wire in Wire::ALL {
        let theirs = runtime();
        let scene = ours.block_on(Scene::new(wire));
        let gate: Gate = scene.server.hold_next(When::After);
        let mut crowd = {
            let _there = theirs.enter();
            Crowd::of(16, &scene.host.session)
        };
        ours.block_on(async {
            crowd.have_all_asked().await;
            within("a request at the gate", gate.reached(1)).await;
        });
        drop(theirs);
        gate.open();
        ours.block_on(async {
            crowd.are_gone(Leaving::All).await;
            scene.is_whole_after(1, &format!("{wire:?}")).await;
        });
    }
}

/// The answer is lost, with every caller that waited for it. The flight presents the token once more all the same, and the
/// next caller learns the outcome.
#[tokio::test]
async fn a_lost_answer_that_no_caller_waits_for_is_followed_up_all_the_same() {
    for (wire, when) in Wire::ALL.into_iter().flat_map(|wire| [(wire, When::Before), (wire, When::After)]) {
        let story = format!("{wire:?} {when:?}");
        let scene = Scene::new(wire).await;
        let gate = Gate::closed();
        scene.server.next(when, Fault::reset().held(&gate));
        let mut crowd = Crowd::of(16, &scene.host.session);
        crowd.have_all_asked().await;
        within("a request at the gate", gate.reached(1)).await;
        crowd.leave(Leaving::All);
        crowd.are_gone(Leaving::All).await;
        gate.open();
        let mut states = scene.host.session.watch();
        while states.now().refreshing {
            within("an end of the flight", states.next()).await.unwrap();
        }
        let outcome = scene.host.token().await.map(drop).map_err(|error| error.reason());
        let (expected, replays) = if when == When::Before { (Ok(()), 0) } else { (Err(Reason::GrantEnded), 1) };
        assert_eq!((outcome, scene.host.presentations().await), (expected, 0), "{story}");
        let counts = scene.server.counts();
        assert_eq!((counts.token_requests, counts.replays, counts.most_concurrent), (2, replays, 1), "{story}");
    }
}
