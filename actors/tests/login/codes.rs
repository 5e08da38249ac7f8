//! Codes are presented once (law 19).

use crate::support::*;

#[test]
fn schedule_2_two_tabs_are_answered_at_once_in_two_replicas() {
    let mut world = World::new();
    world.begins('A', asks());
    world.passes(secs(601));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
    world.begins('B', asks());
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
    // The old tab in one replica. Its redemption takes a second.
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "old"));
    // The new one 1 ms later.
    world.passes(millis(1));
    world.begins('S', completes(2, "new"));
    world.passes(secs(1));
    world.delivers('R');
    world.passes(secs(1));
    assert_eq!((world.result('R'), world.stored()), (Ok(()), Some("rt-old")));
    assert_eq!((world.result('B'), world.result('S')), (Err(LoginReason::Superseded), Err(LoginReason::Superseded)));
    assert_eq!(world.counts(), "2 shown, 1 codes, 0 pending, 0 claims");
    assert_eq!(world.server.presented.keys().collect::<Vec<_>>(), ["old"]);
    world.is_at_rest();
}

#[test]
fn schedule_2_the_answer_that_comes_second_waits_for_the_first_and_then_counts() {
    let mut world = World::new();
    world.begins('A', asks());
    world.passes(secs(601));
    world.begins('B', asks());
    world.server.answers.push_back(Redeemed::Refused(LoginReason::Refused));
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "old"));
    world.begins('S', completes(2, "new"));
    world.passes(secs(3));
    world.delivers('R');
    world.passes(secs(1));
    assert_eq!((world.result('R'), world.result('S')), (Err(LoginReason::Refused), Ok(())));
    assert_eq!(world.stored(), Some("rt-new"));
    assert_eq!(world.counts(), "2 shown, 2 codes, 0 pending, 0 claims");
}

#[test]
fn an_asker_whose_answer_comes_second_tells_how_the_first_went() {
    let mut world = World::new();
    world.begins('A', asks());
    world.passes(secs(601));
    world.begins('B', asks());
    world.deaf.insert('B');
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "old"));
    world.answers('B', 2, "new");
    // The wait for the right to spend is over, and the other answer is being redeemed.
    world.passes(secs(11));
    assert!(world.waits('B'));
    world.deaf.clear();
    world.delivers('R');
    assert_eq!((world.result('R'), world.result('B')), (Ok(()), Err(LoginReason::Superseded)));
    assert_eq!(world.counts(), "2 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_4_an_answer_arrives_twice() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "take", Rule::Hold);
    world.answers('A', 1, "code");
    // The reload arrives here, and in a replica.
    world.answers('A', 1, "code");
    world.begins('R', completes(1, "code"));
    assert_eq!(world.result('R'), Ok(()));
    world.releases('A');
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    // Once more, after the login.
    world.answers('A', 1, "code");
    world.begins('S', completes(1, "code"));
    assert_eq!(world.result('S'), Err(LoginReason::UnknownLogin));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_4_an_answer_arrives_at_a_replica_that_shuts_down() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('R', "take", Rule::Hold);
    world.begins('R', completes(1, "code"));
    let until = world.now.elapsed().after(secs(20));
    world.tells('R', LoginEvent::Shutdown(until));
    world.releases('R');
    assert_eq!((world.result('R'), world.result('A')), (Ok(()), Err(LoginReason::Superseded)));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn schedule_5_a_refresh_in_flight_is_waited_for() {
    let mut world = World::signed_in();
    let flight = tokenkeeper_actors::values::FlightId(77);
    let spend = ClaimScope::Spend(world.epoch());
    world.claims_for(flight, spend, secs(60));
    world.begins('A', asks());
    world.answers('A', 1, "code");
    world.passes(secs(9));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 2 claims");
    world.claims.remove(&spend);
    world.passes(secs(1));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn schedule_5_the_code_goes_first_where_the_refresh_lasts_longer() {
    let mut world = World::signed_in();
    let flight = tokenkeeper_actors::values::FlightId(77);
    world.claims_for(flight, ClaimScope::Spend(world.epoch()), secs(60));
    world.begins('A', asks());
    world.answers('A', 1, "code");
    world.passes(secs(11));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    // Only the flight's.
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 1 claims");
}

#[test]
fn the_code_is_redeemed_under_the_right_to_spend_the_token_it_replaces() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    let spend = ClaimScope::Spend(Epoch::new(1));
    assert_eq!(world.claims.get(&spend).map(|(holder, _)| *holder), Some(attempt('A').holder()));
    world.delivers('A');
    assert_eq!(world.result('A'), Ok(()));
    world.is_at_rest();
}

#[test]
fn schedule_11_the_answer_to_the_note_is_lost() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "answer", Rule::LoseAnswer);
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!((world.did('A', "answer"), world.did('A', "redeem")), (2, 1));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn schedule_11_the_answer_to_the_take_is_lost() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "take", Rule::LoseAnswer);
    world.answers('A', 1, "code");
    world.passes(secs(2));
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Lost), Err(LoginReason::Lost)));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Aborted)));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn schedule_11_the_answer_to_the_take_is_lost_in_another_replica() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('R', "take", Rule::LoseAnswer);
    world.begins('R', completes(1, "code"));
    world.passes(secs(2));
    assert_eq!((world.result('R'), world.result('A')), (Err(LoginReason::Lost), Err(LoginReason::Lost)));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Aborted)));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_take_that_is_answered_late_counts() {
    for wait in [secs(5), secs(7)] {
        let mut world = World::new();
        world.begins('A', asks());
        world.rule('A', "take", Rule::AnswerLate);
        world.answers('A', 1, "code");
        // It is given up, and in the second case the next try has found nothing.
        world.passes(wait);
        world.delivers('A');
        assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")), "{wait:?}");
        assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    }
}

