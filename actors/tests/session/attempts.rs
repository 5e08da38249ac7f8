//! Requests for logins, the attempts that they join, and what the session remembers of them (laws 7, 18, 21 and 22).

use tokenkeeper_actors::law::login::{LoginReport, LoginWish};
use tokenkeeper_actors::law::session::{
    LoginCause, LoginRequest, LoginRequestKind, OperationKey, Policy, ReplyId, SessionEffect, SessionEvent,
};
use tokenkeeper_actors::values::{
    Callback, Cause, ElapsedTime, LoginKey, LoginMethod, LoginReason, Scopes, StoreFault,
};

use super::signing_in::expired;
use super::support::{HOUR, Story, Told, generation, ms, s};

fn for_operation(operation: u64) -> LoginCause {
    LoginCause::Operation { refused: Some(generation(1, 1)), operation: OperationKey(operation) }
}

impl Story {
    fn asks_for_scope(&mut self, reply: u64, cause: LoginCause, scope: &str) -> Told {
        let method = LoginMethod::Redirect("http://127.0.0.1:8000/callback".to_owned());
        let wish = LoginWish { scopes: Scopes::new([scope]), method, same_subject: true, extends: true };
        self.wants(reply, LoginRequestKind::Begin(wish, cause))
    }

    fn asks_until(&mut self, reply: u64, deadline: ElapsedTime) -> Told {
        let method = LoginMethod::Redirect("http://127.0.0.1:8000/callback".to_owned());
        let wish = LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false };
        let request = LoginRequest { kind: LoginRequestKind::Begin(wish, LoginCause::Person), deadline };
        self.does(SessionEvent::Login(ReplyId(reply), Box::new(request)))
    }
}

#[test]
fn a_request_whose_deadline_has_come_begins_no_attempt() {
    let mut story = expired();
    let told = story.asks_until(1, story.at.elapsed);
    assert_eq!((told.mentions("DeadlinePassed"), told.mentions("begin sign-in")), (1, 0));
    assert_eq!(story.asks_until(2, story.at.elapsed.after(ms(1))), ["publish", "begin sign-in"]);
}

#[test]
fn a_shutdown_answers_the_requests_that_wait_and_refuses_those_that_come() {
    // The record was not read yet.
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    assert_eq!(story.asks_to_sign_in(1, LoginCause::Person), []);
    assert_eq!(story.does(SessionEvent::Shutdown).mentions("sign-in 1: Err(SignInError { reason: ShuttingDown"), 1);

    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.asks_to_sign_in(2, LoginCause::Person);
    let told = story.does(SessionEvent::Shutdown);
    assert_eq!((told.mentions("sign-in 1"), told.mentions("sign-in 2"), told.mentions("ShuttingDown")), (1, 1, 2));
    let told = story.asks_to_sign_in(3, LoginCause::Again);
    assert_eq!((told.mentions("ShuttingDown"), told.mentions("begin sign-in")), (1, 0));
    // Its attempt goes on, and answers no request twice.
    assert_eq!(story.concludes(Err(LoginReason::ShuttingDown)).mentions("sign-in"), 0);
}

#[test]
fn the_results_of_the_last_eight_attempts_are_known() {
    let mut story = expired();
    let mut attempts = Vec::new();
    for reply in 0..9 {
        story.asks_to_sign_in(reply, LoginCause::Person);
        attempts.push(story.attempt());
        story.concludes(Err(LoginReason::Denied));
    }
    let mut told = |attempt| format!("{:?}", story.wants(10, LoginRequestKind::Await(attempt)));
    assert!(told(attempts[0]).contains("UnknownLogin"));
    for attempt in &attempts[1..] {
        assert!(told(*attempt).contains("Denied"), "{attempt:?}");
    }
}

#[test]
fn a_cancellation_without_a_login_under_way_is_refused() {
    let mut story = expired();
    assert_eq!(story.wants(1, LoginRequestKind::Cancel).mentions("UnknownLogin"), 1);
    // A person has answered already.
    let complete = LoginRequestKind::Complete(Callback::new(LoginKey([4; 32]), "code"));
    assert_eq!(story.wants(2, complete).mentions("begin sign-in"), 1);
    assert_eq!(story.wants(3, LoginRequestKind::Cancel).mentions("UnknownLogin"), 1);
    // A login has arrived, and is not stored yet.
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.holds_unstored();
    assert_eq!(story.wants(2, LoginRequestKind::Cancel).mentions("UnknownLogin"), 1);
}

