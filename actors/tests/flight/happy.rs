//! A flight without faults, and the contents of its effects.

use tokenkeeper_actors::law::flight::{FlightEvent, Urgency};
use tokenkeeper_actors::values::record::{Access, MarkState};

use crate::support::*;

#[test]
fn a_flight_reads_claims_reads_again_marks_sends_saves_releases_and_reports() {
    let mut flight = Story::ordinary();
    assert_eq!(flight.id(), ME);
    flight.permit();
    flight.load();
    flight.claim();
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    assert!(mark_of(flight.record.as_ref()).is_some(), "it is marked before it is sent");
    flight.waits();
    flight.answer(new_pair());
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    let lease = flight.mints();
    flight.over_now();
    assert_eq!(lease.token().expose(), "at-2");
    assert_eq!(lease.generation(), Generation::stored(EPOCH, 2));
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
    assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-2"));
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

#[test]
fn the_issuer_is_asked_first_and_told_whose_turn_it_is() {
    let cases =
        [(Some(issuer()), Urgency::Callers), (None, Urgency::Background), (Some(issuer()), Urgency::AfterResume)];
    for (whom, turn) in cases {
        let mut setup = Setup::default();
        (setup.order.issuer, setup.order.urgency) = (whom.clone(), turn);
        let mut flight = Story::begin(setup);
        match flight.effect() {
            FlightEffect::AskPermit { issuer, urgency, .. } => assert_eq!((issuer, urgency), (whom, turn)),
            other => panic!("{other:?}"),
        }
        flight.waits();
    }
}

#[test]
fn each_store_operation_is_given_five_seconds() {
    let mut flight = Story::ordinary();
    flight.permit();
    flight.pass(secs(1));
    let op = flight.load_asked();
    flight.wakes_in(secs(4));
    flight.loaded(op);
    let op = flight.claim_asked();
    flight.wakes_in(secs(5));
    flight.pass(secs(2));
    flight.wakes_in(secs(3));
    flight.claimed(op, granted(None, Predecessor::Gone));
    let op = flight.load_asked();
    flight.wakes_in(secs(5));
    flight.loaded(op);
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.wakes_in(secs(5));
    flight.written(op, &change);
    flight.send();
    flight.waits();
    flight.answer(new_pair());
    flight.permit_back();
    flight.change_asked(EffectName::Commit);
    flight.wakes_in(secs(5));
}

#[test]
fn the_claim_is_for_the_epoch_and_must_outlast_the_connection_the_request_and_the_writes() {
    let mut flight = Story::ordinary();
    flight.permit();
    flight.load();
    match flight.effect() {
        FlightEffect::Claim { epoch, at_least, .. } => assert_eq!((epoch, at_least), (EPOCH, secs(60))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_mark_says_who_presents_which_token_since_when_and_for_how_long() {
    let mut flight = Story::ordinary().until_marked();
    flight.pass(secs(1));
    let (_, change) = flight.change_asked(EffectName::Mark);
    let Change::Mark { expected, mark } = change else { panic!("{change:?}") };
    assert_eq!(expected, signed_in().version(), "whatever moved, the flight must decide anew");
    assert_eq!((mark.flight, mark.presentations, mark.number), (ME, 1, 2));
    assert_eq!(mark.digest, rt("rt-1").digest());
    assert_eq!((mark.first, mark.latest, mark.state), (START, START, MarkState::Open));
    // 30 s and one more for the request, 5 s for the mark's write, and twice the 2 s between mark and send.
    assert_eq!(mark.timeout, secs(30 + 1 + 5 + 4));
}

#[test]
fn the_request_carries_the_token_to_its_own_grant_and_is_worthless_two_seconds_after_the_mark() {
    let mut flight = Story::ordinary().until_marked();
    flight.pass(millis(1_500));
    flight.change(EffectName::Mark);
    let request = flight.send();
    assert_eq!(request.refresh.map(|token| token.expose().to_owned()).as_deref(), Some("rt-1"));
    assert_eq!(request.grant.map(|grant| grant.binding), Some(binding()));
    assert_eq!(request.not_after, START.elapsed.after(secs(2)));
    assert_eq!(request.timeout, secs(30));
}

#[test]
fn what_is_stored_is_the_answer_with_its_cause_its_number_and_its_flight() {
    let mut setup = Setup::default();
    setup.order.cause = Cause::Refusal;
    let mut flight = Story::begin(setup).until_saved();
    flight.change(EffectName::Commit);
    flight.released();
    let lease = flight.mints();
    assert_eq!((lease.cause(), lease.validity().anchored()), (Cause::Refusal, START));
    let record = flight.record.clone().unwrap();
    let grant = record.grant().unwrap();
    let answer = tokens("at-2", Some("rt-2"));
    let access = Access {
        token: answer.access,
        kind: answer.kind,
        validity: answer.validity,
        number: 2,
        cause: Cause::Refusal,
        flight: Some(ME),
    };
    assert_eq!(grant.access, Some(access));
    assert_eq!(record.held().map(|held| held.since), Some(START));
    assert_eq!(record.number, 2);
}

#[test]
fn a_number_is_counted_on_from_the_record_even_where_marks_have_used_some_up() {
    let mut record = signed_in();
    record.number = 41;
    let mut flight = Story::over(record).until_saved();
    flight.change(EffectName::Commit);
    flight.released();
    assert_eq!(flight.mints().generation(), Generation::stored(EPOCH, 42));
}

#[test]
fn a_number_is_counted_on_from_what_the_session_knows_where_the_record_is_an_older_copy() {
    let mut setup = Setup::default();
    setup.order.known = Generation::stored(EPOCH, 7);
    let mut flight = Story::begin(setup).until_saved();
    flight.change(EffectName::Commit);
    flight.released();
    assert_eq!(flight.mints().generation(), Generation::stored(EPOCH, 8));
    assert_eq!(flight.record.as_ref().map(|record| record.number), Some(8));
}

#[test]
fn a_server_may_issue_an_earlier_token_again() {
    let mut flight = Story::ordinary().until_saved();
    flight.change(EffectName::Commit);
    flight.released();
    flight.mints();
    let record = flight.record.clone().unwrap();
    let mut setup = Setup { record: Some(record), ..Setup::default() };
    setup.order.adopt = insists();
    let mut flight = Story::begin(setup).until_sent();
    flight.answer(usable(tokens("at-3", Some("rt-1"))));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.mints();
    let mut setup = Setup { record: flight.record.clone(), ..Setup::default() };
    setup.order.adopt = insists();
    Story::begin(setup).until_sent();
}

#[test]
fn an_issuer_that_wants_to_be_left_alone_is_left_alone() {
    let mut flight = Story::ordinary();
    let op = flight.permit_asked();
    flight.tell(FlightEvent::Held(op, secs(77)));
    flight.lands_blind(failed_for(Reason::Throttled, secs(77)));
    flight.over_now();
}

#[test]
fn without_a_permit_to_be_had_the_attempt_breaks_off_and_no_one_is_called_throttled() {
    let mut flight = Story::ordinary();
    let op = flight.permit_asked();
    flight.tell(FlightEvent::NoPermit(op));
    flight.lands_blind(failed(Reason::Aborted));
    flight.over_now();
}
