//! Waiting for the claim. Without it no refresh token is presented (law 2).

use tokenkeeper_actors::law::flight::StoreTimeouts;
use tokenkeeper_actors::ports::store::{ClaimEnding, ClaimScope};

use crate::support::*;

#[test]
fn a_contended_claim_is_tried_again_after_growing_jittered_pauses_each_time_with_a_new_read() {
    let mut flight = Story::ordinary().until_claimed();
    for (jitter, pause) in [(0, 50), (32_768, 150), (0, 200), (65_535, 799), (0, 800), (0, 1_000), (32_768, 1_500)] {
        flight.jitter(jitter);
        flight.claim_contended();
        flight.wake_after(millis(pause));
        flight.load();
    }
    flight.claim();
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
}

#[test]
fn the_pause_stays_at_a_second_however_often_the_claim_is_contended() {
    let timeouts = StoreTimeouts { claim_wait: HOUR, ..StoreTimeouts::default() };
    let mut flight = Story::begin(Setup { timeouts, ..Setup::default() }).until_claimed();
    for attempt in 0..40 {
        flight.claim_contended();
        flight.wake_after(millis(50 << attempt.min(20)).min(secs(1)));
        flight.load();
    }
    flight.claim_asked();
}

#[test]
fn a_pause_is_never_longer_than_a_second_before_jitter_even_if_a_host_asks_for_more() {
    let timeouts = StoreTimeouts { claim_pause: secs(7), ..StoreTimeouts::default() };
    let mut flight = Story::begin(Setup { timeouts, ..Setup::default() }).until_claimed();
    flight.claim_contended();
    flight.wake_after(secs(1));
    flight.load_asked();
}

#[test]
fn the_holders_token_is_adopted_as_soon_as_it_is_there() {
    let mut flight = Story::ordinary().until_claimed();
    flight.claim_contended();
    flight.sibling_refreshes("at-s", "rt-s");
    flight.wake_after(millis(50));
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_login_during_the_wait_sends_the_session_back() {
    let mut flight = Story::ordinary().until_claimed();
    flight.claim_contended();
    flight.somebody_signs_in();
    flight.wake_after(millis(50));
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn after_a_minute_and_a_half_the_flight_gives_the_claim_up() {
    let mut flight = Story::ordinary().until_claimed();
    // One millisecond short of the bound it still waits.
    flight.pass(millis(89_999));
    flight.claim_contended();
    flight.wake_after(millis(50));
    flight.load();
    flight.claim_contended();
    flight.permit_back();
    flight.lands_blind(failed(Reason::Contended));
    flight.over_now();
}

#[test]
fn at_the_bound_itself_the_claim_is_given_up() {
    let mut flight = Story::ordinary().until_claimed();
    flight.pass(secs(90));
    flight.claim_contended();
    flight.permit_back();
    flight.lands_blind(failed(Reason::Contended));
    flight.over_now();
}

#[test]
fn a_long_wait_for_the_issuers_leave_does_not_shorten_the_wait_for_the_claim() {
    let mut flight = Story::ordinary();
    flight.pass(secs(600));
    flight.permit();
    flight.pass(secs(4));
    flight.load();
    flight.claim_contended();
    flight.wake_after(millis(50));
    flight.load();
    flight.claim();
    flight.load();
    flight.change_asked(EffectName::Mark);
}

#[test]
fn a_store_without_claims_lets_nobody_spend() {
    let mut flight = Story::ordinary().until_claimed();
    let op = flight.claim_asked();
    flight.claimed(op, ClaimAnswer::Unsupported);
    flight.permit_back();
    flight.lands_blind(failed(Reason::ClaimsUnsupported));
    flight.over_now();
}

#[test]
fn a_store_that_cannot_claim_now_lets_nobody_spend() {
    for fault in [StoreFault::Failed, StoreFault::Unreadable] {
        let mut flight = Story::ordinary().until_claimed();
        flight.claim_fails(fault);
        flight.permit_back();
        flight.lands_blind(failed(Reason::StoreTrouble));
        flight.over_now();
    }
}

#[test]
fn a_claim_that_may_have_been_taken_unheard_is_ended() {
    let mut flight = Story::ordinary().until_claimed();
    flight.claim_fails(StoreFault::TimedOut);
    match flight.effect() {
        FlightEffect::EndClaim { claim, ending } => {
            assert_eq!((claim.holder, claim.scope, ending), (ME, ClaimScope::Spend(EPOCH), ClaimEnding::Released));
        }
        other => panic!("{other:?}"),
    }
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.over_now();
}

#[test]
fn a_claim_that_is_granted_after_it_was_given_up_on_is_ended() {
    let mut flight = Story::ordinary().until_claimed();
    let op = flight.claim_asked();
    flight.wake_after(secs(5));
    flight.released();
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.waits();
    flight.claimed(op, granted(None, Predecessor::Gone));
    flight.released();
    flight.over_now();
}

#[test]
fn a_claim_given_up_on_and_not_granted_leaves_nothing_to_end() {
    for answer in [Ok(ClaimAnswer::Contended), Ok(ClaimAnswer::Unsupported), Err(StoreFault::Failed)] {
        let mut flight = Story::ordinary().until_claimed();
        let op = flight.claim_asked();
        flight.wake_after(secs(5));
        flight.released();
        flight.permit_back();
        flight.lands_blind(failed(Reason::StoreTrouble));
        flight.tell(FlightEvent::Claimed(op, answer));
        flight.over_now();
    }
}

#[test]
fn an_answer_to_another_question_is_no_answer_to_a_claim_given_up_on() {
    let mut flight = Story::ordinary().until_claimed();
    let op = flight.claim_asked();
    flight.wake_after(secs(5));
    flight.released();
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    let other = tokenkeeper_actors::law::flight::Op(op.0 + 1);
    flight.ignores(FlightEvent::Claimed(other, Ok(granted(None, Predecessor::Gone))));
    flight.waits();
}
