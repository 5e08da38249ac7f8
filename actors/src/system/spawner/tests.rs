use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::*;

/// Long enough for any machine. Only a failing test waits for the whole time.
const TIMEOUT: Duration = Duration::from_secs(60);

fn host() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Reports when a flight is dropped, and whether it was done.
struct Flight {
    done: bool,
    sender: Sender<bool>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let _ = self.sender.send(self.done);
    }
}

/// A flight that ends when the gate opens, and the receiver of its result.
fn flight() -> (FlightFuture, oneshot::Sender<()>, Receiver<bool>) {
    let ((gate, opened), (sender, result)) = (oneshot::channel(), channel());
    let flight = Flight { done: false, sender };
    let future = async move {
        let mut flight = flight;
        flight.done = opened.await.is_ok();
    };
    (Box::pin(future), gate, result)
}

#[test]
fn a_flight_on_its_own_thread_outlives_the_hosts_runtime() {
    let thread = FlightThread::start().unwrap();
    let (flight, gate, result) = flight();
    let host = host();
    host.block_on(async { thread.spawn(flight) });
    drop(host);
    gate.send(()).unwrap();
    assert_eq!(result.recv_timeout(TIMEOUT), Ok(true));
}

#[test]
fn a_flight_outlives_the_last_handle_of_its_thread_whose_drop_does_not_wait() {
    let thread = FlightThread::start().unwrap();
    let (flight, gate, result) = flight();
    thread.clone().spawn(flight);
    // Dropped inside a tokio runtime, where waiting would panic, and before the gate opens, so that waiting would never
    // end.
    host().block_on(async { drop(thread) });
    gate.send(()).unwrap();
    assert_eq!(result.recv_timeout(TIMEOUT), Ok(true));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a library's background task without an owner")]
fn the_thread_ends_with_its_last_flight_and_its_last_handle() {
    let thread = FlightThread::start().unwrap();
    // A task that never ends is dropped with the thread's tokio runtime, which shows the end of the thread.
    let (endless, _gate, ended) = flight();
    thread.spawn(Box::pin(async move { drop(tokio::task::spawn(endless)) }));
    let (flight, gate, result) = flight();
    thread.spawn(flight);
    drop(thread);
    assert_eq!(ended.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    gate.send(()).unwrap();
    assert_eq!(result.recv_timeout(TIMEOUT), Ok(true));
    assert_eq!(ended.recv_timeout(TIMEOUT), Ok(false));
}

#[test]
fn a_handle_may_be_dropped_by_the_flight_itself() {
    let thread = FlightThread::start().unwrap();
    let (flight, gate, result) = flight();
    let last = thread.clone();
    thread.spawn(Box::pin(async move {
        last.spawn(flight);
        drop(last);
    }));
    drop(thread);
    gate.send(()).unwrap();
    assert_eq!(result.recv_timeout(TIMEOUT), Ok(true));
}

#[test]
fn a_flight_that_panics_ends_no_other_flight() {
    let thread = FlightThread::start().unwrap();
    thread.spawn(Box::pin(async { panic!("a flight fails, on purpose") }));
    let (flight, gate, result) = flight();
    thread.spawn(flight);
    gate.send(()).unwrap();
    assert_eq!(result.recv_timeout(TIMEOUT), Ok(true));
}

#[test]
fn flights_run_on_the_named_thread_with_timers() {
    let (sender, result) = channel();
    FlightThread::start().unwrap().spawn(Box::pin(async move {
        #[expect(clippy::disallowed_methods, reason = "the test is about timers")]
        tokio::time::sleep(Duration::ZERO).await;
        sender.send(std::thread::current().name().map(str::to_owned)).unwrap();
    }));
    assert_eq!(result.recv_timeout(TIMEOUT), Ok(Some(THREAD.to_owned())));
}

#[test]
fn a_flight_on_the_hosts_runtime_dies_with_it_and_its_destructors_run() {
    let host = host();
    let (flight, _gate, result) = flight();
    host.block_on(async { HostSpawner::current().unwrap().spawn(flight) });
    drop(host);
    assert_eq!(result.try_recv(), Ok(false));
}

#[test]
fn a_flight_on_the_hosts_runtime_runs_while_it_does() {
    let host = host();
    let (flight, gate, result) = flight();
    HostSpawner::on(host.handle().clone()).spawn(flight);
    gate.send(()).unwrap();
    let outcome = host.block_on(async {
        loop {
            match result.try_recv() {
                Err(TryRecvError::Empty) => tokio::task::yield_now().await,
                outcome => break outcome,
            }
        }
    });
    assert_eq!(outcome, Ok(true));
}

#[test]
fn spawning_on_a_runtime_that_is_gone_drops_the_flight_without_a_panic() {
    let host = host();
    let spawner = HostSpawner::on(host.handle().clone());
    drop(host);
    let (flight, _gate, result) = flight();
    spawner.spawn(flight);
    assert_eq!(result.try_recv(), Ok(false));
}

#[test]
fn outside_a_runtime_there_is_no_current_one() {
    assert!(HostSpawner::current().is_err());
}
