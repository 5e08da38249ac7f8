//! The threads that work on the disk. A store has its own threads, so that a disk that hangs blocks none of the host's.
//!
//! There are at most 32 threads. A thread is started when work arrives and no thread is idle, and ends when it was idle for a
//! while. While all threads are busy, work waits in a queue. After four seconds it fails there, without having begun.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The maximal number of threads.
const MOST: usize = 32;

/// The time after which an idle thread ends.
const IDLE: Duration = Duration::from_secs(10);

/// The interval at which the queue is examined, and the number of examinations after which waiting work fails. The total time
/// is shorter than the engine's timeout for a store.
const LOOKS: (Duration, u8) = (Duration::from_millis(500), 8);

/// The reason why work has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The work never began, because no thread was free in time or none could be started.
    NotBegun,
    /// The work panicked.
    BrokenOff,
}

/// The threads of one handle. They end when it is dropped and the work is done.
#[derive(Debug)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
    most: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    has_observer: bool,
    is_closed: bool,
}

/// Work, and the number of examinations of the queue that it may still wait for. `None` for work without a time-out.
struct Job {
    work: Box<dyn FnOnce() + Send>,
    looks: Option<u8>,
}

impl Default for Workers {
    fn default() -> Self {
        Self { shared: Arc::default(), most: MOST }
    }
}

impl Workers {
    /// Runs `work` on a thread that may block. If the future is dropped, the work still waits or runs to its end.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
        self.hand_over(work, Some(LOOKS.1)).await
    }

    /// Runs `work` like [`run`](Self::run), without a time-out for its wait for a thread.
    pub(crate) async fn run_at_last<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        self.hand_over(work, None).await
    }

    async fn hand_over<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        looks: Option<u8>,
    ) -> Result<T, Undone> {
        let (tell, told) = oneshot::channel();
        let work = Box::new(move || {
            let _ = tell.send(catch_unwind(AssertUnwindSafe(work)));
        });
        self.push(Job { work, looks });
        told.await.map_err(|_| Undone::NotBegun)?.map_err(|_| Undone::BrokenOff)
    }

    fn push(&self, job: Job) {
        let mut state = self.shared.state();
        state.queue.push_back(job);
        if state.queue.len() <= state.idle {
            return self.shared.bell.notify_one();
        }
        let shared = Arc::clone(&self.shared);
        if state.threads < self.most && start(move || shared.work_on()).is_ok() {
            state.threads += 1;
        } else if state.threads == 0 {
            // No thread would ever take the work.
            let refused = state.queue.pop_back();
            drop(state);
            drop(refused);
        } else if !state.has_observer {
            let shared = Arc::clone(&self.shared);
            // If no observer can be started, the work waits for a thread without a time-out.
            state.has_observer = start(move || shared.observe()).is_ok();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.bell.notify_all();
    }
}

impl Shared {
    /// The guard is never held during work.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work from the queue, until none arrived for a while.
    fn work_on(&self) {
        let mut state = self.state();
        loop {
            while let Some(job) = state.queue.pop_front() {
                drop(state);
                (job.work)();
                state = self.state();
            }
            if state.is_closed {
                break;
            }
            state.idle += 1;
            let (waited, wait) = self.bell.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = waited;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Removes work that has waited too long from the queue, as long as there is work with a time-out.
    fn observe(&self) {
        loop {
            sleep(LOOKS.0);
            let mut state = self.state();
            let (late, waiting) = std::mem::take(&mut state.queue).into_iter().partition(Job::is_late);
            state.queue = waiting;
            for job in &mut state.queue {
                job.looks.iter_mut().for_each(|looks| *looks -= 1);
            }
            state.has_observer = state.queue.iter().any(|job| job.looks.is_some());
            let goes_on = state.has_observer;
            drop(state);
            // The work is dropped without the lock, because its destructor may run other code.
            drop::<VecDeque<Job>>(late);
            if !goes_on {
                return;
            }
        }
    }
}

impl Job {
    fn is_late(&self) -> bool {
        self.looks == Some(0)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of the store's own, that ends when it is idle")]
fn start(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("tokenkeeper-disk".to_owned()).spawn(work).map(drop)
}

#[expect(clippy::disallowed_methods, reason = "on a thread that does nothing else")]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests;
