//! A pair that could not be saved. The flight reports it and goes on saving (law 4).

use crate::support::*;

/// A flight whose first save has just failed, at the time the token was sent.
fn degraded() -> Story {
    let mut flight = Story::ordinary().until_saved();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    assert_eq!(flight.mints_keeping().token().expose(), "at-2");
    flight
}

#[test]
fn a_token_that_could_not_be_saved_is_reported_and_saved_later_and_never_reported_twice() {
    for fault in [StoreFault::Failed, StoreFault::TimedOut, StoreFault::Unreadable] {
        let mut flight = Story::ordinary().until_saved();
        flight.change_fails(EffectName::Commit, fault);
        let lease = flight.mints_keeping();
        assert_eq!(lease.generation(), Generation::stored(EPOCH, 2), "it is stored under this name later");
        flight.wake_after(millis(250));
        flight.change(EffectName::Commit);
        flight.released();
        flight.settles();
        flight.over_now();
        assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
        assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-2"));
    }
}

#[test]
fn what_is_reported_is_the_record_as_the_flight_saw_it_last() {
    let mut flight = Story::ordinary().until_saved();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    let landing = flight.landing();
    assert_eq!(landing.view.as_deref(), flight.view().as_ref());
    assert!(landing.keeping);
}

#[test]
fn the_pauses_between_two_saves_double_up_to_half_a_minute() {
    let mut flight = degraded();
    for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    for _ in 0..30 {
        flight.wake_after(secs(15));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
    }
    flight.wake_after(secs(15));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn the_pauses_are_jittered_over_their_upper_half() {
    let mut flight = Story::ordinary().until_saved();
    flight.jitter(32_768);
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    flight.wake_after(millis(375));
    flight.jitter(65_535);
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.wake_after(millis(999));
    flight.change_asked(EffectName::Commit);
}

#[test]
fn a_save_that_is_not_answered_counts_as_failed_after_five_seconds() {
    let mut flight = Story::ordinary().until_saved();
    flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.mints_keeping();
    flight.wake_after(millis(250));
    flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.wake_after(millis(500));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_slow_save_that_lands_after_all_settles_the_flight_while_it_rests() {
    let mut flight = Story::ordinary().until_saved();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.mints_keeping();
    flight.written(op, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_slow_save_that_lands_after_all_settles_the_flight_while_it_writes_again() {
    let mut flight = Story::ordinary().until_saved();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.mints_keeping();
    flight.wake_after(millis(250));
    let (second, _) = flight.change_asked(EffectName::Commit);
    flight.written(op, &change);
    flight.released();
    flight.settles();
    flight.over_now();
    flight.tell(FlightEvent::Changed(second, Err(StoreFault::Failed)));
    flight.over_now();
}

#[test]
fn a_slow_save_that_fails_after_all_neither_counts_again_nor_cuts_the_present_one_short() {
    let mut flight = Story::ordinary().until_saved();
    let (op, _) = flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.mints_keeping();
    let failed = FlightEvent::Changed(op, Err(StoreFault::Failed));
    flight.tell(failed.clone());
    flight.wake_after(millis(250));
    let (second, change) = flight.change_asked(EffectName::Commit);
    flight.ignores(failed);
    flight.wakes_in(secs(5));
    flight.written(second, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_save_that_landed_unheard_is_settled_by_the_next_one() {
    let mut flight = Story::ordinary().until_saved();
    flight.change_lands_unheard(EffectName::Commit);
    flight.mints_keeping();
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
}

#[test]
fn what_is_kept_is_given_up_for_a_login() {
    let mut flight = degraded();
    flight.somebody_signs_in();
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-new"));
}

#[test]
fn what_is_kept_is_revoked_after_a_logout() {
    let mut flight = degraded();
    flight.somebody_logs_out();
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    assert_eq!(flight.revoked(), "rt-2");
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_record_that_is_gone_settles_the_flight_with_nothing_to_see() {
    let mut flight = degraded();
    flight.record = None;
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.released();
    match flight.effect() {
        FlightEffect::Report(tokenkeeper_actors::law::flight::Report::Settled(view)) => {
            assert_eq!(*view, tokenkeeper_actors::values::record::View::vacant());
        }
        other => panic!("{other:?}"),
    }
    flight.over_now();
}

#[test]
fn while_it_keeps_something_the_flight_holds_its_claim_and_its_mark() {
    let mut flight = degraded();
    for pause in [250, 500, 1_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
        assert_eq!(mark_of(flight.record.as_ref()).map(|mark| mark.flight), Some(ME));
    }
    flight.quiet();
}
