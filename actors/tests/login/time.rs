//! Clocks that disagree, machines that sleep, and leased claims.

use crate::support::*;

#[test]
fn schedule_16_a_suspended_asker_resumes_after_its_lease_ran_out() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.begins('B', asks());
    world.stops('A');
    world.passes(secs(300));
    // B has the claim now, and shows the same request.
    assert_eq!(world.shown, [('A', key(1)), ('B', key(1))]);
    world.passes(secs(301));
    assert_eq!(world.result('B'), Err(LoginReason::TimedOut));
    world.begins('C', asks());
    assert_eq!(world.shown.last(), Some(&('C', key(2))));
    world.passes(secs(300));
    // The tab of A is answered as A wakes up. It is a late yes.
    world.queue.push_back(('A', support_event(1, "code")));
    world.resumes('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.result('C'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "3 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

fn support_event(number: u8, answer: &str) -> crate::support::Item {
    crate::support::Item::Event(LoginEvent::Callback(callback(number, answer)))
}

#[test]
fn schedule_16_a_resumed_asker_does_not_show_the_request_of_the_new_holder() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.stops('A');
    world.passes(secs(700));
    world.begins('C', asks());
    assert_eq!(world.shown, [('A', key(1)), ('C', key(2))]);
    // The store may drop it at any time.
    world.logins.remove(&key(1));
    world.queue.push_back(('A', support_event(1, "code")));
    world.resumes('A');
    world.passes(secs(60));
    assert_eq!(world.shown, [('A', key(1)), ('C', key(2))]);
    world.answers('C', 2, "new");
    assert_eq!((world.result('C'), world.stored()), (Ok(()), Some("rt-new")));
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
    world.is_at_rest();
}

#[test]
fn schedule_16_a_resumed_asker_finds_that_another_has_signed_in() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.stops('A');
    world.passes(secs(900));
    world.deaf.insert('A');
    world.begins('C', asks());
    world.answers('C', 2, "new");
    assert_eq!(world.result('C'), Ok(()));
    world.resumes('A');
    world.passes(secs(1));
    // Its own request has timed out, but the session is signed in.
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
    world.is_at_rest();
}

#[test]
fn leased_claims_are_renewed_while_the_person_thinks() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.begins('B', asks());
    world.passes(secs(500));
    assert_eq!(world.shown, [('A', key(1))]);
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.result('B')), (Ok(()), Err(LoginReason::Superseded)));
    // Each in the middle of the 30 s of the last one.
    assert_eq!(world.did('A', "renew"), 33);
    world.is_at_rest();
}

#[test]
fn schedule_17_the_wall_clock_is_set_back_at_the_consent_page() {
    let mut world = World::new();
    world.begins('A', asks());
    world.steps_back(HOUR);
    world.passes(secs(599));
    assert!(world.waits('A'));
    world.passes(secs(2));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::TimedOut)));
}

#[test]
fn schedule_17_the_wall_clock_is_set_forward_at_the_consent_page() {
    let mut world = World::new();
    world.begins('A', asks());
    world.steps_forward(secs(700));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
    // The person answers in time by the watch on the wall. It is a late yes.
    world.begins('R', completes(1, "code"));
    assert_eq!((world.result('R'), world.stored()), (Ok(()), Some("rt-code")));
}

#[test]
fn schedule_17_the_machine_sleeps_at_the_consent_page() {
    let mut world = World::new();
    world.begins('A', asks());
    world.stops('A');
    world.passes(secs(700));
    world.resumes('A');
    world.passes(millis(1));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
    assert_eq!(world.counts(), "1 shown, 0 codes, 1 pending, 0 claims");
    world.passes(secs(600));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn an_answer_in_another_replica_comes_at_the_last_moment() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.deaf.extend(['A', 'B']);
    world.passes(secs(599));
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "code"));
    // The asker's time-out does not end an answer that is being redeemed.
    world.passes(secs(2));
    assert_eq!(world.prompt(), Some(PromptState::Answered));
    assert!(world.waits('A') && world.waits('B'));
    world.deaf.clear();
    world.delivers('R');
    for who in ['A', 'B'] {
        assert_eq!(world.result(who), Err(LoginReason::Superseded), "{who}");
    }
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn the_server_keeps_a_request_for_a_shorter_time() {
    let mut world = World::new();
    world.server.keeps = Some(secs(90));
    world.begins('A', asks());
    world.passes(secs(89));
    assert!(world.waits('A'));
    world.passes(secs(2));
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
}

/// The machine slept at the consent page, or the store is slow. The answer comes after the request has timed out and before the
/// end is noted, and is as good as one that comes a moment later.
#[test]
fn an_answer_comes_while_the_end_of_its_request_is_being_noted() {
    for rule in [Rule::Hold, Rule::AnswerLate] {
        let mut world = World::new();
        world.begins('A', asks());
        world.begins('B', asks());
        world.rule('A', "end", rule);
        world.passes(secs(600));
        world.answers('A', 1, "code");
        world.releases('A');
        world.delivers('A');
        assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")), "{rule:?}");
        assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
        world.passes(secs(60));
        world.is_at_rest();
    }
    // Another answer changes nothing.
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "end", Rule::Hold);
    world.passes(secs(600));
    world.answers('A', 2, "code");
    world.releases('A');
    assert_eq!(world.result('A'), Err(LoginReason::TimedOut));
    world.is_at_rest();
}
