//! The process stops. The answer to a sent request is awaited, and its tokens are saved until shortly before the end (law 4).

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::profile::Tokens;
use tokenkeeper_actors::values::record::{MarkState, Renewal};

use crate::support::*;

/// A flight that keeps an unsaved pair, and pauses for 250 ms.
fn degraded() -> Story {
    let mut flight = Story::ordinary().until_saved();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.mints_keeping();
    flight
}

fn mark_state(flight: &Story) -> Option<MarkState> {
    mark_of(flight.record.as_ref()).map(|mark| mark.state)
}

#[test]
fn a_request_that_has_left_is_waited_for_and_its_answer_saved() {
    let mut flight = Story::ordinary().until_sent();
    flight.shutdown();
    flight.pass(secs(30));
    flight.waits();
    flight.answer(new_pair());
    flight.permit_back();
    flight.saves();
}

#[test]
fn what_is_kept_is_saved_at_once() {
    let mut flight = degraded();
    flight.shutdown();
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn where_the_last_save_fails_the_token_is_noted_as_spent() {
    for fault in [StoreFault::Failed, StoreFault::TimedOut] {
        let mut flight = degraded();
        flight.shutdown();
        flight.change_fails(EffectName::Commit, fault);
        flight.change(EffectName::Spent);
        flight.change_fails(EffectName::Commit, fault);
        flight.abandoned();
        flight.loses(true);
        flight.over_now();
        assert_eq!(mark_state(&flight), Some(MarkState::Spent));
        let renewal = flight.view().unwrap().renewal;
        assert_eq!(renewal, Renewal::LoginRequired(Reason::MaybeConsumed));
    }
}

#[test]
fn where_nothing_can_be_written_the_loss_is_reported() {
    let mut flight = degraded();
    flight.shutdown();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.change_fails(EffectName::Spent, StoreFault::Failed);
    flight.abandoned();
    flight.loses(false);
    flight.over_now();
    assert_eq!(mark_state(&flight), Some(MarkState::Open));
}

#[test]
fn a_save_is_repeated_while_the_process_waits() {
    let mut flight = degraded();
    flight.shutdown_within(secs(40));
    flight.change_fails(EffectName::Commit, StoreFault::Busy);
    for pause in [500, 1_000, 1_000] {
        flight.wake_after(millis(pause));
        flight.change_fails(EffectName::Commit, StoreFault::Busy);
    }
    flight.wake_after(secs(1));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn the_token_is_noted_as_spent_only_shortly_before_the_end() {
    for (patience, pauses) in
        [(secs(2), vec![500, 500]), (secs(13), vec![500, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000])]
    {
        let mut flight = degraded();
        flight.shutdown_within(patience);
        let left = patience - millis(pauses.iter().sum());
        for pause in pauses {
            flight.change_fails(EffectName::Commit, StoreFault::Full);
            flight.wake_after(millis(pause));
        }
        flight.change_fails(EffectName::Commit, StoreFault::Full);
        flight.change_asked(EffectName::Spent);
        // The note ends before the process does.
        flight.wake_after(left.min(secs(5)));
        flight.abandoned();
        flight.loses(false);
        flight.over_now();
    }
}

#[test]
fn a_store_that_takes_the_note_is_given_the_token_once_more() {
    let mut flight = degraded();
    flight.shutdown();
    flight.change_fails(EffectName::Commit, StoreFault::Busy);
    flight.change(EffectName::Spent);
    assert_eq!(mark_state(&flight), Some(MarkState::Spent));
    flight.change(EffectName::Commit);
    flight.released();
    flight.settles();
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

/// Flights that end while a save is unanswered, which is the last one or an earlier one that blocks the last.
fn unanswered() -> [(Story, Op, Change); 2] {
    let mut last = degraded();
    last.shutdown();
    let (op, change) = last.change_asked(EffectName::Commit);
    last.wake_after(secs(5));

    let mut blocked = Story::ordinary().until_saved();
    let (earlier, same) = blocked.change_asked(EffectName::Commit);
    blocked.wake_after(secs(5));
    blocked.mints_keeping();
    blocked.shutdown();
    blocked.change_fails(EffectName::Commit, StoreFault::Busy);
    [(last, op, change), (blocked, earlier, same)]
}

#[test]
fn a_save_that_is_unanswered_at_the_end_is_waited_for() {
    for (mut flight, op, change) in unanswered() {
        // It wakes only because no sleep is longer than a minute.
        flight.wake_after(secs(60));
        flight.wakes_in(secs(60));
        flight.written(op, &change);
        flight.released();
        flight.settles();
        flight.over_now();
    }
    for (mut flight, op, _) in unanswered() {
        flight.tell(FlightEvent::Changed(op, Err(StoreFault::Failed)));
        flight.change_fails(EffectName::Spent, StoreFault::Failed);
        flight.abandoned();
        flight.loses(false);
        flight.over_now();
    }
}

#[test]
fn a_save_that_is_under_way_is_the_last_one() {
    let mut flight = Story::ordinary().until_saved();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.shutdown();
    flight.wakes_in(secs(5));
    flight.written(op, &change);
    flight.released();
    assert_eq!(flight.mints().token().expose(), "at-2");
    flight.over_now();

    let mut flight = Story::ordinary().until_saved();
    let (op, _) = flight.change_asked(EffectName::Commit);
    flight.shutdown();
    flight.tell(FlightEvent::Changed(op, Err(StoreFault::Failed)));
    flight.mints_keeping();
    flight.change(EffectName::Spent);
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.abandoned();
    flight.loses(true);
    flight.over_now();
}

#[test]
fn a_pair_that_arrives_after_the_shutdown_has_one_attempt() {
    let mut flight = Story::ordinary().until_sent();
    flight.shutdown();
    flight.answer(new_pair());
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    assert_eq!(flight.mints_keeping().token().expose(), "at-2");
    flight.change(EffectName::Spent);
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.abandoned();
    flight.loses(true);
    flight.over_now();
}

#[test]
fn the_late_failure_of_an_earlier_save_does_not_cut_the_last_one_short() {
    let mut flight = Story::ordinary().until_saved();
    let (op, _) = flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.mints_keeping();
    flight.shutdown();
    let (last, change) = flight.change_asked(EffectName::Commit);
    flight.tell(FlightEvent::Changed(op, Err(StoreFault::Failed)));
    flight.wakes_in(secs(5));
    flight.written(last, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_second_shutdown_changes_nothing() {
    let mut flight = degraded();
    flight.shutdown();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.shutdown();
    flight.wakes_in(secs(5));
    flight.written(op, &change);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_last_save_that_landed_unheard_is_not_noted_as_spent() {
    let answers = [(new_pair(), EffectName::Spent), (usable(tokens("at-2", Some("rt-1"))), EffectName::Withdraw)];
    for (answer, last_write) in answers {
        let mut flight = Story::ordinary().until_sent();
        flight.answer(answer);
        flight.permit_back();
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
        flight.mints_keeping();
        flight.shutdown();
        flight.change_lands_unheard(EffectName::Commit);
        flight.change(last_write);
        flight.released();
        flight.settles();
        flight.over_now();
        assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-2"));
        assert_eq!(mark_of(flight.record.as_ref()), None);
    }
}

#[test]
fn last_words_that_meet_a_logout_revoke_the_pair() {
    let mut flight = degraded();
    flight.shutdown();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.somebody_logs_out();
    flight.change(EffectName::Spent);
    assert_eq!(flight.revoked(), "rt-2");
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn last_words_that_meet_a_login_drop_the_pair() {
    let mut flight = degraded();
    flight.shutdown();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    flight.somebody_signs_in();
    flight.change(EffectName::Spent);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn last_words_about_nothing_lost_revoke_nothing_twice() {
    let mut flight = degraded();
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-2");
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.shutdown();
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.somebody_logs_out();
    flight.change(EffectName::Spent);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn an_answer_to_the_last_save_is_no_answer_to_the_note() {
    let mut flight = degraded();
    flight.shutdown();
    let (op, change) = flight.change_asked(EffectName::Commit);
    flight.tell(FlightEvent::Changed(op, Err(StoreFault::Failed)));
    let (note, spent) = flight.change_asked(EffectName::Spent);
    let landed = flight.write(&change);
    flight.ignores(FlightEvent::Changed(op, Ok(landed)));
    flight.written(note, &spent);
    flight.released();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_token_that_the_server_let_us_keep_is_not_noted_as_spent() {
    let kept = || {
        let mut flight = Story::ordinary().until_sent();
        flight.shutdown();
        flight.answer(usable(tokens("at-2", None)));
        flight.permit_back();
        flight.change_fails(EffectName::Commit, StoreFault::Failed);
        flight.mints_keeping();
        flight
    };
    let mut flight = kept();
    flight.change(EffectName::Withdraw);
    flight.released();
    flight.settles();
    flight.over_now();
    assert_eq!(mark_state(&flight), None);
    let mut flight = kept();
    flight.change_fails(EffectName::Withdraw, StoreFault::Failed);
    flight.abandoned();
    flight.over_now();
    assert_eq!(mark_state(&flight), Some(MarkState::Open));
}

#[test]
fn a_withdrawal_that_fails_at_the_end_leaves_the_doubt() {
    let mut flight = Story::ordinary().until_sent();
    flight.shutdown();
    flight.answer(UNREACHABLE);
    flight.permit_back();
    flight.change_fails(EffectName::Withdraw, StoreFault::Failed);
    flight.lands_keeping(failed(Reason::Unreachable));
    flight.abandoned();
    flight.over_now();
    assert_eq!(mark_state(&flight), Some(MarkState::Open));
}

/// Flights that know their token to be spent or dead, and cannot store that. `Shutdown` comes during their pause.
fn sure_of_the_end() -> Vec<(Story, EffectName)> {
    let mut ended = Story::ordinary().until_sent();
    ended.answer(refused(400, "invalid_grant"));
    ended.permit_back();
    ended.change_fails(EffectName::End, StoreFault::Failed);
    ended.lands_keeping(login_required(Reason::GrantEnded));

    let mut record = signed_in();
    grant_of(&mut record).subject = subject("alice");
    let mut parked = Story::over(record).until_sent();
    parked.answer(usable(Tokens { subject: subject("mallory"), ..tokens("at-2", Some("rt-2")) }));
    parked.permit_back();
    parked.revoked();
    parked.change_fails(EffectName::Close, StoreFault::Failed);
    parked.lands_keeping(login_required(Reason::SubjectChanged));

    let mut buried = degraded();
    buried.logout(EPOCH);
    buried.revoked();
    buried.change_fails(EffectName::Close, StoreFault::Failed);

    vec![(ended, EffectName::End), (parked, EffectName::Close), (buried, EffectName::Close)]
}

#[test]
fn a_token_that_is_known_to_be_spent_or_dead_is_noted_too_and_nothing_is_lost_with_it() {
    for (mut flight, write) in sure_of_the_end() {
        flight.shutdown();
        flight.change_fails(write, StoreFault::Failed);
        flight.change(EffectName::Spent);
        flight.abandoned();
        flight.settles();
        flight.over_now();
        assert_eq!(mark_state(&flight), Some(MarkState::Spent));
    }
}

#[test]
fn where_not_even_that_can_be_written_the_flight_just_ends() {
    for (mut flight, write) in sure_of_the_end() {
        flight.shutdown();
        flight.change_fails(write, StoreFault::Failed);
        flight.change_fails(EffectName::Spent, StoreFault::Failed);
        flight.abandoned();
        flight.over_now();
    }
}

#[test]
fn what_was_to_be_written_anyway_is_written_at_once() {
    for (mut flight, write) in sure_of_the_end() {
        let stays = write == EffectName::Close && mark_of(flight.record.as_ref()).is_some();
        flight.shutdown();
        flight.change(write);
        match stays && flight.record.as_ref().unwrap().grant().is_some() {
            true => flight.abandoned(),
            false => flight.released(),
        }
        flight.settles();
        flight.over_now();
    }
}

#[test]
fn a_logout_after_the_shutdown_buries_the_pair_and_notes_its_token_at_the_last() {
    let mut flight = degraded();
    flight.shutdown();
    let (save, _) = flight.change_asked(EffectName::Commit);
    flight.logout(EPOCH);
    assert_eq!(flight.revoked(), "rt-2");
    let (burial, _) = flight.change_asked(EffectName::Close);
    flight.ignores(FlightEvent::Changed(save, Err(StoreFault::Failed)));
    flight.tell(FlightEvent::Changed(burial, Err(StoreFault::Failed)));
    flight.change(EffectName::Spent);
    flight.abandoned();
    flight.settles();
    flight.over_now();
}
