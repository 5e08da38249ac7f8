//! Pauses before the next flight: backoff after failures, and the issuer's `Retry-After` (law 8).

use super::{Backoff, Policy};
use crate::law::profile::Trouble;
use crate::values::{ElapsedTime, ExponentialBackoff, Now, Reason, TokenError};

/// The pauses of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses {
    backoff: Backoff,
    /// The end of the issuer's throttle.
    throttled: Option<ElapsedTime>,
}

impl Pauses {
    /// The backoff that the previous actor left.
    pub(super) fn inherited(backoff: Backoff) -> Self {
        Self { backoff, throttled: None }
    }

    pub(super) fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// Ends the backoff after a success, or in a new epoch. The issuer's throttle stays.
    pub(super) fn reset(&mut self) {
        self.backoff = Backoff::default();
    }

    /// Ends the backoff after a failure that was due to a missing source, because another source is named now.
    pub(super) fn forget_missing_source(&mut self) {
        if self.backoff.resting.is_some_and(|(error, _)| error.reason() == Reason::SourceMissing) {
            self.reset();
        }
    }

    /// Counts a failure and begins its pause. Returns the error for the callers.
    pub(super) fn fail(&mut self, trouble: Trouble, policy: &Policy, now: Now) -> TokenError {
        // An issuer's throttle is not a failure of this session.
        let throttled = trouble.reason == Reason::Throttled && trouble.retry_after.is_some();
        let failures = self.backoff.failures.saturating_add(u32::from(!throttled));
        let pause = ExponentialBackoff::new(policy.initial_backoff, policy.max_backoff).jittered(failures, now.jitter);
        let pause = pause.max(trouble.retry_after.unwrap_or_default().min(policy.max_retry_after));
        let error = TokenError::new(trouble.reason);
        self.backoff = Backoff { failures, resting: Some((error, now.elapsed().after(pause))) };
        error.with_retry_after(pause)
    }

    /// Notes that the issuer accepts no request before `until`.
    pub(super) fn throttle(&mut self, until: ElapsedTime) {
        self.throttled = self.throttled.max(Some(until));
    }

    /// Ends the pauses that are over.
    pub(super) fn end_due(&mut self, now: ElapsedTime) {
        self.backoff.resting.take_if(|(_, until)| *until <= now);
        self.throttled.take_if(|until| *until <= now);
    }

    /// Whether a pause after a failure lasts.
    pub(super) fn are_resting(&self, now: ElapsedTime) -> bool {
        self.backoff.resting.is_some_and(|(_, until)| until > now)
    }

    /// Whether the issuer's throttle lasts.
    pub(super) fn are_throttled(&self, now: ElapsedTime) -> bool {
        self.throttled.is_some_and(|until| until > now)
    }

    /// The error for a caller whose `deadline` comes before the end of a pause; `None` if there is no such pause.
    pub(super) fn error_until(&self, deadline: ElapsedTime, now: ElapsedTime) -> Option<TokenError> {
        let too_late = |until: ElapsedTime| until >= deadline;
        match (self.backoff.resting, self.throttled) {
            (Some((error, until)), _) if too_late(until) => Some(error.with_retry_after(until.since(now))),
            (_, Some(until)) if too_late(until) => {
                Some(TokenError::new(Reason::Throttled).with_retry_after(until.since(now)))
            }
            _ => None,
        }
    }

    /// The ends of the pauses.
    pub(super) fn wakes(&self) -> impl Iterator<Item = ElapsedTime> {
        self.backoff.resting.map(|(_, until)| until).into_iter().chain(self.throttled)
    }
}
