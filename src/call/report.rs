//! The report of a refusal.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use crate::{AuthSession, ChallengeKey, Lease, OperationKey, TokenError};

/// The report of a refused lease to its session. It is made when it is dropped at the latest, so that a caller that gives up
/// while metadata is read leaves no refused token to the next one.
pub(super) struct Report {
    session: AuthSession,
    /// Taken when the report is made.
    lease: Option<Lease>,
    operation: OperationKey,
    challenge: ChallengeKey,
}

impl Report {
    pub(super) fn new(session: AuthSession, lease: Lease, operation: OperationKey, challenge: ChallengeKey) -> Self {
        Self { session, lease: Some(lease), operation, challenge }
    }

    /// Makes the report. It takes effect with the first poll.
    pub(super) async fn make(mut self) -> Result<(), TokenError> {
        match self.lease.take() {
            Some(lease) => self.session.invalidate(&lease, self.operation, self.challenge).await,
            None => Ok(()),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let report = pin!(self.session.invalidate(&lease, self.operation, self.challenge));
            // One poll notes it. The answer is not needed.
            let _answer = report.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}
