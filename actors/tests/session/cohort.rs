//! All callers that wait for one flight share its outcome. A caller that insists waits for a later flight.

use tokenkeeper_actors::law::flight::{Adopt, Outcome, Urgency};
use tokenkeeper_actors::law::session::{Ask, Policy, SessionEffect};
use tokenkeeper_actors::values::{Cause, Reason, Validity};

use super::support::{HOUR, Story, generation, ms, once, s};

/// A session whose token has expired.
fn expired() -> Story {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story
}

#[test]
fn a_thousand_callers_share_one_flight_and_one_token() {
    let mut story = expired();
    for waiter in 0..1_000 {
        let told = story.asks(waiter);
        assert_eq!(told.count("fly"), usize::from(waiter == 0));
        assert_eq!(told.count(&format!("{waiter} ")), 0);
    }
    let told = story.mints(HOUR);
    assert_eq!(told.0.len(), 1_001);
    assert_eq!(told.0[0], "publish");
    assert!((0..1_000).all(|waiter| told.0[waiter + 1] == format!("{waiter} gets 1.2")));
    assert_eq!(story.flights(), 1);
    assert!(story.session.is_idle());
}

#[test]
fn the_cohort_shares_a_failure_too() {
    let mut story = Story::signed_in(HOUR, once());
    story.passes(HOUR);
    for waiter in 0..10 {
        story.asks(waiter);
    }
    let told = story.fails(Reason::Unreachable);
    assert_eq!(told.0[0], "publish");
    assert_eq!(told.count(""), 11);
    assert!((0..10).all(|waiter| told.0[waiter + 1] == format!("{waiter} is told unreachable, 500 ms")));
    assert_eq!(story.flights(), 1, "nobody tries again for himself");
}

#[test]
fn the_cohort_gets_the_very_token_that_was_minted() {
    let mut story = expired();
    story.asks(1);
    story.mints(HOUR);
    assert_eq!(story.lease_of(1).expect("a lease").token().expose(), "at-2");
    assert_eq!(story.lease_of(1).expect("a lease").cause(), Cause::Expiry);
    let published = story.effects().iter().find_map(|effect| match effect {
        SessionEffect::Publish(published) => published.hit.as_ref(),
        _ => None,
    });
    assert_eq!(published.expect("a hit").lease.token().expose(), "at-2");
}

#[test]
fn the_flight_goes_on_when_all_callers_have_left() {
    let mut story = expired();
    story.asks(1);
    assert_eq!(story.leaves(1), []);
    assert_eq!(story.mints(HOUR), ["publish"]);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
}

#[test]
fn who_insists_gets_a_new_token_though_the_old_one_is_fresh() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.insists(1), ["publish", "fly for force"]);
    assert!(matches!(story.order().adopt, Adopt::Since { .. }));
    assert_eq!(story.order().urgency, Urgency::Callers);
    // Other callers are served meanwhile.
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn who_insists_is_not_content_with_a_flight_that_began_before() {
    let mut story = expired();
    story.asks(1);
    assert_eq!(story.insists(2), []);
    assert_eq!(story.asks(3), []);
    assert_eq!(story.mints(HOUR), ["publish", "fly for force", "1 gets 1.2", "3 gets 1.2"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.3"]);
    assert_eq!(story.flights(), 2);
}

#[test]
fn who_insists_after_another_began_to_insist_gets_a_flight_of_his_own() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.insists(2);
    story.insists(3);
    assert_eq!(story.mints(HOUR), ["publish", "fly for force", "1 gets 1.2"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.3", "3 gets 1.3"]);
}

#[test]
fn who_insists_is_content_with_what_a_sibling_requested_later() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.insists(2);
    // The flight found it under its claim. The second caller came after it was ordered.
    story.sibling_mints(HOUR, Cause::Force);
    assert_eq!(story.lands(Outcome::Adopted), ["publish", "fly for force", "1 gets 1.2"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.3"]);
    assert_eq!(story.flights(), 2);
}

#[test]
fn who_insists_is_not_content_with_what_a_sibling_brought() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.insists(1);
    story.sibling_mints(HOUR, Cause::Early);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.3"]);
}

#[test]
fn who_insists_is_not_content_with_the_flight_of_a_former_incarnation() {
    let mut story = expired();
    story.asks(1);
    story.restarts();
    story.reads();
    assert_eq!(story.insists(2), []);
    assert_eq!(story.asks(3), []);
    assert_eq!(story.mints(HOUR), ["publish", "fly for force", "3 gets 1.2"]);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.3"]);
}

#[test]
fn who_insists_gets_a_token_and_all_who_wait_share_it() {
    let mut story = expired();
    story.insists(1);
    story.asks(2);
    assert_eq!(story.mints(HOUR), ["publish", "1 gets 1.2", "2 gets 1.2"]);
}

#[test]
fn who_insists_is_told_of_a_failure_and_never_given_the_old_token_instead() {
    let mut story = Story::signed_in(HOUR, once());
    story.insists(1);
    assert_eq!(story.fails(Reason::ServerTrouble), ["publish", "1 is told server_trouble, 500 ms"]);
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
}

#[test]
fn who_wants_more_than_was_minted_is_given_it_all_the_same() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(s(1_800));
    assert_eq!(story.asks_to_have(1, s(2_000)), ["publish", "fly for expiry"]);
    // The server now issues tokens that have lived for half their time. No better ones can be had.
    let asked = story.at;
    story.passes(s(6));
    assert_eq!(story.mints_with(Validity::new(asked, Some(s(12)))), ["publish", "1 gets 1.2"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn a_token_that_is_over_before_it_arrives_is_a_failure() {
    let mut story = expired();
    story.asks(1);
    let asked = story.at;
    story.passes(s(10));
    let told = story.mints_with(Validity::new(asked, Some(s(10))));
    assert_eq!(told, ["publish", "1 is told expired_on_arrival, 500 ms"]);
    assert_eq!(story.asks_within(2, ms(499)), ["2 is told expired_on_arrival, 500 ms"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn an_adopted_token_serves_those_it_can_and_the_others_get_another_flight() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.asks_to_have(2, s(2_000));
    // A sibling's token that has lived for half its time.
    let asked = story.at;
    story.passes(s(20));
    let sibling = tokenkeeper_actors::values::FlightId(9);
    story.store.refresh(sibling, Cause::Expiry, Validity::new(asked, Some(s(40))));
    assert_eq!(story.lands(Outcome::Adopted), ["publish", "fly for expiry", "1 gets 1.2"]);
    assert_eq!(story.order().adopt, Adopt::Above { floor: Some(generation(1, 2)), margin: s(1) });
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.3"]);
}

#[test]
fn callers_join_the_flight_that_an_early_window_set_off() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR - s(10));
    story.asks(1);
    story.passes(s(10));
    let ask = Ask { timeout: s(5), ..story.ask() };
    assert_eq!(story.asks_for(2, ask), []);
    assert_eq!(story.mints(HOUR), ["publish", "2 gets 1.2"]);
    assert_eq!(story.flights(), 1);
}
