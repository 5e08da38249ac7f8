//! Logins: reserved, written and answered, and the effects of a new epoch (law 12).

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::ledger::{Change, Changed, Conflict};
use tokenkeeper_actors::law::session::{Policy, ReplyId, SessionEffect, SessionEvent};
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::{Account, Reason, ServerIdentity, StoreFault, Target};

use super::support::{HOUR, Story, generation, login, ms, s};

fn signed_in() -> Story {
    Story::signed_in(HOUR, Policy::default())
}

fn reserved(story: &mut Story) -> super::support::Told {
    story.reserves(Ok(Reservation::Reserved))
}

#[test]
fn a_login_is_reserved_then_written_then_answered_and_its_token_served() {
    let mut story = Story::begins(Policy::default());
    story.reads();
    assert_eq!(story.installs(1, HOUR), ["reserve"]);
    assert!(!story.session.is_idle());
    assert_eq!(reserved(&mut story), ["write login"]);
    assert_eq!(story.writes(), ["publish", "login 1 installed as 1"]);
    assert_eq!(story.hit(), Some(generation(1, 1)));
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert!(story.session.is_idle());
}

#[test]
fn what_is_reserved_is_the_digest_of_its_refresh_token() {
    let mut story = signed_in();
    let login = login("rt-new", Some(HOUR), story.at);
    let digest = login.refresh.as_ref().expect("a refresh token").digest();
    story.does(SessionEvent::Install(ReplyId(1), Box::new(login)));
    assert!(matches!(story.effects(), [SessionEffect::Reserve(_, reserved)] if *reserved == digest));
}

#[test]
fn a_login_without_a_refresh_token_has_nothing_to_reserve() {
    let mut story = signed_in();
    let mut login = login("unused", Some(HOUR), story.at);
    login.refresh = None;
    assert_eq!(story.does(SessionEvent::Install(ReplyId(1), Box::new(login))), ["write login"]);
    assert_eq!(story.writes(), ["publish", "login 1 installed as 2"]);
}

#[test]
fn who_waits_is_served_by_the_login() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.installs(1, HOUR);
    reserved(&mut story);
    assert_eq!(story.writes(), ["publish", "1 gets 2.2", "login 1 installed as 2"]);
}

#[test]
fn a_refresh_token_that_another_identity_holds_is_refused() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    let other = ServerIdentity::new(Account::default(), Target::mcp("https://b.example/mcp").expect("a target"));
    assert_eq!(story.reserves(Ok(Reservation::HeldBy(other))), ["login 1 failed: HeldElsewhere"]);
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.installs(2, HOUR), ["reserve"]);
}

#[test]
fn a_refresh_token_that_is_dead_or_marked_is_refused() {
    for (why, told) in [(Conflict::Dead, "Dead"), (Conflict::Marked, "Marked"), (Conflict::Moved, "Superseded")] {
        let mut story = signed_in();
        story.installs(1, HOUR);
        reserved(&mut story);
        let (op, _) = story.writes_unheard();
        let conflict = Changed::Conflict { why, current: None };
        let told = format!("login 1 failed: {told}");
        assert_eq!(story.does(SessionEvent::Changed(op, Ok(conflict))), [told.as_str()]);
        assert_eq!(story.asks(1), ["1 gets 1.1"]);
    }
}

#[test]
fn the_stores_trouble_is_told_and_the_record_read() {
    for fault in [StoreFault::Failed, StoreFault::TimedOut, StoreFault::Unreadable] {
        let mut story = signed_in();
        story.installs(1, HOUR);
        let told = format!("login 1 failed: StoreTrouble({fault:?})");
        assert_eq!(story.reserves(Err(fault)), [told.as_str()]);
        story.installs(1, HOUR);
        reserved(&mut story);
        assert_eq!(story.write_fails(fault), ["load", told.as_str()]);
        assert!(story.reads() == [] && story.session.is_idle());
    }
}

