//! Callers that get a lease at once, and callers that get an error at once.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Adopt, Urgency};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::session::{Ask, Policy, SessionEvent};
use tokenkeeper_actors::values::record::{MarkState, Parked, Record, Refresh};
use tokenkeeper_actors::values::{Cause, Epoch, FlightId};

use super::support::{HOUR, Store, Story, beginning, generation, login, ms, repeatable, s};

#[test]
fn a_fresh_lease_is_served_at_once_and_nothing_flies() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
    assert_eq!((story.flights(), story.session.waiting()), (0, 0));
}

#[test]
fn what_is_read_is_published_for_hits_until_its_early_window() {
    let story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.hit(), Some(generation(1, 1)));
    assert_eq!(story.window(), Some(HOUR - s(300)));
    assert_eq!(story.published().residue.known, generation(1, 1));
}

#[test]
fn a_caller_before_the_first_read_waits_for_it() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    assert_eq!(story.asks(1), []);
    assert_eq!(story.asks(2), []);
    assert_eq!(story.reads(), ["publish", "1 gets 1.1", "2 gets 1.1"]);
}

#[test]
fn a_token_that_is_over_is_renewed_for_the_caller() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    let order = story.order();
    assert_eq!((order.cause, order.epoch, order.urgency), (Cause::Expiry, Epoch::new(1), Urgency::Callers));
    assert_eq!(order.issuer.as_ref(), Some(&super::support::binding().issuer));
    assert_eq!(order.known, generation(1, 1));
    let floor = Some(generation(1, 1));
    assert_eq!(order.adopt, Adopt::Above { floor, margin: s(1) });
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn a_second_is_left_of_what_is_handed_out() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - ms(1_001));
    assert_eq!(story.asks(1), ["publish", "fly for early", "1 gets 1.1"]);
    story.passes(ms(1));
    assert_eq!(story.asks(2), []);
    assert_eq!(story.session.waiting(), 1);
}

#[test]
fn a_margin_is_never_more_than_a_quarter_of_the_lifetime() {
    // Of two seconds, half a second is enough.
    let mut story = Story::signed_in(s(2), Policy::default());
    story.passes(ms(1_499));
    assert_eq!(story.asks(1).count("1 gets"), 1);
    story.passes(ms(1));
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
}

#[test]
fn what_a_caller_must_have_left_is_respected() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(s(1_600));
    assert_eq!(story.asks_to_have(1, s(2_000) - ms(1)), ["1 gets 1.1"]);
    assert_eq!(story.asks_to_have(2, s(2_000)), ["publish", "fly for expiry"]);
    // Other callers are still served meanwhile.
    assert_eq!(story.asks(3), ["3 gets 1.1"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2"]);
}

#[test]
fn nobody_can_demand_more_than_three_quarters_of_the_lifetime() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(s(899));
    assert_eq!(story.asks_to_have(1, Duration::MAX), ["1 gets 1.1"]);
    story.passes(s(1));
    assert_eq!(story.asks_to_have(2, HOUR), ["publish", "fly for expiry"]);
}

#[test]
fn a_token_of_unknown_lifetime_is_served_until_it_is_refused() {
    let mut story = Story::over_a_login(None, Policy::default());
    story.reads();
    story.passes(s(86_400 * 365));
    assert_eq!(story.asks_to_have(1, HOUR), ["1 gets 1.1"]);
    assert_eq!(story.window(), None);
    assert!(story.published().hit.is_some());
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(2), ["publish", "fly for refusal"]);
}

#[test]
fn patience_of_zero_is_enough_for_what_is_there_and_for_nothing_else() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.asks_within(1, Duration::ZERO), ["1 gets 1.1"]);
    story.passes(HOUR);
    assert_eq!(story.asks_within(2, Duration::ZERO), ["2 is told deadline_passed"]);
    assert_eq!((story.flights(), story.session.waiting()), (0, 0));
    assert_eq!(story.asks_within(3, ms(1)), ["publish", "fly for expiry"]);
}

