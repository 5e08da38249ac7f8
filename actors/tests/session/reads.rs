//! Reads of the record: the first one, repeated and failed ones, and changes in between.

use tokenkeeper_actors::law::flight::Outcome;
use tokenkeeper_actors::law::session::{Policy, SessionEvent};
use tokenkeeper_actors::values::{Cause, Generation, Nonce, StoreFault};

use super::support::{HOUR, Story, generation, ms, s};

fn repeatable() -> Policy {
    Policy { renewal: super::support::repeatable(), ..Policy::default() }
}

#[test]
fn a_first_read_that_fails_is_told_to_those_who_wait_and_tried_again() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.asks(1);
    assert_eq!(story.sleeps_for(), Some(s(5)));
    assert_eq!(story.read_fails(), ["1 is told store_trouble, 1000 ms"]);
    assert_eq!(story.sleeps_for(), Some(s(1)));
    // A caller that comes now waits for the next read.
    assert_eq!(story.asks(2), []);
    assert_eq!(story.ticks_after(s(1) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["load"]);
    assert_eq!(story.reads(), ["publish", "2 gets 1.1"]);
    assert_eq!(story.session.next_wake(), None);
}

#[test]
fn the_pause_before_the_next_read_is_a_second_and_up_to_another() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.jitter = 32_768;
    story.read_fails();
    assert_eq!(story.sleeps_for(), Some(ms(1_500)));
}

#[test]
fn a_read_that_takes_too_long_has_failed_and_its_answer_means_nothing_then() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.asks(1);
    assert_eq!(story.ticks_after(s(5) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["1 is told store_trouble, 1000 ms"]);
    assert_eq!(story.reads(), [], "too late");
    assert_eq!(story.asks(2), []);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    assert_eq!(story.reads(), ["publish", "2 gets 1.1"]);
}

#[test]
fn the_answer_to_a_read_that_was_given_up_on_is_not_taken_for_the_next_ones() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let old = story.store.view();
    story.does(SessionEvent::StoreChanged);
    let given_up = story.takes_read();
    story.ticks_after(s(5));
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.ticks_after(s(1)), []);
    assert_eq!(story.does(SessionEvent::Loaded(given_up, Ok(old))), ["load"]);
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn a_store_that_hangs_is_asked_once_and_its_callers_are_told_in_time() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    let hanging = story.takes_read();
    // Each caller comes after a pause, and learns of the trouble after the time of a read.
    for waiter in 1..=10 {
        assert_eq!(story.asks(waiter), []);
        assert_eq!(story.does(SessionEvent::StoreChanged), []);
        assert_eq!(story.ticks_after(s(5) - ms(1)), []);
        assert_eq!(story.ticks_after(ms(1)), [&*format!("{waiter} is told store_trouble, 1000 ms")]);
        assert_eq!(story.ticks_after(s(1)), []);
    }
    // The read that was given up ends, and the one that is due begins.
    assert_eq!(story.does(SessionEvent::Loaded(hanging, Err(StoreFault::TimedOut))), ["load"]);
    assert_eq!(story.asks(11), []);
    assert_eq!(story.reads(), ["publish", "11 gets 1.1"]);
    assert_eq!(story.session.next_wake(), None);
}

#[test]
fn a_read_that_ends_after_it_was_given_up_does_not_shorten_the_pause() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    let given_up = story.takes_read();
    assert_eq!(story.ticks_after(s(5)), []);
    assert_eq!(story.sleeps_for(), Some(s(1)));
    assert_eq!(story.does(SessionEvent::Loaded(given_up, Err(StoreFault::Failed))), []);
    assert_eq!(story.ticks_after(s(1) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["load"]);
    assert_eq!(story.reads(), ["publish"]);
}

#[test]
fn a_later_read_that_fails_takes_nothing_away() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.does(SessionEvent::StoreChanged), ["load"]);
    assert_eq!(story.read_fails(), []);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    // For a caller that needs more, a flight begins, which reads the record itself.
    story.passes(HOUR);
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
}

