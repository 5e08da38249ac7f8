//! A flight that lost an answer presents its token once more, promptly and under the same claim (law 10).

use tokenkeeper_actors::law::profile::{Evidence, Profile, Reuse};
use tokenkeeper_actors::values::record::{MarkState, Parked, Record};

use crate::support::*;

/// An ordinary flight whose first answer is `evidence`.
fn lost(evidence: Evidence) -> Story {
    let mut flight = Story::ordinary().until_sent();
    flight.answer(evidence);
    flight
}

/// The flight reads under its claim, marks the second presentation, and sends it.
fn repeats(flight: &mut Story) {
    flight.load();
    flight.change(EffectName::Mark);
    let mark = mark_of(flight.record.as_ref()).expect("a mark");
    assert_eq!((mark.flight, mark.presentations, mark.state), (ME, 2, MarkState::Open));
    let request = flight.send();
    assert_eq!(request.refresh.expect("a refresh token").expose(), "rt-1");
}

#[test]
fn a_lost_answer_is_asked_for_again_after_a_short_pause_and_nobody_learns_of_it() {
    let doubts =
        [ANSWER_LOST, refused(500, ""), refused(502, ""), refused(403, ""), refused(301, ""), refused(200, "")];
    for evidence in doubts {
        for (jitter, pause) in [(0, 125), (u16::MAX, 249)] {
            let mut flight = Story::ordinary().until_sent();
            flight.jitter(jitter);
            flight.answer(evidence.clone());
            // Claim, mark and permit stay.
            let mark = mark_of(flight.record.as_ref()).expect("the mark stays");
            assert_eq!((mark.flight, mark.presentations), (ME, 1));
            flight.wake_after(millis(pause));
            repeats(&mut flight);
            flight.answer(new_pair());
            flight.permit_back();
            flight.change(EffectName::Commit);
            flight.released();
            let landing = flight.landing();
            assert!(matches!(landing.outcome, Outcome::Minted(_)));
            assert_eq!(landing.requests, 2);
            flight.over_now();
            assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
            assert_eq!(mark_of(flight.record.as_ref()), None);
        }
    }
}

#[test]
fn the_second_loss_ends_the_flight_and_leaves_the_doubt() {
    let mut flight = lost(ANSWER_LOST);
    flight.wake_after(millis(125));
    repeats(&mut flight);
    flight.answer(ANSWER_LOST);
    flight.permit_back();
    flight.abandoned();
    let landing = flight.landing();
    assert_eq!((landing.outcome, landing.requests), (failed_for(Reason::InDoubt, millis(500)), 2));
    flight.over_now();
    let mark = mark_of(flight.record.as_ref()).expect("the mark stays");
    assert_eq!((mark.presentations, mark.first, mark.latest), (2, START, after(START, millis(125))));
}

#[test]
fn a_definite_answer_to_the_repeat_ends_the_doubt() {
    let mut flight = lost(refused(504, ""));
    flight.wake_after(millis(125));
    repeats(&mut flight);
    flight.answer(refused(400, "invalid_grant"));
    flight.permit_back();
    flight.change(EffectName::End);
    flight.released();
    flight.lands(login_required(Reason::GrantEnded));
    flight.over_now();
}

#[test]
fn a_repeat_that_spends_nothing_leaves_the_first_doubt() {
    for (evidence, told, outcome) in [
        (UNREACHABLE, None, failed(Reason::Unreachable)),
        (refused_until(429, "", secs(7)), Some(secs(7)), failed_for(Reason::Throttled, secs(7))),
    ] {
        let mut flight = lost(ANSWER_LOST);
        let first = mark_of(flight.record.as_ref());
        flight.wake_after(millis(125));
        repeats(&mut flight);
        flight.answer(evidence);
        flight.permit_back_with(told);
        flight.change(EffectName::Withdraw);
        flight.abandoned();
        flight.lands(outcome);
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()), first);
    }
}

