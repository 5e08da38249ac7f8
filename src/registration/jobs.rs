//! Shares one registration among the concurrent logins of this process.

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};

use tokenkeeper_actors::ports::spawner::Spawner;
use tokenkeeper_actors::sync::lock;
use tokenkeeper_actors::system::HostSpawner;
use tokio::sync::watch;

use super::choice::Job;
use super::client::Registered;
use super::error::RegistrationError;

type Outcome = Result<Registered, RegistrationError>;

/// The registrations that are under way.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Vec<(Job, watch::Receiver<Option<Outcome>>)>>);

impl Jobs {
    /// Joins the equal job that is under way, or begins `work` on this one. The work runs in a task of its own, so that it
    /// outlives its callers. The task runs on the tokio runtime of its first caller, which is the tokio runtime of the
    /// login attempt.
    pub(super) async fn run<F>(self: &Arc<Self>, job: Job, work: impl FnOnce(Job) -> F) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let Ok(spawner) = HostSpawner::current() else { return Err(RegistrationError::Aborted) };
        let (mut outcome, begun) = {
            let mut running = lock(&self.0);
            match running.iter().find(|(other, _)| *other == job) {
                Some((_, outcome)) => (outcome.clone(), None),
                None => {
                    let (tell, outcome) = watch::channel(None);
                    running.push((job.clone(), outcome.clone()));
                    (outcome, Some((tell, Entry { jobs: Arc::downgrade(self), job: job.clone() })))
                }
            }
        };
        // The lock is not held here. A spawner whose tokio runtime has ended drops the task at once, and the drop of the entry
        // takes the lock.
        if let Some((tell, entry)) = begun {
            let work = work(job);
            spawner.spawn(Box::pin(async move {
                let done = work.await;
                // A later caller begins a new job, and finds the result in the store.
                drop(entry);
                tell.send_replace(Some(done));
            }));
        }
        let done = outcome.wait_for(Option::is_some).await;
        done.ok().and_then(|done| done.clone()).unwrap_or(Err(RegistrationError::Aborted))
    }
}

/// The entry of a job. It is removed when the task of the job ends, even by a panic.
struct Entry {
    jobs: Weak<Jobs>,
    job: Job,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(jobs) = self.jobs.upgrade() {
            lock(&jobs.0).retain(|(other, _)| *other != self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::FutureExt;

    use super::super::tests::rig;
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_over() {
        let (jobs, count) = (Arc::new(Jobs::default()), Arc::new(AtomicUsize::new(0)));
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
        let (jobs, (tell, done)) = (Arc::new(Jobs::default()), tokio::sync::oneshot::channel());
        let work = |_| async move {
            tokio::task::yield_now().await;
            tell.send(()).unwrap();
            Err(RegistrationError::Unreachable)
        };
        let job = jobs.run(rig::job(), work);
        assert!(job.now_or_never().is_none());
        done.await.unwrap();
    }

    #[test]
    fn without_a_runtime_and_after_its_end_a_job_is_aborted() {
        let jobs = Arc::new(Jobs::default());
        let outcome = || jobs.run(rig::job(), |_| async { Err(RegistrationError::Unreachable) }).now_or_never();
        assert_eq!(outcome(), Some(Err(RegistrationError::Aborted)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _entered = handle.enter();
        assert_eq!(outcome(), Some(Err(RegistrationError::Aborted)));
        assert!(lock(&jobs.0).is_empty());
    }
}
