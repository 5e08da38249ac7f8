//! The clocks of a simulated host.

use tokenkeeper_actors::values::{BootId, ElapsedTime, Moment, WallTime};

use crate::Millis;

/// A host with its two clocks, its boot and its sleep.
///
/// The elapsed clock keeps true time and counts suspend. The wall clock drifts, and a person can set it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    boots: u32,
    index: u32,
    booted: Millis,
    /// The wall clock shows `wall + (t - set) * (1 + drift)`.
    wall: Millis,
    set: Millis,
    drift_ppm: i64,
    /// The last time at which a person set the wall clock.
    pub(crate) stepped: Option<Millis>,
    /// Set while the host is suspended or down.
    pub(crate) asleep_until: Option<Millis>,
}

/// The approximate wall time at the start of a simulation. It is far above zero, so that it stays positive when a
/// clock is set back.
const EPOCH: Millis = 1_800_000_000_000;

/// The uptime of hosts at the start of a simulation.
const UPTIME: Millis = 5_000_000;

impl Host {
    pub(crate) fn new(index: u32, offset: i64, drift_ppm: i64) -> Self {
        Self {
            boots: 0,
            index,
            booted: 0,
            wall: EPOCH.saturating_add_signed(offset),
            set: 0,
            drift_ppm,
            stepped: None,
            asleep_until: None,
        }
    }

    pub(crate) fn boot(&self) -> BootId {
        BootId((u128::from(self.index) + 1) << 32 | u128::from(self.boots))
    }

    pub(crate) fn elapsed(&self, t: Millis) -> ElapsedTime {
        ElapsedTime::from_millis(t - self.booted + if self.boots == 0 { UPTIME } else { 1_000 })
    }

    fn wall(&self, t: Millis) -> Millis {
        let since = t - self.set;
        let drift = (since as i64).saturating_mul(self.drift_ppm) / 1_000_000;
        (self.wall + since).saturating_add_signed(drift)
    }

    pub(crate) fn moment(&self, t: Millis) -> Moment {
        Moment { wall: WallTime::from_millis(self.wall(t)), elapsed: self.elapsed(t), boot: self.boot() }
    }

    /// The true time at which the elapsed clock will show `elapsed`.
    pub(crate) fn when(&self, elapsed: ElapsedTime) -> Millis {
        let base = if self.boots == 0 { UPTIME } else { 1_000 };
        (elapsed.as_millis() + self.booted).saturating_sub(base)
    }

    pub(crate) fn step(&mut self, t: Millis, by: i64) {
        self.wall = self.wall(t).saturating_add_signed(by);
        self.set = t;
        self.stepped = Some(t);
    }

    pub(crate) fn reboot(&mut self, t: Millis) {
        self.boots += 1;
        self.booted = t;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_drifts_and_steps_and_the_elapsed_clock_does_not() {
        let mut host = Host::new(0, -500, 100);
        let at = |host: &Host, t| (host.moment(t).wall.as_millis() + 500 - EPOCH, host.moment(t).elapsed.as_millis());
        assert_eq!(at(&host, 0), (0, UPTIME));
        assert_eq!(at(&host, 100_000), (100_010, UPTIME + 100_000));
        host.step(100_000, -40);
        assert_eq!(at(&host, 100_000), (99_970, UPTIME + 100_000));
        assert_eq!(host.when(host.elapsed(77)), 77);
        let boot = host.boot();
        host.reboot(200_000);
        assert_ne!(boot, host.boot());
        assert_eq!(host.when(host.elapsed(200_500)), 200_500);
    }
}
