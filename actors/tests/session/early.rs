//! The early window, and refreshes in it without a waiting caller.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Adopt, Outcome, Urgency};
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy, SessionEvent};
use tokenkeeper_actors::values::{Cause, Reason};

use super::support::{HOUR, Story, generation, ms, s};

const DAY: Duration = Duration::from_secs(86_400);

fn policy(refresh: RefreshPolicy) -> Policy {
    Policy { refresh, ..Policy::default() }
}

const WARM: RefreshPolicy = RefreshPolicy::KeepWarm { inactivity: None };

#[test]
fn a_caller_in_the_early_window_is_served_at_once_and_sets_off_one_flight() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(300) - ms(1));
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    story.passes(ms(1));
    assert_eq!(story.asks(2), ["publish", "fly for early", "2 gets 1.1"]);
    let order = story.order();
    assert_eq!(order.urgency, Urgency::Background);
    assert_eq!(order.adopt, Adopt::Above { floor: Some(generation(1, 1)), margin: s(1) });
    assert_eq!(story.asks(3), ["3 gets 1.1"]);
    assert_eq!(story.mints(HOUR), ["publish"]);
    assert_eq!(story.asks(4), ["4 gets 1.2"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn on_demand_nothing_is_refreshed_that_no_caller_met() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.asks(1);
    story.does(SessionEvent::Used);
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY), []);
    assert_eq!(story.flights(), 0);
}

#[test]
fn on_demand_callers_during_an_early_flight_want_nothing_of_the_next_token() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(300));
    story.asks(1);
    // This caller is in the early window too, and the running flight is enough.
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
    story.mints(HOUR);
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY), []);
    assert_eq!(story.flights(), 1);
}

#[test]
fn on_demand_a_siblings_token_ends_what_a_caller_wanted() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(300));
    story.does(SessionEvent::Throttled(story.at.elapsed.after(s(20))));
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.idles(DAY), []);
    assert_eq!(story.flights(), 0);
}

#[test]
fn a_failed_early_refresh_leaves_the_lease_served_and_is_tried_again_when_a_caller_comes() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(300));
    story.asks(1);
    assert_eq!(story.fails(Reason::ServerTrouble), ["publish"]);
    assert_eq!(story.hit(), Some(generation(1, 1)));
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
    assert_eq!(story.sleeps_for(), Some(ms(500)));
    assert_eq!(story.ticks_after(ms(500)), ["publish", "fly for early"]);
    story.mints(HOUR);
    assert_eq!(story.flights(), 2);
}

#[test]
fn a_failed_early_refresh_that_nobody_asks_about_rests() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(300));
    story.asks(1);
    story.fails(Reason::ServerTrouble);
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY).quietly(), []);
    assert_eq!(story.flights(), 1);
}

#[test]
fn while_in_use_the_early_window_is_flown_alone_if_the_token_was_used() {
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::WhileInUse));
    assert_eq!(story.session.next_wake(), None);
    story.asks(1);
    assert_eq!(story.sleeps_for(), Some(s(60)));
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
    assert_eq!(story.at.elapsed.since(super::support::beginning().elapsed), HOUR - s(300));
    assert_eq!(story.order().urgency, Urgency::Background);
    story.mints(HOUR);
    // The new one was not used.
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY), []);
}

#[test]
fn while_in_use_a_hit_past_the_mailbox_is_a_use() {
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::WhileInUse));
    story.does(SessionEvent::Used);
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
    story.mints(HOUR);
    // In the middle of the window, a refresh follows a use at once.
    story.passes(HOUR - s(100));
    assert_eq!(story.does(SessionEvent::Used), ["publish", "fly for early"]);
}

#[test]
fn while_in_use_the_cohort_of_a_flight_has_used_its_token() {
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::WhileInUse));
    story.passes(HOUR);
    story.asks(1);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
}

#[test]
fn while_in_use_who_waited_for_a_siblings_token_has_used_it() {
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::WhileInUse));
    story.passes(HOUR);
    story.asks(1);
    story.asks_to_have(2, 2 * HOUR);
    story.sibling_mints(HOUR, Cause::Expiry);
    assert_eq!(story.lands(Outcome::Adopted), ["publish", "1 gets 1.2", "2 gets 1.2"]);
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
}

#[test]
fn while_in_use_a_siblings_token_is_not_in_use_until_it_is_used_here() {
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::WhileInUse));
    story.asks(1);
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY), []);
    story.sibling_mints(HOUR, Cause::Expiry);
    story.hears();
    story.asks(2);
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
}

