//! The bounds of repeated operations, the ends of waits, and answers that come late.

use tokenkeeper_actors::law::login::{LoginEffect, LoginTask, LoginWish};
use tokenkeeper_actors::values::Scopes;

use crate::support::*;

#[test]
fn a_take_that_fails_three_times_is_given_up() {
    let mut world = World::new();
    world.begins('A', asks());
    for _ in 0..3 {
        world.rule('A', "take", Rule::Fail(StoreFault::Busy));
    }
    world.answers('A', 1, "code");
    world.passes(secs(5));
    assert_eq!((world.result('A'), world.did('A', "take")), (Err(LoginReason::StoreTrouble), 0));
    world.is_at_rest();
}

#[test]
fn a_note_that_fails_three_times_is_given_up_and_the_code_is_presented() {
    let mut world = World::new();
    world.begins('A', asks());
    for _ in 0..3 {
        world.rule('A', "answer", Rule::Fail(StoreFault::Busy));
    }
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!((world.did('A', "answer"), world.did('A', "redeem")), (0, 1));
}

#[test]
fn an_end_that_fails_three_times_is_given_up() {
    let mut world = World::new();
    world.begins('A', asks());
    for _ in 0..3 {
        world.rule('A', "end", Rule::Fail(StoreFault::Busy));
    }
    world.answers('A', 1, "no");
    assert_eq!((world.result('A'), world.did('A', "end")), (Err(LoginReason::Denied), 0));
    assert_eq!(world.prompt(), Some(PromptState::Open));
    world.is_at_rest();
}

#[test]
fn an_end_that_is_not_written_is_not_written_again_while_the_process_stops() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "end", Rule::Hold);
    world.answers('A', 1, "no");
    let until = world.now.elapsed().after(secs(20));
    world.tells('A', LoginEvent::Shutdown(until));
    world.passes(secs(5));
    assert_eq!((world.result('A'), world.did('A', "end")), (Err(LoginReason::Denied), 0));
    world.is_at_rest();
}

#[test]
fn a_take_that_is_never_answered_ends_its_request_once_the_next_one_has_found_nothing() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "take", Rule::AnswerLate);
    world.answers('A', 1, "code");
    // 5 s for the first answer, a pause, and 5 s more for it.
    world.passes(secs(9));
    assert!(world.waits('A'));
    world.passes(secs(3));
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Lost), Err(LoginReason::Lost)));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Aborted)));
    world.is_at_rest();
}

#[test]
fn a_late_answer_to_an_earlier_take_does_not_stand_for_that_of_the_latest() {
    for answer in [Err(StoreFault::Busy), Err(StoreFault::Unreadable), Ok(None)] {
        let mut world = World::new();
        world.begins('A', asks());
        world.rule('A', "take", Rule::Hold);
        world.rule('A', "take", Rule::Hold);
        world.answers('A', 1, "code");
        world.passes(secs(7));
        assert_eq!(world.process('A').held.len(), 2);
        let LoginEffect::Take(first, _) = world.process('A').held.remove(0) else { panic!("no take") };
        world.tells('A', LoginEvent::Taken(first, answer.clone()));
        world.releases('A');
        assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")), "{answer:?}");
        world.is_at_rest();
    }
}

#[test]
fn no_earlier_take_is_waited_for_once_each_has_found_nothing() {
    let mut world = World::new();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('A', "take", Rule::Hold);
    world.answers('A', 1, "code");
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "code"));
    world.passes(secs(7));
    let loads = world.did('A', "load");
    // The first try is carried out at last. The record then shows that another replica redeems the answer.
    world.releases('A');
    assert_eq!((world.did('A', "load"), world.waits('A')), (loads + 1, true));
    world.deaf.clear();
    world.delivers('R');
    assert_eq!((world.result('R'), world.result('A')), (Ok(()), Err(LoginReason::Superseded)));
    world.is_at_rest();
}

#[test]
fn a_cancelled_request_whose_take_may_have_succeeded_is_ended() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "take", Rule::LoseAnswer);
    world.tells('A', LoginEvent::Cancel);
    world.passes(secs(2));
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Cancelled), Err(LoginReason::Cancelled)));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Cancelled)));
    world.is_at_rest();
}