#[test]
fn a_short_retry_after_is_kept_to_and_a_long_one_is_the_sessions() {
    let mut flight = lost(refused_until(503, "", secs(5)));
    // The other identities of the issuer learn of it at once.
    flight.throttles(secs(5));
    flight.wake_after(secs(5));
    repeats(&mut flight);
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();

    let mut flight = lost(refused_until(503, "", millis(5_001)));
    flight.permit_back_with(Some(millis(5_001)));
    flight.abandoned();
    let landing = flight.landing();
    assert_eq!((landing.outcome, landing.requests), (failed_for(Reason::InDoubt, millis(5_001)), 1));
    flight.over_now();
}

#[test]
fn the_flight_that_finds_a_doubt_does_not_repeat() {
    let record = marked(&signed_in(), SIBLING, 1, before(START, HOUR));
    let mut flight = Story::over(record).until_sent();
    flight.answer(ANSWER_LOST);
    flight.permit_back();
    flight.abandoned();
    flight.lands(failed_for(Reason::InDoubt, millis(500)));
    flight.over_now();
}

#[test]
fn where_reuse_costs_more_only_the_grace_period_permits_a_repeat() {
    let strict = |grace| Profile { reuse: Reuse::EndsMore, grace, ..profile() };
    // The pause and the two seconds to send must fit.
    let over = login_required(Reason::MaybeConsumed);
    for (grace, outcome) in [
        (None, Some(over.clone())),
        (Some(secs(2)), Some(over)),
        // There is no time for the pause, and enough for a flight that begins at once.
        (Some(millis(2_125)), Some(failed(Reason::InDoubt))),
        (Some(millis(2_126)), None),
    ] {
        let mut flight = Story::begin(Setup { profile: strict(grace), ..Setup::default() }).until_sent();
        flight.answer(ANSWER_LOST);
        let Some(outcome) = outcome else {
            flight.wakes_in(millis(125));
            continue;
        };
        flight.permit_back();
        flight.abandoned();
        flight.lands(outcome);
        flight.over_now();
    }
}

#[test]
fn there_is_no_doubt_at_an_issuer_that_never_rotates() {
    for (evidence, reason) in [
        (ANSWER_LOST, Reason::ServerTrouble),
        (refused(502, ""), Reason::ServerTrouble),
        (refused(403, ""), Reason::ServerTrouble),
        (refused(400, "invalid_request"), Reason::RequestRefused),
    ] {
        let profile = Profile { rotates: false, reuse: Reuse::EndsMore, ..profile() };
        let mut flight = Story::begin(Setup { profile, ..Setup::default() }).until_sent();
        flight.answer(evidence);
        flight.permit_back();
        flight.change(EffectName::Withdraw);
        flight.released();
        flight.lands(failed(reason));
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()), None);
    }
}

#[test]
fn a_claim_that_ends_too_early_permits_no_repeat() {
    // The pause, the two seconds to send, the request and one write: 0.125 + 2 + 30 + 5 s.
    for (remaining, permitted) in [(millis(37_125), true), (millis(37_124), false)] {
        let mut flight = Story::ordinary().until_claimed();
        flight.lease(remaining);
        flight.load();
        flight.change(EffectName::Mark);
        flight.send();
        flight.answer(ANSWER_LOST);
        if permitted {
            flight.wakes_in(millis(125));
            continue;
        }
        flight.permit_back();
        flight.abandoned();
        flight.lands(failed(Reason::InDoubt));
        flight.over_now();
    }
}

#[test]
fn a_shutdown_or_logout_in_the_pause_ends_the_flight_with_its_mark_in_place() {
    let calls: [fn(&mut Story); 2] = [|flight| flight.shutdown(), |flight| flight.logout(EPOCH)];
    let outcomes = [failed(Reason::ShuttingDown), login_required(Reason::LoggedOut)];
    for (call, outcome) in calls.into_iter().zip(outcomes) {
        let mut flight = lost(ANSWER_LOST);
        call(&mut flight);
        flight.abandoned();
        flight.permit_back();
        flight.lands(outcome);
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()).expect("the mark stays").presentations, 1);
    }
}

