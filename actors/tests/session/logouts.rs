//! Logouts: nothing is served from the start, and the answer is true (law 12).

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::session::{
    LoggedOut, Policy, RefreshPolicy, ReplyId, RevocationOutcome, SessionEffect, SessionEvent,
};
use tokenkeeper_actors::values::{FlightId, StoreFault};

use super::support::{HOUR, Story, binding, generation, repeatable, s};

fn signed_in() -> Story {
    Story::signed_in(HOUR, Policy::default())
}

#[test]
fn nothing_is_served_from_the_moment_on_and_the_tokens_are_revoked() {
    let mut story = signed_in();
    let served = story.store.record.as_ref().and_then(|record| record.lease()).map(|lease| lease.token().clone());
    assert!(served.is_some());
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 1"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert_eq!(story.insists(2), ["2 is told logged_out"]);
    assert!(!story.session.is_idle());
    let held = story.store.record.as_ref().and_then(|record| record.held()).expect("held").credential.clone();
    assert_eq!(story.writes(), ["publish", "revoke", "logout 1 done"]);
    let revoked = story.effects().iter().find_map(|effect| match effect {
        SessionEffect::Revoke(revocation) => Some(revocation),
        _ => None,
    });
    let revoked = revoked.expect("a revocation");
    assert_eq!((&revoked.binding, revoked.refresh.as_ref()), (&binding(), Some(&held)));
    assert_eq!(revoked.access, served, "for a server that revokes access tokens alone");
    assert_eq!(story.asks(3), ["3 is told logged_out"]);
    assert!(story.session.is_idle());
    assert_eq!(story.flights(), 0);
}

#[test]
fn who_waits_is_told_at_once() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.insists(2);
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 1", "1 is told logged_out", "2 is told logged_out"]);
}

#[test]
fn with_a_flight_in_the_air_a_token_may_still_live() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    let flight = story.order().flight;
    story.logs_out(1);
    assert_eq!(story.writes(), ["publish", "revoke", "logout 1 done, a token may still live"]);
    // The flight no longer blocks another, and its token is dropped.
    assert!(story.session.is_idle());
    let view = story.store.view();
    let report = Report::Landed(Landing { outcome: Outcome::Moved, view, keeping: false, requests: 1 });
    assert_eq!(story.does(SessionEvent::Flight(flight, report)), []);
}

#[test]
fn with_the_refresh_token_in_doubt_a_token_may_still_live() {
    let mut story = signed_in();
    story.store.mark(FlightId(7), story.at);
    story.logs_out(1);
    assert_eq!(story.writes(), ["publish", "revoke", "logout 1 done, a token may still live"]);
}

fn signed_in_without_a_refresh_token() -> Story {
    let mut store = super::support::Store::default();
    let mut login = super::support::login("unused", Some(HOUR), super::support::beginning());
    login.refresh = None;
    store.change(&tokenkeeper_actors::law::ledger::Change::Install(Box::new(login)));
    let mut story = Story::begins_over(store, Policy::default());
    story.reads();
    story
}

/// The answer to the last logout.
fn answer(story: &Story) -> LoggedOut {
    let answer = story.effects().iter().rev().find_map(|effect| match effect {
        SessionEffect::AnswerLogout(_, answer) => Some(*answer),
        _ => None,
    });
    answer.expect("an answer").expect("logged out")
}

#[test]
fn without_a_refresh_token_the_access_token_is_revoked() {
    let mut story = signed_in_without_a_refresh_token();
    let access = story.store.record.as_ref().and_then(|record| record.lease()).expect("a lease").token().clone();
    story.logs_out(1);
    assert_eq!(story.writes(), ["publish", "revoke", "logout 1 done"]);
    let revoked = story.effects().iter().find_map(|effect| match effect {
        SessionEffect::Revoke(revocation) => Some((revocation.refresh.clone(), revocation.access.clone())),
        _ => None,
    });
    assert_eq!(revoked, Some((None, Some(access))));
    assert_eq!(answer(&story).revocation, Some(RevocationOutcome::InTheAir));
}

