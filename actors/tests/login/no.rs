//! Requests that end without a login, and whose end it is.

use crate::support::*;

#[test]
fn schedule_9_a_no_answers_those_who_waited_and_nobody_later() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.answers('A', 1, "no");
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Denied), Err(LoginReason::Denied)));
    world.passes(millis(5));
    world.begins('C', asks());
    assert!(world.waits('C'));
    assert_eq!(world.shown, [('A', key(1)), ('C', key(2))]);
    assert_eq!(world.counts(), "2 shown, 0 codes, 1 pending, 1 claims");
}

#[test]
fn a_no_in_another_replica_ends_the_request_of_the_asker() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.begins('R', completes(1, "no"));
    for who in ['A', 'B', 'R'] {
        assert_eq!(world.result(who), Err(LoginReason::Denied));
    }
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_no_is_told_apart_by_revision_and_not_by_clocks() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.steps_back(HOUR);
    world.answers('A', 1, "no");
    assert_eq!(world.result('B'), Err(LoginReason::Denied));
    world.steps_back(HOUR);
    world.begins('C', asks());
    assert!(world.waits('C'));
}

#[test]
fn a_forged_answer_ends_the_request_and_presents_nothing() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.answers('A', 1, "forged");
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Forged), Err(LoginReason::Refused)));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn an_answer_to_another_request_changes_nothing() {
    let mut world = World::new();
    world.begins('A', asks());
    world.answers('A', 9, "code");
    assert!(world.waits('A'));
    assert_eq!(world.counts(), "1 shown, 0 codes, 1 pending, 1 claims");
    world.begins('R', completes(9, "code"));
    assert_eq!(world.result('R'), Err(LoginReason::UnknownLogin));
    assert!(world.waits('A'));
}

#[test]
fn an_answer_of_another_identity_is_not_stored_here() {
    let mut world = World::new();
    world.begins('A', asks());
    world.logins.get_mut(&key(1)).unwrap().identity = another_identity();
    world.begins('R', completes(1, "code"));
    assert_eq!(world.result('R'), Err(LoginReason::UnknownLogin));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 1 claims");
}

#[test]
fn a_cancel_takes_the_request_back_for_all_who_wait() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.tells('A', LoginEvent::Cancel);
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Cancelled), Err(LoginReason::Cancelled)));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
    // The tab is still open.
    world.begins('R', completes(1, "code"));
    assert_eq!(world.result('R'), Err(LoginReason::UnknownLogin));
    world.is_at_rest();
}

#[test]
fn a_follower_that_cancels_leaves_the_request_to_the_others() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.tells('B', LoginEvent::Cancel);
    assert_eq!(world.result('B'), Err(LoginReason::Cancelled));
    world.answers('A', 1, "code");
    assert_eq!(world.result('A'), Ok(()));
    world.is_at_rest();
}

#[test]
fn a_cancel_does_not_call_an_answer_back() {
    for (at, rule) in [("take", Rule::Hold), ("judge", Rule::Hold), ("answer", Rule::Hold), ("redeem", Rule::Hold)] {
        let mut world = World::new();
        world.begins('A', asks());
        world.rule('A', at, rule);
        world.answers('A', 1, "code");
        world.tells('A', LoginEvent::Cancel);
        world.releases('A');
        assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")), "{at}");
        world.is_at_rest();
    }
}

#[test]
fn a_cancel_of_a_request_that_another_replica_redeems_asks_nobody_again() {
    let mut world = World::new();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('R', "answer", Rule::Hold);
    world.begins('R', completes(1, "code"));
    world.tells('A', LoginEvent::Cancel);
    world.passes(secs(1));
    assert_eq!(world.result('A'), Err(LoginReason::Cancelled));
    assert_eq!(world.prompt(), Some(PromptState::Open), "whether it ended is for the other replica to note");
    world.releases('R');
    assert_eq!(world.result('R'), Ok(()));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn a_refusal_of_the_preparation_is_no_prompt() {
    let mut world = World::new();
    world.server.unprepared.push_back(LoginReason::Unreachable);
    world.begins('A', asks());
    assert_eq!((world.result('A'), world.prompt()), (Err(LoginReason::Unreachable), None));
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_no_that_comes_with_the_redemption_is_shared() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.server.answers.push_back(Redeemed::Refused(LoginReason::Denied));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Denied), Err(LoginReason::Denied)));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Denied)));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}
