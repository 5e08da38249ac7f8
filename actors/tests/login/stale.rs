//! Completions that the current phase does not wait for.

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::login::LoginEffect;
use tokenkeeper_actors::ports::store::{ClaimAnswer, Renewed, Reservation};

use crate::support::*;

/// All kinds of completions, each with this op.
fn completions(op: Op) -> Vec<LoginEvent> {
    vec![
        LoginEvent::Claimed(op, Ok(ClaimAnswer::Contended)),
        LoginEvent::Renewed(op, Ok(Renewed::Lost)),
        LoginEvent::Loaded(op, Ok(None)),
        LoginEvent::Loaded(op, Err(StoreFault::Failed)),
        LoginEvent::Prepared(op, Err(LoginReason::ServerTrouble)),
        LoginEvent::Put(op, Ok(())),
        LoginEvent::Peeked(op, Ok(None)),
        LoginEvent::Taken(op, Ok(None)),
        LoginEvent::Shown(op, Err(LoginReason::ServerTrouble)),
        LoginEvent::Judged(op, Err(LoginReason::Denied)),
        LoginEvent::Redeemed(op, Redeemed::Lost),
        LoginEvent::Polled(op, Polled::Ended(LoginReason::Denied)),
        LoginEvent::Reserved(op, Ok(Reservation::Reserved)),
        LoginEvent::Changed(op, Err(StoreFault::Failed)),
    ]
}

fn op_of(effect: &LoginEffect) -> Op {
    match effect {
        LoginEffect::Claim { op, .. }
        | LoginEffect::Load(op)
        | LoginEffect::Prepare(op, _)
        | LoginEffect::Put(op, ..)
        | LoginEffect::Peek(op, _)
        | LoginEffect::Take(op, _)
        | LoginEffect::Show(op, _)
        | LoginEffect::Judge(op, ..)
        | LoginEffect::Redeem(op, _)
        | LoginEffect::Poll(op, _)
        | LoginEffect::Reserve(op, _)
        | LoginEffect::Change(op, _) => *op,
        other => panic!("{other:?} has no answer"),
    }
}

/// Asserts that `who`, whose effect is held, ignores the completions of all other operations.
fn ignores_all_but_the_held(world: &mut World, who: char) {
    let now = world.now;
    let process = world.process(who);
    let [held] = process.held.as_slice() else { panic!("{:?} are held", process.held) };
    let awaited = op_of(held);
    let before = format!("{:?}", process.machine);
    for op in (0..awaited.0 + 3).map(Op).filter(|op| *op != awaited) {
        for event in completions(op) {
            let mut machine = process.machine.clone();
            let effects = machine.handle(event.clone(), now);
            assert!(effects.is_empty(), "{event:?} has {effects:?} while {awaited:?} is awaited");
            assert_eq!(format!("{machine:?}"), before, "{event:?} while {awaited:?} is awaited");
        }
    }
}

#[test]
fn each_phase_takes_the_answer_to_its_own_question_and_no_other() {
    for at in ["claim", "load", "prepare", "put", "prompt", "show"] {
        let mut world = World::signed_in();
        world.rule('A', at, Rule::Hold);
        world.begins('A', asks());
        ignores_all_but_the_held(&mut world, 'A');
    }
    for at in ["take", "judge", "claim spend", "answer", "redeem", "reserve", "install"] {
        let mut world = World::signed_in();
        world.rule('A', at, Rule::Hold);
        world.begins('A', asks());
        world.answers('A', 1, "code");
        ignores_all_but_the_held(&mut world, 'A');
    }
}

#[test]
fn a_follower_an_heir_and_an_asker_take_the_answers_to_their_own_questions_and_no_others() {
    // A follower that reads, and one that looks at the request of an asker that has died.
    for (at, dies) in [("load", false), ("peek", true)] {
        let mut world = World::new();
        world.begins('A', asks());
        if dies {
            world.dies('A');
        }
        world.rule('B', at, Rule::Hold);
        world.begins('B', asks());
        ignores_all_but_the_held(&mut world, 'B');
    }
    // An asker that reads after news, that polls, and that notes the end.
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "load", Rule::Hold);
    world.tells('A', LoginEvent::News);
    ignores_all_but_the_held(&mut world, 'A');

    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.rule('A', "poll", Rule::Hold);
    world.passes(secs(5));
    ignores_all_but_the_held(&mut world, 'A');

    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "end", Rule::Hold);
    world.answers('A', 1, "no");
    ignores_all_but_the_held(&mut world, 'A');
}

#[test]
fn the_redeemer_that_has_died_is_noted_by_the_answer_to_that_write_alone() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::Hold);
    world.answers('A', 1, "code");
    world.dies('A');
    world.rule('B', "end", Rule::Hold);
    world.begins('B', asks());
    world.passes(secs(71));
    ignores_all_but_the_held(&mut world, 'B');
}
