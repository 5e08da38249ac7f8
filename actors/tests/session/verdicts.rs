//! A flight's finding that a login is required. It holds for one version of the record.

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::{Cause, FlightId, Reason};

use super::support::{HOUR, Story, generation, ms, repeatable, s};

/// A session whose flight found a login required, while the record does not show it.
fn found(reason: Reason) -> Story {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.insists(2);
    let told = story.lands(Outcome::LoginRequired(reason));
    assert_eq!(told, ["publish", format!("1 is told {reason}").as_str(), format!("2 is told {reason}").as_str()]);
    story
}

#[test]
fn everyone_is_told_and_the_next_at_once() {
    let mut story = found(Reason::MaybeConsumed);
    assert_eq!(story.asks(3), ["3 is told maybe_consumed"]);
    assert_eq!(story.insists(4), ["4 is told maybe_consumed"]);
    assert_eq!(story.flights(), 1);
    assert_eq!(story.published().residue.backoff, Default::default(), "no failure that passes by itself");
}

#[test]
fn a_lease_that_is_still_good_is_still_served() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(100));
    story.asks(1);
    assert_eq!(story.lands(Outcome::LoginRequired(Reason::MaybeConsumed)), ["publish"]);
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
    assert_eq!(story.asks_to_have(3, s(200)), ["3 is told maybe_consumed"]);
    assert_eq!(story.hit(), Some(generation(1, 1)));
}

#[test]
fn it_holds_while_its_version_stands_and_for_five_minutes() {
    let mut story = found(Reason::MaybeConsumed);
    assert_eq!(story.hears(), []);
    story.passes(s(300) - ms(1));
    assert_eq!(story.asks(3), ["3 is told maybe_consumed"]);
    story.passes(ms(1));
    assert_eq!(story.asks(4), ["publish", "fly for expiry"]);
}

#[test]
fn it_holds_for_as_long_as_the_longest_pause() {
    let mut story = Story::signed_in(HOUR, Policy { max_backoff: s(7), ..Policy::default() });
    story.passes(HOUR);
    story.asks(1);
    story.lands(Outcome::LoginRequired(Reason::MaybeConsumed));
    assert_eq!(story.asks_within(2, s(5)), ["2 is told maybe_consumed"]);
    story.passes(s(7));
    assert_eq!(story.asks(3), ["publish", "fly for expiry"]);
}

#[test]
fn a_new_version_is_looked_at_anew() {
    let mut story = found(Reason::MaybeConsumed);
    story.store.mark(FlightId(7), story.at);
    assert_eq!(story.hears().quietly(), []);
    assert_eq!(story.asks(3), ["publish", "fly for expiry"]);
}

#[test]
fn it_holds_for_the_version_the_flight_saw() {
    // The flight's own view is newer than what the session had read.
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.store.mark(FlightId(7), story.at);
    assert_eq!(story.lands(Outcome::LoginRequired(Reason::MaybeConsumed)).count("1 is told maybe_consumed"), 1);
    assert_eq!(story.asks(2), ["2 is told maybe_consumed"]);
    assert_eq!(story.hears(), []);
    assert_eq!(story.asks(3), ["3 is told maybe_consumed"]);
}

#[test]
fn what_was_found_in_an_older_version_is_looked_at_anew() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.insists(1);
    let found_in = story.store.view();
    // Meanwhile the flight that had left the doubt stored its tokens.
    story.sibling_mints(HOUR, Cause::Expiry);
    story.hears();
    let landing =
        Landing { outcome: Outcome::LoginRequired(Reason::MaybeConsumed), view: found_in, keeping: false, requests: 1 };
    assert_eq!(story.reports(Report::Landed(landing)), ["publish", "load", "fly for force"]);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn a_login_ends_it() {
    let mut story = found(Reason::ClientRejected);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(3), ["3 gets 2.2"]);
}

#[test]
fn kept_warm_it_is_looked_at_again_when_its_time_is_over() {
    let warm = RefreshPolicy::KeepWarm { inactivity: None };
    let policy = Policy { refresh: warm, renewal: repeatable(), ..Policy::default() };
    let mut story = Story::begins(policy);
    assert_eq!(story.reads(), ["publish", "fly for expiry"]);
    assert_eq!(story.lands(Outcome::LoginRequired(Reason::ClientRejected)), ["publish"]);
    let began = story.at.elapsed;
    assert_eq!(story.idles(HOUR), ["publish", "fly for expiry"]);
    assert_eq!(story.at.elapsed.since(began), s(300));
}

#[test]
fn without_a_view_it_is_told_and_not_remembered() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    // A flight of the previous actor, and nothing read yet.
    story.restarts();
    story.asks(2);
    let landing =
        Landing { outcome: Outcome::LoginRequired(Reason::GrantEnded), view: None, keeping: false, requests: 1 };
    let told = story.reports(Report::Landed(landing));
    assert_eq!(told, ["publish", "2 is told grant_ended"]);
    assert_eq!(story.asks(3), []);
    // The record is newer, because a sibling signed in.
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.reads(), ["publish", "3 gets 2.2"]);
}
