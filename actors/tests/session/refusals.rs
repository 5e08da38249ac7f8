//! Refusals (law 6). After one is answered, no lease of that generation or older is handed out.

use tokenkeeper_actors::law::flight::{Adopt, Outcome};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::session::{Policy, SessionEvent};
use tokenkeeper_actors::values::{Cause, FlightId, Generation, Nonce, Reason, StoreFault};

use super::support::{HOUR, Store, Story, generation, ms, once, s};

fn signed_in() -> Story {
    Story::signed_in(HOUR, once())
}

#[test]
fn the_current_lease_refused_is_served_no_more_and_replaced_when_somebody_asks() {
    let mut story = signed_in();
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.published().residue.floor, Some(generation(1, 1)));
    // With refreshes on demand, no caller has asked for another token yet.
    assert_eq!(story.flights(), 0);
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
    assert_eq!(story.order().adopt, Adopt::Above { floor: Some(generation(1, 1)), margin: s(1) });
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
    assert_eq!(story.lease_of(1).map(|lease| lease.cause()), Some(Cause::Refusal));
}

#[test]
fn many_callers_refused_at_once_are_one_flight() {
    let mut story = signed_in();
    for caller in 0..32 {
        let told = story.refuses(caller, generation(1, 1));
        assert_eq!(told.count("refusal"), 1);
        assert_eq!(told.count("publish"), usize::from(caller == 0));
        assert_eq!(story.asks(caller).count("fly"), usize::from(caller == 0));
    }
    let told = story.mints(HOUR);
    assert_eq!(told.count(""), 33);
    assert_eq!(story.flights(), 1);
}

#[test]
fn a_late_refusal_of_an_older_lease_changes_nothing() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    story.mints(HOUR);
    assert_eq!(story.refuses(2, generation(1, 1)), ["refusal 2 superseded"]);
    assert_eq!(story.refuses(3, generation(0, 99)), ["refusal 3 superseded"]);
    assert_eq!(story.hit(), Some(generation(1, 2)));
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn an_older_lease_refused_for_the_first_time_is_superseded_too() {
    let mut story = signed_in();
    story.sibling_mints(HOUR, Cause::Early);
    story.hears();
    assert_eq!(story.refuses(1, generation(1, 1)).quietly(), ["refusal 1 superseded"]);
    assert_eq!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn a_refusal_repeated_is_noted_again_and_costs_nothing() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    assert_eq!(story.refuses(2, generation(1, 1)), ["refusal 2 noted"]);
    assert_eq!(story.refuses(3, generation(0, 1)), ["refusal 3 noted"]);
    assert_eq!(story.published().residue.floor, Some(generation(1, 1)));
}

#[test]
fn a_newer_lease_than_is_known_is_looked_for_in_the_record() {
    let mut story = signed_in();
    // A sibling's lease, of which the session has not learned yet.
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.refuses(1, generation(1, 2)), ["load"]);
    assert!(!story.session.is_idle());
    assert_eq!(story.reads(), ["publish", "refusal 1 noted"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.3"]);
}

#[test]
fn a_lease_that_is_in_no_record_changes_nothing() {
    for foreign in [generation(1, 2), generation(1, 99), generation(7, 1), generation(u64::MAX, u64::MAX)] {
        let mut story = signed_in();
        assert_eq!(story.refuses(1, foreign), ["load"]);
        assert_eq!(story.reads(), ["refusal 1 unknown"]);
        assert_eq!(story.published().residue.floor, None);
        assert_eq!(story.asks(1), ["1 gets 1.1"]);
        // Nor does it where the record cannot be read.
        assert_eq!(story.refuses(2, foreign), ["load"]);
        assert_eq!(story.read_fails(), ["refusal 2 unknown"]);
        assert_eq!(story.ticks_after(s(2)), ["load"]);
        assert_eq!(story.refuses(3, foreign), []);
        assert_eq!(story.does(SessionEvent::Shutdown), ["publish", "refusal 3 unknown"]);
        assert_eq!(story.published().residue.floor, None);
    }
}

#[test]
fn a_login_after_a_foreign_refusal_is_served() {
    let mut story = signed_in();
    story.refuses(1, generation(9, 9));
    story.reads();
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn a_lease_of_a_store_that_was_emptied_is_unknown() {
    let mut story = signed_in();
    story.restarts();
    story.store = Store::default();
    story.forgets_what_was_refused();
    story.reads();
    story.refuses(1, generation(1, 1));
    assert_eq!(story.reads(), ["refusal 1 unknown"]);
}

#[test]
fn a_foreign_refusal_while_nothing_is_known_ends_with_the_first_read() {
    let mut story = Story::over_a_login(Some(HOUR), once());
    story.refuses(1, generation(9, 9));
    assert_eq!(story.read_fails(), ["publish", "refusal 1 noted"]);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    // The audit holds the session to the answer, which was a promise about leases that no record has.
    story.forgets_what_was_refused();
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.published().residue.floor, None);
    assert_eq!(story.hit(), Some(generation(1, 1)));
}

#[test]
fn a_foreign_refusal_while_nothing_can_be_read_forgets_no_earlier_one() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.restarts();
    story.refuses(2, generation(9, 9));
    assert_eq!(story.read_fails(), ["publish", "refusal 2 noted"]);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    story.reads();
    assert_eq!(story.published().residue.floor, Some(generation(1, 1)));
    assert_eq!(story.hit(), None);
}

