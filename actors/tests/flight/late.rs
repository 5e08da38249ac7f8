//! Answers that arrive after the record has changed (laws 5, 9 and 12).

use tokenkeeper_actors::law::profile::{Profile, Tokens};
use tokenkeeper_actors::values::record::Parked;

use crate::support::*;

fn confined() -> Story {
    let profile = Profile { revocation_confined: true, ..Profile::default() };
    Story::begin(Setup { profile, ..Setup::default() }).until_sent()
}

fn strict() -> Story {
    Story::ordinary().until_sent()
}

/// The new pair arrives, and its commit conflicts with a record that has changed.
fn too_late(flight: &mut Story) {
    flight.answer(new_pair());
    flight.permit_back();
    let moved_on = flight.record.clone();
    flight.change(EffectName::Commit);
    assert_eq!(flight.record, moved_on, "a late answer is stored nowhere");
}

#[test]
fn after_a_logout_the_late_pair_is_revoked() {
    for mut flight in [strict(), confined()] {
        flight.somebody_logs_out();
        too_late(&mut flight);
        assert_eq!(flight.revoked(), "rt-2");
        flight.released();
        flight.lands(Outcome::Moved);
        flight.over_now();
    }
}

#[test]
fn after_a_logout_an_answer_without_a_refresh_token_leaves_the_revoking_to_the_logout() {
    let mut flight = strict();
    flight.somebody_logs_out();
    flight.answer(usable(tokens("at-2", None)));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn after_a_login_the_late_pair_is_dropped() {
    let mut flight = strict();
    flight.somebody_signs_in();
    too_late(&mut flight);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn after_a_login_the_late_pair_is_revoked_where_that_ends_its_own_lineage_alone() {
    let mut flight = confined();
    flight.somebody_signs_in();
    too_late(&mut flight);
    assert_eq!(flight.revoked(), "rt-2");
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_login_after_a_logout_counts_as_a_login() {
    let mut flight = strict();
    flight.somebody_logs_out();
    flight.somebody_signs_in();
    too_late(&mut flight);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_siblings_newer_token_is_adopted_and_the_late_pair_dropped_but_never_revoked() {
    // Both are of the same lineage, so a revocation of one would end the other.
    for mut flight in [strict(), confined()] {
        flight.sibling_refreshes("at-s", "rt-s");
        too_late(&mut flight);
        flight.released();
        flight.lands(Outcome::Adopted);
        flight.over_now();
    }
}

#[test]
fn a_siblings_newer_token_that_will_not_do_sends_the_session_back() {
    let mut setup = Setup::default();
    setup.order.adopt = above(7);
    let mut flight = Story::begin(setup).until_sent();
    flight.sibling_refreshes("at-s", "rt-s");
    too_late(&mut flight);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_caller_who_insists_is_not_given_a_siblings_token() {
    let mut setup = Setup::default();
    setup.order.adopt = insists();
    let mut flight = Story::begin(setup).until_sent();
    flight.sibling_refreshes("at-s", "rt-s");
    too_late(&mut flight);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_record_that_is_gone_takes_no_late_pair_and_revokes_none() {
    for mut flight in [strict(), confined()] {
        flight.record = None;
        too_late(&mut flight);
        flight.released();
        flight.lands(Outcome::Moved);
        flight.over_now();
    }
}

#[test]
fn a_revision_that_moved_does_not_keep_the_pair_out() {
    let mut flight = strict();
    flight.somebody_writes();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_commit_that_landed_unheard_is_recognised_as_ours() {
    // The driver repeats the write. The second try conflicts with this flight's own tokens.
    let mut flight = Story::ordinary().until_saved();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.write(&change);
    flight.written(op, &change);
    flight.released();
    assert_eq!(flight.mints().token().expose(), "at-2");
    flight.over_now();
}

#[test]
fn a_commit_that_landed_unheard_and_was_logged_out_since_is_revoked() {
    let mut flight = Story::ordinary().until_saved();
    flight.change_lands_unheard(EffectName::Commit);
    assert_eq!(flight.mints_keeping().token().expose(), "at-2");
    flight.somebody_logs_out();
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    assert_eq!(flight.revoked(), "rt-2");
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_commit_that_landed_unheard_and_was_refreshed_since_is_left_alone() {
    let mut flight = Story::ordinary().until_saved();
    flight.change_lands_unheard(EffectName::Commit);
    flight.mints_keeping();
    flight.sibling_refreshes("at-3", "rt-3");
    flight.wake_after(millis(250));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-3"));
}

#[test]
fn an_answer_for_another_subject_than_was_named_meanwhile_parks_the_grant() {
    for landed in [false, true] {
        let mut flight = strict();
        flight.answer(usable(Tokens { subject: subject("mallory"), ..tokens("at-2", Some("rt-2")) }));
        flight.permit_back();
        if landed {
            flight.change_fails(EffectName::Commit, StoreFault::Failed);
            flight.mints_keeping();
        }
        grant_of(flight.record.as_mut().unwrap()).subject = subject("alice");
        if landed {
            flight.wake_after(millis(250));
        }
        flight.change(EffectName::Commit);
        assert_eq!(flight.revoked(), "rt-2");
        flight.change(EffectName::Close);
        // The token was spent for the new pair, and its mark records that.
        flight.abandoned();
        if landed {
            flight.settles();
        } else {
            flight.lands(login_required(Reason::SubjectChanged));
        }
        flight.over_now();
        let mut record = flight.record.clone().unwrap();
        assert_eq!(grant_of(&mut record).parked, Some(Parked::SubjectChanged));
        assert_eq!(mark_of(Some(&record)).map(|mark| mark.flight), Some(ME));
    }
}

#[test]
fn a_park_for_another_subject_that_cannot_be_written_is_kept_at() {
    let mut flight = strict();
    flight.answer(usable(Tokens { subject: subject("mallory"), ..tokens("at-2", None) }));
    flight.permit_back();
    grant_of(flight.record.as_mut().unwrap()).subject = subject("alice");
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.written(op, &change);
    // An answer to the commit does not count as one to the park.
    flight.ignores(FlightEvent::Changed(op, Err(StoreFault::TimedOut)));
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.landed_keeping(login_required(Reason::SubjectChanged));
    flight.wake_after(millis(250));
    flight.change(EffectName::Close);
    flight.abandoned();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_siblings_success_outranks_our_refusal_and_ours_outranks_a_siblings() {
    // The sibling's refusal was of the token for which this flight got the successor.
    let mut flight = strict();
    flight.meanwhile(Change::End { epoch: EPOCH, sent: rt("rt-1").digest() });
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
}