#[test]
fn a_store_that_does_not_answer_is_given_up_on_at_either_step() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    assert_eq!(story.sleeps_for(), Some(s(5)));
    assert_eq!(story.ticks_after(s(5) - ms(1)), []);
    assert_eq!(story.ticks_after(ms(1)), ["load", "login 1 failed: StoreTrouble(TimedOut)"]);
    assert_eq!(reserved(&mut story), [], "too late");
    story.reads();

    story.installs(2, HOUR);
    story.passes(s(4));
    reserved(&mut story);
    assert_eq!(story.sleeps_for(), Some(s(5)), "each step has its own time");
    assert_eq!(story.ticks_after(s(5)), ["load", "login 2 failed: StoreTrouble(TimedOut)"]);
}

#[test]
fn a_write_that_was_given_up_on_and_lands_after_all_is_taken_in() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    reserved(&mut story);
    let (op, changed) = story.writes_unheard();
    story.ticks_after(s(5));
    assert_eq!(story.does(SessionEvent::Changed(op, Ok(changed))), ["publish"], "answered before, and once");
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn one_login_at_a_time() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    assert_eq!(story.installs(2, HOUR), ["login 2 failed: Busy"]);
    assert_eq!(story.logs_out(3), ["logout 3 failed: Busy"]);
    reserved(&mut story);
    assert_eq!(story.installs(4, HOUR), ["login 4 failed: Busy"]);
    assert_eq!(story.logs_out(5), ["logout 5 failed: Busy"]);
    assert_eq!(story.asks(1), ["1 gets 1.1"], "the old one is served until the new one is there");
    assert_eq!(story.writes(), ["publish", "login 1 installed as 2"]);
    assert_eq!(story.installs(6, HOUR), ["reserve"]);
}

#[test]
fn stale_answers_of_the_store_install_nothing() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    let stray = Op(77);
    assert_eq!(story.does(SessionEvent::Reserved(stray, Ok(Reservation::Reserved))), []);
    assert_eq!(story.does(SessionEvent::Changed(stray, Err(StoreFault::Failed))), []);
    let conflict = Changed::Conflict { why: Conflict::Moved, current: None };
    assert_eq!(story.does(SessionEvent::Changed(stray, Ok(conflict))).count("login"), 0);
    assert_eq!(reserved(&mut story), ["write login"]);
    let (op, changed) = story.writes_unheard();
    assert_eq!(story.does(SessionEvent::Reserved(op, Ok(Reservation::Reserved))), [], "a write reserves nothing");
    assert_eq!(story.does(SessionEvent::Changed(op, Ok(changed))), ["publish", "login 1 installed as 2"]);
}

#[test]
fn a_new_epoch_ends_backoff_and_futility_and_not_the_issuers_throttle() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    story.mints(HOUR);
    story.refuses(2, generation(1, 2));
    story.insists(2);
    story.fails_for(Reason::Unreachable, HOUR);
    story.does(SessionEvent::Throttled(story.at.elapsed.after(s(20))));
    assert_ne!(story.published().residue.futility, Default::default());
    story.installs(1, s(10));
    reserved(&mut story);
    assert_eq!(story.writes(), ["publish", "login 1 installed as 2"]);
    assert_eq!(story.published().residue.backoff, Default::default());
    assert_eq!(story.published().residue.futility, Default::default());
    story.passes(s(10));
    assert_eq!(story.asks_within(3, s(5)), ["3 is told throttled, 10000 ms"]);
    assert_eq!(story.asks(4), []);
    assert_eq!(story.ticks_after(s(10)), ["publish", "fly for expiry"]);
}

#[test]
fn a_write_within_the_epoch_ends_neither() {
    let mut story = signed_in();
    story.refuses(1, generation(1, 1));
    story.asks(1);
    story.mints(HOUR);
    story.refuses(2, generation(1, 2));
    story.insists(2);
    story.fails_for(Reason::Unreachable, HOUR);
    story.sibling_mints(HOUR, tokenkeeper_actors::values::Cause::Early);
    story.hears();
    assert_ne!(story.published().residue.backoff, Default::default());
    assert_ne!(story.published().residue.futility, Default::default());
}

#[test]
fn a_siblings_login_is_served_as_soon_as_it_is_read() {
    let mut story = signed_in();
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn the_version_in_force_is_answered() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    reserved(&mut story);
    story.writes();
    let answer = story.effects().iter().find_map(|effect| match effect {
        SessionEffect::AnswerInstall(ReplyId(1), Ok(view)) => Some(view.version),
        _ => None,
    });
    assert_eq!(answer, story.store.record.as_ref().map(|record| record.version()));
}

