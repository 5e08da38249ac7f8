//! Landings without a token, repeated ones, ones of an earlier epoch, and missing ones.

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report, Urgency};
use tokenkeeper_actors::law::session::SessionEvent;
use tokenkeeper_actors::values::{Cause, FlightId, Lease, Reason, Validity};

use super::support::{HOUR, Story, generation, ms, once, s};

/// A session whose token has expired, and whose flight runs for caller 1.
fn flying() -> Story {
    let mut story = Story::signed_in(HOUR, once());
    story.passes(HOUR);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    story
}

#[test]
fn a_flight_that_breaks_off_is_a_failure_and_the_record_is_read_again() {
    let mut story = flying();
    let flight = story.order().flight;
    story.store.mark(flight, story.at);
    assert_eq!(story.breaks_off(), ["publish", "load", "1 is told aborted, 500 ms"]);
    story.passes(ms(300));
    assert_eq!(story.reads().quietly(), []);
    assert!(!story.session.is_idle(), "in doubt");
    // The next order states when this process first saw the mark.
    assert_eq!(story.asks(2), []);
    assert_eq!(story.ticks_after(ms(200)), ["publish", "fly for expiry"]);
    let doubt = story.order().doubt.expect("a doubt");
    assert_eq!(doubt.flight, flight);
    assert_eq!(story.at.elapsed.since(doubt.seen), ms(200));
}

