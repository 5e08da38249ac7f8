//! The table of crashes, row by row. The machine is dropped after each effect, its claims end, and a sibling goes on.

use crate::support::*;

/// A is killed after it has carried out the effect of this name and before it hears of it. B has followed.
fn crashes_after(name: &'static str, answered: bool) -> World {
    let mut world = World::new();
    world.rule('A', name, Rule::AnswerLate);
    world.begins('A', asks());
    world.begins('B', asks());
    if answered {
        world.answers('A', 1, "code");
    }
    assert_eq!(world.did('A', name), 1, "{name}");
    world.dies('A');
    world
}

#[track_caller]
fn b_signs_in(mut world: World, number: u8, counts: &str) {
    world.answers('B', number, "b");
    assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-b")));
    assert_eq!(world.counts(), counts);
    world.is_at_rest();
}

#[test]
fn after_claim_read_prepare_and_put_nothing_is_lost_and_the_next_claimant_asks() {
    for (name, prepared) in [("claim", 1), ("load", 1), ("prepare", 2), ("put", 2)] {
        let mut world = crashes_after(name, false);
        world.passes(secs(6));
        assert_eq!(world.shown, [('B', key(prepared))], "{name}");
        // A pending login that no prompt names expires.
        let left = usize::from(name == "put");
        b_signs_in(world, prepared, &format!("1 shown, 1 codes, {left} pending, 0 claims"));
    }
}

#[test]
fn after_the_prompt_nothing_is_lost_and_the_next_claimant_takes_it_over() {
    for (name, shown) in [("prompt", 1), ("show", 1)] {
        let mut world = crashes_after(name, false);
        world.passes(secs(6));
        assert_eq!(world.shown, [('B', key(1))], "{name}");
        b_signs_in(world, 1, &format!("{shown} shown, 1 codes, 0 pending, 0 claims"));
    }
    // A person has it before them, and may answer in any replica.
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.dies('A');
    world.passes(secs(6));
    world.begins('R', completes(1, "code"));
    assert_eq!((world.result('R'), world.result('B')), (Ok(()), Err(LoginReason::Superseded)));
    assert_eq!(world.counts(), "2 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn after_the_take_the_persons_time_is_lost() {
    for name in ["take", "judge", "claim spend"] {
        let mut world = crashes_after(name, true);
        world.passes(secs(14));
        assert_eq!(world.shown, [('A', key(1))], "{name}");
        world.passes(secs(8));
        assert_eq!(world.shown, [('A', key(1)), ('B', key(2))], "{name}");
        b_signs_in(world, 2, "2 shown, 1 codes, 0 pending, 0 claims");
    }
}

#[test]
fn after_the_note_and_the_redemption_the_new_grant_is_lost_and_nobody_asks_too_early() {
    for (name, codes) in [("answer", 0), ("redeem", 1), ("reserve", 1)] {
        let mut world = crashes_after(name, true);
        world.passes(secs(69));
        assert_eq!((world.shown.len(), world.prompt()), (1, Some(PromptState::Answered)), "{name}");
        world.passes(secs(2));
        assert_eq!(world.shown, [('A', key(1)), ('B', key(2))], "{name}");
        // The code is never presented again.
        b_signs_in(world, 2, &format!("2 shown, {} codes, 0 pending, 0 claims", codes + 1));
    }
}

#[test]
fn after_the_install_nothing_is_lost() {
    let mut world = crashes_after("install", true);
    world.passes(secs(6));
    assert_eq!((world.result('B'), world.stored()), (Err(LoginReason::Superseded), Some("rt-code")));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn after_a_no_is_taken_the_next_claimant_asks_again() {
    // The end could not be written. It is the only no that is asked over.
    let mut world = World::new();
    world.rule('A', "end", Rule::Hold);
    world.begins('A', asks());
    world.begins('B', asks());
    world.answers('A', 1, "no");
    world.dies('A');
    world.passes(secs(22));
    assert_eq!(world.shown, [('A', key(1)), ('B', key(2))]);
    b_signs_in(world, 2, "2 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn a_restarted_process_goes_on_where_no_sibling_is() {
    let mut world = World::new();
    world.begins('A', asks());
    world.passes(secs(30));
    world.dies('A');
    world.passes(secs(30));
    world.begins('C', asks());
    assert_eq!(world.shown, [('A', key(1)), ('C', key(1))]);
    world.answers('C', 1, "code");
    assert_eq!((world.result('C'), world.counts().as_str()), (Ok(()), "2 shown, 1 codes, 0 pending, 0 claims"));
}
