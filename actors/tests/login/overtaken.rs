//! A login replaces what it was begun on (law 20), and what was obtained is kept (law 21).

use tokenkeeper_actors::law::ledger::Login;
use tokenkeeper_actors::ports::login::IssuedLogin;

use crate::support::*;

#[test]
fn schedule_1_a_logout_in_another_process_comes_between_consent_and_answer() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.logs_out();
    world.delivers('A');
    assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::LoggedOut), None));
    assert_eq!(world.revoked, ["rt-code"]);
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_1_a_logout_in_another_process_comes_before_the_answer() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.writes(Change::Clear { epoch: Epoch::new(1) });
    // The pending login is still there.
    world.answers('A', 1, "code");
    assert_eq!(world.result('A'), Err(LoginReason::LoggedOut));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_logout_in_another_process_ends_the_request() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.begins('B', asks());
    world.writes(Change::Clear { epoch: Epoch::new(1) });
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::LoggedOut), Err(LoginReason::LoggedOut)));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_1_a_logout_in_this_process_comes_at_every_step() {
    for at in ["take", "judge", "claim spend", "answer", "redeem", "reserve", "install"] {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.rule('A', at, Rule::Hold);
        world.answers('A', 1, "code");
        world.tells('A', LoginEvent::LoggedOut(Epoch::new(1)));
        world.logs_out();
        world.releases('A');
        assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::LoggedOut), None), "{at}");
        let was_sent = ["redeem", "reserve", "install"].contains(&at);
        let revoked = if was_sent { vec!["rt-code"] } else { vec![] };
        assert_eq!(world.revoked, revoked, "{at}");
        let counts = format!("1 shown, {} codes, 0 pending, 0 claims", u8::from(was_sent));
        assert_eq!(world.counts(), counts, "{at}");
        world.is_at_rest();
    }
}

#[test]
fn schedule_1_the_store_is_down_when_the_session_is_logged_out() {
    for at in ["take", "claim spend", "answer", "redeem", "reserve", "install"] {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.rule('A', at, Rule::Hold);
        world.answers('A', 1, "code");
        world.down = Some(StoreFault::Failed);
        world.tells('A', LoginEvent::LoggedOut(Epoch::new(1)));
        world.releases('A');
        world.passes(secs(30));
        // Nothing of the login is served or stored, and what was issued is revoked.
        let conclusion = world.conclusion('A');
        assert!(conclusion.unstored.is_none(), "{at}");
        let issued = u32::from(["redeem", "reserve", "install"].contains(&at));
        assert_eq!(world.revoked.len(), issued as usize, "{at}");
        assert_eq!(world.server.presented.values().sum::<u32>(), issued, "{at}");
        world.down = None;
        world.passes(HOUR);
        assert_eq!(world.stored(), Some("rt-0"), "{at}");
        world.is_at_rest();
    }
}

#[test]
fn schedule_1_a_logout_finds_a_login_that_is_served_unsaved() {
    // The session counts the epoch that it has read, or the one that the unsaved lease is of.
    for epoch in [1, 2].map(Epoch::new) {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.rule('A', "redeem", Rule::AnswerLate);
        world.answers('A', 1, "code");
        world.down = Some(StoreFault::Failed);
        world.delivers('A');
        let lease = world.conclusion('A').unstored.unwrap();
        assert_eq!(lease.generation().epoch, Epoch::new(2));
        world.tells('A', LoginEvent::LoggedOut(epoch));
        assert_eq!(world.revoked, ["rt-code"]);
        world.is_at_rest();
        assert!(matches!(world.process('A').reports.last(), Some(LoginReport::Settled(_))));
    }
}

#[test]
fn schedule_10_a_sibling_signs_in_while_the_login_is_served_unsaved() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.down = Some(StoreFault::Gone);
    world.delivers('A');
    let conclusion = world.conclusion('A');
    assert_eq!(conclusion.result, Ok(()));
    let lease = conclusion.unstored.unwrap();
    assert_eq!(
        (lease.token().expose(), lease.generation().epoch, lease.generation().number),
        ("at-code", Epoch::new(1), 1)
    );
    world.passes(secs(90));
    world.down = None;
    world.imports("sibling");
    world.passes(secs(60));
    assert_eq!(world.stored(), Some("rt-sibling"));
    assert_eq!(world.result('A'), Ok(()));
    assert_eq!(world.revoked.len(), 0);
    let settled = |report: &&LoginReport| matches!(report, LoginReport::Settled(_));
    assert_eq!(world.process('A').reports.iter().filter(settled).count(), 1);
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn a_login_that_cannot_be_stored_is_saved_when_the_store_works_again() {
    let mut world = World::new();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.down = Some(StoreFault::Full);
    world.delivers('A');
    assert!(world.conclusion('A').unstored.is_some());
    world.passes(secs(600));
    world.down = None;
    world.passes(secs(31));
    assert_eq!((world.result('B'), world.stored()), (Err(LoginReason::Superseded), Some("rt-code")));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    world.is_at_rest();
}

