//! The issuers that a resource lists (law 13). The bound one is kept while it is listed, and otherwise the grant is
//! parked.

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::{StoreFault, Validity};

use super::support::{HOUR, ISSUER, Story, epoch, generation, s};

const OTHER: &str = "https://evil.example.com";

fn signed_in() -> Story {
    Story::signed_in(HOUR, Policy::default())
}

/// A session whose issuer two lists have lacked, so that its grant is being parked.
fn barred() -> Story {
    let mut story = signed_in();
    assert_eq!(story.lists(&[OTHER]), ["publish"]);
    assert_eq!(story.passes(s(5)).lists(&[OTHER]), ["park 1"]);
    story
}

#[test]
fn the_bound_issuer_is_kept_while_it_is_listed() {
    let mut story = signed_in();
    assert_eq!(story.lists(&[ISSUER]), []);
    assert_eq!(story.lists(&[OTHER, ISSUER]), []);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
}

#[test]
fn spelled_otherwise_it_is_another() {
    let mut story = signed_in();
    assert_eq!(story.lists(&["https://as.example.com/"]), ["publish"]);
    assert_eq!(story.passes(s(5)).lists(&["https://as.example.com/"]), ["park 1"]);
}

#[test]
fn a_list_without_it_ends_the_serving_at_once_and_is_written_down() {
    let mut story = barred();
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1), ["1 is told issuer_changed"]);
    assert_eq!(story.insists(2), ["2 is told issuer_changed"]);
    assert!(!story.session.is_idle());
    assert_eq!(story.published().residue.barred, Some(epoch(1)));
    assert_eq!(story.writes(), ["publish"]);
    assert_eq!(story.asks(3), ["3 is told issuer_changed"]);
    assert!(story.session.is_idle());
    assert_eq!(story.published().residue.barred, None);
    assert_eq!(story.flights(), 0);
}

#[test]
fn who_waits_is_told() {
    let mut story = signed_in();
    story.insists(1);
    story.insists(2);
    assert_eq!(story.lists(&[OTHER]), ["publish", "1 is told issuer_changed", "2 is told issuer_changed"]);
}

#[test]
fn an_empty_list_is_no_statement() {
    let mut story = signed_in();
    for _ in 0..3 {
        assert_eq!(story.passes(s(60)).lists(&[]), []);
    }
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
}

#[test]
fn one_list_ends_the_serving_and_only_a_later_one_is_written_down() {
    let mut story = signed_in();
    assert_eq!(story.lists(&[OTHER]), ["publish"]);
    assert_eq!(story.asks(1), ["1 is told issuer_changed"]);
    assert!(story.session.is_idle(), "nothing is to be written");
    assert_eq!(story.passes(s(4)).lists(&[OTHER]), []);
    assert_eq!(story.lists(&[ISSUER]), ["publish"]);
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
    assert_eq!(story.passes(s(60)).lists(&[OTHER]), ["publish"], "a first list again");
    assert_eq!(story.restarts(), ["publish", "load"]);
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.asks(3), ["3 is told issuer_changed"], "the next actor knows");
    assert_eq!(story.passes(s(5)).lists(&[OTHER]), ["park 1"]);
}

#[test]
fn said_again_it_is_not_written_again() {
    let mut story = barred();
    assert_eq!(story.lists(&[OTHER]), []);
    story.writes();
    assert_eq!(story.lists(&[OTHER]), []);
}

#[test]
fn listed_again_before_it_was_written_it_is_served_again() {
    let mut story = barred();
    assert_eq!(story.lists(&[ISSUER]), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    // The write was in flight, so the grant is parked until it is listed again.
    assert_eq!(story.writes(), ["publish"]);
    assert_eq!(story.asks(2), ["2 is told issuer_changed"]);
    assert_eq!(story.lists(&[ISSUER]), ["unpark 1"]);
    assert_eq!(story.writes(), ["publish"]);
    assert_eq!(story.asks(3), ["3 gets 1.1"]);
}

#[test]
fn a_grant_that_was_parked_for_it_is_taken_back_when_its_issuer_is_listed_again() {
    let mut story = barred();
    story.writes();
    assert_eq!(story.lists(&[OTHER]), []);
    assert_eq!(story.lists(&[OTHER, ISSUER]), ["unpark 1"]);
    assert_eq!(story.writes(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
}

#[test]
fn once_it_is_written_a_login_helps() {
    let mut story = barred();
    story.writes();
    assert_eq!(story.lists(&[OTHER]), []);
    assert_eq!(story.asks(1), ["1 is told issuer_changed"]);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(2), ["2 gets 2.2"]);
}

#[test]
fn a_login_lifts_the_bar_before_it_was_written() {
    let mut story = barred();
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.writes(), ["publish"], "a conflict, which shows the new epoch");
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    assert!(story.session.is_idle());
}

#[test]
fn a_write_that_fails_is_tried_again_until_it_is_done() {
    let mut story = barred();
    story.write_fails(StoreFault::Failed);
    for _ in 0..3 {
        assert_eq!(story.asks(1), ["1 is told issuer_changed"]);
        let began = story.at.elapsed;
        assert_eq!(story.idles(HOUR), ["park 1"]);
        assert_eq!(story.at.elapsed.since(began), s(30));
        story.write_fails(StoreFault::Failed);
    }
    assert_eq!(story.idles(HOUR), ["park 1"]);
    assert_eq!(story.writes(), ["publish"]);
    assert!(story.session.is_idle());
    assert_eq!(story.session.next_wake(), None);
}

#[test]
fn a_write_that_is_never_answered_is_tried_again() {
    let mut story = barred();
    assert_eq!(story.idles(HOUR), ["park 1"]);
    assert_eq!(story.writes(), ["publish"]);
    assert!(story.session.is_idle());
}

#[test]
fn what_is_not_written_yet_outlives_the_actor() {
    let mut story = barred();
    story.write_fails(StoreFault::Failed);
    assert_eq!(story.restarts(), ["publish", "load"]);
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1), ["1 is told issuer_changed"]);
    assert_eq!(story.passes(s(5)).lists(&[OTHER]), ["park 1"]);
    assert_eq!(story.writes(), ["publish"]);
    assert!(story.session.is_idle());
}