#[test]
fn an_access_token_that_has_expired_is_not_revoked() {
    let mut story = signed_in_without_a_refresh_token();
    story.passes(HOUR);
    story.logs_out(1);
    assert_eq!(story.writes(), ["publish", "logout 1 done"]);
    let done = answer(&story);
    assert_eq!(done, LoggedOut { has_unknown_token: false, revocation: None });
    assert!(!done.may_still_live());
}

#[test]
fn a_token_may_still_live_unless_it_is_known_to_be_revoked() {
    for (revocation, may_live) in [
        (None, false),
        (Some(RevocationOutcome::Done), false),
        (Some(RevocationOutcome::NotOffered), true),
        (Some(RevocationOutcome::Failed), true),
        (Some(RevocationOutcome::InTheAir), true),
    ] {
        assert_eq!(LoggedOut { has_unknown_token: false, revocation }.may_still_live(), may_live, "{revocation:?}");
        assert!(LoggedOut { has_unknown_token: true, revocation }.may_still_live());
    }
}

#[test]
fn where_there_is_nothing_to_clear_that_is_done_too() {
    let mut story = Story::begins(Policy::default());
    story.reads();
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 0"]);
    assert_eq!(story.writes().quietly(), ["logout 1 done"]);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);

    let mut story = signed_in();
    story.store.sign_out();
    story.hears();
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 2"]);
    assert_eq!(story.writes().quietly(), ["logout 1 done"]);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert!(story.session.is_idle());
}

#[test]
fn a_sibling_that_was_faster_has_done_it() {
    let mut story = signed_in();
    story.store.sign_out();
    story.logs_out(1);
    // This session does not know which tokens the sibling could revoke.
    assert_eq!(story.writes(), ["publish", "logout 1 done, a token may still live"]);
    // While a flight runs, its tokens may be valid until they are revoked.
    let mut story = signed_in();
    story.insists(1);
    story.store.sign_out();
    story.logs_out(1);
    assert_eq!(story.writes(), ["publish", "logout 1 done, a token may still live"]);
}

