//! Wall time, elapsed time, and jitter. The state machines read no clock. A driver passes them both times and a random
//! fraction with each event.

use std::time::{Duration, SystemTime};

/// Wall-clock time in milliseconds since the Unix epoch. It may step in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

/// A time before 1970 becomes the Unix epoch.
impl From<SystemTime> for WallTime {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl WallTime {
    /// The wall time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, or zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The wall time `span` before this one, or the epoch.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// The wall time `span` after this one, rounded up to the millisecond (saturating).
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

/// Time since the computer booted, suspend included, in milliseconds. It never steps back within one boot, and has no
/// meaning in another boot. Compare it only if the [`BootId`]s are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElapsedTime(u64);

impl ElapsedTime {
    /// The elapsed time `millis` milliseconds after boot.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since boot, suspend included.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, or zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant `span` before this one, or boot.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// The instant `span` after this one, rounded up to the millisecond (saturating).
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

/// Identifies one boot of one computer, so that elapsed time is never compared across a reboot or between hosts.
///
/// It is packed to the alignment of its neighbours, because every value with a time contains one, and the memory of a
/// hundred thousand idle sessions depends on its size.
#[repr(Rust, packed(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId(pub u128);

/// Both clocks, read together on one computer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The wall clock's time.
    pub wall: WallTime,
    /// The elapsed clock's time.
    pub elapsed: ElapsedTime,
    /// The boot in which `elapsed` counts.
    pub boot: BootId,
}

impl Moment {
    /// The time since `earlier`, by the clock that shows *more*. Returns `None` when `earlier` belongs to another boot,
    /// because then no upper bound is known.
    pub fn at_most_since(&self, earlier: &Moment) -> Option<Duration> {
        (self.boot == earlier.boot).then(|| self.elapsed.since(earlier.elapsed).max(self.wall.since(earlier.wall)))
    }

    /// The time since `earlier`, by the elapsed clock. Returns `None` when `earlier` belongs to another boot.
    pub fn elapsed_since(&self, earlier: &Moment) -> Option<Duration> {
        (self.boot == earlier.boot).then(|| self.elapsed.since(earlier.elapsed))
    }
}

/// A random fraction in `[0, 1)`, drawn by the driver. The machines take randomness as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter(u16);

impl Jitter {
    /// The fraction `numerator / 65,536`.
    pub const fn new(numerator: u16) -> Self {
        Self(numerator)
    }

    /// This fraction of `span`, to the millisecond.
    pub fn of(self, span: Duration) -> Duration {
        let part = u128::from(self.0) * u128::from(millis(span)) / (u128::from(u16::MAX) + 1);
        Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// The input that a driver passes to a machine with each event, namely the present moment and a random fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The present moment, on both clocks.
    pub moment: Moment,
    /// A random fraction, drawn for each event.
    pub jitter: Jitter,
}

impl Now {
    /// The elapsed clock's time. The machines keep their timers and deadlines in it.
    pub fn elapsed(&self) -> ElapsedTime {
        self.moment.elapsed
    }
}

/// Whole milliseconds, rounded up, so that no timer is due too early.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: u64, elapsed: u64, boot: u128) -> Moment {
        Moment { wall: WallTime::from_millis(wall), elapsed: ElapsedTime::from_millis(elapsed), boot: BootId(boot) }
    }

    #[test]
    fn the_clock_that_shows_more_bounds_the_age() {
        let mark = moment(1_000, 50, 1);
        assert_eq!(moment(4_000, 60, 1).at_most_since(&mark), Some(Duration::from_millis(3_000)));
        assert_eq!(moment(0, 90, 1).at_most_since(&mark), Some(Duration::from_millis(40)));
        assert_eq!(moment(4_000, 60, 2).at_most_since(&mark), None);
        assert_eq!(moment(4_000, 60, 1).elapsed_since(&mark), Some(Duration::from_millis(10)));
        assert_eq!(moment(4_000, 60, 2).elapsed_since(&mark), None);
    }

    #[test]
    fn jitter_is_a_fraction_of_the_span() {
        let span = Duration::from_secs(60);
        assert_eq!(Jitter::new(0).of(span), Duration::ZERO);
        assert_eq!(Jitter::new(32_768).of(span), Duration::from_secs(30));
        assert!(Jitter::new(u16::MAX).of(span) < span);
        assert_eq!(Jitter::new(32_768).of(Duration::MAX), Duration::from_millis(u64::MAX / 2));
    }

    #[test]
    fn elapsed_time_saturates() {
        assert_eq!(ElapsedTime::from_millis(5).after(Duration::MAX).as_millis(), u64::MAX);
        assert_eq!(ElapsedTime::from_millis(5).before(Duration::from_millis(2)).as_millis(), 3);
        assert_eq!(ElapsedTime::from_millis(5).after(Duration::from_micros(1)).as_millis(), 6);
        assert_eq!(ElapsedTime::from_millis(5).before(Duration::MAX).as_millis(), 0);
        assert_eq!(ElapsedTime::from_millis(5).since(ElapsedTime::from_millis(9)), Duration::ZERO);
        assert_eq!(WallTime::from_millis(9).since(WallTime::from_millis(5)), Duration::from_millis(4));
        assert_eq!(WallTime::from_millis(5).since(WallTime::from_millis(9)), Duration::ZERO);
    }
}
