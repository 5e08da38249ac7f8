//! Pasted answers, and codes on another device.

use tokenkeeper::callback::CallbackError;
use tokenkeeper::{LoginReason, OfferedPrompt, Step};
use tokenkeeper_testkit::scripted::{LoginStep, PersonAnswer};

use super::person::{is_served, open};
use super::within::until;
use super::*;

#[tokio::test]
async fn a_pasted_address_races_the_listener() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new(), &person);
    let (_, key) = person.asked(1).await;
    let address = place.redirect(key, PersonAnswer::Yes);
    person.paste("\n");
    person.paste(address.replace("state=", "state=x"));
    person.paste("what do you want?");
    person.paste(format!("'{address}'\n"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    let refused = [CallbackError::OtherLogin, CallbackError::NoAnswer].map(Step::PasteRefused);
    let mut steps = vec![Step::Preparing, Step::Asking];
    steps.extend(refused);
    steps.push(Step::Redeeming);
    assert_eq!(person.steps(), steps);
    assert_eq!(token(&session).await, "at-1");
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test]
async fn a_bare_code_is_taken_for_the_login_that_waits() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new().way(Way::Paste), &person);
    person.asked(1).await;
    person.paste("help");
    person.sees(&Step::PasteRefused(CallbackError::NoAnswer)).await;
    person.paste("scripted-authorization-code");
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
}

#[tokio::test]
async fn without_a_listener_the_redirect_address_is_served_by_no_program() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    for (request, address) in [
        (LogIn::new().way(Way::Paste), "http://127.0.0.1:4/callback?"),
        (LogIn::new().redirect_to("https://host.example.com/copy"), "https://host.example.com/copy?"),
        (LogIn::new().way(Way::Paste).redirect_to("https://host.example.com/x"), "https://host.example.com/x?"),
    ] {
        let person = Person::new();
        let logging = log_in(&session, request.again(), &person);
        let (prompt, key) = person.asked(1).await;
        assert!(!prompt.is_listening && prompt.takes_paste);
        let redirect = place.redirect(key, PersonAnswer::Yes);
        assert!(redirect.starts_with(address), "{redirect}");
        if address.starts_with("http:") {
            assert!(!is_served(&redirect).await);
        }
        person.paste(redirect);
        assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    }
    assert_eq!(place.counts(), (3, 3, 3));
}

#[tokio::test]
async fn the_end_of_input_leaves_the_browser() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    person.ends_input();
    let logging = log_in(&session, LogIn::new(), &person);
    let (_, key) = person.asked(1).await;
    assert!(open(&place.redirect(key, PersonAnswer::Yes)).await.contains("You are signed in"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
}

#[tokio::test]
async fn a_browser_that_comes_while_the_pasted_answer_is_redeemed_gets_its_page() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    place.logins.push(LoginStep::Takes(Duration::from_millis(500)));
    let person = Person::new();
    let logging = log_in(&session, LogIn::new(), &person);
    let (_, key) = person.asked(1).await;
    let address = place.redirect(key, PersonAnswer::Yes);
    person.paste(address.clone());
    person.sees(&Step::Redeeming).await;
    let page = open(&address).await;
    assert!(page.contains("You are signed in"), "{page}");
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test]
async fn a_pasted_refusal_is_returned() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new().way(Way::Paste), &person);
    let (_, key) = person.asked(1).await;
    person.paste(place.redirect(key, PersonAnswer::No));
    assert_eq!(end(logging).await.unwrap_err().reason(), Some(LoginReason::Denied));
}

#[tokio::test]
async fn a_code_is_entered_on_another_device() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let person = Person::new();
    let logging = log_in(&session, LogIn::new().way(Way::Device), &person);
    until("a prompt", || person.prompts().len() == 1).await;
    let prompt = &person.prompts()[0];
    assert!(matches!(&prompt.prompt, OfferedPrompt::Device { .. }));
    assert_eq!(prompt.user_code().as_deref(), Some("CODE"));
    assert!(!prompt.takes_paste && !prompt.is_listening);
    let runtime = place.runtime().await;
    let pending = runtime.pending_logins().await.unwrap();
    place.logins.enter(pending[0].0, PersonAnswer::Yes);
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(token(&session).await, "at-1");
}

/// A terminal whose input is always ready, and never an answer.
#[derive(Clone, Default)]
struct Parrot(Arc<std::sync::Mutex<(bool, usize)>>);

const REPETITIONS: usize = 100_000;

#[async_trait::async_trait]
impl tokenkeeper::Interaction for Parrot {
    async fn show(&self, _: &tokenkeeper::Prompt) {
        self.0.lock().unwrap().0 = true;
    }

    async fn pasted(&self) -> Option<String> {
        if self.0.lock().unwrap().1 == REPETITIONS {
            std::future::pending::<()>().await;
        }
        self.0.lock().unwrap().1 += 1;
        Some("hello hello".to_owned())
    }
}

#[tokio::test]
async fn input_without_end_keeps_neither_the_thread_nor_the_login() {
    let place = Place::new();
    let session = session(&place.runtime().await);
    let parrot = Parrot::default();
    let logging = {
        let (session, parrot) = (session.clone(), parrot.clone());
        tokio::spawn(async move { session.log_in(LogIn::new(), &parrot).await })
    };
    until("a prompt", || parrot.0.lock().unwrap().0).await;
    super::within::within("the end", session.cancel_login(WAIT)).await.unwrap();
    assert_eq!(end(logging).await.unwrap_err().reason(), Some(LoginReason::Cancelled));
    assert!(parrot.0.lock().unwrap().1 < REPETITIONS);
}
