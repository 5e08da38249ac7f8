//! Logins that a person is asked for, at the door of the session (laws 17, 18, 21 and 25).

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::login::{LoginConclusion, LoginReport, LoginWish};
use tokenkeeper_actors::law::session::{LoginCause, LoginRequest, LoginRequestKind, Policy, ReplyId, SessionEvent};
use tokenkeeper_actors::values::record::{Prompt, PromptState};
use tokenkeeper_actors::values::{
    AccessToken, AttemptId, Callback, Cause, Epoch, Generation, Lease, LeaseParts, LoginKey, LoginMethod, LoginOffer,
    LoginReason, LoginUrl, Nonce, OfferedPrompt, Revision, Scopes, StoreFault, TokenKind, Validity,
};

use super::support::{HOUR, Story, Told, epoch, s};

const KEY: LoginKey = LoginKey([1; 32]);

impl Story {
    pub(super) fn wants(&mut self, reply: u64, kind: LoginRequestKind) -> Told {
        let request = LoginRequest { kind, deadline: self.at.elapsed.after(s(60)) };
        self.does(SessionEvent::Login(ReplyId(reply), Box::new(request)))
    }

    pub(super) fn asks_to_sign_in(&mut self, reply: u64, cause: LoginCause) -> Told {
        let method = LoginMethod::Redirect("http://127.0.0.1:8000/callback".to_owned());
        let wish = LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false };
        self.wants(reply, LoginRequestKind::Begin(wish, cause))
    }

    pub(super) fn attempt(&self) -> AttemptId {
        self.published().residue.attempts.first().expect("an attempt runs").id
    }

    pub(super) fn attempt_reports(&mut self, report: LoginReport) -> Told {
        let attempt = self.attempt();
        self.does(SessionEvent::Attempt(attempt, Box::new(report)))
    }

    pub(super) fn offers(&mut self) -> Told {
        let prompt = OfferedPrompt::Browser { url: LoginUrl::new("https://as.example.com/authorize") };
        let offer = LoginOffer { prompt, expires: self.at.wall.after(s(600)) };
        self.attempt_reports(LoginReport::Offered(KEY, Box::new(offer)))
    }

    pub(super) fn concludes(&mut self, result: Result<(), LoginReason>) -> Told {
        self.concludes_of(self.attempt(), result)
    }

    pub(super) fn concludes_of(&mut self, attempt: AttemptId, result: Result<(), LoginReason>) -> Told {
        let conclusion = LoginConclusion { result, view: self.store.view(), unstored: None };
        self.does(SessionEvent::Attempt(attempt, Box::new(LoginReport::Concluded(Box::new(conclusion)))))
    }

    /// The login has been redeemed, and the store does not take it.
    pub(super) fn holds_unstored(&mut self) -> Told {
        let unstored = Lease::new(LeaseParts {
            token: AccessToken::new("at-unstored"),
            kind: TokenKind::Bearer,
            generation: Generation { epoch: epoch(3), number: 4, nonce: Nonce(9) },
            scopes: Scopes::default(),
            validity: Validity::new(self.at, Some(HOUR)),
            cause: Cause::Login,
            proof_key: None,
        });
        let view = self.store.view();
        let conclusion = LoginConclusion { result: Ok(()), view, unstored: Some(unstored) };
        self.attempt_reports(LoginReport::Concluded(Box::new(conclusion)))
    }

    /// The store reports a change, which the attempts hear of, too, and the record is read.
    pub(super) fn hears_quietly(&mut self) {
        self.does(SessionEvent::StoreChanged);
        self.reads();
    }

    /// Another process has noted that it redeems an answer.
    pub(super) fn sibling_redeems(&mut self) {
        let epoch = self.store.record.as_ref().map(|record| record.epoch).unwrap_or_default();
        self.store.change(&Change::AnswerPrompt { epoch, prompt: Box::new(self.siblings_prompt()) });
    }

    /// Another process has noted that it asks a person.
    pub(super) fn sibling_asks(&mut self) {
        let expected = self.store.record.as_ref().map(|record| record.version()).unwrap_or_default();
        self.store.change(&Change::Prompt { expected, prompt: Box::new(self.siblings_prompt()) });
    }

    fn siblings_prompt(&self) -> Prompt {
        Prompt {
            attempt: AttemptId(0xfeed),
            key: KEY,
            state: PromptState::Answered,
            at: self.at,
            revision: Revision::default(),
            expires: self.at.wall.after(s(600)),
        }
    }
}

