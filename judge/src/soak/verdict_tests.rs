use super::*;

fn setting() -> SoakSetting {
    SoakSetting {
        server: "http://127.0.0.1:1/mcp".into(),
        processes: 8,
        callers: 32,
        seconds: 60.0,
        lifetime_seconds: 2.0,
        kills: true,
        faults: false,
        never_replay: false,
        seed: 1,
        interrupted: false,
    }
}

fn clean() -> TargetCounts {
    TargetCounts { token_requests: 39, most_concurrent: 1, rotations: 39, alive: true, ..TargetCounts::default() }
}

const T: Duration = Duration::from_secs(10);

#[test]
fn a_soak_in_which_nothing_happened_breaks_nothing() {
    let verdict = SoakVerdict::new(setting(), SoakCounts { saved: 39, ..SoakCounts::default() }, &clean());
    assert_eq!((verdict.broken.len(), verdict.token_requests_allowed, verdict.replays_allowed), (0, 41, 0));
}

#[test]
fn every_token_request_is_counted_as_one_of_three_kinds() {
    let mut counts = SoakCounts { saved: 30, ..SoakCounts::default() };
    [true, false, false, true, false].into_iter().for_each(|own| counts.add_token(own));
    let target = TargetCounts { token_requests: 39, rotations: 32, ..clean() };
    let verdict = SoakVerdict::new(setting(), counts, &target);
    assert_eq!((verdict.counts.expiries, verdict.counts.adoptions), (5, 3));
    assert_eq!(
        (verdict.token_requests_used, verdict.token_requests_unused, verdict.token_requests_in_vain),
        (2, 30, 7)
    );
}

#[test]
fn every_broken_law_is_named() {
    let broken = |counts: SoakCounts, target: TargetCounts| SoakVerdict::new(setting(), counts, &target).broken;
    let counts = SoakCounts::default;
    for (counts, target, says) in [
        (counts(), TargetCounts { most_concurrent: 2, ..clean() }, "token requests at once: 2"),
        (counts(), TargetCounts { token_requests: 42, ..clean() }, "token requests: 42, at most 41 allowed"),
        (counts(), TargetCounts { replays: 1, chains_revoked: 1, ..clean() }, "replays: 1, at most 0 allowed"),
        (
            SoakCounts { logins_required: 2, logins_explained: 1, ..counts() },
            clean(),
            "logins required without a death that explains them: 1",
        ),
        (
            SoakCounts { logins_required: 1, logins_explained: 1, ended: 1, ..counts() },
            clean(),
            "grants that the server ended though no spent token was presented: 1",
        ),
        (SoakCounts { died_otherwise: 1, ..counts() }, clean(), "processes that died, or did not end in good order: 1"),
        (SoakCounts { unreadable: vec!["broken".into()], ..counts() }, clean(), "the home could not be read: broken"),
    ] {
        assert_eq!(broken(counts, target), [says]);
    }
    let mut failed = counts();
    failed.add_failure("store_trouble".into());
    failed.add_failure("deadline_passed".into());
    failed.add_failure("store_trouble".into());
    assert_eq!(broken(failed, clean()), ["callers that failed: 3 (deadline_passed 1, store_trouble 2)"]);
    let calm = SoakSetting { kills: false, ..setting() };
    let held_up = SoakVerdict::new(calm, SoakCounts { held_up: 5, ..counts() }, &clean()).broken;
    assert_eq!(held_up, ["calls that waited for a login though no process was killed: 5"]);
}

#[test]
fn a_replay_needs_a_death_and_an_answer_that_died_with_it() {
    let broken = |stage, target: TargetCounts, never_replay| {
        let mut counts = SoakCounts { saved: 38, ..SoakCounts::default() };
        counts.add_killed(T, stage);
        SoakVerdict::new(SoakSetting { never_replay, ..setting() }, counts, &target).broken
    };
    let replayed = TargetCounts { replays: 1, chains_revoked: 1, ..clean() };
    for stage in [FlightStage::Sending, FlightStage::Answered, FlightStage::Saving] {
        assert!(broken(stage, replayed, false).is_empty(), "{stage:?}");
        assert_eq!(broken(stage, replayed, true), ["replays: 1, at most 0 allowed"]);
        // The server has given no answer that is lost.
        let unanswered = TargetCounts { rotations: 38, ..replayed };
        assert_eq!(broken(stage, unanswered, false), ["replays: 1, at most 0 allowed"]);
        // Nor is it to be presented a third time.
        let twice = TargetCounts { replays: 2, ..replayed };
        assert_eq!(broken(stage, twice, false).len(), 2, "{stage:?}");
    }
    for stage in [FlightStage::Idle, FlightStage::Marking, FlightStage::Marked, FlightStage::Saved] {
        assert_eq!(broken(stage, replayed, false), ["replays: 1, at most 0 allowed"], "{stage:?}");
    }
}

/// A process that is killed leaves its request with the server. A fault costs one request more.
#[test]
fn a_killed_processes_request_and_a_fault_explain_one_request_more() {
    let with = |stage| {
        let mut counts = SoakCounts { saved: 39, ..SoakCounts::default() };
        counts.add_killed(T, stage);
        counts
    };
    let two = TargetCounts { most_concurrent: 2, ..clean() };
    assert!(SoakVerdict::new(setting(), with(FlightStage::Sending), &two).broken.is_empty());
    for stage in [FlightStage::Marked, FlightStage::Answered] {
        assert_eq!(SoakVerdict::new(setting(), with(stage), &two).broken, ["token requests at once: 2"]);
    }
    let three = TargetCounts { most_concurrent: 3, ..clean() };
    let broken = SoakVerdict::new(setting(), with(FlightStage::Sending), &three).broken;
    assert_eq!(broken, ["token requests at once: 3"]);
    let faulty = TargetCounts { token_requests: 45, faults: 4, ..clean() };
    assert!(SoakVerdict::new(setting(), SoakCounts::default(), &faulty).broken.is_empty());
}

#[test]
fn a_login_is_explained_by_deaths_of_its_own_time_alone() {
    let after = |deaths: &[FlightStage]| {
        let mut counts = SoakCounts::default();
        deaths.iter().for_each(|stage| counts.add_killed(T, *stage));
        counts
    };
    use FlightStage::{Answered, Idle, Marked, Saved, Sending};
    for (deaths, reason, never_replay, explained) in [
        (&[][..], "grant_ended", false, false),
        (&[Answered], "grant_ended", false, true),
        (&[Answered], "grant_ended", true, false),
        (&[Marked], "grant_ended", false, false),
        (&[Marked], "maybe_consumed", true, true),
        (&[Idle, Saved], "maybe_consumed", true, false),
        (&[Sending], "maybe_consumed", false, false),
        (&[Sending, Marked], "maybe_consumed", false, false),
        (&[Sending, Sending], "never_signed_in", false, false),
    ] {
        assert_eq!(after(deaths).add_required_login(reason, never_replay), explained, "{deaths:?} {reason}");
    }
    let mut signed_in = after(&[Answered]);
    signed_in.end_doubts();
    assert!(!signed_in.add_required_login("grant_ended", false));
    let mut settled = after(&[Answered]);
    settled.add_saved(T + Duration::from_secs(2));
    assert!(settled.clone().add_required_login("grant_ended", false), "that commit was about an earlier token");
    settled.add_saved(T + Duration::from_secs(7));
    assert!(!settled.add_required_login("grant_ended", false));
    assert_eq!((settled.logins_required, settled.logins_explained), (1, 0));
}
