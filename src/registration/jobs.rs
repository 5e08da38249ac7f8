//! Shares one registration among the concurrent logins of this process.

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};

use tokenkeeper_actors::ports::spawner::Spawner;
use tokenkeeper_actors::sync::lock;
use tokio::sync::watch;

use super::choice::Job;
use super::client::Registered;
use super::error::RegistrationError;

type Outcome = Result<Registered, RegistrationError>;

/// The registrations that are under way.
#[derive(Debug)]
pub(super) struct Jobs {
    spawner: Arc<dyn Spawner>,
    running: Mutex<Vec<(Job, watch::Receiver<Option<Outcome>>)>>,
}

impl Jobs {
    pub(super) fn new(spawner: Arc<dyn Spawner>) -> Self {
        Self { spawner, running: Mutex::default() }
    }

    /// Joins the equal job that is under way, or begins `work` on this one. The work runs in a task of its own, so that it
    /// outlives its callers.
    pub(super) async fn run<F>(self: &Arc<Self>, job: Job, work: impl FnOnce(Job) -> F) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (mut outcome, begun) = {
            let mut running = lock(&self.running);
            match running.iter().find(|(other, _)| *other == job) {
                Some((_, outcome)) => (outcome.clone(), None),
                None => {
                    let (tell, outcome) = watch::channel(None);
                    running.push((job.clone(), outcome.clone()));
                    (outcome, Some((tell, Entry { jobs: Arc::downgrade(self), job: job.clone() })))
                }
            }
        };
        // Not under the lock, because a spawner whose runtime has ended drops the task at once, and its entry takes the lock.
        if let Some((tell, entry)) = begun {
            let work = work(job);
            self.spawner.spawn(Box::pin(async move {
                let done = work.await;
                // A caller that comes from here on begins anew, and finds the result in the store.
                drop(entry);
                tell.send_replace(Some(done));
            }));
        }
        let done = outcome.wait_for(Option::is_some).await;
        done.ok().and_then(|done| done.clone()).unwrap_or(Err(RegistrationError::Aborted))
    }
}

/// The entry of a job, removed when its task ends, also by a panic.
struct Entry {
    jobs: Weak<Jobs>,
    job: Job,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(jobs) = self.jobs.upgrade() {
            lock(&jobs.running).retain(|(other, _)| *other != self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokenkeeper_actors::system::HostSpawner;

    use super::super::tests::rig;
    use super::*;

    fn jobs() -> Jobs {
        Jobs::new(Arc::new(HostSpawner::current().unwrap()))
    }

    #[tokio::test]
    async fn a_job_that_panics_is_over() {
        let (jobs, count) = (Arc::new(jobs()), Arc::new(AtomicUsize::new(0)));
        for round in 1..3 {
            let counted = Arc::clone(&count);
            let work = move |_| async move {
                counted.fetch_add(1, Ordering::SeqCst);
                panic!("in the job");
            };
            assert_eq!(jobs.run(rig::job(), work).await, Err(RegistrationError::Aborted));
            assert_eq!(count.load(Ordering::SeqCst), round);
        }
    }

    #[tokio::test]
    async fn a_job_outlives_its_callers() {
        let (jobs, (tell, done)) = (Arc::new(jobs()), tokio::sync::oneshot::channel());
        let work = |_| async move {
            tokio::task::yield_now().await;
            tell.send(()).unwrap();
            Err(RegistrationError::Unreachable)
        };
        let job = jobs.run(rig::job(), work);
        assert!(futures_util::future::FutureExt::now_or_never(job).is_none());
        done.await.unwrap();
    }

    /// Drops what it should run, as a runtime does that has ended.
    #[derive(Debug)]
    struct Ended;

    impl Spawner for Ended {
        fn spawn(&self, _: tokenkeeper_actors::ports::spawner::FlightFuture) {}
    }

    #[tokio::test]
    async fn a_job_of_a_runtime_that_has_ended_is_aborted() {
        let jobs = Arc::new(Jobs::new(Arc::new(Ended)));
        for _ in 0..2 {
            let outcome = jobs.run(rig::job(), |_| async { Err(RegistrationError::Unreachable) }).await;
            assert_eq!(outcome, Err(RegistrationError::Aborted));
        }
        assert!(lock(&jobs.running).is_empty());
    }
}