/// A session whose token has expired and that has no way to renew it.
pub(super) fn expired() -> Story {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.sign_out();
    story.hears();
    story
}

#[test]
fn requests_join_one_attempt_and_only_the_first_one_opens_a_page() {
    let mut story = expired();
    assert_eq!(story.asks_to_sign_in(1, LoginCause::Person).mentions("begin sign-in"), 1);
    assert_eq!(story.asks_to_sign_in(2, LoginCause::Person), []);
    assert!(!story.session.is_idle() && story.published().standing.signing_in);
    let told = story.offers();
    assert_eq!((told.mentions("sign-in 1"), told.mentions("sign-in 2"), told.mentions("is_first: true")), (1, 1, 1));
    let late = story.asks_to_sign_in(3, LoginCause::Person);
    assert_eq!((late.mentions("sign-in 3"), late.mentions("is_first: false")), (1, 1));
    assert_eq!(story.asks(4), ["4 is told logged_out"], "a caller that cannot wait for a person does not");
    let attempt = story.attempt();
    assert_eq!(story.wants(5, LoginRequestKind::Await(attempt)), []);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.concludes(Ok(())).mentions("sign-in 5: Ok(SignedIn)"), 1);
    assert_eq!(story.wants(6, LoginRequestKind::Await(attempt)), ["sign-in 6: Ok(SignedIn)"], "a little late");
    assert_eq!(story.asks_to_sign_in(7, LoginCause::Person), ["sign-in 7: Ok(SignedIn)"]);
    assert!(story.session.is_idle() && !story.published().standing.signing_in);
}

#[test]
fn while_an_answer_is_redeemed_callers_wait_and_nothing_is_refreshed() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.asks_to_sign_in(1, LoginCause::Again);
    story.offers();
    assert_eq!(story.attempt_reports(LoginReport::Arriving).mentions("sign-in"), 0);
    assert_eq!(story.asks(2), ["2 gets 1.1"], "the present lease is served");
    story.passes(HOUR);
    assert_eq!(story.asks(3), [], "no flight begins, and no error is given");
    assert_eq!(story.flights(), 0);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.concludes(Ok(())).mentions("3 gets 2.2"), 1);
}

#[test]
fn an_answer_that_another_process_redeems_is_waited_for_and_not_for_ever() {
    let mut story = expired();
    story.sibling_redeems();
    story.hears();
    assert_eq!(story.asks(1).mentions("is told"), 0);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.hears().mentions("1 gets 3.3"), 1);

    let mut story = expired();
    story.sibling_redeems();
    story.hears();
    story.passes(s(60));
    assert_eq!(story.asks(1).mentions("is told"), 0);
    let began = story.at.elapsed;
    assert_eq!(story.idles(HOUR).mentions("1 is told logged_out"), 1);
    assert_eq!(story.at.elapsed.since(began), s(15));
}

