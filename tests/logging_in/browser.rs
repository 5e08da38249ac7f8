//! Answers through the listener.

use tokenkeeper::callback::ListenError;
use tokenkeeper::{LoginReason, Scopes, Step};
use tokenkeeper_testkit::scripted::{LoginStep, PersonAnswer};

use super::person::{is_served, open};
use super::ports::free_port;
use super::within::within;
use super::*;

#[tokio::test]
async fn the_browser_brings_the_answer_and_shows_the_end() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new().scopes(Scopes::new(["files:read"])), &person);
    let (prompt, key) = person.asked(1).await;
    assert_eq!((prompt.account(), prompt.target()), (session.identity().account(), session.identity().target()));
    assert!(prompt.is_first && prompt.is_listening && prompt.takes_paste && !prompt.is_again);
    assert!(!logging.is_finished());
    let page = open(&place.redirect(key, PersonAnswer::Yes)).await;
    assert!(page.contains("You are signed in"), "{page}");
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(token(&session).await, "at-1");
    assert_eq!(place.logins.scopes_of(key), Some(Scopes::new(["files:read"])));
    assert_eq!(person.steps(), [Step::Preparing, Step::Asking, Step::Redeeming]);
    assert_eq!(place.counts(), (1, 1, 1));
    let reload = open(&place.redirect(key, PersonAnswer::Yes)).await;
    assert!(reload.contains("You are already signed in"), "{reload}");
}

#[tokio::test]
async fn a_refusal_and_a_failure_are_shown_in_the_browser_and_returned() {
    for (answer, step, reason, words) in [
        (PersonAnswer::No, LoginStep::Issues, LoginReason::Denied, "Access was declined"),
        (PersonAnswer::Forged, LoginStep::Issues, LoginReason::Forged, "This answer does not match"),
        (PersonAnswer::Yes, LoginStep::Loses, LoginReason::Lost, "The sign-in was not completed"),
    ] {
        let place = Place::new();
        let session = session(&place.runtime().await);
        place.logins.push(step);
        let person = Person::new();
        let logging = log_in(&session, LogIn::new(), &person);
        let (_, key) = person.asked(1).await;
        let page = open(&place.redirect(key, answer)).await;
        assert!(page.contains(words), "{answer:?}: {page}");
        assert_eq!(end(logging).await.unwrap_err().reason(), Some(reason));
        assert!(session.token().await.is_err());
    }
}

#[tokio::test]
async fn a_forged_state_does_not_end_the_wait() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new(), &person);
    let (_, key) = person.asked(1).await;
    let right = place.redirect(key, PersonAnswer::Yes);
    let page = open(&right.replace("state=", "state=x")).await;
    assert!(page.contains("This answer does not match"), "{page}");
    assert!(open(&right).await.contains("You are signed in"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test]
async fn a_browser_whose_program_stays_open_does_not_hold_the_login_up() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::who_stays();
    let logging = log_in(&session, LogIn::new(), &person);
    let (_, key) = person.asked(1).await;
    assert!(open(&place.redirect(key, PersonAnswer::Yes)).await.contains("You are signed in"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
}

#[tokio::test]
async fn a_required_port_that_is_taken_is_an_error_before_anything_is_asked() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let port = free_port();
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let person = Person::new();
    for way in [Way::Best, Way::Loopback] {
        let error = end(log_in(&session, LogIn::new().way(way).port(port), &person)).await.unwrap_err();
        assert_eq!(error, InteractionError::Listen(ListenError::PortTaken { port }));
        assert_eq!(error.reason(), None);
    }
    assert_eq!(place.counts(), (0, 0, 0));
    drop(other);
    let logging = log_in(&session, LogIn::new().way(Way::Loopback).port(port), &person);
    let (prompt, key) = person.asked(1).await;
    assert!(prompt.is_listening && !prompt.takes_paste);
    let address = place.redirect(key, PersonAnswer::Yes);
    assert!(address.starts_with(&format!("http://127.0.0.1:{port}/callback?")));
    assert!(open(&address).await.contains("You are signed in"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
}

#[tokio::test]
async fn a_login_whose_caller_has_gone_is_taken_up_at_the_same_address() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new().port(free_port()), &person);
    let (_, key) = person.asked(1).await;
    let address = place.redirect(key, PersonAnswer::Yes);
    logging.abort();
    let _ = within("the drop", logging).await;
    within("the listener's end", async { while is_served(&address).await {} }).await;
    assert!(session.state().signing_in, "the attempt goes on");

    let logging = log_in(&session, LogIn::new(), &person);
    let (prompt, again) = person.asked(2).await;
    assert_eq!(again, key);
    assert!(!prompt.is_first && prompt.is_listening);
    assert!(open(&address).await.contains("You are signed in"), "the tab that is still open");
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test]
async fn the_timeout_of_a_caller_leaves_the_login_open() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let request = LogIn::new().timeout(Duration::from_millis(300));
    let error = end(log_in(&session, request, &person)).await.unwrap_err();
    assert_eq!(error.reason(), Some(LoginReason::DeadlinePassed));
    let person = Person::new();
    let logging = log_in(&session, LogIn::new(), &person);
    let (_, key) = person.asked(1).await;
    assert!(open(&place.redirect(key, PersonAnswer::Yes)).await.contains("You are signed in"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(place.counts(), (1, 1, 1));
}
