//! What goes wrong with token requests, drawn from a seed.

use std::time::Duration;

use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};

/// What the first token request of a round meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing wrong.
    Calm,
    /// It takes 100 ms longer.
    Slow,
    /// 503, before the refresh token was spent.
    Unavailable,
    /// 429 with `Retry-After`, before it was spent.
    Throttled,
    /// The connection is reset before it was spent.
    ResetBefore,
    /// The connection is reset after it was spent.
    ResetAfter,
    /// Half an answer, after it was spent.
    Half,
    /// The answer is 502 with a page, after it was spent.
    BadGateway,
    /// The answer cannot be read, after it was spent.
    Garbage,
}

impl Weather {
    const ALL: [Weather; 9] = [
        Weather::Calm,
        Weather::Slow,
        Weather::Unavailable,
        Weather::Throttled,
        Weather::ResetBefore,
        Weather::ResetAfter,
        Weather::Half,
        Weather::BadGateway,
        Weather::Garbage,
    ];

    /// The weather of this round: every second one is calm, so that the next meets a session that is well.
    pub(super) fn of(seed: u64, round: u32) -> Self {
        let draw = mix(seed.wrapping_add(mix(u64::from(round))));
        if draw & 1 == 0 {
            return Self::Calm;
        }
        let index = usize::try_from((draw >> 1) % Self::ALL.len() as u64).unwrap_or_default();
        Self::ALL[index]
    }

    pub(super) fn fault(self) -> Option<(When, Fault)> {
        let (when, fault) = match self {
            Self::Calm => return None,
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

    /// Whether callers may fail in it.
    pub(super) fn hurts(self) -> bool {
        !matches!(self, Self::Calm | Self::Slow)
    }

    /// Whether the refresh token is spent, and its successor lost.
    pub(super) fn loses(self) -> bool {
        self.fault().is_some_and(|(when, _)| when == When::After)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
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

/// SplitMix64 (Steele, Lea, Flood 2014): spreads neighbouring numbers.
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_weather_and_every_kind_of_it_comes() {
        let drawn = |seed| (1..=200).map(|round| Weather::of(seed, round)).collect::<Vec<_>>();
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert!(Weather::ALL.iter().all(|weather| drawn(7).contains(weather)));
    }
}
