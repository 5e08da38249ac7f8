//! The mark compares the whole record. After any other write the flight reads again and decides again.

use crate::support::*;

#[test]
fn a_mark_that_meets_another_version_is_decided_anew_under_the_same_claim() {
    let mut flight = Story::ordinary().until_marked();
    flight.somebody_writes();
    flight.change(EffectName::Mark);
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_siblings_token_that_made_the_mark_fail_is_adopted() {
    let mut flight = Story::ordinary().until_marked();
    flight.sibling_refreshes("at-s", "rt-s");
    flight.change(EffectName::Mark);
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_login_or_logout_that_made_the_mark_fail_sends_the_session_back() {
    let events: [fn(&mut Story); 2] = [Story::somebody_signs_in, Story::somebody_logs_out];
    for happens in events {
        let mut flight = Story::ordinary().until_marked();
        happens(&mut flight);
        flight.change(EffectName::Mark);
        flight.load();
        flight.released();
        flight.permit_back();
        flight.lands(Outcome::Moved);
        flight.over_now();
    }
}

#[test]
fn a_record_that_moves_again_and_again_is_given_up_on() {
    let mut flight = Story::ordinary().until_marked();
    for _ in 0..8 {
        flight.somebody_writes();
        flight.change(EffectName::Mark);
        flight.load();
    }
    flight.somebody_writes();
    flight.change(EffectName::Mark);
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

#[test]
fn eight_moves_of_the_record_are_put_up_with() {
    let mut flight = Story::ordinary().until_marked();
    for _ in 0..8 {
        flight.somebody_writes();
        flight.change(EffectName::Mark);
        flight.load();
    }
    flight.change(EffectName::Mark);
    flight.send();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_record_that_moved_is_read_within_five_seconds_or_not_at_all() {
    let mut flight = Story::ordinary().until_marked();
    flight.somebody_writes();
    flight.change(EffectName::Mark);
    flight.load_asked();
    flight.wake_after(secs(5));
    flight.released();
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.over_now();
}

#[test]
fn a_mark_that_was_written_twice_and_landed_the_first_time_is_our_own() {
    // A driver whose connection broke repeats the write. The second try conflicts with the flight's own mark.
    let mut flight = Story::ordinary().until_marked();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.write(&change);
    flight.written(op, &change);
    flight.send();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn somebody_elses_mark_in_the_way_is_not_our_own() {
    let mut flight = Story::ordinary().until_marked();
    let record = flight.record.clone().unwrap();
    flight.record = Some(marked(&record, SIBLING, 1, START));
    flight.change(EffectName::Mark);
    flight.load();
    // The mark was made after the claim was requested. The claim was lost, and its `predecessor` answer is too old.
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_flight_that_is_called_off_while_it_marks_does_not_mark_again() {
    let ends: [(FlightEvent, Outcome); 2] = [
        (FlightEvent::Shutdown(START.elapsed), failed(Reason::ShuttingDown)),
        (FlightEvent::LoggedOut(EPOCH), login_required(Reason::LoggedOut)),
    ];
    for (event, outcome) in ends {
        let mut flight = Story::ordinary().until_marked();
        let (op, change) = flight.change_asked(EffectName::Mark);
        flight.tell(event);
        flight.wakes_in(secs(5));
        flight.somebody_writes();
        flight.written(op, &change);
        flight.load();
        flight.released();
        flight.permit_back();
        flight.lands(outcome);
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()), None);
    }
}

#[test]
fn a_flight_that_is_called_off_while_it_marks_still_adopts_what_is_there() {
    let mut flight = Story::ordinary().until_marked();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.shutdown();
    flight.sibling_refreshes("at-s", "rt-s");
    flight.written(op, &change);
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_logout_of_another_epoch_calls_nothing_off() {
    let mut flight = Story::ordinary().until_marked();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.logout(Epoch::new(2));
    flight.written(op, &change);
    flight.send();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}
