//! Logins that attempts bring: callers wait for them, and are not told of what was before (laws 20, 21 and 25).

use tokenkeeper_actors::law::flight::Outcome;
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::login::{LoginConclusion, LoginReport, LoginWish};
use tokenkeeper_actors::law::session::{
    LoginCause, LoginProgress, LoginRequest, LoginRequestKind, OperationKey, Policy, RefusalAnswer, ReplyId,
    SessionEffect, SessionEvent,
};
use tokenkeeper_actors::values::record::{Issuer, Prompt, PromptState};
use tokenkeeper_actors::values::{
    AttemptId, Callback, Cause, Generation, Lease, LoginKey, LoginMethod, LoginReason, Moment, Reason, Revision,
    Scopes, SignInError, Validity, WallTime,
};

use super::support::{HOUR, Story, Told, epoch, generation, ms, s, unsaved};

fn begins(cause: LoginCause) -> LoginRequestKind {
    let method = LoginMethod::Redirect("http://127.0.0.1/callback".to_owned());
    let wish = LoginWish { scopes: Scopes::default(), method, same_subject: false, extends: false };
    LoginRequestKind::Begin(wish, cause)
}

fn for_operation(operation: u64) -> LoginCause {
    LoginCause::Operation { refused: Some(generation(1, 1)), operation: OperationKey(operation) }
}

impl Story {
    fn wants_login(&mut self, reply: u64, kind: LoginRequestKind) {
        let deadline = self.at.elapsed.after(s(600));
        self.does(SessionEvent::Login(ReplyId(reply), Box::new(LoginRequest { kind, deadline })));
    }

    /// The attempt that the session has just begun.
    fn begun(&self) -> AttemptId {
        let begun = self.effects().iter().find_map(|effect| match effect {
            SessionEffect::SignIn(order) => Some(order.attempt),
            _ => None,
        });
        begun.expect("an attempt")
    }

    fn login_answer(&self, reply: u64) -> Option<Result<LoginProgress, SignInError>> {
        self.effects().iter().find_map(|effect| match effect {
            SessionEffect::AnswerLogin(id, answer) if *id == ReplyId(reply) => Some(answer.clone()),
            _ => None,
        })
    }

    fn attempt_tells(&mut self, attempt: AttemptId, report: LoginReport) {
        self.does(SessionEvent::Attempt(attempt, Box::new(report)));
    }

    fn attempt_ends(&mut self, attempt: AttemptId, result: Result<(), LoginReason>, unstored: Option<Lease>) {
        let view = self.store.view();
        let conclusion = LoginConclusion { result, view, unstored };
        self.attempt_tells(attempt, LoginReport::Concluded(Box::new(conclusion)));
    }

    /// A login that could not be stored, of the epoch after the stored one.
    fn unstored(&self) -> Lease {
        let stored = self.store.view().expect("a record");
        let generation = Generation { epoch: stored.epoch().next(), number: 9, nonce: super::support::birth(1).nonce };
        unsaved(generation, Validity::new(self.at, Some(HOUR)), Cause::Login)
    }

    /// The session and its attempts hear of a write.
    fn hears_of_it(&mut self) -> Told {
        self.does(SessionEvent::StoreChanged);
        self.reads()
    }

    /// Another process notes that it redeems an answer.
    fn is_answered_elsewhere(&mut self, attempt: AttemptId, at: Moment) {
        let prompt = Prompt {
            attempt,
            key: LoginKey([1; 32]),
            state: PromptState::Answered,
            at,
            revision: Revision::default(),
            expires: WallTime::from_millis(u64::MAX),
        };
        let epoch = self.store.view().expect("a record").epoch();
        self.store.change(&Change::AnswerPrompt { epoch, prompt: Box::new(prompt) });
        self.hears_of_it();
    }
}

fn ended() -> Story {
    let mut story = Story::signed_in(s(60), Policy::default());
    story.passes(HOUR);
    story
}

#[test]
fn a_refresh_that_fails_while_a_login_arrives_fails_no_caller() {
    let mut story = ended();
    story.asks(1);
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    story.attempt_tells(attempt, LoginReport::Arriving);
    let told = story.lands(Outcome::LoginRequired(Reason::GrantEnded));
    assert_eq!(told.count("1 "), 0, "{told:?}");
    story.attempt_ends(attempt, Err(LoginReason::Lost), None);
    assert_eq!(story.session.waiting(), 0);
}