#[test]
fn a_landing_does_not_decide_about_a_lease_that_it_does_not_show() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    assert_eq!(story.refuses(2, generation(1, 3)), ["load"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.reads(), ["publish", "refusal 2 noted"]);
    // A read that began before the refusal does not decide about it either.
    assert_eq!(story.does(SessionEvent::StoreChanged), ["load"]);
    assert_eq!(story.refuses(3, generation(1, 4)), []);
    assert_eq!(story.reads(), ["load"]);
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.reads(), ["publish", "refusal 3 noted"]);
}

#[test]
fn a_token_of_the_same_number_from_another_process_is_not_above_the_floor() {
    let mut story = signed_in();
    let lone = Generation { nonce: Nonce(5), ..generation(1, 1) };
    assert_eq!(story.refuses(1, lone), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
}

#[test]
fn the_floor_outlives_the_actor() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    assert_eq!(story.restarts(), ["publish", "load"]);
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
}

#[test]
fn a_refusal_before_the_first_read_is_heard_when_it_is_known_what_was_refused() {
    let mut story = Story::over_a_login(Some(HOUR), once());
    assert_eq!(story.refuses(1, generation(1, 1)), []);
    assert!(!story.session.is_idle());
    assert_eq!(story.reads(), ["publish", "refusal 1 noted"]);
    assert_eq!(story.hit(), None);

    // A token that a sibling minted for a refusal shows futility too, even if this process never saw it before.
    let mut story = Story::over_a_login(Some(HOUR), once());
    story.sibling_mints(HOUR, Cause::Refusal);
    story.refuses(1, generation(1, 1));
    story.refuses(2, generation(1, 2));
    let told = story.reads();
    assert_eq!(told, ["publish", "refusal 1 superseded", "refusal 2 futile: resource_refuses, 30000 ms"]);
    assert_eq!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn a_refusal_before_the_first_read_is_noted_where_that_fails() {
    let mut story = Story::over_a_login(Some(HOUR), once());
    story.refuses(1, generation(1, 1));
    assert_eq!(story.read_fails(), ["publish", "refusal 1 noted"]);
    assert_eq!(story.ticks_after(s(1)), ["load"]);
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.hit(), None);

    let mut story = Story::over_a_login(Some(HOUR), once());
    story.refuses(1, generation(1, 1));
    assert_eq!(story.ticks_after(s(5)), ["publish", "refusal 1 noted"]);
}

#[test]
fn refusals_that_wait_are_bounded_like_callers() {
    let mut story = Story::over_a_login(Some(HOUR), Policy { max_waiters: 2, ..once() });
    assert_eq!(story.refuses(1, generation(1, 1)), []);
    assert_eq!(story.refuses(2, generation(1, 1)), []);
    assert_eq!(story.refuses(3, generation(1, 1)), ["publish", "refusal 3 noted"]);
    assert_eq!(story.reads(), ["publish", "refusal 1 noted", "refusal 2 noted"]);
}

#[test]
fn refusals_that_wait_are_answered_at_the_end() {
    let mut story = Story::over_a_login(Some(HOUR), once());
    story.refuses(1, generation(1, 1));
    assert_eq!(story.does(SessionEvent::Shutdown), ["publish", "refusal 1 noted"]);
    assert_eq!(story.refuses(2, generation(1, 1)), ["refusal 2 noted"]);
}

#[test]
fn a_siblings_newer_token_satisfies_a_refusal_without_a_flight() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.sibling_mints(HOUR, Cause::Refusal);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 1.2"]);
}

#[test]
fn a_siblings_newer_token_satisfies_who_waits_and_the_flight_goes_on() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    story.sibling_mints(HOUR, Cause::Refusal);
    assert_eq!(story.hears(), ["publish", "1 gets 1.2"]);
    assert_eq!(story.lands(Outcome::Adopted), ["publish"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn a_refusal_while_a_flight_is_in_the_air_is_satisfied_by_what_it_brings() {
    let mut story = signed_in();
    story.passes(HOUR - s(100));
    assert_eq!(story.asks(1), ["publish", "fly for early", "1 gets 1.1"]);
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(2), []);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2"]);
    assert_eq!(story.flights(), 1, "no second token");
}

#[test]
fn an_adopted_token_that_was_refused_meanwhile_is_not_enough() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    story.sibling_mints(HOUR, Cause::Early);
    // The host has the sibling's token from elsewhere, and it is refused before the flight lands.
    assert_eq!(story.refuses(2, generation(1, 2)), ["load"]);
    assert_eq!(story.lands(Outcome::Adopted), ["publish", "fly for refusal", "refusal 2 noted"]);
    assert_eq!(story.order().adopt, Adopt::Above { floor: Some(generation(1, 2)), margin: s(1) });
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.3"]);
}