#[test]
fn a_take_is_tried_again_after_pauses() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "take", Rule::Fail(StoreFault::Busy));
    world.rule('A', "take", Rule::Fail(StoreFault::Busy));
    world.answers('A', 1, "code");
    assert!(world.waits('A'));
    world.passes(secs(2));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
}

#[test]
fn a_code_that_was_not_sent_is_presented_after_a_pause_however_the_note_went() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "answer", Rule::Fail(StoreFault::Busy));
    world.rule('A', "answer", Rule::Fail(StoreFault::Busy));
    world.server.answers.extend([Redeemed::NotSent, Redeemed::NotSent]);
    world.answers('A', 1, "code");
    world.passes(secs(3));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!((world.did('A', "redeem"), world.server.presented["code"]), (3, 1));
}

#[test]
fn a_server_that_cannot_be_reached_ends_the_request() {
    let mut world = World::new();
    world.begins('A', asks());
    world.server.answers.extend([Redeemed::NotSent, Redeemed::NotSent, Redeemed::NotSent]);
    world.answers('A', 1, "code");
    world.passes(secs(3));
    assert_eq!(world.result('A'), Err(LoginReason::Unreachable));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn schedule_13_a_forgotten_client_costs_a_second_prompt() {
    let mut world = World::new();
    world.begins('A', asks());
    world.server.answers.push_back(Redeemed::Refused(LoginReason::ClientRejected));
    world.answers('A', 1, "code");
    assert_eq!(world.result('A'), Err(LoginReason::ClientRejected));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.begins('B', asks());
    world.answers('B', 2, "again");
    assert_eq!((world.result('B'), world.server.prepared.len()), (Ok(()), 2));
    assert_eq!(world.counts(), "2 shown, 2 codes, 0 pending, 0 claims");
}

#[test]
fn a_late_yes_counts() {
    let mut world = World::new();
    world.begins('A', asks());
    world.passes(secs(900));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
    assert_eq!(world.counts(), "1 shown, 0 codes, 1 pending, 0 claims");
    world.begins('R', completes(1, "code"));
    assert_eq!((world.result('R'), world.stored()), (Ok(()), Some("rt-code")));
    world.is_at_rest();
}

/// A session that has not read its record yet gets an answer while another one is being redeemed. The other one decides. A
/// session that heard of a login too early would show that the person is signed in.
#[test]
fn an_answer_that_comes_before_the_first_read_waits_for_the_one_that_is_redeemed() {
    for is_good in [true, false] {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.passes(secs(601));
        world.begins('C', asks());
        world.rule('R', "redeem", Rule::AnswerLate);
        if !is_good {
            world.server.answers.push_back(Redeemed::Refused(LoginReason::Refused));
        }
        world.begins('R', completes(1, "code"));
        world.begins_unread('S', completes(2, "second"));
        // It waits for the right to spend, and then notes its answer.
        world.passes(secs(11));
        assert!(world.waits('S'), "{is_good}");
        world.delivers('R');
        assert_eq!(world.result('R').is_ok(), is_good);
        let end = if is_good { LoginReason::Superseded } else { LoginReason::Refused };
        assert_eq!(world.result('S'), Err(end));
    }
}

#[test]
fn the_right_to_spend_is_given_back_while_the_answer_to_another_request_is_redeemed() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.passes(secs(601));
    world.begins('B', asks());
    // The store grants the right to spend only to the second answer.
    world.rule('R', "claim spend", Rule::Fail(StoreFault::Busy));
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "old"));
    world.begins('S', completes(2, "new"));
    assert!(world.waits('S'));
    assert_eq!((world.did('S', "claim spend"), world.did('S', "redeem")), (1, 0));
    assert_eq!(world.claims.keys().collect::<Vec<_>>(), [&ClaimScope::Login]);
    world.delivers('R');
    assert_eq!((world.result('R'), world.result('S')), (Ok(()), Err(LoginReason::Superseded)));
    assert_eq!(world.counts(), "2 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}
