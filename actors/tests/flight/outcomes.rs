//! Law 10's table, row by row, from the result of the request to the outcome of the flight.

use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Profile, Reuse};
use tokenkeeper_actors::values::record::{Parked, Refresh};

use crate::support::*;

/// The end of the refresh token's mark.
#[derive(Debug, PartialEq)]
enum Mark {
    /// It is withdrawn, in one write.
    Withdrawn,
    /// It stays, and the token is in doubt.
    Stays,
}

/// Runs one row of the table for a token that was never presented before.
fn row(profile: &Profile, evidence: Evidence, throttle: Option<Duration>, mark: Mark, outcome: Outcome) {
    let mut flight = Story::begin(Setup { profile: profile.clone(), ..Setup::default() }).until_sent();
    flight.pass(secs(1));
    let before = flight.record.clone();
    flight.answer(evidence);
    flight.permit_back_with(throttle);
    match mark {
        Mark::Withdrawn => {
            flight.change(EffectName::Withdraw);
            flight.released();
            assert_eq!(mark_of(flight.record.as_ref()), None);
        }
        Mark::Stays => {
            flight.abandoned();
            assert_eq!(flight.record, before, "the mark is all that is written");
        }
    }
    flight.lands(outcome);
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-1"));
}

#[test]
fn what_certainly_spent_nothing_takes_the_mark_back() {
    let strict = Profile::default();
    let gateway = Profile { unspent_statuses: vec![503], ..Profile::default() };
    let row = |profile, evidence, throttle, outcome| row(profile, evidence, throttle, Mark::Withdrawn, outcome);
    row(&strict, UNREACHABLE, None, failed(Reason::Unreachable));
    row(&strict, Evidence::NotSent(NotSent::Unbuildable), None, failed(Reason::RequestRefused));
    row(&strict, Evidence::NotSent(NotSent::Forbidden), None, failed(Reason::RequestRefused));
    let second = Some(secs(1));
    row(&strict, refused(429, ""), second, failed_for(Reason::Throttled, secs(1)));
    let told = Some(secs(60));
    row(&strict, refused_until(429, "", secs(60)), told, failed_for(Reason::Throttled, secs(60)));
    row(&strict, refused(429, "invalid_grant"), second, failed_for(Reason::Throttled, secs(1)));
    row(&gateway, refused(503, ""), None, failed(Reason::ServerTrouble));
    row(&gateway, refused_until(503, "", secs(60)), told, failed_for(Reason::ServerTrouble, secs(60)));
}

#[test]
fn any_other_answer_leaves_the_token_in_doubt() {
    // Where a token in doubt is never presented again, the doubt shows at once.
    let never = Profile { reuse: Reuse::EndsMore, ..profile() };
    let row = |evidence, told| row(&never, evidence, told, Mark::Stays, login_required(Reason::MaybeConsumed));
    for lost in [Lost::TimedOut, Lost::Broken, Lost::Aborted] {
        row(Evidence::Lost(lost), None);
    }
    for (status, error) in [
        (500, ""),
        (500, "invalid_grant"),
        (502, ""),
        (503, ""),
        (503, "temporarily_unavailable"),
        (200, ""),
        (200, "use_dpop_nonce"),
        (302, ""),
        (400, ""),
        (400, "invalid_request"),
        (401, ""),
        (403, "access_denied"),
        (418, "teapot"),
        (100, "invalid_grant"),
        (0, ""),
    ] {
        row(refused(status, error), None);
    }
    row(refused_until(500, "", secs(60)), Some(secs(60)));
}

#[test]
fn a_definite_refusal_ends_the_grant_and_is_remembered_for_this_token_only() {
    let provider = Profile { dead_words: vec!["token_revoked".to_owned()], ..Profile::default() };
    for (profile, status, word) in [
        (Profile::default(), 400, "invalid_grant"),
        (Profile::default(), 401, "invalid_grant"),
        (Profile::default(), 200, "invalid_grant"),
        (provider, 200, "token_revoked"),
    ] {
        let mut flight = Story::begin(Setup { profile, ..Setup::default() }).until_sent();
        flight.answer(refused_until(status, word, secs(5)));
        flight.permit_back_with(Some(secs(5)));
        flight.change(EffectName::End);
        flight.released();
        flight.lands(login_required(Reason::GrantEnded));
        flight.over_now();
        let mut record = flight.record.clone().unwrap();
        assert!(record.dead.contains(&rt("rt-1").digest()));
        assert_eq!(grant_of(&mut record).refresh, Refresh::Ended(rt("rt-1").digest()));
        assert_eq!(grant_of(&mut record).parked, None);
        assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-1"), "the token that is there may live yet");
    }
}