#[test]
fn what_a_flight_brings_meanwhile_is_not_served_not_even_after_the_bar() {
    let mut story = signed_in();
    story.insists(1);
    story.lists(&[OTHER]);
    story.passes(s(5)).lists(&[OTHER]);
    story.writes();
    let lease = story.store.refresh(story.order().flight, story.order().cause, Validity::new(story.at, Some(HOUR)));
    assert_eq!(story.lands(Outcome::Minted(lease)).count("1 gets"), 0);
    assert_eq!(story.hit(), None);
    assert_eq!(story.published().residue.unstored, None);
    story.lists(&[OTHER]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(2), ["2 is told issuer_changed"]);
    story.restarts();
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.asks(3), ["3 is told issuer_changed"]);
}

#[test]
fn what_a_flight_keeps_is_not_served_while_the_bar_is_up() {
    let mut story = signed_in();
    story.insists(1);
    story.mints_unsaved(HOUR);
    assert_eq!(story.lists(&[OTHER]), ["publish"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(2), ["2 is told issuer_changed"]);
}

#[test]
fn nothing_is_flown_while_the_bar_is_up() {
    let refresh = RefreshPolicy::KeepWarm { inactivity: None };
    let mut story = Story::signed_in(HOUR, Policy { refresh, ..Policy::default() });
    story.lists(&[OTHER]);
    for _ in 0..200 {
        assert_eq!(story.idles(s(60)).count("fly"), 0);
    }
}

#[test]
fn a_list_that_comes_before_the_first_read_counts_when_it_is_done() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    assert_eq!(story.lists(&[OTHER]), []);
    story.asks(1);
    let told = story.reads();
    assert_eq!(told, ["publish", "1 is told issuer_changed"]);
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.lists(&[OTHER]);
    story.lists(&[ISSUER]);
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
}

#[test]
fn where_nothing_is_bound_nothing_is_parked() {
    let mut story = Story::begins(Policy::default());
    story.reads();
    assert_eq!(story.lists(&[OTHER]), []);
    let mut story = signed_in();
    story.store.sign_out();
    story.hears();
    assert_eq!(story.lists(&[OTHER]), []);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
}

#[test]
fn a_flight_that_lands_into_a_parked_record_is_told_as_that() {
    // A sibling learned of the other issuer first.
    let mut story = signed_in();
    story.insists(1);
    let (flight, cause) = (story.order().flight, story.order().cause);
    let lease = story.store.refresh(flight, cause, Validity::new(story.at, Some(HOUR)));
    let why = tokenkeeper_actors::values::record::Parked::IssuerChanged;
    story.store.change(&tokenkeeper_actors::law::ledger::Change::Park { epoch: epoch(1), why });
    let view = story.store.view();
    let landing = Landing { outcome: Outcome::Minted(lease), view, keeping: false, requests: 1 };
    assert_eq!(story.reports(Report::Landed(landing)), ["publish", "1 is told issuer_changed"]);
    assert_eq!(story.hit(), None);
    assert_ne!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn a_list_that_comes_while_nothing_can_be_read_counts_when_it_can() {
    let policy = Policy { renewal: super::support::repeatable(), ..Policy::default() };
    let mut store = super::support::Store::default();
    store.sign_in(Some(HOUR), super::support::beginning());
    let mut story = Story::begins_over(store, policy);
    story.read_fails();
    assert_eq!(story.lists(&[OTHER]), []);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    assert_eq!(story.reads(), ["publish"]);
}