#[test]
fn schedule_19_a_step_up_signs_in_as_another_person() {
    let mut world = World::signed_in();
    world.begins('A', steps_up());
    world.begins('B', steps_up());
    let bob = tokens("bob", "bob", START);
    world.server.answers.push_back(Redeemed::Issued(Box::new(bob)));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::SubjectChanged), Some("rt-0")));
    assert_eq!(world.result('B'), Err(LoginReason::Refused));
    assert_eq!(world.revoked, ["rt-bob"]);
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Failed)));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
    assert_eq!(world.epoch(), Epoch::new(1));
}

#[test]
fn a_step_up_asks_for_the_union_of_the_scopes() {
    let mut world = World::signed_in();
    world.rule('A', "load", Rule::Hold);
    world.begins('A', steps_up());
    world.tells('A', LoginEvent::Widen(scopes(&["write"])));
    world.releases('A');
    // The request is prepared, so that this is too late.
    world.tells('A', LoginEvent::Widen(scopes(&["late"])));
    assert_eq!(world.server.prepared[0].scopes, scopes(&["read", "admin", "write"]));
    assert!(world.server.prepared[0].extends && world.server.prepared[0].grant.is_some());
}

#[test]
fn another_person_replaces_the_grant_where_that_was_asked_for() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.server.answers.push_back(Redeemed::Issued(Box::new(tokens("bob", "bob", START))));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.stored(), world.epoch()), (Ok(()), Some("rt-bob"), Epoch::new(2)));
}

#[test]
fn schedule_20_the_old_grant_ends_between_redemption_and_install() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.writes(Change::End { epoch: Epoch::new(1), sent: rt("rt-0").digest() });
    assert_eq!(world.prompt(), Some(PromptState::Answered));
    world.delivers('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn an_import_comes_between_redemption_and_install() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    world.imports("host");
    world.delivers('A');
    assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::Superseded), Some("rt-host")));
    assert_eq!(world.revoked.len(), 0);
    world.is_at_rest();
}

#[test]
fn tokens_that_another_session_owns_are_left_to_it() {
    let mut world = World::new();
    world.begins('A', asks());
    world.held_elsewhere.insert(rt("rt-code").digest());
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.revoked.len()), (Err(LoginReason::HeldElsewhere), 0));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Failed)));
    assert_eq!(world.counts(), "1 shown, 1 codes, 0 pending, 0 claims");
}

#[test]
fn an_unsaved_login_whose_token_another_session_owns_is_settled_on_the_record() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "reserve", Rule::Fail(StoreFault::Busy));
    world.held_elsewhere.insert(rt("rt-code").digest());
    world.answers('A', 1, "code");
    assert!(world.conclusion('A').unstored.is_some());
    world.passes(secs(1));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Failed)));
    let revision = world.revision();
    let Some(LoginReport::Settled(view)) = world.process('A').reports.last() else { panic!("not settled") };
    assert_eq!((view.version.revision, view.lease.is_none()), (revision, true));
    world.is_at_rest();
}

#[test]
fn a_late_answer_to_the_note_is_none_to_the_install() {
    let mut world = World::new();
    world.begins('A', asks());
    for _ in 0..3 {
        world.rule('A', "answer", Rule::AnswerLate);
    }
    world.rule('A', "reserve", Rule::Hold);
    world.answers('A', 1, "code");
    world.passes(millis(15_100));
    world.delivers('A');
    assert!(world.waits('A'));
    world.releases('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-code")));
}

#[test]
fn an_install_whose_answer_is_lost_has_succeeded() {
    let mut world = World::new();
    world.begins('A', asks());
    world.rule('A', "install", Rule::LoseAnswer);
    world.answers('A', 1, "code");
    assert!(world.conclusion('A').unstored.is_some());
    world.passes(secs(1));
    assert_eq!((world.result('A'), world.stored(), world.epoch()), (Ok(()), Some("rt-code"), Epoch::new(1)));
    world.is_at_rest();
}

#[test]
fn the_conclusion_shows_the_record_though_none_was_read() {
    let mut world = World::new();
    world.begins('A', asks());
    for _ in 0..3 {
        world.rule('R', "answer", Rule::Fail(StoreFault::Busy));
    }
    world.begins('R', completes(1, "code"));
    let revision = world.revision();
    let view = world.conclusion('R').view.unwrap();
    assert_eq!((view.version.revision, view.lease.is_some()), (revision, true));
}

#[test]
fn a_record_that_has_moved_on_ends_an_attempt_of_an_older_epoch() {
    let mut world = World::signed_in();
    world.rule('A', "claim", Rule::Hold);
    world.begins('A', asks());
    world.imports("1");
    world.releases('A');
    assert_eq!(world.result('A'), Err(LoginReason::Superseded));
    assert_eq!(world.counts(), "0 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_login_is_not_written_once_the_session_is_being_logged_out() {
    for at in ["redeem", "reserve"] {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.rule('A', at, Rule::Hold);
        world.answers('A', 1, "code");
        // The tombstone is not written yet.
        world.tells('A', LoginEvent::LoggedOut(Epoch::new(1)));
        world.releases('A');
        assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::LoggedOut), Some("rt-0")), "{at}");
        assert_eq!((world.did('A', "install"), world.revoked.len()), (0, 1), "{at}");
        world.is_at_rest();
    }
}

