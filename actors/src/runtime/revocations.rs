//! Revocations of tokens that will not be used.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::sources::Sources;
use super::timer;
use crate::law::flight::Revocation;
use crate::law::session::RevocationOutcome;
use crate::ports::source::NotRevoked;
use crate::sync::lock;
use crate::values::ServerIdentity;

/// The identities whose revocations are running, with one entry for each revocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocations(Arc<Mutex<Vec<ServerIdentity>>>);

/// A running revocation. Dropping this value does not end the revocation.
#[derive(Debug)]
pub(crate) struct Running(oneshot::Receiver<Result<(), NotRevoked>>);

impl Revocations {
    /// Returns the work of a revocation, and a handle for its outcome.
    pub(crate) fn begin(
        &self,
        sources: Arc<Sources>,
        identity: ServerIdentity,
        revocation: Revocation,
    ) -> (impl Future<Output = ()> + Send + 'static, Running) {
        let (done, outcome) = oneshot::channel();
        let entry = Entry(self.clone(), identity);
        lock(&entry.0.0).push(entry.1.clone());
        let work = async move {
            let revoking = AssertUnwindSafe(sources.revoke(&entry.1, revocation)).catch_unwind();
            let outcome = revoking.await.unwrap_or(Err(NotRevoked::Failed));
            tracing::debug!(identity = %entry.1, ?outcome, "a revocation has ended");
            drop(entry);
            let _ = done.send(outcome);
        };
        (work, Running(outcome))
    }

    /// The identities whose revocations have not ended.
    pub(crate) fn unfinished(&self) -> Vec<ServerIdentity> {
        lock(&self.0).clone()
    }
}

impl Running {
    /// Waits at most `timeout` for the outcome.
    pub(crate) async fn outcome(self, timeout: Duration) -> RevocationOutcome {
        tokio::select! {
            biased;
            outcome = self.0 => match outcome {
                Ok(Ok(())) => RevocationOutcome::Done,
                Ok(Err(NotRevoked::NotOffered)) => RevocationOutcome::NotOffered,
                Ok(Err(NotRevoked::AccessTokenAlone)) => RevocationOutcome::AccessTokenAlone,
                // The runtime that ran the revocation has ended.
                Ok(Err(NotRevoked::Failed)) | Err(_) => RevocationOutcome::Failed,
            },
            () = timer::pause(timeout) => RevocationOutcome::InTheAir,
        }
    }
}

/// The entry of a revocation in the list. It is removed when the revocation ends.
struct Entry(Revocations, ServerIdentity);

impl Drop for Entry {
    fn drop(&mut self) {
        let mut running = lock(&self.0.0);
        if let Some(place) = running.iter().position(|identity| *identity == self.1) {
            running.swap_remove(place);
        }
    }
}
