//! The connection, which stands before the mark is written. A server that cannot be reached costs no write (laws 8 and 10),
//! and no token goes over a connection to another endpoint (law 13).

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::profile::{NotSent, Profile, Reuse};
use tokenkeeper_actors::values::DpopKey;

use crate::support::*;

/// A flight whose story answers for its connections.
fn by_hand(setup: Setup) -> Story {
    Story::begin(Setup { connects: false, ..setup })
}

/// Up to the connection, which is asked for with the second read.
fn until_connecting() -> (Story, Op) {
    let mut flight = by_hand(Setup::default()).until_claimed();
    flight.claim();
    let (op, _) = flight.connect_asked();
    (flight, op)
}

/// Up to the decision, after which only the connection is awaited.
fn until_decided() -> (Story, Op) {
    let (mut flight, op) = until_connecting();
    flight.load();
    (flight, op)
}

/// The flight has written nothing, and lands with `outcome`.
fn lands_unwritten(mut flight: Story, outcome: Outcome) {
    flight.released();
    flight.permit_back();
    assert_eq!(flight.record.as_ref().map(|record| record.revision), Some(signed_in().revision));
    let landing = flight.landing();
    assert_eq!((landing.outcome, landing.requests, landing.keeping), (outcome, 0, false));
    flight.over_now();
}