#[test]
fn a_tick_that_comes_early_repeats_nothing() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "take", Rule::Fail(StoreFault::Busy));
    world.answers('A', 1, "code");
    world.tells('A', LoginEvent::Tick);
    assert_eq!(world.did('A', "take"), 0);

    let mut world = World::signed_in();
    world.claims_for(tokenkeeper_actors::values::FlightId(77), ClaimScope::Spend(Epoch::new(1)), secs(60));
    world.begins('A', asks());
    world.answers('A', 1, "code");
    world.tells('A', LoginEvent::Tick);
    assert_eq!(world.did('A', "claim spend"), 1);
}

#[test]
fn an_answer_that_waited_for_a_redeemer_that_died_is_not_used_and_its_attempt_asks_nobody() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.passes(secs(601));
    world.begins('B', asks());
    world.rule('R', "claim spend", Rule::Fail(StoreFault::Busy));
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "old"));
    world.begins('S', completes(2, "new"));
    world.stops('B');
    world.dies('R');
    world.passes(secs(71));
    assert_eq!((world.result('S'), world.did('S', "redeem")), (Err(LoginReason::Superseded), 0));
    assert_eq!((world.did('S', "end"), world.prompt()), (0, Some(PromptState::Answered)));
}

#[test]
fn a_request_is_over_at_the_moment_of_its_end() {
    let mut world = World::new();
    world.begins('A', asks());
    world.stops('A');
    world.passes(secs(600));
    world.dies('A');
    world.begins('B', asks());
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
}

#[test]
fn an_open_request_times_out_at_its_end_by_either_clock() {
    let mut world = World::new();
    world.begins('A', asks());
    world.steps_forward(secs(600));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));

    let mut world = World::new();
    world.begins('A', asks());
    world.steps_back(HOUR);
    world.passes(secs(600));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
}

#[test]
fn a_cancelled_request_stays_cancelled_however_long_its_last_poll_takes() {
    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.rule('A', "poll", Rule::AnswerLate);
    world.passes(secs(5));
    world.tells('A', LoginEvent::Cancel);
    world.passes(secs(700));
    world.delivers('A');
    assert_eq!(world.result('A'), Err(LoginReason::Cancelled));
    world.is_at_rest();
}

#[test]
fn a_poll_that_fails_otherwise_than_by_a_no_has_failed() {
    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.server.polls.push_back(Polled::Ended(LoginReason::ClientRejected));
    world.passes(secs(5));
    assert_eq!(world.result('A'), Err(LoginReason::ClientRejected));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Failed)));
}

#[test]
fn an_open_request_reads_the_record_only_after_news_and_a_stored_login_is_not_settled() {
    let mut world = World::new();
    world.begins('A', asks());
    let loads = world.did('A', "load");
    world.tells('A', LoginEvent::Tick);
    assert_eq!(world.did('A', "load"), loads);
    world.answers('A', 1, "code");
    assert_eq!(world.result('A'), Ok(()));
    assert!(!world.process('A').reports.iter().any(|report| matches!(report, LoginReport::Settled(_))));
}

#[test]
fn a_pending_login_of_another_epoch_is_not_shown() {
    let mut world = World::new();
    world.begins('A', asks());
    world.dies('A');
    world.logins.get_mut(&key(1)).unwrap().epoch = Epoch::new(9);
    world.begins('B', asks());
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
}

#[test]
fn a_login_that_replaces_the_grant_asks_for_the_former_scopes_only_if_it_names_none() {
    for (wished, asked) in [(Scopes::default(), scopes(&["read"])), (scopes(&["admin"]), scopes(&["admin"]))] {
        let mut world = World::signed_in();
        world.begins('A', LoginTask::Ask(LoginWish { scopes: wished, ..wish() }));
        assert_eq!(world.server.prepared[0].scopes, asked);
    }
}

