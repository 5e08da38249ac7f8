//! A bound on the waits of tests. A test whose wait never ends fails, and the panic names the wait.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "it watches real time; each test takes what it needs"
)]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// The longest wait, in real time. Nothing that a test waits for takes nearly as long, however slow the machine.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The longest wait, in tokio's time. Where a test has paused that time, it passes at once when no task can run, so
/// that such a test fails without a wait in real time.
const LONGEST_PAUSED: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits for `wait`, and panics after the longest wait. `what` names the wait in the panic.
///
/// One poll of it is one poll of `wait`. Real time counts whether the test's runtime is idle, busy or paused.
#[track_caller]
pub fn within<W: IntoFuture>(what: impl Into<Cow<'static, str>>, wait: W) -> Within<W::IntoFuture> {
    Within { wait: Box::pin(wait.into_future()), what: what.into(), at: Location::caller(), limit: None }
}

/// Lets all other tasks run until `is_so` returns `true`, and panics after the longest wait. No time passes meanwhile.
#[track_caller]
pub fn until(
    what: impl Into<Cow<'static, str>>,
    mut is_so: impl FnMut() -> bool + Send,
) -> Within<impl Future<Output = ()> + Send> {
    within(what, async move {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
}

/// Waits for each of these in turn, each with the bound of one wait. It is for crowds, which may take longer as long as
/// some member completes. Use it only for waits that need not be polled to go on, like tasks and the answers of actors.
#[track_caller]
pub fn each_within<W: IntoFuture>(
    what: &'static str,
    waits: impl IntoIterator<Item = W>,
) -> impl Future<Output = Vec<W::Output>> {
    let at = Location::caller();
    let waits: Vec<W> = waits.into_iter().collect();
    async move {
        let mut done = Vec::with_capacity(waits.len());
        for wait in waits {
            done.push(Within { at, ..within(what, wait) }.await);
        }
        done
    }
}

/// A wait with a bound.
pub struct Within<F> {
    wait: Pin<Box<F>>,
    what: Cow<'static, str>,
    at: &'static Location<'static>,
    /// `None` until the first poll that returned `Pending`.
    limit: Option<Limit>,
}

struct Limit {
    real: Instant,
    paused: Pin<Box<Sleep>>,
    wakeup: Arc<Wakeup>,
}

impl Limit {
    fn begin() -> Self {
        let wakeup = Arc::new(Wakeup::default());
        let real = Instant::now() + LONGEST;
        Timer::shared().set(real, Arc::downgrade(&wakeup));
        Self { real, paused: Box::pin(tokio::time::sleep(LONGEST_PAUSED)), wakeup }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if let Poll::Ready(done) = this.wait.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        let limit = this.limit.get_or_insert_with(Limit::begin);
        limit.wakeup.register(context.waker());
        let (what, at) = (&this.what, this.at);
        assert!(Instant::now() < limit.real, "{at}: waited {LONGEST:?} in vain for {what}");
        let paused = limit.paused.as_mut().poll(context).is_pending();
        assert!(paused, "{at}: waited {LONGEST_PAUSED:?} of tokio's time in vain for {what}");
        Poll::Pending
    }
}

/// Wakes the task of one wait when its real time is over.
#[derive(Default)]
struct Wakeup(Mutex<Option<Waker>>);

impl Wakeup {
    fn register(&self, waker: &Waker) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The thread that wakes the tasks of all waits of a process. All waits have the same length, so the first one set is
/// the first one due.
#[derive(Default)]
struct Timer {
    wakeups: Mutex<VecDeque<(Instant, Weak<Wakeup>)>>,
    is_set: Condvar,
}

impl Timer {
    fn shared() -> &'static Self {
        static TIMER: OnceLock<&Timer> = OnceLock::new();
        TIMER.get_or_init(|| {
            let timer: &'static Self = Box::leak(Box::default());
            std::thread::spawn(|| timer.run());
            timer
        })
    }

    fn set(&self, at: Instant, wakeup: Weak<Wakeup>) {
        let mut wakeups = self.wakeups.lock().unwrap_or_else(PoisonError::into_inner);
        // Completed waits are dropped, the oldest first, so that the queue stays short however many waits there were.
        while wakeups.front().is_some_and(|(_, wakeup)| wakeup.strong_count() == 0) {
            wakeups.pop_front();
        }
        wakeups.push_back((at, wakeup));
        if wakeups.len() == 1 {
            self.is_set.notify_one();
        }
    }

    fn run(&self) {
        let mut wakeups = self.wakeups.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            wakeups = match wakeups.front().map(|(at, _)| *at) {
                None => self.is_set.wait(wakeups).unwrap_or_else(PoisonError::into_inner),
                Some(at) if at > now => {
                    self.is_set.wait_timeout(wakeups, at - now).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let due = wakeups.pop_front().and_then(|(_, wakeup)| wakeup.upgrade());
                    drop(wakeups);
                    due.iter().for_each(|wakeup| wakeup.wake());
                    self.wakeups.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
