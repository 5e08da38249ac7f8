//! Unfinished logouts. The tombstone cannot be written, or the record cannot be read, and the session tries again (law
//! 12).

use tokenkeeper_actors::law::flight::Report;
use tokenkeeper_actors::law::session::{PendingLogout, Policy, SessionEffect, SessionEvent};
use tokenkeeper_actors::values::StoreFault;

use super::support::{HOUR, Story, epoch, ms, s};

fn signed_in() -> Story {
    Story::signed_in(HOUR, Policy::default())
}

#[test]
fn a_tombstone_that_cannot_be_written_is_told_and_tried_again_and_nothing_is_served() {
    let mut story = signed_in();
    story.logs_out(1);
    assert_eq!(story.write_fails(StoreFault::Failed), ["logout 1 failed: NotDurable(Failed)"]);
    for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
        assert_eq!(story.asks(pause), [format!("{pause} is told logged_out").as_str()]);
        assert_eq!(story.sleeps_for(), Some(ms(pause)));
        assert_eq!(story.ticks_after(ms(pause - 1)), []);
        assert_eq!(story.ticks_after(ms(1)), ["write tombstone of 1"]);
        assert!(!story.session.is_idle());
        assert_eq!(story.write_fails(StoreFault::Failed), []);
    }
    story.ticks_after(s(30));
    assert_eq!(story.writes(), ["publish", "revoke"]);
    assert!(story.session.is_idle());
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
}

#[test]
fn the_dice_move_the_next_attempt() {
    let mut story = signed_in();
    story.logs_out(1);
    story.jitter = 32_768;
    story.write_fails(StoreFault::Failed);
    assert_eq!(story.sleeps_for(), Some(ms(375)));
}

#[test]
fn a_tombstone_that_takes_too_long_is_given_up_on() {
    let mut story = signed_in();
    story.logs_out(1);
    assert_eq!(story.sleeps_for(), Some(s(5)));
    assert_eq!(story.ticks_after(s(5) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["logout 1 failed: NotDurable(TimedOut)"]);
    assert_eq!(story.ticks_after(ms(250)), ["write tombstone of 1"]);
}

#[test]
fn a_tombstone_that_was_given_up_on_and_lands_after_all_revokes_what_was_there() {
    let mut story = signed_in();
    story.logs_out(1);
    let (op, changed) = story.writes_unheard();
    story.ticks_after(s(5));
    assert_eq!(story.does(SessionEvent::Changed(op, Ok(changed))), ["publish", "revoke"]);
    assert!(story.session.is_idle());
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
}

#[test]
fn where_an_earlier_attempt_may_have_done_it_unheard_a_token_may_still_live() {
    let mut story = signed_in();
    story.logs_out(1);
    story.writes_unheard();
    story.ticks_after(s(5));
    // The caller tries again.
    assert_eq!(story.logs_out(2), ["write tombstone of 1"]);
    assert_eq!(story.writes(), ["publish", "logout 2 done, a token may still live"]);
}

#[test]
fn one_logout_at_a_time_and_a_second_one_may_follow_a_failure() {
    let mut story = signed_in();
    story.logs_out(1);
    assert_eq!(story.logs_out(2), ["logout 2 failed: Busy"]);
    story.write_fails(StoreFault::Failed);
    assert_eq!(story.logs_out(3), ["write tombstone of 1"]);
    assert_eq!(story.logs_out(4), ["logout 4 failed: Busy"]);
    assert_eq!(story.writes(), ["publish", "revoke", "logout 3 done"]);
    assert_eq!(story.logs_out(5), ["publish", "write tombstone of 2"]);
    assert_eq!(story.writes().quietly(), ["logout 5 done"]);
}

#[test]
fn a_second_attempt_keeps_the_pauses_of_the_first() {
    let mut story = signed_in();
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    story.logs_out(2);
    assert_eq!(story.write_fails(StoreFault::Failed), ["logout 2 failed: NotDurable(Failed)"]);
    assert_eq!(story.sleeps_for(), Some(ms(500)));
}

#[test]
fn a_flight_that_holds_unsaved_tokens_is_told_to_save_the_tombstone_instead() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.mints_unsaved(HOUR);
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 1"]);
    let told = story.write_fails(StoreFault::Failed);
    assert_eq!(told, ["tell flight it is logged out of 1", "logout 1 failed: NotDurable(Failed)"]);
    assert!(matches!(story.effects()[0], SessionEffect::TellLoggedOut(id, _) if id == story.order().flight));
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
    // The sibling has logged out, so the session need not.
    story.store.sign_out();
    let view = story.store.view().expect("a tombstone");
    assert_eq!(story.reports(Report::Settled(view)), ["publish"]);
    assert!(story.session.is_idle());
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.asks(3), ["3 is told logged_out"]);
}

#[test]
fn a_login_ends_a_logout_that_was_owed() {
    let mut story = signed_in();
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    assert_eq!(story.idles(HOUR).count("write"), 0);
}

#[test]
fn what_is_owed_outlives_the_actor() {
    let mut story = signed_in();
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    assert_eq!(story.restarts(), ["publish", "load"]);
    assert_eq!(story.published().residue.closing, Some(PendingLogout::Of(epoch(1))));
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
    assert_eq!(story.ticks(), ["write tombstone of 1"]);
    assert_eq!(story.writes(), ["publish", "revoke"]);
    assert!(story.session.is_idle());
}

#[test]
fn what_is_owed_is_dropped_where_a_newer_login_is_found() {
    let mut story = signed_in();
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    story.store.sign_in(Some(HOUR), story.at);
    story.restarts();
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    assert_eq!(story.ticks(), []);
}

#[test]
fn before_the_first_read_it_waits_for_the_record_and_then_clears_it() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.asks(1);
    assert_eq!(story.logs_out(1), ["publish", "1 is told logged_out"]);
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
    // The read in flight may be out of date, so another follows.
    assert_eq!(story.reads(), ["publish", "write tombstone of 1", "load"]);
    assert_eq!(story.writes(), ["publish", "revoke", "logout 1 done"]);
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_cleared_when_it_can_be() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.logs_out(1);
    let told = story.read_fails();
    assert_eq!(told.count("logout 1 failed: NotDurable(Failed)"), 1);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    if !story.is_reading() {
        story.ticks_after(s(1));
    }
    assert_eq!(story.reads().quietly().count("write tombstone of 1"), 1);
    assert_eq!(story.writes(), ["publish", "revoke"]);
}

#[test]
fn a_logout_of_what_was_not_read_yet_outlives_the_actor() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.logs_out(1);
    story.read_fails();
    story.restarts();
    assert_eq!(story.published().residue.closing, Some(PendingLogout::Unread));
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert_eq!(story.reads(), ["publish", "write tombstone of 1"]);
    assert_eq!(story.writes(), ["publish", "revoke"]);
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
}
