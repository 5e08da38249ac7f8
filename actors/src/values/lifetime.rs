//! Expiry on two clocks (law 14). The earlier one wins, and a wall clock that steps back never extends a token.

use std::time::Duration;

use super::time::{BootId, ElapsedTime, Moment, WallTime};

/// The longest lifetime accepted. A longer one from an authorization server is shortened to this.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far another host's wall clock may be ahead of this host's. An anchor further in the future is not trusted.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The time of a token's request, and the token's lifetime from then on.
///
/// The anchor is the *start of the request* that brought the token, so a slow answer never makes the token seem younger
/// than it is. RFC 6749 section 5.1 (`expires_in`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    anchored: Moment,
    lifetime: Option<Duration>,
}

impl Validity {
    /// A validity of `lifetime` from `anchored` on.
    ///
    /// `None` and zero both mean *unknown*. The token is then used until it is refused. (Some servers send `0` for
    /// "not limited", some by mistake. Taken literally, it would cause a refresh for every call.) A lifetime of more
    /// than ten years counts as ten years.
    pub fn new(anchored: Moment, lifetime: Option<Duration>) -> Self {
        let lifetime = lifetime.filter(|span| !span.is_zero()).map(|span| span.min(MAX_LIFETIME));
        Self { anchored, lifetime }
    }

    /// The start of the request that brought the token.
    pub fn anchored(&self) -> Moment {
        self.anchored
    }

    /// The whole lifetime, or `None` if it is unknown.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// The time left at `now`. It is the smaller remainder of the two clocks, zero when expired, `None` when unknown.
    ///
    /// In another boot (after a restart, or on another host) only the wall clock counts. An anchor more than a minute
    /// in the future is then not trusted, and no time is left.
    pub fn remaining(&self, now: &Moment) -> Option<Duration> {
        let lifetime = self.lifetime?;
        let age = match now.elapsed_since(&self.anchored) {
            Some(elapsed) => elapsed.max(now.wall.since(self.anchored.wall)),
            None if self.anchored.wall.since(now.wall) > CLOCK_SKEW => lifetime,
            None => now.wall.since(self.anchored.wall),
        };
        Some(lifetime.saturating_sub(age))
    }

    /// Whether more than `need` is left at `now`. An unknown lifetime outlasts every need.
    pub fn outlasts(&self, need: Duration, now: &Moment) -> bool {
        self.remaining(now).is_none_or(|left| left > need)
    }

    /// Whether the token may be handed out at `now`. More than `margin` must be left, or more than a quarter of its
    /// lifetime if that is less.
    pub fn is_good(&self, margin: Duration, now: &Moment) -> bool {
        let margin = self.lifetime.map_or(margin, |lifetime| margin.min(lifetime / 4));
        self.outlasts(margin, now)
    }

    /// The same anchor with a lifetime shorter by `margin`. This is the window in which a lease is handed out without
    /// further checks. A margin that leaves nothing gives a window that has ended already.
    pub fn shortened(&self, margin: Duration) -> Self {
        let lifetime = self.lifetime.map(|span| span.saturating_sub(margin).max(Duration::from_millis(1)));
        Self { anchored: self.anchored, lifetime }
    }
}

/// A [`Validity`] as plain limits for the clocks of one boot, so that a check takes a few comparisons. It does not
/// store the boot, because it never leaves the process that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    elapsed_before: ElapsedTime,
    wall_from: WallTime,
    wall_before: WallTime,
}

impl Window {
    /// The limits of `validity` for clocks of `boot`. At every moment of that boot the window is open exactly while
    /// `validity` has time left.
    pub fn of(validity: &Validity, boot: BootId) -> Self {
        let Validity { anchored, lifetime } = *validity;
        let always = Self {
            elapsed_before: ElapsedTime::from_millis(u64::MAX),
            wall_from: WallTime::default(),
            wall_before: WallTime::from_millis(u64::MAX),
        };
        let Some(lifetime) = lifetime else { return always };
        let wall_before = anchored.wall.after(lifetime);
        if anchored.boot == boot {
            Self { elapsed_before: anchored.elapsed.after(lifetime), wall_before, ..always }
        } else {
            Self { wall_from: anchored.wall.before(CLOCK_SKEW), wall_before, ..always }
        }
    }

    /// The time from `now` until the window closes, by the clock that leaves less. Returns `None` if it never closes.
    pub fn remaining(&self, now: &Moment) -> Option<Duration> {
        if !self.is_open(now) {
            return Some(Duration::ZERO);
        }
        let elapsed = Some(self.elapsed_before).filter(|limit| limit.as_millis() < u64::MAX);
        let wall = Some(self.wall_before).filter(|limit| limit.as_millis() < u64::MAX);
        let elapsed = elapsed.map(|limit| limit.since(now.elapsed));
        let wall = wall.map(|limit| limit.since(now.wall));
        elapsed.into_iter().chain(wall).min()
    }

