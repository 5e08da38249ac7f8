use super::*;

fn circumstances() -> Circumstances {
    Circumstances {
        server: "http://127.0.0.1:1/mcp".into(),
        processes: 8,
        callers: 32,
        seconds: 60.0,
        lifetime_seconds: 2.0,
        kills: true,
        never_replay: false,
        seed: 1,
        interrupted: false,
    }
}

fn clean() -> Tally {
    Tally { token_requests: 39, most_concurrent: 1, rotations: 39, alive: true, ..Tally::default() }
}

const T: Duration = Duration::from_secs(10);

#[test]
fn a_storm_in_which_nothing_happened_breaks_nothing() {
    let verdict = Verdict::new(circumstances(), Account { saved: 39, ..Account::default() }, &clean());
    assert_eq!((verdict.broken.len(), verdict.token_requests_allowed, verdict.replays_allowed), (0, 41, 0));
}

#[test]
fn every_token_request_is_counted_as_one_of_three_kinds() {
    let mut account = Account { saved: 30, ..Account::default() };
    [true, false, false, true, false].into_iter().for_each(|own| account.token(own));
    let tally = Tally { token_requests: 39, rotations: 32, ..clean() };
    let verdict = Verdict::new(circumstances(), account, &tally);
    assert_eq!((verdict.account.expiries, verdict.account.adoptions), (5, 3));
    assert_eq!(
        (verdict.token_requests_used, verdict.token_requests_unused, verdict.token_requests_in_vain),
        (2, 30, 7)
    );
}

#[test]
fn every_broken_law_is_named() {
    let broken = |account: Account, tally: Tally| Verdict::new(circumstances(), account, &tally).broken;
    let account = Account::default;
    for (account, tally, says) in [
        (account(), Tally { most_concurrent: 2, ..clean() }, "token requests at once: 2"),
        (account(), Tally { token_requests: 42, ..clean() }, "token requests: 42, at most 41 allowed"),
        (account(), Tally { replays: 1, chains_revoked: 1, ..clean() }, "replays: 1, at most 0 allowed"),
        (
            Account { logins_required: 2, logins_explained: 1, ..account() },
            clean(),
            "logins required without a death that explains them: 1",
        ),
        (
            Account { logins_required: 1, logins_explained: 1, ended: 1, ..account() },
            clean(),
            "grants that the server ended though no spent token was presented: 1",
        ),
        (Account { died_otherwise: 1, ..account() }, clean(), "processes that died, or did not end in good order: 1"),
        (Account { unreadable: vec!["broken".into()], ..account() }, clean(), "the home could not be read: broken"),
    ] {
        assert_eq!(broken(account, tally), [says]);
    }
    let mut failed = account();
    failed.failed("store_trouble".into());
    failed.failed("deadline_passed".into());
    failed.failed("store_trouble".into());
    assert_eq!(broken(failed, clean()), ["callers that failed: 3 (deadline_passed 1, store_trouble 2)"]);
    let calm = Circumstances { kills: false, ..circumstances() };
    let held_up = Verdict::new(calm, Account { held_up: 5, ..account() }, &clean()).broken;
    assert_eq!(held_up, ["calls held up though nobody was killed: 5"]);
}

#[test]
fn a_replay_needs_a_death_and_an_answer_that_died_with_it() {
    let broken = |step, tally: Tally, never_replay| {
        let mut account = Account { saved: 38, ..Account::default() };
        account.died(T, step);
        Verdict::new(Circumstances { never_replay, ..circumstances() }, account, &tally).broken
    };
    let replayed = Tally { replays: 1, chains_revoked: 1, ..clean() };
    for step in [Step::Sending, Step::Answered, Step::Saving] {
        assert!(broken(step, replayed, false).is_empty(), "{step:?}");
        assert_eq!(broken(step, replayed, true), ["replays: 1, at most 0 allowed"]);
        // The server has given no answer that is lost.
        let unanswered = Tally { rotations: 38, ..replayed };
        assert_eq!(broken(step, unanswered, false), ["replays: 1, at most 0 allowed"]);
        // Nor is it to be presented a third time.
        let twice = Tally { replays: 2, ..replayed };
        assert_eq!(broken(step, twice, false).len(), 2, "{step:?}");
    }
    for step in [Step::Idle, Step::Marking, Step::Marked, Step::Saved] {
        assert_eq!(broken(step, replayed, false), ["replays: 1, at most 0 allowed"], "{step:?}");
    }
}

#[test]
fn a_login_is_explained_by_deaths_of_its_own_time_alone() {
    let after = |deaths: &[Step]| {
        let mut account = Account::default();
        deaths.iter().for_each(|step| account.died(T, *step));
        account
    };
    use Step::{Answered, Idle, Marked, Saved, Sending};
    for (deaths, reason, never_replay, explained) in [
        (&[][..], "grant_ended", false, false),
        (&[Answered], "grant_ended", false, true),
        (&[Answered], "grant_ended", true, false),
        (&[Marked], "grant_ended", false, false),
        (&[Marked], "maybe_consumed", true, true),
        (&[Idle, Saved], "maybe_consumed", true, false),
        (&[Sending], "maybe_consumed", false, false),
        (&[Sending, Marked], "maybe_consumed", false, true),
        (&[Sending, Sending], "never_signed_in", false, false),
    ] {
        assert_eq!(after(deaths).login_required(reason, never_replay), explained, "{deaths:?} {reason}");
    }
    let mut signed_in = after(&[Answered]);
    signed_in.signed_in();
    assert!(!signed_in.login_required("grant_ended", false));
    let mut settled = after(&[Answered]);
    settled.saved(T + Duration::from_secs(2));
    assert!(settled.clone().login_required("grant_ended", false), "that commit was about an earlier token");
    settled.saved(T + Duration::from_secs(7));
    assert!(!settled.login_required("grant_ended", false));
    assert_eq!((settled.logins_required, settled.logins_explained), (1, 0));
}