#[test]
fn an_operation_begins_no_login_while_a_newer_lease_than_the_refused_one_is_there() {
    let cause = |refused| LoginCause::Operation { refused, operation: OperationKey(1) };
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.sibling_mints(HOUR, Cause::Early);
    story.hears();
    assert_eq!(story.asks_to_sign_in(1, cause(Some(generation(1, 1)))), ["sign-in 1: Ok(SignedIn)"]);
    assert_eq!(story.asks_to_sign_in(2, cause(Some(generation(1, 2)))).mentions("begin sign-in"), 1);
    // An operation that was refused without a lease needs a login.
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.asks_to_sign_in(1, cause(None)).mentions("begin sign-in"), 1);
}

#[test]
fn scopes_are_added_to_a_request_until_it_is_prepared() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.asks_for_scope(1, for_operation(1), "read").mentions("begin sign-in"), 1);
    assert_eq!(story.asks_for_scope(2, for_operation(2), "write").mentions("tell the attempt Widen"), 1);
    assert_eq!(story.asks_for_scope(3, for_operation(2), "write"), [], "it is asked for already");
    story.offers();
    assert_eq!(story.asks_for_scope(4, for_operation(2), "admin").mentions("Widen"), 0);
    // The person declines the scopes that were asked for.
    story.concludes(Err(LoginReason::Denied));
    assert_eq!(story.asks_for_scope(5, for_operation(3), "read").mentions("ScopeDenied"), 1);
    assert_eq!(story.asks_for_scope(6, for_operation(3), "write").mentions("ScopeDenied"), 1);
    assert_eq!(story.asks_for_scope(7, for_operation(3), "admin").mentions("begin sign-in"), 1);
}

#[test]
fn an_operation_begins_three_logins_in_ten_minutes_until_a_person_asks_for_one() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    let begins = |story: &mut Story, operation| {
        let told = story.asks_to_sign_in(1, for_operation(operation));
        let left = story.effects().iter().find_map(|effect| match effect {
            SessionEffect::AnswerLogin(_, Err(error)) => Some((error.reason(), error.retry_after())),
            _ => None,
        });
        if told.mentions("begin sign-in") == 1 {
            story.concludes(Err(LoginReason::Lost));
        }
        left
    };
    for _ in 0..3 {
        assert_eq!(begins(&mut story, 1), None);
    }
    story.passes(s(100));
    assert_eq!(begins(&mut story, 1), Some((LoginReason::ResourceRefuses, Some(s(500)))));
    assert_eq!(begins(&mut story, 2), None, "another operation has a count of its own");
    story.asks_to_sign_in(2, LoginCause::Again);
    story.concludes(Err(LoginReason::Lost));
    assert_eq!(begins(&mut story, 1), None);
}

#[test]
fn a_record_that_an_attempt_has_read_is_served() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.asks_to_sign_in(1, LoginCause::Again);
    story.sibling_mints(HOUR, Cause::Early);
    let view = story.store.view().expect("a record");
    assert_eq!(story.attempt_reports(LoginReport::Seen(view)), ["publish"]);
    assert_eq!(story.hit(), Some(generation(1, 2)));
}

#[test]
fn a_login_that_is_lost_at_the_end_of_the_process_is_not_served_any_more() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    let attempt = story.attempt();
    story.holds_unstored();
    assert_eq!(story.asks(2), ["2 gets 3.4~9"]);
    assert_eq!(story.attempt_reports(LoginReport::Lost), ["publish", "load"]);
    assert_eq!(story.reads(), []);
    assert_eq!(story.asks(3), ["3 is told logged_out"]);
    // Its task ends.
    assert_eq!(story.does(SessionEvent::AttemptOver(attempt)), []);
}

#[test]
fn an_attempt_that_ends_without_a_result_is_aborted_and_a_result_that_comes_later_counts() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    let attempt = story.attempt();
    let told = story.does(SessionEvent::AttemptOver(attempt));
    assert_eq!((told.mentions("sign-in 1"), told.mentions("Aborted"), told.mentions("load")), (1, 1, 1));
    assert_eq!(story.wants(2, LoginRequestKind::Await(attempt)).mentions("UnknownLogin"), 1);
    assert_eq!(story.concludes_of(attempt, Err(LoginReason::Denied)).mentions("sign-in"), 0);
    assert_eq!(story.wants(3, LoginRequestKind::Await(attempt)).mentions("Denied"), 1);
}

