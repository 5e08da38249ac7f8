//! Completions that no question of the current phase waits for. (Every story checks at every step that a repeated
//! completion and an early tick change nothing.)

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::profile::Evidence;

use crate::support::*;

/// All kinds of completions, each with this op.
fn completions(op: Op) -> Vec<FlightEvent> {
    let record = Some(Box::new(signed_in()));
    let after = Box::new(signed_in());
    vec![
        FlightEvent::Permitted(op),
        FlightEvent::Held(op, secs(1)),
        FlightEvent::NoPermit(op),
        FlightEvent::Loaded(op, Ok(record.clone())),
        FlightEvent::Loaded(op, Err(StoreFault::Failed)),
        FlightEvent::Claimed(op, Ok(granted(None, Predecessor::Gone))),
        FlightEvent::Claimed(op, Ok(ClaimAnswer::Contended)),
        FlightEvent::Renewed(op, Ok(Renewed::Lost)),
        FlightEvent::Changed(op, Ok(Changed::Applied { before: record, after })),
        FlightEvent::Changed(op, Err(StoreFault::Failed)),
        FlightEvent::Sent(op, new_pair()),
        FlightEvent::Sent(op, Evidence::Lost(tokenkeeper_actors::law::profile::Lost::Broken)),
    ]
}

/// Asserts that the flight ignores every completion but those of the kind that its phase waits for, with the op
/// `awaited`.
fn ignores_all_but(flight: &Story, awaited: Op, kind: fn(&FlightEvent) -> bool) {
    for op in (0..=awaited.0).map(Op) {
        for event in completions(op).into_iter().filter(|event| op != awaited || !kind(event)) {
            flight.ignores(event);
        }
    }
}

#[test]
fn each_phase_takes_the_answer_to_its_own_question_and_no_other() {
    let mut flight = Story::ordinary();
    let op = flight.permit_asked();
    ignores_all_but(&flight, op, |event| {
        matches!(event, FlightEvent::Permitted(_) | FlightEvent::Held(..) | FlightEvent::NoPermit(_))
    });
    flight.tell(FlightEvent::Permitted(op));

    let op = flight.load_asked();
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Loaded(..)));
    flight.loaded(op);

    let op = flight.claim_asked();
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Claimed(..)));
    flight.claimed(op, ClaimAnswer::Contended);

    ignores_all_but(&flight, Op(op.0 + 1), |_| false);
    flight.wake_after(millis(50));
    flight.load();
    flight.claim();

    let op = flight.load_asked();
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Loaded(..)));
    flight.loaded(op);

    let (op, change) = flight.change_asked(EffectName::Mark);
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Changed(..)));
    flight.pass(secs(3));
    flight.written(op, &change);

    let op = flight.load_asked();
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Loaded(..)));
    flight.loaded(op);

    let op = flight.send_asked();
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Sent(..)));
    flight.answer(new_pair());
    flight.permit_back();

    let (op, change) = flight.change_asked(EffectName::Commit);
    ignores_all_but(&flight, op, |event| matches!(event, FlightEvent::Changed(..)));
    flight.written(op, &change);
    flight.released();
    flight.mints();
    flight.over_now();
    ignores_all_but(&flight, Op(op.0 + 1), |_| false);
}

#[test]
fn stamps_are_never_used_twice() {
    let mut flight = Story::ordinary();
    let mut stamps = vec![flight.permit_asked()];
    flight.tell(FlightEvent::Permitted(stamps[0]));
    stamps.push(flight.load_asked());
    flight.loaded(stamps[1]);
    stamps.push(flight.claim_asked());
    flight.claimed(stamps[2], granted(Some(secs(50)), Predecessor::Gone));
    stamps.push(flight.load_asked());
    flight.loaded(stamps[3]);
    let (op, change) = flight.change_asked(EffectName::Mark);
    stamps.push(op);
    flight.written(op, &change);
    stamps.push(flight.send_asked());
    flight.answer(new_pair());
    flight.permit_back();
    let (op, _) = flight.change_asked(EffectName::Commit);
    stamps.push(op);
    flight.tell(FlightEvent::Changed(op, Err(StoreFault::Failed)));
    flight.mints_keeping();
    flight.pass(secs(25));
    flight.tick();
    let (op, _) = flight.change_asked(EffectName::Commit);
    stamps.push(op);
    stamps.push(flight.renewal_asked());
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
}