    /// Whether the window is open at `now`.
    #[inline]
    pub fn is_open(&self, now: &Moment) -> bool {
        now.elapsed < self.elapsed_before && (self.wall_from..self.wall_before).contains(&now.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::{BootId, ElapsedTime, WallTime};
    use super::*;

    use proptest::prelude::{any, prop_oneof};
    use proptest::strategy::{Just, Strategy};

    fn moments() -> impl Strategy<Value = Moment> {
        let millis = || prop_oneof![0..500_000_u64, any::<u64>(), Just(0), Just(u64::MAX)];
        (millis(), millis(), 1..3_u128).prop_map(|(wall, elapsed, boot)| moment(wall, elapsed, boot))
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::default() })]

        #[test]
        fn a_window_is_open_exactly_while_something_is_left(
            anchored in moments(), lifetime in proptest::option::of(0..400_000_u64), now in moments()
        ) {
            let validity = Validity::new(anchored, lifetime.map(Duration::from_millis));
            let open = Window::of(&validity, now.boot).is_open(&now);
            let ends = now.wall.as_millis() == u64::MAX || now.elapsed.as_millis() == u64::MAX;
            assert!(open == validity.outlasts(Duration::ZERO, &now) || !open && ends);
            let far = |at: Moment| at.wall.as_millis().max(at.elapsed.as_millis()) > 1_000_000;
            if !far(now) && !far(anchored) {
                // For a token of another boot, a clock that is a little behind shows more time than the whole
                // lifetime.
                let left = Window::of(&validity, now.boot).remaining(&now);
                assert_eq!(left.zip(validity.lifetime()).map(|(left, all)| left.min(all)), validity.remaining(&now));
            }
        }
    }

    fn moment(wall: u64, elapsed: u64, boot: u128) -> Moment {
        Moment { wall: WallTime::from_millis(wall), elapsed: ElapsedTime::from_millis(elapsed), boot: BootId(boot) }
    }

    const HOUR: u64 = 3_600_000;

    fn an_hour() -> Validity {
        Validity::new(moment(10 * HOUR, HOUR, 1), Some(Duration::from_millis(HOUR)))
    }

    #[test]
    fn the_earlier_clock_wins() {
        let left = |wall, elapsed| an_hour().remaining(&moment(wall, elapsed, 1)).map(|d| d.as_millis() as u64);
        assert_eq!(left(10 * HOUR, HOUR), Some(HOUR));
        assert_eq!(left(10 * HOUR + 10, HOUR + 5), Some(HOUR - 10));
        assert_eq!(left(10 * HOUR + 5, HOUR + 10), Some(HOUR - 10));
        assert_eq!(left(11 * HOUR, HOUR), Some(0));
    }

    #[test]
    fn a_wall_clock_stepping_back_extends_nothing() {
        assert_eq!(an_hour().remaining(&moment(0, 2 * HOUR, 1)), Some(Duration::ZERO));
        assert_eq!(an_hour().remaining(&moment(0, HOUR, 1)), Some(Duration::from_millis(HOUR)));
    }

    #[test]
    fn in_another_boot_the_wall_clock_alone_counts_within_the_skew() {
        assert_eq!(an_hour().remaining(&moment(10 * HOUR + 7, 3, 2)), Some(Duration::from_millis(HOUR - 7)));
        assert_eq!(an_hour().remaining(&moment(10 * HOUR - 60_000, 3, 2)), Some(Duration::from_millis(HOUR)));
        assert_eq!(an_hour().remaining(&moment(10 * HOUR - 60_001, 3, 2)), Some(Duration::ZERO));
    }

    #[test]
    fn absent_zero_and_huge_lifetimes() {
        let at = moment(0, 0, 1);
        assert_eq!(Validity::new(at, None).remaining(&moment(u64::MAX, u64::MAX, 1)), None);
        assert_eq!(Validity::new(at, Some(Duration::ZERO)).lifetime(), None);
        assert_eq!(Validity::new(at, Some(Duration::MAX)).lifetime(), Some(MAX_LIFETIME));
        assert!(Validity::new(at, None).outlasts(Duration::MAX, &at));
    }

    #[test]
    fn a_margin_is_never_more_than_a_quarter_of_the_lifetime() {
        let quarter = HOUR / 4;
        let with_left = |left| moment(11 * HOUR - left, HOUR, 1);
        assert!(an_hour().is_good(Duration::from_millis(quarter * 2), &with_left(quarter + 1)));
        assert!(!an_hour().is_good(Duration::from_millis(quarter * 2), &with_left(quarter)));
        assert!(an_hour().is_good(Duration::from_millis(5), &with_left(6)));
        assert!(!an_hour().is_good(Duration::from_millis(5), &with_left(5)));
    }

    #[test]
    fn outlasting_is_strict_and_shortening_never_means_unknown() {
        let now = moment(10 * HOUR, HOUR, 1);
        assert!(!an_hour().outlasts(Duration::from_millis(HOUR), &now));
        assert!(an_hour().outlasts(Duration::from_millis(HOUR - 1), &now));
        let short = an_hour().shortened(Duration::from_millis(2 * HOUR));
        assert_eq!(short.lifetime(), Some(Duration::from_millis(1)));
        assert_eq!(short.anchored(), an_hour().anchored());
        assert_eq!(Validity::new(now, None).shortened(Duration::MAX).lifetime(), None);
    }
}