#[test]
fn a_flight_connects_while_it_reads_again_and_marks_once_the_connection_stands() {
    let mut flight = by_hand(Setup::default()).until_claimed();
    flight.claim();
    let (op, grant) = flight.connect_asked();
    assert_eq!(grant.binding, binding());
    flight.load();
    flight.wakes_in(secs(10));
    flight.connected(op, Ok(()));
    flight.change(EffectName::Mark);
    assert_eq!(flight.send_over().1, Some(op));
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_connection_that_stands_before_the_read_is_not_waited_for() {
    let (mut flight, op) = until_connecting();
    let load = flight.load_asked();
    flight.connected(op, Ok(()));
    flight.loaded(load);
    flight.change(EffectName::Mark);
    assert_eq!(flight.send_over().1, Some(op));
}

#[test]
fn without_a_connection_nothing_is_written() {
    for (fault, outcome) in [
        (NO_CONNECTION, failed(Reason::Unreachable)),
        (ConnectFault::NotSent(NotSent::Unbuildable), failed(Reason::RequestRefused)),
        (ConnectFault::NotSent(NotSent::TooLate), failed(Reason::Unreachable)),
        (ConnectFault::Throttled(secs(7)), failed_for(Reason::Throttled, secs(7))),
    ] {
        let (mut flight, op) = until_decided();
        flight.connected(op, Err(fault));
        lands_unwritten(flight, outcome.clone());

        let (mut flight, op) = until_connecting();
        let load = flight.load_asked();
        flight.connected(op, Err(fault));
        flight.loaded(load);
        lands_unwritten(flight, outcome);
    }
}

#[test]
fn a_connection_that_takes_too_long_is_given_up_and_its_late_answer_changes_nothing() {
    let (mut flight, op) = until_decided();
    flight.wake_after(secs(10));
    flight.ignores(FlightEvent::Connected(op, Ok(())));
    lands_unwritten(flight, failed(Reason::Unreachable));
}

#[test]
fn the_time_of_the_read_counts_for_the_connection() {
    let (mut flight, op) = until_connecting();
    let load = flight.load_asked();
    flight.pass(secs(4));
    flight.loaded(load);
    flight.wakes_in(secs(6));
    flight.pass(millis(5_999));
    flight.connected(op, Ok(()));
    // The mark is of now, so the time spent on the connection is not taken from the request.
    let (op, change) = flight.change_asked(EffectName::Mark);
    let Change::Mark { mark, .. } = &change else { panic!("{change:?}") };
    assert_eq!(mark.latest, after(START, millis(9_999)));
    flight.written(op, &change);
    assert_eq!(flight.send().not_after, START.elapsed.after(millis(11_999)));
}

#[test]
fn an_unreachable_server_does_not_hide_what_a_sibling_obtained() {
    let (mut flight, op) = until_connecting();
    let load = flight.load_asked();
    flight.connected(op, Err(NO_CONNECTION));
    flight.sibling_refreshes("at-s", "rt-s");
    flight.loaded(load);
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_token_goes_only_over_a_connection_to_the_endpoint_of_the_record_under_the_claim() {
    for answered in [false, true] {
        let (mut flight, op) = until_connecting();
        let load = flight.load_asked();
        if answered {
            flight.connected(op, Ok(()));
        }
        let grant = grant_of(flight.record.as_mut().unwrap());
        grant.binding.token_endpoint = "https://as.example.com/other".to_owned();
        flight.loaded(load);
        let (second, grant) = flight.connect_asked();
        assert_eq!(grant.binding.token_endpoint, "https://as.example.com/other");
        flight.ignores(FlightEvent::Connected(op, Ok(())));
        flight.ignores(FlightEvent::Connected(op, Err(NO_CONNECTION)));
        flight.wakes_in(secs(10));
        flight.connected(second, Ok(()));
        flight.change(EffectName::Mark);
        assert_eq!(flight.send_over().1, Some(second));
    }
}

#[test]
fn a_connection_that_failed_to_another_endpoint_is_no_obstacle() {
    let (mut flight, op) = until_connecting();
    let load = flight.load_asked();
    flight.connected(op, Err(NO_CONNECTION));
    grant_of(flight.record.as_mut().unwrap()).binding.token_endpoint = "https://as.example.com/other".to_owned();
    flight.loaded(load);
    let (second, _) = flight.connect_asked();
    flight.connected(second, Ok(()));
    flight.change(EffectName::Mark);
    assert_eq!(flight.send_over().1, Some(second));
}

#[test]
fn an_endpoint_that_changes_after_the_mark_gets_a_connection_of_its_own() {
    let (mut flight, op) = until_decided();
    flight.connected(op, Ok(()));
    let (write, change) = flight.change_asked(EffectName::Mark);
    flight.pass(secs(3));
    flight.written(write, &change);
    grant_of(flight.record.as_mut().unwrap()).binding.token_endpoint = "https://as.example.com/other".to_owned();
    flight.load();
    let (request, connection) = flight.send_over();
    let endpoint = request.grant.map(|grant| grant.binding.token_endpoint);
    assert_eq!((endpoint.as_deref(), connection), (Some("https://as.example.com/other"), None));
}

#[test]
fn a_contended_claim_connects_nowhere() {
    let mut flight = by_hand(Setup::default()).until_claimed();
    flight.claim_contended();
    flight.wake_after(millis(50));
    flight.load();
    flight.claim();
    let (op, _) = flight.connect_asked();
    flight.load();
    flight.connected(op, Ok(()));
    flight.change(EffectName::Mark);
    assert_eq!(flight.send_over().1, Some(op));
}

#[test]
fn a_marked_token_is_connected_for_once_it_may_be_presented() {
    let record = marked(&signed_in(), SIBLING, 1, before(START, secs(5)));
    let mut flight = by_hand(Setup { record: Some(record), ..Setup::default() }).until_claimed();
    flight.claim_after(Predecessor::MayLive);
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(failed_for(Reason::InDoubt, secs(25)));
    flight.over_now();

    let record = marked(&signed_in(), SIBLING, 1, before(START, HOUR));
    let mut flight = by_hand(Setup { record: Some(record), ..Setup::default() }).until_claimed();
    flight.claim();
    flight.load();
    let (op, _) = flight.connect_asked();
    flight.wakes_in(secs(10));
    flight.connected(op, Ok(()));
    flight.change(EffectName::Mark);
    assert_eq!(flight.send_over().1, Some(op));
}

#[test]
fn whether_a_token_may_be_presented_is_decided_again_once_the_connection_stands() {
    let profile = Profile { reuse: Reuse::EndsMore, grace: Some(secs(60)), ..profile() };
    let record = marked(&signed_in(), SIBLING, 1, before(START, secs(50)));
    let mut flight = by_hand(Setup { profile, record: Some(record), ..Setup::default() }).until_claimed();
    flight.claim();
    flight.load();
    let (op, _) = flight.connect_asked();
    flight.pass(secs(9));
    flight.connected(op, Ok(()));
    flight.released();
    flight.permit_back();
    flight.lands(login_required(Reason::MaybeConsumed));
    flight.over_now();
}

#[test]
fn a_record_that_changes_before_the_mark_keeps_the_connection() {
    let (mut flight, op) = until_decided();
    flight.connected(op, Ok(()));
    flight.somebody_writes();
    flight.change(EffectName::Mark);
    flight.load();
    flight.change(EffectName::Mark);
    assert_eq!(flight.send_over().1, Some(op));
}

#[test]
fn a_flight_that_is_called_off_while_it_connects_writes_nothing() {
    let (mut flight, op) = until_decided();
    flight.shutdown();
    flight.ignores(FlightEvent::Connected(op, Ok(())));
    lands_unwritten(flight, failed(Reason::ShuttingDown));

    let (mut flight, op) = until_decided();
    flight.logout(EPOCH);
    flight.ignores(FlightEvent::Connected(op, Err(NO_CONNECTION)));
    lands_unwritten(flight, login_required(Reason::LoggedOut));
}

#[test]
fn a_request_that_is_sent_again_goes_over_a_connection_of_its_own() {
    for (evidence, is_read_again) in [(nonce_wanted(), false), (TOO_LATE, true)] {
        // Only a grant with a key answers a challenge.
        let mut bound = signed_in();
        grant_of(&mut bound).dpop_key = Some(DpopKey::new("dk"));
        let mut flight = by_hand(Setup { record: Some(bound), ..Setup::default() }).until_claimed();
        flight.claim();
        let (op, _) = flight.connect_asked();
        flight.load();
        flight.connected(op, Ok(()));
        flight.change(EffectName::Mark);
        assert_eq!(flight.send_over().1, Some(op));
        flight.answer(evidence);
        if is_read_again {
            flight.load();
        }
        assert_eq!(flight.send_over().1, None);
    }
}

/// A flight that has lost its answer, and connects for its prompt repeat.
fn until_repeating() -> (Story, Op) {
    let (mut flight, op) = until_decided();
    flight.connected(op, Ok(()));
    flight.change(EffectName::Mark);
    flight.send();
    flight.answer(ANSWER_LOST);
    flight.wake_after(millis(125));
    let (second, grant) = flight.connect_asked();
    assert_eq!(grant.binding, binding());
    assert_ne!(second, op);
    (flight, second)
}

#[test]
fn the_prompt_repeat_goes_over_a_new_connection() {
    let (mut flight, op) = until_repeating();
    flight.load();
    flight.connected(op, Ok(()));
    flight.change(EffectName::Mark);
    assert_eq!(mark_of(flight.record.as_ref()).map(|mark| mark.presentations), Some(2));
    assert_eq!(flight.send_over().1, Some(op));
}

#[test]
fn a_repeat_without_a_connection_leaves_the_first_doubt_as_it_is() {
    let (mut flight, op) = until_repeating();
    let first = flight.record.clone();
    flight.load();
    flight.connected(op, Err(NO_CONNECTION));
    flight.abandoned();
    flight.permit_back();
    flight.lands(failed(Reason::Unreachable));
    flight.over_now();
    assert_eq!(flight.record, first);
    assert_eq!(mark_of(flight.record.as_ref()).map(|mark| mark.presentations), Some(1));
}

#[test]
fn a_repeat_that_connects_for_longer_than_its_claim_allows_leaves_the_first_doubt() {
    // The request and one write take 30 + 5 s at most.
    for (span, permitted) in [(secs(5), true), (millis(5_001), false)] {
        let mut flight = by_hand(Setup::default()).until_claimed();
        flight.lease(millis(40_125));
        let (op, _) = flight.connect_asked();
        flight.load();
        flight.connected(op, Ok(()));
        flight.change(EffectName::Mark);
        flight.send();
        flight.answer(ANSWER_LOST);
        flight.wake_after(millis(125));
        let (op, _) = flight.connect_asked();
        flight.load();
        flight.pass(span);
        flight.connected(op, Ok(()));
        if permitted {
            flight.change(EffectName::Mark);
            flight.send();
            continue;
        }
        flight.abandoned();
        flight.permit_back();
        flight.lands(failed(Reason::InDoubt));
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()).map(|mark| mark.presentations), Some(1));
    }
}

#[test]
fn a_repeatable_source_connects_by_itself() {
    let mut flight = by_hand(Setup { spending: Spending::Repeatable, ..Setup::default() }).until_claimed();
    flight.claim();
    flight.load();
    assert_eq!(flight.send_over().1, None);
}