#[test]
fn callers_do_not_wait_for_a_person_whom_another_process_asks() {
    let mut story = expired();
    story.sibling_asks();
    story.hears();
    assert!(story.published().standing.signing_in);
    assert_eq!(story.asks(1), ["1 is told logged_out"]);
}

#[test]
fn callers_do_not_wait_for_an_answer_that_has_brought_its_login() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.sibling_redeems();
    story.hears_quietly();
    assert_eq!(story.asks(2), [], "it is being redeemed");
    assert_eq!(story.holds_unstored().mentions("2 gets 3.4~9"), 1);
    let unstored = story.hit().expect("a hit");
    story.refuses(3, unstored);
    assert_eq!(story.asks(4).mentions("4 is told store_trouble"), 1);
}

#[test]
fn a_logout_drops_the_pending_logins_once_if_a_person_was_asked() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.sibling_asks();
    story.hears();
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 1", "drop pending logins"]);
    story.write_fails(StoreFault::Failed);
    assert_eq!(story.idles(HOUR), ["write tombstone of 1"]);

    let mut story = Story::signed_in(HOUR, Policy::default());
    assert_eq!(story.logs_out(1), ["publish", "write tombstone of 1"]);
}

#[test]
fn an_unstored_login_is_served_until_the_store_has_a_login_of_its_epoch() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    let attempt = story.attempt();
    story.holds_unstored();
    // A write in the epoch that it is to replace.
    story.sibling_redeems();
    story.hears_quietly();
    assert_eq!(story.asks(2), ["2 gets 3.4~9"]);
    story.store.sign_in(Some(HOUR), story.at);
    story.hears_quietly();
    assert_eq!(story.asks(3), ["3 gets 3.3"]);
    // The attempt finds out that it came second.
    story.does(SessionEvent::AttemptOver(attempt));
    story.reads();
    assert_eq!(story.asks(4), ["4 gets 3.3"]);
}

#[test]
fn a_cancellation_that_was_asked_for_succeeds_and_fails_the_other_requests() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.wants(2, LoginRequestKind::Cancel);
    let told = story.concludes(Err(LoginReason::Cancelled));
    assert_eq!((told.mentions("sign-in 1: Err"), told.mentions("sign-in 2: Ok(Cancelled)")), (1, 1));
}

#[test]
fn a_login_that_fails_leaves_a_session_signed_in_and_fails_its_requests() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.asks_to_sign_in(1, LoginCause::Again);
    assert_eq!(story.concludes(Err(LoginReason::Denied)).mentions("Denied"), 1);
    assert_eq!(story.asks(2), ["2 gets 1.1"]);
}

#[test]
fn requests_that_wait_for_the_record_are_bounded_and_may_go() {
    let mut story = Story::over_a_login(Some(HOUR), Policy { max_waiters: 2, ..Policy::default() });
    story.asks_to_sign_in(1, LoginCause::Person);
    story.asks_to_sign_in(2, LoginCause::Person);
    assert_eq!(story.asks_to_sign_in(3, LoginCause::Person).mentions("TooManyWaiters"), 1);
    story.does(SessionEvent::LoginRequestGone(ReplyId(1)));
    let told = story.reads();
    assert_eq!((told.mentions("sign-in 1"), told.mentions("sign-in 2: Ok(SignedIn)")), (0, 1));
}

#[test]
fn only_the_beginning_of_a_login_waits_for_the_record() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    assert_eq!(story.wants(1, LoginRequestKind::Cancel).mentions("UnknownLogin"), 1);
    let complete = LoginRequestKind::Complete(Callback::new(LoginKey([4; 32]), "code"));
    assert_eq!(story.wants(2, complete).mentions("begin sign-in"), 1);
}

#[test]
fn a_session_whose_attempt_runs_is_not_idle_though_no_request_waits() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.does(SessionEvent::LoginRequestGone(ReplyId(1)));
    assert!(!story.session.is_idle());
    story.concludes(Err(LoginReason::Denied));
    assert!(story.session.is_idle());
}
