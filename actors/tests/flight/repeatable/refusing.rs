//! Refusals, resends, and cancelled flights.

use tokenkeeper_actors::law::profile::{Evidence, NotSent};
use tokenkeeper_actors::values::Version;
use tokenkeeper_actors::values::record::Record;

use super::{first, known_client, later, minted};
use crate::support::*;

#[test]
fn refusals_say_what_they_are_and_leave_nothing_in_doubt() {
    let after = secs(60);
    let none: fn(Reason) -> Outcome = failed;
    let cases: Vec<(Evidence, Option<Duration>, Outcome)> = vec![
        (UNREACHABLE, None, none(Reason::Unreachable)),
        (Evidence::NotSent(NotSent::Unbuildable), None, none(Reason::RequestRefused)),
        (ANSWER_LOST, None, none(Reason::Unreachable)),
        (refused(429, ""), Some(secs(1)), failed_for(Reason::Throttled, secs(1))),
        (refused_until(429, "", after), Some(after), failed_for(Reason::Throttled, after)),
        (refused(500, ""), None, none(Reason::ServerTrouble)),
        (refused_until(503, "", after), Some(after), failed_for(Reason::ServerTrouble, after)),
        (refused(200, ""), None, none(Reason::ServerTrouble)),
        (refused(299, ""), None, none(Reason::ServerTrouble)),
        (refused(199, ""), None, none(Reason::RequestRefused)),
        (refused(300, ""), None, none(Reason::RequestRefused)),
        (refused(400, "invalid_scope"), None, none(Reason::RequestRefused)),
        (refused_until(403, "", after), Some(after), failed_for(Reason::RequestRefused, after)),
        (refused(499, ""), None, none(Reason::RequestRefused)),
        (refused(401, "invalid_client"), None, login_required(Reason::ClientRejected)),
        (refused(400, "invalid_grant"), None, login_required(Reason::GrantEnded)),
    ];
    for (evidence, throttle, outcome) in cases {
        let mut flight = Story::begin(later()).until_sent_unmarked();
        flight.pass(secs(20));
        flight.answer(evidence);
        flight.permit_back_with(throttle);
        flight.released();
        flight.lands(outcome);
        flight.over_now();
        assert_eq!(flight.record, Some(known_client()), "nothing is written");
    }
}

#[test]
fn a_refusal_of_an_unclaimed_mint_has_nothing_to_release() {
    let mut flight = Story::begin(later());
    flight.permit();
    flight.load_fails(StoreFault::Failed);
    flight.send();
    flight.answer(refused(500, ""));
    flight.permit_back();
    flight.lands_blind(failed(Reason::ServerTrouble));
    flight.over_now();
}

#[test]
fn it_is_asked_once_more_with_a_nonce() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.pass(secs(10));
    flight.answer(nonce_wanted());
    // There is no mark to verify, so the request only gets a new latest time to send.
    assert_eq!(flight.send().not_after, START.elapsed.after(secs(12)));
    flight.answer(refused_until(401, "use_dpop_nonce", secs(3)));
    flight.permit_back_with(Some(secs(3)));
    flight.released();
    flight.lands(failed_for(Reason::RequestRefused, secs(3)));
    flight.over_now();
}

#[test]
fn a_quick_nonce_challenge_changes_nothing_about_the_time_to_leave_by() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.pass(secs(1));
    flight.answer(nonce_wanted());
    assert_eq!(flight.send().not_after, START.elapsed.after(secs(2)));
}

#[test]
fn a_source_that_is_always_too_late_is_given_up_on() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    for sends in 1..=4 {
        flight.pass(secs(3));
        flight.answer(TOO_LATE);
        assert_eq!(flight.send().not_after, START.elapsed.after(secs(3 * sends + 2)));
    }
    flight.answer(TOO_LATE);
    flight.released();
    flight.permit_back();
    flight.lands_blind(failed(Reason::Aborted));
    flight.over_now();
}

#[test]
fn called_off_it_is_not_asked_again() {
    let calls = [
        (FlightEvent::Shutdown(START.elapsed), failed(Reason::ShuttingDown)),
        (FlightEvent::LoggedOut(Epoch::default()), login_required(Reason::LoggedOut)),
    ];
    for (call, outcome) in calls {
        for evidence in [TOO_LATE, nonce_wanted()] {
            let mut flight = Story::begin(later()).until_sent_unmarked();
            flight.tell(call.clone());
            flight.answer(evidence);
            flight.released();
            flight.permit_back();
            flight.lands_blind(outcome.clone());
            flight.over_now();
        }
    }
}

#[test]
fn a_shutdown_waits_for_the_answer_and_stores_it_if_it_can() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.shutdown();
    flight.waits();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.shutdown();
    flight.written(op, &change);
    flight.released();
    flight.mints();
    flight.over_now();
}

#[test]
fn a_shutdown_has_no_last_words_about_what_spends_nothing() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.shutdown();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.released();
    flight.mints_unstored();
    flight.over_now();
}

#[test]
fn a_token_that_arrives_after_the_logout_is_stored_nowhere() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.logout(Epoch::default());
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(login_required(Reason::LoggedOut));
    flight.over_now();
    assert_eq!(flight.record.as_ref().map(Record::grant), Some(None));
    assert_eq!(flight.record.as_ref().map(|record| record.epoch), Some(Epoch::new(1)));
}

#[test]
fn a_tombstone_of_it_that_cannot_be_written_is_left_to_the_session() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.logout(Epoch::default());
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.released();
    flight.lands_blind(login_required(Reason::LoggedOut));
    flight.over_now();
}

#[test]
fn a_logout_while_its_token_is_being_stored_buries_it() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change_asked(EffectName::Commit);
    flight.logout(Epoch::default());
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(login_required(Reason::LoggedOut));
    flight.over_now();
}

#[test]
fn a_first_mint_that_is_logged_out_of_leaves_a_tombstone() {
    let mut flight = Story::begin(first()).until_sent_unmarked();
    flight.logout(Epoch::default());
    flight.answer(usable(minted("at-1")));
    flight.permit_back();
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(login_required(Reason::LoggedOut));
    flight.over_now();
    let version = flight.record.as_ref().map(Record::version);
    assert_eq!(version.map(|Version { epoch, .. }| epoch), Some(Epoch::new(1)));
}