#[test]
fn the_refused_lease_does_not_come_back_by_any_way() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    assert_eq!(story.hears(), []);
    assert_eq!(story.asks(1), ["publish", "fly for refusal"]);
    let told = story.fails(Reason::Unreachable);
    assert_eq!(told, ["publish", "1 is told unreachable, 500 ms"]);
    assert_eq!(story.hit(), None);
    story.restarts();
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.asks_within(2, ms(100)), ["2 is told unreachable, 500 ms"]);
    assert_eq!(story.does(SessionEvent::Used), []);
}

#[test]
fn the_floor_of_one_epoch_does_not_reach_into_the_next() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn a_refusal_in_backoff_is_noted_and_the_caller_told_when_to_come_back() {
    let mut story = signed_in();
    story.insists(1);
    story.fails_for(Reason::Unreachable, s(60));
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(2), ["2 is told unreachable, 60000 ms"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn a_floor_over_an_empty_store_outlives_the_actor() {
    // No record was ever stored, so none was lost, and the refusal holds.
    let mut story = Story::begins(Policy { renewal: super::support::repeatable(), ..once() });
    story.reads();
    story.asks(1);
    story.mints_without_store(HOUR);
    let refused = story.lease_of(1).expect("a lease").generation();
    assert_eq!((refused.epoch, refused.number), (generation(0, 1).epoch, 1));
    story.refuses(1, refused);
    story.restarts();
    story.reads();
    assert_eq!(story.published().residue.floor, Some(refused));
}

#[test]
fn a_flight_takes_nothing_that_is_refused_or_there_already_whichever_is_newer() {
    let above = |story: &Story| match story.order().adopt {
        Adopt::Above { floor, .. } => floor,
        Adopt::Since { .. } => panic!("it adopts"),
    };
    // Refused long ago, and followed by a token that has expired.
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    story.mints(s(10));
    story.passes(s(10));
    story.asks(2);
    assert_eq!(above(&story), Some(generation(1, 2)));
    // Refused, and newer than the lease that is there. A sibling has reserved its number.
    let mut story = signed_in();
    story.store.mark(FlightId(0xfeed), story.at);
    story.hears();
    assert_eq!(story.refuses(1, generation(1, 2)), ["publish", "refusal 1 noted"]);
    story.asks(1);
    assert_eq!(above(&story), Some(generation(1, 2)));
}

/// The server ends the grant while its token, 1.1, is still good, and another process has learned that.
fn grant_ends(story: &mut Story) {
    let record = story.store.record.as_ref().expect("a record");
    let (epoch, sent) = (record.epoch, record.held().expect("held").credential.digest());
    story.store.change(&Change::End { epoch, sent });
}

#[test]
fn a_refused_token_of_an_ended_grant_is_removed_from_the_record() {
    // Refused when the end is known.
    let mut story = signed_in();
    grant_ends(&mut story);
    story.hears();
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "discard 1.1", "refusal 1 noted"]);
    assert_eq!(story.asks(2), ["2 is told grant_ended"]);
    assert_eq!(story.writes().quietly(), []);
    assert!(story.store.record.as_ref().expect("a record").lease().is_none());
    assert_eq!(story.refuses(2, generation(1, 1)), ["refusal 2 noted"]);
    assert_eq!(story.asks(3), ["3 is told grant_ended"]);

    // Refused first: the refresh that this calls for finds that the grant has ended.
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    grant_ends(&mut story);
    let told = story.lands(Outcome::LoginRequired(Reason::GrantEnded));
    assert_eq!(told, ["publish", "discard 1.1", "1 is told grant_ended"]);
}

#[test]
fn a_login_that_precedes_the_removal_of_a_refused_token_is_served_at_once() {
    let mut story = signed_in();
    grant_ends(&mut story);
    story.hears();
    story.refuses(1, generation(1, 1));
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.writes(), ["publish"], "a conflict, which shows the login");
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn a_refused_token_is_removed_at_most_once_for_each_version_of_the_record() {
    let mut story = signed_in();
    grant_ends(&mut story);
    story.hears();
    story.refuses(1, generation(1, 1));
    assert_eq!(story.write_fails(StoreFault::Failed), []);
    assert_eq!(story.hears(), []);
    assert_eq!(story.refuses(2, generation(1, 1)), ["refusal 2 noted"]);
    // The next incarnation knows of the refusal, and tries once more.
    story.restarts();
    assert_eq!(story.reads().quietly(), ["discard 1.1"]);
}

#[test]
fn a_refused_token_that_a_refresh_can_replace_stays_in_the_record() {
    let mut story = signed_in();
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    story.asks(1);
    assert_eq!(story.fails(Reason::Unreachable).count("discard"), 0);
}
