//! The pause after a failure, and its end (law 8).

use std::time::Duration;

use tokenkeeper_actors::law::flight::Outcome;
use tokenkeeper_actors::law::session::{Ask, Policy};
use tokenkeeper_actors::values::{Cause, Reason};

use super::support::{HOUR, Story, Told, ms, once, s};

/// A session whose token has expired, with a caller without a deadline.
fn flying() -> Story {
    let mut story = Story::signed_in(HOUR, once());
    story.passes(HOUR);
    story.asks(0);
    story
}

/// The time from a failed flight to the next, with a caller that waits.
fn pause(story: &mut Story, reason: Reason) -> Duration {
    let waiter = story.flights() as u64;
    let told = story.fails(reason);
    assert_eq!(told.count("publish"), 1);
    next_flight(story, waiter)
}

fn next_flight(story: &mut Story, waiter: u64) -> Duration {
    assert_eq!(story.asks_within(waiter, Duration::MAX), Told::default());
    let began = story.at.elapsed;
    let told = story.idles(10 * HOUR);
    assert_eq!(told, ["publish", "fly for expiry"]);
    story.at.elapsed.since(began)
}

#[test]
fn pauses_double_from_half_a_second_to_five_minutes() {
    let mut story = flying();
    let pauses: Vec<_> = (0..12).map(|_| pause(&mut story, Reason::Unreachable).as_millis()).collect();
    assert_eq!(
        pauses,
        [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000],
        "half of each, with the entropy at zero"
    );
}

#[test]
fn the_dice_make_pauses_up_to_twice_as_long() {
    let mut story = flying();
    story.jitter = 32_768;
    assert_eq!(pause(&mut story, Reason::Unreachable), ms(750));
    assert_eq!(pause(&mut story, Reason::Unreachable), ms(1_500));
    story.jitter = u16::MAX;
    assert_eq!(pause(&mut story, Reason::Unreachable), ms(3_999));
}

#[test]
fn pauses_are_the_policys() {
    let policy = Policy { initial_backoff: s(10), max_backoff: s(15), ..once() };
    let mut story = Story::signed_in(HOUR, policy);
    story.passes(HOUR);
    story.asks(0);
    assert_eq!(pause(&mut story, Reason::InDoubt), s(5));
    assert_eq!(pause(&mut story, Reason::InDoubt), ms(7_500));
    assert_eq!(pause(&mut story, Reason::InDoubt), ms(7_500));
}

#[test]
fn a_hundred_failures_do_not_overflow() {
    let policy = Policy { initial_backoff: ms(1), max_backoff: ms(1), ..once() };
    let mut story = Story::signed_in(HOUR, policy);
    story.passes(HOUR);
    story.asks(0);
    for _ in 0..100 {
        pause(&mut story, Reason::Unreachable);
    }
}

#[test]
fn a_server_that_says_when_is_believed_up_to_an_hour() {
    let mut story = flying();
    story.fails_for(Reason::ServerTrouble, s(100));
    assert_eq!(next_flight(&mut story, 1), s(100));
    assert_eq!(story.fails_for(Reason::ServerTrouble, 2 * HOUR).count("1 is told server_trouble, 3600000 ms"), 1);
    assert_eq!(next_flight(&mut story, 2), HOUR);
    // A `Retry-After` of zero does not shorten the pause.
    story.fails_for(Reason::ServerTrouble, Duration::ZERO);
    assert_eq!(next_flight(&mut story, 3), s(2));
}

#[test]
fn the_issuers_queue_is_no_failure_and_its_word_is_kept() {
    let mut story = flying();
    for waiter in 1..5 {
        story.fails_for(Reason::Throttled, s(3));
        assert_eq!(next_flight(&mut story, waiter), s(3));
    }
    assert_eq!(pause(&mut story, Reason::Unreachable), ms(500), "the first failure");
}

#[test]
fn an_issuer_that_throttles_without_saying_for_how_long_is_left_alone_for_longer_each_time() {
    let mut story = flying();
    let pauses: Vec<_> = (0..4).map(|_| pause(&mut story, Reason::Throttled).as_millis()).collect();
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
}

#[test]
fn a_success_ends_it() {
    let mut story = flying();
    for _ in 0..5 {
        pause(&mut story, Reason::Unreachable);
    }
    story.mints(s(100));
    story.passes(s(100));
    story.asks(100);
    assert_eq!(pause(&mut story, Reason::Unreachable), ms(500));
}

#[test]
fn a_siblings_success_that_a_flight_adopts_ends_it_too() {
    let mut story = flying();
    for _ in 0..5 {
        pause(&mut story, Reason::Unreachable);
    }
    story.sibling_mints(s(100), Cause::Expiry);
    assert_eq!(story.lands(Outcome::Adopted), ["publish", "5 gets 1.2"]);
    story.passes(s(100));
    story.asks(100);
    assert_eq!(pause(&mut story, Reason::Unreachable), ms(500));
}

#[test]
fn a_new_login_ends_it() {
    let mut story = flying();
    story.fails_for(Reason::Unreachable, HOUR);
    story.asks_within(1, 2 * HOUR);
    story.store.sign_in(Some(s(1)), story.at);
    // The new login's own token has already expired, so it is refreshed at once.
    story.passes(s(1));
    assert_eq!(story.hears(), ["publish", "fly for expiry"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 2.3"]);
}

#[test]
fn a_login_ends_what_a_predecessor_left_though_nothing_was_read_yet() {
    let mut story = flying();
    story.fails_for(Reason::Unreachable, HOUR);
    // A login in this process.
    story.restarts();
    story.installs(1, s(1));
    story.reserves(Ok(tokenkeeper_actors::ports::store::Reservation::Reserved));
    assert_eq!(story.writes(), ["publish", "login 1 installed as 2"]);
    story.passes(s(1));
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);

    // A sibling's login, between two actors.
    let mut story = flying();
    story.fails_for(Reason::Unreachable, HOUR);
    story.store.sign_in(Some(s(1)), story.at);
    story.restarts();
    story.reads();
    story.passes(s(1));
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
}

#[test]
fn it_outlives_the_actor() {
    let mut story = flying();
    story.fails_for(Reason::Unreachable, s(100));
    assert_eq!(story.restarts(), ["publish", "load"]);
    story.reads();
    story.passes(s(1));
    assert_eq!(story.asks(1), ["1 is told unreachable, 99000 ms"]);
    let patient = Ask { timeout: HOUR, ..story.ask() };
    assert_eq!(story.asks_for(2, patient), []);
    assert_eq!(story.ticks_after(s(99)), ["publish", "fly for expiry"]);
    // The failure before the restart still counts.
    assert_eq!(pause(&mut story, Reason::Unreachable), s(1));
}

#[test]
fn nobody_is_woken_for_it_who_wants_nothing() {
    let mut story = flying();
    story.fails(Reason::Unreachable);
    assert_eq!(story.session.next_wake(), None);
    assert!(story.session.is_idle());
}

#[test]
fn a_token_over_on_arrival_is_a_failure_each_time() {
    let mut story = flying();
    let mut pauses = Vec::new();
    for waiter in 1..5 {
        let asked = story.at;
        story.passes(s(10));
        story.mints_with(tokenkeeper_actors::values::Validity::new(asked, Some(s(10))));
        pauses.push(next_flight(&mut story, waiter).as_millis());
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
}