#[test]
fn the_session_sees_that_an_answer_is_being_redeemed() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.begins('B', asks());
    world.rule('A', "redeem", Rule::AnswerLate);
    world.answers('A', 1, "code");
    assert!(world.process('A').reports.iter().any(|report| matches!(report, LoginReport::Arriving)));
    for who in ['A', 'B'] {
        let Some(LoginReport::Seen(view)) = world.process(who).reports.last() else { panic!("{who} has seen nothing") };
        assert_eq!(view.prompt.as_ref().map(|prompt| prompt.state), Some(PromptState::Answered), "{who}");
    }
}

/// The tokens of a server that issues no refresh token.
fn without_refresh(tag: &str) -> Redeemed {
    Redeemed::Issued(Box::new(IssuedLogin { refresh: None, ..tokens(tag, "alice", START) }))
}

#[test]
fn a_login_that_the_store_has_written_twice_is_installed() {
    for has_refresh in [true, false] {
        let mut world = World::signed_in();
        world.begins('A', asks());
        world.rule('A', "install", Rule::Hold);
        if !has_refresh {
            world.server.answers.push_back(without_refresh("code"));
        }
        world.answers('A', 1, "code");
        world.repeats('A');
        let stored = has_refresh.then_some("rt-code");
        assert_eq!((world.result('A'), world.stored(), world.epoch()), (Ok(()), stored, Epoch::new(2)));
        assert_eq!((world.did('A', "install"), world.revoked.len()), (2, 0));
        world.is_at_rest();
    }
}

#[test]
fn a_login_without_a_refresh_token_is_not_taken_for_another_one_that_came_first() {
    let mut world = World::signed_in();
    world.begins('A', asks());
    world.deaf.insert('A');
    world.rule('A', "install", Rule::Hold);
    world.server.answers.push_back(without_refresh("code"));
    world.answers('A', 1, "code");
    world.writes(Change::Install(Box::new(Login { refresh: None, ..import("host", START) })));
    world.releases('A');
    assert_eq!((world.result('A'), world.epoch()), (Err(LoginReason::Superseded), Epoch::new(2)));
    world.is_at_rest();
}

#[test]
fn a_login_with_the_refresh_token_that_the_server_has_refused_is_refused() {
    let mut world = World::signed_in();
    world.writes(Change::End { epoch: Epoch::new(1), sent: rt("rt-0").digest() });
    world.begins('A', asks());
    world.begins('B', asks());
    world.server.answers.push_back(Redeemed::Issued(Box::new(tokens("0", "alice", START))));
    world.answers('A', 1, "code");
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Refused), Err(LoginReason::Refused)));
    assert_eq!(world.prompt(), Some(PromptState::Ended(PromptEnd::Failed)));
    assert_eq!((world.stored(), world.epoch(), world.revoked.len()), (None, Epoch::new(1), 0));
    world.is_at_rest();
}

#[test]
fn a_login_of_another_person_is_not_served_while_it_cannot_be_stored() {
    for at in ["reserve", "install"] {
        let mut world = World::signed_in();
        world.begins('A', steps_up());
        world.rule('A', at, Rule::Fail(StoreFault::Busy));
        world.server.answers.push_back(Redeemed::Issued(Box::new(tokens("bob", "bob", START))));
        world.answers('A', 1, "code");
        let conclusion = world.conclusion('A');
        assert_eq!(conclusion.result, Err(LoginReason::SubjectChanged), "{at}");
        assert!(conclusion.unstored.is_none(), "{at}");
        assert_eq!((world.stored(), world.revoked.as_slice()), (Some("rt-0"), &["rt-bob".to_owned()][..]), "{at}");
        world.is_at_rest();
    }
}