#[test]
fn a_list_of_issuers_fails_no_caller_while_a_login_arrives() {
    let mut story = ended();
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    story.attempt_tells(attempt, LoginReport::Arriving);
    story.asks(1);
    story.does(SessionEvent::IssuersListed(vec![Issuer("https://another.example".to_owned())]));
    assert_eq!(story.session.waiting(), 1);
}

#[test]
fn an_answer_that_another_process_redeems_for_this_ones_request_arrives_too() {
    let mut story = Story::begins(Policy::default());
    story.reads();
    story.wants_login(2, begins(LoginCause::Person));
    let attempt = story.begun();
    story.store.sign_in(Some(s(60)), story.at);
    story.store.sign_out();
    story.hears_of_it();
    story.attempt_tells(attempt, LoginReport::Elsewhere);
    story.is_answered_elsewhere(attempt, story.at);
    story.asks(1);
    assert_eq!(story.session.waiting(), 1, "the answer arrives");
}

#[test]
fn a_redeemer_whose_clock_is_ahead_is_waited_for_no_longer_than_another() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.sign_out();
    let mut ahead = story.at;
    ahead.wall = ahead.wall.after(HOUR);
    ahead.boot.0 += 1;
    story.is_answered_elsewhere(AttemptId(77), ahead);
    story.asks_within(1, HOUR);
    assert_eq!(story.session.waiting(), 1);
    story.idles(s(80));
    assert_eq!(story.session.waiting(), 0, "the redeemer has died");
}

#[test]
fn a_login_that_is_never_stored_leaves_the_grant_before_it() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    let lease = story.unstored();
    story.attempt_ends(attempt, Ok(()), Some(lease.clone()));
    assert_eq!(story.hit(), Some(lease.generation()));
    // It is refused, which says nothing of the grant before.
    story.refuses(3, lease.generation());
    let view = story.store.view().expect("a record");
    story.forgets_what_was_refused();
    story.attempt_tells(attempt, LoginReport::Settled(view));
    story.passes(ms(1));
    assert_eq!(story.published().residue.unstored, None);
    assert!(story.published().residue.floor.is_none_or(|floor| floor.epoch == epoch(1)));
    assert_eq!(story.session.is_flying(), story.flight().is_some());
}

#[test]
fn what_was_refused_before_an_unstored_login_stays_refused_after_it() {
    for restarts in [false, true] {
        let mut story = Story::signed_in(HOUR, Policy::default());
        story.wants_login(2, begins(LoginCause::Again));
        let attempt = story.begun();
        let lease = story.unstored();
        story.attempt_ends(attempt, Ok(()), Some(lease.clone()));
        story.refuses(3, lease.generation());
        // A caller is late with the token before.
        story.refuses(4, generation(1, 1));
        if restarts {
            story.restarts();
        }
        story.does(SessionEvent::AttemptOver(attempt));
        story.reads();
        assert_eq!(story.published().residue.floor, Some(generation(1, 1)), "restarts: {restarts}");
        assert_eq!(story.hit(), None);
    }
}

#[test]
fn a_refusal_before_an_unstored_login_holds_after_it() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.refuses(1, generation(1, 1));
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    let lease = story.unstored();
    story.attempt_ends(attempt, Ok(()), Some(lease.clone()));
    assert_eq!(story.hit(), Some(lease.generation()));
    story.refuses(3, lease.generation());
    story.does(SessionEvent::AttemptOver(attempt));
    story.reads();
    assert_eq!((story.published().residue.floor, story.hit()), (Some(generation(1, 1)), None));
}

#[test]
fn the_end_of_another_attempt_leaves_an_unstored_login_served() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    let lease = story.unstored();
    story.attempt_ends(attempt, Ok(()), Some(lease.clone()));
    story.wants_login(3, LoginRequestKind::Complete(Callback::new(LoginKey([4; 32]), "a late answer")));
    let other = story.begun();
    story.does(SessionEvent::AttemptOver(other));
    assert_eq!(story.hit(), Some(lease.generation()));
}

#[test]
fn an_unstored_login_of_an_epoch_that_is_over_is_not_served() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    let lease = story.unstored();
    story.store.sign_in(Some(HOUR), story.at);
    story.store.sign_in(Some(HOUR), story.at);
    story.hears_of_it();
    story.attempt_ends(attempt, Ok(()), Some(lease));
    assert_eq!(story.hit(), Some(story.store.lease().generation()));
    assert_eq!(story.hit().map(|hit| hit.epoch), Some(epoch(3)));
}

