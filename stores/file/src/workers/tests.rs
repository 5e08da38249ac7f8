//! The threads, with work that hangs.

use std::future::Future;
use std::sync::mpsc;
use std::task::{Context, Waker};

use super::*;

/// Work that does not end until the test lets it, and the number of times it has begun.
struct Hanging {
    begun: mpsc::Receiver<()>,
    ends: Vec<mpsc::Sender<()>>,
}

/// Hands over `count` pieces of work that hang. Their futures are dropped.
fn hang(workers: &Workers, count: usize) -> Hanging {
    let (tell, begun) = mpsc::channel();
    let ends = (0..count).map(|_| {
        let (end, ended) = mpsc::channel::<()>();
        let tell = tell.clone();
        begin(workers.run(move || {
            tell.send(()).unwrap();
            ended.recv().unwrap_err();
        }));
        end
    });
    Hanging { ends: ends.collect(), begun }
}

/// Polls a future once and drops it. Its work goes on.
fn begin(future: impl Future) {
    assert!(Box::pin(future).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn of(most: usize) -> Workers {
    let mut workers = Workers::default();
    workers.most = most;
    workers
}

/// Waits until `is_so` holds for the state, for up to half a minute.
fn until(workers: &Workers, is_so: impl Fn(&State) -> bool) {
    for _ in 0..6_000 {
        if is_so(&workers.shared.state()) {
            return;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("the condition was not reached");
}

#[tokio::test]
async fn work_that_hangs_takes_a_bounded_number_of_threads_and_work_behind_it_fails() {
    let workers = of(3);
    let hanging = hang(&workers, 10);
    (0..3).for_each(|_| hanging.begun.recv().unwrap());
    assert_eq!(workers.shared.state().threads, 3);
    assert_eq!(workers.run(|| 1).await, Err(Undone::NotBegun));
    until(&workers, |state| state.queue.is_empty() && !state.has_observer);
    assert_eq!((workers.shared.state().threads, hanging.begun.try_recv().is_err()), (3, true));
    // When the work that hangs goes on, later work is done, too.
    drop(hanging.ends);
    assert_eq!(workers.run(|| 2).await, Ok(2));
}

#[tokio::test]
async fn some_work_waits_as_long_as_it_takes() {
    let workers = of(1);
    let hanging = hang(&workers, 1);
    hanging.begun.recv().unwrap();
    let (at_last, late) = tokio::join!(workers.run_at_last(|| 1), async {
        let late = workers.run(|| 2).await;
        drop(hanging.ends);
        late
    });
    assert_eq!((at_last, late), (Ok(1), Err(Undone::NotBegun)));
}

#[tokio::test]
async fn a_thread_is_used_again_and_outlives_a_panic() {
    let workers = of(3);
    assert_eq!(workers.run(|| 1).await, Ok(1));
    for _ in 0..20 {
        until(&workers, |state| state.idle == 1);
        assert_eq!(workers.run(|| panic!("on purpose")).await, Err::<(), _>(Undone::BrokenOff));
    }
    until(&workers, |state| state.idle == 1);
    assert_eq!(workers.shared.state().threads, 1);
}

#[test]
fn the_threads_end_with_their_handle_after_the_work() {
    let workers = of(2);
    let hanging = hang(&workers, 2);
    (0..2).for_each(|_| hanging.begun.recv().unwrap());
    let last = hang(&workers, 1);
    let shared = Arc::clone(&workers.shared);
    drop(workers);
    drop(hanging.ends);
    last.begun.recv().unwrap();
    drop(last.ends);
    for _ in 0..6_000 {
        if shared.state().threads == 0 {
            return;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("a thread is left");
}
