//! Faults of the store, and news that are missed.

use crate::support::*;

#[test]
fn news_that_come_during_a_read_are_not_missed() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "load", Rule::AnswerLate);
    world.tells('A', LoginEvent::News);
    // The read is done, and its answer under way, when the record changes.
    world.begins('R', completes(1, "code"));
    assert_eq!(world.result('R'), Ok(()));
    assert!(world.waits('A'));
    world.delivers('A');
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
    world.is_at_rest();
}

#[test]
fn news_that_come_between_two_waits_are_not_missed() {
    // The asker looks at the pending login of a dead one, and a replica takes it out and redeems it meanwhile.
    let mut world = World::new();
    world.begins('A', asks());
    world.dies('A');
    world.rule('B', "peek", Rule::AnswerLate);
    world.begins('B', asks());
    world.begins('R', completes(1, "code"));
    world.delivers('B');
    assert_eq!((world.result('R'), world.result('B')), (Ok(()), Err(LoginReason::Superseded)));
    assert_eq!(world.counts().as_str(), "2 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn a_read_after_news_that_fails_is_repeated() {
    for fault in [StoreFault::Failed, StoreFault::TimedOut] {
        let mut world = World::new();
        world.begins('A', asks());
        world.rule('A', "load", Rule::Fail(fault));
        world.rule('A', "load", Rule::Fail(fault));
        world.rule('A', "load", Rule::Fail(fault));
        world.begins('R', completes(1, "code"));
        assert_eq!(world.result('R'), Ok(()));
        world.passes(secs(20));
        assert_eq!(world.result('A'), Err(LoginReason::Superseded));
        world.is_at_rest();
    }
}

#[test]
fn a_read_that_is_never_answered_in_time_is_repeated() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "load", Rule::Hold);
    world.begins('R', completes(1, "code"));
    assert_eq!(world.result('R'), Ok(()));
    world.passes(secs(11));
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
}

#[test]
fn a_follower_outlasts_a_store_that_is_down_for_a_minute() {
    for fault in [StoreFault::Failed, StoreFault::TimedOut] {
        let mut world = World::new();
        world.begins('A', asks());
        world.begins('B', asks());
        world.down = Some(fault);
        world.passes(secs(60));
        world.down = None;
        assert!(world.waits('A') && world.waits('B'));
        world.answers('A', 1, "code");
        assert_eq!((world.result('A'), world.result('B')), (Ok(()), Err(LoginReason::Superseded)));
        assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    }
}

#[test]
fn a_store_that_is_down_at_the_beginning_is_reported() {
    for at in ["claim", "load", "put", "prompt"] {
        for fault in [StoreFault::Failed, StoreFault::Busy, StoreFault::Full, StoreFault::Newer, StoreFault::Gone] {
            let mut world = World::new();
            world.rule('A', at, Rule::Fail(fault));
            world.begins('A', asks());
            assert_eq!(world.result('A'), Err(LoginReason::StoreTrouble), "{at} {fault:?}");
            assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
            world.is_at_rest();
        }
    }
}

#[test]
fn a_store_that_does_not_answer_is_given_up() {
    for at in ["claim", "load", "put", "prompt"] {
        let mut world = World::new();
        world.rule('A', at, Rule::Hold);
        world.begins('A', asks());
        world.passes(secs(4));
        assert!(world.waits('A'), "{at}");
        world.passes(secs(2));
        if at == "prompt" {
            // The read finds no prompt. Another one is asked for, and the first cannot be written any more.
            assert_eq!(world.shown, [('A', key(2))]);
            world.releases('A');
            assert_eq!(world.shown, [('A', key(2))]);
            continue;
        }
        assert_eq!(world.result('A'), Err(LoginReason::StoreTrouble), "{at}");
        world.releases('A');
        world.is_at_rest();
    }
}