#[test]
fn a_grant_without_a_refresh_token_signs_in_while_its_token_is_good() {
    let mut story = Story::begins(Policy::default());
    story.reads();
    let mut login = super::support::login("unused", Some(HOUR), story.at);
    login.refresh = None;
    story.store.change(&Change::Install(Box::new(login)));
    story.hears_of_it();
    story.wants_login(1, begins(LoginCause::Person));
    assert_eq!(story.login_answer(1), Some(Ok(LoginProgress::SignedIn)));
    story.passes(HOUR);
    story.wants_login(2, begins(LoginCause::Person));
    assert_eq!(story.login_answer(2), None);
}

#[test]
fn a_persons_answer_is_taken_however_many_wait_for_it() {
    let mut story = Story::begins(Policy { max_waiters: 1, ..Policy::default() });
    story.reads();
    story.wants_login(1, begins(LoginCause::Person));
    story.wants_login(2, begins(LoginCause::Person));
    assert_eq!(story.login_answer(2), Some(Err(SignInError::new(LoginReason::TooManyWaiters))));
    story.wants_login(3, LoginRequestKind::Complete(Callback::new(LoginKey([4; 32]), "yes")));
    assert_eq!(story.login_answer(3), None);
    assert!(matches!(story.effects(), [.., SessionEffect::SignIn(_)]), "{:?}", story.effects());
}

#[test]
fn an_attempt_hears_of_an_epoch_that_its_session_knows() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.wants_login(1, begins(LoginCause::Again));
    let attempt = story.begun();
    story.store.sign_in(Some(HOUR), story.at);
    let told = story.hears_of_it();
    assert_eq!(told.count("tell the attempt Moved(Epoch(2))"), 1, "{told:?}");
    // Its callers are signed in by the login that came first.
    story.attempt_ends(attempt, Err(LoginReason::Superseded), None);
    assert_eq!(story.login_answer(1), Some(Ok(LoginProgress::SignedIn)));
    assert_eq!(story.hit(), Some(generation(2, 2)));
}

#[test]
fn of_two_logins_of_one_epoch_the_stored_one_counts() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.wants_login(2, begins(LoginCause::Again));
    let attempt = story.begun();
    let lease = story.unstored();
    story.store.sign_in(Some(HOUR), story.at);
    story.hears_of_it();
    assert_eq!(lease.generation().epoch, story.store.lease().generation().epoch);
    story.attempt_ends(attempt, Ok(()), Some(lease));
    assert_eq!(story.published().residue.unstored, None);
    assert_eq!(story.hit(), Some(story.store.lease().generation()));
}

#[test]
fn a_login_for_an_operation_that_is_refused_again_was_in_vain_for_that_one() {
    for (operation, is_futile) in [(1, true), (2, false)] {
        let mut story = Story::signed_in(HOUR, Policy::default());
        story.refuses_for(1, generation(1, 1), 1, 1);
        story.wants_login(2, begins(for_operation(1)));
        let attempt = story.begun();
        story.store.sign_in(Some(HOUR), story.at);
        story.attempt_ends(attempt, Ok(()), None);
        let told = story.refuses_for(3, story.store.lease().generation(), operation, 7);
        let answer = story.effects().iter().find_map(|effect| match effect {
            SessionEffect::AnswerRefusal(ReplyId(3), answer) => Some(matches!(answer, RefusalAnswer::Futile(_))),
            _ => None,
        });
        assert_eq!(answer, Some(is_futile), "operation {operation}: {told:?}");
    }
}

#[test]
fn a_scope_that_was_declined_is_not_asked_for_again_for_an_operation() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.refuses_for(1, generation(1, 1), 1, 1);
    let asks = |cause, scope: &str| match begins(cause) {
        LoginRequestKind::Begin(wish, cause) => {
            LoginRequestKind::Begin(LoginWish { scopes: Scopes::new([scope]), ..wish }, cause)
        }
        other => other,
    };
    // A person who declines what a person asked for has declined nothing of an operation's.
    story.wants_login(2, asks(LoginCause::Again, "write"));
    let attempt = story.begun();
    story.attempt_ends(attempt, Err(LoginReason::Denied), None);
    story.wants_login(3, asks(for_operation(1), "write"));
    let attempt = story.begun();
    story.attempt_ends(attempt, Err(LoginReason::Denied), None);
    story.wants_login(4, asks(for_operation(1), "write"));
    let answer = story.login_answer(4).expect("an answer");
    assert_eq!(answer.err().map(|error| error.reason()), Some(LoginReason::ScopeDenied));
    story.wants_login(5, asks(for_operation(1), "read"));
    assert_eq!(story.login_answer(5), None);
}
