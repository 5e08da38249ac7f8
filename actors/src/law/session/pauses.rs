//! Pauses before the next flight, after failures (backoff) and for the issuer's `Retry-After` (law 8).

use super::{Backoff, Policy};
use crate::law::profile::Trouble;
use crate::values::{ATTEMPT_PAUSES, ElapsedTime, ExponentialBackoff, Now, Reason, TokenError};

/// The pauses of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses {
    backoff: Backoff,
    /// Whether no caller has waited for the newest flight. A flight of the previous actor may have had callers.
    unattended: bool,
    /// The end of the issuer's throttle.
    throttled: Option<ElapsedTime>,
}

/// A pause after a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// The error for callers that do not wait for another attempt.
    pub(super) error: TokenError,
    /// The end of the pause.
    pub(super) until: ElapsedTime,
    /// Whether another attempt follows for the callers that wait longer.
    pub(super) retrying: bool,
}

/// Whether a failure for this reason may be over soon, so that callers may wait for another attempt. `Aborted` is such
/// a reason, because the next flight decides from the mark of the aborted one.
fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Unreachable
            | Reason::Untrusted
            | Reason::ServerTrouble
            | Reason::Throttled
            | Reason::InDoubt
            | Reason::Aborted
    )
}

impl Pauses {
    /// The backoff that the previous actor left.
    pub(super) fn inherited(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    pub(super) fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// Ends the backoff after a success, or in a new epoch. The issuer's throttle stays.
    pub(super) fn reset(&mut self) {
        self.backoff = Backoff::default();
    }

    /// Ends the backoff after a failure that was due to a missing source, because the new plan names another source.
    pub(super) fn forget_missing_source(&mut self) {
        let Backoff { resting, background_resting, .. } = self.backoff;
        if resting.or(background_resting).is_some_and(|(error, _)| error.reason() == Reason::SourceMissing) {
            self.reset();
        }
    }

    /// Counts a failure of `requests` token requests, and begins its pause. `patience` is the latest time until
    /// which a caller waits for another attempt; `None` if no caller does.
    ///
    /// While attempts are left and the pause ends before that time, the pause is short (law 8). Otherwise the backoff
    /// decides. If no caller has waited for the flight, the backoff applies to background work alone, and callers wait
    /// only for as long as the server asked.
    pub(super) fn fail(
        &mut self,
        trouble: Trouble,
        requests: u32,
        patience: Option<ElapsedTime>,
        policy: &Policy,
        now: Now,
    ) -> Rest {
        let error = TokenError::new(trouble.reason);
        let asked = trouble.retry_after.unwrap_or_default().min(policy.max_retry_after);
        let attempts = self.backoff.attempts.saturating_add(requests.max(1));
        let short = ATTEMPT_PAUSES.jittered(attempts, now.jitter).max(asked);
        let retrying = passes(trouble.reason)
            && attempts < policy.max_attempts
            && patience.is_some_and(|patience| now.elapsed().after(short) < patience);
        let pause = if retrying {
            self.backoff.attempts = attempts;
            short
        } else {
            // An issuer's throttle is not a failure of this session.
            let throttled = trouble.reason == Reason::Throttled && trouble.retry_after.is_some();
            let Backoff { mut failures, mut background_failures, .. } = self.backoff;
            let counter = if self.unattended { &mut background_failures } else { &mut failures };
            *counter = counter.saturating_add(u32::from(!throttled));
            let backoff = ExponentialBackoff::new(policy.initial_backoff, policy.max_backoff);
            let pause = |failures| backoff.jittered(failures, now.jitter).max(asked);
            let background_until = now.elapsed().after(pause(failures.saturating_add(background_failures)));
            self.backoff = Backoff {
                failures,
                background_failures,
                background_resting: Some((error, background_until)),
                ..Backoff::default()
            };
            if self.unattended { asked } else { pause(failures) }
        };
        let until = now.elapsed().after(pause);
        self.backoff.resting = (!pause.is_zero()).then_some((error, until));
        Rest { error: error.with_retry_after(pause), until, retrying }
    }

    /// A flight begins. `attended` is whether callers wait for it.
    pub(super) fn flight_begun(&mut self, attended: bool) {
        self.unattended = !attended;
    }

    /// A caller waits for the flight that runs, or for the next one.
    pub(super) fn caller_waits(&mut self) {
        self.unattended = false;
    }

    /// Called when a caller begins to wait and no other caller does. Attempts made for earlier callers do not count for it.
    pub(super) fn begin_cohort(&mut self, now: ElapsedTime) {
        if !self.are_resting(now) {
            self.backoff.attempts = 0;
        }
    }

    /// Notes that the issuer accepts no request before `until`.
    pub(super) fn throttle(&mut self, until: ElapsedTime) {
        self.throttled = self.throttled.max(Some(until));
    }

    /// Ends the pauses that are over.
    pub(super) fn end_due(&mut self, now: ElapsedTime) {
        self.backoff.resting.take_if(|(_, until)| *until <= now);
        self.backoff.background_resting.take_if(|(_, until)| *until <= now);
        self.throttled.take_if(|until| *until <= now);
    }

    /// Whether a pause after a failure still lasts that also holds back callers.
    pub(super) fn are_resting(&self, now: ElapsedTime) -> bool {
        self.backoff.resting.is_some_and(|(_, until)| until > now)
    }

    /// Whether a pause after a failure still lasts that holds back background work.
    pub(super) fn hold_background(&self, now: ElapsedTime) -> bool {
        self.backoff.background_resting.is_some_and(|(_, until)| until > now)
    }

    /// Whether the issuer's throttle still lasts.
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

    /// The ends of the pauses that hold back callers.
    pub(super) fn wakes(&self) -> impl Iterator<Item = ElapsedTime> {
        self.backoff.resting.map(|(_, until)| until).into_iter().chain(self.throttled)
    }

    /// The end of the pause that holds back background work.
    pub(super) fn background_wake(&self) -> Option<ElapsedTime> {
        self.backoff.background_resting.map(|(_, until)| until)
    }
}