#[test]
fn a_login_that_follows_a_logout_which_never_read_the_record_stays() {
    // The logout is for the grant before the login, not for the login.
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.logs_out(1);
    story.read_fails();
    story.installs(2, HOUR);
    reserved(&mut story);
    let told = story.writes();
    assert_eq!(told, ["publish", "login 2 installed as 2"]);
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
    assert_eq!(story.idles(HOUR).count("write tombstone"), 0);
}

#[test]
fn a_logout_that_waits_for_its_first_read_is_told_of_the_login_that_came_first() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.logs_out(1);
    story.installs(2, HOUR);
    reserved(&mut story);
    let told = story.writes();
    assert_eq!((told.mentions("logout 1 failed: Superseded"), told.count("login 2 installed as 2")), (1, 1));
    assert_eq!(story.asks(1), ["1 gets 2.2"]);
}

#[test]
fn what_is_written_is_the_login_itself() {
    let mut story = signed_in();
    let login = login("rt-new", Some(HOUR), story.at);
    story.does(SessionEvent::Install(ReplyId(1), Box::new(login.clone())));
    reserved(&mut story);
    let [SessionEffect::Change(_, change)] = story.effects() else { panic!("one write") };
    assert!(matches!(&**change, Change::Install(written) if **written == login));
}

#[test]
fn a_login_into_a_store_that_was_emptied_counts() {
    for earlier_logins in [0, 2] {
        let mut story = signed_in();
        for _ in 0..earlier_logins {
            story.store.sign_in(Some(HOUR), story.at);
            story.hears();
        }
        story.sibling_mints(HOUR, tokenkeeper_actors::values::Cause::Early);
        story.hears();
        let served = story.hit().expect("a hit");
        story.refuses(9, served);
        // The store is emptied, and versions and numbers start again.
        story.store.record = None;
        story.installs(1, HOUR);
        reserved(&mut story);
        story.forgets_what_was_refused();
        let told = story.writes();
        assert_eq!(told.count("login 1 installed as 1"), 1, "{told:?} after {earlier_logins} other logins");
        // Either the answer shows it, or a read does.
        if story.is_reading() {
            story.reads();
        }
        assert_eq!(story.asks(1), ["1 gets 1.1"]);
        assert_eq!(story.lease_of(1).map(|lease| lease.token().expose()), Some("at-login"));
    }
}

#[test]
fn a_store_found_empty_after_a_restart_counts_from_the_beginning() {
    let mut story = signed_in();
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    story.refuses(9, generation(2, 2));
    story.store.record = None;
    story.restarts();
    story.forgets_what_was_refused();
    assert_eq!(story.reads(), ["publish"]);
    assert_eq!(story.asks(1), ["1 is told never_signed_in"]);
    assert_eq!(story.published().residue.floor, None);
    story.installs(1, HOUR);
    reserved(&mut story);
    assert_eq!(story.writes(), ["publish", "login 1 installed as 1"]);
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
}

#[test]
fn an_answer_that_a_newer_login_overtook_takes_nothing_back() {
    let mut story = signed_in();
    story.installs(1, HOUR);
    reserved(&mut story);
    let (op, changed) = story.writes_unheard();
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    story.refuses(2, generation(3, 3));
    let told = story.does(SessionEvent::Changed(op, Ok(changed)));
    assert_eq!(told.quietly(), ["login 1 installed as 2"]);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1).quietly(), ["fly for refusal"]);
    assert_eq!(story.order().epoch.number(), 3);

    // The very first login, of an identity that had no record.
    let mut story = Story::begins(Policy::default());
    story.reads();
    story.installs(1, HOUR);
    reserved(&mut story);
    let (op, changed) = story.writes_unheard();
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears(), ["publish"]);
    story.refuses(2, generation(2, 2));
    let told = story.does(SessionEvent::Changed(op, Ok(changed)));
    assert_eq!(told.count("login 1 installed as 1"), 1);
    assert_eq!(story.hit(), None);
    assert_eq!(story.asks(1).count("fly for refusal"), 1);
    assert_eq!(story.order().epoch.number(), 2);
}
