//! The end of the runtime. All callers are answered, and nothing begins any more.

use tokenkeeper_actors::law::session::{Policy, RefreshPolicy, SessionEvent};
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::{Reason, StoreFault};

use super::support::{HOUR, Story, generation, s};

#[test]
fn everyone_who_waits_is_told_and_nothing_is_served_any_more() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.insists(2);
    let told = story.does(SessionEvent::Shutdown);
    assert_eq!(told, ["publish", "1 is told shutting_down", "2 is told shutting_down"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(3), ["3 is told shutting_down"]);
    assert_eq!(story.insists(4), ["4 is told shutting_down"]);
    assert_eq!(story.does(SessionEvent::Shutdown), [], "said twice");
}

#[test]
fn nothing_is_flown_any_more() {
    let refresh = RefreshPolicy::KeepWarm { inactivity: Some(HOUR) };
    let mut story = Story::signed_in(HOUR, Policy { refresh, ..Policy::default() });
    story.does(SessionEvent::Shutdown);
    assert_eq!(story.session.next_wake(), None, "there is nothing to wake for");
    assert_eq!(story.idles(10 * HOUR), []);
    story.refuses(1, generation(1, 1));
    assert_eq!(story.does(SessionEvent::Used).count("fly"), 0);
    assert_eq!(story.flights(), 0);
}

#[test]
fn what_a_flight_brings_is_taken_in_for_the_residue() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.does(SessionEvent::Shutdown);
    assert_eq!(story.mints_unsaved(HOUR), ["publish"]);
    assert!(story.published().residue.unstored.is_some());
    assert_eq!(story.hit(), None);
    assert_eq!(story.saves(), ["publish"]);
    assert_eq!(story.published().residue.flight, None);
}

#[test]
fn a_flight_that_fails_then_is_told_to_nobody() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.does(SessionEvent::Shutdown);
    assert_eq!(story.fails(Reason::ShuttingDown), ["publish"]);
}

#[test]
fn a_login_that_is_not_written_yet_is_refused() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.installs(1, HOUR);
    assert_eq!(story.does(SessionEvent::Shutdown), ["publish", "login 1 failed: ShuttingDown"]);
    assert_eq!(story.reserves(Ok(Reservation::Reserved)), []);
    assert_eq!(story.installs(2, HOUR), ["login 2 failed: ShuttingDown"]);
}

#[test]
fn a_login_whose_write_is_under_way_is_known_to_the_store_alone() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.installs(1, HOUR);
    story.reserves(Ok(Reservation::Reserved));
    let told = story.does(SessionEvent::Shutdown);
    assert_eq!(told, ["publish", "login 1 failed: StoreTrouble(TimedOut)"]);
    assert_eq!(story.writes().quietly(), []);
}

#[test]
fn a_logout_whose_write_is_under_way_is_known_to_the_store_alone() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.logs_out(1);
    let told = story.does(SessionEvent::Shutdown);
    assert_eq!(told.quietly(), ["logout 1 failed: NotDurable(TimedOut)"]);
    assert_eq!(story.writes(), ["publish", "revoke"]);

    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.logs_out(1);
    let told = story.does(SessionEvent::Shutdown);
    assert_eq!(told.quietly(), ["logout 1 failed: NotDurable(Failed)"]);
}

#[test]
fn a_logout_that_is_owed_goes_on_being_tried() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    assert_eq!(story.does(SessionEvent::Shutdown).quietly(), []);
    assert_eq!(story.ticks_after(s(1)), ["write tombstone of 1"]);
}

#[test]
fn refusals_are_still_answered() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.does(SessionEvent::Shutdown);
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
}
