//! Schedule 18: an attempt is shut down, logged out, cancelled or killed in every phase.

use crate::support::*;

/// An attempt that waits for the effect of this name, and whether a person has answered.
fn waiting_at(at: &'static str) -> (World, bool) {
    let answered = ["take", "judge", "claim spend", "answer", "redeem", "reserve", "install"].contains(&at);
    let mut world = World::signed_in();
    world.rule('A', at, Rule::Hold);
    world.begins('A', asks());
    if answered {
        world.answers('A', 1, "code");
    }
    assert_eq!(world.process('A').held.len(), usize::from(at != "person"), "{at}");
    (world, answered)
}

const STEPS: [&str; 14] = [
    "claim",
    "load",
    "prepare",
    "put",
    "prompt",
    "show",
    "person",
    "take",
    "judge",
    "claim spend",
    "answer",
    "redeem",
    "reserve",
    "install",
];

#[test]
fn schedule_18_a_shutdown_in_every_phase() {
    for at in STEPS {
        let (mut world, answered) = waiting_at(at);
        let until = world.now.elapsed().after(secs(20));
        world.tells('A', LoginEvent::Shutdown(until));
        world.releases('A');
        // An answer that has arrived is redeemed and saved. No person is asked any more.
        let wanted = if answered { Ok(()) } else { Err(LoginReason::ShuttingDown) };
        assert_eq!(world.result('A'), wanted, "{at}");
        assert_eq!(world.stored(), Some(if answered { "rt-code" } else { "rt-0" }), "{at}");
        let shown = usize::from(answered || at == "person");
        assert_eq!(world.shown.len(), shown, "{at}");
        // A request that was written stays for the next process.
        let stays = ["prompt", "show", "person"].contains(&at);
        let pending = usize::from(stays || at == "put");
        assert_eq!(world.prompt(), stays.then_some(PromptState::Open), "{at}");
        let counts = format!("{shown} shown, {} codes, {pending} pending, 0 claims", u8::from(answered));
        assert_eq!(world.counts(), counts, "{at}");
        world.is_at_rest();
    }
}

#[test]
fn schedule_18_a_kill_in_every_phase_leaves_a_store_that_can_be_signed_in_to() {
    for at in STEPS {
        let (mut world, _) = waiting_at(at);
        // The store carries the operation out all the same.
        world.releases_unanswered('A');
        world.dies('A');
        world.begins('B', asks());
        world.passes(secs(80));
        assert!(world.waits('B'), "{at}");
        let (_, key) = *world.shown.last().unwrap();
        world.answers('B', key.0[0], "again");
        assert_eq!((world.result('B'), world.stored()), (Ok(()), Some("rt-again")), "{at}");
        world.is_at_rest();
    }
}

#[test]
fn schedule_18_a_shutdown_while_the_login_cannot_be_stored() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.down = Some(StoreFault::Gone);
    world.delivers('A');
    world.passes(secs(60));
    let until = world.now.elapsed().after(secs(20));
    world.tells('A', LoginEvent::Shutdown(until));
    world.passes(secs(12));
    // The store works again in time.
    world.down = None;
    world.passes(secs(3));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert!(!world.process('A').reports.iter().any(|report| matches!(report, LoginReport::Lost)));
    world.is_at_rest();
}

#[test]
fn a_shutdown_ends_the_pause_before_the_next_save_and_repeats_none_that_is_under_way() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.down = Some(StoreFault::Gone);
    world.delivers('A');
    world.passes(secs(600));
    world.down = None;
    assert_eq!(world.stored(), None);
    let until = world.now.elapsed().after(secs(20));
    world.tells('A', LoginEvent::Shutdown(until));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));

    for at in ["reserve", "install"] {
        let (mut world, _) = waiting_at(at);
        let until = world.now.elapsed().after(secs(20));
        world.tells('A', LoginEvent::Shutdown(until));
        world.releases('A');
        assert_eq!((world.result('A'), world.did('A', "reserve"), world.did('A', "install")), (Ok(()), 1, 1), "{at}");
    }
}

#[test]
fn schedule_18_a_shutdown_that_loses_the_login() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    let until = world.now.elapsed().after(secs(20));
    world.tells('A', LoginEvent::Shutdown(until));
    world.down = Some(StoreFault::Gone);
    world.delivers('A');
    world.passes(secs(14));
    assert_eq!(world.revoked.len(), 0);
    world.passes(secs(5));
    // Before the end there is time for the revocation.
    assert_eq!(world.revoked, ["rt-code"]);
    let lost = |report: &&LoginReport| matches!(report, LoginReport::Lost);
    assert_eq!(world.process('A').reports.iter().filter(lost).count(), 1);
    assert_eq!(world.result('A'), Ok(()));
    world.is_at_rest();
}

