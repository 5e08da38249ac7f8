//! Runs a thousand fixed schedules, and shows that the checks find planted faults.

use tokenkeeper_simulation::{Planted, Schedule, Tally, shrink};

/// More can run on demand: `cargo run --release -p tokenkeeper-simulation -- --schedules 100000`.
const SCHEDULES: u64 = 1_000;

#[test]
fn no_schedule_breaks_a_law() {
    let mut tally = Tally::default();
    for seed in 1..=SCHEDULES {
        let outcome = Schedule::new(seed).run(false);
        tally.add(&outcome.tally);
        assert_eq!(outcome.breach, None, "see `tokenkeeper-simulation --replay {seed}`");
    }
    let rows: Vec<(String, u64)> = tally.rows().collect();
    let count = |kind: &str| rows.iter().find(|(word, _)| word == kind).map_or(0, |(_, count)| *count);
    // Schedules without faults would show nothing.
    for kind in [
        "tokens minted",
        "answers lost",
        "failures that callers waited out",
        "in doubt: repeated by the flight that lost the answer",
        "processes crashed",
        "degraded flights",
        "hosts suspended",
        "futile refusals",
    ] {
        assert!(count(kind) > 0, "no {kind}");
    }
}

#[test]
fn more_lineages_survive_a_lost_answer_than_by_the_rule_before() {
    let mut tally = Tally::default();
    (1..=SCHEDULES).for_each(|seed| tally.add(&Schedule::new(seed).run(false).tally));
    let mut sums = [0; 4];
    for (kind, counts) in tally.survivals() {
        let [lost, spent, before, now] = counts;
        assert!(spent <= lost && before <= lost && now <= lost, "{kind}: {counts:?}");
        // A short grace period forgives only the prompt repeat.
        let forgives = !["strict", "grace of 0 s", "access token only", "same refresh token again"].contains(&&*kind);
        assert!(!forgives || lost > 0 && now > before, "{kind}: {counts:?}");
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [_, spent, before, now] = sums;
    assert!(spent > 0 && now > before, "{sums:?}");
}

#[test]
fn a_seed_replays_to_the_byte() {
    for seed in 1..=40 {
        let (first, second) = (Schedule::new(seed).run(true), Schedule::new(seed).run(true));
        assert_eq!(first.story, second.story, "seed {seed}");
        assert_eq!(first.digest, Schedule::new(seed).run(false).digest, "a story changes nothing: seed {seed}");
        assert!(first.story.lines().count() > 10);
    }
}

#[expect(clippy::expect_used, reason = "a test's way of failing")]
/// The first seed under which a planted fault is found.
fn found(planted: Planted) -> (u64, Schedule, String) {
    let broken = (1..=3_000).find_map(|seed| {
        let schedule = Schedule::new(seed).with(planted);
        let breach = schedule.run(false).breach?;
        Some((seed, schedule, breach.what.to_owned()))
    });
    broken.expect("a planted fault is found")
}

#[test]
fn planted_faults_are_found() {
    for (planted, what) in [
        (Planted::MarkSkipped, "a refresh token leaves without a mark in the store"),
        (Planted::FloorForgotten, "a refused lease, or an older one, is handed out"),
        (Planted::ReleasedOnBreak, "a claim is ended as settled while its flight's mark is there"),
        (Planted::AnsweredTwice, "a waiter is answered that does not wait"),
    ] {
        assert_eq!(found(planted).2, what);
    }
}

#[test]
fn what_breaks_a_law_is_shrunk_and_told() {
    let (_, schedule, what) = found(Planted::MarkSkipped);
    let small = shrink(&schedule);
    assert!(small.events() <= schedule.events());
    assert!(small.events() <= 3, "{}", small.describe());
    let outcome = small.run(true);
    assert_eq!(outcome.breach.map(|breach| breach.what.to_owned()), Some(what));
    assert!(outcome.story.contains("BROKEN"), "{}", outcome.story);
}