#[test]
fn past_the_bound_callers_are_turned_away_before_anything_is_queued() {
    let mut story = Story::signed_in(HOUR, Policy { max_waiters: 3, ..Policy::default() });
    story.passes(HOUR);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    assert_eq!(story.asks(2), []);
    assert_eq!(story.asks(3), []);
    assert_eq!(story.asks(4), ["4 is told too_many_waiters"]);
    assert_eq!(story.leaves(2), []);
    assert_eq!(story.asks(5), []);
    assert_eq!(story.asks(6), ["6 is told too_many_waiters"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2", "3 gets 1.2", "5 gets 1.2"]);
}

#[test]
fn the_usual_bound_is_65536() {
    assert_eq!(Policy::default().max_waiters, 65_536);
}

#[test]
fn where_nobody_signed_in_that_is_said_at_once() {
    let mut story = Story::begins(Policy::default());
    assert_eq!(story.asks(1), []);
    assert_eq!(story.reads(), ["publish", "1 is told never_signed_in"]);
    assert_eq!(story.asks(2), ["2 is told never_signed_in"]);
    assert_eq!(story.insists(3), ["3 is told never_signed_in"]);
    assert_eq!(story.flights(), 0);
}

/// A session over a login whose record was then changed like this, and whose token has expired.
fn over(change: impl FnOnce(&mut Record)) -> Story {
    let mut store = Store::default();
    store.sign_in(Some(s(10)), beginning());
    change(store.record.as_mut().expect("a record"));
    let mut story = Story::begins_over(store, Policy::default());
    story.passes(s(10));
    story
}

/// The errors that a caller gets at once if the token has expired, before and after the read.
fn told_at_once(mut story: Story, reason: &str) {
    assert_eq!(story.asks(1), []);
    assert_eq!(story.reads().quietly(), [format!("1 is told {reason}").as_str()]);
    assert_eq!(story.asks(2), [format!("2 is told {reason}").as_str()]);
    assert_eq!((story.flights(), story.session.waiting()), (0, 0));
}

fn grant(record: &mut Record) -> &mut tokenkeeper_actors::values::record::Grant {
    match &mut record.content {
        tokenkeeper_actors::values::record::Content::Grant(grant) => grant,
        other => panic!("no grant, but {other:?}"),
    }
}

#[test]
fn a_person_is_needed_and_that_is_said_at_once_whatever_the_record() {
    let parked = |why| move |record: &mut Record| grant(record).parked = Some(why);
    told_at_once(over(parked(Parked::ClientRejected)), "client_rejected");
    told_at_once(over(parked(Parked::IssuerChanged)), "issuer_changed");
    told_at_once(over(parked(Parked::SubjectChanged)), "subject_changed");
    told_at_once(over(|record| grant(record).refresh = Refresh::None), "not_refreshable");
    let ended = |record: &mut Record| {
        let digest = record.held().expect("held").credential.digest();
        grant(record).refresh = Refresh::Ended(digest);
    };
    told_at_once(over(ended), "grant_ended");

    let mut store = Store::default();
    store.sign_in(Some(s(10)), beginning());
    store.mark(FlightId(7), beginning());
    if let Refresh::Held(held) = &mut grant(store.record.as_mut().expect("a record")).refresh {
        held.mark.as_mut().expect("a mark").state = MarkState::Spent;
    }
    let mut story = Story::begins_over(store, Policy::default());
    story.passes(s(10));
    told_at_once(story, "maybe_consumed");

    let mut store = Store::default();
    store.sign_in(Some(s(10)), beginning());
    store.sign_out();
    told_at_once(Story::begins_over(store, Policy::default()), "logged_out");
}

#[test]
fn a_parked_grant_serves_nothing_though_its_token_lives() {
    let mut story = over(|record| grant(record).parked = Some(Parked::ClientRejected));
    story.at = beginning();
    assert_eq!(story.reads().quietly(), []);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1), ["1 is told client_rejected"]);
}