#[test]
fn after_a_call_to_stop_a_lost_answer_is_not_asked_for_again() {
    let calls: [fn(&mut Story); 2] = [|flight| flight.shutdown(), |flight| flight.logout(EPOCH)];
    for call in calls {
        let mut flight = Story::ordinary().until_sent();
        call(&mut flight);
        flight.answer(ANSWER_LOST);
        flight.permit_back();
        flight.abandoned();
        flight.lands(failed(Reason::InDoubt));
        flight.over_now();
    }
}

#[test]
fn a_store_that_cannot_be_read_ends_the_flight_with_its_mark_in_place() {
    let mut flight = lost(ANSWER_LOST);
    flight.wake_after(millis(125));
    flight.load_fails(StoreFault::Failed);
    flight.abandoned();
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.over_now();
    assert!(mark_of(flight.record.as_ref()).is_some());
}

#[test]
fn a_mark_that_cannot_be_written_ends_the_flight_with_its_first_mark_in_place() {
    let mut flight = lost(ANSWER_LOST);
    let first = mark_of(flight.record.as_ref());
    flight.wake_after(millis(125));
    flight.load();
    flight.change_fails(EffectName::Mark, StoreFault::Failed);
    flight.abandoned();
    flight.permit_back();
    flight.lands_blind(failed(Reason::StoreTrouble));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), first);
}

#[test]
fn a_login_in_the_pause_is_left_alone() {
    let mut flight = lost(ANSWER_LOST);
    flight.somebody_signs_in();
    flight.wake_after(millis(125));
    flight.load();
    flight.abandoned();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

/// A record whose lineage was seen to rotate, or not.
fn lineage(rotated: bool) -> Record {
    let mut record = signed_in();
    grant_of(&mut record).rotated = rotated;
    record
}

#[test]
fn an_answer_to_a_repeat_without_a_new_refresh_token_serves_and_settles_nothing_where_tokens_rotate() {
    for refresh in [None, Some("rt-1")] {
        for rotated in [true, false] {
            let mut flight = Story::over(lineage(rotated)).until_sent();
            flight.answer(refused(502, ""));
            flight.wake_after(millis(125));
            repeats(&mut flight);
            flight.answer(usable(tokens("at-2", refresh)));
            flight.permit_back();
            flight.change(EffectName::Commit);
            if rotated {
                flight.abandoned()
            } else {
                flight.released()
            }
            assert_eq!(flight.mints().token().expose(), "at-2");
            flight.over_now();
            let mark = mark_of(flight.record.as_ref()).map(|mark| (mark.flight, mark.presentations));
            // The server has answered, so the next pause is the first one again.
            assert_eq!(mark, rotated.then_some((ME, 1)), "{refresh:?}");
            assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-1"));
        }
    }
}

#[test]
fn a_save_that_leaves_the_mark_and_lands_unheard_is_not_taken_for_another_subjects() {
    let mut flight = Story::over(lineage(true)).until_sent();
    flight.answer(refused(502, ""));
    flight.wake_after(millis(125));
    repeats(&mut flight);
    flight.answer(usable(tokens("at-2", None)));
    flight.permit_back();
    flight.change_lands_unheard(EffectName::Commit);
    assert_eq!(flight.mints_keeping().token().expose(), "at-2");
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.abandoned();
    flight.settles();
    flight.over_now();
    assert_eq!(flight.record.as_ref().and_then(Record::grant).expect("a grant").parked, None);
    assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-2"));
}

#[test]
fn an_answer_to_the_first_presentation_without_a_new_refresh_token_leaves_no_doubt() {
    for refresh in [None, Some("rt-1")] {
        let mut flight = Story::over(lineage(true)).until_sent();
        flight.answer(usable(tokens("at-2", refresh)));
        flight.permit_back();
        flight.change(EffectName::Commit);
        flight.released();
        assert_eq!(flight.mints().token().expose(), "at-2");
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()), None);
    }
}

