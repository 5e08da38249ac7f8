//! What is done to processes, drawn from a seed.

use std::time::Duration;

use super::super::faults::mix;
use super::words::{Effect, Point};

/// Something that is done to one of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incident {
    /// One is killed, whatever it does.
    Kill,
    /// The first whose flight comes to this point is killed there.
    KillAt(Point),
    /// The first that sends a token request is killed so much later.
    KillSending(Duration),
    /// One is stopped for this long: shorter than a token request may take.
    Stop(Duration),
    /// The first that sends a token request is stopped for this long, which is longer than a token request may take; and
    /// meanwhile somebody signs in anew.
    Supersede(Duration),
}

/// Draws, the same ones for the same seed.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % bound
    }

    /// One of these, if there is any.
    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(all.len().max(1) as u64)).ok()?;
        all.get(index).copied()
    }

    /// The next incident.
    pub(super) fn incident(&mut self) -> Incident {
        match self.below(12) {
            0..3 => Incident::Kill,
            3..6 => {
                let effect = self.of(&Effect::ALL).unwrap_or(Effect::Send);
                Incident::KillAt(Point { after: self.below(2) == 1, effect })
            }
            6..8 => Incident::KillSending(self.millis(0, 80)),
            8..11 => Incident::Stop(self.millis(50, 1_200)),
            _ => Incident::Supersede(self.millis(4_000, 6_000)),
        }
    }

    /// How long nothing is done before the next one.
    pub(super) fn rest(&mut self) -> Duration {
        self.millis(200, 1_500)
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_incidents_and_every_kind_of_them_comes() {
        let drawn = |seed| {
            let mut draws = Draws::new(seed);
            (0..300).map(|_| (draws.incident(), draws.rest())).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let some = |is: fn(&Incident) -> bool| drawn(7).iter().any(|(incident, _)| is(incident));
        assert!(some(|incident| matches!(incident, Incident::Kill)));
        assert!(some(|incident| matches!(incident, Incident::KillSending(_))));
        assert!(some(|incident| matches!(incident, Incident::Stop(_))));
        assert!(some(|incident| matches!(incident, Incident::Supersede(_))));
        for effect in Effect::ALL {
            for after in [false, true] {
                assert!(drawn(7).iter().any(|(incident, _)| *incident == Incident::KillAt(Point { after, effect })));
            }
        }
    }
}
