//! A store that fails, or does not answer, at each of its operations.

use crate::support::*;

const FAULTS: [StoreFault; 3] = [StoreFault::Failed, StoreFault::TimedOut, StoreFault::Unreadable];

#[test]
fn a_first_read_that_fails_ends_the_flight() {
    for fault in FAULTS {
        let mut flight = Story::ordinary();
        flight.permit();
        flight.load_fails(fault);
        flight.permit_back();
        flight.lands_blind(failed(Reason::StoreTrouble));
        flight.over_now();
    }
}

#[test]
fn a_first_read_that_is_not_answered_ends_the_flight_and_its_late_answer_changes_nothing() {
    let mut flight = Story::ordinary();
    flight.permit();
    let op = flight.load_asked();
    flight.wake_after(secs(5));
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.over_now();
    flight.loaded(op);
    flight.over_now();
}

#[test]
fn a_second_read_that_fails_releases_the_claim_and_ends_the_flight() {
    for fault in FAULTS {
        let mut flight = Story::ordinary().until_claimed();
        flight.claim();
        flight.load_fails(fault);
        flight.released();
        flight.permit_back();
        flight.lands_blind(failed(Reason::StoreTrouble));
        flight.over_now();
    }
}

#[test]
fn a_second_read_that_is_not_answered_releases_the_claim_and_ends_the_flight() {
    let mut flight = Story::ordinary().until_claimed();
    flight.claim();
    let op = flight.load_asked();
    flight.wake_after(secs(5));
    flight.released();
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.over_now();
    flight.loaded(op);
    flight.over_now();
}

#[test]
fn a_mark_that_failed_for_sure_needs_not_be_taken_back() {
    for fault in [StoreFault::Failed, StoreFault::Unreadable] {
        let mut flight = Story::ordinary().until_marked();
        flight.change_fails(EffectName::Mark, fault);
        flight.released();
        flight.permit_back();
        flight.lands_blind(failed(Reason::StoreTrouble));
        flight.over_now();
    }
}

#[test]
fn a_mark_that_may_have_landed_is_taken_back_and_the_token_is_not_sent() {
    let mut flight = Story::ordinary().until_marked();
    flight.change_lands_unheard(EffectName::Mark);
    assert!(mark_of(flight.record.as_ref()).is_some());
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.permit_back();
    flight.lands(failed(Reason::StoreTrouble));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

#[test]
fn a_mark_that_is_still_on_its_way_is_fenced_off() {
    let mut flight = Story::ordinary().until_marked();
    let (op, mark) = flight.change_asked(EffectName::Mark);
    flight.wake_after(secs(5));
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.permit_back();
    flight.lands(failed(Reason::StoreTrouble));
    flight.over_now();
    // The write that timed out arrives at the store now, and is too late.
    assert!(matches!(flight.write(&mark), Changed::Conflict { .. }));
    assert_eq!(mark_of(flight.record.as_ref()), None);
    flight.tell(FlightEvent::Changed(op, Err(StoreFault::TimedOut)));
    flight.over_now();
}

#[test]
fn the_late_answer_to_a_mark_does_not_pass_for_the_answer_to_its_withdrawal() {
    let mut flight = Story::ordinary().until_marked();
    let (op, mark) = flight.change_asked(EffectName::Mark);
    let landed = flight.write(&mark);
    flight.wake_after(secs(5));
    let (withdrawal, change) = flight.change_asked(EffectName::Withdraw);
    flight.ignores(FlightEvent::Changed(op, Ok(landed)));
    flight.ignores(FlightEvent::Changed(op, Err(StoreFault::Failed)));
    flight.written(withdrawal, &change);
    flight.released();
    flight.permit_back();
    flight.lands(failed(Reason::StoreTrouble));
    flight.over_now();
}

#[test]
fn a_withdrawal_that_cannot_be_written_is_kept_at_until_it_is() {
    for fault in FAULTS {
        let mut flight = Story::ordinary().until_sent();
        flight.answer(UNREACHABLE);
        flight.permit_back();
        flight.change_fails(EffectName::Withdraw, fault);
        flight.lands_keeping(failed(Reason::Unreachable));
        flight.wake_after(millis(250));
        flight.change_fails(EffectName::Withdraw, fault);
        flight.wake_after(millis(500));
        flight.change(EffectName::Withdraw);
        flight.released();
        flight.settles();
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()), None);
    }
}

#[test]
fn a_withdrawal_that_is_not_answered_counts_as_failed_after_five_seconds() {
    let mut flight = Story::ordinary().until_sent();
    flight.answer(UNREACHABLE);
    flight.permit_back();
    let (op, change) = flight.change_asked(EffectName::Withdraw);
    flight.wake_after(secs(5));
    flight.lands_keeping(failed(Reason::Unreachable));
    flight.wakes_in(millis(250));
    // The slow write succeeds after all.
    flight.written(op, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn an_end_that_cannot_be_written_is_kept_at_until_it_is() {
    for fault in FAULTS {
        let mut flight = Story::ordinary().until_sent();
        flight.answer(refused(400, "invalid_grant"));
        flight.permit_back();
        flight.change_fails(EffectName::End, fault);
        flight.lands_keeping(login_required(Reason::GrantEnded));
        flight.wake_after(millis(250));
        flight.change(EffectName::End);
        flight.released();
        flight.settles();
        flight.over_now();
    }
}

#[test]
fn an_end_that_landed_unheard_is_settled_by_the_next_attempt() {
    let mut flight = Story::ordinary().until_sent();
    flight.answer(refused(400, "invalid_grant"));
    flight.permit_back();
    flight.change_lands_unheard(EffectName::End);
    let seen = flight.landed_keeping(login_required(Reason::GrantEnded));
    assert!(matches!(seen.renewal, tokenkeeper_actors::values::record::Renewal::Token { .. }), "as the flight saw it");
    flight.wake_after(millis(250));
    flight.change(EffectName::End);
    flight.released();
    flight.settles();
    flight.over_now();
}