#[test]
fn a_living_token_is_served_though_the_grant_has_ended() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let record = story.store.record.as_ref().expect("a record");
    let (epoch, sent) = (record.epoch, record.held().expect("held").credential.digest());
    story.store.change(&Change::End { epoch, sent });
    story.passes(HOUR - s(200));
    // No refresh is begun for it, though it is in its early window.
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.insists(2), ["2 is told grant_ended"]);
    story.passes(s(200));
    assert_eq!(story.asks(3), ["3 is told grant_ended"]);
    assert_eq!(story.flights(), 0);
}

#[test]
fn without_a_refresh_token_the_access_token_is_served_while_it_lives() {
    let mut store = Store::default();
    let mut login = login("unused", Some(HOUR), beginning());
    login.refresh = None;
    store.change(&Change::Install(Box::new(login)));
    let mut story = Story::begins_over(store, Policy::default());
    story.reads();
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "refusal 1 noted"]);
    assert_eq!(story.asks(2), ["2 is told not_refreshable"]);
}

#[test]
fn a_repeatable_source_mints_where_nobody_signed_in_and_where_there_is_no_refresh_token() {
    let policy = Policy { renewal: repeatable(), ..Policy::default() };
    let mut story = Story::begins(policy);
    story.reads();
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    assert_eq!(story.order().adopt, Adopt::Above { floor: None, margin: s(1) });
    let (flight, validity) = (story.order().flight, tokenkeeper_actors::values::Validity::new(story.at, Some(HOUR)));
    let lease = story.store.mint(flight, Cause::Expiry, validity);
    assert_eq!(story.lands(tokenkeeper_actors::law::flight::Outcome::Minted(lease)), ["publish", "1 gets 0.1"]);
    story.passes(HOUR);
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
}

#[test]
fn a_repeatable_source_does_not_mint_where_somebody_logged_out() {
    let mut store = Store::default();
    store.sign_in(Some(HOUR), beginning());
    store.sign_out();
    let mut story = Story::begins_over(store, Policy { renewal: repeatable(), ..Policy::default() });
    story.reads();
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    // The next actor does not either, when the store can no longer be read.
    story.restarts();
    assert_eq!(story.asks(2), []);
    assert_eq!(story.read_fails(), ["publish", "2 is told logged_out"]);
    assert_eq!(story.asks(3), ["3 is told logged_out"]);
}

#[test]
fn a_session_with_nothing_to_do_is_idle_and_sleeps_on() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert!(story.session.is_idle());
    assert_eq!(story.session.next_wake(), None);
    story.passes(HOUR);
    story.asks(1);
    assert!(!story.session.is_idle());
    // The caller goes away, and the flight still runs.
    assert_eq!(story.leaves(1), []);
    assert!(!story.session.is_idle());
    assert_eq!(story.mints(HOUR), ["publish"]);
    assert!(story.session.is_idle());
}

#[test]
fn a_session_in_doubt_is_not_idle() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.mark(FlightId(7), story.at);
    story.hears();
    assert!(!story.session.is_idle());
    // Its token is served all the same.
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
}

#[test]
fn a_caller_that_left_is_not_answered_and_one_that_never_was_can_leave() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.leaves(9), []);
    story.passes(HOUR);
    story.asks(1);
    story.asks(2);
    assert_eq!(story.leaves(1), []);
    assert_eq!(story.leaves(1), []);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2"]);
}

#[test]
fn who_asked_long_ago_is_still_served_what_is_there() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let ask = Ask { timeout: s(1), ..story.ask() };
    story.passes(s(5));
    assert_eq!(story.asks_for(1, ask), ["1 gets 1.1"]);
    assert_eq!(story.does(SessionEvent::Used), []);
}
