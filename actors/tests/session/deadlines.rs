//! Deadlines (law 7). Each caller is answered by its own, and at once if no token can come before it.

use std::time::Duration;

use tokenkeeper_actors::law::session::{Ask, SessionEvent};
use tokenkeeper_actors::values::Reason;

use super::support::{HOUR, Story, generation, ms, once, s};

/// A session whose token has expired.
fn expired() -> Story {
    let mut story = Story::signed_in(HOUR, once());
    story.passes(HOUR);
    story
}

/// A session whose token has expired, in a pause of a minute after a failure.
fn resting() -> Story {
    let mut story = expired();
    story.asks(1);
    assert_eq!(story.fails_for(Reason::Unreachable, s(60)), ["publish", "1 is told unreachable, 60000 ms"]);
    story
}

#[test]
fn a_deadline_is_met_by_the_tick_that_is_due_then() {
    let mut story = expired();
    story.asks_within(1, s(7));
    assert_eq!(story.sleeps_for(), Some(s(7)));
    assert_eq!(story.ticks_after(s(7) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["1 is told deadline_passed"]);
    assert_eq!(story.ticks(), [], "once");
    // The flight goes on, and the next caller gets its token.
    assert_eq!(story.mints(HOUR), ["publish"]);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn each_caller_has_a_deadline_of_his_own() {
    let mut story = expired();
    for (waiter, timeout) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
        story.asks_within(waiter, s(timeout));
    }
    assert_eq!(story.sleeps_for(), Some(s(10)));
    assert_eq!(story.ticks_after(s(10)), ["2 is told deadline_passed", "4 is told deadline_passed"]);
    assert_eq!(story.leaves(3), []);
    assert_eq!(story.sleeps_for(), Some(s(20)));
    assert_eq!(story.ticks_after(s(20)), ["1 is told deadline_passed"]);
    assert_eq!(story.session.waiting(), 0);
}

#[test]
fn patience_counts_from_when_the_caller_asked() {
    let mut story = expired();
    let ask = Ask { timeout: s(10), ..story.ask() };
    // The mailbox took four seconds.
    story.passes(s(4));
    assert_eq!(story.asks_for(1, ask), ["publish", "fly for expiry"]);
    assert_eq!(story.sleeps_for(), Some(s(6)));
    assert_eq!(story.ticks_after(s(6)), ["1 is told deadline_passed"]);
}

#[test]
fn who_comes_too_late_is_told_at_once_and_sets_nothing_off() {
    let mut story = expired();
    let ask = Ask { timeout: s(10), ..story.ask() };
    story.passes(s(10));
    assert_eq!(story.asks_for(1, ask), ["1 is told deadline_passed"]);
    assert_eq!(story.flights(), 0);
}

#[test]
fn a_token_that_comes_after_the_deadline_and_before_the_tick_is_still_handed_out() {
    let mut story = expired();
    story.asks_within(1, s(5));
    story.passes(s(6));
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
    assert_eq!(story.ticks(), []);
}

#[test]
fn endless_patience_is_no_deadline() {
    let mut story = expired();
    story.asks_within(1, Duration::MAX);
    assert_eq!(story.sleeps_for(), Some(s(60)));
    assert_eq!(story.idles(HOUR), []);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
}

#[test]
fn a_suspend_passes_deadlines_too() {
    let mut story = expired();
    story.asks(1);
    story.sleeps(HOUR);
    assert_eq!(story.ticks(), ["1 is told deadline_passed"]);
}

#[test]
fn the_wall_clock_moves_no_deadline() {
    let mut story = expired();
    story.asks_within(1, s(10));
    story.wall_steps(HOUR.as_millis() as i64);
    assert_eq!(story.ticks(), []);
    story.wall_steps(-3 * HOUR.as_millis() as i64);
    assert_eq!(story.ticks(), []);
    assert_eq!(story.sleeps_for(), Some(s(10)));
}

#[test]
fn who_cannot_outwait_the_rest_is_told_at_once_when_to_come_back() {
    let mut story = resting();
    story.passes(s(10));
    assert_eq!(story.asks_within(2, s(49)), ["2 is told unreachable, 50000 ms"]);
    // The deadline is the time at which the next attempt could begin, so that attempt could not answer the caller.
    assert_eq!(story.asks_within(3, s(50)), ["3 is told unreachable, 50000 ms"]);
    assert_eq!(story.insists(4), ["4 is told unreachable, 50000 ms"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn who_can_outwait_the_rest_waits_and_is_flown_for_when_it_ends() {
    let mut story = resting();
    story.passes(s(10));
    assert_eq!(story.asks_within(2, s(50) + ms(1)), []);
    assert_eq!(story.sleeps_for(), Some(s(50)));
    assert_eq!(story.ticks_after(s(50) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["publish", "fly for expiry"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2"]);
}

#[test]
fn when_the_rest_has_ended_a_caller_is_flown_for_before_any_tick() {
    let mut story = resting();
    story.passes(s(60));
    assert_eq!(story.asks_within(2, ms(1)), ["publish", "fly for expiry"]);
}

#[test]
fn a_throttled_issuer_is_waited_for_or_not_in_the_same_way() {
    let mut story = expired();
    story.does(SessionEvent::Throttled(story.at.elapsed.after(s(20))));
    assert_eq!(story.asks_within(1, s(20)), ["1 is told throttled, 20000 ms"]);
    assert_eq!(story.asks_within(2, s(21)), []);
    assert_eq!(story.sleeps_for(), Some(s(20)));
    assert_eq!(story.ticks_after(s(20)), ["publish", "fly for expiry"]);
}

#[test]
fn of_a_rest_and_a_throttle_the_longer_counts() {
    for (throttle, reason) in [(90, "throttled, 80000 ms"), (30, "unreachable, 50000 ms")] {
        let mut story = resting();
        story.does(SessionEvent::Throttled(story.at.elapsed.after(s(throttle))));
        story.passes(s(10));
        assert_eq!(story.asks_within(2, s(20)).count("2 is told"), 1);
        let told = story.asks_within(3, s(49));
        // If both pauses are too long, either may be named, but `retry_after` must be right.
        let when = told.0[0].contains(reason) || told.0[0].contains("50000 ms");
        assert!(when, "{told:?}");
        assert_eq!(story.asks_within(4, s(100)), []);
        assert_eq!(story.ticks_after(s(50)).count("fly"), usize::from(throttle == 30));
    }
}

#[test]
fn who_waits_is_told_at_once_when_a_throttle_puts_the_next_attempt_out_of_reach() {
    let mut story = resting();
    story.asks_within(2, s(70));
    story.asks_within(3, s(200));
    let told = story.does(SessionEvent::Throttled(story.at.elapsed.after(s(80))));
    assert_eq!(told, ["2 is told throttled, 80000 ms"]);
    assert_eq!(story.ticks_after(s(80)), ["publish", "fly for expiry"]);
}

#[test]
fn a_throttle_turns_nobody_away_while_a_flight_may_land() {
    let mut story = expired();
    story.asks(1);
    story.does(SessionEvent::Throttled(story.at.elapsed.after(HOUR)));
    assert_eq!(story.asks(2), []);
    // A caller that insists needs another flight, which cannot begin in time.
    assert_eq!(story.insists(3), ["3 is told throttled, 3600000 ms"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2", "2 gets 1.2"]);
}

#[test]
fn the_latest_throttle_counts_and_one_that_is_over_is_forgotten() {
    let mut story = expired();
    story.does(SessionEvent::Throttled(story.at.elapsed.after(s(20))));
    story.does(SessionEvent::Throttled(story.at.elapsed.after(s(10))));
    assert_eq!(story.asks_within(1, s(15)), ["1 is told throttled, 20000 ms"]);
    story.passes(s(20));
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
    story.mints(HOUR);
    assert_eq!(story.session.next_wake(), None);
}

#[test]
fn a_still_valid_lease_is_handed_out_whatever_rests() {
    let mut story = Story::signed_in(HOUR, once());
    story.insists(1);
    story.fails_for(Reason::Unreachable, HOUR);
    story.does(SessionEvent::Throttled(story.at.elapsed.after(HOUR)));
    assert_eq!(story.asks_within(2, Duration::ZERO), ["2 gets 1.1"]);
    assert_eq!(story.hit(), Some(generation(1, 1)));
}