#[test]
fn a_login_that_is_not_stored_yet_is_served_and_its_epoch_is_forgotten_if_it_never_is() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    let attempt = story.attempt();
    assert_eq!(story.wants(2, LoginRequestKind::Await(attempt)), []);
    let told = story.holds_unstored();
    assert_eq!(told.mentions("sign-in 2: Ok(SignedIn)"), 1);
    assert_eq!(story.asks(3), ["3 gets 3.4~9"]);
    assert_eq!(story.published().standing.login_required, None);
    assert_eq!(story.asks_to_sign_in(4, LoginCause::Again).mentions("StoreTrouble"), 1);
    // The next actor of the session serves it, too.
    story.restarts();
    assert_eq!(story.asks(5), ["5 gets 3.4~9"]);
    story.reads();
    story.passes(HOUR);
    assert_eq!(story.asks(6).mentions("6 is told store_trouble"), 1);

    let told = story.does(SessionEvent::AttemptOver(attempt));
    assert_eq!(told.mentions("load"), 1);
    story.reads();
    assert_eq!(story.asks(7), ["7 is told logged_out"]);
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    assert_eq!(story.asks(8), ["8 gets 3.3"], "the epoch that the store gives");
}

#[test]
fn requests_end_at_their_deadline_and_the_attempt_goes_on() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    let began = story.at.elapsed;
    assert_eq!(story.idles(HOUR).mentions("DeadlinePassed"), 1);
    assert_eq!(story.at.elapsed.since(began), s(60));
    story.offers();
    assert_eq!(story.asks_to_sign_in(2, LoginCause::Person).mentions("is_first: true"), 1);
    let attempt = story.attempt();
    assert_eq!(story.restarts().mentions("publish"), 1);
    assert_eq!(story.published().residue.attempts.len(), 1, "the attempt outlives the actor");
    story.reads();
    assert_eq!(story.wants(3, LoginRequestKind::Cancel), ["tell the attempt Cancel"]);
    assert_eq!(story.concludes(Err(LoginReason::Cancelled)).mentions("sign-in 3: Ok(Cancelled)"), 1);
    let known = story.wants(4, LoginRequestKind::Await(attempt));
    assert_eq!(known.mentions("Cancelled"), 1);
    assert_eq!(story.wants(5, LoginRequestKind::Await(AttemptId(7))).mentions("UnknownLogin"), 1);
}

#[test]
fn an_answer_goes_to_the_attempt_that_expects_it_or_to_one_of_its_own() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.offers();
    let callback = |key| LoginRequestKind::Complete(Callback::new(key, "code"));
    assert_eq!(story.wants(2, callback(KEY)).mentions("tell the attempt Callback"), 1);
    assert_eq!(story.published().residue.attempts.len(), 1);
    for reply in 3..11 {
        let other = LoginKey([u8::try_from(reply).expect("small"); 32]);
        assert_eq!(story.wants(reply, callback(other)).mentions("begin sign-in"), 1);
    }
    assert_eq!(story.wants(11, callback(LoginKey([11; 32]))).mentions("TooManyWaiters"), 1);
    assert_eq!(story.wants(12, callback(LoginKey([3; 32]))).mentions("begin sign-in"), 0, "a reload joins");
}

#[test]
fn a_logout_is_told_to_every_attempt() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.asks_to_sign_in(1, LoginCause::Again);
    story.offers();
    let told = story.logs_out(2);
    assert_eq!(told.mentions("tell the attempt LoggedOut(Epoch(1))"), 1);
    assert_eq!(story.asks_to_sign_in(3, LoginCause::Again).mentions("LoggedOut"), 1, "a logout is under way");
}

#[test]
fn before_the_record_was_read_requests_wait_and_only_a_damaged_record_is_asked_over() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    assert_eq!(story.asks_to_sign_in(1, LoginCause::Person), []);
    assert_eq!(story.reads().mentions("sign-in 1: Ok(SignedIn)"), 1);
    for (fault, begins) in [(StoreFault::Failed, 0), (StoreFault::Newer, 0), (StoreFault::Unreadable, 1)] {
        let mut story = Story::over_a_login(Some(HOUR), Policy::default());
        story.asks_to_sign_in(1, LoginCause::Person);
        let op = story.takes_read();
        let told = story.does(SessionEvent::Loaded(op, Err(fault)));
        assert_eq!(told.mentions("begin sign-in"), begins, "{fault:?}");
        assert_eq!(told.mentions("StoreTrouble"), 1 - begins, "{fault:?}");
    }
}

