//! The report of a refusal.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use crate::{AuthSession, ChallengeKey, Lease, OperationKey, TokenError};

/// The report of a refused lease to its session. A report that was not made before is made on drop. So the next caller does
/// not get the refused token, even if this caller gives up while metadata is read.
pub(super) struct Report {
    session: AuthSession,
    /// `None` once the report was made.
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
            // The first poll records the refusal. Its result is not needed.
            let _answer = report.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}
