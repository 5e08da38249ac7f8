//! A request that is about to be shown.

use tokenkeeper_actors::values::RenewalPlan;

use crate::support::*;

#[test]
fn an_answer_arrives_before_a_taken_over_request_is_shown() {
    let mut world = World::new();
    world.begins('A', asks());
    world.dies('A');
    world.rule('B', "show", Rule::Hold);
    world.begins('B', asks());
    // The tab is still open, and the address of its answer is bound again.
    world.answers('B', 1, "code");
    assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-code")));
    world.releases('B');
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_request_of_its_own_that_cannot_be_shown_is_taken_back() {
    let mut world = World::new();
    world.rule('A', "show", Rule::Fail(StoreFault::Failed));
    world.begins('A', asks());
    assert_eq!(world.result('A'), Err(LoginReason::ServerTrouble));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Failed)));
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_cancel_meets_a_request_that_cannot_be_taken_over() {
    let mut world = World::new();
    world.server.no_foreign_answers = true;
    world.begins('A', asks());
    world.dies('A');
    world.rule('B', "show", Rule::Hold);
    world.begins('B', asks());
    world.tells('B', LoginEvent::Cancel);
    world.releases('B');
    assert_eq!(world.result('B'), Err(LoginReason::Cancelled));
    assert_eq!((world.server.prepared.len(), world.shown.len()), (1, 1));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn the_offer_ends_with_the_request_and_not_with_the_pending_login() {
    let mut world = World::new();
    world.begins('A', asks());
    let offer = world.process('A').reports.iter().find_map(|report| match report {
        LoginReport::Offered(_, offer) => Some(offer.expires),
        _ => None,
    });
    assert_eq!(offer, Some(START.wall.after(secs(600))));
    assert!(world.logins[&key(1)].expires > START.wall.after(secs(600)));
}

#[test]
fn a_prompt_whose_write_was_not_answered_is_shown_once() {
    let mut world = World::new();
    world.rule('A', "prompt", Rule::LoseAnswer);
    world.begins('A', asks());
    assert_eq!((world.shown.as_slice(), world.server.prepared.len()), (&[('A', key(1))][..], 1));
    world.answers('A', 1, "code");
    assert_eq!(world.result('A'), Ok(()));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn a_put_whose_answer_is_lost_leaves_nothing() {
    let mut world = World::new();
    world.rule('A', "put", Rule::LoseAnswer);
    world.begins('A', asks());
    assert_eq!(world.result('A'), Err(LoginReason::StoreTrouble));
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_write_between_the_read_and_the_prompt_is_looked_at() {
    let mut world = World::signed_in();
    world.rule('A', "prompt", Rule::Hold);
    world.begins('A', asks());
    world.imports("1");
    world.releases('A');
    assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::Superseded), Some("rt-1")));
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_prompt_that_the_store_has_written_twice_is_shown_once() {
    let mut world = World::new();
    world.rule('A', "prompt", Rule::Hold);
    world.begins('A', asks());
    world.repeats('A');
    assert_eq!((world.shown.as_slice(), world.server.prepared.len()), (&[('A', key(1))][..], 1));
    assert_eq!(world.counts(), "1 shown, 0 codes, 1 pending, 1 claims");
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    world.is_at_rest();
}

#[test]
fn a_record_that_is_written_before_every_prompt_is_read_again_eight_times() {
    let mut world = World::signed_in();
    world.rule('A', "prompt", Rule::Hold);
    world.begins('A', asks());
    for prepared in 1..=9 {
        assert!(world.waits('A'));
        assert_eq!(world.server.prepared.len(), prepared);
        world.writes(Change::Configure { epoch: Epoch::new(1), renewal: RenewalPlan::default() });
        world.rule('A', "prompt", Rule::Hold);
        world.releases('A');
    }
    assert_eq!((world.result('A'), world.did('A', "load")), (Err(LoginReason::StoreTrouble), 9));
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
    world.is_at_rest();
}
