//! Reports a refused lease to its session, even if the caller gives up first.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use crate::{AuthSession, ChallengeKey, Lease, OperationKey, TokenError};

/// The report of a refused lease to its session. A report that was not begun is made on drop. So the next caller does not get
/// the refused token, even if this call is dropped before [`make`](Self::make), while it reads the metadata that the challenge
/// names.
pub(super) struct Report {
    session: AuthSession,
    /// `None` once the report was begun.
    lease: Option<Lease>,
    operation: OperationKey,
    challenge: ChallengeKey,
}

impl Report {
    pub(super) fn new(session: AuthSession, lease: Lease, operation: OperationKey, challenge: ChallengeKey) -> Self {
        Self { session, lease: Some(lease), operation, challenge }
    }

    /// Makes the report. The refusal takes effect with the first poll, and the rest waits for the session's answer, which is
    /// that of [`AuthSession::invalidate`].
    pub(super) async fn make(mut self) -> Result<(), TokenError> {
        match self.lease.take() {
            Some(lease) => self.session.invalidate(&lease, self.operation, self.challenge).await,
            // Never reached, because only this method and the drop take the lease.
            None => Ok(()),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let report = pin!(self.session.invalidate(&lease, self.operation, self.challenge));
            // `invalidate` delivers the refusal before it waits for the first time, so that one poll is enough.
            let _answer = report.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}