#[test]
fn the_end_of_a_flight_that_has_landed_means_nothing() {
    let mut story = flying();
    let flight = story.order().flight;
    story.mints(HOUR);
    assert_eq!(story.does(SessionEvent::FlightOver(flight)), []);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn a_flight_of_a_former_incarnation_breaks_off_like_any_other() {
    let mut story = flying();
    story.restarts();
    story.reads();
    assert_eq!(story.asks(2), [], "it is still in the air");
    assert_eq!(story.breaks_off(), ["publish", "load", "2 is told aborted, 500 ms"]);
}

#[test]
fn a_landing_that_comes_twice_counts_once() {
    let mut story = flying();
    let flight = story.order().flight;
    story.mints(HOUR);
    let view = story.store.view();
    let again = |outcome| Report::Landed(Landing { outcome, view: view.clone(), keeping: false, requests: 1 });
    let outcomes = [
        Outcome::Minted(story.store.lease()),
        Outcome::Failed(tokenkeeper_actors::law::profile::Trouble::new(Reason::Unreachable)),
        Outcome::LoginRequired(Reason::GrantEnded),
        Outcome::Moved,
    ];
    for outcome in outcomes {
        assert_eq!(story.does(SessionEvent::Flight(flight, again(outcome))), []);
    }
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn a_strangers_landing_has_a_view_to_give_and_nothing_else() {
    let mut story = flying();
    story.sibling_mints(HOUR, Cause::Expiry);
    let view = story.store.view();
    let trouble = tokenkeeper_actors::law::profile::Trouble::new(Reason::Unreachable);
    let report = Report::Landed(Landing { outcome: Outcome::Failed(trouble), view, keeping: true, requests: 1 });
    assert_eq!(story.does(SessionEvent::Flight(FlightId(9), report)), ["publish", "1 gets 1.2"]);
    assert_eq!(story.published().residue.backoff, Default::default());
    let report = Report::Landed(Landing { outcome: Outcome::Moved, view: None, keeping: false, requests: 1 });
    assert_eq!(story.does(SessionEvent::Flight(FlightId(9), report)), []);
    assert_eq!(story.does(SessionEvent::FlightOver(FlightId(9))), []);
    assert_eq!(story.does(SessionEvent::Flight(FlightId(9), Report::Lost { noted: true })), []);
    // Its own flight still runs.
    assert_eq!(story.insists(2), []);
    assert_eq!(story.mints(HOUR), ["publish", "fly for force"]);
}

#[test]
fn a_settlement_that_is_a_strangers_has_a_view_to_give() {
    let mut story = flying();
    story.sibling_mints(HOUR, Cause::Expiry);
    let view = story.store.view().expect("a record");
    assert_eq!(story.does(SessionEvent::Flight(FlightId(9), Report::Settled(view))), ["publish", "1 gets 1.2"]);
    assert!(story.published().residue.flight.is_some());
}

#[test]
fn a_flight_of_a_former_epoch_gives_no_lease_and_stands_in_nobodys_way() {
    let mut story = flying();
    let former = story.order().flight;
    let old = story.store.refresh(former, Cause::Expiry, Validity::new(story.at, Some(HOUR)));
    story.store.sign_in(Some(s(1)), story.at);
    assert_eq!(story.hears(), ["publish", "1 gets 2.3"]);
    story.passes(s(1));
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
    // The earlier flight lands now, with a token of the old epoch.
    let report = Report::Landed(Landing { outcome: Outcome::Minted(old), view: None, keeping: false, requests: 1 });
    assert_eq!(story.does(SessionEvent::Flight(former, report)), []);
    assert_eq!(story.does(SessionEvent::FlightOver(former)), []);
    assert_eq!(story.hit(), Some(generation(2, 3)));
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 2.4"]);
    assert_eq!(story.flights(), 2);
}

#[test]
fn a_token_of_a_former_epoch_is_not_served_though_its_flight_was_not_known_to_be_old() {
    // The landing's own view has the new epoch.
    let mut story = flying();
    let flight = story.order().flight;
    let old = story.store.refresh(flight, Cause::Expiry, Validity::new(story.at, Some(HOUR)));
    story.store.sign_out();
    assert_eq!(story.lands(Outcome::Minted(old)), ["publish", "1 is told logged_out"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.published().residue.unstored, None);
}

#[test]
fn where_the_record_has_moved_the_next_flight_begins_at_once_from_what_it_is_now() {
    let mut story = flying();
    story.store.sign_in(Some(s(0)), story.at);
    story.store.record.as_mut().expect("a record").number += 5;
    let told = story.lands(Outcome::Moved);
    assert_eq!(told.count("fly"), 0, "the login's own token is served: {told:?}");
    assert_eq!(told.count("1 gets 2."), 1);

    let mut story = flying();
    story.store.sign_in(Some(s(5)), story.at);
    story.passes(s(5));
    assert_eq!(story.lands(Outcome::Moved), ["publish", "load", "fly for expiry"]);
    assert_eq!(story.order().epoch.number(), 2);
    assert_eq!(story.order().urgency, Urgency::Callers);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 2.3"]);
}

#[test]
fn a_record_that_moves_on_and_on_earns_a_pause() {
    let mut story = flying();
    for flight in 2..=4 {
        assert_eq!(story.lands(Outcome::Moved).count("fly"), 1);
        assert_eq!(story.flights(), flight);
    }
    let told = story.lands(Outcome::Moved);
    assert_eq!((told.count("fly"), told.count("1 is told contended, 500 ms")), (0, 1), "{told:?}");
    // The next caller's flight finds that it moved again, so the pause grows.
    story.passes(ms(500));
    assert_eq!(story.asks(2).count("fly"), 1);
    let told = story.lands(Outcome::Moved);
    assert_eq!(told.count("2 is told contended, 1000 ms"), 1, "{told:?}");
}

#[test]
fn any_other_landing_makes_up_for_those_that_moved() {
    let mut story = flying();
    for _ in 0..3 {
        story.lands(Outcome::Moved);
    }
    story.mints(s(10));
    story.passes(s(10));
    story.asks(2);
    for _ in 0..3 {
        assert_eq!(story.lands(Outcome::Moved).count("fly"), 1);
    }
    assert_eq!(story.lands(Outcome::Moved).count("fly"), 0);
}

#[test]
fn a_record_that_moved_and_had_an_answer_begins_no_row() {
    // Other processes log out and in, again and again. Only the flights learn of it first.
    let mut story = flying();
    for caller in 1..=6 {
        story.store.sign_out();
        let told = story.lands(Outcome::Moved);
        assert_eq!(told.count(&format!("{caller} is told logged_out")), 1, "{told:?}");
        story.reads();
        story.store.sign_in(Some(s(5)), story.at);
        story.hears();
        story.passes(s(5));
        assert_eq!(story.asks(caller + 1).count("fly"), 1);
    }
}

#[test]
fn a_record_that_moved_is_read_and_serves_those_who_wait() {
    let mut story = flying();
    let stale = story.store.view();
    story.sibling_mints(HOUR, Cause::Expiry);
    // The flight was overtaken, and its view is no newer than before.
    let report = Report::Landed(Landing { outcome: Outcome::Moved, view: stale, keeping: false, requests: 1 });
    assert_eq!(story.reports(report), ["publish", "load", "fly for expiry"]);
    assert_eq!(story.reads(), ["publish", "1 gets 1.2"]);
    assert_eq!(story.lands(Outcome::Adopted), ["publish"]);
}

#[test]
fn an_older_token_than_the_store_shows_is_not_kept() {
    let mut story = flying();
    let view = story.store.view();
    let old = story.store.refresh(story.order().flight, Cause::Expiry, Validity::new(story.at, Some(HOUR)));
    story.sibling_mints(HOUR, Cause::Expiry);
    assert_eq!(story.hears(), ["publish", "1 gets 1.3"]);
    let report = Report::Landed(Landing { outcome: Outcome::Minted(old), view, keeping: false, requests: 1 });
    assert_eq!(story.reports(report), ["publish"]);
    assert_eq!(story.hit(), Some(generation(1, 3)));
    assert_eq!(story.published().residue.unstored, None);
    assert!(story.session.is_idle());
}

#[test]
fn a_newer_token_than_the_view_beside_it_is_served_until_the_store_shows_it() {
    let mut story = flying();
    let view = story.store.view();
    let lease: Lease = story.store.refresh(story.order().flight, Cause::Expiry, Validity::new(story.at, Some(HOUR)));
    let report = Report::Landed(Landing { outcome: Outcome::Minted(lease), view, keeping: false, requests: 1 });
    assert_eq!(story.reports(report), ["publish", "1 gets 1.2"]);
    assert!(story.published().residue.unstored.is_some());
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.published().residue.unstored, None);
    assert_eq!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn flights_have_names_of_their_own_over_all_incarnations() {
    let mut story = flying();
    let mut names = vec![story.order().flight];
    story.fails(Reason::Unreachable);
    story.passes(s(1));
    story.asks(2);
    names.push(story.order().flight);
    story.mints(s(10));
    story.restarts();
    story.reads();
    story.passes(s(10));
    story.asks(3);
    names.push(story.order().flight);
    assert_eq!(names, [FlightId(1_001), FlightId(1_002), FlightId(2_001)]);
}

#[test]
fn a_landing_into_a_newer_epoch_is_no_failure_of_that_epoch() {
    let mut story = flying();
    let flight = story.order().flight;
    let old = story.store.refresh(flight, Cause::Expiry, Validity::new(story.at, Some(HOUR)));
    story.store.sign_in(Some(s(5)), story.at);
    story.passes(s(5));
    assert_eq!(story.lands(Outcome::Minted(old)), ["publish", "fly for expiry"]);
    assert_eq!(story.published().residue.backoff, Default::default());
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 2.4"]);
}

#[test]
fn an_old_flights_view_of_an_epoch_that_is_over_is_not_believed_after_a_restart() {
    let mut story = flying();
    let (flight, seen) = (story.order().flight, story.store.view());
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    story.restarts();
    // It lands in doubt, with the record as it had read it, before the new actor has read anything.
    let trouble = tokenkeeper_actors::law::profile::Trouble::new(Reason::InDoubt);
    let report = Report::Landed(Landing { outcome: Outcome::Failed(trouble), view: seen, keeping: false, requests: 1 });
    story.does(SessionEvent::Flight(flight, report));
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(2), []);
    assert_eq!(story.reads(), ["publish", "2 gets 2.2"]);
}
