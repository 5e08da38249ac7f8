//! Two clocks (law 14). The earlier expiry counts, suspends and steps are noticed, and no sleep is longer than a
//! minute.

use std::time::Duration;

use tokenkeeper_actors::law::session::{Policy, RefreshPolicy, SessionEvent};
use tokenkeeper_actors::values::{BootId, ElapsedTime, Reason, StoreFault};

use super::support::{HOUR, Story, beginning, generation, ms, s};

const WARM: RefreshPolicy = RefreshPolicy::KeepWarm { inactivity: None };

fn signed_in() -> Story {
    Story::signed_in(HOUR, Policy::default())
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).expect("not that long")
}

#[test]
fn a_wall_clock_set_forward_ends_a_token() {
    let mut story = signed_in();
    story.wall_steps(millis(HOUR));
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
}

#[test]
fn a_wall_clock_set_back_extends_nothing() {
    let mut story = signed_in();
    story.wall_steps(-millis(100 * HOUR));
    story.sleeps(HOUR - s(2));
    assert_eq!(story.asks(1), ["publish", "fly for early", "1 gets 1.1"]);
    story.sleeps(s(1));
    assert_eq!(story.asks(2), []);
}

#[test]
fn a_suspend_counts_though_the_wall_clock_stood() {
    let mut story = signed_in();
    story.sleeps(HOUR);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
}

#[test]
fn the_early_window_begins_by_the_clock_that_shows_more() {
    for (wall, elapsed) in [(3_300, 0), (0, 3_300), (3_300, 3_300)] {
        let mut story = Story::signed_in(HOUR, Policy { refresh: WARM, ..Policy::default() });
        story.wall_steps(wall * 1_000 - 1);
        story.sleeps(s(elapsed).saturating_sub(ms(1)));
        assert_eq!(story.ticks(), [], "{wall} {elapsed}");
        story.passes(ms(1));
        assert_eq!(story.ticks(), ["publish", "fly for early"], "{wall} {elapsed}");
    }
}

#[test]
fn a_step_of_the_wall_clock_is_noticed_within_a_minute() {
    let mut story = Story::signed_in(HOUR, Policy { refresh: WARM, ..Policy::default() });
    assert_eq!(story.sleeps_for(), Some(s(60)));
    story.wall_steps(millis(HOUR));
    assert_eq!(story.ticks_after(s(60)), ["publish", "fly for early"]);
}

#[test]
fn no_sleep_is_longer_than_a_minute_and_none_is_longer_than_it_may_be() {
    let mut story = Story::signed_in(HOUR, Policy { refresh: WARM, ..Policy::default() });
    let mut wakes = 0;
    while story.flights() == 0 {
        let span = story.sleeps_for().expect("something is to be done");
        assert!(span <= s(60) && !span.is_zero(), "{span:?}");
        story.ticks_after(span);
        wakes += 1;
        assert!(wakes <= 3_300 / 60, "the flight does not come");
    }
    assert_eq!(wakes, 3_300 / 60);
    assert_eq!(story.at.elapsed.since(beginning().elapsed), HOUR - s(300));
}

#[test]
fn what_is_waited_for_first_ends_the_sleep() {
    let mut story = Story::signed_in(HOUR, Policy { refresh: WARM, ..Policy::default() });
    // A read, a login, a caller, and the minute itself.
    story.does(SessionEvent::StoreChanged);
    assert_eq!(story.sleeps_for(), Some(s(5)));
    story.passes(s(2));
    story.installs(1, HOUR);
    assert_eq!(story.sleeps_for(), Some(s(3)));
    story.reads();
    assert_eq!(story.sleeps_for(), Some(s(5)));
    story.insists(1);
    story.asks_for(2, tokenkeeper_actors::law::session::Ask { force: true, timeout: s(4), ..story.ask() });
    assert_eq!(story.sleeps_for(), Some(s(4)));
    story.leaves(2);
    assert_eq!(story.sleeps_for(), Some(s(5)));
    story.reserves(Err(StoreFault::Failed));
    assert_eq!(story.sleeps_for(), Some(s(30)));
    story.leaves(1);
    assert_eq!(story.sleeps_for(), None, "a flight reports by itself");
}

#[test]
fn a_token_from_another_boot_is_judged_by_the_wall_clock() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.at.boot = BootId(2);
    story.at.elapsed = ElapsedTime::from_millis(5);
    story.wall_steps(millis(s(600)));
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.window(), Some(s(2_700)));
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    story.wall_steps(millis(s(3_000)));
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
}

#[test]
fn a_token_from_a_host_whose_clock_runs_far_ahead_is_not_believed() {
    for (ahead, served) in [(60_000, true), (60_001, false)] {
        let mut story = Story::over_a_login(Some(HOUR), Policy::default());
        story.at.boot = BootId(2);
        story.wall_steps(-ahead);
        story.reads();
        assert_eq!(story.asks(1).count("1 gets"), usize::from(served));
    }
}

#[test]
fn a_rest_counts_on_the_elapsed_clock() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.fails_for(Reason::Unreachable, s(60));
    story.wall_steps(millis(HOUR));
    assert_eq!(story.asks(2), ["2 is told unreachable, 60000 ms"]);
    story.sleeps(s(60));
    assert_eq!(story.asks(3), ["publish", "fly for expiry"]);
}

#[test]
fn an_elapsed_clock_that_steps_back_harms_nothing() {
    // The contract forbids this. A driver that does it must not break the session.
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.fails(Reason::Unreachable);
    story.at.elapsed = ElapsedTime::from_millis(0);
    assert_eq!(story.does(SessionEvent::Tick), []);
    assert_eq!(story.asks(2).count("2 is told"), 1);
    assert_eq!(story.refuses(1, generation(1, 1)).quietly(), ["refusal 1 noted"]);
}
