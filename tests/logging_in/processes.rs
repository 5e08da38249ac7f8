//! Several callers and processes, and sessions that are signed in.

use tokenkeeper::{LoginReason, Step};
use tokenkeeper_testkit::scripted::{LoginStep, PersonAnswer};

use super::person::open;
use super::ports::free_port;
use super::*;

#[tokio::test]
async fn a_session_that_is_signed_in_asks_only_if_it_is_to_ask_again() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new(), &person);
    open(&place.redirect(person.asked(1).await.1, PersonAnswer::Yes)).await;
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(end(log_in(&session, LogIn::new(), &person)).await, Ok(LoggedIn::Already));
    assert_eq!(person.prompts().len(), 1);

    let logging = log_in(&session, LogIn::new().again(), &person);
    let (_, key) = person.asked(2).await;
    assert_eq!(token(&session).await, "at-1", "it is served meanwhile");
    open(&place.redirect(key, PersonAnswer::Yes)).await;
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(token(&session).await, "at-2");

    place.logins.push(LoginStep::IssuesTo("another".to_owned()));
    let logging = log_in(&session, LogIn::new().again(), &person);
    let page = open(&place.redirect(person.asked(3).await.1, PersonAnswer::Yes)).await;
    assert!(page.contains("The sign-in was not completed"), "{page}");
    assert_eq!(end(logging).await.unwrap_err().reason(), Some(LoginReason::SubjectChanged));

    place.logins.push(LoginStep::IssuesTo("another".to_owned()));
    let logging = log_in(&session, LogIn::new().again().allow_another_subject(), &person);
    open(&place.redirect(person.asked(4).await.1, PersonAnswer::Yes)).await;
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(place.counts(), (4, 4, 4));
}

#[tokio::test]
async fn of_several_callers_one_opens_a_page_and_all_get_the_result() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let people: Vec<_> = (0..10).map(|_| Person::new()).collect();
    let logging: Vec<_> = people.iter().map(|person| log_in(&session, LogIn::new(), person)).collect();
    let mut first = 0;
    let mut keys = Vec::new();
    for person in &people {
        let (prompt, key) = person.asked(1).await;
        first += usize::from(prompt.is_first);
        keys.push(key);
    }
    assert_eq!(first, 1);
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert!(open(&place.redirect(keys[0], PersonAnswer::Yes)).await.contains("You are signed in"));
    for logging in logging {
        assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    }
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test]
async fn the_result_of_another_process_is_waited_for() {
    for (answer, wanted) in
        [(PersonAnswer::Yes, Ok(LoggedIn::Elsewhere)), (PersonAnswer::No, Err(Some(LoginReason::Denied)))]
    {
        let place = Place::new();
        let (first, second) = (place.runtime().await, place.runtime().await);
        let (asker, follower) = (Person::new(), Person::new());
        let asking = log_in(&session(&first), LogIn::new(), &asker);
        let (_, key) = asker.asked(1).await;
        let following = log_in(&session(&second), LogIn::new(), &follower);
        follower.sees(&Step::AskedElsewhere).await;
        open(&place.redirect(key, answer)).await;
        assert_eq!(end(asking).await.is_ok(), wanted.is_ok());
        assert_eq!(end(following).await.map_err(|error| error.reason()), wanted);
        assert!(follower.prompts().is_empty());
        // Both processes have shown the page.
        assert_eq!(place.counts(), (1, 2, u64::from(wanted.is_ok())));
    }
}

#[tokio::test]
async fn a_prompt_of_a_process_that_died_is_shown_again_and_its_address_is_served_again() {
    let place = Place::new();
    let (first, second) = (place.runtime().await, place.runtime().await);
    let (asker, follower) = (Person::new(), Person::new());
    let asking = log_in(&session(&first), LogIn::new().port(free_port()), &asker);
    let (_, key) = asker.asked(1).await;
    let following = log_in(&session(&second), LogIn::new(), &follower);
    follower.sees(&Step::AskedElsewhere).await;
    asking.abort();
    assert!(first.shutdown(WAIT).await.is_clean());
    drop(first);

    let (prompt, again) = follower.asked(1).await;
    assert_eq!(again, key);
    assert!(prompt.is_first && prompt.is_again && prompt.is_listening);
    assert!(open(&place.redirect(key, PersonAnswer::Yes)).await.contains("You are signed in"));
    assert_eq!(end(following).await, Ok(LoggedIn::Here));
    assert_eq!(token(&session(&second)).await, "at-1");
    // The second one has shown the page before and after the death of the first.
    assert_eq!(place.counts(), (1, 3, 1));
}

/// A prompt is one over all processes, in whichever way it was asked for. A person who begins again by a code, because the first
/// way did not work, must be able to answer the page that is shown once more.
#[tokio::test]
async fn a_page_of_a_process_that_died_can_be_answered_in_any_way() {
    for way in [Way::Device, Way::Loopback] {
        let place = Place::new();
        let (first, second) = (place.runtime().await, place.runtime().await);
        let (asker, next) = (Person::new(), Person::new());
        let asking = log_in(&session(&first), LogIn::new().way(Way::Paste), &asker);
        let (_, key) = asker.asked(1).await;
        asking.abort();
        assert!(first.shutdown(WAIT).await.is_clean());
        drop(first);

        let logging = log_in(&session(&second), LogIn::new().way(way), &next);
        let (prompt, again) = next.asked(1).await;
        assert_eq!(again, key);
        assert!(prompt.is_listening || prompt.takes_paste, "{way:?} {prompt:?}");
        let address = place.redirect(key, PersonAnswer::Yes);
        match prompt.takes_paste {
            true => next.paste(address),
            // An administrator may listen at the port.
            false => drop(open(&address).await),
        }
        assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    }
}