#[test]
fn while_in_use_nothing_is_refreshed_that_was_not_used() {
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::WhileInUse));
    assert_eq!(story.idles(DAY), []);
    assert_eq!(story.does(SessionEvent::Used), ["publish", "fly for early"], "it is over, and wanted");
}

#[test]
fn the_window_begins_between_half_and_all_of_its_length_before_expiry() {
    for (jitter, margin) in [(0, ms(300_000)), (32_768, ms(225_000)), (u16::MAX, ms(150_003))] {
        let mut story = Story::over_a_login(Some(HOUR), Policy::default());
        story.jitter = jitter;
        story.reads();
        assert_eq!(story.window(), Some(HOUR - margin), "jitter {jitter}");
    }
}

#[test]
fn the_window_is_never_more_than_a_quarter_of_the_lifetime() {
    for (jitter, margin) in [(0, ms(25_000)), (u16::MAX, ms(12_501))] {
        let mut story = Story::over_a_login(Some(s(100)), Policy::default());
        story.jitter = jitter;
        story.reads();
        assert_eq!(story.window(), Some(s(100) - margin), "jitter {jitter}");
    }
}

#[test]
fn the_window_is_drawn_once_for_each_lease() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let window = story.window();
    story.jitter = u16::MAX;
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.hears(), []);
    assert_eq!(story.window(), window);
    story.passes(HOUR);
    story.asks(2);
    story.mints(HOUR);
    assert_eq!(story.window(), Some(HOUR - ms(150_003)));
}

#[test]
fn a_hit_is_never_handed_out_with_less_left_than_a_caller_would_be_given() {
    // With a window of zero the safety margin remains, and with a short lifetime a quarter of it.
    for (lifetime, early_window, margin) in
        [(HOUR, Duration::ZERO, s(1)), (s(4), s(300), s(1)), (s(2), s(300), ms(500))]
    {
        let mut story = Story::over_a_login(Some(lifetime), Policy { early_window, ..Policy::default() });
        story.jitter = u16::MAX;
        story.reads();
        let window = story.window().expect("a window");
        assert!(window <= lifetime - margin, "{window:?} of {lifetime:?}");
    }
}

#[test]
fn a_wake_up_never_finds_that_it_came_too_early() {
    // A quarter of 1,001 ms is no whole number of milliseconds.
    for lifetime in [ms(1_001), ms(1_002), ms(1_003), ms(3), ms(1)] {
        let mut story = Story::signed_in(lifetime, policy(WARM));
        if story.flights() == 0 {
            assert_eq!(story.idles(HOUR), ["publish", "fly for early"], "{lifetime:?}");
        }
    }
}

#[test]
fn after_a_resume_background_work_is_marked_to_be_spread_and_callers_are_not() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    story.sleeps(HOUR);
    assert_eq!(story.does(SessionEvent::Resumed), ["publish", "fly for early"]);
    assert_eq!(story.order().urgency, Urgency::AfterResume);
    story.mints(HOUR);
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
    assert_eq!(story.order().urgency, Urgency::Background, "said once");

    let mut story = Story::signed_in(HOUR, policy(WARM));
    story.sleeps(HOUR);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    assert_eq!(story.does(SessionEvent::Resumed), []);
    assert_eq!(story.order().urgency, Urgency::Callers);
}

#[test]
fn what_falls_due_within_half_a_minute_of_a_resume_is_set_off_by_it() {
    for (after, urgency) in [(s(30) - ms(1), Urgency::AfterResume), (s(30), Urgency::Background)] {
        let mut story = Story::signed_in(HOUR, policy(WARM));
        story.passes(HOUR - s(300) - after);
        assert_eq!(story.does(SessionEvent::Resumed), []);
        assert_eq!(story.ticks_after(after), ["publish", "fly for early"]);
        assert_eq!(story.order().urgency, urgency);
    }
}

#[test]
fn a_caller_is_as_urgent_after_a_resume_as_ever() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.sleeps(HOUR);
    assert_eq!(story.does(SessionEvent::Resumed), []);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    assert_eq!(story.order().urgency, Urgency::Callers);
}

#[test]
fn who_waited_for_the_first_read_sets_a_refresh_off_too() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.passes(HOUR - s(60));
    story.restarts();
    story.asks(1);
    assert_eq!(story.reads(), ["publish", "fly for early", "1 gets 1.1"]);
}
