//! A fault that passes within a caller's patience is not its business (laws 7 and 8).

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::profile::Trouble;
use tokenkeeper_actors::law::session::{Ask, Failure, Policy, RefreshPolicy, SessionEvent};
use tokenkeeper_actors::values::Reason;

use super::support::{HOUR, Story, ms, s};

/// A session whose token has expired.
fn expired() -> Story {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story
}

const RETRYING: bool = true;
const GIVEN_UP: bool = false;

fn failure(reason: Reason, retrying: bool) -> [Failure; 1] {
    [Failure { reason, retrying }]
}

#[test]
fn a_caller_waits_over_a_fault_that_passes() {
    let passing = [Reason::Unreachable, Reason::Untrusted, Reason::ServerTrouble, Reason::Throttled, Reason::InDoubt];
    for reason in passing.into_iter().chain([Reason::Aborted]) {
        let mut story = expired();
        story.asks(1);
        assert_eq!(story.fails(reason), ["publish"], "{reason}");
        assert_eq!(story.notes(), failure(reason, RETRYING));
        assert_eq!(story.sleeps_for(), Some(ms(125)));
        assert_eq!(story.ticks_after(ms(125)), ["publish", "fly for expiry"]);
        assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
        assert_eq!(story.flights(), 2);
    }
}

#[test]
fn a_fault_that_does_not_pass_by_itself_is_told_at_once() {
    for reason in [
        Reason::RequestRefused,
        Reason::Contended,
        Reason::StoreTrouble,
        Reason::ClaimsUnsupported,
        Reason::SourceMissing,
        Reason::ExpiredOnArrival,
    ] {
        let mut story = expired();
        story.asks(1);
        assert_eq!(story.fails(reason).count("1 is told"), 1, "{reason}");
        assert_eq!(story.notes(), failure(reason, GIVEN_UP));
    }
}

/// The pauses between the attempts for a caller with endless patience, in milliseconds, until it learns of the failure.
fn pauses(reason: Reason) -> Vec<u128> {
    let mut story = expired();
    story.asks_within(1, Duration::MAX);
    let mut pauses = Vec::new();
    while story.fails(reason).count("1 is told") == 0 {
        assert_eq!(story.notes(), failure(reason, RETRYING));
        let began = story.at.elapsed;
        assert_eq!(story.idles(HOUR), ["publish", "fly for expiry"]);
        pauses.push(story.at.elapsed.since(began).as_millis());
    }
    assert_eq!(story.notes(), failure(reason, GIVEN_UP));
    pauses
}

#[test]
fn there_are_eight_attempts_and_the_pauses_between_them_double_up_to_five_seconds() {
    // Half of each, with the entropy at zero.
    assert_eq!(pauses(Reason::Unreachable), [125, 250, 500, 1_000, 2_000, 2_500, 2_500]);
    assert_eq!(pauses(Reason::InDoubt), [125, 250, 500, 1_000, 2_000, 2_500, 2_500]);
}

#[test]
fn a_flight_that_sent_two_requests_has_made_two_attempts() {
    let mut story = expired();
    story.asks_within(1, Duration::MAX);
    for attempts in [2, 4, 6, 8] {
        let outcome = Outcome::Failed(Trouble::new(Reason::InDoubt));
        let told =
            story.reports(Report::Landed(Landing { outcome, view: story.store.view(), keeping: false, requests: 2 }));
        assert_eq!(told.count("1 is told"), usize::from(attempts == 8), "after {attempts}");
        if attempts < 8 {
            assert_eq!(story.idles(HOUR), ["publish", "fly for expiry"]);
        }
    }
}

#[test]
fn a_caller_that_cannot_outlast_the_pause_is_told_at_once_when_to_come_back() {
    let mut story = expired();
    story.asks_within(1, ms(100));
    story.asks_within(2, ms(125));
    story.asks_within(3, ms(126));
    assert_eq!(
        story.fails(Reason::Unreachable),
        ["publish", "1 is told unreachable, 125 ms", "2 is told unreachable, 125 ms"]
    );
    assert_eq!(story.notes(), failure(Reason::Unreachable, RETRYING));
    // A caller that comes within the pause is treated alike.
    story.passes(ms(25));
    assert_eq!(story.asks_within(4, ms(100)), ["4 is told unreachable, 100 ms"]);
    assert_eq!(story.asks_within(5, ms(101)), []);
    assert_eq!(story.ticks_after(ms(100)), ["publish", "fly for expiry"]);
    assert_eq!(story.mints(HOUR), ["publish", "3 gets 1.2", "5 gets 1.2"]);
}

#[test]
fn a_retry_after_within_the_callers_patience_is_waited_out() {
    for reason in [Reason::Throttled, Reason::ServerTrouble, Reason::InDoubt] {
        let mut story = expired();
        story.asks_within(1, s(20));
        story.asks_within(2, s(21));
        let told = story.fails_for(reason, s(20));
        assert_eq!(told, ["publish", &format!("1 is told {reason}, 20000 ms")]);
        assert_eq!(story.ticks_after(s(20) - ms(1)), []);
        assert_eq!(story.ticks_after(ms(1)), ["publish", "fly for expiry"]);
        assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2"]);
    }
}