#[test]
fn a_newer_login_is_left_in_place_and_served() {
    let mut story = signed_in();
    story.store.sign_in(Some(HOUR), story.at);
    story.logs_out(1);
    let told = story.writes();
    assert_eq!(told.count("publish"), 1);
    assert_eq!(told.count("logout 1 failed: Superseded"), 1);
    assert_eq!(told.0.len(), 2, "{told:?}");
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn a_newer_login_that_is_read_meanwhile_is_served_and_the_logout_answered_by_its_write() {
    let mut story = signed_in();
    story.logs_out(1);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    assert!(!story.session.is_idle());
    let told = story.writes();
    assert_eq!((told.count("logout 1 failed: Superseded"), told.0.len()), (1, 1), "{told:?}");
    assert_eq!(story.asks(2), ["2 gets 2.2"]);
    assert!(story.session.is_idle());
}

#[test]
fn a_newer_login_is_served_though_the_tombstone_of_the_old_one_fails() {
    let mut story = signed_in();
    story.logs_out(1);
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    let told = story.write_fails(StoreFault::Failed);
    assert_eq!(told.count("logout 1 failed: Superseded"), 1, "{told:?}");
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    assert_eq!(story.idles(HOUR).count("write"), 0);
    assert!(story.session.is_idle());
}

#[test]
fn a_tombstone_read_before_its_write_is_answered_may_be_anybodys() {
    let mut story = signed_in();
    story.logs_out(1);
    story.store.sign_out();
    assert_eq!(story.hears().quietly(), []);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert_eq!(story.write_fails(StoreFault::TimedOut), ["logout 1 done, a token may still live"]);
    assert!(story.session.is_idle());

    let mut story = signed_in();
    story.logs_out(1);
    let (op, changed) = story.writes_unheard();
    story.hears();
    assert_eq!(story.does(SessionEvent::Changed(op, Ok(changed))).quietly(), ["revoke", "logout 1 done"]);
}

#[test]
fn what_was_minted_without_a_store_is_gone_with_the_logout() {
    let policy = Policy { renewal: repeatable(), ..Policy::default() };
    let mut story = Story::begins(policy);
    story.asks(1);
    story.read_fails();
    story.mints_without_store(HOUR);
    assert_eq!(story.ticks_after(s(2)), ["load"]);
    story.reads();
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 0"]);
    assert_eq!(story.writes(), ["publish", "logout 1 done"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
}

#[test]
fn a_logout_owed_to_an_unreadable_store_is_not_ended_by_what_was_made_up() {
    let policy = Policy { renewal: repeatable(), ..Policy::default() };
    let mut store = super::support::Store::default();
    store.sign_in(Some(HOUR), super::support::beginning());
    let mut story = Story::begins_over(store, policy);
    story.logs_out(1);
    story.read_fails();
    if !story.is_reading() {
        story.ticks_after(s(1));
    }
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert_eq!(story.reads().count("write tombstone of 1"), 1);
    story.writes();
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
}

#[test]
fn nothing_flies_while_a_logout_is_owed() {
    let refresh = RefreshPolicy::KeepWarm { inactivity: Some(HOUR) };
    let mut story = Story::signed_in(HOUR, Policy { refresh, ..Policy::default() });
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    for _ in 0..100 {
        let told = story.idles(s(600));
        assert_eq!(told.count("fly"), 0);
        if told.count("write") > 0 {
            story.write_fails(StoreFault::Failed);
        }
    }
}

#[test]
fn a_login_after_a_logout_is_served() {
    let mut story = signed_in();
    story.logs_out(1);
    story.writes();
    story.installs(2, HOUR);
    story.reserves(Ok(tokenkeeper_actors::ports::store::Reservation::Reserved));
    assert_eq!(story.writes(), ["publish", "login 2 installed as 3"]);
    assert_eq!(story.asks(1), ["1 gets 3.3"]);
    assert_eq!(story.hit(), Some(generation(3, 3)));
}

#[test]
fn a_refusal_of_what_was_logged_out_of_is_noted() {
    let mut story = signed_in();
    story.logs_out(1);
    assert_eq!(story.refuses(8, generation(1, 1)).quietly(), ["refusal 8 noted"]);
    story.writes();
    assert_eq!(story.refuses(9, generation(1, 1)).quietly(), ["refusal 9 noted"]);
}

#[test]
fn an_install_beside_a_logout_decides_nothing_before_the_store_does() {
    let mut story = signed_in();
    story.logs_out(1);
    let tombstone = story.takes_write();
    story.installs(2, HOUR);
    story.reserves(Ok(tokenkeeper_actors::ports::store::Reservation::Reserved));
    // The login is written first, so the logout conflicts and leaves it.
    assert_eq!(story.writes().quietly(), ["login 2 installed as 2"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    let changed = story.store.change(&tombstone.1);
    let told = story.does(SessionEvent::Changed(tombstone.0, Ok(changed)));
    assert_eq!(told.count("logout 1 failed: Superseded"), 1);
    assert_eq!(story.asks(2), ["2 gets 2.2"]);
}

#[test]
fn over_a_tombstone_a_token_may_still_live_where_a_flight_or_an_earlier_attempt_may_have_brought_one() {
    // A flight runs for an identity that needs no login, and a sibling was faster.
    let mut story = Story::begins(Policy { renewal: repeatable(), ..Policy::default() });
    story.reads();
    story.asks(1);
    story.store.sign_out();
    story.logs_out(1);
    assert_eq!(story.writes().quietly(), ["logout 1 done, a token may still live"]);

    let mut story = signed_in();
    story.store.sign_out();
    story.hears();
    story.logs_out(1);
    story.write_fails(StoreFault::TimedOut);
    story.logs_out(2);
    assert_eq!(story.writes().quietly(), ["logout 2 done, a token may still live"]);
}

#[test]
fn a_session_that_is_forgotten_revokes_nothing_and_begins_anew_once_its_record_is_gone() {
    let mut story = signed_in();
    assert_eq!(story.does(SessionEvent::Forget(ReplyId(1))), ["publish", "write tombstone of 1"]);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
    assert_eq!(story.writes(), ["publish", "logout 1 done"]);
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
    // A read that began before the removal does not bring the tombstone back.
    assert_eq!(story.does(SessionEvent::StoreChanged), ["load"]);
    assert_eq!(story.does(SessionEvent::Removed), ["publish"]);
    assert_eq!(story.reads(), ["load"]);
    story.store.record = None;
    story.reads();
    assert_eq!(story.asks(3), ["3 is told never_signed_in"]);
    assert!(story.session.is_idle());
}
