//! The time between the mark and the request, with the last check (law 1) and the claim that must outlast the request
//! (law 5).

use tokenkeeper_actors::values::record::Parked;

use crate::support::*;

/// A flight whose mark is answered `span` after it was asked for.
fn marked_after(span: Duration) -> Story {
    marked_in(Story::ordinary().until_marked(), span)
}

fn marked_in(mut flight: Story, span: Duration) -> Story {
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.pass(span);
    flight.written(op, &change);
    flight
}

#[test]
fn two_seconds_after_the_mark_the_token_may_still_leave() {
    let mut flight = marked_after(secs(2));
    assert_eq!(flight.send().not_after, START.elapsed.after(secs(2)));
}

#[test]
fn more_than_two_seconds_after_the_mark_the_record_is_read_again() {
    let mut flight = marked_after(millis(2_001));
    flight.pass(millis(10));
    flight.load();
    let request = flight.send();
    // The result of a read is only known to hold for the time of its request.
    assert_eq!(request.not_after, START.elapsed.after(millis(4_001)));
    flight.waits();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn what_the_last_look_finds_is_what_goes_out() {
    let mut flight = marked_after(secs(3));
    grant_of(flight.record.as_mut().unwrap()).requested = scopes(&["other"]);
    flight.load();
    assert_eq!(flight.send().grant.map(|grant| grant.requested), Some(scopes(&["other"])));
}

#[test]
fn a_suspend_between_mark_and_send_is_noticed() {
    let mut flight = marked_after(HOUR);
    flight.takes_its_mark_back(failed(Reason::Aborted));
}

#[test]
fn each_look_that_takes_too_long_is_followed_by_another_until_the_mark_would_not_cover_the_request() {
    let mut flight = marked_after(millis(2_500));
    for _ in 0..2 {
        let op = flight.load_asked();
        flight.pass(millis(2_500));
        flight.loaded(op);
    }
    let op = flight.load_asked();
    // Nine seconds after the mark is the last moment to send: 5 s for its write, and twice the 2 s.
    flight.pass(millis(1_500));
    flight.loaded(op);
    let request = flight.send();
    assert_eq!(request.not_after, START.elapsed.after(secs(9)), "not two seconds after the last look");
}

#[test]
fn a_millisecond_after_the_last_moment_the_mark_is_taken_back() {
    let mut flight = marked_after(millis(2_500));
    for _ in 0..2 {
        let op = flight.load_asked();
        flight.pass(millis(2_500));
        flight.loaded(op);
    }
    let op = flight.load_asked();
    flight.pass(millis(1_501));
    flight.loaded(op);
    flight.takes_its_mark_back(failed(Reason::Aborted));
}

#[test]
fn a_record_that_a_sibling_refreshed_before_the_send_is_adopted() {
    let mut flight = marked_after(secs(3));
    let refreshed = refreshed_by_sibling(&signed_in(), "at-s", "rt-s", START);
    flight.record = Some(refreshed);
    flight.load();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_login_or_logout_before_the_send_keeps_the_token_in() {
    let events: [fn(&mut Story); 2] = [Story::somebody_signs_in, Story::somebody_logs_out];
    for happens in events {
        let mut flight = marked_after(secs(3));
        happens(&mut flight);
        flight.load();
        flight.change(EffectName::Withdraw);
        flight.released();
        flight.permit_back();
        flight.lands(Outcome::Moved);
        flight.over_now();
    }
}

#[test]
fn a_record_that_was_parked_before_the_send_keeps_its_token_in() {
    let mut flight = marked_after(secs(3));
    flight.meanwhile(Change::Park { epoch: EPOCH, why: Parked::IssuerChanged });
    flight.load();
    flight.takes_its_mark_back(login_required(Reason::IssuerChanged));
}

#[test]
fn a_mark_that_is_gone_before_the_send_means_that_somebody_else_acts() {
    let mut flight = marked_after(secs(3));
    flight.record = Some(signed_in());
    flight.load();
    flight.takes_its_mark_back(failed(Reason::Contended));
}

#[test]
fn a_mark_that_was_replaced_before_the_send_is_left_to_its_owner() {
    let mut flight = marked_after(secs(3));
    let record = flight.record.clone().unwrap();
    flight.record = Some(marked(&record, SIBLING, 2, START));
    flight.load();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.permit_back();
    flight.lands(failed(Reason::Contended));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()).map(|mark| (mark.flight, mark.presentations)), Some((SIBLING, 2)));
}