#[test]
fn a_claim_that_a_follower_gets_late_is_used() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.dies('A');
    world.rule('B', "claim", Rule::AnswerLate);
    while world.did('B', "claim") < 2 {
        world.passes(secs(1));
    }
    // The claim is given up after 5 s, and asked for again 2.5 s after that at the earliest.
    world.passes(secs(6));
    assert_eq!((world.did('B', "claim"), world.shown.len()), (2, 1));
    world.delivers('B');
    assert_eq!((world.did('B', "claim"), world.shown.as_slice()), (2, &[('A', key(1)), ('B', key(1))][..]));
    assert_eq!(world.claims.len(), 1);
    world.answers('B', 1, "code");
    assert_eq!(world.result('B'), Ok(()));
    world.is_at_rest();
}

#[test]
fn an_asker_whose_request_was_replaced_shows_no_other() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.stops('A');
    world.passes(secs(700));
    world.deaf.insert('A');
    world.begins('C', asks());
    world.resumes('A');
    world.tells('A', LoginEvent::Tick);
    assert_eq!((world.result('A'), world.did('A', "peek")), (Err(LoginReason::TimedOut), 0));
    assert_eq!(world.shown, [('A', key(1)), ('C', key(2))]);
    assert_eq!(world.prompt(), Some(PromptState::Open));
}

#[test]
fn a_logout_waits_for_the_write_of_a_login_and_not_for_the_right_to_spend() {
    for at in ["reserve", "install"] {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.rule('A', at, Rule::Hold);
        world.answers('A', 1, "code");
        world.tells('A', LoginEvent::LoggedOut(Epoch::new(1)));
        assert!(world.waits('A') && world.revoked.is_empty(), "{at}");
    }
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.rule('A', "claim spend", Rule::Hold);
    world.answers('A', 1, "code");
    world.tells('A', LoginEvent::LoggedOut(Epoch::new(1)));
    assert_eq!(world.result('A'), Err(LoginReason::LoggedOut));
    world.releases('A');
    world.is_at_rest();
}

#[test]
fn a_login_that_an_earlier_write_may_have_stored_is_not_revoked_after_a_write_that_failed() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.rule('A', "install", Rule::Fail(StoreFault::TimedOut));
    world.rule('A', "install", Rule::Fail(StoreFault::Failed));
    world.answers('A', 1, "code");
    world.tells('A', LoginEvent::Tick);
    while world.rules.iter().any(|(_, name, _)| *name == "install") {
        world.passes(millis(100));
    }
    world.down = Some(StoreFault::Failed);
    let until = world.now.elapsed().after(secs(12));
    world.tells('A', LoginEvent::Shutdown(until));
    world.passes(secs(20));
    assert!(world.process('A').reports.iter().any(|report| matches!(report, LoginReport::Lost)));
    assert_eq!(world.revoked.len(), 0);
    world.is_at_rest();
}

#[test]
fn the_right_to_spend_is_asked_for_until_the_refresh_has_ended_or_the_code_must_go() {
    let mut world = World::signed_in();
    let spend = ClaimScope::Spend(Epoch::new(1));
    world.claims_for(tokenkeeper_actors::values::FlightId(77), spend, secs(60));
    world.begins('A', asks());
    world.answers('A', 1, "code");
    assert!(world.process('A').machine.next_wake() < Some(START.elapsed.after(secs(1))));
    world.passes(secs(5));
    world.claims.remove(&spend);
    world.passes(secs(1));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));

    let mut world = World::signed_in();
    world.begins('A', asks());
    world.rule('A', "claim spend", Rule::Hold);
    world.answers('A', 1, "code");
    assert_eq!(world.process('A').machine.next_wake(), Some(START.elapsed.after(secs(10))));
}

#[test]
fn a_reservation_that_is_not_answered_in_five_seconds_is_made_again_after_a_pause() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "reserve", Rule::Hold);
    world.answers('A', 1, "code");
    let due = START.elapsed.after(secs(5));
    assert_eq!(world.process('A').machine.next_wake(), Some(due));
    world.passes(secs(5));
    assert!(world.conclusion('A').unstored.is_some());
    let next = world.process('A').machine.next_wake().unwrap();
    assert!(next > due && next <= due.after(secs(1)), "{next:?}");
    world.tells('A', LoginEvent::Tick);
    assert_eq!(world.did('A', "reserve"), 0, "the pause lasts");
    world.passes(secs(1));
    assert_eq!((world.did('A', "reserve"), world.stored()), (1, Some("rt-code")));
    world.is_at_rest();
}
