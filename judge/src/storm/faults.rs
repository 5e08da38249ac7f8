//! Faults of token requests, drawn from a seed.

use std::time::Duration;

use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};

use crate::draws::mix;

/// The fault of the first token request of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFault {
    /// No fault.
    None,
    /// The answer takes a second longer.
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
            Self::Slow => (When::Before, Fault::delay(Duration::from_secs(1))),
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

    /// Whether it loses an answer after the refresh token was spent. At a strict server no caller gets a token then. Every
    /// other fault passes.
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

/// The faults that a session gets over at a server with a grace period.
const PASSING: [RequestFault; 7] = [
    RequestFault::Slow,
    RequestFault::Unavailable,
    RequestFault::Throttled,
    RequestFault::ResetBefore,
    RequestFault::ResetAfter,
    RequestFault::Half,
    RequestFault::BadGateway,
];

/// The number of requests after which [`passing_faults`] come again.
const PERIOD: u64 = 7_000;

/// Faults for a sequence of requests. One request of each ten, at a random place among them, has a fault.
pub(crate) fn passing_faults(seed: u64) -> Vec<(When, Fault)> {
    let none = || (When::Before, Fault::pass());
    let drawn = |request: u64| {
        let draw = mix(seed.wrapping_add(mix(request / 10)));
        if draw % 10 != request % 10 {
            return none();
        }
        let index = usize::try_from((draw >> 8) % PASSING.len() as u64).unwrap_or_default();
        PASSING[index].at_server().unwrap_or_else(none)
    };
    (0..PERIOD).map(drawn).collect()
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

    #[test]
    fn one_request_in_ten_has_a_fault_that_passes() {
        let drawn = |seed| passing_faults(seed).iter().map(|fault| format!("{fault:?}")).collect::<Vec<_>>();
        let (first, none) = (drawn(7), format!("{:?}", (When::Before, Fault::pass())));
        assert!(first.chunks(10).all(|ten| ten.iter().filter(|fault| **fault != none).count() == 1));
        for fault in PASSING {
            assert!(first.contains(&format!("{:?}", fault.at_server().unwrap())), "{fault:?}");
        }
        assert_eq!(first, drawn(7));
        assert_ne!(first, drawn(8));
    }
}
