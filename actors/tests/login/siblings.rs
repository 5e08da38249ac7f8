//! Processes and replicas that agree on one prompt (law 17).

use crate::support::*;

#[test]
fn a_person_is_asked_once_and_signs_in() {
    let mut world = World::new();
    world.begins('A', asks());
    assert_eq!(world.process('A').machine.id(), attempt('A'));
    assert_eq!(world.counts(), "1 shown, 0 codes, 1 pending, 1 claims");
    assert_eq!(world.prompt(), Some(PromptState::Open));
    world.passes(secs(120));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    assert_eq!((world.prompt(), world.epoch()), (None, Epoch::new(1)));
    world.is_at_rest();
}

#[test]
fn callers_in_other_processes_follow_the_prompt() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.begins('C', asks());
    world.passes(secs(300));
    world.answers('A', 1, "code");
    assert_eq!(world.result('A'), Ok(()));
    for who in ['B', 'C'] {
        assert_eq!(world.result(who), Err(LoginReason::Superseded));
        let elsewhere = |report: &&LoginReport| matches!(report, LoginReport::Elsewhere);
        assert_eq!(world.process(who).reports.iter().filter(elsewhere).count(), 1);
    }
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn an_answer_that_arrives_in_another_replica_is_redeemed_there() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('R', completes(1, "code"));
    assert_eq!((world.result('R'), world.result('A')), (Ok(()), Err(LoginReason::Superseded)));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_3_an_answer_arrives_while_the_asker_reads_the_record() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "load", Rule::Hold);
    world.tells('A', LoginEvent::News);
    assert_eq!(world.process('A').held.len(), 1);
    world.answers('A', 1, "code");
    world.releases('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn schedule_7_a_sibling_takes_the_prompt_of_a_dead_asker_over() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.passes(secs(60));
    world.dies('A');
    world.passes(secs(6));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(1))]);
    assert_eq!(world.server.prepared.len(), 1);
    // The tab that A has opened.
    world.answers('B', 1, "code");
    assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.counts(), "2 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_7_the_answer_to_the_dead_asker_cannot_arrive_at_the_sibling() {
    let mut world = World::new();
    world.server.no_foreign_answers = true;
    world.begins('A', asks());
    world.begins('B', asks());
    world.dies('A');
    world.passes(secs(6));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
    // The old tab is answered in a replica, and counts.
    world.begins('R', completes(1, "old"));
    assert_eq!((world.result('R'), world.stored()), (Ok(()), Some("rt-old")));
    assert_eq!(world.result('B'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "2 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_taken_over_request_expires_when_the_asker_had_said() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.passes(secs(300));
    world.dies('A');
    world.passes(secs(299));
    assert!(world.waits('B'));
    world.passes(secs(2));
    assert_eq!(world.result('B'), Err(LoginReason::TimedOut));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::TimedOut)));
}

#[test]
fn schedule_8_the_redeemer_dies_after_sending() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    assert_eq!(world.prompt(), Some(PromptState::Answered));
    world.dies('A');
    // The request could last for 60 s, and its answer could be stored in 10 s more.
    world.passes(secs(69));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 1 claims");
    world.passes(secs(2));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
    world.answers('B', 2, "again");
    assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-again")));
    assert_eq!(world.counts(), "2 shown, 2 codes, 0 pending, 0 claims");
}

#[test]
fn a_redeemer_in_another_replica_dies_under_a_waiting_asker() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "code"));
    world.dies('R');
    world.passes(secs(69));
    assert!(world.waits('A'));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 1 claims");
    world.passes(secs(2));
    assert_eq!(world.shown, [('A', key(1)), ('A', key(2))]);
}

#[test]
fn a_taker_that_dies_before_its_note_is_waited_for_a_short_time() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "judge", Rule::Hold);
    world.answers('A', 1, "code");
    world.dies('A');
    world.passes(secs(14));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 1 claims");
    world.passes(secs(8));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
}

#[test]
fn a_follower_ends_however_long_the_other_process_holds_the_claim() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.stops('A');
    world.passes(secs(1_199));
    assert!(world.waits('B'));
    world.passes(secs(2));
    assert_eq!(world.result('B'), Err(LoginReason::TimedOut));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 1 claims");
}

#[test]
fn an_asker_whose_clock_is_far_behind_waits_no_longer_than_for_a_request_of_its_own() {
    let mut world = World::new();
    world.begins('A', asks());
    world.dies('A');
    world.steps_back(HOUR);
    world.begins('B', asks());
    assert_eq!(world.shown, [('A', key(1)), ('B', key(1))]);
    world.passes(secs(599));
    assert!(world.waits('B'));
    world.passes(secs(2));
    assert_eq!(world.result('B'), Err(LoginReason::TimedOut));
}

#[test]
fn a_redeemer_whose_clock_is_far_ahead_is_waited_for_no_longer_than_any_other() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.dies('A');
    // Another host, with a clock that is an hour behind.
    world.steps_back(HOUR);
    world.now.moment.boot = tokenkeeper_actors::values::BootId(2);
    world.begins('B', asks());
    world.passes(secs(69));
    assert_eq!(world.shown.len(), 1);
    world.passes(secs(2));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
}

#[test]
fn a_redeemer_that_was_taken_for_dead_stores_its_login_before_its_end_is_noted() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.stops('A');
    world.rule('B', "end", Rule::Hold);
    world.begins('B', asks());
    world.passes(secs(72));
    assert_eq!(world.process('B').held.len(), 1);
    world.resumes('A');
    world.delivers('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    world.releases('B');
    assert_eq!(world.result('B'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_follower_that_slept_through_its_read_asks_for_the_claim_at_once() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('B', "load", Rule::Hold);
    world.begins('B', asks());
    world.stops('B');
    world.dies('A');
    world.passes(secs(60));
    assert_eq!(world.did('B', "claim"), 1);
    world.process('B').held.clear();
    world.resumes('B');
    world.tells('B', LoginEvent::Tick);
    assert_eq!((world.did('B', "claim"), world.shown.as_slice()), (2, &[('A', key(1)), ('B', key(1))][..]));
    world.answers('B', 1, "code");
    assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-code")));
    world.is_at_rest();
}

#[test]
fn an_asker_whose_request_another_process_has_replaced_follows_that_process() {
    let mut world = World::new().leased(secs(30));
    world.begins('A', asks());
    world.stops('A');
    world.logins.remove(&key(1));
    world.begins('B', asks());
    world.passes(secs(100));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
    world.resumes('A');
    assert_eq!((world.did('A', "peek"), world.shown.len()), (0, 2));
    assert!(matches!(world.process('A').reports.last(), Some(LoginReport::Elsewhere)));
    world.answers('B', 2, "code");
    assert_eq!((world.result('B'), world.result('A')), (Ok(()), Err(LoginReason::Superseded)));
    world.is_at_rest();
}

#[test]
fn an_asker_reports_that_its_request_is_answered_elsewhere() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "code"));
    let elsewhere = |report: &&LoginReport| matches!(report, LoginReport::Elsewhere);
    assert_eq!(world.process('A').reports.iter().filter(elsewhere).count(), 1);
    world.delivers('R');
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
}