#[test]
fn a_rotation_is_remembered_and_a_login_forgets_it() {
    let mut flight = Story::ordinary().until_saved();
    flight.saves();
    let record = flight.record.clone().expect("a record");
    assert!(record.grant().expect("a grant").rotated);
    let login = login(Some("rt-9"), "at-9", START, HOUR);
    let renewed = changed(Some(&record), &Change::Install(Box::new(login)));
    assert!(!renewed.grant().expect("a grant").rotated);
    // The token that is held already is of the same lineage.
    let again = super::support::login(Some("rt-2"), "at-9", START, HOUR);
    assert!(changed(Some(&record), &Change::Install(Box::new(again))).grant().expect("a grant").rotated);
}

#[test]
fn a_rejected_client_is_tried_again_for_a_caller_that_insists() {
    let mut parked = signed_in();
    grant_of(&mut parked).parked = Some(Parked::ClientRejected);
    // Nobody insists.
    let mut flight = Story::over(parked.clone());
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(login_required(Reason::ClientRejected));
    flight.over_now();

    let insisting = |record: Record| {
        let mut setup = Setup { record: Some(record), ..Setup::default() };
        setup.order.adopt = insists();
        Story::begin(setup).until_sent()
    };
    let mut flight = insisting(parked.clone());
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
    assert_eq!(flight.record.as_ref().and_then(Record::grant).expect("a grant").parked, None);

    // The callers get the token although its save fails.
    let mut flight = insisting(parked.clone());
    flight.answer(new_pair());
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    let landing = flight.landing();
    assert!(landing.keeping && matches!(landing.outcome, Outcome::Minted(_)));
    assert_eq!(landing.view.expect("a view").closed(), None);
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();

    // A server that refuses the token accepts the client.
    let mut flight = insisting(parked.clone());
    flight.answer(refused(400, "invalid_grant"));
    flight.permit_back();
    flight.change(EffectName::End);
    flight.released();
    flight.lands(login_required(Reason::GrantEnded));
    flight.over_now();

    let mut flight = insisting(parked);
    flight.answer(refused(401, "invalid_client"));
    flight.permit_back();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.lands(login_required(Reason::ClientRejected));
    flight.over_now();
    let grant = flight.record.as_ref().and_then(Record::grant).expect("a grant");
    assert_eq!(grant.parked, Some(Parked::ClientRejected));
}

#[test]
fn a_second_mark_that_met_another_write_is_not_taken_for_the_first() {
    let mut flight = lost(ANSWER_LOST);
    flight.wake_after(millis(125));
    flight.load();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.somebody_writes();
    flight.written(op, &change);
    // The flight reads again, and marks the presentation before it sends.
    repeats(&mut flight);
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_mark_that_another_host_made_under_the_flights_claim_is_left_to_a_new_claim() {
    // The store forgot the claim, and another host took it, marked and sent.
    let mut flight = Story::ordinary().until_claimed();
    flight.claim();
    let marked = marked(
        &signed_in(),
        SIBLING,
        1,
        tokenkeeper_actors::values::Moment { boot: tokenkeeper_actors::values::BootId(2), ..before(START, HOUR) },
    );
    flight.record = Some(marked);
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_late_save_of_an_answer_to_a_repeat_leaves_the_doubt() {
    let mut flight = Story::over(lineage(true)).until_sent();
    flight.answer(refused(502, ""));
    flight.wake_after(millis(125));
    repeats(&mut flight);
    flight.answer(usable(tokens("at-2", None)));
    flight.permit_back();
    let (op, save) = flight.change_asked(EffectName::Commit);
    flight.shutdown();
    flight.wake_after(secs(5));
    flight.mints_keeping();
    flight.tell(FlightEvent::Changed(op, Err(StoreFault::TimedOut)));
    // The save may still land. The last write restores the mark of the first presentation.
    flight.change(EffectName::Withdraw);
    flight.abandoned();
    flight.settles();
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()).expect("a mark").presentations, 1);
    flight.write(&save);
    assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-2"));
    assert!(mark_of(flight.record.as_ref()).is_some(), "the save settles nothing");
}
