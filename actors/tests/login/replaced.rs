//! Codes whose epoch is over, and logins that may be stored (laws 19 and 21). The simulation has found each.

use tokenkeeper_actors::values::Epoch;

use crate::support::*;

#[test]
fn a_code_that_could_not_be_sent_is_not_sent_over_another_login() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.server.answers.push_back(Redeemed::NotSent);
    world.answers('A', 1, "code");
    assert!(world.waits('A'));
    world.imports("other");
    world.passes(secs(2));
    assert_eq!((world.result('A'), world.did('A', "redeem")), (Err(LoginReason::Superseded), 1));
    assert_eq!(world.stored(), Some("rt-other"));
    world.is_at_rest();
}

#[test]
fn a_code_is_not_sent_over_a_login_that_only_the_session_knows_of() {
    let mut world = World::signed_in();
    world.rule('A', "answer", Rule::Fail(StoreFault::Failed));
    world.rule('A', "claim spend", Rule::Hold);
    world.begins('A', asks());
    world.answers('A', 1, "code");
    let epoch = world.epoch();
    world.tells('A', LoginEvent::Moved(epoch.next()));
    world.releases('A');
    assert_eq!((world.result('A'), world.did('A', "redeem")), (Err(LoginReason::Superseded), 0));
}

#[test]
fn an_answer_to_a_request_of_an_older_epoch_is_not_redeemed_without_its_note() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.dies('A');
    world.imports("other");
    world.rule('B', "answer", Rule::Fail(StoreFault::Failed));
    world.begins('B', completes(1, "code"));
    assert_eq!((world.result('B'), world.did('B', "redeem")), (Err(LoginReason::Superseded), 0));
    assert!(world.epoch() > Epoch::new(1));
}

#[test]
fn a_shutdown_revokes_no_login_that_a_write_may_have_stored() {
    for (rule, revoked) in [(Rule::LoseAnswer, 0), (Rule::Fail(StoreFault::Failed), 1)] {
        let mut world = World::signed_in();
        world.rule('A', "install", rule);
        world.rule('A', "reserve", Rule::Hold);
        world.begins('A', asks());
        world.answers('A', 1, "code");
        world.releases('A');
        // The write has met its rule. From now on the store answers nothing.
        world.down = Some(StoreFault::Failed);
        let until = world.now.elapsed().after(secs(12));
        world.tells('A', LoginEvent::Shutdown(until));
        world.passes(secs(20));
        assert_eq!(world.did('A', "revoke"), revoked, "{rule:?}");
    }
}

#[test]
fn an_answer_that_another_replica_has_taken_does_not_end_its_request() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "take", Rule::Fail(StoreFault::TimedOut));
    world.rule('B', "redeem", Rule::AnswerLate);
    world.begins('B', completes(1, "code"));
    world.answers('A', 1, "code");
    world.passes(secs(5));
    assert_eq!(world.prompt(), Some(PromptState::Answered));
    world.delivers('B');
    world.passes(secs(2));
    assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-code")));
}

#[test]
fn a_logout_ends_a_request_that_was_made_after_another_logout() {
    let mut world = World::signed_in();
    world.logs_out();
    world.begins('A', asks());
    let epoch = world.epoch();
    world.logs_out();
    assert_eq!(world.epoch(), epoch.next());
    world.passes(secs(1));
    assert_eq!(world.result('A'), Err(LoginReason::LoggedOut));
}
