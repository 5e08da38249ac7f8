//! The pauses after consecutive failures, and the longest sleep.

use std::time::Duration;

use super::Jitter;

/// The longest sleep of any state machine or driver (law 14). A stepped clock or a suspend is noticed within this time.
pub const MAX_SLEEP: Duration = Duration::from_secs(60);

/// A pause that doubles with each consecutive failure, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExponentialBackoff {
    /// The pause after the first failure.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// The pauses between two tries to obtain a token while callers wait, before jitter (law 8).
pub const ATTEMPT_PAUSES: ExponentialBackoff =
    ExponentialBackoff::new(Duration::from_millis(250), Duration::from_secs(5));

impl ExponentialBackoff {
    /// The number of doublings after which the pause stops growing, whichever limit it has.
    const MAX_DOUBLINGS: u32 = 16;

    /// A backoff from `initial` up to `max`.
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The pause after `failures` consecutive failures. Zero failures count as one.
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(Self::MAX_DOUBLINGS);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// The pause after `failures` consecutive failures, with jitter. It is at least half of [`pause`](Self::pause), and
    /// never more than that.
    pub fn jittered(&self, failures: u32, jitter: Jitter) -> Duration {
        let half = self.pause(failures) / 2;
        half + jitter.of(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: ExponentialBackoff =
        ExponentialBackoff::new(Duration::from_millis(500), Duration::from_millis(3_000));

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let pauses = [0, 1, 2, 3, 4, 5, u32::MAX].map(|failures| BACKOFF.pause(failures).as_millis());
        assert_eq!(pauses, [500, 500, 1_000, 2_000, 3_000, 3_000, 3_000]);
    }

    #[test]
    fn the_pause_is_finite_without_a_limit() {
        let unlimited = ExponentialBackoff::new(Duration::from_secs(1), Duration::MAX);
        assert_eq!(unlimited.pause(17), Duration::from_secs(1 << 16));
        assert_eq!(unlimited.pause(u32::MAX), Duration::from_secs(1 << 16));
        let longest = ExponentialBackoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(longest.pause(2), Duration::MAX);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        let millis = |jitter| BACKOFF.jittered(2, Jitter::new(jitter)).as_millis();
        assert_eq!(millis(0), 500);
        assert_eq!(millis(1 << 15), 750);
        assert_eq!(millis(u16::MAX), 999);
    }

    #[test]
    fn a_limit_below_the_first_pause_wins() {
        let short = ExponentialBackoff::new(Duration::from_secs(5), Duration::from_secs(1));
        assert_eq!(short.pause(1), Duration::from_secs(1));
    }
}