#[test]
fn a_caller_that_wants_to_fail_fast_takes_the_first_failure() {
    let mut story = expired();
    let fast = Ask { fail_fast: true, ..story.ask() };
    assert_eq!(story.asks_for(1, fast), ["publish", "fly for expiry"]);
    assert_eq!(story.asks(2), []);
    assert_eq!(story.fails(Reason::Unreachable), ["publish", "1 is told unreachable, 125 ms"]);
    // No attempt is made for it while the session rests.
    assert_eq!(story.asks_for(3, fast), ["3 is told unreachable, 125 ms"]);
    assert_eq!(story.ticks_after(ms(125)), ["publish", "fly for expiry"]);
    assert_eq!(story.asks_for(4, Ask { fail_fast: true, ..story.ask() }), []);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2", "4 gets 1.2"]);
}

#[test]
fn if_all_callers_fail_fast_there_is_no_second_attempt() {
    let mut story = expired();
    let fast = Ask { fail_fast: true, ..story.ask() };
    story.asks_for(1, fast);
    assert_eq!(story.fails(Reason::Unreachable), ["publish", "1 is told unreachable, 500 ms"]);
    assert_eq!(story.notes(), failure(Reason::Unreachable, GIVEN_UP));
    assert_eq!(story.session.next_wake(), None);
}

#[test]
fn after_the_last_attempt_the_session_rests_and_the_next_callers_have_eight_of_their_own() {
    let policy = Policy { max_attempts: 2, ..Policy::default() };
    let mut story = Story::signed_in(HOUR, policy);
    story.passes(HOUR);
    for pause in [500, 1_000, 2_000] {
        assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
        assert_eq!(story.fails(Reason::Unreachable), ["publish"]);
        assert_eq!(story.ticks_after(ms(125)), ["publish", "fly for expiry"]);
        assert_eq!(story.fails(Reason::Unreachable), ["publish", &format!("1 is told unreachable, {pause} ms")]);
        story.passes(ms(pause));
    }
}

#[test]
fn callers_that_left_take_their_attempts_with_them() {
    let policy = Policy { max_attempts: 2, ..Policy::default() };
    let mut story = Story::signed_in(HOUR, policy);
    story.passes(HOUR);
    story.asks(1);
    assert_eq!(story.fails(Reason::Unreachable), ["publish"]);
    story.leaves(1);
    story.passes(ms(125));
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
    assert_eq!(story.fails(Reason::Unreachable), ["publish"], "the first attempt for this caller");
    assert_eq!(story.ticks_after(ms(125)), ["publish", "fly for expiry"]);
    assert_eq!(story.fails(Reason::Unreachable).count("2 is told"), 1);
}

#[test]
fn the_attempts_outlive_the_actor() {
    let mut story = expired();
    story.asks(1);
    story.fails(Reason::Unreachable);
    story.restarts();
    story.reads();
    assert_eq!(story.asks(1), []);
    assert_eq!(story.ticks_after(ms(125)), ["publish", "fly for expiry"]);
    // The second pause is longer than the first.
    story.fails(Reason::Unreachable);
    assert_eq!(story.sleeps_for(), Some(ms(250)));
}

#[test]
fn a_lease_that_is_still_good_is_handed_out_rather_than_waited_over() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.asks_to_have(2, s(1));
    assert_eq!(story.fails(Reason::Unreachable), ["publish"]);
    assert_eq!(story.asks(3), ["3 gets 1.1"]);
    assert_eq!(story.ticks_after(ms(125)), ["publish", "fly for force"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
}

#[test]
fn background_work_has_the_long_pauses() {
    let warm = Policy { refresh: RefreshPolicy::KeepWarm { inactivity: None }, ..Policy::default() };
    let mut story = Story::signed_in(HOUR, warm);
    story.idles(2 * HOUR);
    assert_eq!(story.fails(Reason::Unreachable), ["publish"]);
    assert_eq!(story.notes(), failure(Reason::Unreachable, GIVEN_UP));
    assert_eq!(story.sleeps_for(), Some(ms(500)));
}

#[test]
fn a_shutdown_or_a_logout_ends_the_wait() {
    let mut story = expired();
    story.asks(1);
    story.fails(Reason::Unreachable);
    assert_eq!(story.does(SessionEvent::Shutdown).quietly(), ["1 is told shutting_down"]);

    let mut story = expired();
    story.asks(1);
    story.fails(Reason::Unreachable);
    assert_eq!(story.logs_out(1).count("1 is told logged_out"), 1);
}

#[test]
fn a_flight_that_keeps_its_token_leaves_no_room_for_another_attempt() {
    let mut story = expired();
    story.asks(1);
    let landing = Landing {
        outcome: Outcome::Failed(Trouble::new(Reason::Unreachable)),
        view: story.store.view(),
        keeping: true,
        requests: 1,
    };
    assert_eq!(story.reports(Report::Landed(landing)), ["publish", "1 is told unreachable, 500 ms"]);
    assert_eq!(story.notes(), []);
}
