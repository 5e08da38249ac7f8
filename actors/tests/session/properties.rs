//! Random events in random order. Nothing panics, each caller is answered once, memory is bounded, and one flight runs
//! at a time.
//!
//! The audit of every story checks most of it. Completions come late, twice, never, and for the wrong question. Clocks
//! step and stop.

use proptest::prelude::*;

use tokenkeeper_actors::law::session::Policy;

use super::acts::{Act, Answer, WAITERS_MOST, act, policy};
use super::improvised::Improvised;
use super::support::Store;

/// There is no file of regressions. A failure prints its story, which should become a test of its own.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_everyone_is_answered_once_and_never_with_what_was_refused(
        policy in policy(),
        signed_in in prop::bool::weighted(0.8),
        read in prop::bool::weighted(0.8),
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut play = Improvised::begins(Store::default(), signed_in, policy);
        if read {
            play.read(Answer::Given);
        }
        for act in acts {
            play.plays(act);
        }
        play.ends();
    }

    #[test]
    fn however_many_come_memory_and_effects_are_bounded(
        asks in prop::collection::vec((0..1_000_u64, any::<bool>()), 1..300),
        acts in prop::collection::vec(act(), 1..20),
    ) {
        let policy = Policy { max_waiters: WAITERS_MOST, ..Policy::default() };
        let mut play = Improvised::begins(Store::default(), true, policy);
        play.read(Answer::Given);
        for act in acts {
            for (timeout, force) in &asks[..asks.len().min(20)] {
                play.plays(Act::Ask { late: 0, timeout: *timeout, min_lifetime: 0, force: *force });
            }
            play.plays(act);
        }
        play.ends();
    }
}
