//! A flight that is cancelled before its token leaves, by a shutdown or by a logout that could not be stored.

use crate::support::*;

/// Both ways to cancel a flight, with the reason for its callers.
fn calls() -> [(FlightEvent, Outcome); 2] {
    [
        (FlightEvent::Shutdown(START.elapsed), failed(Reason::ShuttingDown)),
        (FlightEvent::LoggedOut(EPOCH), login_required(Reason::LoggedOut)),
    ]
}

#[test]
fn while_it_waits_for_the_issuers_leave_it_ends_and_gives_the_leave_back_should_it_come() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary();
        let op = flight.permit_asked();
        flight.tell(call);
        flight.lands_blind(outcome);
        flight.waits();
        flight.tell(FlightEvent::Permitted(op));
        flight.permit_back();
        flight.over_now();
    }
}

#[test]
fn a_leave_that_is_refused_after_all_needs_not_be_given_back() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary();
        let op = flight.permit_asked();
        flight.tell(call);
        flight.lands_blind(outcome);
        let other = tokenkeeper_actors::law::flight::Op(op.0 + 1);
        flight.ignores(FlightEvent::Held(other, secs(1)));
        flight.ignores(FlightEvent::Permitted(other));
        flight.tell(FlightEvent::Held(op, secs(1)));
        flight.over_now();
    }
}

#[test]
fn while_it_reads_for_the_first_time_it_ends() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary();
        flight.permit();
        let op = flight.load_asked();
        flight.tell(call);
        flight.permit_back();
        flight.lands_blind(outcome);
        flight.over_now();
        flight.loaded(op);
        flight.over_now();
    }
}

#[test]
fn while_it_claims_it_ends_and_the_claim_is_ended_should_it_come() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary().until_claimed();
        let op = flight.claim_asked();
        flight.tell(call);
        flight.permit_back();
        flight.lands_blind(outcome);
        flight.waits();
        flight.claimed(op, granted(None, Predecessor::Gone));
        flight.released();
        flight.over_now();
    }
}

#[test]
fn while_it_lets_another_work_it_ends() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary().until_claimed();
        flight.claim_contended();
        flight.tell(call);
        flight.permit_back();
        flight.lands_blind(outcome);
        flight.over_now();
    }
}

#[test]
fn while_it_reads_under_its_claim_it_releases_the_claim_and_ends() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary().until_claimed();
        flight.claim();
        flight.load_asked();
        flight.tell(call);
        flight.released();
        flight.permit_back();
        flight.lands_blind(outcome);
        flight.over_now();
    }
}

#[test]
fn while_it_marks_it_waits_for_the_mark_and_takes_it_back() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary().until_marked();
        let (op, change) = flight.change_asked(EffectName::Mark);
        flight.tell(call);
        flight.wakes_in(secs(5));
        flight.written(op, &change);
        flight.takes_its_mark_back(outcome);
    }
}

#[test]
fn while_it_takes_a_last_look_it_waits_for_that_and_takes_its_mark_back() {
    for (call, outcome) in calls() {
        let mut flight = Story::ordinary().until_marked();
        let (op, change) = flight.change_asked(EffectName::Mark);
        flight.pass(secs(3));
        flight.written(op, &change);
        let op = flight.load_asked();
        flight.tell(call);
        flight.wakes_in(secs(5));
        flight.loaded(op);
        flight.takes_its_mark_back(outcome);
    }
}

#[test]
fn what_the_source_did_not_send_is_not_sent_again() {
    for evidence in [TOO_LATE, nonce_wanted()] {
        for (call, outcome) in calls() {
            let mut flight = Story::bound().until_sent();
            flight.tell(call);
            flight.waits();
            flight.answer(evidence.clone());
            flight.takes_its_mark_back(outcome);
        }
    }
}

#[test]
fn whatever_else_the_source_says_is_taken_as_ever() {
    for (call, _) in calls() {
        let mut flight = Story::ordinary().until_sent();
        flight.tell(call.clone());
        flight.waits();
        flight.answer(UNREACHABLE);
        flight.permit_back();
        flight.change(EffectName::Withdraw);
        flight.released();
        flight.lands(failed(Reason::Unreachable));
        flight.over_now();

        let mut flight = Story::ordinary().until_sent();
        flight.tell(call.clone());
        flight.answer(ANSWER_LOST);
        flight.permit_back();
        flight.abandoned();
        flight.lands(failed(Reason::InDoubt));
        flight.over_now();

        let mut flight = Story::ordinary().until_sent();
        flight.tell(call);
        flight.answer(refused(400, "invalid_grant"));
        flight.permit_back();
        flight.change(EffectName::End);
        flight.released();
        flight.lands(login_required(Reason::GrantEnded));
        flight.over_now();
    }
}

#[test]
fn of_a_shutdown_and_a_logout_callers_are_told_of_the_logout() {
    let mut flight = Story::ordinary().until_marked();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.shutdown();
    flight.logout(EPOCH);
    flight.written(op, &change);
    // A logout outranks a shutdown, because it still holds after the restart.
    flight.takes_its_mark_back(login_required(Reason::LoggedOut));
}