#[test]
fn our_own_mark_on_another_token_is_not_what_was_marked() {
    let mut flight = marked_after(secs(3));
    let mut record = signed_in();
    if let tokenkeeper_actors::values::record::Refresh::Held(held) = &mut grant_of(&mut record).refresh {
        held.credential = rt("rt-other");
    }
    flight.record = Some(marked(&record, ME, 1, START));
    flight.load();
    flight.change(EffectName::Withdraw);
    flight.abandoned();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_record_that_is_gone_before_the_send_sends_the_session_back() {
    let mut flight = marked_after(secs(3));
    flight.record = None;
    flight.load();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_record_that_cannot_be_read_before_the_send_keeps_the_token_in() {
    let mut flight = marked_after(secs(3));
    flight.load_fails(StoreFault::Failed);
    flight.takes_its_mark_back(failed(Reason::StoreTrouble));
    let mut flight = marked_after(secs(3));
    let op = flight.load_asked();
    flight.wake_after(secs(5));
    flight.ignores(FlightEvent::Loaded(op, Ok(None)));
    flight.takes_its_mark_back(failed(Reason::StoreTrouble));
}

#[test]
fn a_claim_must_outlast_the_request_and_the_write_after_it() {
    let leased = |remaining| {
        let mut flight = Story::ordinary().until_claimed();
        flight.lease(remaining);
        flight.load();
        flight
    };
    let mut flight = marked_in(leased(secs(36)), secs(1));
    flight.send();
    let mut flight = marked_in(leased(secs(36)), millis(1_001));
    flight.takes_its_mark_back(failed(Reason::Contended));
}

#[test]
fn what_remains_of_a_claim_counts_from_the_question() {
    let leased = || {
        let mut flight = Story::ordinary().until_claimed();
        let op = flight.claim_asked();
        flight.pass(secs(4));
        flight.claimed(op, granted(Some(secs(40)), Predecessor::Gone));
        flight.load();
        flight
    };
    let mut flight = marked_in(leased(), secs(1));
    flight.send();
    let mut flight = marked_in(leased(), millis(1_001));
    flight.takes_its_mark_back(failed(Reason::Contended));
}

#[test]
fn a_claim_that_lives_as_long_as_the_process_is_long_enough() {
    let profile = tokenkeeper_actors::law::profile::Profile { request_timeout: Duration::MAX, ..Default::default() };
    let mut flight = Story::begin(Setup { profile, ..Setup::default() }).until_marked();
    flight.change(EffectName::Mark);
    assert_eq!(flight.send().timeout, Duration::MAX);
}

#[test]
fn a_source_that_is_too_late_makes_the_flight_read_again_and_send_again() {
    let mut flight = Story::ordinary().until_sent();
    flight.pass(millis(2_500));
    flight.answer(TOO_LATE);
    flight.load();
    let request = flight.send();
    assert_eq!(request.not_after, START.elapsed.after(millis(4_500)));
    assert_eq!(mark_of(flight.record.as_ref()).map(|mark| mark.presentations), Some(1), "one presentation, one mark");
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_source_that_is_too_late_too_soon_is_believed_but_not_for_ever() {
    let mut flight = Story::ordinary().until_sent();
    for _ in 0..4 {
        flight.answer(TOO_LATE);
        flight.load();
        flight.send();
    }
    flight.answer(TOO_LATE);
    flight.takes_its_mark_back(failed(Reason::Aborted));
}

#[test]
fn a_source_that_is_too_late_for_the_claim_gives_up() {
    let mut flight = Story::ordinary().until_claimed();
    flight.lease(secs(40));
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    flight.pass(millis(5_001));
    flight.answer(TOO_LATE);
    flight.takes_its_mark_back(failed(Reason::Contended));
}

#[test]
fn without_a_key_a_nonce_challenge_is_answered_by_no_second_request() {
    let mut flight = Story::ordinary().until_sent();
    flight.answer(nonce_wanted());
    flight.permit_back();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.lands(failed(Reason::RequestRefused));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

#[test]
fn a_nonce_challenge_is_answered_by_one_resend_under_the_same_mark_and_leave() {
    let mut flight = Story::bound().until_sent();
    let marked = flight.record.clone();
    flight.pass(millis(300));
    flight.answer(refused_until(400, "use_dpop_nonce", secs(9)));
    let request = flight.send();
    assert_eq!(request.refresh.map(|token| token.expose().to_owned()).as_deref(), Some("rt-1"));
    assert_eq!(request.not_after, START.elapsed.after(secs(2)));
    assert_eq!(flight.record, marked);
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn a_second_nonce_challenge_ends_the_flight() {
    let mut flight = Story::bound().until_sent();
    flight.answer(nonce_wanted());
    flight.send();
    flight.answer(refused_until(401, "use_dpop_nonce", secs(9)));
    flight.permit_back_with(Some(secs(9)));
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.lands(failed(Reason::RequestRefused));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

#[test]
fn a_slow_nonce_challenge_is_answered_after_another_look() {
    let mut flight = Story::bound().until_sent();
    flight.pass(secs(3));
    flight.answer(nonce_wanted());
    flight.load();
    flight.send();
    // A request that was too late does not count as the one resend.
    flight.answer(TOO_LATE);
    flight.load();
    flight.send();
    flight.answer(nonce_wanted());
    flight.permit_back();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.lands(failed(Reason::RequestRefused));
    flight.over_now();
}

#[test]
fn a_nonce_challenge_that_took_longer_than_the_mark_allows_for_is_not_answered() {
    let mut flight = Story::bound().until_sent();
    flight.pass(millis(9_001));
    flight.answer(nonce_wanted());
    flight.takes_its_mark_back(failed(Reason::Aborted));
}
