//! A flight that could not save its tokens keeps them (law 4). They are served while valid, and no other refresh token
//! is presented.

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::Trouble;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::record::{Parked, Renewal};
use tokenkeeper_actors::values::{Cause, Reason};

use super::support::{HOUR, Story, generation, once, s};

/// A session whose flight has landed with 1.2, for an hour, and could not save it.
fn keeping() -> Story {
    let mut story = Story::signed_in(HOUR, once());
    story.passes(HOUR);
    story.asks(1);
    assert_eq!(story.mints_unsaved(HOUR), ["publish", "1 gets 1.2"]);
    story
}

#[test]
fn the_unsaved_token_is_served_and_published() {
    let mut story = keeping();
    assert_eq!(story.hit(), Some(generation(1, 2)));
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert!(!story.session.is_idle());
    let flight = story.published().residue.flight.expect("a flight");
    assert!(flight.keeping);
    assert_eq!(flight.id, story.order().flight);
}

#[test]
fn no_other_flight_begins_while_it_is_kept() {
    let mut story = keeping();
    story.passes(HOUR - s(100));
    assert_eq!(story.asks(2), ["2 gets 1.2"], "in its early window");
    assert_eq!(story.insists(3), ["3 is told store_trouble"]);
    assert_eq!(story.asks_to_have(4, s(200)), ["4 is told store_trouble"]);
    story.passes(s(100));
    assert_eq!(story.asks(5), ["5 is told store_trouble"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn no_other_flight_begins_while_it_is_kept_not_even_to_keep_warm() {
    let refresh = RefreshPolicy::KeepWarm { inactivity: Some(s(200)) };
    let mut story = Story::signed_in(HOUR, Policy { refresh, ..once() });
    story.idles(HOUR);
    story.mints_unsaved(s(1_000));
    assert_eq!(story.idles(2 * HOUR), []);
    assert_eq!(story.flights(), 1);
    assert_eq!(story.saves(), ["publish", "fly for early"]);
}

#[test]
fn refused_it_is_served_no_more_and_nobody_waits_for_another() {
    let mut story = keeping();
    assert_eq!(story.refuses(1, generation(1, 2)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(2), ["2 is told store_trouble"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.flights(), 1);
}

#[test]
fn who_insisted_during_the_flight_is_told_when_it_cannot_save() {
    let mut story = Story::signed_in(HOUR, once());
    story.insists(1);
    story.insists(2);
    assert_eq!(story.mints_unsaved(HOUR), ["publish", "1 gets 1.2", "2 is told store_trouble"]);
}

#[test]
fn once_saved_it_goes_on_being_served_and_the_session_rests() {
    let mut story = keeping();
    assert_eq!(story.saves(), ["publish"]);
    assert_eq!(story.published().residue.flight, None);
    assert_eq!(story.published().residue.unstored, None);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert!(story.session.is_idle());
    story.passes(HOUR);
    assert_eq!(story.asks(3), ["publish", "fly for expiry"]);
}

#[test]
fn once_saved_the_next_flight_may_begin() {
    let mut story = keeping();
    story.refuses(1, generation(1, 2));
    story.saves();
    assert_eq!(story.asks(2), ["publish", "fly for refusal"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.3"]);
}

#[test]
fn what_the_store_holds_meanwhile_takes_nothing_away() {
    let mut story = keeping();
    assert_eq!(story.hears(), []);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert_eq!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn a_newer_epoch_supersedes_it_and_its_flight_stands_in_nobodys_way() {
    let mut story = keeping();
    story.store.sign_in(Some(s(10)), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.hit(), Some(generation(2, 3)));
    assert_eq!(story.published().residue.unstored, None);
    story.passes(s(10));
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 2.4"]);
}

#[test]
fn it_outlives_the_actor() {
    let mut story = keeping();
    assert_eq!(story.restarts(), ["publish", "load"]);
    // Even before the first read, because the token exists nowhere else.
    assert_eq!(story.hit(), Some(generation(1, 2)));
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert_eq!(story.insists(3), ["3 is told store_trouble"]);
    story.reads();
    assert_eq!(story.asks(4), ["4 gets 1.2"]);
    assert_eq!(story.flights(), 1);
    assert_eq!(story.saves(), ["publish"]);
    assert_eq!(story.asks(5), ["5 gets 1.2"]);
    assert!(story.session.is_idle());
}

#[test]
fn a_flight_that_breaks_off_while_it_keeps_leaves_its_token_to_be_served() {
    let mut story = keeping();
    let first = story.order().flight;
    assert_eq!(story.breaks_off(), ["publish", "load"]);
    assert_eq!(story.published().residue.flight, None);
    story.reads();
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    // The mark is there. The next flight, after a pause, decides about it.
    assert!(!story.session.is_idle());
    assert_eq!(story.insists(3), []);
    assert_eq!(story.ticks_after(s(1)), ["publish", "fly for force"]);
    assert_eq!(story.order().doubt.map(|doubt| doubt.flight), Some(first));
}

#[test]
fn a_stopping_flight_that_could_not_save_is_over_and_says_so() {
    for noted in [true, false] {
        let mut story = keeping();
        assert_eq!(story.reports(Report::Lost { noted }), ["publish"]);
        assert_eq!(story.published().residue.flight, None);
        assert_eq!(story.hit(), Some(generation(1, 2)));
    }
}

#[test]
fn a_failure_that_cannot_be_written_down_is_kept_too() {
    // The server refused without spending the token, and the mark could not be withdrawn.
    let mut story = Story::signed_in(HOUR, once());
    story.passes(HOUR);
    story.asks(1);
    let landing = tokenkeeper_actors::law::flight::Landing {
        outcome: Outcome::Failed(Trouble::new(Reason::Unreachable)),
        view: story.store.view(),
        keeping: true,
        requests: 1,
    };
    assert_eq!(story.reports(Report::Landed(landing)), ["publish", "1 is told unreachable, 500 ms"]);
    assert_eq!(story.asks(2), ["2 is told store_trouble"]);
    let view = story.store.view().expect("a record");
    assert_eq!(story.reports(Report::Settled(view)), ["publish"]);
    assert_eq!(story.asks(3), []);
    assert_eq!(story.ticks_after(s(1)), ["publish", "fly for expiry"]);
}

#[test]
fn an_older_lease_of_a_sibling_does_not_displace_it_and_a_newer_one_does() {
    let mut story = keeping();
    // The claim was lost, and a sibling resolved the doubt. The sibling's number is above the unsaved one's.
    story.sibling_mints(HOUR, Cause::Expiry);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.hit(), Some(generation(1, 3)));
    assert_eq!(story.published().residue.unstored, None);
}

/// The flight of a caller that insists has found that the server accepts a client again, which is not stored yet. Its view
/// has the version of the stored record.
#[test]
fn the_unsaved_token_of_a_client_that_is_accepted_again_is_served() {
    let mut story = Story::signed_in(HOUR, once());
    let epoch = generation(1, 1).epoch;
    story.store.change(&Change::Park { epoch, why: Parked::ClientRejected });
    story.hears();
    assert_eq!(story.asks(1), ["1 is told client_rejected"]);
    assert_eq!(story.insists(2).quietly(), ["fly for force"]);
    // The session has read the record with the flight's mark.
    story.store.mark(story.order().flight, story.at);
    story.hears();
    let mut view = story.store.view();
    if let Some(view) = view.as_deref_mut() {
        view.renewal = Renewal::Token { since: story.at, mark: None };
    }
    let lease = story.lease_unsaved(HOUR);
    let landing = Landing { outcome: Outcome::Minted(lease), view, keeping: true, requests: 1 };
    assert_eq!(story.reports(Report::Landed(landing)).quietly(), ["2 gets 1.2"]);
    assert_eq!(story.asks(3), ["3 gets 1.2"]);
}