#[test]
fn a_refusal_of_a_token_that_is_stored_no_more_ends_nothing() {
    let mut flight = Story::ordinary().until_sent();
    flight.record = Some(refreshed_by_sibling(&signed_in(), "at-s", "rt-s", START));
    flight.answer(refused(400, "invalid_grant"));
    flight.permit_back();
    flight.change(EffectName::End);
    flight.released();
    flight.lands(Outcome::Adopted);
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-s"));
}

#[test]
fn a_refusal_that_comes_after_a_login_or_a_logout_ends_nothing() {
    let events: [fn(&mut Story); 2] = [Story::somebody_signs_in, Story::somebody_logs_out];
    for happens in events {
        let mut flight = Story::ordinary().until_sent();
        happens(&mut flight);
        let moved_on = flight.record.clone();
        flight.answer(refused(400, "invalid_grant"));
        flight.permit_back();
        flight.change(EffectName::End);
        flight.released();
        flight.lands(Outcome::Moved);
        flight.over_now();
        assert_eq!(flight.record, moved_on);
    }
}

#[test]
fn a_siblings_token_that_is_about_to_expire_is_not_adopted_in_place_of_a_refusal() {
    let mut flight = Story::ordinary().until_sent();
    flight.record = Some(refreshed_by_sibling(&signed_in(), "at-s", "rt-s", before(START, HOUR - secs(30))));
    flight.answer(refused(400, "invalid_grant"));
    flight.permit_back();
    flight.change(EffectName::End);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_siblings_parked_token_is_not_adopted_in_place_of_a_refusal() {
    let mut flight = Story::ordinary().until_sent();
    flight.record = Some(refreshed_by_sibling(&signed_in(), "at-s", "rt-s", START));
    flight.meanwhile(Change::Park { epoch: EPOCH, why: Parked::IssuerChanged });
    flight.answer(refused(400, "invalid_grant"));
    flight.permit_back();
    flight.change(EffectName::End);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_client_that_is_not_known_any_more_parks_the_session_and_withdraws_in_one_write() {
    for status in [400, 401, 200] {
        let mut flight = Story::ordinary().until_sent();
        flight.answer(refused_until(status, "invalid_client", secs(5)));
        flight.permit_back_with(Some(secs(5)));
        flight.change(EffectName::Withdraw);
        flight.released();
        flight.lands(login_required(Reason::ClientRejected));
        flight.over_now();
        let mut record = flight.record.clone().unwrap();
        assert_eq!(grant_of(&mut record).parked, Some(Parked::ClientRejected));
        assert_eq!(mark_of(Some(&record)), None);
        assert_eq!(refresh_of(Some(&record)).as_deref(), Some("rt-1"), "the old token stays with its old client");
    }
}

#[test]
fn a_second_presentation_that_spent_nothing_leaves_the_doubt_of_the_first() {
    let record = marked(&signed_in(), SIBLING, 1, before(START, secs(60)));
    let doubt = mark_of(Some(&record));
    let mut flight = Story::over(record).until_sent();
    assert_eq!(mark_of(flight.record.as_ref()).map(|mark| (mark.flight, mark.presentations)), Some((ME, 2)));
    flight.answer(UNREACHABLE);
    flight.permit_back();
    // The first write succeeds without an answer. The second must not remove the mark of the first presentation.
    flight.change_lands_unheard(EffectName::Withdraw);
    flight.landed_keeping(failed(Reason::Unreachable));
    flight.wake_after(millis(250));
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.settles();
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), doubt);
}

#[test]
fn a_client_rejected_at_a_second_presentation_parks_and_leaves_the_doubt_of_the_first() {
    let record = marked(&signed_in(), SIBLING, 1, before(START, secs(60)));
    let doubt = mark_of(Some(&record));
    let mut flight = Story::over(record).until_sent();
    flight.answer(refused(401, "invalid_client"));
    flight.permit_back();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.lands(login_required(Reason::ClientRejected));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), doubt);
}
