//! A logout that could not be stored. The flight saves the tombstone instead of its pair (law 12).

use crate::support::*;

/// A flight that keeps an unsaved pair, and pauses for 250 ms.
fn degraded() -> Story {
    let mut flight = Story::ordinary().until_saved();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    flight
}

fn is_tombstone(flight: &Story) -> bool {
    let record = flight.record.as_ref().unwrap();
    record.grant().is_none() && record.epoch == EPOCH.next()
}

#[test]
fn a_pair_that_arrives_after_the_logout_is_revoked_and_the_tombstone_written() {
    let mut flight = Story::ordinary().until_sent();
    flight.logout(EPOCH);
    flight.waits();
    flight.answer(new_pair());
    flight.permit_back();
    assert_eq!(flight.revoked(), "rt-2");
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(login_required(Reason::LoggedOut));
    flight.over_now();
    assert!(is_tombstone(&flight));
}

#[test]
fn where_the_server_kept_the_old_token_that_one_is_revoked() {
    let mut flight = Story::ordinary().until_sent();
    flight.logout(EPOCH);
    flight.answer(usable(tokens("at-2", None)));
    flight.permit_back();
    assert_eq!(flight.revoked(), "rt-1");
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(login_required(Reason::LoggedOut));
    flight.over_now();

    let mut flight = Story::ordinary().until_sent();
    flight.answer(usable(tokens("at-2", None)));
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-1");
    flight.change(EffectName::Close);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_logout_while_the_pair_is_kept_is_written_at_once() {
    let mut flight = degraded();
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-2");
    flight.change(EffectName::Close);
    flight.released();
    flight.settles();
    flight.over_now();
    assert!(is_tombstone(&flight));
}

#[test]
fn a_tombstone_that_cannot_be_written_is_kept_at_with_the_pauses_of_before() {
    let mut flight = degraded();
    flight.wake_after(millis(250));
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-2");
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.wake_after(secs(1));
    flight.change_fails(EffectName::Close, StoreFault::TimedOut);
    flight.wake_after(secs(2));
    flight.change(EffectName::Close);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_second_logout_revokes_nothing_twice() {
    let mut flight = degraded();
    flight.logout(EPOCH);
    flight.revoked();
    let (op, change) = flight.change_asked(EffectName::Close);
    flight.logout(EPOCH);
    flight.quiet();
    flight.written(op, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_tombstone_that_is_not_answered_counts_as_failed_after_five_seconds() {
    let mut flight = degraded();
    flight.logout(EPOCH);
    flight.revoked();
    flight.change_asked(EffectName::Close);
    flight.wake_after(secs(5));
    flight.wake_after(millis(500));
    flight.change(EffectName::Close);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_save_that_is_under_way_at_the_logout_settles_nothing_any_more() {
    let mut flight = Story::ordinary().until_saved();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-2");
    let (burial, tombstone) = flight.change_asked(EffectName::Close);
    // The save succeeds first, and is reported first.
    let landed = flight.write(&change);
    flight.ignores(FlightEvent::Changed(op, Ok(landed)));
    flight.written(burial, &tombstone);
    flight.released();
    flight.lands(login_required(Reason::LoggedOut));
    flight.over_now();
    assert!(is_tombstone(&flight));
}

#[test]
fn a_first_tombstone_that_fails_is_reported_and_kept_at() {
    let mut flight = Story::ordinary().until_sent();
    flight.logout(EPOCH);
    flight.answer(new_pair());
    flight.permit_back();
    flight.revoked();
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.lands_keeping(login_required(Reason::LoggedOut));
    flight.wake_after(millis(250));
    flight.change(EffectName::Close);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_tombstone_that_is_there_already_is_enough() {
    let mut flight = degraded();
    flight.somebody_logs_out();
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-2");
    flight.change(EffectName::Close);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_login_that_came_first_is_not_buried() {
    let mut flight = Story::ordinary().until_sent();
    flight.logout(EPOCH);
    flight.somebody_signs_in();
    flight.answer(new_pair());
    flight.permit_back();
    assert_eq!(flight.revoked(), "rt-2");
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-new"));
}

#[test]
fn a_logout_of_another_epoch_leaves_the_pair_alone() {
    let mut flight = Story::ordinary().until_sent();
    flight.logout(Epoch::new(2));
    flight.answer(new_pair());
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    flight.logout(Epoch::new(2));
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_flight_that_has_no_pair_to_keep_writes_what_it_had_to_write() {
    let cases = [(UNREACHABLE, EffectName::Withdraw), (refused(400, "invalid_grant"), EffectName::End)];
    for (evidence, write) in cases {
        let mut flight = Story::ordinary().until_sent();
        flight.answer(evidence);
        flight.permit_back();
        flight.change_fails(write, StoreFault::Failed);
        flight.landing();
        flight.logout(EPOCH);
        flight.wake_after(millis(250));
        flight.change(write);
        flight.released();
        flight.settles();
        flight.over_now();
    }
}