#[test]
fn a_logout_before_the_answer_in_every_phase() {
    for at in ["claim", "load", "prepare", "put", "prompt", "show", "person"] {
        let (mut world, _) = waiting_at(at);
        world.tells('A', LoginEvent::LoggedOut(Epoch::new(1)));
        assert_eq!(world.result('A'), Err(LoginReason::LoggedOut), "{at}");
        world.logs_out();
        world.releases('A');
        assert_eq!(world.result('A'), Err(LoginReason::LoggedOut), "{at}");
        let pending = usize::from(at == "put");
        let counts = format!("{} shown, 0 codes, {pending} pending, 0 claims", u8::from(at == "person"));
        assert_eq!(world.counts(), counts, "{at}");
        assert_eq!(world.prompt(), None, "{at}");
        world.is_at_rest();
    }
}

#[test]
fn a_logout_of_another_epoch_changes_nothing() {
    let (mut world, _) = waiting_at("person");
    world.tells('A', LoginEvent::LoggedOut(Epoch::default()));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
}

#[test]
fn a_cancel_in_every_phase() {
    for at in ["claim", "load", "prepare", "put", "prompt", "show", "person"] {
        let (mut world, _) = waiting_at(at);
        world.tells('A', LoginEvent::Cancel);
        world.releases('A');
        assert_eq!(world.result('A'), Err(LoginReason::Cancelled), "{at}");
        let was_written = ["prompt", "show", "person"].contains(&at);
        assert_eq!(world.prompt(), was_written.then_some(PromptState::Ended(PromptEnd::Cancelled)), "{at}");
        // A put that was in flight is carried out after it was taken back. It expires.
        let pending = usize::from(at == "put");
        let counts = format!("{} shown, 0 codes, {pending} pending, 0 claims", u8::from(at == "person"));
        assert_eq!(world.counts(), counts, "{at}");
        world.is_at_rest();
    }
}

#[test]
fn a_request_that_could_not_be_written_is_prepared_for_nobody_after_a_cancel() {
    for event in [LoginEvent::Cancel, LoginEvent::Shutdown(START.elapsed.after(secs(20)))] {
        let mut world = World::signed_in();
        world.rule('A', "prompt", Rule::Hold);
        world.begins('A', asks());
        world.writes(Change::Park {
            epoch: Epoch::new(1),
            why: tokenkeeper_actors::values::record::Parked::IssuerChanged,
        });
        world.tells('A', event.clone());
        world.releases('A');
        assert_eq!((world.server.prepared.len(), world.prompt()), (1, None), "{event:?}");
        assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims", "{event:?}");
        assert!(world.result('A').is_err());
        world.is_at_rest();
    }
}

#[test]
fn a_shutdown_while_another_replica_redeems() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('R', "redeem", Rule::AnswerLate);
    world.begins('R', completes(1, "code"));
    let until = world.now.elapsed().after(secs(20));
    world.tells('A', LoginEvent::Shutdown(until));
    assert_eq!(world.result('A'), Err(LoginReason::ShuttingDown));
    world.delivers('R');
    assert_eq!(world.result('R'), Ok(()));
    world.is_at_rest();
}

#[test]
fn a_claim_that_is_granted_after_the_end_is_ended() {
    let mut world = World::new();
    world.rule('A', "claim", Rule::Hold);
    world.begins('A', asks());
    world.tells('A', LoginEvent::Cancel);
    assert!(!world.process('A').machine.is_over());
    world.releases('A');
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_right_to_spend_that_is_granted_too_late_is_given_back() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.rule('A', "claim spend", Rule::Hold);
    world.answers('A', 1, "code");
    world.passes(secs(11));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert!(!world.process('A').machine.is_over());
    world.releases('A');
    world.is_at_rest();
}

#[test]
fn a_shutdown_over_a_damaged_record_asks_nobody() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "take", Rule::LoseAnswer);
    world.answers('A', 1, "code");
    let until = world.now.elapsed().after(secs(20));
    world.tells('A', LoginEvent::Shutdown(until));
    world.unreadable = true;
    world.passes(secs(2));
    assert_eq!((world.result('A'), world.server.prepared.len()), (Err(LoginReason::ShuttingDown), 1));
    world.is_at_rest();
}