#[test]
fn a_repeatable_source_mints_though_nothing_could_be_read() {
    let mut story = Story::begins(repeatable());
    assert_eq!(story.asks(1), []);
    assert_eq!(story.read_fails(), ["publish", "fly for expiry"]);
    let order = story.order();
    assert_eq!((order.epoch.number(), order.known, order.issuer.as_ref()), (0, Generation::default(), None));
    assert_eq!(story.mints_without_store(HOUR), ["publish", "1 gets 0.1~abc"]);
    assert_eq!(story.asks(2), ["2 gets 0.1~abc"]);
    assert!(story.session.is_idle(), "the residue keeps it");
    // Numbers count on from the newest known.
    story.passes(HOUR);
    assert_eq!(story.asks(3), ["publish", "fly for expiry"]);
    assert_eq!(story.order().known, Generation { nonce: Nonce(0xabc), ..generation(0, 1) });
    assert_eq!(story.mints_without_store(HOUR), ["publish", "3 gets 0.2~abc"]);
}

#[test]
fn after_a_restart_without_a_store_a_repeatable_source_counts_on_and_serves_what_it_had() {
    let mut story = Story::begins(repeatable());
    story.asks(1);
    story.read_fails();
    story.mints_without_store(HOUR);
    story.restarts();
    assert_eq!(story.asks(2), ["2 gets 0.1~abc"]);
    story.read_fails();
    assert_eq!(story.asks(3), ["3 gets 0.1~abc"]);
    story.refuses(1, Generation { nonce: Nonce(0xabc), ..generation(0, 1) });
    assert_eq!(story.asks(4), ["publish", "fly for refusal"]);
    assert_eq!(story.mints_without_store(HOUR), ["publish", "4 gets 0.2~abc"]);
}

#[test]
fn who_insists_does_not_get_an_older_token_that_was_minted_without_the_store() {
    let mut story = Story::signed_in(HOUR, repeatable());
    for number in [2, 3] {
        story.insists(number);
        let told = format!("{number} gets 1.{number}~abc");
        assert_eq!(story.mints_without_store(HOUR), ["publish", &told[..]]);
    }
    story.insists(4);
    // A sibling's token that was requested later has a lower number, so the one without the store takes precedence.
    story.sibling_mints(HOUR, Cause::Force);
    assert_eq!(story.lands(Outcome::Adopted), ["publish", "fly for force"]);
    assert_eq!(story.mints_without_store(HOUR), ["publish", "4 gets 1.4~abc"]);
}

#[test]
fn when_the_store_comes_back_its_record_counts() {
    let mut story = Story::begins(repeatable());
    story.asks(1);
    story.read_fails();
    story.mints_without_store(HOUR);
    // A record of a later epoch was there all along.
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.hit(), Some(generation(1, 1)));
    assert_eq!(story.published().residue.unstored, None);
}

#[test]
fn an_older_read_is_ignored() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let old = story.store.view();
    story.sibling_mints(HOUR, Cause::Early);
    story.hears();
    story.does(SessionEvent::StoreChanged);
    let op = story.takes_read();
    assert_eq!(story.does(SessionEvent::Loaded(op, Ok(old))), []);
    assert_eq!(story.asks(1), ["1 gets 1.2"]);
    story.does(SessionEvent::StoreChanged);
    let op = story.takes_read();
    assert_eq!(story.does(SessionEvent::Loaded(op, Ok(None))), [], "a store that lost its record");
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn a_first_read_that_brings_an_epoch_known_to_be_over_has_failed() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let former = story.store.view();
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    story.restarts();
    assert_eq!(story.asks(1), []);
    // A replica that lags behind the record that the previous actor had read.
    let op = story.takes_read();
    assert_eq!(story.does(SessionEvent::Loaded(op, Ok(former))), ["1 is told store_trouble, 1000 ms"]);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    assert_eq!(story.asks(2), []);
    assert_eq!(story.reads().quietly(), ["2 gets 2.2"]);
}

/// A repeatable identity of epoch 1, whose next actor could not read its record. It works with an assumed view.
fn assumed() -> Story {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.renew_by(&super::support::repeatable());
    story.hears();
    story.restarts();
    assert_eq!(story.read_fails().quietly(), []);
    story
}

