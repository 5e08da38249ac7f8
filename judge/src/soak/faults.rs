//! The faults of processes, drawn from a seed.

use std::time::Duration;

use tokenkeeper::engine::ports::observer::EffectName;

use crate::draws::SeededDraws;
use crate::processes::FlightPoint;

/// The effects of every ordinary flight.
const ORDINARY_EFFECTS: [EffectName; 8] = [
    EffectName::Load,
    EffectName::Claim,
    EffectName::Connect,
    EffectName::Mark,
    EffectName::Send,
    EffectName::Commit,
    EffectName::EndClaim,
    EffectName::Report,
];

/// A fault of one of the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessFault {
    /// One process is killed at any stage of its work.
    Kill,
    /// The first process whose flight reaches this point is killed there.
    KillAt(FlightPoint),
    /// The first process that sends a token request is killed after this time.
    KillSending(Duration),
    /// One process is stopped for this time, which is shorter than a token request may take.
    Stop(Duration),
    /// The first process that sends a token request is stopped for this time, which is longer than a token request may
    /// take. A user signs in anew meanwhile.
    Supersede(Duration),
}

/// Draws the next fault.
pub(super) fn draw_fault(draws: &mut SeededDraws) -> ProcessFault {
    match draws.below(12) {
        0..3 => ProcessFault::Kill,
        3..6 => {
            let effect = draws.of(&ORDINARY_EFFECTS).unwrap_or(EffectName::Send);
            let after = draws.below(2) == 1;
            ProcessFault::KillAt(if after { FlightPoint::after(effect) } else { FlightPoint::before(effect) })
        }
        6..8 => ProcessFault::KillSending(draw_millis(draws, 0, 80)),
        8..11 => ProcessFault::Stop(draw_millis(draws, 50, 1_200)),
        _ => ProcessFault::Supersede(draw_millis(draws, 4_000, 6_000)),
    }
}

/// Draws the pause before the next fault. Some faults follow at once.
pub(super) fn draw_pause(draws: &mut SeededDraws) -> Duration {
    if draws.below(4) == 0 { draw_millis(draws, 0, 100) } else { draw_millis(draws, 200, 1_500) }
}

fn draw_millis(draws: &mut SeededDraws, min: u64, max: u64) -> Duration {
    Duration::from_millis(min + draws.below(max - min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_every_kind_of_them_comes() {
        let drawn = |seed| {
            let mut draws = SeededDraws::new(seed);
            (0..300).map(|_| (draw_fault(&mut draws), draw_pause(&mut draws))).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let some = |is: fn(&ProcessFault) -> bool| drawn(7).iter().any(|(fault, _)| is(fault));
        assert!(some(|fault| matches!(fault, ProcessFault::Kill)));
        assert!(some(|fault| matches!(fault, ProcessFault::KillSending(_))));
        assert!(some(|fault| matches!(fault, ProcessFault::Stop(_))));
        assert!(some(|fault| matches!(fault, ProcessFault::Supersede(_))));
        for effect in ORDINARY_EFFECTS {
            for point in [FlightPoint::before(effect), FlightPoint::after(effect)] {
                assert!(drawn(7).iter().any(|(fault, _)| *fault == ProcessFault::KillAt(point.clone())), "{point:?}");
            }
        }
    }
}
