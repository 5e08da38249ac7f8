//! Faults of token requests, drawn from a seed.

use std::time::Duration;

use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};

use crate::draws::mix;

/// The fault of the first token request of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFault {
    /// No fault.
    None,
    /// The answer takes 100 ms longer.
    Slow,
    /// 503, before the refresh token was spent.
    Unavailable,
    /// 429 with `Retry-After`, before the refresh token was spent.
    Throttled,
    /// A reset connection, before the refresh token was spent.
    ResetBefore,
    /// A reset connection, after the refresh token was spent.
    ResetAfter,
    /// Half an answer, after the refresh token was spent.
    Half,
    /// 502 with a page, after the refresh token was spent.
    BadGateway,
    /// An answer that cannot be read, after the refresh token was spent.
    Garbage,
}

impl RequestFault {
    const ALL: [RequestFault; 9] = [
        RequestFault::None,
        RequestFault::Slow,
        RequestFault::Unavailable,
        RequestFault::Throttled,
        RequestFault::ResetBefore,
        RequestFault::ResetAfter,
        RequestFault::Half,
        RequestFault::BadGateway,
        RequestFault::Garbage,
    ];

    /// Returns the fault of this round. About half of the rounds have none, so that the next one meets a session in
    /// good order.
    pub(super) fn drawn(seed: u64, round: u32) -> Self {
        let draw = mix(seed.wrapping_add(mix(u64::from(round))));
        if draw & 1 == 0 {
            return Self::None;
        }
        let index = usize::try_from((draw >> 1) % Self::ALL.len() as u64).unwrap_or_default();
        Self::ALL[index]
    }

    /// Returns the fault as the hostile server takes it.
    pub(crate) fn at_server(self) -> Option<(When, Fault)> {
        let (when, fault) = match self {
            Self::None => return None,
            Self::Slow => (When::Before, Fault::delay(Duration::from_millis(100))),
            Self::Unavailable => (When::Before, Fault::status(503).html()),
            Self::Throttled => (When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(2))),
            Self::ResetBefore => (When::Before, Fault::reset()),
            Self::ResetAfter => (When::After, Fault::reset()),
            Self::Half => (When::After, Fault::pass().halved()),
            Self::BadGateway => (When::After, Fault::status(502).html()),
            Self::Garbage => (When::After, Fault::garbage()),
        };
        Some((when, fault))
    }

    /// Whether callers may fail because of it.
    pub(super) fn may_fail_callers(self) -> bool {
        !matches!(self, Self::None | Self::Slow)
    }

    /// Whether it loses an answer after the refresh token was spent.
    pub(super) fn loses_answer(self) -> bool {
        self.at_server().is_some_and(|(when, _)| when == When::After)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Slow => "slow",
            Self::Unavailable => "503",
            Self::Throttled => "429",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::Half => "half_answer",
            Self::BadGateway => "502_after",
            Self::Garbage => "unreadable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_every_kind_of_them_comes() {
        let drawn = |seed| (1..=200).map(|round| RequestFault::drawn(seed, round)).collect::<Vec<_>>();
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert!(RequestFault::ALL.iter().all(|fault| drawn(7).contains(fault)));
    }
}