#[test]
fn a_record_that_is_gone_or_too_old_ends_a_request_of_a_session_that_assumed_one() {
    // The store was emptied.
    let mut story = assumed();
    story.store.record = None;
    story.forgets_what_was_refused();
    story.logs_out(1);
    story.ticks_after(s(1));
    let mut told = story.reads();
    told.0.extend(story.writes().0);
    assert_eq!(told.count("logout 1 done"), 1, "{told:?}");

    // A replica lags behind what the previous actor had read.
    let mut story = assumed();
    let former = story.store.view().map(|mut view| {
        view.version = Default::default();
        view
    });
    story.logs_out(1);
    story.ticks_after(s(1));
    let op = story.takes_read();
    assert_eq!(story.does(SessionEvent::Loaded(op, Ok(former))).count("logout 1 failed: NotDurable"), 1);
}

#[test]
fn news_during_a_read_is_followed_by_one_more_read() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.does(SessionEvent::StoreChanged), ["load"]);
    for _ in 0..10 {
        assert_eq!(story.does(SessionEvent::StoreChanged), []);
    }
    assert_eq!(story.reads(), ["load"]);
    assert_eq!(story.reads(), []);
}

#[test]
fn news_during_a_read_that_fails_is_followed_by_a_read_too() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.does(SessionEvent::StoreChanged);
    story.does(SessionEvent::StoreChanged);
    assert_eq!(story.read_fails(), ["load"]);
    assert_eq!(story.reads(), []);
    assert_eq!(story.session.next_wake(), None, "no second one is planned");
}

#[test]
fn news_while_a_failed_read_rests_is_read_at_once() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.does(SessionEvent::StoreChanged);
    story.read_fails();
    assert_eq!(story.does(SessionEvent::StoreChanged), ["load"]);
    assert_eq!(story.reads(), []);
    assert_eq!(story.session.next_wake(), None);
}

#[test]
fn a_read_nobody_asked_for_means_nothing() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    let view = story.store.view();
    let op = tokenkeeper_actors::law::flight::Op(77);
    assert_eq!(story.does(SessionEvent::Loaded(op, Ok(view))), []);
    assert_eq!(story.does(SessionEvent::Loaded(op, Err(StoreFault::Failed))), []);
    assert_eq!(story.asks(1), []);
    assert_eq!(story.reads(), ["publish", "1 gets 1.1"]);
}

#[test]
fn who_waits_is_served_by_what_is_read() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.asks_to_have(2, s(2_000));
    story.sibling_mints(s(1_000), Cause::Expiry);
    // At most three quarters of 1,000 s can be asked of it.
    assert_eq!(story.hears(), ["publish", "1 gets 1.2", "2 gets 1.2"]);
}

#[test]
fn who_waits_is_turned_away_by_what_is_read() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.insists(2);
    story.store.sign_out();
    assert_eq!(story.hears(), ["publish", "1 is told logged_out", "2 is told logged_out"]);
    assert!(story.session.is_idle());
}

#[test]
fn since_when_a_mark_is_known_is_remembered_as_long_as_it_is_the_same_mark() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.mark(tokenkeeper_actors::values::FlightId(7), story.at);
    story.hears();
    let seen = story.at.elapsed;
    story.passes(s(10));
    story.hears();
    story.passes(HOUR);
    story.asks(1);
    let doubt = story.order().doubt.expect("a doubt");
    assert_eq!((doubt.flight, doubt.seen), (tokenkeeper_actors::values::FlightId(7), seen));
    // Another flight's mark is another doubt, and without a mark there is none.
    story.store.mark(tokenkeeper_actors::values::FlightId(8), story.at);
    story.fails(tokenkeeper_actors::values::Reason::InDoubt);
    story.passes(s(1));
    story.insists(2);
    let doubt = story.order().doubt.expect("a doubt");
    assert_eq!(doubt.flight, tokenkeeper_actors::values::FlightId(8));
    assert_eq!(story.at.elapsed.since(doubt.seen), s(1));
    story.mints(HOUR);
    story.insists(3);
    assert_eq!(story.order().doubt, None);
}

#[test]
fn who_waits_is_told_what_a_made_up_record_says() {
    let mut store = super::support::Store::default();
    store.sign_in(Some(HOUR), super::support::beginning());
    let mut story = Story::begins_over(store, repeatable());
    story.reads();
    story.lists(&["https://evil.example.com"]);
    story.restarts();
    assert_eq!(story.asks(1), []);
    assert_eq!(story.read_fails().quietly(), ["1 is told issuer_changed"]);
}
