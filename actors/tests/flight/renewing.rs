//! A flight that keeps an unsaved pair renews its leased claim.

use crate::support::*;

/// A flight with a claim leased for `remaining`, whose first save fails `span` after the claim was asked for.
fn degraded_after(remaining: Duration, span: Duration) -> Story {
    let mut flight = Story::ordinary().until_claimed();
    flight.lease(remaining);
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    flight.waits();
    flight.pass(span);
    flight.answer(new_pair());
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    flight
}

fn saves_at_last(flight: &mut Story) {
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_lease_is_renewed_half_its_length_before_its_end() {
    // 25 s of the 50 s that a request and its writes take.
    let mut flight = degraded_after(secs(50), millis(24_900));
    flight.wake_after(millis(100));
    match flight.effect() {
        FlightEffect::Renew { op, claim, at_least } => {
            assert_eq!((claim.holder, at_least), (ME, secs(50)));
            flight.tell(FlightEvent::Renewed(op, Ok(Renewed::Until(Some(secs(50))))));
        }
        other => panic!("{other:?}"),
    }
    flight.wake_after(millis(150));
    saves_at_last(&mut flight);
}

#[test]
fn a_lease_that_was_renewed_is_renewed_again_counted_from_the_question() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    let op = flight.renewal_asked();
    flight.pass(millis(200));
    flight.tell(FlightEvent::Renewed(op, Ok(Renewed::Until(Some(secs(28))))));
    flight.wake_after(millis(50));
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    // The renewal at 25 s was for 28 s, so the next is due 25 s before its end, at 28 s. But it never comes sooner than
    // five seconds after the last one.
    for pause in [500, 1_000, 2_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    flight.wake_after(millis(1_250));
    flight.renew(Ok(Renewed::Until(Some(secs(50)))));
    flight.wake_after(millis(2_750));
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    // The save at 32.75 s fails, and the next one is due at 40.75 s. The renewal at 30 s was for 50 s, so the next one
    // is due at 55 s.
    flight.wake_after(secs(8));
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.wake_after(millis(14_250));
    flight.renewal_asked();
    flight.wakes_in(millis(750));
}

#[test]
fn a_renewal_that_is_due_and_a_save_that_is_due_go_out_together() {
    let mut flight = degraded_after(secs(50), millis(24_750));
    flight.wake_after(millis(250));
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.renewal_asked();
    flight.written(op, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_renewal_without_an_end_is_the_last_one() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    flight.renew(Ok(Renewed::Until(None)));
    for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
}

#[test]
fn a_claim_that_lives_as_long_as_the_process_is_never_renewed() {
    let mut flight = Story::ordinary().until_saved();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
}

#[test]
fn a_renewal_that_fails_is_asked_for_again_after_five_seconds() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    flight.renew(Err(StoreFault::Failed));
    for pause in [250, 500, 1_000, 2_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    flight.wake_after(millis(1_250));
    flight.renewal_asked();
    flight.wake_after(millis(2_750));
    saves_at_last(&mut flight);
}

#[test]
fn a_renewal_that_is_not_answered_is_asked_for_again_and_only_the_last_answer_counts() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    let first = flight.renewal_asked();
    for pause in [250, 500, 1_000, 2_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    flight.wake_after(millis(1_250));
    let second = flight.renewal_asked();
    flight.ignores(FlightEvent::Renewed(first, Ok(Renewed::Lost)));
    flight.ignores(FlightEvent::Renewed(first, Ok(Renewed::Until(Some(secs(50))))));
    flight.tell(FlightEvent::Renewed(second, Ok(Renewed::Until(Some(secs(50))))));
    flight.wake_after(millis(2_750));
    saves_at_last(&mut flight);
}

#[test]
fn a_lost_claim_is_not_renewed_again_the_pair_is_saved_all_the_same_and_the_claim_ended() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    flight.renew(Ok(Renewed::Lost));
    for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    flight.wake_after(secs(15));
    // The next flight learns that the holder is gone.
    saves_at_last(&mut flight);
}

#[test]
fn a_store_that_gives_less_than_was_asked_for_is_not_asked_without_end() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    flight.renew(Ok(Renewed::Until(Some(secs(1)))));
    for pause in [250, 500, 1_000, 2_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    flight.wake_after(millis(1_250));
    flight.renewal_asked();
}

#[test]
fn a_lease_that_ran_short_before_the_save_is_renewed_at_the_first_tick() {
    let mut flight = degraded_after(secs(50), secs(30));
    flight.tick();
    flight.renewal_asked();
    flight.wake_after(millis(250));
    saves_at_last(&mut flight);
}

#[test]
fn a_flight_that_takes_its_mark_back_renews_too() {
    let mut flight = Story::ordinary().until_claimed();
    flight.lease(secs(50));
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    flight.pass(secs(24));
    flight.answer(UNREACHABLE);
    flight.permit_back();
    flight.change_asked(EffectName::Withdraw);
    flight.wake_after(secs(1));
    flight.renew(Ok(Renewed::Until(Some(secs(50)))));
    flight.wakes_in(secs(4));
}

#[test]
fn nothing_is_renewed_once_the_flight_is_over() {
    let mut flight = degraded_after(secs(50), secs(25));
    flight.tick();
    let op = flight.renewal_asked();
    flight.wake_after(millis(250));
    saves_at_last(&mut flight);
    flight.tell(FlightEvent::Renewed(op, Ok(Renewed::Lost)));
    flight.over_now();
}

#[test]
fn a_renewal_is_asked_for_only_while_something_is_settled() {
    let mut flight = Story::ordinary().until_claimed();
    flight.lease(secs(60));
    flight.pass(secs(1));
    flight.ignores(FlightEvent::Tick);
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    flight.pass(HOUR);
    flight.ignores(FlightEvent::Tick);
    flight.waits();
}
