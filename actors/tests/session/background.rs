//! The backoff of background work does not hold back callers (law 8).

use std::time::Duration;

use tokenkeeper_actors::law::flight::Urgency;
use tokenkeeper_actors::law::session::{Ask, Policy, RefreshPolicy};
use tokenkeeper_actors::values::Reason;

use super::support::{HOUR, Story, generation, ms, s};

/// A session that is kept warm, whose early refreshes have failed nine times. The next one is due in 64 s.
fn outage() -> Story {
    let refresh = RefreshPolicy::KeepWarm { inactivity: None };
    let mut story = Story::signed_in(HOUR, Policy { refresh, ..Policy::default() });
    for _ in 0..8 {
        assert_eq!(story.idles(HOUR), ["publish", "fly for early"]);
        assert_eq!(story.fails(Reason::Unreachable), ["publish"]);
    }
    assert_eq!(story.sleeps_for(), Some(s(60)), "no sleep is longer");
    story
}

/// The time until the next flight without a caller.
fn pause(story: &mut Story) -> Duration {
    let (began, flights) = (story.at.elapsed, story.flights());
    while story.flights() == flights {
        assert_eq!(story.idles(HOUR).count("publish"), 1);
    }
    assert_eq!(story.order().urgency, Urgency::Background);
    story.at.elapsed.since(began)
}

#[test]
fn a_caller_without_a_token_begins_a_flight_at_once() {
    let mut story = outage();
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
    assert_eq!(story.order().urgency, Urgency::Callers);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
}

#[test]
fn a_caller_that_insists_begins_a_flight_at_once() {
    let mut story = outage();
    assert_eq!(story.insists(1), ["publish", "fly for force"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
}

#[test]
fn callers_have_the_pauses_and_the_backoff_of_their_own_failures() {
    let mut story = outage();
    story.refuses(1, generation(1, 1));
    story.asks_within(1, Duration::MAX);
    let mut pauses = Vec::new();
    let told = loop {
        let told = story.fails(Reason::Unreachable);
        if told.count("1 is told") == 1 {
            break told;
        }
        let began = story.at.elapsed;
        assert_eq!(story.idles(HOUR), ["publish", "fly for refusal"]);
        pauses.push(story.at.elapsed.since(began).as_millis());
    };
    assert_eq!(pauses, [125, 250, 500, 1_000, 2_000, 2_500, 2_500]);
    assert_eq!(told, ["publish", "1 is told unreachable, 500 ms"], "their first failure");
    // The cohort's outcome holds back the callers after it, so that they do not multiply the requests.
    let flights = story.flights();
    for waiter in 2..100 {
        assert_eq!(story.asks_within(waiter, ms(500)), [format!("{waiter} is told unreachable, 500 ms").as_str()]);
    }
    assert_eq!(story.asks_within(100, ms(501)), []);
    assert_eq!(story.ticks_after(ms(500)), ["publish", "fly for refusal"]);
    assert_eq!(story.flights(), flights + 1);
}

#[test]
fn background_work_keeps_its_long_backoff() {
    let mut story = outage();
    story.refuses(1, generation(1, 1));
    story.asks_for(1, Ask { fail_fast: true, ..story.ask() });
    assert_eq!(story.fails(Reason::Unreachable), ["publish", "1 is told unreachable, 500 ms"]);
    assert_eq!(pause(&mut story), s(128), "the ninth failure");
    story.fails(Reason::Unreachable);
    assert_eq!(pause(&mut story), s(150));
    // A success ends both.
    story.mints(HOUR);
    story.idles(HOUR);
    story.fails(Reason::Unreachable);
    assert_eq!(pause(&mut story), ms(500));
}

#[test]
fn a_caller_waits_for_as_long_as_the_server_asked_background_work_to() {
    for reason in [Reason::Throttled, Reason::ServerTrouble, Reason::InDoubt] {
        let mut story = outage();
        story.idles(HOUR);
        assert_eq!(story.fails_for(reason, s(20)), ["publish"]);
        story.refuses(1, generation(1, 1));
        assert_eq!(story.asks_within(1, s(20)), [format!("1 is told {reason}, 20000 ms").as_str()]);
        assert_eq!(story.asks_within(2, s(21)), []);
        assert_eq!(story.ticks_after(s(20)), ["publish", "fly for refusal"]);
    }
}

#[test]
fn a_caller_that_joins_a_background_flight_shares_its_failure() {
    for leaves in [false, true] {
        let mut story = outage();
        assert_eq!(story.idles(HOUR), ["publish", "fly for early"]);
        story.refuses(1, generation(1, 1));
        assert_eq!(story.asks_for(1, Ask { fail_fast: true, ..story.ask() }), []);
        if leaves {
            story.leaves(1);
        }
        assert_eq!(story.fails(Reason::Unreachable).count("1 is told unreachable, 500 ms"), usize::from(!leaves));
        assert_eq!(story.asks_within(2, ms(500)), ["2 is told unreachable, 500 ms"]);
    }
}

#[test]
fn it_is_the_same_for_the_next_actor() {
    let mut story = outage();
    story.restarts();
    assert_eq!(story.reads().count("fly"), 0, "background work rests on");
    story.refuses(1, generation(1, 1));
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
}