#[test]
fn a_login_that_came_first_is_as_good_as_the_one_that_was_asked_for() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.concludes(Err(LoginReason::Superseded)).mentions("sign-in 1: Ok(SignedIn)"), 1);
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.store.sign_in(Some(HOUR), story.at);
    story.store.sign_out();
    assert_eq!(story.concludes(Err(LoginReason::Superseded)).mentions("Superseded"), 1);
    assert_eq!(story.store.record.as_ref().map(|record| record.epoch), Some(Epoch::new(4)));
}

#[test]
fn a_logout_ends_a_login_that_was_never_stored() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.holds_unstored();
    assert_eq!(story.asks(2), ["2 gets 3.4~9"]);
    assert_eq!(story.logs_out(3).mentions("tell the attempt LoggedOut"), 1);
    let view = story.store.view().expect("a record");
    story.attempt_reports(LoginReport::Settled(view));
    assert_eq!(story.writes().mentions("logout 3 done"), 1);
    assert_eq!(story.asks(4), ["4 is told logged_out"]);
    assert_eq!(story.asks_to_sign_in(5, LoginCause::Person).count("begin sign-in"), 1);
}

#[test]
fn a_login_that_the_store_refuses_in_the_end_leaves_the_session_as_it_was() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.holds_unstored();
    let view = story.store.view().expect("a record");
    story.attempt_reports(LoginReport::Settled(view));
    assert_eq!(story.asks(2), ["2 is told logged_out"]);
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    assert_eq!(story.asks(3), ["3 gets 3.3"]);
}

#[test]
fn a_caller_that_has_gone_opens_no_page_and_a_prompt_that_was_taken_over_is_shown() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.asks_to_sign_in(2, LoginCause::Person);
    assert_eq!(story.does(SessionEvent::LoginRequestGone(ReplyId(1))), []);
    let told = story.offers();
    assert_eq!((told.mentions("sign-in 1"), told.mentions("is_first: true")), (0, 1));

    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    assert_eq!(story.attempt_reports(LoginReport::Elsewhere).mentions("sign-in 1: Ok(Elsewhere"), 1);
    let attempt = story.attempt();
    assert_eq!(story.wants(2, LoginRequestKind::Await(attempt)), []);
    assert_eq!(story.wants(3, LoginRequestKind::Await(attempt)), []);
    let told = story.offers();
    assert_eq!((told.mentions("Offered"), told.mentions("is_first: true")), (1, 1), "one of them shows it");
}

#[test]
fn the_process_that_asked_waits_too_while_another_one_redeems() {
    let mut story = expired();
    story.asks_to_sign_in(1, LoginCause::Person);
    story.offers();
    story.sibling_redeems();
    story.hears_quietly();
    assert_eq!(story.asks(2).mentions("is told"), 0);
    story.attempt_reports(LoginReport::Elsewhere);
    assert_eq!(story.asks_to_sign_in(3, LoginCause::Person).mentions("Elsewhere"), 1, "no answered page is shown");
}

#[test]
fn a_clock_that_is_ahead_elsewhere_does_not_hold_callers_up() {
    let mut story = expired();
    let now = story.at;
    story.at.wall = now.wall.after(HOUR);
    story.sibling_redeems();
    story.at = now;
    story.hears();
    story.passes(s(60));
    assert_eq!(story.asks(1).mentions("is told"), 0);
    let began = story.at.elapsed;
    assert_eq!(story.idles(HOUR).mentions("1 is told logged_out"), 1);
    assert_eq!(story.at.elapsed.since(began), s(15));
}

#[test]
fn an_answer_that_comes_while_a_logout_is_not_durable_is_refused() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.logs_out(1);
    story.write_fails(StoreFault::Failed);
    let complete = LoginRequestKind::Complete(Callback::new(KEY, "code"));
    assert_eq!(story.wants(2, complete).mentions("LoggedOut"), 1);
}