#[test]
fn a_source_that_does_not_answer_is_given_up() {
    let mut world = World::new();
    world.rule('A', "prepare", Rule::Hold);
    world.begins('A', asks());
    world.passes(secs(29));
    assert!(world.waits('A'));
    world.passes(secs(2));
    assert_eq!(world.result('A'), Err(LoginReason::ServerTrouble));
    world.releases('A');
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_login_replaces_a_damaged_record() {
    let mut world = World::signed_in();
    world.unreadable = true;
    world.begins('A', asks());
    world.begins('B', asks());
    // No prompt can be written, so that only the claim keeps the others from asking.
    assert_eq!(world.counts(), "1 shown, 0 codes, 1 pending, 1 claims");
    world.passes(secs(60));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert!(!world.unreadable && world.epoch() > Epoch::new(2));
    world.passes(secs(6));
    assert_eq!(world.result('B'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_record_is_damaged_at_the_consent_page() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.unreadable = true;
    world.tells('A', LoginEvent::News);
    world.passes(secs(60));
    assert!(world.waits('A'));
    world.begins('R', completes(1, "code"));
    assert_eq!((world.result('R'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_damaged_record_that_another_login_has_replaced_is_compared() {
    let mut world = World::signed_in();
    world.unreadable = true;
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('A', "reserve", Rule::Hold);
    world.answers('A', 1, "code");
    world.imports("host");
    world.releases('A');
    assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::Superseded), Some("rt-host")));
    assert_eq!(world.revoked.len(), 0);
}

#[test]
fn ends_and_cancels_of_a_damaged_record_conclude() {
    for (event, wanted) in
        [(LoginEvent::Cancel, LoginReason::Cancelled), (LoginEvent::Callback(callback(1, "no")), LoginReason::Denied)]
    {
        let mut world = World::new();
        world.unreadable = true;
        world.begins('A', asks());
        world.tells('A', event);
        assert_eq!(world.result('A'), Err(wanted));
        assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
        world.is_at_rest();
    }
}

#[test]
fn the_end_of_a_request_is_written_again_after_a_fault() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "end", Rule::Fail(StoreFault::Busy));
    world.rule('A', "end", Rule::LoseAnswer);
    world.answers('A', 1, "no");
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Denied), Err(LoginReason::Denied)));
    assert_eq!(world.did('A', "end"), 2);
    world.is_at_rest();
}

#[test]
fn a_claim_whose_grant_is_lost_is_ended() {
    for at in ["claim", "claim spend"] {
        let mut world = World::signed_in();
        world.rule('A', at, Rule::LoseAnswer);
        world.begins('A', asks());
        world.answers('A', 1, "code");
        world.is_at_rest();
    }
}

#[test]
fn a_late_answer_to_a_claim_does_not_end_the_claim_that_was_asked_for_again() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.dies('A');
    // B's claim is granted, and the answer is late. B asks once more and gets it.
    world.rule('B', "claim", Rule::AnswerLate);
    world.passes(secs(20));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(1))]);
    world.delivers('B');
    world.begins('C', asks());
    world.passes(secs(30));
    assert_eq!((world.shown.len(), world.claims.len()), (2, 1));
    world.answers('B', 1, "code");
    world.is_at_rest();
}

#[test]
fn a_damaged_pending_login_does_not_keep_anybody_from_signing_in() {
    let mut world = World::new();
    world.begins('A', asks());
    world.dies('A');
    world.rule('B', "peek", Rule::Fail(StoreFault::Unreadable));
    world.begins('B', asks());
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
    world.rule('B', "take", Rule::Fail(StoreFault::Unreadable));
    world.answers('B', 2, "code");
    assert_eq!(world.result('B'), Err(LoginReason::Lost));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Aborted)));
    world.is_at_rest();
}

/// A login of `A` whose first write gets no answer in time, while its second write is under way.
fn writes_twice(during: impl FnOnce(&mut World)) -> World {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('A', "reserve", Rule::Hold);
    world.answers('A', 1, "code");
    during(&mut world);
    world.rule('A', "install", Rule::AnswerLate);
    world.rule('A', "install", Rule::Hold);
    world.releases('A');
    while world.process('A').held.is_empty() {
        world.passes(secs(1));
    }
    world
}

#[test]
fn a_late_conflict_of_an_earlier_write_does_not_end_the_login() {
    let mut world = writes_twice(|world| world.imports("host"));
    world.delivers('A');
    assert!(!world.process('A').machine.is_over());
    // The answer of the latest write counts.
    world.releases('A');
    assert!(world.process('A').machine.is_over());
    assert_eq!(world.stored(), Some("rt-host"));
}

#[test]
fn a_late_fault_of_an_earlier_write_begins_no_third() {
    let mut world = writes_twice(|_| {});
    let due = world.process('A').machine.next_wake();
    for event in std::mem::take(&mut world.process('A').late) {
        let LoginEvent::Changed(op, _) = event else { panic!("{event:?}") };
        world.tells('A', LoginEvent::Changed(op, Err(StoreFault::Busy)));
    }
    assert_eq!(world.process('A').machine.next_wake(), due, "the time-out of the second write, and no third");
    world.releases('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.did('A', "install"), 2);
}

#[test]
fn a_record_that_was_readable_is_compared_also_after_one_unreadable_answer() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('A', "install", Rule::Fail(StoreFault::Unreadable));
    world.answers('A', 1, "code");
    assert_eq!(world.did('A', "install"), 0, "it is written again after a pause, like after any fault");
    world.imports("host");
    world.passes(secs(60));
    assert_eq!(world.stored(), Some("rt-host"), "the newer login is not overwritten");
}
